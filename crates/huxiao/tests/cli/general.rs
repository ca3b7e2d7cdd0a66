//! Help, versions, usage, health checks.

use std::time::{Duration, Instant};

use crate::server::{Answer, Server};
use crate::{ended, program, run};

/// Every command there is.
const COMMANDS: [&str; 23] = [
    "relay run",
    "relay paths",
    "broker run",
    "station run",
    "alarm send",
    "alarm watch",
    "alarm show",
    "alarm ack",
    "dev",
    "lab init",
    "config check",
    "config show",
    "config init",
    "store inspect",
    "store check",
    "store salvage",
    "report",
    "supervision show",
    "check live",
    "check ready",
    "completion",
    "version",
    "help",
];

#[test]
fn every_command_explains_itself_on_standard_output() {
    for command in COMMANDS {
        let ended = run(command.split(' ').chain(["--help"]));
        if command == "help" {
            continue;
        }
        assert_eq!(ended.code, Some(0), "{command}: {ended:?}");
        assert!(ended.stdout.contains(&format!("Usage: huxiao {command}")), "{command}: {ended:?}");
        assert!(ended.stderr.is_empty(), "{command}: {ended:?}");
    }
    let whole = run(["--help"]);
    assert_eq!(whole.code, Some(0));
    for noun in COMMANDS.map(|command| command.split(' ').next().unwrap()) {
        assert!(whole.stdout.contains(&format!("\n  {noun}")), "{noun} in {}", whole.stdout);
    }
}

#[test]
fn a_wrong_command_line_exits_2_and_says_so_on_standard_error() {
    for args in [
        "",
        "alarm",
        "alarm sned",
        "alarm send --kind panic",
        "alarm send --relay 127.0.0.1:80 --kind panic",
        "alarm send --relay http://127.0.0.1:80 --kind panic --timeout 60",
        "alarm send --relay http://127.0.0.1:80 --kind panic --test --drill",
        "alarm ack no-uuid --station http://127.0.0.1:80 --officer 014",
        "alarm show 0193a000-0000-7000-8000-000000000000",
        "alarm watch --station http://127.0.0.1:80 --count 0",
        "relay run --set http.listen",
        "relay paths",
        "relay paths --url http://127.0.0.1:1 --config x",
        "lab init x --brokers unix:/a --schools 1 --stations 1",
        "lab init x --brokers 127.0.0.1:1 --schools 0 --stations 1",
        "check ready",
        "config init --role province",
    ] {
        let ended = run(args.split(' ').filter(|word| !word.is_empty()));
        assert_eq!(ended.code, Some(2), "{args}: {ended:?}");
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{args}: {ended:?}");
    }
}

#[test]
fn the_version_says_what_the_program_understands() {
    let version = run(["version", "--output", "json"]);
    assert_eq!(version.code, Some(0));
    let json = version.json();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(json["wire"]["package"], "huxiao.v1");
    assert!(json["wire"]["minor_to"].as_u64() >= json["wire"]["minor_from"].as_u64());
    assert!(json["store"]["row_to"].as_u64() >= Some(1), "{json}");
    for name in ["commit", "rustc", "target"] {
        assert!(!json[name].as_str().unwrap().is_empty(), "{name}");
    }
    assert!(run(["version"]).stdout.contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn shells_are_given_their_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(["completion", shell]);
        assert_eq!(script.code, Some(0));
        assert!(script.stdout.contains("huxiao") && script.stdout.contains("idempotency-key"), "{shell}");
    }
}

#[test]
fn a_reader_that_wants_no_more_is_no_failure() {
    let mut command = program(["completion", "bash"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = ended(command.stdout(writer).stderr(std::process::Stdio::piped()));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

fn node(status: u16) -> Server {
    let body = if status == 200 { "[+] store ok: ready\nok\n" } else { "[-] store failed: the disk is full\nfailed\n" };
    Server::start(move |_| Answer::Json(status, body.to_owned()))
}

#[test]
fn a_check_tells_healthy_unhealthy_and_unknown_apart() {
    for (status, code, state) in [(200, 0, "healthy"), (503, 10, "unhealthy"), (404, 3, "unknown")] {
        let server = node(status);
        let json = run(["check", "ready", "--url", &server.url, "--output", "json"]);
        assert_eq!(json.code, Some(code), "{json:?}");
        assert_eq!(json.json()["state"], state);
        assert_eq!(run(["check", "live", "--url", &server.url]).code, Some(code));
        assert_eq!(server.lines("GET"), ["GET /readyz?verbose", "GET /livez?verbose"]);
    }
    let words = run(["check", "ready", "--url", &node(503).url]);
    assert!(words.stdout.contains("the disk is full"), "{words:?}");
    let nobody = run(["check", "ready", "--url", "http://127.0.0.1:1"]);
    assert_eq!(nobody.code, Some(3));
    assert!(nobody.stderr.contains("cannot reach http://127.0.0.1:1"), "{nobody:?}");
}

#[test]
fn a_check_waits_as_long_as_it_is_told() {
    let begun = Instant::now();
    let server = Server::start(move |_| {
        let status = if begun.elapsed() < Duration::from_secs(1) { 503 } else { 200 };
        Answer::Json(status, "ok\n".to_owned())
    });
    let waited = ended(program(["check", "ready", "--wait", "20s"]).env("HUXIAO_URL", &server.url));
    assert_eq!(waited.code, Some(0), "{waited:?}");
    assert!(server.requests().len() > 1);
    let short = run(["check", "ready", "--url", &node(503).url, "--wait", "300ms"]);
    assert_eq!(short.code, Some(10));
}
