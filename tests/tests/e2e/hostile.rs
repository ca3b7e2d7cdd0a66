//! Peers and callers that lie, break the rules, or send rubbish. Each costs itself only: after each, an honest alarm goes its way.

use std::collections::{BTreeSet, HashSet};
use std::net::UdpSocket;
use std::time::Duration;

use huxiao_core::{
    Class, EventId, Hello, Kind, Message, Name, NodeName, Receipt, Refusal, Stage, Standing, Text, WIRE_MINOR,
};
use huxiao_pki::{Authority, Period};
use huxiao_tests::lab::{Dice, Lab, http, seed, wait_until, wall_now};
use serde_json::json;

use crate::PATIENCE;
use crate::rogue::{Peer, bare, credentials, event, expired, intrude, runtime, valid};

const GATE: &str = "relay/school-001/gate";

/// The station's inbox holds nothing of `id`, also after everything that honest nodes do has been done.
fn assert_never_shown(lab: &Lab, id: EventId) {
    lab.honest_alarm("school-001", "station-001");
    let id = id.to_string();
    assert!(lab.inbox("station-001").values().all(|row| row["id"] != id.as_str()), "{id} was shown");
}

fn refusal_of(peer: &mut Peer, wanted: EventId) -> Option<Refusal> {
    peer.find(PATIENCE, |message| match message {
        Message::Refused(id, refusal) if id == wanted => Some(refusal),
        _ => None,
    })
}

#[test]
fn a_certificate_of_another_authority_or_none_is_nobody() {
    let lab = Lab::running(1, 1);
    let file = |name: &str| lab.dir().join(name);
    let stranger = Authority::create(lab.authority().domain(), Period::days(wall_now(), 10)).unwrap();
    let identity = format!("spiffe://{}/{GATE}", stranger.domain()).parse().unwrap();
    let issued = stranger.issue(&identity, valid(), &[]).unwrap();
    issued.save(&file("stranger.pem"), &file("stranger-key.pem")).unwrap();
    let runtime = runtime();
    for shown in [Some((file("stranger.pem"), file("stranger-key.pem"))), None] {
        let (id, message) = event(GATE, Kind::Panic, 1);
        let before = lab.metric("broker-1", "huxiao_handshakes_total", "failed");
        let files = shown.as_ref().map(|(cert, key)| (cert.as_path(), key.as_path()));
        let ended = runtime.block_on(intrude(files, lab.quic(), &message));
        println!("with {files:?}: {ended}");
        lab.wait_metric("broker-1", "huxiao_handshakes_total", "failed", before);
        assert_never_shown(&lab, id);
    }
    lab.assert_calm();
}

#[test]
fn an_expired_certificate_is_taken_for_alarms_alone_and_is_flagged() {
    let lab = Lab::running(1, 1);
    let name = "relay/school-001/back-door";
    let mut peer = Peer::connect(&lab, credentials(&lab, name, expired()));
    let (alarm, message) = event(name, Kind::Panic, 1);
    peer.send(Class::P0, &message);
    lab.wait_inbox("station-001", &[alarm.to_string()], PATIENCE);
    let paths = lab.status("broker-1")["paths"].to_string();
    assert!(paths.contains("expired"), "the status page flags it: {paths}");

    let before = lab.metric("broker-1", "huxiao_refused_total", "expired");
    let (status, message) = event(name, Kind::Status, 2);
    peer.send(Class::P3, &message);
    assert_eq!(refusal_of(&mut peer, status), Some(Refusal::Expired));
    lab.wait_metric("broker-1", "huxiao_refused_total", "expired", before);
    assert_never_shown(&lab, status);
    lab.assert_calm();
}

#[test]
fn a_relay_whose_certificate_has_expired_still_alarms() {
    let mut lab = Lab::init(1, 1);
    let (cert, key) = lab.issue(GATE, expired());
    let relay = lab.node("relay-001");
    relay.set("tls.cert", cert.to_str().unwrap());
    relay.set("tls.key", key.to_str().unwrap());
    lab.start_all();
    lab.honest_alarm("school-001", "station-001");
    let status = lab.raise("school-001", &json!({ "kind": "status" }));
    wait_until("the relay shows that it was refused", PATIENCE, || {
        (lab.at_relay("school-001", &status)["refused"] == true).then_some(())
    });
    assert!(lab.node("relay-001").log().contains("expired"), "the relay says why");
}

