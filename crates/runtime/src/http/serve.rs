//! Listening, and one task for each connection.
//!
//! Invariants: at most [`CONNECTIONS`] connections are open, further ones wait in the kernel. On shutdown no new connection is
//! taken, each open one ends after its answer, and whatever is left is dropped when the shutdown is over.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use huxiao_core::Span;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::guard::guarded;
use crate::config::Address;
use crate::metric::{self, Counter, Gauge};
use crate::shutdown::Shutdown;

/// Connections that one listener serves at once.
pub const CONNECTIONS: usize = 256;
/// How long a request's head may take to arrive, and how long an idle connection is kept.
const HEAD_TIME: Span = Span::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 * 1_024;
/// After this long without an acknowledgement of what was sent, a client counts as gone (TCP_USER_TIMEOUT, tcp(7)).
const GONE_AFTER: Span = Span::from_secs(20);

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}")]
pub struct BindError {
    /// The address as configured.
    pub address: Address,
    /// What the system says.
    pub reason: String,
}

/// An open listener. A Unix socket's file is removed when it is dropped.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: Address,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _file: SocketFile },
}

#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Gone already is as good as removed.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Where it really listens: with the port that the system chose, if the configured one was 0.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }
}

/// Opens a listener. A Unix socket that no process listens on any more is replaced; its file is for owner and group alone.
///
/// # Errors
/// [`BindError`]
pub async fn bind(address: &Address) -> Result<Listener, BindError> {
    let failed = |error: std::io::Error| BindError { address: address.clone(), reason: error.to_string() };
    let tcp = match address {
        Address::Socket(socket) => TcpListener::bind(socket).await,
        Address::Host { host, port } => TcpListener::bind((host.as_str(), *port)).await,
        Address::Unix(path) => {
            let listener = bind_unix(path).await.map_err(failed)?;
            let socket = Socket::Unix { listener, _file: SocketFile(path.clone()) };
            return Ok(Listener { socket, address: address.clone() });
        }
    };
    let listener = tcp.map_err(failed)?;
    let address = Address::Socket(listener.local_addr().map_err(failed)?);
    if !address.is_local() {
        tracing::info!(%address, "this listener can be reached from other computers");
    }
    Ok(Listener { socket: Socket::Tcp(listener), address })
}

async fn bind_unix(path: &Path) -> std::io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let dead = matches!(UnixStream::connect(path).await, Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused);
            if !dead {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        other => other,
    }
    .and_then(|listener| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
        Ok(listener)
    })
}

/// Serves `router` until a shutdown is asked for and every open connection has ended, or the shutdown is over.
pub async fn serve(listener: Listener, router: Router, shutdown: Shutdown) {
    let router = guarded(router);
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let slot = tokio::select! {
            () = shutdown.wait() => break,
            slot = free_slot(&slots) => slot,
        };
        tokio::select! {
            () = shutdown.wait() => break,
            // Ended tasks are taken out as they end, or the set would grow for ever.
            Some(_) = connections.join_next() => {}
            stream = accept(&listener.socket) => match stream {
                Ok(Stream::Tcp(stream)) => {
                    connections.spawn(connection(stream, router.clone(), shutdown.clone(), slot));
                }
                Ok(Stream::Unix(stream)) => {
                    connections.spawn(connection(stream, router.clone(), shutdown.clone(), slot));
                }
                Err(error) => {
                    // Out of file descriptors, or the client is gone already: neither ends the service.
                    tracing::warn!(%error, address = %listener.address, "a connection could not be taken");
                    tokio::time::sleep(Span::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    tokio::select! {
        () = shutdown.over() => connections.abort_all(),
        () = async { while connections.join_next().await.is_some() {} } => {}
    }
}

async fn free_slot(slots: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    if slots.available_permits() == 0 {
        metric::increment(Counter::HttpOverload, &["connections"]);
    }
    // An error means a closed semaphore; this one never is.
    slots.clone().acquire_owned().await.ok()
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

async fn accept(socket: &Socket) -> std::io::Result<Stream> {
    match socket {
        Socket::Tcp(listener) => {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let raw = socket2::SockRef::from(&stream);
            raw.set_tcp_user_timeout(Some(GONE_AFTER))?;
            raw.set_keepalive(true)?;
            Ok(Stream::Tcp(stream))
        }
        Socket::Unix { listener, .. } => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
    }
}

async fn connection<I>(io: I, router: Router, shutdown: Shutdown, slot: Option<OwnedSemaphorePermit>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let _counted = Counted::new();
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_headers(64)
        .max_header_size(HEAD_BYTES)
        .max_buf_size(64 * 1_024)
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(router));
    tokio::pin!(served);
    let outcome = tokio::select! {
        outcome = served.as_mut() => outcome,
        () = shutdown.wait() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "an HTTP connection ended early");
    }
    drop(slot);
}

/// One open connection, in the gauge for as long as it lives.
struct Counted;

static OPEN: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

impl Counted {
    fn new() -> Self {
        let before = OPEN.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        metric::set(Gauge::HttpConnections, &[], f64::from(before + 1));
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let before = OPEN.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        metric::set(Gauge::HttpConnections, &[], f64::from(before.saturating_sub(1)));
    }
}
