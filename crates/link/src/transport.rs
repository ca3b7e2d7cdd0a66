//! QUIC as this system wants it: time-outs, windows, sockets, and how a lane is named.
//!
//! Invariant: nothing here can be different on the two sides of a session but by version, and nothing depends on what a peer
//! has not yet proven: a connection has the small windows of express until its ALPN says bulk.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use huxiao_core::limits::{
    BULK_FRAME_BYTES, EXPRESS_FRAME_BYTES, IDLE_TIMEOUT, KEEP_ALIVE, METERED_IDLE_TIMEOUT, METERED_KEEP_ALIVE,
    PEER_FRAME_BYTES, PEER_IDLE_TIMEOUT, PEER_KEEP_ALIVE, STATION_KEEP_ALIVE,
};
use huxiao_core::{Cost, Lane, Role, Span};
use huxiao_pki::Credentials;
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig,
    TokenMemoryCache, TokioRuntime, TransportConfig, VarInt,
};
use quinn_proto::HashedConnectionIdGenerator;
use ring::{hkdf, hmac};
use rustls::client::Resumption;
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Uplink;
use crate::congestion::{self, Modes};
use crate::event::LinkError;

/// Streams that a peer may have open at once; also more than a node ever opens, see [`crate::outgoing`].
pub(crate) const STREAMS: u32 = 256;
/// The round-trip time that is assumed before one was measured. The first repeat of a lost packet comes after three of
/// these. RFC 9002's 333 ms would make the loss of a ClientHello cost a second; a needless repeat costs 1,200 bytes.
const INITIAL_RTT: Span = Span::from_millis(150);
/// Unread bytes that a peer may have in flight on one express connection; likewise bytes sent and not acknowledged.
const EXPRESS_WINDOW: u32 = 1_024 * 1_024;
/// The same on bulk.
const BULK_WINDOW: u32 = 4 * 1_024 * 1_024;
/// The same on one stream: a whole frame, so that one which has come needs no more credit to be read.
const STREAM_WINDOW: u32 = 1_024 * 1_024;
/// Datagrams that came and were not read yet, on one connection; beyond it the oldest are lost. Only a driver that is busy for
/// as long as some hundred of them take to arrive makes any wait here.
const DATAGRAMS_IN_BYTES: usize = 64 * 1_024;
/// Datagrams that wait to leave one connection: those of one turn of its task. What finds no room goes on a stream.
const DATAGRAMS_OUT_BYTES: usize = 64 * 1_024;
/// What quinn says is free of [`DATAGRAMS_OUT_BYTES`] when none waits: it keeps room for the bookkeeping of one more.
pub(crate) const DATAGRAMS_NONE: usize = DATAGRAMS_OUT_BYTES - 64;
/// A packet is given up for lost when so many later ones have been acknowledged. RFC 9002's 3 is for lines that keep packets in
/// order; over radio, delays differ by tens of milliseconds, which is dozens of packets on a fast line.
const PACKET_THRESHOLD: u32 = 32;
/// The same after this many round-trip times, where RFC 9002 has 9/8: an eighth of a rural line's 60 ms is less than its delays
/// differ by, and every packet that was only late would be sent again. What is really lost is missed half a round trip
/// later; alarms do not wait for that, their copies are on the way long before.
const TIME_THRESHOLD: f32 = 1.5;
/// What a listener asks of the kernel for bursts of datagrams: when a fleet reconnects, first packets come all at once.
const LISTENER_BUFFER_BYTES: usize = 4 * 1_024 * 1_024;
/// Bytes kept for connections that are not accepted yet: their first packet and some 0-RTT, for one and for all together.
const UNACCEPTED_BYTES: (u64, u64) = (64 * 1_024, 16 * 1_024 * 1_024);
/// Between two stateless resets. Each answers a longer packet, so it amplifies nothing, and a restarted node has one for
/// each of thousands of sessions.
const RESET_INTERVAL: Span = Span::from_millis(1);

