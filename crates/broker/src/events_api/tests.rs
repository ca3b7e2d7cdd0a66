//! Questions, and the events of a busy region read while they come in and leave the record.

use std::collections::BTreeSet;

use huxiao_core::broker::{BrokerConfig, Input, Output};
use huxiao_core::plan::Plan;
use huxiao_core::record::{Command, RecordLimits, RecordState};
use huxiao_core::{
    Admission, Event, EventId, Kind, Name, NodeName, Receipt, RelayId, Rng, SchoolId, Span, Stage, Standing, Text,
    Trail,
};
use huxiao_runtime::clock::Clock;
use huxiao_runtime::drive::{self, Shell};
use huxiao_runtime::shutdown::Shutdown;
use huxiao_store::{Config, Trial, open};

use super::*;

fn asked(query: &str) -> Result<(EventFilter, usize), String> {
    let uri: axum::http::Uri = format!("/v1/events?{query}").parse().unwrap();
    let Query(asked) = axum::extract::Query::<Asked>::try_from_uri(&uri)
        .map(|axum::extract::Query(asked)| Query(asked))
        .map_err(|error| error.body_text())?;
    let read = || Ok::<_, ApiError>((asked.filter()?, asked.limit()?));
    read().map_err(|error| error.message)
}

#[test]
fn a_question_is_read_whole() {
    let (filter, limit) =
        asked("since=2026-03-01T00:00:00Z&class=P0,P1&kind=panic,laser&mode=live&school=s1&limit=7").unwrap();
    assert_eq!((filter.since, filter.until, limit), (Some(WallTime(1_772_323_200_000_000)), None, 7));
    assert_eq!((filter.classes, filter.modes), (vec![Class::P0, Class::P1], vec![Mode::Live]));
    assert_eq!(filter.kinds.iter().map(ToString::to_string).collect::<Vec<_>>(), ["panic", "laser"]);
    assert_eq!(asked("").unwrap(), (EventFilter::default(), PAGE));
}

#[test]
fn what_cannot_be_understood_is_named() {
    let many = format!("kind={}", ["panic"; 257].join(","));
    for (query, said) in [
        ("since=yesterday", "since: \"yesterday\""),
        ("until=2026-03-01", "until:"),
        ("class=P9", "classes are P0 to P4"),
        ("class=", "class: \"\""),
        ("mode=real", "modes are live, drill, test"),
        ("kind=a%20b", "kind: a name is made of"),
        ("school=", "school: a name cannot be empty"),
        ("limit=0", "give 1 to 200"),
        ("limit=201", "give 1 to 200"),
        ("limit=x", "limit"),
        ("sort=time", "unknown field `sort`"),
        (many.as_str(), "257 values"),
    ] {
        let error = asked(query).unwrap_err();
        assert!(error.contains(said), "{query}: {error}");
    }
    assert_eq!(refused(&"x".parse::<Cursor>().unwrap_err()).code, "bad_field");
}

/// Events that come in while somebody reads.
const EVENTS: u64 = 1_500;
const NOW: WallTime = WallTime(1_772_323_200_000_000);

/// Puts what leaves the record where a node puts it.
struct Keeper(Archive);

impl Shell<Broker> for Keeper {
    fn carry_out(&mut self, output: Output) {
        if let Output::Archive(number, entry) = output {
            self.0.put(number, &entry);
        }
    }
}

fn id(number: u64) -> EventId {
    EventId::generate(NOW, &mut Rng::new(number))
}

fn admit(number: u64) -> Command {
    let event = Event {
        id: id(number),
        relay: RelayId { school: SchoolId(Name::new("s1").unwrap()), device: Name::new("gate").unwrap() },
        epoch: 1,
        seq: number,
        kind: if number.is_multiple_of(3) { Kind::Status } else { Kind::Panic },
        class: if number.is_multiple_of(3) { Class::P3 } else { Class::P0 },
        mode: Mode::Live,
        device: None,
        zone: None,
        note: Text::default(),
        raised_at: NOW,
        count: 1,
        details: huxiao_core::Details::default(),
    };
    Command::Admit(Admission {
        sealed: huxiao_wire::seal(&event),
        trail: Trail::default(),
        at: NOW,
        by: "broker/r1/b1".parse().unwrap(),
        stations: vec!["p1".parse().unwrap()],
        owed: false,
        joins: false,
    })
}

