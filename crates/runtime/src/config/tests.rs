use std::ffi::OsString;
use std::path::Path;

use super::*;

const SECOND: Span = Span::from_secs(1);
const KEYS: &[Key] = &[
    Key { path: "name", kind: Kind::Name, default: None, reloadable: false, help: "This node's name." },
    Key {
        path: "relay.http",
        kind: Kind::Address,
        default: Some("127.0.0.1:8480"),
        reloadable: false,
        help: "Where the local API listens.",
    },
    Key {
        path: "relay.brokers",
        kind: Kind::List(&Kind::Address),
        default: Some(""),
        reloadable: true,
        help: "The region's brokers.",
    },
    Key {
        path: "relay.queue",
        kind: Kind::Integer { min: 1, max: 65_535 },
        default: Some("256"),
        reloadable: false,
        help: "Events that may wait.",
    },
    Key {
        path: "relay.drain",
        kind: Kind::Duration { min: SECOND, max: Span::from_secs(300) },
        default: Some("10s"),
        reloadable: true,
        help: "Time to finish after a stop.",
    },
    Key { path: "relay.silent", kind: Kind::Bool, default: Some("false"), reloadable: true, help: "No siren." },
    Key {
        path: "store.ballast",
        kind: Kind::Bytes { min: 1 << 20, max: 1 << 30 },
        default: Some("16MiB"),
        reloadable: false,
        help: "Disk held in reserve.",
    },
    Key { path: "store.folder", kind: Kind::Path, default: Some("/var/lib/huxiao"), reloadable: false, help: "Data." },
    Key { path: "store.plan", kind: Kind::PathOrEmpty, default: Some(""), reloadable: true, help: "The plan." },
    Key {
        path: "log.format",
        kind: Kind::Choice(&["text", "json"]),
        default: Some("text"),
        reloadable: false,
        help: "How a line looks.",
    },
    Key { path: "log.greeting", kind: Kind::Text, default: Some("你好 \"x\""), reloadable: true, help: "A text." },
    Key {
        path: "debug.http",
        kind: Kind::AddressOrEmpty,
        default: Some(""),
        reloadable: false,
        help: "For debugging.",
    },
    Key { path: "zones", kind: Kind::List(&Kind::Name), default: Some("east,west"), reloadable: true, help: "Zones." },
];

fn env(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// The errors of one file's text, without the folder in front.
fn errors_of(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "node.toml", text);
    let errors = Loader::new(KEYS).file(file).load().unwrap_err();
    errors.to_string().replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn the_stronger_layer_wins_and_says_who_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let first = write(folder.path(), "a.toml", "name = 'gate-1'\n[relay]\nqueue = 1\ndrain = '1s'\nsilent = true\n");
    let second = write(folder.path(), "b.toml", "[relay]\nqueue = 2\ndrain = '2s'\n");
    let loader = Loader::new(KEYS)
        .file(&first)
        .file(&second)
        .env(
            "HUXIAO",
            env(&[("HUXIAO_RELAY__DRAIN", "3s"), ("HUXIAO_RELAY__QUEUE", "3"), ("HUXIAO_CONFIG", "x"), ("HOME", "/")]),
        )
        .flags([("relay.queue", "4")]);
    let config = loader.load().unwrap();
    assert_eq!((config.integer("relay.queue"), config.origin("relay.queue")), (4, &Origin::Flag));
    assert_eq!(config.duration("relay.drain"), 3 * SECOND);
    assert_eq!(config.origin("relay.drain"), &Origin::Env("HUXIAO_RELAY__DRAIN".into()));
    assert!(config.flag("relay.silent"));
    assert_eq!(config.origin("relay.silent"), &Origin::File { path: first.clone(), line: 5 });
    assert_eq!(config.origin("relay.http"), &Origin::Default);
    assert_eq!(config.name("name").as_str(), "gate-1");
    let rows = show(&config, true);
    assert_eq!(rows.len(), KEYS.len());
    let told = |key: &str| {
        rows.iter().find(|row| row.key == key).map(|row| (row.value.clone(), row.origin.clone().unwrap())).unwrap()
    };
    assert_eq!(told("relay.queue"), ("4".into(), "flag".into()));
    assert_eq!(told("relay.silent"), ("true".into(), format!("{}:5", first.display())));
    assert_eq!(told("store.ballast"), ("16MiB".into(), "default".into()));
    assert!(show(&config, false).iter().all(|row| row.origin.is_none()));
}

