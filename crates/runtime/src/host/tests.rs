//! A node around a machine that does nothing: what becomes of it when a part of it ends.

use std::path::Path;

use axum::Router;
use huxiao_core::{Identity, Machine, Now, Role, Span, Timestamp};
use huxiao_link::LinkConfig;
use huxiao_pki::{Authority, Period};

use super::*;
use crate::config::Loader;
use crate::drive::{self, Shell};
use crate::metric;

struct Idle;

impl Machine for Idle {
    type Input = ();
    type Output = ();

    fn handle(&mut self, _: Now, (): ()) {}
    fn handle_timeout(&mut self, _: Now) {}
    fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }
    fn poll_output(&mut self) -> Option<()> {
        None
    }
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

impl Shell<Idle> for Idle {
    fn carry_out(&mut self, (): ()) {}
}

/// A node with one part more than others have.
async fn node(dir: &Path, part: impl Future<Output = ()> + Send + 'static) -> (Running, Shutdown) {
    let clock = Clock::system();
    let path = |name: &str| dir.join(name).display().to_string();
    let authority = Authority::create(&"test".parse().unwrap(), Period::days(clock.wall(), 2)).unwrap();
    authority.save(&dir.join("ca.pem"), &dir.join("ca-key.pem")).unwrap();
    let identity: Identity = "spiffe://test/relay/s1/gate".parse().unwrap();
    let issued = authority.issue(&identity, Period::days(clock.wall(), 1), &[]).unwrap();
    issued.save(&dir.join("cert.pem"), &dir.join("key.pem")).unwrap();
    let flags = [
        ("tls.ca", path("ca.pem")),
        ("tls.cert", path("cert.pem")),
        ("tls.key", path("key.pem")),
        ("data.dir", path("data")),
        ("store.ballast", "1MiB".to_owned()),
    ];
    let config = Loader::new(&COMMON_KEYS).flags(flags).load().unwrap();
    let shutdown = Shutdown::new();
    let host = Host {
        clock,
        shutdown: shutdown.clone(),
        exposition: metric::install(),
        notifier: Notifier::new(None, None),
        version: "0",
        commit: "test",
        trial: Trial::InProcess,
        seed: 7,
    };
    let (mut base, _) = Base::open(config, host, Role::Relay).await.unwrap();
    let (link, _) = base.link(LinkConfig::accepting(&[Role::Broker])).unwrap();
    base.spawn(part);
    let running = base.run(link, Idle, Idle, drive::channel(), Router::new()).await.unwrap();
    (running, shutdown)
}

#[tokio::test]
async fn a_node_that_loses_a_part_stops_and_says_why() {
    for (panics, why) in [(true, "panicked"), (false, "its work came to an end")] {
        let dir = tempfile::tempdir().unwrap();
        let part = async move { assert!(!panics, "a defect") };
        let (running, _) = node(dir.path(), part).await;
        let ended = tokio::time::timeout(Span::from_secs(10), running.finished()).await.expect("it stops by itself");
        let Err(StopError::Part(words)) = ended else { panic!("{ended:?}") };
        assert!(words.contains(why), "{words}");
    }
}

#[tokio::test]
async fn a_node_that_is_asked_to_stop_ends_well() {
    let dir = tempfile::tempdir().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (running, shutdown) = node(dir.path(), async move { drop(stopped.await) }).await;
    shutdown.request(Span::from_secs(5));
    drop(stop);
    let ended = tokio::time::timeout(Span::from_secs(10), running.finished()).await.expect("it stops");
    assert_eq!(ended, Ok(()));
}
