//! One test, since signals go to the whole process.

use rustix::process::{Signal as Number, getpid, kill_process};

use super::*;
use crate::config::{Key, Kind, Loader, diff};

const KEYS: &[Key] = &[
    Key { path: "level", kind: Kind::Text, default: Some("info"), reloadable: true, help: "Level." },
    Key { path: "port", kind: Kind::Integer { min: 1, max: 9 }, default: Some("1"), reloadable: false, help: "Port." },
];

async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        tokio::time::sleep(Span::from_millis(10)).await;
    }
    panic!("this did not come about: {what}");
}

#[tokio::test]
async fn hup_reloads_term_drains_and_a_second_one_ends_at_once() {
    let metrics = metric::install();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    std::fs::write(&file, "").unwrap();
    let loader = Loader::new(KEYS).file(&file);
    let current = std::sync::Arc::new(std::sync::Mutex::new(loader.load().unwrap()));
    let reload = {
        let current = current.clone();
        move || {
            let new = loader.load().map_err(|errors| errors.to_string())?;
            let mut held = current.lock().unwrap();
            let changes = diff(&held, &new);
            *held = new;
            Ok(changes)
        }
    };
    let shutdown = Shutdown::new();
    let signals = Signals::catch().unwrap();
    let running = tokio::spawn(signals.run(shutdown.clone(), Span::from_secs(600), Notifier::default(), reload));
    let send = |signal| kill_process(getpid(), signal).unwrap();

    std::fs::write(&file, "level = 'debug'\n").unwrap();
    send(Number::HUP);
    until("the new level", || current.lock().unwrap().text("level") == "debug").await;

    std::fs::write(&file, "level = 'warn'\nport = 70\n").unwrap();
    send(Number::HUP);
    until("the refusal", || metrics.render().contains("huxiao_reloads_total{outcome=\"refused\"} 1")).await;
    assert_eq!(current.lock().unwrap().text("level"), "debug", "the old configuration stays");

    send(Number::TERM);
    until("draining", || shutdown.requested()).await;
    assert!(!shutdown.is_over());
    send(Number::INT);
    until("the end", || shutdown.is_over()).await;
    running.await.unwrap();
}