#[test]
fn every_kind_is_read_from_a_file_and_from_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(
        folder.path(),
        "node.toml",
        "name = 'n'\nzones = ['a', 'b']\n[relay]\nhttp = 'unix:/run/x.sock'\nbrokers = ['b-1:7443', '[::1]:1']\nqueue = 0x10\n\
         [store]\nballast = 2097152\nfolder = 'data'\nplan = 'plan.toml'\n[log]\nformat = 'json'\n[debug]\nhttp = '127.0.0.1:1'\n",
    );
    let from_file = Loader::new(KEYS).file(&file).load().unwrap();
    assert_eq!(from_file.address("relay.http"), Address::Unix("/run/x.sock".into()));
    assert_eq!(
        from_file.addresses("relay.brokers").iter().map(Address::to_string).collect::<Vec<_>>(),
        ["b-1:7443", "[::1]:1"]
    );
    assert_eq!((from_file.integer("relay.queue"), from_file.count("relay.queue")), (16, 16));
    assert_eq!(from_file.bytes("store.ballast"), 2 << 20);
    assert_eq!(from_file.path("store.folder"), folder.path().join("data"), "from the file's folder");
    assert_eq!(from_file.path_if_set("store.plan"), Some(folder.path().join("plan.toml")));
    assert_eq!(from_file.text("log.format"), "json");
    assert_eq!(from_file.address_if_set("debug.http"), Some("127.0.0.1:1".parse().unwrap()));
    assert_eq!(from_file.names("zones").iter().map(Name::as_str).collect::<Vec<_>>(), ["a", "b"]);

    let variables = [
        ("HUXIAO_NAME", "gate-1"),
        ("HUXIAO_RELAY__BROKERS", "b-1:7443, b-2:7443,"),
        ("HUXIAO_RELAY__SILENT", "true"),
        ("HUXIAO_STORE__BALLAST", "1GiB"),
        ("HUXIAO_STORE__FOLDER", "data"),
        ("HUXIAO_LOG__GREETING", "a, b"),
    ];
    let from_env = Loader::new(KEYS).env("HUXIAO", env(&variables)).load().unwrap();
    assert_eq!(from_env.addresses("relay.brokers").len(), 2);
    assert_eq!(from_env.name("name").as_str(), "gate-1");
    assert!(from_env.flag("relay.silent"));
    assert_eq!(from_env.bytes("store.ballast"), 1 << 30);
    assert_eq!(from_env.path("store.folder"), Path::new("data"), "as the process stands");
    assert_eq!(from_env.text("log.greeting"), "a, b");
    assert_eq!((from_env.path_if_set("store.plan"), from_env.address_if_set("debug.http")), (None, None));
}

#[test]
fn all_mistakes_are_told_at_once_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let first = write(
        folder.path(),
        "a.toml",
        "[relay]\nqueue = 70000\nhtpp = 'x'\ndrain = 5\nbrokers = ['b-1:7443', 'b-2']\nhttp.port = 1\nsilent = 'yes'\n\n[stroe]\nfolder = ''\n",
    );
    let second = write(
        folder.path(),
        "b.toml",
        "[store]\nballast = '1KiB'\nfolder = ''\n[log]\nformat = 'xml'\ngreeting = 1.5\n",
    );
    let broken = write(folder.path(), "c.toml", "name = \n[relay\n");
    let nowhere = folder.path().join("none.toml");
    let mut variables = env(&[("HUXIAO_RELAY__QUEUE", "many"), ("HUXIAO_RELAY__QEUE", "1"), ("HUXIAO_A__B", "")]);
    variables.push(("HUXIAO_LOG__GREETING".into(), std::os::unix::ffi::OsStringExt::from_vec(vec![b'a', 0xff])));
    let flags = [("name", "a b"), ("relay.http", "8480"), ("relay.htp", "x"), ("x", "y")];
    let loader =
        Loader::new(KEYS).file(&second).file(&first).file(&broken).file(&nowhere).env("HUXIAO", variables).flags(flags);
    let told = loader.load().unwrap_err().to_string().replace(&format!("{}/", folder.path().display()), "");
    let expected = r#"none.toml: cannot be read: No such file or directory (os error 2)
