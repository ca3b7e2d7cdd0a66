//! The configuration keys that every role has.

use huxiao_core::Span;

use crate::config::{Key, Kind};
use crate::log::LogFormat;

const fn key(path: &'static str, kind: Kind, default: Option<&'static str>, help: &'static str) -> Key {
    Key { path, kind, default, reloadable: false, help }
}

/// Keys of every role.
pub const COMMON_KEYS: [Key; 14] = [
    key("tls.ca", Kind::Path, None, "Certificate of the authority that all nodes of the province trust (PEM)."),
    key("tls.cert", Kind::Path, None, "This node's certificate (PEM); its SPIFFE URI says who the node is."),
    key("tls.key", Kind::Path, None, "The certificate's private key (PEM), readable by this node alone."),
    key("data.dir", Kind::Path, None, "Folder for all that the node keeps; one node, one folder."),
    key("http.listen", Kind::Address, Some("127.0.0.1:0"), "Local HTTP API, health and metrics; unix:/path works too."),
    key("log.format", Kind::Choice(LogFormat::WORDS), Some("text"), "Log lines for people (text) or machines (json)."),
    Key {
        path: "log.level",
        kind: Kind::Text,
        default: Some("info"),
        reloadable: true,
        help: "Log filter, such as info or warn,huxiao_link=debug.",
    },
    key(
        "store.ballast",
        Kind::Bytes { min: 0, max: 1 << 34 },
        Some("16MiB"),
        "Space held back for alarms on a full disk.",
    ),
    key(
        "store.black_box",
        Kind::Bytes { min: 64 << 10, max: 4 << 30 },
        Some("4MiB"),
        "Size of the ring of the latest P0 events beside the database; set when the store is made.",
    ),
    key(
        "store.low_free",
        Kind::Bytes { min: 0, max: 1 << 40 },
        Some("1GiB"),
        "Below this free space (and below a tenth of the disk) only P0 is written.",
    ),
    key(
        "store.trial_timeout",
        Kind::Duration { min: Span::from_secs(1), max: Span::from_secs(600) },
        Some("20s"),
        "How long the trial opening of the store may take at start.",
    ),
    key(
        "bodies.max_bytes",
        Kind::Bytes { min: 16 << 20, max: 1 << 50 },
        Some("1GiB"),
        "Disk that pictures and audio may take; beyond it the oldest leave. Nothing is taken while store.low_free would be reached.",
    ),
    key(
        "bodies.max_age",
        Kind::Duration { min: Span::from_secs(3_600), max: Span::from_secs(3_650 * 86_400) },
        Some("90d"),
        "How long pictures and audio are kept.",
    ),
    key(
        "node.drain",
        Kind::Duration { min: Span::from_millis(100), max: Span::from_secs(300) },
        Some("10s"),
        "How long a stop may take to finish what is under way.",
    ),
];

/// `COMMON_KEYS` and a role's own as one list.
#[must_use]
pub const fn join_keys<const OWN: usize, const ALL: usize>(own: [Key; OWN]) -> [Key; ALL] {
    assert!(ALL == COMMON_KEYS.len() + OWN, "the length of the joined list");
    let mut all = [COMMON_KEYS[0]; ALL];
    let mut at = 0;
    while at < ALL {
        all[at] = if at < OWN { own[at] } else { COMMON_KEYS[at - OWN] };
        at += 1;
    }
    all
}