#[test]
fn a_station_cannot_raise_an_alarm_and_a_relay_cannot_read_or_take_one() {
    let lab = Lab::running(1, 1);
    let improper = || lab.metric("broker-1", "huxiao_refused_total", "improper");
    let of_school = lab.press("school-001");
    lab.wait_inbox("station-001", std::slice::from_ref(&of_school), PATIENCE);

    // A desk of the very station raises an alarm in the school's name.
    let desk = Peer::connect(&lab, credentials(&lab, "station/station-001/desk-9", valid()));
    let (forged, message) = event(GATE, Kind::Panic, 1);
    let before = improper();
    desk.send(Class::P0, &message);
    lab.wait_metric("broker-1", "huxiao_refused_total", "improper", before);
    assert_never_shown(&lab, forged);

    // A relay of another school wants to read, and to acknowledge what is not its own.
    let mut relay = Peer::connect(&lab, credentials(&lab, "relay/school-009/gate", valid()));
    let hello = Hello { software: "rogue".to_owned(), wire_minor: WIRE_MINOR, resume: None };
    relay.send(Class::P1, &Message::Hello(hello));
    let before = improper();
    let id: EventId = of_school.parse().unwrap();
    relay.send(Class::P1, &Message::Receipts(vec![acknowledgement(id, "station/station-001/desk-1")]));
    lab.wait_metric("broker-1", "huxiao_refused_total", "improper", before);
    relay.send(Class::P1, &Message::Inquire(vec![id]));
    let told = relay.find(PATIENCE, |message| match message {
        Message::Unknown(ids) => Some(ids),
        Message::Receipts(_) | Message::Event(_) => panic!("a stranger was told: {message:?}"),
        _ => None,
    });
    assert_eq!(told, Some(vec![id]));
    let pressed = lab.press("school-001");
    lab.wait_inbox("station-001", std::slice::from_ref(&pressed), PATIENCE);
    let overheard = relay.find(Duration::from_millis(500), |message| match message {
        Message::Event(copy) => Some(copy),
        _ => None,
    });
    assert!(overheard.is_none(), "a relay was sent an alarm: {overheard:?}");

    // A desk acknowledges in another desk's name.
    let before = improper();
    desk.send(Class::P1, &Message::Receipts(vec![acknowledgement(id, "station/station-001/desk-1")]));
    lab.wait_metric("broker-1", "huxiao_refused_total", "improper", before);
    // And a desk of another station, in its own.
    let other = Peer::connect(&lab, credentials(&lab, "station/station-777/desk-1", valid()));
    let before = improper();
    other.send(Class::P1, &Message::Receipts(vec![acknowledgement(id, "station/station-777/desk-1")]));
    lab.wait_metric("broker-1", "huxiao_refused_total", "improper", before);
    assert_ne!(lab.lamp("school-001", &of_school), "acknowledged");
    lab.honest_alarm("school-001", "station-001");
    lab.assert_calm();
}

fn acknowledgement(event: EventId, by: &str) -> Receipt {
    let by: NodeName = by.parse().unwrap();
    let officer = Some(Name::new("666").unwrap());
    Receipt {
        event,
        stage: Stage::Acknowledged,
        at: wall_now(),
        by,
        officer,
        note: Text::default(),
        skew: None,
        standing: Standing::Settled,
    }
}

#[test]
fn a_broker_or_an_own_role_is_not_let_in_as_a_client() {
    let lab = Lab::running(1, 1);
    let before = lab.metric("broker-1", "huxiao_handshakes_total", "refused");
    let runtime = runtime();
    let credentials = credentials(&lab, "broker/other/b9", valid());
    let ended = runtime.block_on(async {
        let (_endpoint, connection) = bare(&credentials, lab.quic()).await;
        tokio::time::timeout(PATIENCE, connection.closed()).await.unwrap().to_string()
    });
    assert!(ended.contains("closed"), "{ended}");
    lab.wait_metric("broker-1", "huxiao_handshakes_total", "refused", before);
    lab.honest_alarm("school-001", "station-001");
}

#[test]
fn an_event_of_another_school_or_relay_is_refused() {
    let lab = Lab::running(2, 1);
    let mut peer = Peer::connect(&lab, credentials(&lab, "relay/school-002/back-door", valid()));
    for (relay, refusal) in [
        (GATE, Refusal::OtherSchool),
        ("relay/school-999/gate", Refusal::OtherSchool),
        ("relay/school-002/gate", Refusal::OtherRelay),
    ] {
        let before = lab.metric("broker-1", "huxiao_refused_total", refusal.as_str());
        let (id, message) = event(relay, Kind::Panic, 1);
        peer.send(Class::P0, &message);
        assert_eq!(refusal_of(&mut peer, id), Some(refusal), "{relay}");
        lab.wait_metric("broker-1", "huxiao_refused_total", refusal.as_str(), before);
        assert_never_shown(&lab, id);
    }
    // Its own is taken on the same session.
    let (id, message) = event("relay/school-002/back-door", Kind::Panic, 2);
    peer.send(Class::P0, &message);
    lab.wait_inbox("station-001", &[id.to_string()], PATIENCE);
}

