//! What every request passes before a handler sees it: its whole body, within size and time.
//!
//! Bodies are small here (64 KiB; 1 MiB where pictures and audio are put in), so they are read before the handler runs: a handler never waits for a slow client.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use huxiao_core::{Span, limits};

use super::error::ApiError;
use crate::metric::{self, Counter};

/// Bytes of a request's body.
pub const BODY_BYTES: usize = 64 * 1_024;
/// The one path at which a body is content, and may have [`limits::BODY_BYTES`].
pub const CONTENT_PATH: &str = "/v1/bodies";
/// How long a body may take to arrive.
const BODY_TIME: Span = Span::from_secs(10);

/// Makes unknown paths and methods answer with [`ApiError`]. To be called after all routes are there; a `fallback` set afterwards
/// (a console's pages) takes the place of the one for paths.
pub fn with_fallbacks<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router.fallback(no_path).method_not_allowed_fallback(no_method)
}

async fn no_path(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(128).collect();
    ApiError::not_found("unknown_path", format!("there is nothing at {path}"))
}

async fn no_method(method: Method, uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(128).collect();
    let message = format!("{path} does not take {method}; the Allow header says what it takes");
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

pub(super) fn guarded(router: Router) -> Router {
    router.layer(middleware::from_fn(pass))
}

async fn pass(request: Request, next: Next) -> Response {
    let response = match whole(request).await {
        Ok(request) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    let class = match response.status().as_u16() {
        ..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    };
    metric::increment(Counter::HttpRequests, &[class]);
    response
}

async fn whole(request: Request) -> Result<Request, ApiError> {
    let (parts, body) = request.into_parts();
    let told = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let limit = if parts.uri.path() == CONTENT_PATH { limits::BODY_BYTES } else { BODY_BYTES };
    if told.is_some_and(|length| length > limit as u64) {
        return Err(too_large(limit));
    }
    match tokio::time::timeout(BODY_TIME, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(Request::from_parts(parts, Body::from(body.to_bytes()))),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        Ok(Err(error)) => Err(ApiError::bad_request("broken_body", format!("the body could not be read: {error}"))),
        Err(_) => {
            let message = format!("the body did not arrive within {} s", BODY_TIME.as_secs());
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "slow_body", message))
        }
    }
}

fn too_large(limit: usize) -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("a body has at most {limit} bytes"))
}
