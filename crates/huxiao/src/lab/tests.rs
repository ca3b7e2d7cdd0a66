use std::os::unix::fs::PermissionsExt;

use huxiao_core::{NodeName, Role};
use huxiao_pki::Credentials;
use serde_json::Value;

use super::*;
use crate::args::ConfigFiles;

fn args(dir: &Path, http_base: Option<u16>) -> InitArgs {
    InitArgs {
        dir: dir.to_owned(),
        layout: Runner::Processes,
        brokers: vec!["127.0.0.1:7443".parse().unwrap(), "broker.example:7444".parse().unwrap()],
        schools: 5,
        stations: 2,
        region: "r7".parse().unwrap(),
        province: Vec::new(),
        http_base,
    }
}

#[test]
fn every_node_of_a_lab_passes_its_own_checks() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("new/lab");
    init(&args(&root, None)).unwrap();
    let list: Value = serde_json::from_str(&fs::read_to_string(root.join("lab.json")).unwrap()).unwrap();
    assert_eq!(list["region"], "r7");
    let nodes = list["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 9);
    let mut urls = std::collections::BTreeSet::new();
    for node in nodes {
        let text = |name: &str| node[name].as_str().unwrap();
        let file = root.join(text("config"));
        let role = crate::role::of_files(std::slice::from_ref(&file)).unwrap();
        assert_eq!(role.as_str(), text("role"));
        let files = ConfigFiles { files: vec![file], set: Vec::new() };
        let config = crate::role::loader(role, &files).load().unwrap();
        assert_eq!(format!("http://{}", config.address("http.listen")), text("http"));
        assert!(urls.insert(text("http").to_owned()));
        let checked = crate::config::preflight(role, &config).unwrap();
        assert!(checked.name.starts_with(role.as_str()), "{checked:?}");
    }
    assert_eq!(nodes.iter().find(|node| node["name"] == "relay-004").unwrap()["school"], "school-004");
    assert_eq!(nodes.iter().find(|node| node["name"] == "station-002").unwrap()["station"], "station-002");
}

/// What `lab init DIR` with `extra` asks for.
fn parsed(dir: &Path, extra: &[&str]) -> Result<InitArgs, clap::Error> {
    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: InitArgs,
    }
    let given = ["init", dir.to_str().unwrap()].into_iter().chain(extra.iter().copied());
    <Cli as clap::Parser>::try_parse_from(given).map(|cli| cli.args)
}

#[test]
fn each_container_gets_its_own_key_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("lab");
    let made = init(&parsed(&root, &["--layout", "compose"]).unwrap());
    if !rustix::process::geteuid().is_root() {
        let error = made.unwrap_err().to_string();
        assert!(error.contains("docker run") && error.contains(root.to_str().unwrap()), "{error}");
        assert!(!root.exists());
        return;
    }
    let layout = made.unwrap();
    assert_eq!(layout.nodes.len(), 7);
    for node in &layout.nodes {
        let folder = root.join(&node.name);
        let mut names: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let role = node.identity.role();
        let mut expected = vec!["ca.pem".into(), "cert.pem".into(), "key.pem".into(), format!("{role}.toml")];
        if role == Role::Broker {
            expected.push("plan.toml".into());
        }
        if role != Role::Broker {
            expected.extend(["sign.pem".into(), "sign-key.pem".into()]);
        }
        expected.sort();
        assert_eq!(names, expected, "{}", node.name);
        for name in names.iter().map(|name| folder.join(name)).chain([folder.clone()]) {
            assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(&name).unwrap()), owner::ID, "{name:?}");
        }
        assert_eq!(fs::metadata(folder.join("key.pem")).unwrap().permissions().mode() & 0o777, 0o600);
        let files = ConfigFiles { files: vec![root.join(node.config())], set: Vec::new() };
        let config = crate::role::loader(role, &files).load().unwrap();
        assert_eq!(config.address("http.listen").to_string(), "0.0.0.0:8480");
        assert_eq!(config.path("data.dir"), Path::new("/var/lib/huxiao"));
        crate::config::preflight(role, &config).unwrap();
    }
}

/// The file is written by hand for people to read, so it is held against what the nodes are told.
#[test]
fn the_compose_file_is_for_the_lab_that_is_made_for_it() {
    let yaml = include_str!("../../../../deploy/compose.yaml");
    let args = parsed(Path::new("/lab"), &["--layout", "compose"]).unwrap();
    let ports = ports::choose(7, args.http_base, &[]).unwrap();
    let services: Vec<&str> =
        yaml.split_once("\nservices:\n").unwrap().1.split("\n\n").filter(|block| block.contains("<<: *node")).collect();
    let layout = Layout::new(&args, &ports);
    assert_eq!(services.len(), layout.nodes.len());
    for node in &layout.nodes {
        let name = &node.name;
        let of = |block: &&&str| block.trim_start().starts_with(&format!("{name}:\n"));
        let block = services.iter().find(of).unwrap_or_else(|| panic!("no service {name}"));
        // ${NAME:-default} stands for the default.
        let mut plain = (*block).to_owned();
        while let Some((before, rest)) = plain.split_once("${") {
            let (variable, after) = rest.split_once('}').unwrap();
            plain = format!("{before}{}{after}", variable.split_once(":-").unwrap().1);
        }
        let role = node.identity.role();
        let mut lines = vec![
            format!("\"127.0.0.1:{}:8480\"", node.http),
            format!("../lab-compose/{name}:/etc/huxiao:ro"),
            format!("{name}:/var/lib/huxiao"),
            format!("\"{role}\", \"run\", \"--config\", \"/etc/huxiao/{role}.toml\""),
        ];
        if let Some(Address::Socket(socket)) = &node.quic {
            lines.push(format!("ipv4_address: {}\n", socket.ip()));
        }
        for line in lines {
            assert!(format!("{plain}\n").contains(&line), "{line} in {plain}");
        }
    }
}

