//! The relay's lines: what the configuration says of them.
//!
//! Invariant: an uplink's number is its place among the names, sorted; the machine, the link and the API mean the same one by it.

pub(crate) mod interfaces;
pub(crate) mod presence;

use std::net::IpAddr;

use huxiao_core::limits::RELAY_UPLINKS;
use huxiao_core::{Cost, UplinkId};
use huxiao_runtime::config::{Config, Key, Kind};

/// Under what the lines stand in the configuration.
const TABLES: &str = "relay.uplinks";
/// What the one line is called of which nothing is said.
const DEFAULT_NAME: &str = "default";
/// Bytes of an interface's name (`IFNAMSIZ` without the zero byte, netdevice(7)).
const INTERFACE_BYTES: usize = 15;

const fn key(path: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Key {
    Key { path, kind, default: Some(default), reloadable: false, help }
}

/// The keys of one line.
pub(crate) const KEYS: [Key; 4] = [
    key(
        "relay.uplinks.*.interface",
        Kind::Text,
        "",
        "Network interface that the line's packets leave by, such as eth0; it may come and go. Empty: as the system's routes say.",
    ),
    key(
        "relay.uplinks.*.address",
        Kind::IpOrEmpty,
        "",
        "Local address that the line's packets come from; the line is there while an interface has it.",
    ),
    key(
        "relay.uplinks.*.cost",
        Kind::Choice(&["free", "metered"]),
        "free",
        "A metered line carries only P0 and P1, and keeps itself open at longer intervals.",
    ),
    key(
        "relay.uplinks.*.daily_budget",
        Kind::Bytes { min: 0, max: 1 << 50 },
        "0B",
        "Data that the line should not exceed in a day; shown and warned about, and never a reason to hold an alarm back. 0 is none.",
    ),
];

/// Two lines as people configure them, for the file to start from.
pub const EXAMPLE: &str = "
# For example, a free line and one that is paid for by what goes over it. Alarms take both at once.
#[relay.uplinks.fibre]
#interface = \"eth0\"

#[relay.uplinks.lte]
#interface = \"wwan0\"
#cost = \"metered\"
#daily_budget = \"64MiB\"
";

/// One of the relay's lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Uplink {
    pub(crate) id: UplinkId,
    pub(crate) name: String,
    pub(crate) interface: Option<String>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) cost: Cost,
    /// Bytes a day.
    pub(crate) budget: Option<u64>,
}

impl Uplink {
    /// The line as the link takes it, at the local address that it has now.
    pub(crate) fn to_dial(&self, local: Option<IpAddr>) -> huxiao_link::Uplink {
        huxiao_link::Uplink { id: self.id, device: self.interface.clone(), local, cost: self.cost }
    }
}

/// The relay's lines; without any in the configuration, the one that the system's routes make.
pub(crate) fn configured(config: &Config) -> Vec<Uplink> {
    let names = config.tables(TABLES);
    if names.is_empty() {
        let (interface, address, budget) = (None, None, None);
        let name = DEFAULT_NAME.to_owned();
        return vec![Uplink { id: UplinkId(0), name, interface, address, cost: Cost::Free, budget }];
    }
    let uplink = |(id, name): (u16, &str)| {
        let of = |key: &str| format!("{TABLES}.{name}.{key}");
        Uplink {
            id: UplinkId(id),
            name: name.to_owned(),
            interface: Some(config.text(&of("interface")).to_owned()).filter(|text| !text.is_empty()),
            address: config.ip_if_set(&of("address")),
            cost: if config.text(&of("cost")) == Cost::Metered.as_str() { Cost::Metered } else { Cost::Free },
            budget: Some(config.bytes(&of("daily_budget"))).filter(|bytes| *bytes > 0),
        }
    };
    (0..).zip(names).map(uplink).collect()
}