#[test]
fn rubbish_frames_cost_their_sender_only() {
    let lab = Lab::running(1, 1);
    let mut dice = Dice::new(seed("rubbish_frames"));
    let credentials = credentials(&lab, "relay/school-001/back-door", valid());
    let good = huxiao_wire::encode(&event("relay/school-001/back-door", Kind::Panic, 1).1);
    let mut random = |len: usize| (0..len).map(|_| u8::try_from(dice.below(256)).unwrap()).collect::<Vec<u8>>();
    let mut unknown_version = good.clone();
    unknown_version[0] = 9;
    let mut oversized = vec![1, 0xFF, 0xFF, 0xFF];
    oversized.extend(random(70_000));
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xFF;
    let mut trailing = good.clone();
    trailing.extend([0; 5]);
    let rubbish = [
        ("random", random(300)),
        ("empty", Vec::new()),
        ("half a header", good[..2].to_vec()),
        ("cut", good[..good.len() - 7].to_vec()),
        ("unknown version", unknown_version),
        ("oversized", oversized),
        ("a random body", [&[1, 0, 1, 0][..], &random(256)].concat()),
        ("a flipped byte", flipped),
        ("something behind it", trailing),
    ];
    let runtime = runtime();
    for (what, bytes) in rubbish {
        let before = lab.metric("broker-1", "huxiao_bad_frames_total", "");
        runtime.block_on(async {
            let (_endpoint, connection) = bare(&credentials, lab.quic()).await;
            let mut stream = connection.open_uni().await.unwrap();
            // The broker may stop the stream before it has all.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.finish();
            let _ = tokio::time::timeout(Duration::from_secs(2), stream.stopped()).await;
            // The session lives on: a good frame after a bad one is read.
            assert!(connection.close_reason().is_none(), "{what}: {:?}", connection.close_reason());
        });
        println!("{what}: {} bad frames counted", lab.metric("broker-1", "huxiao_bad_frames_total", ""));
        // A flipped byte may hit a text and be a good frame still.
        if what != "a flipped byte" {
            lab.wait_metric("broker-1", "huxiao_bad_frames_total", "", before);
        }
        lab.honest_alarm("school-001", "station-001");
    }
    // One that sends nothing else is thrown out in the end.
    let ended = runtime.block_on(async {
        let (_endpoint, connection) = bare(&credentials, lab.quic()).await;
        while connection.close_reason().is_none() {
            let Ok(mut stream) = connection.open_uni().await else { break };
            let _ = stream.write_all(b"rubbish").await;
            let _ = stream.finish();
        }
        tokio::time::timeout(PATIENCE, connection.closed()).await.unwrap().to_string()
    });
    println!("nothing but rubbish: {ended}");
    lab.honest_alarm("school-001", "station-001");
    lab.assert_calm();
}

/// The first packets of `count` connections, none of which will ever go further.
async fn first_packets(lab: &Lab, count: usize) -> Vec<Vec<u8>> {
    let sink = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = sink.local_addr().unwrap().to_string();
    let credentials = credentials(lab, "relay/school-001/flood", valid());
    let (mut seen, mut packets) = (HashSet::new(), Vec::new());
    let mut buffer = [0; 2_048];
    while packets.len() < count {
        let connecting = tokio::spawn({
            let (credentials, addr) = (credentials.clone(), addr.clone());
            async move { drop(tokio::time::timeout(PATIENCE, bare(&credentials, &addr)).await) }
        });
        loop {
            let (len, _) = sink.recv_from(&mut buffer).await.unwrap();
            // RFC 9000 section 17.2: the length of the connection id is the sixth byte of a long header.
            let id = buffer[6..6 + usize::from(buffer[5])].to_vec();
            if len >= 1_200 && seen.insert(id) {
                packets.push(buffer[..len].to_vec());
                break;
            }
        }
        connecting.abort();
    }
    packets
}

#[test]
fn thousands_of_handshakes_that_never_end_do_not_stop_an_alarm() {
    let lab = Lab::running(1, 1);
    let packets = runtime().block_on(first_packets(&lab, 3_000));
    let before = lab.metric("broker-1", "huxiao_handshakes_total", "retried");
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let sockets: Vec<_> = (0..8).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
            for (few, socket) in packets.chunks(20).zip(sockets.iter().cycle()) {
                few.iter().for_each(|packet| drop(socket.send_to(packet, lab.quic())));
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let mut alarms = 0;
        while !flood.is_finished() || alarms < 3 {
            lab.honest_alarm("school-001", "station-001");
            alarms += 1;
        }
        println!("{alarms} alarms went their whole way during {} unfinished handshakes", packets.len());
    });
    lab.wait_metric("broker-1", "huxiao_handshakes_total", "retried", before);
    // And a newcomer gets in.
    let mut newcomer = Peer::connect(&lab, credentials(&lab, "relay/school-001/back-door", valid()));
    let (id, message) = event("relay/school-001/back-door", Kind::Panic, 1);
    newcomer.send(Class::P0, &message);
    lab.wait_inbox("station-001", &[id.to_string()], PATIENCE);
    assert!(newcomer.find(PATIENCE, |message| matches!(message, Message::Receipts(_)).then_some(())).is_some());
    lab.assert_calm();
}