a.toml:2:9: relay.queue = 70000: this must be a whole number from 1 to 65535
a.toml:3:1: unknown key relay.htpp; did you mean relay.http?
a.toml:4:9: relay.drain = 5: this must be a length of time such as 150ms, 10s or 5m, from 1s to 5m
a.toml:5:11: relay.brokers = ["b-1:7443", "b-2"]: value 2, "b-2": an address needs a port, as 127.0.0.1:8480
a.toml:6:1: relay.http = (a table): this must be an address: host:port or unix:/path
a.toml:7:10: relay.silent = "yes": this must be true or false
a.toml:9:2: unknown key stroe; did you mean store?
b.toml:2:11: store.ballast = "1KiB": this must be a size such as 64KiB or 16MiB, from 1MiB to 1GiB
b.toml:3:10: store.folder = "": a path cannot be empty
b.toml:5:10: log.format = "xml": this must be one of text, json
b.toml:6:12: log.greeting = (a number with a point): this must be text
c.toml:1:8: not valid TOML: string values must be quoted, expected literal string
c.toml:2:7: not valid TOML: unclosed table, expected `]`
environment variable HUXIAO_A__B sets no known key
environment variable HUXIAO_LOG__GREETING = "a�": this is not UTF-8
environment variable HUXIAO_RELAY__QEUE sets no known key; did you mean HUXIAO_RELAY__QUEUE?
environment variable HUXIAO_RELAY__QUEUE = "many": this must be a whole number from 1 to 65535
flag for name = "a b": a name is made of letters a-z A-Z, digits and . _ - only; ' ' is not one of them
flag for unknown key relay.htp; did you mean relay.http?
flag for relay.http = "8480": an address needs a port, as 127.0.0.1:8480
flag for unknown key x"#;
    assert_eq!(told, expected);
}

#[test]
fn what_is_missing_is_named_with_its_meaning() {
    let errors = Loader::new(KEYS).load().unwrap_err();
    assert_eq!(
        errors.to_string(),
        "name is not set and has no default; it must be a name of letters, digits and . _ -. This node's name. \
         Set it in a file or by HUXIAO_NAME"
    );
    assert_eq!(errors.list().len(), 1);
}

#[test]
fn one_mistake_is_told_once() {
    assert_eq!(
        errors_of("name = 5\n"),
        "node.toml:1:8: name = 5: this must be a name of letters, digits and . _ -",
        "not as missing besides"
    );
    assert!(errors_of("name = 'a'\nname = 'b'\n").contains("node.toml:2:1: not valid TOML: duplicate key"));
    assert!(errors_of("name = 99999999999999999999\n").contains("a number too large"));
    assert!(errors_of("'名' = 1\nname = 'n'\n").starts_with("node.toml:1:1: unknown key 名"));
    let told = errors_of("name = 'n'\nrelay = { '名' = 1, '字' = 2 }\n");
    assert!(told.ends_with("node.toml:2:20: unknown key relay.字"), "columns count characters: {told}");
    assert!(errors_of("name = 'n'\nzones = ['b', '名']\n").contains("value 2, \"名\""));
}

#[test]
fn a_file_that_is_no_configuration_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("binary");
    std::fs::write(&binary, [b'a', 0xff]).unwrap();
    let huge = folder.path().join("huge");
    std::fs::write(&huge, vec![b'#'; (1 << 20) + 1]).unwrap();
    let told = Loader::new(KEYS).file(&binary).file(&huge).file(folder.path()).load().unwrap_err().to_string();
    assert!(told.contains("binary: cannot be read: it is not UTF-8 from byte 1 on"), "{told}");
    assert!(told.contains("huge: cannot be read: it has more than 1048576 bytes"), "{told}");
    assert!(told.contains("Is a directory"), "{told}");
    let deep = format!("relay = {}{}\nname = 'n'\n", "{ a = ".repeat(60), "1".to_owned() + &" }".repeat(60));
    assert!(errors_of(&deep).contains("unknown key relay.a"), "{}", errors_of(&deep));
    assert!(errors_of(&"[".repeat(100_000)).contains("not valid TOML"));
}

