//! What every role of Huxiao needs to run: the only crate in which clocks, signals and the process's surroundings are read for a machine.
//!
//! * [`drive`](mod@drive): the one loop that drives a [`Machine`](huxiao_core::Machine); [`clock`], [`shutdown`], [`signal`], [`systemd`] around it.
//! * [`config`]: declared keys, layers, all mistakes at once.
//! * [`log`], [`metric`], [`health`]: what operators see.
//! * [`http`]: serving an API within limits, event streams included.
//! * [`time_format`]: times as text.
//!
//! Invariant: nothing here decides anything about an alarm.

pub mod clock;
pub mod config;
pub mod drive;
pub mod health;
pub mod heartbeat;
pub mod host;
pub mod http;
pub mod link_hooks;
pub mod log;
pub mod metric;
pub mod shutdown;
pub mod signal;
pub mod store_hooks;
pub mod systemd;
pub mod time_format;
