//! What every role of Huxiao needs to run: the only crate in which clocks, signals and the process's surroundings are read for a
//! machine.
//!
//! * [`drive`](mod@drive): the one loop that drives a [`Machine`](huxiao_core::Machine). Around it [`clock`], [`shutdown`],
//!   [`signal`], [`systemd`] and [`heartbeat`](mod@heartbeat), which tells whether the loop turns.
//! * [`config`]: declared keys, layers, all mistakes at once.
//! * [`log`], [`metric`], [`health`]: what operators see.
//! * [`http`]: serving an API within limits, event streams included.
//! * [`time_format`], [`event_json`], [`case_json`], [`video_json`]: times and events as the APIs show them.
//! * [`bodies`]: pictures and audio on their way between nodes and on the disk.
//! * [`host`]: what every node does the same way from start to end; [`store_hooks`] and [`link_hooks`] make figures of what its
//!   store and its link do.
//!
//! Invariant: nothing here decides anything about an alarm.

pub mod bodies;
pub mod case_json;
pub mod clock;
pub mod command_json;
pub mod config;
pub mod drill_json;
pub mod drive;
pub mod event_json;
pub mod health;
pub mod heartbeat;
pub mod host;
pub mod http;
pub mod link_hooks;
pub mod log;
pub mod metric;
pub mod plan_json;
pub mod shutdown;
pub mod signal;
pub mod store_hooks;
pub mod systemd;
pub mod time_format;
pub mod video_json;
