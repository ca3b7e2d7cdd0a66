use std::os::unix::net::UnixDatagram;

use huxiao_core::{Now, Timestamp};

use super::*;
use crate::clock::Clock;
use crate::drive::{Shell, channel, drive};
use crate::health::{Health, Relevance};

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

struct Nothing;
impl Shell<Idle> for Nothing {
    fn carry_out(&mut self, (): ()) {}
}

#[tokio::test(start_paused = true)]
async fn the_manager_hears_of_a_turning_loop_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_nonblocking(true).unwrap();
    let heard = || std::iter::from_fn(|| manager.recv(&mut [0; 64]).ok()).count();

    let shutdown = Shutdown::new();
    let health = Health::new(shutdown.clone());
    let check = health.check("loop", Relevance::Live);
    let notifier = Notifier::new(Some(path.into()), Some("3000000"));
    let (handle, inbox) = channel::<Idle>();
    tokio::spawn(heartbeat(handle.clone(), check, notifier, shutdown.clone()));

    // Nobody drives the machine yet: the loop does not answer.
    tokio::time::sleep(Span::from_secs(5)).await;
    assert_eq!(heard(), 0);
    assert!(!health.is_live());

    let driven = tokio::spawn(drive(Idle, Nothing, inbox, Clock::system(), shutdown.clone()));
    tokio::time::sleep(Span::from_millis(9_500)).await;
    let count = heard();
    assert!((10..=11).contains(&count), "once a second, and once for the answer that was late: {count}");
    assert!(health.is_live());

    shutdown.request(Span::from_secs(60));
    drop(handle);
    driven.await.unwrap();
    assert!(!shutdown.is_over(), "the heartbeat let its handle go");
}
