//! A hundred times kill -9, of any node at any moment, with presses going on.
//!
//! What must hold: whatever was answered 202 comes to the station, nothing comes twice, and a guard whose alarm an officer has
//! taken sees it in the end.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use huxiao_tests::lab::{Dice, Lab, Manner, Watch, http, say, seed};
use serde_json::{Value, json};

const KILLS: usize = 100;
const HEAL: Duration = Duration::from_secs(60);

/// An event that was answered 202.
struct Taken {
    school: &'static str,
    id: String,
    alarm: bool,
    note: String,
}

#[test]
fn nothing_that_was_promised_is_lost_or_doubled() {
    let seed = seed("kill_nine");
    let began = Instant::now();
    let mut lab = Lab::running(2, 1);
    let screen = Watch::start(&lab.base("station-001"), Manner::Shows);
    let stop = AtomicBool::new(false);
    let taken = Mutex::new(Vec::new());
    let bases = ["school-001", "school-002"].map(|school| (school, lab.relay_of(school)));
    let station = lab.base("station-001");
    let mut kills = BTreeMap::new();
    let (mut slowest_start, mut acked) = (Duration::ZERO, Vec::new());
    std::thread::scope(|scope| {
        for (number, (school, base)) in (0..).zip(&bases) {
            let (stop, taken) = (&stop, &taken);
            scope.spawn(move || press_on(school, base, seed ^ number, stop, taken));
        }
        let acking = scope.spawn(|| acknowledge_on(&station, &screen, &stop));
        let mut dice = Dice::new(seed);
        let victims = ["relay-001", "relay-002", "broker-1", "station-001"];
        for _ in 0..KILLS {
            std::thread::sleep(dice.time(Duration::from_millis(400)));
            let victim = *dice.pick(&victims);
            *kills.entry(victim).or_insert(0) += 1;
            lab.node(victim).kill9();
            std::thread::sleep(dice.time(Duration::from_millis(100)));
            lab.node(victim).start();
            // Mostly it gets to work again; else the next blow may meet it while it starts.
            if dice.below(4) > 0 {
                let started = Instant::now();
                lab.node(victim).wait_ready();
                slowest_start = slowest_start.max(started.elapsed());
            }
        }
        lab.start_all();
        stop.store(true, Ordering::Relaxed);
        acked = acking.join().unwrap();
    });
    let killed = began.elapsed();
    let taken = taken.into_inner().unwrap();
    let ids: Vec<String> = taken.iter().map(|event: &Taken| event.id.clone()).collect();
    lab.wait_inbox("station-001", &ids, HEAL);
    screen.wait_shown(&ids, HEAL);
    screen.assert_clean();

    for event in taken.iter().filter(|event| event.alarm && !acked.contains(&event.id)) {
        lab.ack("station-001", &event.id, "014");
    }
    for event in taken.iter().filter(|event| event.alarm) {
        lab.wait_lamp(event.school, &event.id, "acknowledged", HEAL);
    }
    // An alarm is on its way before it is kept. If its relay dies in between, the presser's second try has the same id. Only where the
    // window of the ids ends between the two tries may one press come as two; and nothing may come that nobody pressed.
    let rows = lab.inbox("station-001");
    let strangers: Vec<_> = rows.values().filter(|row| !ids.contains(&id_of(row))).collect();
    for row in &strangers {
        let of_press = |event: &&Taken| row["school"] == event.school && row["note"] == event.note.as_str();
        assert_eq!(taken.iter().filter(of_press).count(), 1, "{row} was never pressed");
    }
    assert!(strangers.len() <= 1, "presses that came as two alarms: {strangers:#?}");
    lab.assert_calm();
    let alarms = taken.iter().filter(|event| event.alarm).count();
    say(&format!(
        "kill -9: {KILLS} kills {kills:?} in {:.0} s, {} events kept of which {alarms} alarms ({} acknowledged meanwhile), all there \
         once; slowest start {slowest_start:?}; in all {:.0} s",
        killed.as_secs_f64(),
        taken.len(),
        acked.len(),
        began.elapsed().as_secs_f64(),
    ));
    assert!(taken.len() > KILLS, "too few presses to say anything: {}", taken.len());
}

fn id_of(row: &Value) -> String {
    row["id"].as_str().unwrap().to_owned()
}

/// Presses on, each press with a key of its own and again until it is kept.
fn press_on(school: &'static str, base: &str, seed: u64, stop: &AtomicBool, taken: &Mutex<Vec<Taken>>) {
    let mut dice = Dice::new(seed);
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let alarm = dice.below(2) == 0;
        let note = format!("press {number}");
        let body = json!({ "kind": if alarm { "panic" } else { "status" }, "note": note });
        let key = format!("{school}-{number}");
        loop {
            let answer = http::post(base, "/v1/events", &[("Idempotency-Key", &key)], &body);
            if let Ok(answer) = answer {
                match answer.status {
                    202 => {
                        let id = answer.json()["id"].as_str().unwrap().to_owned();
                        taken.lock().unwrap().push(Taken { school, id, alarm, note: note.clone() });
                        break;
                    }
                    // It is stopping or starting; what it says of disks is not staged here.
                    503 => {}
                    _ => panic!("{answer:?}"),
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_millis(60) + dice.time(Duration::from_millis(200)));
    }
}

/// An officer takes every alarm that the screen shows, and tries again while the station is down. Gives back what is taken.
fn acknowledge_on(station: &str, screen: &Watch, stop: &AtomicBool) -> Vec<String> {
    let (mut done, mut acked) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let shown = screen.shown();
        for id in &shown[done..] {
            loop {
                match http::post(station, &format!("/v1/events/{id}/ack"), &[], &json!({ "officer": "014" })) {
                    Ok(answer) if answer.status == 200 => break acked.push(id.clone()),
                    // Shown and not yet on disk when the station was killed: it will be shown again.
                    Ok(answer) if answer.status == 404 => break,
                    Ok(answer) if answer.status != 503 => panic!("{answer:?}"),
                    _ if stop.load(Ordering::Relaxed) => return acked,
                    _ => std::thread::sleep(Duration::from_millis(50)),
                }
            }
        }
        done = shown.len();
        std::thread::sleep(Duration::from_millis(50));
    }
    acked
}
