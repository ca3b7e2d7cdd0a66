//! Signatures from end to end, by Ed25519 (RFC 8032): a node's signing key, and the check of other nodes' signatures.
//!
//! A signing certificate is one of the node's own authority for the same identity with a key of its own. It has no extended key usage, and
//! a certificate for sessions has: so neither stands for the other.
//!
//! Invariant: a [`SigningKey`] that exists fits its certificate, and both are of the node whose credentials it was loaded with.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use huxiao_core::signature::{Algorithm, Flaw, Purpose, Signature, Signer, Verifier};
use huxiao_core::{Identity, NodeName, WallTime};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::credentials::Credentials;
use crate::files::{self, FileError};
use crate::leaf::{Leaf, PeerError};
use crate::period::Validity;

/// A node's signing key with its certificate. Cheap to clone.
#[derive(Clone)]
pub struct SigningKey {
    key: Arc<Ed25519KeyPair>,
    certificate: Arc<[u8]>,
}

/// Why a node cannot sign with the files that it was given.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
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
    /// Give the signing certificate of the authority, not that of the sessions.
    #[error("{} is not a signing certificate of the authority that this node trusts: {why}", path.display())]
    NotForSigning {
        /// The certificate file.
        path: PathBuf,
        /// What was said of it.
        why: Flaw,
    },
    /// Give each node its own.
    #[error("{} is the signing certificate of {found}; this node is {own}", path.display())]
    OtherNode {
        /// The certificate file.
        path: PathBuf,
        /// Whose it is.
        found: Box<Identity>,
        /// Who this node is.
        own: Box<Identity>,
    },
    /// Give the two files of one pair.
    #[error("the key {} is no Ed25519 key, or does not fit the certificate {}", key.display(), cert.display())]
    Key {
        /// The key file.
        key: PathBuf,
        /// The certificate file.
        cert: PathBuf,
    },
}

impl SigningKey {
    /// Reads and checks a signing certificate and its key, both PEM, of the node that `credentials` are of.
    ///
    /// # Errors
    /// [`SigningError`]
    pub fn load(cert: &Path, key: &Path, credentials: &Credentials) -> Result<Self, SigningError> {
        let chain = files::read_certificates(cert)?;
        let path = || cert.to_owned();
        let der = chain.first().ok_or(PeerError::NoCertificate);
        let der = der.map_err(|error| SigningError::Certificate { path: path(), error })?;
        let leaf = Leaf::read(der).map_err(|error| SigningError::Certificate { path: path(), error })?;
        if leaf.identity != *credentials.identity() {
            let (found, own) = (Box::new(leaf.identity), Box::new(credentials.identity().clone()));
            return Err(SigningError::OtherNode { path: path(), found, own });
        }
        let public = credentials
            .signatures()
            .public_key(der, &leaf.identity.node)
            .map_err(|why| SigningError::NotForSigning { path: path(), why })?;
        let wrong = || SigningError::Key { key: key.to_owned(), cert: cert.to_owned() };
        let pair =
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(files::read_key(key)?.secret_der()).map_err(|_| wrong())?;
        if pair.public_key().as_ref() != public.as_slice() {
            return Err(wrong());
        }
        Ok(Self { key: Arc::new(pair), certificate: der.as_ref().into() })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key stays out of logs.
        f.debug_struct("SigningKey").field("certificate_bytes", &self.certificate.len()).finish_non_exhaustive()
    }
}

fn signed(purpose: Purpose, message: &[u8]) -> Vec<u8> {
    [purpose.prefix(), message].concat()
}

impl Signer for SigningKey {
    fn sign(&self, purpose: Purpose, message: &[u8]) -> Result<Signature, String> {
        let bytes = self.key.sign(&signed(purpose, message));
        let (algorithm, certificate) = (Algorithm::ED25519, Arc::clone(&self.certificate));
        Ok(Signature { algorithm, certificate, bytes: bytes.as_ref().into() })
    }
}

/// Checks the signatures of one trust domain's nodes. Cheap to clone.
#[derive(Clone)]
pub struct Signatures {
    pub(crate) verifier: Arc<crate::verify::Verifier>,
}

impl Signatures {
    /// The key of a signing certificate of `by`.
    fn public_key(&self, certificate: &CertificateDer<'_>, by: &NodeName) -> Result<Vec<u8>, Flaw> {
        let identity = self.verifier.verify_signing(certificate).map_err(|_| Flaw::Certificate)?;
        if identity.node != *by {
            return Err(Flaw::Signer);
        }
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| Flaw::Certificate)?;
        let spki = parsed.public_key();
        if spki.algorithm.algorithm != x509_parser::oid_registry::OID_SIG_ED25519 {
            return Err(Flaw::Algorithm);
        }
        Ok(spki.subject_public_key.data.to_vec())
    }
}

impl fmt::Debug for Signatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signatures").field(&self.verifier).finish()
    }
}

impl Verifier for Signatures {
    fn verify(&self, purpose: Purpose, message: &[u8], signature: &Signature, by: &NodeName) -> Result<(), Flaw> {
        if signature.algorithm != Algorithm::ED25519 {
            return Err(Flaw::Algorithm);
        }
        let public = self.public_key(&CertificateDer::from(&signature.certificate[..]), by)?;
        let key = UnparsedPublicKey::new(&ED25519, public);
        key.verify(&signed(purpose, message), &signature.bytes).map_err(|_| Flaw::Bytes)
    }

    fn was_valid(&self, signature: &Signature, at: WallTime) -> bool {
        let leaf = Leaf::read(&CertificateDer::from(&signature.certificate[..]));
        leaf.is_ok_and(|leaf| leaf.period.at(at) == Validity::Valid)
    }
}