const _: () = assert!(STREAM_WINDOW as usize >= BULK_FRAME_BYTES && BULK_FRAME_BYTES >= EXPRESS_FRAME_BYTES);
const _: () = assert!(BULK_WINDOW >= 2 * STREAM_WINDOW && EXPRESS_WINDOW as usize >= 8 * EXPRESS_FRAME_BYTES);

/// The protocol of a lane. A frame format that is not compatible would be another number.
pub(crate) fn alpn(lane: Lane) -> &'static [u8] {
    match lane {
        Lane::Express => b"huxiao/1",
        Lane::Bulk => b"huxiao-bulk/1",
    }
}

/// The protocol between the nodes of one region, see [`crate::peer`].
pub(crate) const PEER_ALPN: &[u8] = b"huxiao-peer/1";
/// Calls that a peer may have under way at once on one connection.
pub(crate) const PEER_CALLS: u32 = 128;
/// Unread bytes that a peer may have in flight on one connection: a whole request, and room for those that must not wait for it.
const PEER_WINDOW: u32 = 16 * 1_024 * 1_024;
/// Bytes given to a connection with a peer and not acknowledged. What a call has to say of a body that is on its way is that its pieces
/// are taken from it, so this is less than a snapshot.
const PEER_SEND_WINDOW: u64 = 4 * 1_024 * 1_024;
/// See [`INITIAL_RTT`]. The nodes of a region are near each other, and a handshake with one is given up soon.
const PEER_INITIAL_RTT: Span = Span::from_millis(40);

const _: () = assert!(PEER_WINDOW as usize > PEER_FRAME_BYTES);

/// What a connection that was taken in is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A session on this lane.
    Session(Lane),
    /// Calls of a peer of the region.
    Peer,
}

/// The longest frame that is read on a lane.
pub(crate) fn frame_bytes(lane: Lane) -> usize {
    match lane {
        Lane::Express => EXPRESS_FRAME_BYTES,
        Lane::Bulk => BULK_FRAME_BYTES,
    }
}

/// What a connection's ALPN says that it is for, with the settings of that put in force.
pub(crate) fn settle(connection: &Connection) -> Option<Purpose> {
    let data = connection.handshake_data()?.downcast::<HandshakeData>().ok()?;
    let protocol = data.protocol?;
    if protocol == PEER_ALPN {
        congestion::choose_peer(connection);
        connection.set_max_concurrent_bi_streams(VarInt::from_u32(PEER_CALLS));
        connection.set_receive_window(PEER_WINDOW.into());
        connection.set_send_window(PEER_SEND_WINDOW);
        return Some(Purpose::Peer);
    }
    let lane = [Lane::Express, Lane::Bulk].into_iter().find(|lane| alpn(*lane) == protocol)?;
    set_lane(connection, lane);
    Some(Purpose::Session(lane))
}

/// Puts the settings of a lane in force.
pub(crate) fn set_lane(connection: &Connection, lane: Lane) {
    congestion::choose(connection, lane);
    if lane == Lane::Bulk {
        connection.set_receive_window(BULK_WINDOW.into());
        connection.set_send_window(BULK_WINDOW.into());
    }
}

/// The configurations with which lanes are dialled, for as long as the process lives: by lane, by what the line costs, and one that
/// leaves the session tickets alone beside one that spends them.
pub(crate) struct Clients {
    lanes: [LaneClients; 2],
    /// What listeners gave to show at the next dial, so that they need not ask for a proof of the address (RFC 9000 §8.1.3).
    tokens: Arc<TokenMemoryCache>,
}

struct LaneClients {
    spending: Arc<QuicClientConfig>,
    sparing: Arc<QuicClientConfig>,
    free: Arc<TransportConfig>,
    metered: Arc<TransportConfig>,
}

impl Clients {
    /// Those of one node.
    pub(crate) fn new(credentials: &Credentials) -> Result<Self, LinkError> {
        let lanes = [LaneClients::new(credentials, Lane::Express)?, LaneClients::new(credentials, Lane::Bulk)?];
        Ok(Self { lanes, tokens: Arc::default() })
    }

