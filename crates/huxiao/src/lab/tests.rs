use std::os::unix::fs::PermissionsExt;

use huxiao_core::{NodeName, Role};
use huxiao_pki::Credentials;
use serde_json::Value;

use super::*;
use crate::args::ConfigFiles;

fn args(dir: &Path, http_base: Option<u16>) -> InitArgs {
    InitArgs {
        dir: dir.to_owned(),
        brokers: vec!["127.0.0.1:7443".parse().unwrap(), "broker.example:7444".parse().unwrap()],
        schools: 5,
        stations: 2,
        region: "r7".parse().unwrap(),
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
    let keys = layout.nodes.iter().map(Node::key).chain(["ca/ca-key.pem".to_owned()]);
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
