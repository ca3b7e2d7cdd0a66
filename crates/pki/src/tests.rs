//! Real handshakes in memory, with every certificate that must not pass, and with those that must.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use huxiao_core::{Identity, Name, Role, WallTime};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

use crate::*;

const YEAR: u32 = 365;

fn now() -> WallTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    WallTime(i64::try_from(since.as_micros()).unwrap())
}

fn days(count: i64) -> i64 {
    count * 86_400_000_000
}

fn identity(text: &str) -> Identity {
    text.parse().unwrap()
}

fn relay() -> Identity {
    identity("spiffe://province/relay/school-1/gate")
}

fn broker() -> Identity {
    identity("spiffe://province/broker/east/b1")
}

/// A folder with an authority in it.
struct World {
    dir: tempfile::TempDir,
    authority: Authority,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let period = Period { not_before: WallTime(now().0 - days(800)), not_after: WallTime(now().0 + days(3_650)) };
        let authority = Authority::create(&Name::new("province").unwrap(), period).unwrap();
        authority.save(&dir.path().join("ca.pem"), &dir.path().join("ca.key")).unwrap();
        Self { dir, authority }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn node(&self, identity: &Identity, period: Period) -> Credentials {
        let (cert, key) = (self.file("node.pem"), self.file("node.key"));
        self.authority.issue(identity, period, &[]).unwrap().save(&cert, &key).unwrap();
        Credentials::load(&self.file("ca.pem"), &cert, &key, None).unwrap()
    }

    fn valid(&self, identity: &Identity) -> Credentials {
        self.node(identity, Period::days(now(), YEAR))
    }

    /// A certificate of any shape, signed by the authority's key: what a careless or stolen authority might sign.
    fn odd(&self, shape: impl FnOnce(&mut CertificateParams)) -> Arc<SingleCertAndKey> {
        let ca = CertificateDer::from_pem_slice(self.authority.cert_pem().as_bytes()).unwrap();
        let key = KeyPair::from_pem(&fs::read_to_string(self.file("ca.key")).unwrap()).unwrap();
        odd(&Issuer::from_ca_cert_der(&ca, key).unwrap(), shape)
    }
}

fn odd(issuer: &Issuer<'_, KeyPair>, shape: impl FnOnce(&mut CertificateParams)) -> Arc<SingleCertAndKey> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(relay().to_string().try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    shape(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    shown(certificate.der().clone(), &key.serialize_pem())
}

fn shown(certificate: CertificateDer<'static>, key_pem: &str) -> Arc<SingleCertAndKey> {
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).unwrap();
    Arc::new(CertifiedKey::from_der(vec![certificate], key, &ring::default_provider()).unwrap().into())
}

/// What each side says of the other once the handshake is over, or why there is none.
fn shake(client: ClientConfig, server: ServerConfig) -> Result<(Peer, Peer), String> {
    let mut client = ClientConnection::new(Arc::new(client), "any.name".try_into().unwrap()).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    for _ in 0..10 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            server.read_tls(&mut wire).unwrap();
            server.process_new_packets().map_err(|error| format!("server: {error}"))?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            client.read_tls(&mut wire).unwrap();
            client.process_new_packets().map_err(|error| format!("client: {error}"))?;
        }
    }
    let of = |chain: Option<&[CertificateDer<'static>]>| peer_identity(chain.unwrap_or_default(), now());
    let seen = of(client.peer_certificates()).and_then(|server_is| Ok((of(server.peer_certificates())?, server_is)));
    seen.map_err(|error| error.to_string())
}

fn pair(client: &Credentials, server: &Credentials) -> (ClientConfig, ServerConfig) {
    (client.client_tls(b"x").unwrap(), server.server_tls(&[b"x"]).unwrap())
}

#[test]
fn both_sides_learn_who_the_other_is() {
    let world = World::new();
    let (client, server) = pair(&world.valid(&relay()), &world.valid(&broker()));
    let (client_is, server_is) = shake(client, server).unwrap();
    assert_eq!((client_is.identity, client_is.validity), (relay(), Validity::Valid));
    assert_eq!((server_is.identity, server_is.validity), (broker(), Validity::Valid));
}

