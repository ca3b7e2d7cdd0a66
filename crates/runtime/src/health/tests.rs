use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use huxiao_core::Span;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use super::*;

const VERSION: Version = Version { version: "1.2.3", commit: "abc", role: "relay", protocol: "huxiao.v1" };

async fn get_text(health: &Health, path: &str) -> (u16, String) {
    let service = TowerToHyperService::new(health.router(metric::install(), VERSION));
    let response = service.call(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn the_status_alone_tells_machines_and_the_text_tells_people() {
    let shutdown = Shutdown::new();
    let health = Health::new(shutdown.clone());
    let the_loop = health.check("loop", Relevance::Live);
    let store = health.check("store", Relevance::Ready);
    let siren = health.check("siren", Relevance::Told);

    let (status, text) = get_text(&health, "/readyz").await;
    assert_eq!(status, 503);
    assert!(text.contains("[-] store failed: not started yet\n"), "nothing is ready before it says so: {text}");
    assert_eq!(get_text(&health, "/livez").await.0, 503);

    the_loop.ok("turns");
    store.degraded("87 % full");
    siren.failed("no siren found");
    assert_eq!(get_text(&health, "/livez").await, (200, "ok\n".into()));
    assert_eq!(get_text(&health, "/readyz").await, (200, "ok\n".into()));
    let verbose = "[+] loop ok: turns\n[-] siren failed: no siren found\n[~] store degraded: 87 % full\n[+] shutdown ok: not asked to stop\nok\n";
    assert_eq!(get_text(&health, "/healthz?verbose").await, (200, verbose.into()));

    store.failed("a sync failed");
    assert_eq!(get_text(&health, "/livez").await.0, 200, "a restart is not what it needs");
    assert_eq!(get_text(&health, "/readyz").await.0, 503);
    assert_eq!(get_text(&health, "/readyz?exclude=store").await, (200, "ok\n".into()));
    let (status, text) = get_text(&health, "/readyz?verbose=1&exclude=store&exclude=nobody").await;
    assert_eq!(status, 200);
    assert!(text.contains("[ ] excluded: [-] store failed: a sync failed\n"), "{text}");
    assert!(text.ends_with("[?] there is no check named nobody\nok\n"), "{text}");

    store.ok("open");
    shutdown.request(Span::from_secs(60));
    assert_eq!(get_text(&health, "/livez").await.0, 200, "a draining node is not to be killed");
    let (status, text) = get_text(&health, "/readyz").await;
    assert_eq!((status, text.contains("[-] shutdown failed: the node is draining\n")), (503, true));
    assert!(health.is_live() && !health.is_ready());
}

#[tokio::test]
async fn metrics_and_version_are_served() {
    let health = Health::new(Shutdown::new());
    let (status, text) = get_text(&health, "/metrics").await;
    assert_eq!(status, 200);
    assert!(text.contains("huxiao_build_info{version=\"1.2.3\",commit=\"abc\"} 1"), "{text}");
    let (_, text) = get_text(&health, "/version").await;
    assert_eq!(text, r#"{"version":"1.2.3","commit":"abc","role":"relay","protocol":"huxiao.v1"}"#);
}
