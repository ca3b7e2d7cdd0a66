//! What every version of this crate must hold to: bytes that never change, values that come back, and bad bytes that harm
//! nobody.

mod golden;
mod hostile;
mod limits;
mod roundtrip;
mod samples;