#[test]
fn a_defect_in_a_default_is_told() {
    const WRONG: &[Key] =
        &[Key { path: "n", kind: Kind::Integer { min: 1, max: 2 }, default: Some("3"), reloadable: false, help: "N." }];
    let told = Loader::new(WRONG).load().unwrap_err().to_string();
    assert_eq!(told, "the default of n is wrong: this must be a whole number from 1 to 2: report this defect");
}

#[test]
fn the_file_to_start_from_loads_and_gives_the_defaults() {
    let text = init(KEYS, "relay");
    for key in KEYS {
        assert!(text.contains(key.help), "{}", key.path);
    }
    let folder = tempfile::tempdir().unwrap();
    let as_written = write(folder.path(), "a.toml", &text);
    let told = Loader::new(KEYS).file(&as_written).load().unwrap_err();
    assert!(matches!(told.list(), [ConfigError::Missing { key, .. }] if key == "name"), "{told}");

    let is_key = |line: &str| line.starts_with('#') && !line.starts_with("# ");
    let filled = text.replace("#name =", "#name = 'n'");
    let lines: Vec<_> = filled.lines().map(|line| if is_key(line) { &line[1..] } else { line }).collect();
    let uncommented = write(folder.path(), "b.toml", &lines.join("\n"));
    let config = Loader::new(KEYS).file(&uncommented).load().unwrap();
    let defaults = Loader::new(KEYS).flags([("name", "n")]).load().unwrap();
    assert_eq!(diff(&defaults, &config), []);
    for key in KEYS {
        assert!(matches!(config.origin(key.path), Origin::File { .. }), "{} is not in the file", key.path);
    }
}

#[test]
fn a_reload_tells_what_differs_and_what_needs_a_restart() {
    let load = |flags: &[(&str, &str)]| Loader::new(KEYS).flags(flags.iter().copied()).load().unwrap();
    let old = load(&[("name", "n")]);
    let new = load(&[("name", "n"), ("relay.queue", "9"), ("relay.drain", "60s"), ("relay.silent", "false")]);
    let changes: Vec<_> = diff(&old, &new).into_iter().map(|c| (c.key, c.old, c.new, c.reloadable)).collect();
    let change = |key: &str, old: &str, new: &str, reloadable| (key.into(), old.into(), new.into(), reloadable);
    let expected = [change("relay.queue", "256", "9", false), change("relay.drain", "10s", "1m", true)];
    assert_eq!(changes, expected);
}

#[test]
fn addresses_are_understood_and_refused() {
    for text in ["127.0.0.1:0", "[::1]:8480", "broker-1.example:7443", "unix:/run/a.sock"] {
        let address: Address = text.parse().unwrap();
        assert_eq!(address.to_string(), text);
    }
    let local = ["127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/x"];
    assert!(local.iter().all(|text| text.parse::<Address>().unwrap().is_local()));
    assert!(["0.0.0.0:1", "a.b:1"].iter().all(|text| !text.parse::<Address>().unwrap().is_local()));
    let bad =
        ["", ":1", "a", "a:", "a:65536", "a:-1", "256.1.1.1:1", "::1:8480", "a b:1", "unix:run", "unix:", "http://a:1"];
    for text in bad {
        assert!(text.parse::<Address>().is_err(), "{text:?}");
    }
    assert!(format!("unix:/{}", "x".repeat(200)).parse::<Address>().is_err());
}

