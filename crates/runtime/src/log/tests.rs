use std::io::Write;
use std::sync::{Arc, Mutex};

use huxiao_core::{Rng, WallTime};
use serde_json::Value;

use super::*;

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
    }
}

fn set_up(format: LogFormat, filter: &str) -> (Paper, LogLevel, tracing::subscriber::DefaultGuard) {
    let paper = Paper::default();
    let writer = paper.clone();
    let (subscriber, level) = subscriber(format, filter, move || writer.clone(), false).unwrap();
    (paper, level, tracing::subscriber::set_default(subscriber))
}

fn id() -> EventId {
    EventId::generate(WallTime(1_772_353_800_000_000), &mut Rng::new(7))
}

#[test]
fn a_json_line_has_the_alarm_at_the_top_whichever_way_it_was_given() {
    let (paper, _, _guard) = set_up(LogFormat::Json, "info");
    alarm_span(id())
        .in_scope(|| tracing::info!(stage = "stored", took_ms = 3, level = "mine", "a \"stage\"\nwas reached"));
    tracing::warn!(alarm_id = %id(), "bare");
    let lines = paper.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(line["alarm_id"], id().to_string());
    assert_eq!(line["stage"], "stored");
    assert_eq!(line["took_ms"], 3);
    assert_eq!(line["level"], "INFO", "a field cannot take the place of the level");
    assert_eq!(line["message"], "a \"stage\"\nwas reached");
    assert!(time_format::parse_rfc3339(line["time"].as_str().unwrap()).is_ok());
    assert!(lines[0].starts_with("{\"time\":\"20"));
    let bare: Value = serde_json::from_str(&lines[1]).unwrap();
    assert_eq!((&bare["alarm_id"], &bare["level"]), (&Value::from(id().to_string()), &Value::from("WARN")));
}

#[test]
fn a_text_line_has_local_time_with_its_offset() {
    let (paper, _, _guard) = set_up(LogFormat::Text, "info");
    alarm_span(id()).in_scope(|| tracing::info!("shown"));
    let line = paper.lines().remove(0);
    assert!(line.contains("INFO") && line.contains("shown") && line.contains(&format!("alarm_id={}", id())), "{line}");
    // 2026-03-01 16:30:00.000 +08:00
    let (stamp, _) = line.split_at(30);
    assert_eq!(stamp.as_bytes()[10], b' ', "{line}");
    assert_eq!((stamp.as_bytes()[19], stamp.as_bytes()[27]), (b'.', b':'), "{line}");
}

#[test]
fn the_level_can_be_changed_and_a_bad_one_changes_nothing() {
    let (paper, level, _guard) = set_up(LogFormat::Json, "warn");
    tracing::info!("unheard");
    level.set("warn,huxiao_runtime=debug").unwrap();
    tracing::debug!("heard");
    for bad in ["", "loud", "huxiao=very"] {
        assert!(matches!(level.set(bad), Err(LogError::Filter { .. })), "{bad:?}");
    }
    tracing::debug!("still heard");
    let lines = paper.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("\"heard\"") && lines[1].contains("still heard"));
}

#[test]
fn formats_are_named() {
    for word in LogFormat::WORDS {
        assert!(word.parse::<LogFormat>().is_ok());
    }
    assert_eq!("xml".parse::<LogFormat>().unwrap_err().to_string(), "\"xml\" is no log format; use text or json");
}