    /// The one for a dial.
    pub(crate) fn get(&self, lane: Lane, cost: Cost, ticket: bool) -> ClientConfig {
        let of_lane = &self.lanes[usize::from(lane == Lane::Bulk)];
        let crypto = if ticket { &of_lane.spending } else { &of_lane.sparing };
        let transport = match cost {
            Cost::Free => &of_lane.free,
            Cost::Metered => &of_lane.metered,
        };
        let mut config = ClientConfig::new(Arc::clone(crypto) as _);
        config.transport_config(Arc::clone(transport)).token_store(Arc::clone(&self.tokens) as _);
        config
    }
}

impl LaneClients {
    fn new(credentials: &Credentials, lane: Lane) -> Result<Self, LinkError> {
        let setup = |error: String| LinkError::Setup(error);
        let (spending, sparing) = credentials.client_tls_pair(alpn(lane)).map_err(|error| setup(error.to_string()))?;
        let quic = |tls: rustls::ClientConfig| match QuicClientConfig::try_from(tls) {
            Ok(config) => Ok(Arc::new(config)),
            Err(error) => Err(setup(error.to_string())),
        };
        let keep_alive = match credentials.identity().node.role() {
            Role::Station => STATION_KEEP_ALIVE,
            Role::Relay | Role::Broker => KEEP_ALIVE,
        };
        Ok(Self {
            spending: quic(spending)?,
            sparing: quic(sparing)?,
            free: Arc::new(client_transport(lane, keep_alive, IDLE_TIMEOUT)?),
            metered: Arc::new(client_transport(lane, METERED_KEEP_ALIVE, METERED_IDLE_TIMEOUT)?),
        })
    }
}

/// Keep-alives come from the dialling side alone: it is the one behind the NAT, and each ping draws an answer that serves the other.
fn client_transport(lane: Lane, keep_alive: Span, idle: Span) -> Result<TransportConfig, LinkError> {
    let mut transport = transport(idle)?;
    transport.keep_alive_interval(Some(keep_alive));
    if lane == Lane::Bulk {
        // What is offered by one end only is used by neither; a listener offers it before it knows the lane.
        transport.datagram_receive_buffer_size(None);
    }
    Ok(transport)
}

/// The configuration with which peers of the region are dialled. Each handshake is a whole one: nothing that a node of the region asks
/// may be repeated by whoever recorded it, and a round trip between them is next to nothing.
pub(crate) fn peer_client(credentials: &Credentials) -> Result<ClientConfig, LinkError> {
    let setup = |error: String| LinkError::Setup(error);
    let mut tls = credentials.client_tls(PEER_ALPN).map_err(|error| setup(error.to_string()))?;
    tls.enable_early_data = false;
    tls.resumption = Resumption::disabled();
    let crypto = QuicClientConfig::try_from(tls).map_err(|error| setup(error.to_string()))?;
    let mut transport = transport(PEER_IDLE_TIMEOUT)?;
    transport
        .keep_alive_interval(Some(PEER_KEEP_ALIVE))
        .initial_rtt(PEER_INITIAL_RTT)
        // Snapshots are worth finding out how long packets may be; nobody pays by the byte here.
        .mtu_discovery_config(Some(MtuDiscoveryConfig::default()))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(PEER_WINDOW))
        .receive_window(VarInt::from_u32(PEER_WINDOW))
        .send_window(PEER_SEND_WINDOW)
        .datagram_receive_buffer_size(None)
        .congestion_controller_factory(congestion::cubic());
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// The one configuration with which a process listens.
pub(crate) fn server_config(credentials: &Credentials) -> Result<ServerConfig, LinkError> {
    let setup = |error: String| LinkError::Setup(error);
    let protocols = [alpn(Lane::Express), alpn(Lane::Bulk), PEER_ALPN];
    let tls = credentials.server_tls(&protocols).map_err(|error| setup(error.to_string()))?;
    let crypto = QuicServerConfig::try_from(tls).map_err(|error| setup(error.to_string()))?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    // The shorter of both ends' time-outs holds, and only the dialler knows what its line costs.
    config.transport_config(Arc::new(transport(METERED_IDLE_TIMEOUT)?)).migration(true);
    // A peer that was here before shows the token it got then and needs no Retry, also after a restart of this node, which is
    // when they all come at once.
    let tokens = hkdf::Salt::new(hkdf::HKDF_SHA256, b"").extract(&credentials.derive("huxiao quic address token"));
    config.token_key(Arc::new(tokens));
    config.incoming_buffer_size(UNACCEPTED_BYTES.0).incoming_buffer_size_total(UNACCEPTED_BYTES.1);
    Ok(config)
}

