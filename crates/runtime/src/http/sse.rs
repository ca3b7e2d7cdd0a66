//! Server-sent events (WHATWG HTML, section 9.2): a stream that shows that it is alive, and ends when the node stops.
//!
//! Invariants: at most [`limits::SSE_STREAMS`] streams are open. Every five seconds a `heartbeat` event goes out, which a page can see
//! (a comment it cannot). On shutdown each stream ends by itself: an endless answer would hold up the end of the server.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use huxiao_core::{Span, limits};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Interval;
use tokio_stream::Stream;

use super::error::ApiError;
use crate::clock::Clock;
use crate::metric::{self, Counter, Gauge};
use crate::shutdown::Shutdown;
use crate::time_format::rfc3339;

/// How often a heartbeat goes out.
const HEARTBEAT: Span = Span::from_secs(5);
/// What the browser is told to wait before it connects again.
const RETRY: Span = Span::from_secs(1);

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    /// Its type; `heartbeat` is taken.
    pub name: &'static str,
    /// What the browser sends back as `Last-Event-ID`; `None` leaves the last one as it is. No line break, no zero byte.
    pub id: Option<String>,
    /// Its content, usually JSON.
    pub data: String,
}

/// Lets event streams in, up to the limit. One for each node; clones share the limit.
#[derive(Debug, Clone)]
pub struct SseGate {
    slots: Arc<Semaphore>,
    shutdown: Shutdown,
    clock: Clock,
}

impl SseGate {
    /// A gate that ends its streams when `shutdown` is asked for.
    #[must_use]
    pub fn new(shutdown: Shutdown, clock: Clock) -> Self {
        Self { slots: Arc::new(Semaphore::new(limits::SSE_STREAMS)), shutdown, clock }
    }

    /// Answers with the events of `source` and a heartbeat in between, until either the source or the node ends.
    ///
    /// `source` must bound what it holds for a reader that is slow.
    ///
    /// # Errors
    /// 503 `too_many_streams`, 503 `stopping`.
    pub fn open<S>(&self, source: S) -> Result<Response, ApiError>
    where
        S: Stream<Item = SseEvent> + Send + 'static,
    {
        if self.shutdown.requested() {
            return Err(ApiError::from(crate::drive::Stopped));
        }
        let Ok(permit) = self.slots.clone().try_acquire_owned() else {
            metric::increment(Counter::HttpOverload, &["streams"]);
            let message = format!("{} event streams are open, which is the limit; close one", limits::SSE_STREAMS);
            return Err(ApiError::unavailable("too_many_streams", message));
        };
        let shutdown = self.shutdown.clone();
        let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + HEARTBEAT, HEARTBEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let stream = Events {
            source: Box::pin(source),
            stop: Box::pin(async move { shutdown.wait().await }),
            beat,
            clock: self.clock.clone(),
            state: Progress::Fresh,
            _slot: Slot::new(permit, self.slots.clone()),
        };
        let mut response = Sse::new(stream).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // A reverse proxy must not collect events before it passes them on (nginx, ngx_http_proxy_module).
        headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
        Ok(response)
    }
}

/// A place among the streams, and in the gauge.
struct Slot {
    permit: Option<OwnedSemaphorePermit>,
    slots: Arc<Semaphore>,
}

impl Slot {
    fn new(permit: OwnedSemaphorePermit, slots: Arc<Semaphore>) -> Self {
        let slot = Self { permit: Some(permit), slots };
        slot.show();
        slot
    }

    fn show(&self) {
        let open = limits::SSE_STREAMS.saturating_sub(self.slots.available_permits());
        metric::set(Gauge::SseStreams, &[], u32::try_from(open).map_or(f64::MAX, f64::from));
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.show();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Fresh,
    Open,
    Ended,
}

struct Events<S> {
    source: Pin<Box<S>>,
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
    beat: Interval,
    clock: Clock,
    state: Progress,
    _slot: Slot,
}

impl<S: Stream<Item = SseEvent>> Stream for Events<S> {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.state {
            Progress::Ended => return Poll::Ready(None),
            Progress::Fresh => {
                self.state = Progress::Open;
                return Poll::Ready(Some(Ok(Event::default().retry(RETRY).comment("huxiao"))));
            }
            Progress::Open => {}
        }
        if self.stop.as_mut().poll(context).is_ready() {
            self.state = Progress::Ended;
            return Poll::Ready(Some(Ok(Event::default().retry(RETRY).comment("the node is stopping"))));
        }
        match self.source.as_mut().poll_next(context) {
            Poll::Ready(Some(event)) => return Poll::Ready(Some(Ok(render(event)))),
            Poll::Ready(None) => {
                self.state = Progress::Ended;
                return Poll::Ready(None);
            }
            Poll::Pending => {}
        }
        if self.beat.poll_tick(context).is_ready() {
            let data = format!(r#"{{"at":"{}"}}"#, rfc3339(self.clock.wall()));
            return Poll::Ready(Some(Ok(Event::default().event("heartbeat").data(data))));
        }
        Poll::Pending
    }
}

fn render(event: SseEvent) -> Event {
    // The library takes a return in data or an id for a defect of ours and panics: neither reaches it.
    let rendered = Event::default().event(event.name).data(event.data.replace('\r', " "));
    match event.id {
        Some(id) => rendered.id(id.replace(['\r', '\n', '\0'], "")),
        None => rendered,
    }
}
