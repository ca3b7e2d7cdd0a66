//! Pictures of a school's cameras: at an alarm, while an officer looks, and what becomes of them when cameras and relays fail.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use huxiao_tests::lab::sse::Stream;
use huxiao_tests::lab::{Lab, http, wait_until};
use serde_json::{Value, json};

use crate::PATIENCE;

/// What a camera does with a request.
#[derive(Clone)]
enum Manner {
    /// Answers with this.
    Gives(Vec<u8>),
    /// Takes the request, and says nothing.
    Silent,
}

/// A camera on the school's network.
struct Camera {
    url: String,
    manner: Arc<Mutex<Manner>>,
    /// What the relay said of its open alarms whenever the camera was asked.
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Camera {
    /// One that looks at `relay`'s API whenever it is asked for a picture.
    fn start(relay: &str, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://admin:secret@{}/snap.jpg", listener.local_addr().unwrap());
        let (manner, asked) = (Arc::new(Mutex::new(manner)), Arc::new(Mutex::new(Vec::new())));
        let (relay, own, noted) = (relay.to_owned(), manner.clone(), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (relay, own, noted) = (relay.clone(), own.clone(), noted.clone());
                std::thread::spawn(move || answer(stream, &relay, &own, &noted));
            }
        });
        Self { url, manner, asked }
    }

    fn set(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream, relay: &str, manner: &Mutex<Manner>, asked: &Mutex<Vec<Value>>) {
    let mut request = [0; 2_048];
    if stream.read(&mut request).is_err() {
        return;
    }
    let open = http::get(relay, "/v1/events?open=true").map(|answer| answer.json()).unwrap_or(Value::Null);
    asked.lock().unwrap().push(open);
    let manner = manner.lock().unwrap().clone();
    match manner {
        Manner::Gives(content) => {
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", content.len());
            // The relay hangs up on what is too large.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&content));
        }
        Manner::Silent => std::thread::sleep(Duration::from_secs(60)),
    }
}

fn jpeg(size: usize, fill: u8) -> Vec<u8> {
    let mut content = vec![0xFF, 0xD8, 0xFF, 0xE0];
    content.extend((4..size).map(|at| fill ^ u8::try_from(at % 253).unwrap()));
    content
}

const RELAY: &str = "relay-001";

/// The bytes at `path`, which the lab's own client would take for text.
fn bytes(base: &str, path: &str) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(base.strip_prefix("http://").unwrap()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let head = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let status = String::from_utf8_lossy(&all[9..12]).parse().unwrap();
    (status, all[head + 4..].to_vec())
}

fn event(lab: &Lab, id: &str) -> Value {
    http::get(&lab.base("station-001"), &format!("/v1/events/{id}")).unwrap().json()
}

/// Waits until the station knows so many pictures of an event.
fn pictures(lab: &Lab, id: &str, count: usize) -> Vec<Value> {
    wait_until(&format!("{count} pictures of {id} at the station"), PATIENCE, || {
        let pictures = event(lab, id)["pictures"].as_array()?.clone();
        (pictures.len() >= count).then_some(pictures)
    })
}

/// The content of a picture, which may still be on its way.
fn content(lab: &Lab, id: &str, picture: &Value) -> Vec<u8> {
    let path = format!("/v1/events/{id}/pictures/{}", picture["hash"].as_str().unwrap_or_else(|| panic!("{picture}")));
    wait_until(&format!("the picture {path}"), PATIENCE, || {
        let (status, content) = bytes(&lab.base("station-001"), &path);
        (status == 200).then_some(content)
    })
}

