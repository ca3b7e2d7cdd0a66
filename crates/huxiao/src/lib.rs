//! Huxiao's one program: `huxiao <noun> <verb>`.
//!
//! Each noun has its file; none decides anything about an alarm: daemons run the role crates, and everything else speaks to daemons over
//! their local APIs or reads files.
//!
//! Invariants: standard output carries data and nothing else; every command ends with one of the codes in `exit`, and every
//! failure says what happened, where, and what to do.

mod alarm;
mod args;
mod audit;
mod case;
mod check;
mod cli;
mod cluster;
mod command;
mod completion;
mod config;
mod dev;
mod drill;
mod duty;
mod exit;
mod http;
mod kinds;
mod lab;
mod node;
mod output;
mod pin;
mod plan;
mod random;
mod relay;
mod report;
mod role;
mod store;
mod supervision;
mod version;
mod view;

pub use cli::main;