#[test]
fn the_calendar_flags_and_does_not_refuse() {
    let world = World::new();
    let past = Period { not_before: WallTime(now().0 - days(700)), not_after: WallTime(now().0 - days(300)) };
    let future = Period { not_before: WallTime(now().0 + days(300)), not_after: WallTime(now().0 + days(700)) };
    for (period, validity) in [(past, Validity::Expired), (future, Validity::NotYetValid)] {
        let (flagged, fine) = (world.node(&relay(), period), world.valid(&broker()));
        assert_eq!(flagged.validity(now()), validity);
        let (client, server) = pair(&flagged, &fine);
        assert_eq!(shake(client, server).unwrap().0.validity, validity, "as a client");
        let flagged = world.node(&broker(), period);
        let (client, server) = pair(&world.valid(&relay()), &flagged);
        assert_eq!(shake(client, server).unwrap().1.validity, validity, "as a server");
    }
}

/// Tries one certificate on either side and gives what each handshake failed of.
fn refused(world: &World, shown: &Arc<SingleCertAndKey>) -> [String; 2] {
    let (mut client, server) = pair(&world.valid(&relay()), &world.valid(&broker()));
    client.client_auth_cert_resolver = Arc::clone(shown) as _;
    let as_client = shake(client, server).expect_err("as a client");
    let (client, mut server) = pair(&world.valid(&relay()), &world.valid(&broker()));
    server.cert_resolver = Arc::clone(shown) as _;
    [as_client, shake(client, server).expect_err("as a server")]
}

#[test]
fn whatever_else_is_wrong_fails_the_handshake() {
    let world = World::new();
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    let cases: [(&str, Arc<SingleCertAndKey>, &str); 6] = [
        ("no SAN", world.odd(|p| p.subject_alt_names.clear()), "names no node"),
        ("two SANs", world.odd(|p| p.subject_alt_names.push(uri("spiffe://province/relay/school-2/gate"))), "2 URIs"),
        ("not SPIFFE", world.odd(|p| p.subject_alt_names = vec![uri("https://province/relay/a/b")]), "not a spiffe"),
        (
            "other domain",
            world.odd(|p| p.subject_alt_names = vec![uri("spiffe://else/relay/a/b")]),
            "trust domain else",
        ),
        ("no EKU", world.odd(|p| p.extended_key_usages.clear()), "not meant for a TLS"),
        (
            "authority as leaf",
            world.odd(|p| p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0))),
            "authority's",
        ),
    ];
    for (name, shown, words) in cases {
        for error in refused(&world, &shown) {
            assert!(error.contains(words), "{name}: {error:?} should say {words:?}");
        }
    }
}

