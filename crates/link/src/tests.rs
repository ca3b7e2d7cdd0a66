//! Real sockets on 127.0.0.1, one file for each thing that can go wrong.

mod datagrams;
mod early;
mod flood;
mod frames;
mod harness;
mod identity;
mod line;
mod lines;
mod peers;
mod peers_hostile;
mod sessions;
mod tcp;
mod tcp_hostile;
