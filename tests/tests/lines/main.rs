//! The real program on bad lines: relays at the near end of emulated links, broker nodes and stations at the far end.
//!
//! Every test prints what it measured and asserts only what must hold on any machine: limits of time are generous and only there to
//! end a hang. They need root and `/dev/net/tun`; where an emulator cannot be had, each says that it is skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "these are tests; clippy takes only functions marked as such for tests"
)]

mod dark;
mod middlebox;
mod nat;
mod one_way;
mod rogue_broker;
mod site;
mod spoilt;
mod stuck;
mod udp_blocked;
mod uplinks;
