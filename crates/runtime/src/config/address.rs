//! An address to listen on or to dial.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// `ip:port`, `host:port` or `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// An IP address and a port.
    Socket(SocketAddr),
    /// A name to be looked up, and a port.
    Host {
        /// The name.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket: its absolute path.
    Unix(PathBuf),
}

impl Address {
    /// Whether only this computer can reach a listener there: a loopback address, `localhost` or a Unix socket.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Address::Socket(address) => address.ip().is_loopback(),
            Address::Host { host, .. } => host == "localhost",
            Address::Unix(_) => true,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Socket(address) => address.fmt(f),
            Address::Host { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            // 107 bytes is what Linux has room for (sockaddr_un, unix(7)).
            return match path {
                _ if !path.starts_with('/') => {
                    Err("a unix: address needs an absolute path, as unix:/run/huxiao.sock".into())
                }
                _ if path.len() > 107 => {
                    Err(format!("a unix: path has at most 107 bytes, this one has {}", path.len()))
                }
                _ => Ok(Address::Unix(path.into())),
            };
        }
        if let Ok(address) = text.parse() {
            return Ok(Address::Socket(address));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err("an address needs a port, as 127.0.0.1:8480".into());
        };
        let port = port.parse().map_err(|_| format!("{port:?} is not a port from 0 to 65535"))?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || host.len() > 253 || !host.chars().all(fits) {
            return Err(format!("{host:?} is not a host name or an IP address (IPv6 goes in brackets, as [::1]:8480)"));
        }
        if host.chars().all(|c| c.is_ascii_digit() || c == '.') {
            return Err(format!("{host:?} is not an IPv4 address"));
        }
        Ok(Address::Host { host: host.to_owned(), port })
    }
}
