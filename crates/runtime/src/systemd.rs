//! What the service manager is told (sd_notify(3)): ready, reloading, stopping, a status in words, and that the loop still turns.
//!
//! Invariant: telling never holds a node up for more than a second and never fails it: a node that systemd cannot hear still carries
//! alarms.

use std::ffi::{OsStr, OsString};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;

use huxiao_core::Span;
use sd_notify::NotifyState;

/// The way to the service manager, if there is one. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Notifier {
    socket: Option<Arc<OsString>>,
    watchdog: Option<Span>,
}

impl Notifier {
    /// A notifier for these values of `NOTIFY_SOCKET` and `WATCHDOG_USEC`; both may be absent. A watchdog time that is no number above
    /// zero is as none.
    #[must_use]
    pub fn new(notify_socket: Option<OsString>, watchdog_usec: Option<&str>) -> Self {
        let socket = notify_socket.filter(|socket| !socket.is_empty()).map(Arc::new);
        let usec = watchdog_usec.and_then(|text| text.parse::<u64>().ok()).filter(|usec| *usec > 0);
        let watchdog = usec.filter(|_| socket.is_some()).map(Span::from_micros);
        Self { socket, watchdog }
    }

    /// A notifier for this process's environment. `WATCHDOG_PID` of another process turns the watchdog off.
    #[must_use]
    pub fn from_env() -> Self {
        let of_another = std::env::var("WATCHDOG_PID").is_ok_and(|pid| pid != std::process::id().to_string());
        let usec = std::env::var("WATCHDOG_USEC").ok().filter(|_| !of_another);
        Self::new(std::env::var_os("NOTIFY_SOCKET"), usec.as_deref())
    }

    /// How long the manager waits for [`Notifier::alive`] before it restarts the node; `None` if it does not.
    #[must_use]
    pub fn watchdog(&self) -> Option<Span> {
        self.watchdog
    }

    /// The store is open and a listener is up.
    pub fn ready(&self, status: &str) {
        self.send(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
    }

    /// A sentence for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.send(&[NotifyState::Status(&one_line(status))]);
    }

    /// The configuration is being read again; [`Notifier::ready`] ends it. The monotonic time goes with it: without it systemd 253
    /// and later end the service.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(time) => self.send(&[NotifyState::Reloading, time]),
            Err(error) => {
                tracing::warn!(%error, "systemd was not told of a reload: the monotonic clock cannot be read");
            }
        }
    }

    /// The node is draining.
    pub fn stopping(&self, status: &str) {
        self.send(&[NotifyState::Stopping, NotifyState::Status(&one_line(status))]);
    }

    /// The loop has turned.
    pub fn alive(&self) {
        self.send(&[NotifyState::Watchdog]);
    }

    fn send(&self, states: &[NotifyState<'_>]) {
        let Some(socket) = &self.socket else { return };
        let text: String = states.iter().map(|state| format!("{state}\n")).collect();
        if let Err(error) = deliver(socket, text.as_bytes()) {
            tracing::warn!(%error, socket = %socket.display(), "systemd could not be told {:?}", text.trim_end());
        }
    }
}

fn deliver(name: &OsStr, text: &[u8]) -> std::io::Result<()> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(Span::from_secs(1)))?;
    socket.send_to_addr(text, &address).map(|_| ())
}

/// A line break in a status would begin another statement.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn each_statement_reaches_the_managers_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_read_timeout(Some(Span::from_secs(5))).unwrap();
        let notifier = Notifier::new(Some(path.into()), Some("30000000"));
        assert_eq!(notifier.watchdog(), Some(Span::from_secs(30)));

        notifier.ready("serving\nSTOPPING=1");
        assert_eq!(heard(&manager), "READY=1\nSTATUS=serving STOPPING=1\n");
        notifier.alive();
        assert_eq!(heard(&manager), "WATCHDOG=1\n");
        notifier.stopping("draining");
        assert_eq!(heard(&manager), "STOPPING=1\nSTATUS=draining\n");
        notifier.reloading();
        let reloading = heard(&manager);
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().trim_end();
        assert!(time.parse::<u64>().unwrap() > 0);
    }

    #[test]
    fn an_abstract_socket_is_understood() {
        let name = format!("huxiao-notify-test-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        manager.set_read_timeout(Some(Span::from_secs(5))).unwrap();
        Notifier::new(Some(format!("@{name}").into()), None).status("degraded");
        assert_eq!(heard(&manager), "STATUS=degraded\n");
    }

    #[test]
    fn no_manager_or_a_dead_one_harms_nothing() {
        Notifier::new(None, Some("1000")).ready("x");
        assert_eq!(Notifier::new(None, Some("1000")).watchdog(), None);
        Notifier::new(Some("/nowhere/notify".into()), Some("0")).alive();
        assert_eq!(Notifier::new(Some("/nowhere/notify".into()), Some("soon")).watchdog(), None);
    }
}
