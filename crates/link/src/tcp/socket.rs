//! The sockets of sessions over TCP, and what is asked of the kernel for them.
//!
//! Invariants:
//!
//! * The kernel holds little that it has not sent: what waits must wait in queues by class, where an alarm overtakes it.
//! * A peer that is gone is found out within the idle time-out: by the time that sent bytes stay unacknowledged, and by the
//!   kernel's own probes when nothing is sent.

use std::io;
use std::net::SocketAddr;

use huxiao_core::limits::{IDLE_TIMEOUT, KEEP_ALIVE, METERED_IDLE_TIMEOUT, METERED_KEEP_ALIVE};
use huxiao_core::{Cost, Lane, Span};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::config::Uplink;
use crate::event::LinkError;
use crate::tcp::session::broken;
use crate::transport::bind_device;

/// Connections that the kernel completes before this process has taken them. When a fleet comes back, all come at once.
const BACKLOG: u32 = 4_096;
/// Bytes that the kernel may hold unsent. Whatever is below an alarm's class and in there delays the alarm.
const UNSENT_BYTES: u32 = 4_096;
/// What the kernel may hold sent and not yet acknowledged, by lane; it takes about half of this for its own book-keeping. On
/// express some fifty alarms. On bulk so little that its queue in the line is at most half a second at 256 kbit/s: over
/// TCP the system's congestion control is in force, which fills whatever queue the line has.
const SEND_BUFFER_BYTES: [usize; 2] = [32 * 1_024, 16 * 1_024];
/// Probes of the kernel without an answer before it gives a connection up, if its user time-out has not come first.
const PROBES: u32 = 3;

/// How long a session may hear nothing, as its dialler and as its listener see it.
///
/// Only the dialler knows what its line costs, so a listener has the patience that a metered one needs.
pub(crate) fn idle_timeout(dialled: Option<Cost>) -> Span {
    match dialled {
        Some(Cost::Free) => IDLE_TIMEOUT,
        Some(Cost::Metered) | None => METERED_IDLE_TIMEOUT,
    }
}

/// A socket that listens on `addr`. An IPv6 wildcard takes IPv4 too.
pub(crate) fn listener(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if addr.is_ipv6() {
        SockRef::from(&socket).set_only_v6(false)?;
    }
    // A node that comes back does not wait for the last of its former life's connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// A connection to `remote` over `uplink`, from a port of the system's choice. Waits as long as the kernel does.
pub(crate) async fn connect(uplink: &Uplink, remote: SocketAddr) -> Result<TcpStream, LinkError> {
    let failed = |error| LinkError::Handshake { addr: remote, why: broken(&error) };
    let socket = Socket::new(Domain::for_address(remote), Type::STREAM, Some(Protocol::TCP)).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    if let Some(device) = &uplink.device {
        bind_device(&socket, device).map_err(|error| LinkError::Device {
            device: device.clone(),
            addr: remote,
            error,
        })?;
    }
    if let Some(local) = uplink.local {
        let addr = SocketAddr::new(local, 0);
        socket.bind(&addr.into()).map_err(|error| LinkError::BindTcp { addr, error })?;
    }
    TcpSocket::from_std_stream(socket.into()).connect(remote).await.map_err(failed)
}

/// Puts in force what a session of `lane` needs. `dialled` is the cost of the line, on the side that dialled.
pub(crate) fn settle(stream: &TcpStream, lane: Lane, dialled: Option<Cost>) -> io::Result<()> {
    let socket = SockRef::from(stream);
    let idle = idle_timeout(dialled);
    let probe = if idle == IDLE_TIMEOUT { KEEP_ALIVE } else { METERED_KEEP_ALIVE };
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(probe).with_interval(probe).with_retries(PROBES))?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES[usize::from(lane == Lane::Bulk)])?;
    // Elsewhere the kernel's probes have to do.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(idle))?;
    socket.set_tcp_notsent_lowat(UNSENT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_session_has_the_options_that_its_line_needs() {
        let listener = listener("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        let uplink = Uplink { local: Some("127.0.0.2".parse().unwrap()), ..Uplink::default() };
        let (dialled, accepted) = tokio::join!(connect(&uplink, addr), listener.accept());
        let (dialled, (accepted, from)) = (dialled.unwrap(), accepted.unwrap());
        assert_eq!(from.ip().to_string(), "127.0.0.2");
        for (stream, dialled, idle) in [
            (&dialled, Some(Cost::Free), IDLE_TIMEOUT),
            (&dialled, Some(Cost::Metered), METERED_IDLE_TIMEOUT),
            (&accepted, None, METERED_IDLE_TIMEOUT),
        ] {
            settle(stream, Lane::Express, dialled).unwrap();
            let socket = SockRef::from(stream);
            assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
            #[cfg(target_os = "linux")]
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(idle));
            assert!(socket.tcp_keepalive_time().unwrap() < idle);
            assert_eq!(socket.tcp_notsent_lowat().unwrap(), UNSENT_BYTES);
        }
    }

    #[tokio::test]
    async fn a_device_that_is_not_there_is_said() {
        let uplink = Uplink { device: Some("huxiao-no-such".to_owned()), ..Uplink::default() };
        let error = connect(&uplink, "127.0.0.1:1".parse().unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("huxiao-no-such"), "{error}");
    }
}
