//! The generated types. They hold whatever the bytes held; nothing is believed of them before `event`, `message` or `row` has
//! checked it.

#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]

include!(concat!(env!("OUT_DIR"), "/huxiao.v1.rs"));
