//! Peers that are not what they should be: links and bare QUIC connections with whatever certificate a test gives them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use huxiao_core::{
    Class, Event, EventCopy, EventId, Form, Kind, Lane, Message, Mode, NodeName, PathId, RelayId, Rng, Text, Trail,
    WallTime,
};
use huxiao_link::{DialHandle, Expect, Link, LinkConfig, LinkEvent, Target, Uplink};
use huxiao_pki::{Credentials, Period};
use huxiao_tests::lab::{Lab, wall_now};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::PATIENCE;

/// The credentials of `node` by the lab's own authority.
pub(crate) fn credentials(lab: &Lab, node: &str, period: Period) -> Credentials {
    let (cert, key) = lab.issue(node, period);
    Credentials::load(&lab.ca_file(), &cert, &key, None).unwrap()
}

/// Valid now.
pub(crate) fn valid() -> Period {
    Period::days(wall_now(), 1)
}

/// Valid until yesterday.
pub(crate) fn expired() -> Period {
    let day = 86_400_000_000;
    Period { not_before: WallTime(wall_now().0 - 10 * day), not_after: WallTime(wall_now().0 - day) }
}

/// An event as `relay/<school>/<device>` would raise it.
pub(crate) fn event(relay: &str, kind: Kind, number: u64) -> (EventId, Message) {
    let NodeName::Relay(RelayId { school, device }) = relay.parse().unwrap() else { panic!("{relay} is no relay") };
    let id = EventId::generate(wall_now(), &mut Rng::new(number ^ u64::try_from(wall_now().0).unwrap()));
    let event = Event {
        id,
        relay: RelayId { school, device },
        epoch: 1,
        seq: number,
        class: kind.class().unwrap(),
        kind,
        mode: Mode::Live,
        device: None,
        zone: None,
        note: Text::default(),
        raised_at: wall_now(),
        count: 1,
        details: huxiao_core::Details::default(),
    };
    let copy = EventCopy { sealed: huxiao_wire::seal(&event), trail: Trail::default(), receipts: Vec::new() };
    (id, Message::Event(copy))
}

/// A link of our own making to the lab's broker.
pub(crate) struct Peer {
    runtime: Runtime,
    link: Link,
    events: mpsc::Receiver<LinkEvent>,
    path: PathId,
    _handle: DialHandle,
}

impl Peer {
    /// Dials the broker on the express lane and waits for the session.
    pub(crate) fn connect(lab: &Lab, credentials: Credentials) -> Self {
        let runtime = runtime();
        let _inside = runtime.enter();
        let (sender, mut events) = mpsc::channel(64);
        let link = Link::new(credentials, LinkConfig::new(|_| true), sender).unwrap();
        let target = Target {
            addr: lab.quic().to_owned(),
            uplink: Uplink::default(),
            expect: Expect::broker(None),
            lanes: vec![Lane::Express],
        };
        let handle = link.dial(&target);
        let first = runtime.block_on(tokio::time::timeout(PATIENCE, events.recv()));
        let Ok(Some(LinkEvent::Up { path, .. })) = first else { panic!("no session: {first:?}") };
        drop(_inside);
        Self { runtime, link, events, path, _handle: handle }
    }

    /// Sends a message.
    pub(crate) fn send(&self, class: Class, message: &Message) {
        assert!(self.link.send(self.path, class, Form::Stream, message));
    }

    /// Reads on until `pick` takes a message, or gives `None` after `within`.
    pub(crate) fn find<T>(&mut self, within: Duration, mut pick: impl FnMut(Message) -> Option<T>) -> Option<T> {
        let events = &mut self.events;
        self.runtime.block_on(async {
            let search = async {
                loop {
                    match events.recv().await? {
                        LinkEvent::Message { message, .. } => {
                            if let Some(found) = pick(message) {
                                return Some(found);
                            }
                        }
                        LinkEvent::Up { .. } | LinkEvent::Down { .. } => {}
                    }
                }
            };
            tokio::time::timeout(within, search).await.ok().flatten()
        })
    }
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A bare connection to the broker, with good credentials and no link around it.
pub(crate) async fn bare(credentials: &Credentials, broker: &str) -> (Endpoint, Connection) {
    let tls = credentials.client_tls(b"huxiao/1").unwrap();
    let (endpoint, connecting) = dial(tls, broker);
    (endpoint, connecting.await.unwrap())
}

fn dial(tls: rustls::ClientConfig, broker: &str) -> (Endpoint, quinn::Connecting) {
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let broker: SocketAddr = broker.parse().unwrap();
    let connecting = endpoint.connect_with(config, broker, "any.name").unwrap();
    (endpoint, connecting)
}

/// Comes with a certificate that a decent client would not have shown (or with none), sends one event at once, and gives back
/// how the broker ended it.
pub(crate) async fn intrude(shown: Option<(&Path, &Path)>, broker: &str, event: &Message) -> String {
    let provider = Arc::new(ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAll(provider)));
    let mut tls = match shown {
        Some((cert, key)) => {
            let chain = vec![CertificateDer::from_pem_file(cert).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![b"huxiao/1".to_vec()];
    let (_endpoint, connecting) = dial(tls, broker);
    let connection = match connecting.await {
        Ok(connection) => connection,
        Err(error) => return error.to_string(),
    };
    // TLS 1.3 lets a client finish before the server has looked at its certificate.
    if let Ok(mut stream) = connection.open_uni().await {
        // The broker may be gone already.
        let _ = stream.write_all(&huxiao_wire::encode(event)).await;
        let _ = stream.finish();
    }
    let closed = tokio::time::timeout(PATIENCE, connection.closed()).await;
    closed.expect("the broker closes the connection").to_string()
}

/// Believes any server: the tests' intruder is not the one who is careful.
#[derive(Debug)]
struct TrustAll(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
