//! The station over real sockets, with a broker node that the tests play.

mod answers;
mod client;
mod feed;
mod gaps;
mod harness;
mod screens;
