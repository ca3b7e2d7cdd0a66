//! The certificate authority of one trust domain.
//!
//! Invariant: it signs nothing but node certificates: one SPIFFE identity of its own trust domain each, never another
//! authority's (path length zero).

use std::fmt;
use std::path::Path;

use huxiao_core::{Identity, Name};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SanType,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::files::{self, FileError};
use crate::leaf;
use crate::period::{Period, calendar};

/// Signs the certificates of one trust domain's nodes.
pub struct Authority {
    domain: Name,
    period: Period,
    cert_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A node's new certificate and its private key: ECDSA P-256 for sessions, Ed25519 for signatures.
#[derive(Clone)]
pub struct Issued {
    /// The certificate, PEM.
    pub cert_pem: String,
    /// The private key, PKCS #8 in PEM. Keep it where [`Issued::save`] puts it and nowhere else.
    pub key_pem: String,
}

/// Why an authority cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The text says which file and why.
    #[error(transparent)]
    File(#[from] FileError),
    /// Give this authority's own files, certificate and key of the same pair.
    #[error("{path} is not an authority's certificate for huxiao: {why}")]
    NotAnAuthority {
        /// The file.
        path: String,
        /// What is missing.
        why: &'static str,
    },
    /// The two files are not a pair.
    #[error("the key {key} does not belong to the certificate {cert}")]
    WrongKey {
        /// The key file.
        key: String,
        /// The certificate file.
        cert: String,
    },
    /// Ask the authority of that trust domain.
    #[error("this authority signs for trust domain {ours}, not for {identity}")]
    OtherDomain {
        /// The domain of this authority.
        ours: Name,
        /// The identity that was asked for.
        identity: Box<Identity>,
    },
    /// Correct the dates.
    #[error(
        "a certificate cannot be valid {0}: it would end before it begins, or a date is outside the years 1950 to 9999"
    )]
    BadPeriod(Period),
    /// A node's certificate would look fine and be refused by other tools once its authority has ended.
    #[error(
        "a certificate valid {asked} would outlive its authority (valid {authority}); ask for a shorter one or renew the authority"
    )]
    Outlives {
        /// The period that was asked for.
        asked: Period,
        /// The authority's.
        authority: Period,
    },
    /// Correct the name.
    #[error("{0:?} is neither an IP address nor a DNS name")]
    BadName(String),
    /// Key generation or encoding failed: the random source or the library, not the input.
    #[error("the certificate could not be made: {0}")]
    Crypto(#[from] rcgen::Error),
}

