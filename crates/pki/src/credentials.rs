//! A node's own certificate, key and authority, read and held against each other, and the TLS configurations made of them.
//!
//! Invariant: [`Credentials`] that exist will work. Whatever could make every handshake fail later (the wrong key, another
//! authority, no identity) is found when the files are read, and named with the file. Only the dates are let through:
//! see [`Credentials::validity`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::ring::hmac;
use huxiao_core::limits::BROKER_SESSIONS;
use huxiao_core::{Identity, Role, WallTime};
use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ServerSessionMemoryCache;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::files::{self, FileError};
use crate::leaf::{Leaf, PeerError, Side};
use crate::period::{Period, Validity};
use crate::signing::Signatures;
use crate::tickets::Sparing;
use crate::verify::Verifier;

/// Session tickets that a dialling node keeps, at most eight a server: a few brokers, under a few names.
const TICKETS: usize = 256;
/// Session tickets that a listener gives out in each handshake. A dialler with an alarm waiting spends several on a line that may
/// be dead. They are numbers under which the listener keeps what it knows, so each takes one place of its store.
const TICKETS_A_HANDSHAKE: usize = 4;

/// A node's own certificate and key with the authority that it trusts. Cheap to clone.
#[derive(Clone)]
pub struct Credentials {
    identity: Identity,
    period: Period,
    own: Arc<SingleCertAndKey>,
    verifier: Arc<Verifier>,
    provider: Arc<CryptoProvider>,
    secret: hmac::Key,
}

/// Why a node cannot use the files that it was given.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The text says which file and why.
    #[error(transparent)]
    File(#[from] FileError),
    /// Let the authority of the trust domain issue the certificate.
    #[error("{}: {error}", path.display())]
    Certificate {
        /// The certificate file.
        path: PathBuf,
        /// What is wrong with it.
        error: PeerError,
    },
    /// Give each node the certificate of its own role.
    #[error("{} is the certificate of {identity}, a {}; this node is a {expected}", path.display(), identity.node.role())]
    WrongRole {
        /// The certificate file.
        path: PathBuf,
        /// Whose it is.
        identity: Box<Identity>,
        /// What this node is.
        expected: Role,
    },
    /// Give the two files of one pair.
    #[error("the key {} does not fit the certificate {}: {error}", key.display(), cert.display())]
    Key {
        /// The key file.
        key: PathBuf,
        /// The certificate file.
        cert: PathBuf,
        /// What TLS said.
        error: rustls::Error,
    },
    /// Give the certificate of the authority that issued the node's, or have the node's issued anew.
    #[error("{} was not signed by the authority in {}: {error}", cert.display(), ca.display())]
    OtherAuthority {
        /// The certificate file.
        cert: PathBuf,
        /// The authority's file.
        ca: PathBuf,
        /// What TLS said.
        error: rustls::Error,
    },
    /// The file holds something that is not an authority's certificate.
    #[error("{} cannot be used as an authority: {error}", path.display())]
    Authority {
        /// The authority's file.
        path: PathBuf,
        /// What TLS said.
        error: String,
    },
}

impl Credentials {
    /// Reads and checks the three PEM files. `ca` may hold several authorities, while one takes over from another.
    /// With `expect`, the certificate must be for a node of that role.
    ///
    /// # Errors
    /// See [`CredentialsError`]. An expired certificate is no error: see [`Credentials::validity`].
    pub fn load(ca: &Path, cert: &Path, key: &Path, expect: Option<Role>) -> Result<Self, CredentialsError> {
        let chain = files::read_certificates(cert)?;
        let certificate = |error| CredentialsError::Certificate { path: cert.to_owned(), error };
        let leaf = chain.first().ok_or(PeerError::NoCertificate).and_then(Leaf::read).map_err(certificate)?;
        if let Some(expected) = expect.filter(|role| *role != leaf.identity.node.role()) {
            let identity = Box::new(leaf.identity);
            return Err(CredentialsError::WrongRole { path: cert.to_owned(), identity, expected });
        }
        let provider = Arc::new(ring::default_provider());
        let private = files::read_key(key)?;
        let secret = hmac::Key::new(hmac::HMAC_SHA256, private.secret_der());
        let own = certified(&chain, private, &provider).map_err(|error| CredentialsError::Key {
            key: key.to_owned(),
            cert: cert.to_owned(),
            error,
        })?;
        let verifier = verifier(ca, &leaf, &provider)?;
        // Both uses now, not at the first handshake. The date plays no part in it.
        for (side, der) in [Side::Client, Side::Server].into_iter().zip(chain.first().into_iter().cycle()) {
            verifier.verify(side, der, UnixTime::now()).map_err(|error| CredentialsError::OtherAuthority {
                cert: cert.to_owned(),
                ca: ca.to_owned(),
                error,
            })?;
        }
        Ok(Self { identity: leaf.identity, period: leaf.period, own, verifier: Arc::new(verifier), provider, secret })
    }