#[test]
fn measures_need_a_unit_and_do_not_overflow() {
    let check = |kind: Kind, text: &str| parse::value(&kind, &parse::Raw::Loose(text.into()), None);
    let duration = Kind::Duration { min: Span::ZERO, max: Span::MAX };
    for (text, span) in
        [("0s", 0), ("150ms", 150_000), ("10 s", 10_000_000), ("5m", 300_000_000), ("2h", 7_200_000_000)]
    {
        assert_eq!(check(duration, text), Ok(Value::Duration(Span::from_micros(span))), "{text}");
    }
    for text in ["", "10", "s", "-1s", "1.5s", "10 sec", "99999999999999999999s", "18446744073709551615d", "１s"] {
        assert!(check(duration, text).is_err(), "{text}");
    }
    let bytes = Kind::Bytes { min: 0, max: u64::MAX };
    assert_eq!(check(bytes, "64KiB"), Ok(Value::Bytes(65_536)));
    assert_eq!(check(bytes, "17"), Ok(Value::Bytes(17)));
    for text in ["", "1KB", "1 kib", "-1", "18446744073709551615KiB"] {
        assert!(check(bytes, text).is_err(), "{text}");
    }
    for (span, text) in [(0, "0s"), (1, "1us"), (1_500_000, "1500ms"), (90_000_000, "90s"), (86_400_000_000, "1d")] {
        assert_eq!(parse::show_duration(Span::from_micros(span)), text);
    }
    assert_eq!((parse::show_bytes(0).as_str(), parse::show_bytes(1_536).as_str()), ("0B", "1536B"));
}

#[test]
#[should_panic(expected = "the configuration key \"relay.htpp\" is read but not declared")]
fn reading_a_key_that_was_not_declared_is_a_defect() {
    let config = Loader::new(KEYS).flags([("name", "n")]).load().unwrap();
    let _ = config.text("relay.htpp");
}

#[test]
#[should_panic(expected = "is read with text(), but its kind holds Integer(256)")]
fn reading_another_kind_is_a_defect() {
    let config = Loader::new(KEYS).flags([("name", "n")]).load().unwrap();
    let _ = config.text("relay.queue");
}

const LINES: &[Key] = &[
    Key { path: "relay.queue", kind: Kind::Bool, default: Some("false"), reloadable: false, help: "Before." },
    Key { path: "relay.lines.*.address", kind: Kind::IpOrEmpty, default: Some(""), reloadable: false, help: "From." },
    Key {
        path: "relay.lines.*.cost",
        kind: Kind::Choice(&["free", "metered"]),
        default: Some("free"),
        reloadable: true,
        help: "Its cost.",
    },
    Key { path: "log.level", kind: Kind::Text, default: Some("info"), reloadable: true, help: "After." },
];

#[test]
fn tables_with_names_of_their_own_are_made_of_all_layers() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(
        folder.path(),
        "a.toml",
        "[relay.lines.lte]\ncost = 'metered'\n[relay.lines.fibre]\n[relay.lines.'4g']\naddress = '10.0.0.7'\n",
    );
    let loader = Loader::new(LINES)
        .file(&file)
        .env(
            "HUXIAO",
            env(&[("HUXIAO_RELAY__LINES__LTE__ADDRESS", "::1"), ("HUXIAO_RELAY__LINES__SAT_1__COST", "metered")]),
        )
        .flags([("relay.lines.lte.cost", "free")]);
    let config = loader.load().unwrap();
    assert_eq!(config.tables("relay.lines"), ["4g", "fibre", "lte", "sat_1"]);
    assert_eq!(config.tables("relay.queues"), Vec::<&str>::new());
    assert_eq!(config.ip_if_set("relay.lines.lte.address"), Some("::1".parse().unwrap()));
    assert_eq!((config.text("relay.lines.lte.cost"), config.origin("relay.lines.lte.cost")), ("free", &Origin::Flag));
    assert_eq!((config.text("relay.lines.fibre.cost"), config.ip_if_set("relay.lines.fibre.address")), ("free", None));
    assert_eq!(config.text("relay.lines.sat_1.cost"), "metered");
    let keys: Vec<String> = show(&config, true).into_iter().map(|row| row.key).collect();
    let of = |name: &str| [format!("relay.lines.{name}.address"), format!("relay.lines.{name}.cost")];
    let mut expected = vec!["relay.queue".to_owned()];
    expected.extend(["4g", "fibre", "lte", "sat_1"].iter().flat_map(|name| of(name)));
    expected.push("log.level".to_owned());
    assert_eq!(keys, expected);

    let without = Loader::new(LINES).load().unwrap();
    assert_eq!(without.tables("relay.lines"), Vec::<&str>::new());
    assert_eq!(show(&without, false).len(), 2);
    let appeared = diff(&without, &config);
    assert_eq!(appeared.len(), 8, "{appeared:?}");
    assert!(appeared.iter().all(|change| change.old.is_empty()));
    let gone = diff(&config, &without);
    let lte = gone.iter().find(|change| change.key == "relay.lines.lte.address").unwrap();
    assert_eq!((lte.old.as_str(), lte.new.as_str()), ("::1", ""));
}

