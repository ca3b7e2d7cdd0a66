//! An open event stream.
//!
//! Invariant: a stream that has gone silent is noticed: a node sends a heartbeat every five seconds.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use tokio::time::{Instant, timeout_at};

use super::endpoint::Endpoint;
use super::error::HttpError;
use super::sse::{Message, Parser};

/// Silence after which a stream counts as dead: two heartbeats missed, and half of the next.
const SILENCE: Duration = Duration::from_millis(12_500);

/// The messages of one stream.
#[derive(Debug)]
pub struct EventStream {
    endpoint: Endpoint,
    body: Incoming,
    parser: Parser,
    ready: VecDeque<Message>,
    /// When the last bytes came.
    heard: Instant,
    /// The connection closes when its sender is dropped.
    _sender: SendRequest<Full<Bytes>>,
}

impl EventStream {
    pub(super) fn new(endpoint: Endpoint, body: Incoming, sender: SendRequest<Full<Bytes>>) -> Self {
        Self { endpoint, body, parser: Parser::new(), ready: VecDeque::new(), heard: Instant::now(), _sender: sender }
    }

    /// The next message, heartbeats included. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`HttpError::NoAnswer`] when the stream has ended, broken or fallen silent, [`HttpError::Strange`] when it is no event
    /// stream. It gives nothing any more then.
    pub async fn next(&mut self) -> Result<Message, HttpError> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(message);
            }
            let ended = |reason: String| HttpError::NoAnswer { endpoint: Box::new(self.endpoint.clone()), reason };
            let frame = match timeout_at(self.heard + SILENCE, self.body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Err(ended(format!("the stream broke: {error}"))),
                Ok(None) => return Err(ended("the node ended the stream".to_owned())),
                Err(_) => return Err(ended(format!("the stream was silent for {} s", SILENCE.as_secs()))),
            };
            self.heard = Instant::now();
            if let Ok(bytes) = frame.into_data() {
                let messages = self.parser.push(&bytes).map_err(|error| HttpError::Strange {
                    endpoint: Box::new(self.endpoint.clone()),
                    reason: error.to_string(),
                })?;
                self.ready.extend(messages);
            }
        }
    }
}