#[test]
fn what_a_lab_of_processes_needs_must_be_said() {
    let dir = Path::new("/lab");
    for extra in [&[][..], &["--layout", "processes"], &["--schools", "1", "--stations", "1"]] {
        let error = parsed(dir, extra).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::MissingRequiredArgument, "{error}");
        assert!(error.to_string().contains("--brokers"), "{error}");
    }
    let given = ["--brokers", "b.example:1", "--schools", "9", "--stations", "3", "--layout", "compose"];
    let args = parsed(dir, &given).unwrap();
    assert_eq!((args.brokers.len(), args.schools, args.stations), (1, 9, 3));
}

#[test]
fn schools_are_dealt_out_and_keys_are_for_their_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let layout = init(&args(dir.path(), Some(20_000))).unwrap();
    assert_eq!(layout.nodes.iter().map(|node| node.http).collect::<Vec<_>>(), (20_000..20_009).collect::<Vec<_>>());
    let plan = huxiao_broker::read_plan(&dir.path().join("plan.toml")).unwrap();
    assert_eq!(plan.schools(), 5);
    for (school, station) in
        [("school-001", "station-001"), ("school-002", "station-002"), ("school-005", "station-001")]
    {
        let route = plan.route(&huxiao_core::SchoolId(school.parse().unwrap()));
        assert_eq!(route.iter().map(ToString::to_string).collect::<Vec<_>>(), [station]);
    }
    let keys = layout.nodes.iter().map(|node| node.file(&node.key())).chain(["ca/ca-key.pem".to_owned()]);
    for key in keys {
        let mode = fs::metadata(dir.path().join(&key)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
    let [ca, cert, key] =
        ["ca/ca.pem", "certs/relay-003.pem", "certs/relay-003-key.pem"].map(|name| dir.path().join(name));
    let credentials = Credentials::load(&ca, &cert, &key, Some(Role::Relay)).unwrap();
    let NodeName::Relay(relay) = &credentials.identity().node else { panic!("a relay") };
    assert_eq!((relay.school.to_string(), relay.device.to_string()), ("school-003".into(), "gate".into()));
}

#[test]
fn a_folder_with_something_in_it_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mine"), "x").unwrap();
    let error = init(&args(dir.path(), None)).unwrap_err().to_string();
    assert!(error.contains("not empty"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("lab");
    let mut same = args(&root, None);
    same.brokers[1] = same.brokers[0].clone();
    assert!(init(&same).unwrap_err().to_string().contains("twice"));
    assert!(init(&args(&root, Some(65_530))).unwrap_err().to_string().contains("9 HTTP ports"));
    assert!(!root.exists());
    for text in ["unix:/a", "0.0.0.0:7443", "127.0.0.1:0", "host"] {
        assert!(broker(text).is_err(), "{text}");
    }
}

#[test]
fn a_province_is_made_ready_to_be_started() {
    let dir = tempfile::tempdir().unwrap();
    let mut with = args(dir.path(), None);
    with.province = vec!["127.0.0.1:7543".parse().unwrap()];
    let layout = init(&with).unwrap();
    assert_eq!(layout.nodes.iter().filter(|node| node.province).count(), 2);
    for node in &layout.nodes {
        let files = ConfigFiles { files: vec![dir.path().join(node.config())], set: Vec::new() };
        let role = node.identity.role();
        let config = crate::role::loader(role, &files).load().unwrap();
        let checked = crate::config::preflight(role, &config).unwrap();
        assert_eq!(checked.name, node.identity.to_string());
        match (role, node.province) {
            (Role::Broker, true) => assert_eq!(config.names("regions.accepted"), ["r7".parse().unwrap()]),
            (Role::Broker, false) => assert_eq!(config.text("province.region"), "province"),
            (Role::Station, true) => assert_eq!(config.text("station.region"), "province"),
            _ => {}
        }
    }
    let plan = huxiao_broker::read_plan(&dir.path().join("province-plan.toml")).unwrap();
    let watch = plan.route_from(&"r7".parse().unwrap(), &huxiao_core::SchoolId("school-001".parse().unwrap()));
    assert_eq!(watch.iter().map(ToString::to_string).collect::<Vec<_>>(), ["province-001"]);
    let mut same = args(&dir.path().join("other"), None);
    same.province = vec![same.brokers[0].clone()];
    assert!(init(&same).unwrap_err().to_string().contains("twice"));
    same.province = vec!["127.0.0.1:7543".parse().unwrap()];
    same.region = "province".parse().unwrap();
    assert!(init(&same).unwrap_err().to_string().contains("--region"));
}