/// A socket and endpoint to listen on `addr`. An IPv6 wildcard takes IPv4 too.
///
/// Its connection ids and reset tokens follow from the node's private key. So after a restart it can tell a peer that speaks
/// of a session of its former life that this session is gone, and the peer redials at once instead of after its idle time-out.
pub(crate) fn listener(
    credentials: &Credentials,
    config: ServerConfig,
    addr: SocketAddr,
) -> Result<Endpoint, LinkError> {
    let fail = |error| LinkError::Bind { addr, error };
    let socket = socket(addr, None).map_err(fail)?;
    // The kernel grants as much as its limits allow and does not say no.
    let _ = socket.set_recv_buffer_size(LISTENER_BUFFER_BYTES);
    let reset = hmac::Key::new(hmac::HMAC_SHA256, &credentials.derive("huxiao quic stateless reset"));
    let [a, b, c, d, e, f, g, h, ..] = credentials.derive("huxiao quic connection id");
    let ids = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let mut endpoint = EndpointConfig::new(Arc::new(reset));
    endpoint.min_reset_interval(RESET_INTERVAL);
    endpoint.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    Endpoint::new(endpoint, Some(config), UdpSocket::from(socket), Arc::new(TokioRuntime)).map_err(fail)
}

/// A new socket and endpoint to dial `remote` from over `uplink`.
pub(crate) fn dialler(uplink: &Uplink, remote: SocketAddr) -> Result<Endpoint, LinkError> {
    let socket = outgoing(uplink, remote)?;
    let fail = |error| LinkError::Bind { addr: remote, error };
    Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime)).map_err(fail)
}

/// A new socket to reach `remote` from over `uplink`, on a port that the system has not just used.
pub(crate) fn outgoing(uplink: &Uplink, remote: SocketAddr) -> Result<UdpSocket, LinkError> {
    let wildcard = if remote.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let addr = SocketAddr::new(uplink.local.unwrap_or(wildcard), 0);
    let socket = socket(addr, uplink.device.as_deref()).map_err(|error| match &uplink.device {
        Some(device) => LinkError::Device { device: device.clone(), addr, error },
        None => LinkError::Bind { addr, error },
    })?;
    Ok(UdpSocket::from(socket))
}

fn socket(addr: SocketAddr, device: Option<&str>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if let Some(device) = device {
        bind_device(&socket, device)?;
    }
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// Has everything that `socket` sends leave by `device`, whatever the routes say.
#[cfg(target_os = "linux")]
pub(crate) fn bind_device(socket: &Socket, device: &str) -> io::Result<()> {
    socket.bind_device(Some(device.as_bytes()))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn bind_device(_: &Socket, _: &str) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "only Linux binds a socket to a device; give a local address instead",
    ))
}

fn transport(idle: Span) -> Result<TransportConfig, LinkError> {
    let idle = IdleTimeout::try_from(idle).map_err(|error| LinkError::Setup(error.to_string()))?;
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(idle))
        .initial_rtt(INITIAL_RTT)
        // What every IPv6 path carries, and no more: an alarm is a quarter of it, bulk's longer packets would hold up a slow line for
        // as much longer, and probing for more costs a metered one some kilobytes a session.
        .initial_mtu(1_200)
        .mtu_discovery_config(None)
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(EXPRESS_WINDOW))
        .send_window(EXPRESS_WINDOW.into())
        .datagram_receive_buffer_size(Some(DATAGRAMS_IN_BYTES))
        .datagram_send_buffer_size(DATAGRAMS_OUT_BYTES)
        .packet_threshold(PACKET_THRESHOLD)
        .time_threshold(TIME_THRESHOLD)
        .congestion_controller_factory(Arc::new(Modes));
    Ok(transport)
}
