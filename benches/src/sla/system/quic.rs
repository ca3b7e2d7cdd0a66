//! Plain QUIC on the line: one kept connection, one stream for each alarm, the answer on the same stream.
//!
//! Invariant: quinn as its defaults have it, but for keep-alive and idle time-out, which are ours. What has no answer when a connection
//! dies is sent again on the next.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::PrivatePkcs8KeyDer;
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TokioRuntime, TransportConfig,
};
use tokio::sync::{mpsc, oneshot, watch};

use super::Carrier;
use crate::error::{BenchError, Trying};
use crate::sla::line::Line;
use crate::sla::presses::{ALARM_BYTES, alarm, number};
use crate::sla::tally::Arrival;

pub(super) const SETTINGS: &str = "quinn with its default transport, keep-alive 10 s, idle time-out 30 s, dials again at once, sends \
    again what has no answer; nothing is stored";
const PORT: u16 = 4_434;
const NAME: &str = "police";
/// Between two attempts to dial that failed at once.
const PAUSE: Duration = Duration::from_millis(250);
/// How long the first connection may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// See the module. Both ends stop with it.
pub(super) struct Quic {
    alarms: mpsc::UnboundedSender<u32>,
    _end: watch::Sender<()>,
}

impl Quic {
    pub(super) fn start(line: &Line, arrivals: Sender<Arrival>) -> Result<Self, BenchError> {
        let police = SocketAddr::new(line.far_ip(), PORT);
        let (server, client) = configurations()?;
        let (end, ended) = watch::channel(());
        let socket = line.far().enter(|| UdpSocket::bind(police))?.trying(format!("listen on {police}"))?;
        on_a_thread(ended.clone(), async move {
            let endpoint = endpoint(socket, Some(server))?;
            while let Some(incoming) = endpoint.accept().await {
                let arrivals = arrivals.clone();
                tokio::spawn(async move {
                    if let Ok(connection) = incoming.await {
                        serve(connection, arrivals).await;
                    }
                });
            }
            Ok(())
        })?;
        let socket = line.near().enter(|| UdpSocket::bind((line.near_ip(), 0)))?.trying("take a UDP port")?;
        let (alarms, pressed) = mpsc::unbounded_channel();
        let (ready, is_ready) = oneshot::channel();
        on_a_thread(ended, async move {
            let mut endpoint = endpoint(socket, None)?;
            endpoint.set_default_client_config(client);
            publish(&endpoint, police, pressed, ready).await;
            Ok(())
        })?;
        let late = BenchError::Late { what: "a QUIC connection".into(), seconds: PATIENCE.as_secs() };
        let runtime = runtime()?;
        let connected = runtime.block_on(async { tokio::time::timeout(PATIENCE, is_ready).await });
        connected.ok().and_then(Result::ok).ok_or(late)?;
        Ok(Self { alarms, _end: end })
    }
}

impl Carrier for Quic {
    fn press(&mut self, number: u32) {
        // The publisher's thread lives as long as this.
        let _ = self.alarms.send(number);
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, BenchError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().trying("start a runtime")
}

/// Drives `work` until it is done or its owner is gone.
fn on_a_thread(
    mut ended: watch::Receiver<()>,
    work: impl Future<Output = Result<(), BenchError>> + Send + 'static,
) -> Result<(), BenchError> {
    let runtime = runtime()?;
    let drive = move || {
        runtime.block_on(async {
            tokio::select! {
                done = work => if let Err(error) = done { crate::say(&format!("QUIC stream: {error}")) },
                _ = ended.changed() => {}
            }
        });
    };
    thread::Builder::new().name("quic".into()).spawn(drive).trying("start a thread")?;
    Ok(())
}

fn endpoint(socket: UdpSocket, server: Option<ServerConfig>) -> Result<Endpoint, BenchError> {
    Endpoint::new(EndpointConfig::default(), server, socket, Arc::new(TokioRuntime)).trying("start a QUIC endpoint")
}

/// A certificate of its own, and who trusts it.
fn configurations() -> Result<(ServerConfig, ClientConfig), BenchError> {
    let wrong = |error: &dyn std::fmt::Display| BenchError::answer("the set-up of QUIC", error.to_string());
    let issued = rcgen::generate_simple_self_signed([NAME.to_owned()]).map_err(|error| wrong(&error))?;
    let certificate = issued.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der());
    let mut server =
        ServerConfig::with_single_cert(vec![certificate.clone()], key.into()).map_err(|error| wrong(&error))?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate).map_err(|error| wrong(&error))?;
    let mut client = ClientConfig::with_root_certificates(Arc::new(roots)).map_err(|error| wrong(&error))?;
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(huxiao_core::limits::IDLE_TIMEOUT).map_err(|error| wrong(&error))?;
    transport.max_idle_timeout(Some(idle)).keep_alive_interval(Some(huxiao_core::limits::KEEP_ALIVE));
    let transport = Arc::new(transport);
    server.transport_config(Arc::clone(&transport));
    client.transport_config(transport);
    Ok((server, client))
}

/// The police side of one connection.
async fn serve(connection: Connection, arrivals: Sender<Arrival>) {
    while let Ok((mut send, mut receive)) = connection.accept_bi().await {
        let arrivals = arrivals.clone();
        tokio::spawn(async move {
            let Ok(alarm) = receive.read_to_end(ALARM_BYTES).await else { return };
            let number = number(&String::from_utf8_lossy(&alarm)).unwrap_or(0);
            // The bench may have ended, and the school may have gone: it will send again.
            let _ = arrivals.send(Arrival { number, at: Instant::now() });
            let _ = send.write_all(b"taken").await;
            let _ = send.finish();
            let _ = send.stopped().await;
        });
    }
}

/// The school: keeps one connection up, and carries each alarm over it or its successors until it has an answer.
async fn publish(
    endpoint: &Endpoint,
    police: SocketAddr,
    mut pressed: mpsc::UnboundedReceiver<u32>,
    ready: oneshot::Sender<()>,
) {
    let (current, follow) = watch::channel(None::<Connection>);
    let keep_up = async {
        let mut ready = Some(ready);
        loop {
            let dialled = match endpoint.connect(police, NAME) {
                Ok(connecting) => connecting.await.ok(),
                Err(_) => None,
            };
            let Some(connection) = dialled else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            current.send_replace(Some(connection.clone()));
            // Who asked may have given up waiting.
            if let Some(ready) = ready.take() {
                let _ = ready.send(());
            }
            connection.closed().await;
            current.send_replace(None);
        }
    };
    let carry_all = async {
        while let Some(number) = pressed.recv().await {
            tokio::spawn(carry(number, follow.clone()));
        }
    };
    tokio::select! { () = keep_up => {}, () = carry_all => {} }
}

async fn carry(number: u32, mut follow: watch::Receiver<Option<Connection>>) {
    loop {
        let connection = match follow.wait_for(Option::is_some).await {
            Ok(current) => current.clone(),
            Err(_) => return,
        };
        let Some(connection) = connection else { continue };
        if once(&connection, number).await.is_some() {
            return;
        }
        // Not on this one again.
        connection.closed().await;
    }
}

/// Nothing if the connection died.
async fn once(connection: &Connection, number: u32) -> Option<()> {
    let (mut send, mut receive) = connection.open_bi().await.ok()?;
    send.write_all(alarm(number).as_bytes()).await.ok()?;
    send.finish().ok()?;
    receive.read_to_end(ALARM_BYTES).await.ok()?;
    Some(())
}
