//! Calls between two broker nodes on loopback: what a heartbeat, a batch of commands and a snapshot cost of their way, TLS included.
//!
//! Invariant: both nodes are links as brokers have them, with certificates of one authority, and share nothing but the loopback interface.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use huxiao_core::{Identity, Name, WallTime};
use huxiao_link::peer::{Answering, Body, PeerError, PeerFault, PeerHandle, PeerLane, PeerService, PeerTarget};
use huxiao_link::{Accept, EventReceiver, Link, LinkConfig, events};
use huxiao_pki::{Authority, Credentials, Peer, Period};
use tokio::io::AsyncReadExt as _;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::Extent;
use crate::error::{BenchError, Trying};
use crate::figures::{Latency, Quantity, Rate, Samples};
use crate::report::Report;
use crate::scratch::Scratch;

const PART: &str = "peers";
const NOTHING: &str = "nothing: the way alone";
/// A command of the record, about.
const CALL_BYTES: usize = 400;
/// Calls that are under way together.
const TOGETHER: u32 = 64;
/// A snapshot of a region's record.
const BODY_BYTES: u32 = 50_000_000;
/// How long one call may take before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Gives a request back, or says how much has followed it.
struct Echo;

impl PeerService for Echo {
    fn call(&self, _: &Peer, request: bytes::Bytes, mut body: Body) -> Answering {
        Box::pin(async move {
            let mut piece = vec![0; 64 * 1_024];
            loop {
                match body.read(&mut piece).await {
                    Ok(0) => return Ok(request.to_vec()),
                    Ok(_) => {}
                    Err(error) => return Err(PeerFault(error.to_string())),
                }
            }
        })
    }
}

/// Measures calls.
///
/// # Errors
/// The loopback interface, or the link.
pub(crate) fn measure(extent: &Extent, scratch: &Scratch, report: &mut Report) -> Result<(), BenchError> {
    let runtime = Runtime::new().trying("start the threads of two nodes")?;
    let nodes = runtime.block_on(Nodes::start(scratch))?;
    let (mut single, mut together, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..extent.rounds {
        if round > 0 && Instant::now() > extent.until {
            report.notes.push(format!("peers: time was up after {round} of {} rounds", extent.rounds));
            break;
        }
        single.push(runtime.block_on(one_by_one(&nodes.quick, extent.commits, extent.commit_limit))?);
        together.push(runtime.block_on(in_flight(&nodes.quick, extent.in_flight))?);
        bodies.push(runtime.block_on(body(&nodes.heavy))?);
    }
    runtime.block_on(async { tokio::join!(nodes.caller.shutdown(), nodes.called.shutdown()) });
    report.latencies.extend(Latency::new(PART, "a call of 400 bytes and its answer", NOTHING, &single));
    report.rates.extend(Rate::new(PART, "calls of 400 bytes, 64 in flight", NOTHING, &together));
    if let Some(rate) = Rate::new(PART, "a body of 50 MB", NOTHING, &bodies) {
        let (name, value) = ("a body of 50 MB".to_owned(), rate.per_second / 1e6);
        report.quantities.push(Quantity { part: PART, name, value, unit: "MB/s", target: None });
    }
    Ok(())
}

/// Two nodes of one region, of which one calls the other.
struct Nodes {
    caller: Link,
    called: Link,
    quick: PeerHandle,
    heavy: PeerHandle,
    /// A link whose driver is gone ends; no session ever begins here.
    _drivers: [EventReceiver; 2],
}

impl Nodes {
    async fn start(scratch: &Scratch) -> Result<Self, BenchError> {
        let dir = scratch.folder("peers")?;
        let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        let period = Period::days(WallTime(i64::try_from(micros).unwrap_or(i64::MAX)), 1);
        let failed = |error: &dyn std::fmt::Display| BenchError::Peer(error.to_string());
        let domain = Name::new("bench").map_err(|error| failed(&error))?;
        let authority = Authority::create(&domain, period).map_err(|error| failed(&error))?;
        authority.save(&dir.join("ca.pem"), &dir.join("ca.key")).map_err(|error| failed(&error))?;
        let link = |node: &str| -> Result<(Link, EventReceiver), BenchError> {
            let identity: Identity =
                format!("spiffe://bench/broker/east/{node}").parse().map_err(|error| failed(&error))?;
            let file = |end: &str| dir.join(format!("{node}.{end}"));
            let issued = authority.issue(&identity, period, &[]).map_err(|error| failed(&error))?;
            issued.save(&file("pem"), &file("key")).map_err(|error| failed(&error))?;
            let credentials = Credentials::load(&dir.join("ca.pem"), &file("pem"), &file("key"), None);
            let credentials = credentials.map_err(|error| failed(&error))?;
            let (tell, told) = events();
            let link = Link::new(credentials, LinkConfig::new(|_| true), tell).map_err(|error| failed(&error))?;
            Ok((link, told))
        };
        let ((caller, caller_events), (called, called_events)) = (link("b1")?, link("b2")?);
        let everybody: Accept = Arc::new(|_| true);
        called.serve_peers(everybody, Arc::new(Echo));
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let addr = called.listen(loopback).await.map_err(|error| failed(&error))?.to_string();
        let expect = "broker/east/b2".parse().map_err(|error| failed(&error))?;
        let target = PeerTarget { addr, expect, lane: PeerLane::Quick };
        let quick = caller.peer(&target);
        let heavy = caller.peer(&PeerTarget { lane: PeerLane::Heavy, ..target });
        for handle in [&quick, &heavy] {
            answered(handle.call(vec![0], PATIENCE, 0).await)?;
        }
        Ok(Self { caller, called, quick, heavy, _drivers: [caller_events, called_events] })
    }
}

async fn one_by_one(handle: &PeerHandle, count: u32, limit: Duration) -> Result<Samples, BenchError> {
    let (until, mut samples) = (Instant::now() + limit, Samples::new());
    for _ in (0..count).take_while(|_| Instant::now() <= until) {
        let began = Instant::now();
        answered(handle.call(vec![1; CALL_BYTES], PATIENCE, 0).await)?;
        samples.record(began.elapsed());
    }
    Ok(samples)
}

async fn in_flight(handle: &PeerHandle, count: u32) -> Result<(u32, Duration), BenchError> {
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..TOGETHER {
        let handle = handle.clone();
        callers.spawn(async move {
            for _ in 0..count / TOGETHER {
                answered(handle.call(vec![1; CALL_BYTES], PATIENCE, 0).await)?;
            }
            Ok::<_, BenchError>(())
        });
    }
    while let Some(done) = callers.join_next().await {
        done.map_err(|error| BenchError::Peer(error.to_string()))??;
    }
    Ok((count / TOGETHER * TOGETHER, began.elapsed()))
}

/// Sends one body; how many bytes in what time.
async fn body(handle: &PeerHandle) -> Result<(u32, Duration), BenchError> {
    let began = Instant::now();
    let bytes = tokio::io::repeat(7).take(u64::from(BODY_BYTES));
    answered(handle.call_with_body(vec![1], bytes, PATIENCE).await)?;
    Ok((BODY_BYTES, began.elapsed()))
}

fn answered(answer: Result<bytes::Bytes, PeerError>) -> Result<(), BenchError> {
    answer.map(drop).map_err(|error| BenchError::Peer(error.to_string()))
}