impl Authority {
    /// A new authority with a new key for the nodes of `domain`, with a certificate valid for `period`.
    ///
    /// # Errors
    /// [`AuthorityError::BadPeriod`], [`AuthorityError::Crypto`].
    pub fn create(domain: &Name, period: Period) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(period, &format!("Huxiao authority of {domain}"))?;
        params.subject_alt_names = vec![SanType::URI(format!("spiffe://{domain}").try_into()?)];
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        let issuer = Issuer::new(params, key);
        Ok(Self { domain: domain.clone(), period, cert_pem: certificate.pem(), issuer })
    }

    /// The authority whose certificate and key are in these files.
    ///
    /// # Errors
    /// [`AuthorityError::File`], [`AuthorityError::NotAnAuthority`], [`AuthorityError::WrongKey`].
    pub fn load(cert: &Path, key: &Path) -> Result<Self, AuthorityError> {
        let refuse = |why| AuthorityError::NotAnAuthority { path: cert.display().to_string(), why };
        let certificates = files::read_certificates(cert)?;
        let [der] = certificates.as_slice() else {
            return Err(refuse("the file holds more than one certificate"));
        };
        let (_, parsed) = X509Certificate::from_der(der).map_err(|_| refuse("it is not valid X.509 DER"))?;
        if !parsed.is_ca() {
            return Err(refuse("its basic constraints do not say CA; it is a node's own"));
        }
        let uris = leaf::uris(&parsed).map_err(|_| refuse("its alternative names cannot be read"))?;
        let domain = match uris.as_slice() {
            [uri] => uri.strip_prefix("spiffe://").and_then(|domain| Name::new(domain).ok()),
            _ => None,
        };
        let domain = domain.ok_or_else(|| refuse("it does not name its trust domain as spiffe://<domain>"))?;
        let pair = KeyPair::try_from(files::read_key(key)?.secret_der()).map_err(AuthorityError::Crypto)?;
        if pair.public_key_raw() != parsed.public_key().subject_public_key.data.as_ref() {
            let (key, cert) = (key.display().to_string(), cert.display().to_string());
            return Err(AuthorityError::WrongKey { key, cert });
        }
        let period = leaf::period(&parsed);
        let cert_pem = files::read_text(cert)?;
        Ok(Self { domain, period, cert_pem, issuer: Issuer::from_ca_cert_der(der, pair)? })
    }

    /// Writes the certificate (mode 0644) and the key (mode 0600), each whole or not at all, the key first.
    ///
    /// # Errors
    /// [`AuthorityError::File`].
    pub fn save(&self, cert: &Path, key: &Path) -> Result<(), AuthorityError> {
        files::write(key, 0o600, &self.issuer.key().serialize_pem())?;
        Ok(files::write(cert, 0o644, &self.cert_pem)?)
    }

    /// A new key and a certificate for `identity`, for both sides of TLS, valid for `period`. `names` are DNS names and IP
    /// addresses to be added for other tools; nodes themselves compare identities.
    ///
    /// # Errors
    /// [`AuthorityError::OtherDomain`], [`AuthorityError::BadPeriod`], [`AuthorityError::Outlives`],
    /// [`AuthorityError::BadName`], [`AuthorityError::Crypto`].
    pub fn issue(&self, identity: &Identity, period: Period, names: &[String]) -> Result<Issued, AuthorityError> {
        let mut params = self.node_params(identity, period)?;
        for name in names {
            params.subject_alt_names.push(alternative_name(name)?);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { cert_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// A new Ed25519 key and a certificate for signatures of `identity`, of no use in sessions, valid for `period`.
    ///
    /// # Errors
    /// [`AuthorityError::OtherDomain`], [`AuthorityError::BadPeriod`], [`AuthorityError::Outlives`], [`AuthorityError::Crypto`].
    pub fn issue_signing(&self, identity: &Identity, period: Period) -> Result<Issued, AuthorityError> {
        let params = self.node_params(identity, period)?;
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { cert_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// What every certificate of a node says.
    fn node_params(&self, identity: &Identity, period: Period) -> Result<CertificateParams, AuthorityError> {
        if identity.domain != self.domain {
            let (ours, identity) = (self.domain.clone(), Box::new(identity.clone()));
            return Err(AuthorityError::OtherDomain { ours, identity });
        }
        if period.not_after > self.period.not_after {
            return Err(AuthorityError::Outlives { asked: period, authority: self.period });
        }
        let mut params = params(period, &identity.node.to_string())?;
        params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into()?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        Ok(params)
    }

    /// The trust domain for which it signs.
    #[must_use]
    pub fn domain(&self) -> &Name {
        &self.domain
    }

    /// Its own certificate, PEM: what every node needs as its `ca` file.
    #[must_use]
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// From when until when its own certificate is valid.
    #[must_use]
    pub fn period(&self) -> Period {
        self.period
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("domain", &self.domain).field("period", &self.period).finish_non_exhaustive()
    }
}

impl Issued {
    /// Writes the certificate (mode 0644) and the key (mode 0600), each whole or not at all, the key first.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn save(&self, cert: &Path, key: &Path) -> Result<(), FileError> {
        files::write(key, 0o600, &self.key_pem)?;
        files::write(cert, 0o644, &self.cert_pem)
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key stays out of logs.
        f.debug_struct("Issued").field("cert_pem", &self.cert_pem).finish_non_exhaustive()
    }
}

fn params(period: Period, common_name: &str) -> Result<CertificateParams, AuthorityError> {
    let (Some(not_before), Some(not_after)) = (calendar(period.not_before), calendar(period.not_after)) else {
        return Err(AuthorityError::BadPeriod(period));
    };
    if not_before >= not_after {
        return Err(AuthorityError::BadPeriod(period));
    }
    let mut distinguished_name = DistinguishedName::new();
    // X.520 allows 64 characters, and some tools refuse more. Nobody of ours reads it: the identity is the URI.
    distinguished_name.push(DnType::CommonName, common_name.chars().take(64).collect::<String>());
    let mut params = CertificateParams::default();
    params.not_before = not_before;
    params.not_after = not_after;
    params.distinguished_name = distinguished_name;
    Ok(params)
}

fn alternative_name(name: &str) -> Result<SanType, AuthorityError> {
    if let Ok(address) = name.parse() {
        return Ok(SanType::IpAddress(address));
    }
    match rustls::pki_types::DnsName::try_from(name) {
        Ok(_) => Ok(SanType::DnsName(name.try_into()?)),
        Err(_) => Err(AuthorityError::BadName(name.to_owned())),
    }
}