#[test]
fn mistakes_in_named_tables_are_told_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(
        folder.path(),
        "a.toml",
        "[relay.lines.LTE]\ncost = 'free'\n[relay.lines.lte]\ncsot = 'metered'\naddress = '10.0.0'\n\
         [relay.lines.'a.cost']\n[relay.lines]\nx = 1\n[relay.line.y]\n",
    );
    let loader = Loader::new(LINES)
        .file(&file)
        .env("HUXIAO", env(&[("HUXIAO_RELAY__LINES__LTE__CSOT", "free"), ("HUXIAO_RELAY__LINES__LTE__COST", "dear")]))
        .flags([("relay.lines.lte.cots", "free"), ("relay.lines.A b.cost", "free"), ("relay.lines.lte", "x")]);
    let told = loader.load().unwrap_err().to_string().replace(&format!("{}/", folder.path().display()), "");
    let expected = r#"a.toml:1:14: relay.lines.LTE = (a table): a name of a table is made of lower case letters, digits and _, at most 32 of them
a.toml:4:1: unknown key relay.lines.lte.csot; did you mean relay.lines.lte.cost?
a.toml:5:11: relay.lines.lte.address = "10.0.0": this must be an IP address such as 192.168.1.20, or empty for none
a.toml:6:14: unknown key relay.lines.a.cost
a.toml:8:1: unknown key relay.lines.x
a.toml:9:8: unknown key relay.line; did you mean relay.lines?
environment variable HUXIAO_RELAY__LINES__LTE__COST = "dear": this must be one of free, metered
environment variable HUXIAO_RELAY__LINES__LTE__CSOT sets no known key; did you mean HUXIAO_RELAY__LINES__LTE__COST?
flag for relay.lines.A b.cost = "free": a name of a table is made of lower case letters, digits and _, at most 32 of them
flag for unknown key relay.lines.lte; did you mean relay.lines.lte.cost?
flag for unknown key relay.lines.lte.cots; did you mean relay.lines.lte.cost?"#;
    assert_eq!(told, expected);
    assert!(errors_of_lines("relay.lines.lte.cost = 1\n").contains("relay.lines.lte.cost = 1: this must be one of"));
}

fn errors_of_lines(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "node.toml", text);
    Loader::new(LINES).file(file).load().unwrap_err().to_string()
}

#[test]
fn the_file_to_start_from_shows_a_named_table() {
    let text = init(LINES, "relay");
    assert_eq!(text.matches("#[relay.lines.name]\n").count(), 1, "{text}");
    let folder = tempfile::tempdir().unwrap();
    let as_written = write(folder.path(), "a.toml", &text);
    assert_eq!(diff(&Loader::new(LINES).load().unwrap(), &Loader::new(LINES).file(as_written).load().unwrap()), []);
    let is_key = |line: &str| line.starts_with('#') && !line.starts_with("# ");
    let lines: Vec<_> = text.lines().map(|line| if is_key(line) { &line[1..] } else { line }).collect();
    let uncommented = write(folder.path(), "b.toml", &lines.join("\n"));
    let config = Loader::new(LINES).file(uncommented).load().unwrap();
    assert_eq!(config.tables("relay.lines"), ["name"]);
    assert_eq!(config.text("relay.lines.name.cost"), "free");
}