#[test]
fn an_alarm_is_followed_by_what_the_camera_saw_and_never_waits_for_it() {
    let mut lab = Lab::init(1, 1);
    let seen = jpeg(200_000, 1);
    let camera = Camera::start(&lab.base(RELAY), Manner::Gives(seen.clone()));
    lab.node(RELAY).set("relay.cameras.gate.snapshot_url", &camera.url);
    lab.node(RELAY).set("relay.cameras.gate.address", "rtsp://10.0.0.7/1");
    lab.start_all();
    let mut screen = Stream::open(&lab.base("station-001"), "/v1/events", None).unwrap();
    let id = lab.press("school-001");
    // On the screen's own stream the alarm stands first, and the words about the picture after it.
    let mut names = Vec::new();
    while names.last().is_none_or(|name| name != "picture") {
        names.push(screen.next_message().unwrap().name);
    }
    assert!(
        names.iter().position(|name| name == "alarm") < names.iter().position(|name| name == "picture"),
        "{names:?}"
    );
    let found = pictures(&lab, &id, 1);
    assert_eq!((&found[0]["camera"], &found[0]["address"]), (&json!("gate"), &json!("rtsp://10.0.0.7/1")));
    assert!(content(&lab, &id, &found[0]) == seen, "the bytes are those of the camera");
    // When the camera was asked, the alarm had left.
    for open in camera.asked() {
        let alarm = open["events"].as_array().unwrap().iter().find(|event| event["id"] == id.as_str()).unwrap();
        assert!(alarm["stages"]["sent"].is_string(), "{alarm}");
    }
    // The record has it: a station that begins anew is told by the region.
    let other = bytes(&lab.base("station-001"), &format!("/v1/events/{id}/pictures/{}", "0".repeat(64)));
    assert_eq!(other.0, 404);
    lab.node("station-001").kill9();
    std::fs::remove_dir_all(lab.data_dir("station-001").join("pictures")).unwrap();
    std::fs::remove_dir_all(lab.data_dir("station-001").join("bodies")).unwrap();
    lab.start("station-001");
    let again = pictures(&lab, &id, 1);
    assert_eq!(again, found);
    assert!(content(&lab, &id, &again[0]) == seen);
    lab.assert_calm();
}

#[test]
fn cameras_that_fail_cost_their_pictures_and_the_event_says_why() {
    let mut lab = Lab::init(1, 1);
    let relay = lab.base(RELAY);
    let silent = Camera::start(&relay, Manner::Silent);
    let nonsense = Camera::start(&relay, Manner::Gives(b"<html>login</html>".to_vec()));
    let large = Camera::start(&relay, Manner::Gives(jpeg(600_000, 1)));
    let cameras = [
        ("a_dead", "http://127.0.0.1:1/"),
        ("b_silent", silent.url.as_str()),
        ("c_nonsense", nonsense.url.as_str()),
        ("d_large", large.url.as_str()),
    ];
    for (name, url) in cameras {
        lab.node(RELAY).set(&format!("relay.cameras.{name}.snapshot_url"), url);
    }
    lab.start_all();
    let id = lab.press("school-001");
    lab.wait_inbox("station-001", std::slice::from_ref(&id), PATIENCE);
    lab.displayed("station-001", &id);
    lab.ack("station-001", &id, "014");
    lab.wait_lamp("school-001", &id, "acknowledged", PATIENCE);
    let found = pictures(&lab, &id, 4);
    let why = |name: &str| {
        let picture = found.iter().find(|picture| picture["camera"] == name).unwrap();
        assert!(picture["hash"].is_null(), "{picture}");
        picture["failed"].as_str().unwrap().to_owned()
    };
    assert!(why("a_dead").contains("no connection"));
    assert!(why("b_silent").contains("no answer within"));
    assert!(why("c_nonsense").contains("no JPEG"));
    assert!(why("d_large").contains("more than"));
    lab.assert_calm();
}

