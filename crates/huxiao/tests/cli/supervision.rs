//! `supervision show` against a server that plays a broker node.

use serde_json::{Value, json};

use crate::run;
use crate::server::{Answer, Server};

fn region(silent: &Value, blind: &Value) -> Value {
    json!({
        "node": "b1", "watching_since": "2026-11-24T08:00:00.000000Z", "blind": blind, "outages": [], "new_member": 7,
        "relays": { "known": 2, "silent": silent }, "stations": { "planned": 1, "unwatched": [] },
    })
}

#[test]
fn whether_anybody_is_silent_is_the_exit_code() {
    let silent =
        json!([{ "relay": "relay/s1/gate", "school": "s1", "since": "2026-11-24T09:00:00Z", "seconds": 31.0 }]);
    for (silent, blind, code) in [(json!([]), json!([]), 0), (silent, json!([]), 10), (json!([]), json!(["b3"]), 10)] {
        let json = region(&silent, &blind);
        let body = json.to_string();
        let server = Server::start(move |_| Answer::Json(200, body.clone()));
        let shown = run(["supervision", "show", "--broker", &server.url]);
        assert_eq!(shown.code, Some(code), "{shown:?}");
        assert_eq!(shown.stdout.contains("relay/s1/gate"), silent != json!([]), "{shown:?}");
        let shown = run(["supervision", "show", "--broker", &server.url, "--output", "json"]);
        assert_eq!((shown.code, shown.json()), (Some(code), json));
        assert_eq!(server.lines("GET /v1/supervision").len(), 2);
    }
}

#[test]
fn a_node_that_cannot_say_is_not_known() {
    let starting = Server::start(|_| {
        Answer::Json(503, json!({ "error": { "code": "not_yet", "message": "ask again" } }).to_string())
    });
    for url in [starting.url.as_str(), "http://127.0.0.1:1"] {
        let shown = run(["supervision", "show", "--broker", url]);
        assert_eq!((shown.code, shown.stdout.as_str()), (Some(3), ""), "{shown:?}");
    }
    assert_eq!(run(["supervision", "show"]).code, Some(2));
}