#[test]
fn each_bad_body_gets_its_error_and_no_more() {
    let lab = Lab::running(1, 1);
    let base = lab.relay_of("school-001");
    let long = "长".repeat(400);
    let json_type = [("Content-Type", "application/json")];
    let post = |headers: &[(&str, &str)], body: &[u8]| {
        let answer = http::request(&base, "POST", "/v1/events", headers, body).unwrap();
        (answer.status, answer.error(), answer.body)
    };
    let note = json!({ "kind": "panic", "note": long }).to_string();
    let bodies: [(&str, &[u8], u16, &str); 10] = [
        ("no JSON", b"panic!", 400, ""),
        ("not UTF-8", b"{\"kind\":\"\xff\xfe\"}", 400, ""),
        ("an unknown kind", br#"{"kind":"earthquake"}"#, 422, "earthquake"),
        ("no kind", br#"{"note":"x"}"#, 422, "kind"),
        ("an unknown member", br#"{"kind":"panic","nose":"x"}"#, 422, "nose"),
        ("a wrong type", br#"{"kind":7}"#, 422, "kind"),
        ("a bad device", br#"{"kind":"panic","device":"a b"}"#, 422, "device"),
        ("a note too long", note.as_bytes(), 422, "note"),
        ("control characters", b"{\"kind\":\"panic\",\"note\":\"\\u0007\"}", 422, "note"),
        ("test and drill", br#"{"kind":"panic","test":true,"drill":true}"#, 422, "drill"),
    ];
    for (what, body, status, word) in bodies {
        let (got, code, text) = post(&json_type, body);
        assert_eq!(got, status, "{what}: {text}");
        assert!(!code.is_empty() && text.contains(word), "{what}: {text}");
    }
    let good = br#"{"kind":"panic"}"#;
    assert_eq!(post(&[], good).0, 415);
    assert_eq!(post(&json_type, &vec![b' '; 70_000]).0, 413);
    for key in ["", "a b", &"k".repeat(129)] {
        let (status, code, text) = post(&[json_type[0], ("Idempotency-Key", key)], good);
        assert_eq!((status, code.as_str()), (422, "bad_field"), "{key:?}: {text}");
    }
    let answer = http::request(&base, "DELETE", "/v1/events", &[], b"").unwrap();
    assert_eq!((answer.status, answer.error().as_str()), (405, "method_not_allowed"));
    assert_eq!(http::get(&base, "/v1/nothing").unwrap().error(), "unknown_path");
    assert_eq!(http::get(&base, "/v1/events/xyz").unwrap().status, 400);
    let listed = http::get(&base, "/v1/events").unwrap().json();
    assert_eq!(listed["events"].as_array().unwrap().len(), 0, "nothing was raised: {listed}");
    lab.honest_alarm("school-001", "station-001");
    assert_eq!(lab.inbox("station-001").len(), 1);
    lab.assert_calm();
}

#[test]
fn one_key_is_one_event_however_often_and_at_once() {
    let lab = Lab::running(1, 1);
    let body = json!({ "kind": "panic", "device": "button-1" });
    let ids: BTreeSet<String> = std::thread::scope(|scope| {
        let press = |_| {
            scope.spawn(|| {
                let answer = lab.try_raise("school-001", &[("Idempotency-Key", "one-press")], &body);
                assert_eq!(answer.status, 202, "{answer:?}");
                answer.json()["id"].as_str().unwrap().to_owned()
            })
        };
        let presses: Vec<_> = (0..16).map(press).collect();
        presses.into_iter().map(|press| press.join().unwrap()).collect()
    });
    assert_eq!(ids.len(), 1, "{ids:?}");
    let again = lab.try_raise("school-001", &[("Idempotency-Key", "one-press")], &body).json();
    assert_eq!((again["id"].as_str(), &again["repeated"]), (ids.first().map(String::as_str), &json!(true)));
    let other = lab.try_raise("school-001", &[("Idempotency-Key", "one-press")], &json!({ "kind": "fire" }));
    assert_eq!((other.status, other.error().as_str()), (409, "key_reused"), "{other:?}");
    lab.honest_alarm("school-001", "station-001");
    assert_eq!(lab.inbox("station-001").len(), 2);
}
