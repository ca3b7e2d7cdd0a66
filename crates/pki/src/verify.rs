//! The two TLS verifiers: one for the clients that a server meets, one for the servers that a client dials.
//!
//! Invariant: both sides ask the same questions. Signed by our authority itself? One identity, of our trust domain? Meant
//! for this side? The name that was dialled is not asked: addresses change, identities do not, and the link compares the
//! identity with the one that it expects.
//!
//! The calendar is taken out by verifying at the instant of the certificate's own period that is nearest to now. No
//! intermediate certificate is passed on, which is the path length of zero that our authority states: the verifier keeps
//! only the name and the key of a trust anchor and would not look at its constraints.

use std::fmt;
use std::sync::Arc;

use huxiao_core::{Identity, Name, Span, WallTime};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, PeerIncompatible, RootCertStore,
    SignatureScheme,
};

use crate::leaf::{Leaf, PeerError, Side};

/// Verifies the certificates of one trust domain, on either side.
pub(crate) struct Verifier {
    domain: Name,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    clients: Arc<dyn ClientCertVerifier>,
}

impl Verifier {
    /// A verifier for the nodes of `domain` whose certificates are signed by one of `roots`.
    pub(crate) fn new(
        domain: Name,
        roots: RootCertStore,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, rustls::server::VerifierBuilderError> {
        let roots = Arc::new(roots);
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider)).build()?;
        Ok(Self { domain, roots, provider, clients })
    }

    /// Whether `certificate` may be shown on `side`, whatever the date.
    pub(crate) fn verify(
        &self,
        side: Side,
        certificate: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let leaf = Leaf::read(certificate).map_err(tls_error)?;
        let wall = WallTime(i64::try_from(now.as_secs().saturating_mul(1_000_000)).unwrap_or(i64::MAX));
        let inside = leaf.period.nearest(wall).0.div_euclid(1_000_000);
        let inside = UnixTime::since_unix_epoch(Span::from_secs(u64::try_from(inside).unwrap_or(0)));
        match side {
            Side::Client => self.clients.verify_client_cert(certificate, &[], inside).map(drop),
            Side::Server => verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(certificate)?,
                &self.roots,
                &[],
                inside,
                self.provider.signature_verification_algorithms.all,
            ),
        }?;
        leaf.check(side, &self.domain).map_err(tls_error)
    }

    /// Whose signing certificate this is, whatever the date: one of our authority, without a use in sessions.
    pub(crate) fn verify_signing(&self, certificate: &CertificateDer<'_>) -> Result<Identity, rustls::Error> {
        let leaf = Leaf::read(certificate).map_err(tls_error)?;
        let inside = leaf.period.not_before.0.div_euclid(1_000_000).saturating_add(1);
        let inside = UnixTime::since_unix_epoch(Span::from_secs(u64::try_from(inside).unwrap_or(0)));
        // Without an extended key usage the side plays no part.
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(certificate)?,
            &self.roots,
            &[],
            inside,
            self.provider.signature_verification_algorithms.all,
        )?;
        leaf.check_signing(&self.domain).map_err(tls_error)?;
        Ok(leaf.identity)
    }

    fn verify_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("domain", &self.domain).finish_non_exhaustive()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A node has one certificate and needs no help to choose it; the hint would only make the first flight longer.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verify(Side::Client, end_entity, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify(Side::Server, end_entity, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

fn tls_error(error: PeerError) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(Told(error)))).into()
}

/// rustls prints errors of others in their debug form; an operator is to read the sentence.
struct Told(PeerError);

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Told {}
