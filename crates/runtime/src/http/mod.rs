//! Serving an API within limits: size and time of a request, connections, event streams, and an end on shutdown.
//!
//! Invariant: nothing that a client does takes more than its own connection, and every refusal is JSON of one shape, [`ApiError`].

mod error;
mod extract;
mod fetch;
mod guard;
mod serve;
mod sse;

pub use error::ApiError;
pub use extract::{Json, Query};
pub use fetch::{FetchError, HttpUrl, fetch};
pub use guard::{BODY_BYTES, CONTENT_PATH, with_fallbacks};
pub use serve::{BindError, CONNECTIONS, Listener, bind, serve};
pub use sse::{SseEvent, SseGate};

#[cfg(test)]
mod tests;
