//! Where a node's API is: `http://host:port` or `unix:/path`.

use std::fmt;
use std::str::FromStr;

use huxiao_runtime::config::Address;

/// The address of a node's API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Address);

/// Why a text is no [`Endpoint`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Write it as in the message.
    #[error("{0:?} is no address of a node's API: write http://host:port or unix:/path")]
    Scheme(String),
    /// Local APIs speak plain HTTP, on loopback or a Unix socket.
    #[error("{0:?}: a node's local API has no TLS: write http:// instead of https://")]
    Tls(String),
    /// Leave the path out.
    #[error("{0:?}: give the address alone, without a path")]
    Path(String),
    /// What is wrong with the host or port.
    #[error("{given:?}: {why}")]
    Address {
        /// What was given.
        given: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Endpoint {
    /// The address behind it.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.0
    }

    /// What goes into the `Host` header.
    #[must_use]
    pub(super) fn host(&self) -> String {
        match &self.0 {
            Address::Unix(_) => "localhost".to_owned(),
            address => address.to_string(),
        }
    }
}

impl From<Address> for Endpoint {
    /// The endpoint of a listener at `address`. One on all interfaces is reached over loopback.
    fn from(address: Address) -> Self {
        Self(match address {
            Address::Socket(mut socket) if socket.ip().is_unspecified() => {
                let loopback: std::net::IpAddr = match socket {
                    std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                    std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
                };
                socket.set_ip(loopback);
                Address::Socket(socket)
            }
            address => address,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Address::Unix(_) => self.0.fmt(f),
            address => write!(f, "http://{address}"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let given = || text.to_owned();
        let address = if text.starts_with("unix:") {
            text
        } else if text.starts_with("https://") {
            return Err(EndpointError::Tls(given()));
        } else {
            let rest = text.strip_prefix("http://").ok_or_else(|| EndpointError::Scheme(given()))?;
            let rest = rest.strip_suffix('/').unwrap_or(rest);
            if rest.contains(['/', '?', '#']) {
                return Err(EndpointError::Path(given()));
            }
            rest
        };
        address.parse().map(Self).map_err(|why| EndpointError::Address { given: given(), why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_as_they_were_written() {
        for text in ["http://127.0.0.1:8480", "http://[::1]:8480", "http://relay.school:80", "unix:/run/huxiao.sock"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        assert_eq!("http://localhost:1/".parse::<Endpoint>().unwrap().to_string(), "http://localhost:1");
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_to_write() {
        for (text, hint) in [
            ("127.0.0.1:8480", "http://host:port"),
            ("https://a:1", "no TLS"),
            ("http://a:1/v1", "without a path"),
            ("http://a", "needs a port"),
            ("http://", "needs a port"),
            ("unix:relative", "absolute"),
            ("", "http://host:port"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn a_listener_on_all_interfaces_is_reached_over_loopback() {
        for (listens, reached) in [
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            ("[::]:80", "http://[::1]:80"),
            ("10.0.0.1:80", "http://10.0.0.1:80"),
        ] {
            assert_eq!(Endpoint::from(listens.parse::<Address>().unwrap()).to_string(), reached);
        }
    }
}