fn acknowledge(number: u64) -> Command {
    let by: NodeName = "station/p1/d1".parse().unwrap();
    let (event, stage, note, standing) = (id(number), Stage::Acknowledged, Text::default(), Standing::Settled);
    Command::Note(Receipt { event, stage, at: NOW, by, officer: None, note, skew: None, standing })
}

/// A node that has no peers and no sessions, with a record that holds 20 finished events.
fn node(archive: &Archive) -> (Api, Shutdown, tokio::task::JoinHandle<Broker>) {
    let (handle, inbox) = drive::channel();
    let config = BrokerConfig {
        region: "r1".parse().unwrap(),
        node: "b1".parse().unwrap(),
        province: None,
        seed: 1,
        software: String::new(),
    };
    let record = RecordState::new(RecordLimits { finished: 20, open_cases: 20, ..RecordLimits::default() });
    let (machine, shutdown) = (Broker::new(config, Plan::default(), record, Vec::new()), Shutdown::new());
    let driven = drive::drive(machine, Keeper(archive.clone()), inbox, Clock::system(), shutdown.clone());
    let api = Api { handle, archive: archive.clone(), walkers: Arc::new(Semaphore::new(WALKERS)) };
    (api, shutdown, tokio::spawn(driven))
}

async fn read(api: &Api, after: &str, class: Option<&str>) -> PageJson {
    let after = (!after.is_empty()).then(|| after.to_owned());
    let asked = Asked { after, class: class.map(str::to_owned), limit: Some(37), ..Asked::default() };
    let Json(answer) = page(State(api.clone()), Query(asked)).await.unwrap();
    assert!(answer.events.len() <= 37 && answer.missing == 0);
    answer
}

fn ids(page: &PageJson) -> Vec<String> {
    let json = serde_json::to_value(&page.events).unwrap();
    json.as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_while_events_come_in_and_leave_gets_each_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { ballast_bytes: 0, black_box_blocks: 16, ..Config::new(dir.path(), Trial::InProcess) };
    let store = open(&config, NOW).unwrap().store;
    let archive = Archive::open(store.clone(), &dir.path().join("archive"), false).unwrap();
    let (api, shutdown, driven) = node(&archive);
    let writing = {
        let handle = api.handle.clone();
        tokio::spawn(async move {
            let mut index = 0;
            for number in 1..=EVENTS {
                // Answered out of order, so that they leave in another order than they came in.
                let late = number.checked_sub(30).map(|number| acknowledge(number ^ 3));
                for command in [Some(admit(number)), late].into_iter().flatten() {
                    index += 1;
                    handle.input(Input::Committed { index, command, replayed: false }).await.unwrap();
                }
                if number.is_multiple_of(20) {
                    tokio::time::sleep(Span::from_millis(1)).await;
                }
            }
        })
    };
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let written = writing.is_finished();
        let page = read(&api, &after, None).await;
        seen.extend(ids(&page));
        after = page.next;
        if written && !page.more {
            break;
        }
    }
    writing.await.unwrap();
    let archived = api.handle.inspect(|broker| broker.record().archived()).await.unwrap();
    assert!(archived > EVENTS / 2, "{archived} have left");
    let all: BTreeSet<String> = (1..=EVENTS).map(|number| id(number).to_string()).collect();
    assert_eq!(seen.len(), all.len());
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), all);
    // Once more, of one class alone.
    let (mut alarms, mut after) = (0, String::new());
    loop {
        let page = read(&api, &after, Some("P0,P1")).await;
        alarms += page.events.len();
        if !page.more {
            break;
        }
        after = page.next;
    }
    assert_eq!(alarms as u64, EVENTS - EVENTS / 3);
    let refused = page(State(api.clone()), Query(Asked { after: Some("0-0-00".into()), ..Asked::default() })).await;
    assert_eq!(refused.unwrap_err().code, "bad_field");
    shutdown.request(Span::from_secs(5));
    drop(api);
    driven.await.unwrap();
    store.close();
}
