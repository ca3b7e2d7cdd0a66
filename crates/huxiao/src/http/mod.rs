//! A small HTTP/1.1 client for the nodes' local APIs: one address, JSON in and out, event streams.
//!
//! Invariant: every wait has an end, and every answer is read only up to a limit, whatever answers there.

mod client;
mod endpoint;
mod error;
mod sse;
mod stream;

pub use client::{Answer, Client};
pub use endpoint::Endpoint;
pub use error::HttpError;
pub use sse::Message;
pub use stream::EventStream;
