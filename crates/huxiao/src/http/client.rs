//! Requests and answers over one connection that is kept and renewed.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use huxiao_runtime::config::Address;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};

use super::endpoint::Endpoint;
use super::error::HttpError;
use super::stream::EventStream;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How long an answer may take, its body included: a node on a struggling disk takes some seconds.
const ANSWER: Duration = Duration::from_secs(20);
/// Bytes of an answer's body.
const BODY_BYTES: usize = 32 << 20;

type Sender = SendRequest<Full<Bytes>>;
/// A request's body, and what kind of content it is.
type Content = (&'static str, Bytes);

fn json(body: &Value) -> Content {
    ("application/json", body.to_string().into())
}

/// A client of one node's API.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    kept: Option<Sender>,
    patience: Duration,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
    endpoint: Endpoint,
}

impl Client {
    /// A client that has not connected yet.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, kept: None, patience: ANSWER }
    }

    /// The same, waiting this long for an answer.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// `GET path`, whatever the status of the answer.
    ///
    /// # Errors
    /// [`HttpError::Unreachable`], [`HttpError::NoAnswer`].
    pub async fn get(&mut self, path: &str) -> Result<Answer, HttpError> {
        self.ask(Method::GET, path, &[], None).await
    }

    /// `GET path`, which must give JSON.
    ///
    /// # Errors
    /// [`HttpError`]
    pub async fn get_json(&mut self, path: &str) -> Result<Value, HttpError> {
        self.get(path).await?.good()?.json()
    }

    /// `POST path`. A connection that had been kept and turns out to be dead is replaced and the request sent again, so what is
    /// posted must be harmless twice.
    ///
    /// # Errors
    /// [`HttpError`]: any answer but 2xx is one.
    pub async fn post(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, HttpError> {
        self.ask(Method::POST, path, headers, body.map(json)).await?.good()
    }

    /// The same with a body that is not JSON.
    ///
    /// # Errors
    /// [`HttpError`]: any answer but 2xx is one.
    pub async fn post_bytes(&mut self, path: &str, kind: &'static str, body: Vec<u8>) -> Result<Answer, HttpError> {
        self.ask(Method::POST, path, &[], Some((kind, body.into()))).await?.good()
    }

    /// Opens the event stream at `path` on a connection of its own.
    ///
    /// # Errors
    /// [`HttpError`]
    pub async fn stream(&self, path: &str, last_event_id: Option<&str>) -> Result<EventStream, HttpError> {
        let mut headers = vec![("accept", "text/event-stream")];
        headers.extend(last_event_id.map(|id| ("last-event-id", id)));
        let mut sender = connect(&self.endpoint).await?;
        let request = self.request(Method::GET, path, &headers, None)?;
        let response = timeout(self.patience, sender.send_request(request)).await;
        let response = response.map_err(|_| self.late())?.map_err(|error| self.broken(&error))?;
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_stream = kind.is_some_and(|kind| kind.starts_with("text/event-stream"));
        if response.status().is_success() && is_stream {
            return Ok(EventStream::new(self.endpoint.clone(), response.into_body(), sender));
        }
        timeout(self.patience, self.whole(response)).await.map_err(|_| self.late())??.good()?;
        Err(self.strange("it is no event stream"))
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Content>,
    ) -> Result<Answer, HttpError> {
        if let Some(sender) = self.kept.take().filter(|sender| !sender.is_closed()) {
            let begun = Instant::now();
            match self.exchange(sender, self.request(method.clone(), path, headers, body.clone())?).await {
                // Broken, not slow: the node closed the connection while it was idle, or has been started anew.
                Err(HttpError::NoAnswer { .. }) if begun.elapsed() < self.patience => {}
                answered => return answered,
            }
        }
        let sender = connect(&self.endpoint).await?;
        self.exchange(sender, self.request(method, path, headers, body)?).await
    }

    async fn exchange(&mut self, mut sender: Sender, request: Request<Full<Bytes>>) -> Result<Answer, HttpError> {
        let exchange = async {
            sender.ready().await.map_err(|error| self.broken(&error))?;
            let response = sender.send_request(request).await.map_err(|error| self.broken(&error))?;
            self.whole(response).await
        };
        let answer = timeout(self.patience, exchange).await.map_err(|_| self.late())??;
        self.kept = Some(sender);
        Ok(answer)
    }

    async fn whole(&self, response: Response<Incoming>) -> Result<Answer, HttpError> {
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), BODY_BYTES).collect().await;
        let body = body.map_err(|error| self.no_answer(format!("its body broke off: {error}")))?.to_bytes();
        Ok(Answer { status, body, endpoint: self.endpoint.clone() })
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Content>,
    ) -> Result<Request<Full<Bytes>>, HttpError> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, self.endpoint.host());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some((kind, _)) = &body {
            request = request.header(header::CONTENT_TYPE, *kind);
        }
        let bytes = body.map(|(_, bytes)| bytes).unwrap_or_default();
        request.body(Full::new(bytes)).map_err(|error| self.strange(&format!("{path} cannot be asked for: {error}")))
    }

    fn broken(&self, error: &hyper::Error) -> HttpError {
        self.no_answer(format!("the connection broke: {error}"))
    }

    fn late(&self) -> HttpError {
        self.no_answer(format!("nothing came within {} s", self.patience.as_secs()))
    }

    fn no_answer(&self, reason: String) -> HttpError {
        HttpError::NoAnswer { endpoint: Box::new(self.endpoint.clone()), reason }
    }

    fn strange(&self, reason: &str) -> HttpError {
        HttpError::Strange { endpoint: Box::new(self.endpoint.clone()), reason: reason.to_owned() }
    }
}

impl Answer {
    /// The answer, if its status is 2xx.
    ///
    /// # Errors
    /// [`HttpError::Refused`]
    pub fn good(self) -> Result<Self, HttpError> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let body: Value = serde_json::from_slice(&self.body).unwrap_or(Value::Null);
        let word = |name: &str| body["error"][name].as_str().unwrap_or_default().to_owned();
        let (code, mut message) = (word("code"), word("message"));
        if message.is_empty() {
            message = "it gave no reason".to_owned();
        }
        let (status, endpoint) = (self.status, Box::new(self.endpoint));
        Err(HttpError::Refused { endpoint, status, code, message, body: Box::new(body) })
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`HttpError::Strange`]
    pub fn json(&self) -> Result<Value, HttpError> {
        serde_json::from_slice(&self.body).map_err(|error| HttpError::Strange {
            endpoint: Box::new(self.endpoint.clone()),
            reason: format!("its body is no JSON: {error}"),
        })
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

async fn connect(endpoint: &Endpoint) -> Result<Sender, HttpError> {
    let unreachable = |reason: String| HttpError::Unreachable { endpoint: Box::new(endpoint.clone()), reason };
    let opening = async {
        match endpoint.address() {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| error.to_string())?;
                handshake(stream).await
            }
            address => {
                let stream = TcpStream::connect(address.to_string()).await.map_err(|error| error.to_string())?;
                // Small requests must not wait for each other's acknowledgement (Nagle).
                stream.set_nodelay(true).map_err(|error| error.to_string())?;
                handshake(stream).await
            }
        }
    };
    match timeout(CONNECT, opening).await {
        Ok(opened) => opened.map_err(unreachable),
        Err(_) => Err(unreachable(format!("no connection within {} s", CONNECT.as_secs()))),
    }
}

async fn handshake<S>(stream: S) -> Result<Sender, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        // Its error reaches whoever waits for an answer.
        let _ = connection.await;
    });
    Ok(sender)
}