    /// Who this node is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// From when until when this node's certificate is valid.
    #[must_use]
    pub fn period(&self) -> Period {
        self.period
    }

    /// Whether it is so at `now`. Anything but [`Validity::Valid`] is to be reported: peers will take only P0 from this node.
    #[must_use]
    pub fn validity(&self, now: WallTime) -> Validity {
        self.period.at(now)
    }

    /// Checks signatures of nodes by the authority that this one trusts.
    #[must_use]
    pub fn signatures(&self) -> Signatures {
        Signatures { verifier: Arc::clone(&self.verifier) }
    }

    /// Thirty-two secret bytes for the use that `label` names: the same in every process with this private key, and of no
    /// help to find the key or the bytes of another label (HMAC-SHA256 as a pseudo-random function).
    #[must_use]
    pub fn derive(&self, label: &str) -> [u8; 32] {
        let tag = hmac::sign(&self.secret, label.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }

    /// A new TLS configuration for a listener that speaks the protocols `alpn`. Make one a process: tickets that one
    /// configuration gave out mean nothing to another.
    ///
    /// # Errors
    /// Only if the provider lacks TLS 1.3, which `ring` does not.
    pub fn server_tls(&self, alpn: &[&[u8]]) -> Result<ServerConfig, rustls::Error> {
        let verifier: Arc<Verifier> = Arc::clone(&self.verifier);
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::clone(&self.own) as _);
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        // QUIC knows 0 and this value, nothing in between (RFC 9001 §4.6.1).
        config.max_early_data_size = u32::MAX;
        // rustls keeps 256 by default: a fleet's tickets would push each other out and nobody would ever resume.
        // It is this process's alone. Nodes that shared tickets would have to share the keys or the store, and each could then be
        // mistaken for the other; a dialler is warm with several nodes anyway and needs no ticket of one for another.
        config.session_storage = ServerSessionMemoryCache::new(BROKER_SESSIONS);
        config.send_tls13_tickets = TICKETS_A_HANDSHAKE;
        Ok(config)
    }

    /// A new TLS configuration for dialling with the protocol `alpn`. Make one a process and protocol and keep it: rustls
    /// resumes only with the very same verifier and certificate objects, so a rebuilt one begins from nothing.
    ///
    /// # Errors
    /// Only if the provider lacks TLS 1.3, which `ring` does not.
    pub fn client_tls(&self, alpn: &[u8]) -> Result<ClientConfig, rustls::Error> {
        let verifier: Arc<Verifier> = Arc::clone(&self.verifier);
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::clone(&self.own) as _);
        config.alpn_protocols = vec![alpn.to_vec()];
        config.enable_early_data = true;
        config.resumption = Resumption::in_memory_sessions(TICKETS);
        Ok(config)
    }

    /// Two TLS configurations for dialling with the protocol `alpn`, which keep the tickets that servers give in one place. The first
    /// spends one on each dial, the second leaves them alone.
    ///
    /// A ticket is good for one dial (rustls gives each out once, and a server forgets one that it has seen), so whoever dials a line that
    /// may be dead spends them for nothing.
    ///
    /// # Errors
    /// Only if the provider lacks TLS 1.3, which `ring` does not.
    pub fn client_tls_pair(&self, alpn: &[u8]) -> Result<(ClientConfig, ClientConfig), rustls::Error> {
        let mut spending = self.client_tls(alpn)?;
        let mut sparing = spending.clone();
        let tickets = Arc::new(ClientSessionMemoryCache::new(TICKETS));
        spending.resumption = Resumption::store(Arc::clone(&tickets) as _);
        sparing.resumption = Resumption::store(Arc::new(Sparing(tickets)));
        Ok((spending, sparing))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = self.period.to_string();
        f.debug_struct("Credentials").field("identity", &self.identity).field("period", &period).finish_non_exhaustive()
    }
}

fn certified(
    chain: &[CertificateDer<'static>],
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<Arc<SingleCertAndKey>, rustls::Error> {
    // Only the first is shown: our authority signs nodes itself, so there is nothing between.
    let shown = chain.first().cloned().into_iter().collect();
    let pair = CertifiedKey::from_der(shown, key, provider)?;
    Ok(Arc::new(SingleCertAndKey::from(pair)))
}

fn verifier(ca: &Path, leaf: &Leaf, provider: &Arc<CryptoProvider>) -> Result<Verifier, CredentialsError> {
    let refuse = |error: String| CredentialsError::Authority { path: ca.to_owned(), error };
    let mut roots = RootCertStore::empty();
    for certificate in files::read_certificates(ca)? {
        // A node's certificate would be taken as a trust anchor without a word, and would then verify nothing but confuse.
        if Leaf::read(&certificate) != Err(PeerError::Authority) {
            return Err(refuse("it is not an authority's certificate; perhaps the files were mixed up".to_owned()));
        }
        roots.add(certificate).map_err(|error| refuse(error.to_string()))?;
    }
    Verifier::new(leaf.identity.domain.clone(), roots, Arc::clone(provider)).map_err(|error| refuse(error.to_string()))
}