/// What the keys' own kinds cannot tell to be wrong: the key, and why.
#[must_use]
pub fn uplink_mistakes(config: &Config) -> Vec<(String, String)> {
    let uplinks = configured(config);
    let mut mistakes = Vec::new();
    let mut wrong = |uplink: &Uplink, key: &str, why: String| {
        // The one that nobody has configured has no key, and nothing can be wrong with it.
        mistakes.push((format!("{TABLES}.{}.{key}", uplink.name), why));
    };
    for (index, uplink) in uplinks.iter().enumerate() {
        let name = uplink.interface.as_deref().unwrap_or_default();
        if name.len() > INTERFACE_BYTES || name.contains(|c: char| c == '/' || c.is_whitespace()) {
            wrong(uplink, "interface", format!("{name:?} is not the name of a network interface, such as eth0"));
        }
        if uplink.address.is_some_and(|address| address.is_unspecified() || address.is_multicast()) {
            wrong(uplink, "address", "this is no address that packets can come from".to_owned());
        }
        let twin = uplinks[..index]
            .iter()
            .find(|other| (&other.interface, other.address) == (&uplink.interface, uplink.address));
        if let Some(twin) = twin {
            let why =
                format!("this is the same line as relay.uplinks.{}: give it another interface or address", twin.name);
            wrong(uplink, "interface", why);
        }
        if index == RELAY_UPLINKS {
            wrong(
                uplink,
                "interface",
                format!("a relay has at most {RELAY_UPLINKS} uplinks, these are {}", uplinks.len()),
            );
        }
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use huxiao_runtime::config::Loader;

    use super::*;

    const REQUIRED: [(&str, &str); 5] =
        [("tls.ca", "a"), ("tls.cert", "b"), ("tls.key", "c"), ("data.dir", "d"), ("relay.brokers", "127.0.0.1:1")];

    fn config(flags: &[(&str, &str)]) -> Config {
        Loader::new(crate::KEYS).flags(REQUIRED).flags(flags.iter().copied()).load().unwrap()
    }

    #[test]
    fn without_any_there_is_one_by_the_systems_routes() {
        let uplinks = configured(&config(&[]));
        let [uplink] = &uplinks[..] else { panic!("{uplinks:?}") };
        assert_eq!((uplink.name.as_str(), &uplink.interface, uplink.address), ("default", &None, None));
        assert_eq!((uplink.cost, uplink.budget), (Cost::Free, None));
        assert_eq!(uplink_mistakes(&config(&[])), []);
    }

    #[test]
    fn they_are_numbered_by_their_names() {
        let config = config(&[
            ("relay.uplinks.lte.interface", "wwan0"),
            ("relay.uplinks.lte.cost", "metered"),
            ("relay.uplinks.lte.daily_budget", "64MiB"),
            ("relay.uplinks.fibre.address", "10.0.0.7"),
        ]);
        let uplinks = configured(&config);
        assert_eq!(uplinks.iter().map(|uplink| uplink.name.as_str()).collect::<Vec<_>>(), ["fibre", "lte"]);
        let dialled = uplinks[1].to_dial(None);
        assert_eq!((dialled.id, dialled.device.as_deref(), dialled.cost), (UplinkId(1), Some("wwan0"), Cost::Metered));
        assert_eq!(uplinks[1].budget, Some(64 << 20));
        assert_eq!(uplinks[0].address, Some("10.0.0.7".parse().unwrap()));
        assert_eq!(uplink_mistakes(&config), []);
    }

    #[test]
    fn what_cannot_be_a_line_is_told_under_its_key() {
        let config = config(&[
            ("relay.uplinks.a.interface", "eth0/1"),
            ("relay.uplinks.b.address", "0.0.0.0"),
            ("relay.uplinks.c.interface", "eth7"),
            ("relay.uplinks.d.interface", "eth7"),
            ("relay.uplinks.e.interface", "an_interface_with_a_name"),
        ]);
        let mistakes = uplink_mistakes(&config);
        let keys: Vec<_> = mistakes.iter().map(|(key, _)| key.as_str()).collect();
        let expected = ["a.interface", "b.address", "d.interface", "e.interface", "e.interface"];
        assert_eq!(keys, expected.map(|key| format!("relay.uplinks.{key}")));
        assert!(mistakes[2].1.contains("relay.uplinks.c"), "{mistakes:?}");
        assert!(mistakes[4].1.contains("at most 4"), "{mistakes:?}");
        assert!(mistakes.iter().all(|(key, _)| !config.value(key).to_text().is_empty() || key.ends_with("interface")));
    }

    #[test]
    fn the_example_is_a_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("relay.toml");
        let text = EXAMPLE.lines().map(|line| line.strip_prefix('#').filter(|l| !l.starts_with(' ')).unwrap_or(line));
        std::fs::write(&file, text.collect::<Vec<_>>().join("\n")).unwrap();
        let config = Loader::new(crate::KEYS).file(file).flags(REQUIRED).load().unwrap();
        assert_eq!(configured(&config).len(), 2);
        assert_eq!(uplink_mistakes(&config), []);
    }
}