#[test]
fn a_certificate_for_one_side_does_not_serve_the_other() {
    let world = World::new();
    let only_server = world.odd(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let (mut client, server) = pair(&world.valid(&relay()), &world.valid(&broker()));
    client.client_auth_cert_resolver = only_server;
    shake(client, server).expect_err("a server's certificate shown by a client");
    let only_client = world.odd(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let (client, mut server) = pair(&world.valid(&relay()), &world.valid(&broker()));
    server.cert_resolver = only_client;
    shake(client, server).expect_err("a client's certificate shown by a server");
}

#[test]
fn another_authority_of_the_same_name_is_another_authority() {
    let (world, other) = (World::new(), World::new());
    for error in refused(&world, &other.odd(|_| {})) {
        assert!(error.contains("UnknownIssuer") || error.contains("BadSignature"), "{error}");
    }
}

#[test]
fn a_signature_that_was_tampered_with_is_refused() {
    let world = World::new();
    let issued = world.authority.issue(&relay(), Period::days(now(), 1), &[]).unwrap();
    let mut der = CertificateDer::from_pem_slice(issued.cert_pem.as_bytes()).unwrap().to_vec();
    *der.last_mut().unwrap() ^= 1;
    for error in refused(&world, &shown(der.into(), &issued.key_pem)) {
        assert!(error.contains("BadSignature"), "{error}");
    }
}

#[test]
fn an_intermediate_of_our_authority_cannot_sign() {
    let world = World::new();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    let key = KeyPair::generate().unwrap();
    let ca = CertificateDer::from_pem_slice(world.authority.cert_pem().as_bytes()).unwrap();
    let ca_key = KeyPair::from_pem(&fs::read_to_string(world.file("ca.key")).unwrap()).unwrap();
    let intermediate = params.signed_by(&key, &Issuer::from_ca_cert_der(&ca, ca_key).unwrap()).unwrap().der().clone();
    let issuer = Issuer::from_ca_cert_der(&intermediate, key).unwrap();
    let mut leaf = CertificateParams::default();
    leaf.subject_alt_names = vec![SanType::URI(relay().to_string().try_into().unwrap())];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    let leaf_key = KeyPair::generate().unwrap();
    let chain = vec![leaf.signed_by(&leaf_key, &issuer).unwrap().der().clone(), intermediate];
    let private = PrivateKeyDer::from_pem_slice(leaf_key.serialize_pem().as_bytes()).unwrap();
    let shown = Arc::new(CertifiedKey::from_der(chain, private, &ring::default_provider()).unwrap().into());
    for error in refused(&world, &shown) {
        assert!(error.contains("UnknownIssuer"), "{error}");
    }
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let world = World::new();
    let (mut client, server) = pair(&world.valid(&relay()), &world.valid(&broker()));
    #[derive(Debug)]
    struct Nothing;
    impl rustls::client::ResolvesClientCert for Nothing {
        fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
            None
        }
        fn has_certs(&self) -> bool {
            false
        }
    }
    client.client_auth_cert_resolver = Arc::new(Nothing);
    let error = shake(client, server).unwrap_err();
    assert!(error.contains("sent no certificates"), "{error}");
}

#[test]
fn an_authority_comes_back_from_its_files_and_signs_on() {
    let world = World::new();
    let loaded = Authority::load(&world.file("ca.pem"), &world.file("ca.key")).unwrap();
    assert_eq!((loaded.domain(), loaded.cert_pem()), (world.authority.domain(), world.authority.cert_pem()));
    let (cert, key) = (world.file("late.pem"), world.file("late.key"));
    let names = ["10.1.2.3".to_owned(), "b1.east.example".to_owned()];
    loaded.issue(&broker(), Period::days(now(), 30), &names).unwrap().save(&cert, &key).unwrap();
    let late = Credentials::load(&world.file("ca.pem"), &cert, &key, Some(Role::Broker)).unwrap();
    let (client, server) = pair(&world.valid(&relay()), &late);
    assert_eq!(shake(client, server).unwrap().1.identity, broker());
}

#[test]
fn an_authority_refuses_what_it_should_not_sign() {
    let world = World::new();
    let issue =
        |who: &Identity, period, names: &[String]| world.authority.issue(who, period, names).unwrap_err().to_string();
    let year = Period::days(now(), YEAR);
    assert!(issue(&identity("spiffe://else/relay/a/b"), year, &[]).contains("trust domain province"));
    assert!(issue(&relay(), Period::days(now(), 40 * YEAR), &[]).contains("outlive"));
    let backwards = Period { not_before: year.not_after, not_after: year.not_before };
    assert!(issue(&relay(), backwards, &[]).contains("end before it begins"));
    assert!(issue(&relay(), year, &["not a name".to_owned()]).contains("neither an IP address"));
    let far = Period { not_before: WallTime(0), not_after: WallTime(i64::MAX) };
    assert!(Authority::create(&Name::new("d").unwrap(), far).unwrap_err().to_string().contains("9999"));
}

#[test]
fn private_keys_are_for_their_owner_alone_and_writing_leaves_nothing_behind() {
    let world = World::new();
    world.authority.save(&world.file("ca.pem"), &world.file("ca.key")).unwrap();
    world.valid(&relay());
    let mode = |name: &str| fs::metadata(world.file(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("ca.key"), mode("node.key")), (0o600, 0o600));
    assert_eq!(fs::read_dir(world.dir.path()).unwrap().count(), 4, "ca.pem, ca.key, node.pem, node.key");
    assert!(
        !format!("{:?}", world.authority.issue(&relay(), Period::days(now(), 1), &[]).unwrap()).contains("PRIVATE")
    );
}

#[test]
fn every_wrong_file_is_named_with_what_is_wrong() {
    let world = World::new();
    world.valid(&relay());
    let (ca, cert, key) = (world.file("ca.pem"), world.file("node.pem"), world.file("node.key"));
    let text = |name: &str, text: &str| {
        fs::write(world.file(name), text).unwrap();
        world.file(name)
    };
    let damaged = text("damaged.pem", "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n");
    let empty = text("empty.pem", "hello\n");
    let other = World::new();
    other.valid(&relay());
    let cases = [
        (&world.file("none.pem"), &cert, &key, None, "cannot read"),
        (&ca, &empty, &key, None, "no PEM certificate"),
        (&ca, &damaged, &key, None, "not valid PEM"),
        (&ca, &cert, &cert, None, "no PEM private key"),
        (&ca, &cert, &world.file("ca.key"), None, "does not fit the certificate"),
        (&ca, &cert, &key, Some(Role::Broker), "this node is a broker"),
        (&other.file("ca.pem"), &cert, &key, None, "was not signed by the authority in"),
        (&cert, &cert, &key, None, "not an authority's certificate"),
        (&ca, &ca, &world.file("ca.key"), None, "cannot be a node's own"),
    ];
    for (ca, cert, key, role, words) in cases {
        let error = Credentials::load(ca, cert, key, role).unwrap_err().to_string();
        assert!(error.contains(words), "{error:?} should say {words:?}");
        assert!(error.contains(".pem") || error.contains(".key"), "{error:?} should name a file");
    }
    Credentials::load(&ca, &cert, &key, Some(Role::Relay)).unwrap();
    let swapped = Authority::load(&ca, &key).unwrap_err().to_string();
    assert!(swapped.contains("does not belong"), "{swapped}");
    let node = Authority::load(&cert, &key).unwrap_err().to_string();
    assert!(node.contains("node's own"), "{node}");
}

#[test]
fn two_authorities_may_hand_over() {
    let (old, new) = (World::new(), World::new());
    let both = old.file("both.pem");
    fs::write(&both, format!("{}{}", old.authority.cert_pem(), new.authority.cert_pem())).unwrap();
    old.valid(&relay());
    let early = Credentials::load(&both, &old.file("node.pem"), &old.file("node.key"), None).unwrap();
    new.valid(&broker());
    let late = Credentials::load(&both, &new.file("node.pem"), &new.file("node.key"), None).unwrap();
    let (client, server) = pair(&early, &late);
    shake(client, server).unwrap();
}

#[test]
fn derived_secrets_are_stable_and_apart() {
    let world = World::new();
    let first = world.valid(&relay());
    let again =
        Credentials::load(&world.file("ca.pem"), &world.file("node.pem"), &world.file("node.key"), None).unwrap();
    assert_eq!(first.derive("a"), again.derive("a"));
    assert_ne!(first.derive("a"), first.derive("b"));
    assert_ne!(first.derive("a"), world.valid(&relay()).derive("a"), "another key, another secret");
}

#[test]
fn peer_identity_refuses_what_is_no_certificate() {
    assert_eq!(peer_identity(&[], now()), Err(PeerError::NoCertificate));
    assert_eq!(peer_identity(&[CertificateDer::from(vec![0x30, 0x03, 1, 2, 3])], now()), Err(PeerError::NotX509));
}

/// Signatures from end to end.
mod signing {
    use huxiao_core::signature::{Flaw, Purpose, Signature, Signer, Verdict, Verifier, judge};
    use huxiao_core::{Class, Details, Event, EventId, Kind, Mode, NodeName, Sealed, Text};

    use super::*;

    fn seat() -> Identity {
        identity("spiffe://province/station/p1/a")
    }

    fn signer(world: &World, of: &Identity, credentials: &Credentials) -> Result<SigningKey, SigningError> {
        let issued = world.authority.issue_signing(of, Period::days(now(), YEAR)).unwrap();
        let (cert, key) = (world.file("sign.pem"), world.file("sign.key"));
        issued.save(&cert, &key).unwrap();
        SigningKey::load(&cert, &key, credentials)
    }

    #[test]
    fn a_signature_holds_for_its_signer_its_bytes_and_its_purpose_only() {
        let world = World::new();
        let credentials = world.node(&seat(), Period::days(now(), YEAR));
        let key = signer(&world, &seat(), &credentials).unwrap();
        let verifier = world.node(&relay(), Period::days(now(), YEAR)).signatures();
        let signature = key.sign(Purpose::Command, b"leave").unwrap();
        let judge = |purpose, message: &[u8], signature: &Signature, by: &Identity| {
            verifier.verify(purpose, message, signature, &by.node)
        };
        assert_eq!(judge(Purpose::Command, b"leave", &signature, &seat()), Ok(()));
        assert_eq!(judge(Purpose::Command, b"stay", &signature, &seat()), Err(Flaw::Bytes));
        assert_eq!(judge(Purpose::Event, b"leave", &signature, &seat()), Err(Flaw::Bytes));
        let other = identity("spiffe://province/station/p1/b");
        assert_eq!(judge(Purpose::Command, b"leave", &signature, &other), Err(Flaw::Signer));
        for at in 0..signature.bytes.len() {
            let mut bytes = signature.bytes.to_vec();
            bytes[at] ^= 1;
            let bent = Signature { bytes: bytes.into(), ..signature.clone() };
            assert_eq!(judge(Purpose::Command, b"leave", &bent, &seat()), Err(Flaw::Bytes), "byte {at}");
        }
        let unknown = Signature { algorithm: huxiao_core::signature::Algorithm(2), ..signature.clone() };
        assert_eq!(judge(Purpose::Command, b"leave", &unknown, &seat()), Err(Flaw::Algorithm));
        let garbage = Signature { certificate: Arc::from(&b"no certificate"[..]), ..signature };
        assert_eq!(judge(Purpose::Command, b"leave", &garbage, &seat()), Err(Flaw::Certificate));
        // One of another province's authority, in the same names.
        let stranger = World::new();
        let strange = signer(&stranger, &seat(), &stranger.node(&seat(), Period::days(now(), YEAR))).unwrap();
        let strange = strange.sign(Purpose::Command, b"leave").unwrap();
        assert_eq!(judge(Purpose::Command, b"leave", &strange, &seat()), Err(Flaw::Certificate));
    }

    #[test]
    fn a_certificate_is_for_sessions_or_for_signatures_and_belongs_to_its_node() {
        let world = World::new();
        let credentials = world.node(&seat(), Period::days(now(), YEAR));
        let issued = world.authority.issue(&seat(), Period::days(now(), YEAR), &[]).unwrap();
        let (cert, key) = (world.file("tls.pem"), world.file("tls.key"));
        issued.save(&cert, &key).unwrap();
        let refused = SigningKey::load(&cert, &key, &credentials);
        assert!(matches!(refused, Err(SigningError::NotForSigning { .. })), "{refused:?}");
        let refused = signer(&world, &broker(), &credentials);
        assert!(matches!(refused, Err(SigningError::OtherNode { .. })), "{refused:?}");
        signer(&world, &seat(), &credentials).unwrap();
        // The other way round it opens no session.
        let refused = Credentials::load(&world.file("ca.pem"), &world.file("sign.pem"), &world.file("sign.key"), None);
        assert!(refused.is_err());
        let other = world.authority.issue_signing(&seat(), Period::days(now(), YEAR)).unwrap();
        fs::write(world.file("sign.key"), other.key_pem).unwrap();
        let refused = SigningKey::load(&world.file("sign.pem"), &world.file("sign.key"), &credentials);
        assert!(matches!(refused, Err(SigningError::Key { .. })), "{refused:?}");
    }

    #[test]
    fn a_wrong_calendar_silences_nobody() {
        let world = World::new();
        let credentials = world.node(&seat(), Period::days(now(), YEAR));
        let past = Period { not_before: WallTime(now().0 - days(700)), not_after: WallTime(now().0 - days(300)) };
        let issued = world.authority.issue_signing(&seat(), past).unwrap();
        let (cert, key) = (world.file("old.pem"), world.file("old.key"));
        issued.save(&cert, &key).unwrap();
        let key = SigningKey::load(&cert, &key, &credentials).unwrap();
        let signature = key.sign(Purpose::Command, b"x").unwrap();
        assert_eq!(credentials.signatures().verify(Purpose::Command, b"x", &signature, &seat().node), Ok(()));
    }

    /// An alarm of the relay, with what stands for its bytes.
    fn alarm(signature: Option<Signature>) -> Sealed {
        let NodeName::Relay(relay) = relay().node else { panic!("no relay") };
        let event = Event {
            id: EventId::from_bytes([1; 16]),
            relay,
            epoch: 1,
            seq: 1,
            kind: Kind::Panic,
            class: Class::P0,
            mode: Mode::Live,
            device: None,
            zone: None,
            note: Text::default(),
            raised_at: WallTime(0),
            count: 1,
            details: Details::default(),
        };
        Sealed { event: Arc::new(event), bytes: Arc::from(&b"what is signed"[..]), signature }
    }

    #[test]
    fn an_alarm_is_known_by_its_relays_certificate_of_those_days() {
        let world = World::new();
        let credentials = world.node(&relay(), Period::days(now(), YEAR));
        let verifier = world.node(&seat(), Period::days(now(), YEAR)).signatures();
        let say = |sealed: &Sealed, at: WallTime| judge(Some(&verifier), sealed, at).unwrap();
        let sign = |key: &SigningKey, purpose| alarm(Some(key.sign(purpose, b"what is signed").unwrap()));
        let key = signer(&world, &relay(), &credentials).unwrap();
        let sealed = sign(&key, Purpose::Event);
        let signature = sealed.signature.clone().unwrap();
        assert!(signature.fits_an_event(), "{} bytes", signature.certificate.len());
        assert_eq!(say(&sealed, now()), (Verdict::Valid, None));
        assert_eq!(say(&sealed, WallTime(now().0 - days(1) / 48)), (Verdict::Valid, None), "half an hour slow");
        for at in [days(i64::from(YEAR) + 1), -days(1)] {
            assert_eq!(say(&sealed, WallTime(now().0 + at)), (Verdict::Invalid, Some(Flaw::Expired)), "{at}");
        }
        assert_eq!(say(&alarm(None), now()), (Verdict::Missing, None));
        assert_eq!(say(&sign(&key, Purpose::Command), now()), (Verdict::Invalid, Some(Flaw::Bytes)));
        for at in 0..sealed.bytes.len() {
            let mut bytes = sealed.bytes.to_vec();
            bytes[at] ^= 0x20;
            let bent = Sealed { bytes: bytes.into(), ..sealed.clone() };
            assert_eq!(say(&bent, now()), (Verdict::Invalid, Some(Flaw::Bytes)), "byte {at}");
        }
        // The certificates of another relay of the school, and of a seat.
        for other in [identity("spiffe://province/relay/s1/other"), seat()] {
            let key = signer(&world, &other, &world.node(&other, Period::days(now(), YEAR))).unwrap();
            assert_eq!(say(&sign(&key, Purpose::Event), now()), (Verdict::Invalid, Some(Flaw::Signer)));
        }
        let longest = format!("spiffe://province/relay/{}/{}", "s".repeat(64), "r".repeat(64));
        let longest = identity(&longest);
        let key = signer(&world, &longest, &world.node(&longest, Period::days(now(), YEAR))).unwrap();
        assert!(key.sign(Purpose::Event, b"x").unwrap().fits_an_event());
    }
}
