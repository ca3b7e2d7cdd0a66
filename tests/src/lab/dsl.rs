//! What tests say: press, look, acknowledge, wait.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::{self, Answer};
use super::province::Lab;

/// Says something that is to be read whether the test passes or not: the figures of a run, or that it was skipped.
pub fn say(words: &str) {
    use std::io::Write;
    // Past the capture of the test harness, which prints what failed alone. Nobody may be reading.
    let _ = writeln!(std::io::stderr(), "{words}");
}

/// Asks until there is an answer, and fails with `what` if there is none in time.
pub fn wait_until<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Lab {
    /// Presses a button of a school, another one each time: none repeats another one. Gives the event's id back.
    pub fn press(&self, school: &str) -> String {
        static BUTTONS: AtomicU64 = AtomicU64::new(1);
        let device = format!("button-{}", BUTTONS.fetch_add(1, Ordering::Relaxed));
        self.raise(school, &json!({ "kind": "panic", "device": device }))
    }

    /// Raises any event that must be taken.
    pub fn raise(&self, school: &str, body: &Value) -> String {
        let answer = self.try_raise(school, &[], body);
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Raises an event, whatever the answer. Without headers it is an event of its own, however many like it there are: with a
    /// key, as presses of one button that are not a button that sticks.
    pub fn try_raise(&self, school: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        static PRESSES: AtomicU64 = AtomicU64::new(0);
        let key = format!("press-{}-{}", std::process::id(), PRESSES.fetch_add(1, Ordering::Relaxed));
        let own = [("Idempotency-Key", key.as_str())];
        let headers = if headers.is_empty() { &own[..] } else { headers };
        http::post(&self.relay_of(school), "/v1/events", headers, body).unwrap()
    }

    /// An event as its relay shows it.
    pub fn at_relay(&self, school: &str, id: &str) -> Value {
        let answer = http::get(&self.relay_of(school), &format!("/v1/events/{id}")).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// What the lamp at the button shows.
    pub fn lamp(&self, school: &str, id: &str) -> String {
        self.at_relay(school, id)["lamp"].as_str().unwrap().to_owned()
    }

    /// Waits until the lamp shows `lamp`.
    pub fn wait_lamp(&self, school: &str, id: &str, lamp: &str, within: Duration) {
        wait_until(&format!("{lamp} at the button of {school} for {id}"), within, || {
            let answer = http::get(&self.relay_of(school), &format!("/v1/events/{id}")).ok()?;
            (answer.json()["lamp"] == lamp).then_some(())
        });
    }

    /// Waits until the relay has heard of `stage`.
    pub fn wait_stage(&self, school: &str, id: &str, stage: &str, within: Duration) {
        wait_until(&format!("{stage} at the relay of {school} for {id}"), within, || {
            let answer = http::get(&self.relay_of(school), &format!("/v1/events/{id}")).ok()?;
            answer.json()["stages"][stage].is_string().then_some(())
        });
    }

    /// A station's whole inbox: each row by its number. Fails if an event stands in it twice.
    pub fn inbox(&self, station: &str) -> BTreeMap<u64, Value> {
        self.try_inbox(station).unwrap()
    }

    fn try_inbox(&self, station: &str) -> std::io::Result<BTreeMap<u64, Value>> {
        let base = self.base(station);
        let (mut rows, mut from) = (BTreeMap::new(), 1);
        loop {
            let page = http::get(&base, &format!("/v1/events?from_seq={from}&limit=500"))?.json();
            let events = page["events"].as_array().unwrap();
            for event in events {
                rows.insert(event["seq"].as_u64().unwrap(), event.clone());
            }
            let next = page["next_seq"].as_u64().unwrap();
            if events.is_empty() || next <= from {
                break;
            }
            from = next;
        }
        let mut ids: Vec<&str> = rows.values().map(|row| row["id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        let all = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), all, "an event stands in the inbox of {station} twice");
        Ok(rows)
    }

    /// Waits until a station's inbox holds all of `ids`, and each once.
    pub fn wait_inbox(&self, station: &str, ids: &[String], within: Duration) {
        let mut missing = ids.to_vec();
        let began = Instant::now();
        while began.elapsed() < within {
            if let Ok(rows) = self.try_inbox(station) {
                let have: Vec<&str> = rows.values().map(|row| row["id"].as_str().unwrap()).collect();
                missing.retain(|id| !have.contains(&id.as_str()));
                if missing.is_empty() {
                    return;
                }
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        panic!("{} of {} events never came to {station}: {missing:?}", missing.len(), ids.len());
    }

    /// Tells the station that its screen shows the event.
    pub fn displayed(&self, station: &str, id: &str) {
        let answer = http::post(&self.base(station), &format!("/v1/events/{id}/displayed"), &[], &json!({})).unwrap();
        assert_eq!(answer.status, 204, "{answer:?}");
    }

    /// An officer takes the alarm.
    pub fn ack(&self, station: &str, id: &str, officer: &str) -> Value {
        let answer = self.try_ack(station, id, officer);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// An officer tries to take the alarm.
    pub fn try_ack(&self, station: &str, id: &str, officer: &str) -> Answer {
        let body = json!({ "officer": officer, "note": "on our way" });
        http::post(&self.base(station), &format!("/v1/events/{id}/ack"), &[], &body).unwrap()
    }

    /// One metric of a node: the sum over all its lines that contain `labels`.
    pub fn metric(&self, node: &str, name: &str, labels: &str) -> f64 {
        let text = http::get(&self.base(node), "/metrics").unwrap().body;
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let lines = text.lines().filter(of_name).filter(|line| line.contains(labels));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Waits until a metric of a node is above `floor`.
    pub fn wait_metric(&self, node: &str, name: &str, labels: &str, floor: f64) {
        let what = format!("{name}{{{labels}}} of {node} rises above {floor}");
        wait_until(&what, Duration::from_secs(20), || (self.metric(node, name, labels) > floor).then_some(()));
    }

    /// A node's status page.
    pub fn status(&self, node: &str) -> Value {
        http::get(&self.base(node), "/v1/status").unwrap().json()
    }

    /// Presses at `school`, and sees the alarm go the whole way: to the station, to a screen, to an officer, back to the lamp.
    pub fn honest_alarm(&self, school: &str, station: &str) {
        let within = Duration::from_secs(30);
        let id = self.press(school);
        self.wait_inbox(station, std::slice::from_ref(&id), within);
        self.displayed(station, &id);
        self.ack(station, &id, "014");
        self.wait_lamp(school, &id, "acknowledged", within);
    }
}
