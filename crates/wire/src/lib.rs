//! The border between bytes and the domain: frames, messages and disk rows, in Protocol Buffers.
//!
//! Invariants:
//! * What comes out of a decoder is within `huxiao_core::limits`, whatever went in; a decoder never panics and never
//!   allocates more than a small multiple of its input.
//! * An event's bytes are made once, by [`seal`]. Decoding keeps them as they came, so a field that this version does not
//!   know passes through it.
//! * Encoding is deterministic: the same value gives the same bytes, in every process and version of this crate. Golden
//!   files hold them.
//!
//! Generated types stay inside this crate; its callers see those of `huxiao_core` only. The contract itself is in
//! `proto/huxiao/v1`.

mod case;
pub mod cluster;
mod command;
mod drill;
mod error;
mod escalation;
mod event;
mod field;
mod frame;
mod joining;
mod message;
mod overdue;
mod plan;
mod proto;
mod row;
mod trouble;
mod video;

pub use command::{decode_command_row, encode_command_row, seal_command, unseal_command};
pub use drill::{RecordRows, encode_record_rows};
pub use error::WireError;
pub use event::{seal, unseal};
pub use frame::{HEADER_BYTES, VERSION, decode_frame, encode, encode_within, frame_len};
pub use plan::{
    PlanPage, PlanRows, cut_plan_changes, decode_plan_page, decode_school_part, decode_stage_plan, encode_plan_change,
    encode_plan_page, encode_plan_rows, encode_school_part, encode_stage_plan,
};
pub use row::{
    ROW_VERSION, decode_command, decode_entry, decode_inbox_row, decode_relay_row, encode_command, encode_entry,
    encode_inbox_row, encode_relay_row,
};

#[cfg(test)]
mod tests;