#[test]
fn a_relay_that_is_killed_before_the_picture_sends_it_when_it_is_back() {
    let mut lab = Lab::init(1, 1);
    let camera = Camera::start(&lab.base(RELAY), Manner::Silent);
    lab.node(RELAY).set("relay.cameras.gate.snapshot_url", &camera.url);
    lab.start_all();
    let id = lab.press("school-001");
    lab.wait_inbox("station-001", std::slice::from_ref(&id), PATIENCE);
    wait_until("the camera is asked", PATIENCE, || (!camera.asked().is_empty()).then_some(()));
    lab.node(RELAY).kill9();
    let seen = jpeg(90_000, 5);
    camera.set(Manner::Gives(seen.clone()));
    lab.start(RELAY);
    let found = pictures(&lab, &id, 1);
    assert!(content(&lab, &id, &found[0]) == seen);
}

#[test]
fn an_officer_looks_and_sees_what_the_camera_sees_then() {
    let mut lab = Lab::init(1, 1);
    let camera = Camera::start(&lab.base(RELAY), Manner::Gives(jpeg(60_000, 1)));
    lab.node(RELAY).set("relay.cameras.gate.snapshot_url", &camera.url);
    lab.node(RELAY).set("relay.cameras.gate.address", "34020000001320000001");
    lab.start_all();
    let id = lab.press("school-001");
    pictures(&lab, &id, 1);
    let now = jpeg(70_000, 2);
    camera.set(Manner::Gives(now.clone()));
    let file = lab.dir().join("now.jpg");
    let station = lab.base("station-001");
    let args = ["view", "--event", &id, "--officer", "014", "--station", &station, "--out", file.to_str().unwrap()];
    let shown = lab.run(&args);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains("34020000001320000001"), "{shown:?}");
    assert!(std::fs::read(&file).unwrap() == now);
    // What is of the moment is no part of the alarm's pictures, and stands on no disk but that which was asked to.
    assert_eq!(event(&lab, &id)["pictures"].as_array().unwrap().len(), 1);
    let kept = |node: &str| std::fs::read_dir(lab.data_dir(node).join("bodies")).unwrap().count();
    assert_eq!((kept("broker-1"), kept("station-001")), (1, 1));
    // As long as somebody says that he looks, pictures go on coming; then they stop.
    let before = camera.asked().len();
    wait_until("two more pictures", PATIENCE, || {
        let looked = http::post(&station, &format!("/v1/events/{id}/look"), &[], &json!({ "officer": "014" })).unwrap();
        assert_eq!(looked.status, 202, "{looked:?}");
        (camera.asked().len() >= before + 2).then_some(())
    });
    wait_until("no more pictures once nobody looks", PATIENCE, || {
        let count = camera.asked().len();
        std::thread::sleep(Duration::from_secs(5));
        (camera.asked().len() == count).then_some(())
    });
    // Who looked when stands in the logs.
    assert!(lab.node("broker-1").log().contains("an officer looks"), "the node notes who looks");
    lab.assert_calm();
}

#[test]
fn audio_goes_from_a_station_to_its_region_and_nothing_else_does() {
    let lab = Lab::running(1, 1);
    let station = lab.base("station-001");
    let put = |content: &[u8]| http::request(&station, "POST", "/v1/bodies", &[], content).unwrap();
    let mut wav = b"RIFF\0\0\0\0WAVEfmt ".to_vec();
    wav.extend((0..500_000_u32).map(|at| u8::try_from(at % 239).unwrap()));
    let answer = put(&wav);
    assert_eq!((answer.status, &answer.json()["media"]), (201, &json!("audio/wav")), "{answer:?}");
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let file = lab.data_dir("broker-1").join("bodies").join(&id);
    let found = wait_until("the node has it", PATIENCE, || std::fs::read(&file).ok());
    assert!(found == wav);
    let nonsense = put(b"no audio at all");
    assert_eq!((nonsense.status, nonsense.error().as_str()), (422, "bad_body"), "{nonsense:?}");
    let large = put(&vec![0; (1 << 20) + 1]);
    assert_eq!(large.status, 413, "{large:?}");
    lab.assert_calm();
}
