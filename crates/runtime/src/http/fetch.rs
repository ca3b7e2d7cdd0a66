//! Getting something small from a device on the school's own network: a camera's picture.
//!
//! Plain HTTP/1.1 with basic authentication (RFC 7617) where the address has a name and a password. One connection for each request, none kept.
//!
//! Invariant: whatever the device does, the caller has an answer within its patience, and never more than so many bytes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// An `http` address: `http://[name:password@]host[:port]/path`.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl {
    /// Host and port, for the connection.
    authority: String,
    /// What stands in the `Host` header.
    host: String,
    path: String,
    /// Name and password, as they stand before the `@`.
    login: Option<String>,
}

// The password is nobody's business.
impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.host, self.path)
    }
}

impl FromStr for HttpUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text
            .strip_prefix("http://")
            .ok_or("an address begins with http://, as cameras on the school's network have it")?;
        let (place, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let (login, host) = place.rsplit_once('@').map_or((None, place), |(login, host)| (Some(login), host));
        let name = host.rsplit_once(':').filter(|(name, _)| !name.contains(':') || name.ends_with(']'));
        let authority = match name {
            Some((_, port)) if port.parse::<u16>().is_ok_and(|port| port > 0) => host.to_owned(),
            Some((_, port)) => return Err(format!("{port:?} is no port")),
            None => format!("{host}:80"),
        };
        let bad = |c: char| c.is_control() || c.is_whitespace() || !c.is_ascii();
        if host.is_empty() || host.starts_with(':') || text.chars().any(bad) {
            return Err("it must have a host, and nothing but ASCII without spaces".to_owned());
        }
        let (host, path) = (host.to_owned(), path.to_owned());
        Ok(Self { authority, host, path, login: login.map(str::to_owned) })
    }
}

/// Why nothing was got.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// It is off, or not on this network.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// It is too slow.
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
    /// It says no.
    #[error("it answers HTTP {0}")]
    Status(u16),
    /// Its answer is longer than may be.
    #[error("its answer has more than {0} bytes")]
    TooLarge(usize),
    /// It does not speak HTTP, or the connection broke.
    #[error("its answer broke off: {0}")]
    Broken(String),
}

/// `GET url`: its body, of at most `limit` bytes, within `patience`.
///
/// # Errors
/// [`FetchError`]
pub async fn fetch(url: &HttpUrl, limit: usize, patience: Duration) -> Result<Vec<u8>, FetchError> {
    tokio::time::timeout(patience, get(url, limit)).await.unwrap_or(Err(FetchError::Late(patience)))
}

async fn get(url: &HttpUrl, limit: usize) -> Result<Vec<u8>, FetchError> {
    let stream = TcpStream::connect(&url.authority).await;
    let stream = stream.map_err(|error| FetchError::Unreachable(error.to_string()))?;
    let broken = |error: hyper::Error| FetchError::Broken(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let mut request = Request::get(&url.path).header(header::HOST, &url.host).header(header::ACCEPT, "image/jpeg, */*");
    if let Some(login) = &url.login {
        request = request.header(header::AUTHORIZATION, format!("Basic {}", base64(login.as_bytes())));
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| FetchError::Broken(error.to_string()))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        if !response.status().is_success() {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), limit).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                FetchError::TooLarge(limit)
            } else {
                FetchError::Broken(error.to_string())
            }
        })?;
        Ok(body.to_bytes().to_vec())
    };
    // Both end with this function: a device that goes on talking is not listened to.
    let mut connection = std::pin::pin!(connection);
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        _ = &mut connection => exchange.await,
    }
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// A device that answers one request so; what it was asked comes back.
    async fn device(answer: Vec<u8>) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 4_096];
            let read = stream.read(&mut asked).await.unwrap();
            // It may be cut off while it talks.
            let _ = stream.write_all(&answer).await;
            String::from_utf8_lossy(&asked[..read]).into_owned()
        });
        (address, served)
    }

    fn answer(body: &[u8]) -> Vec<u8> {
        let mut all = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        all.extend(body);
        all
    }

    #[tokio::test]
    async fn a_picture_comes_whole_and_the_login_goes_along() {
        let (address, served) = device(answer(b"picture")).await;
        let url: HttpUrl = format!("http://admin:12345@{address}/snap?ch=1").parse().unwrap();
        assert_eq!(fetch(&url, 7, PATIENCE).await.unwrap(), b"picture");
        let asked = served.await.unwrap().to_ascii_lowercase();
        assert!(asked.starts_with("get /snap?ch=1 http/1.1"), "{asked}");
        assert!(asked.contains(&"authorization: basic YWRtaW46MTIzNDU=".to_ascii_lowercase()), "{asked}");
        assert!(!url.to_string().contains("12345"), "{url}");
    }

    #[tokio::test]
    async fn whatever_else_it_says_is_an_error_of_its_own() {
        let get = async |said: Vec<u8>| {
            let (address, _served) = device(said).await;
            fetch(&format!("http://{address}/").parse().unwrap(), 100, PATIENCE).await
        };
        assert_eq!(get(answer(&[0; 101])).await, Err(FetchError::TooLarge(100)));
        assert_eq!(get(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n".to_vec()).await, Err(FetchError::Status(401)));
        assert!(matches!(get(b"I am no web server\r\n\r\n".to_vec()).await, Err(FetchError::Broken(_))));
        let endless = b"HTTP/1.1 200 OK\r\n\r\n".iter().copied().chain(std::iter::repeat_n(0, 1 << 20)).collect();
        assert_eq!(get(endless).await, Err(FetchError::TooLarge(100)));
        let nobody: HttpUrl = "http://127.0.0.1:1/".parse().unwrap();
        assert!(matches!(fetch(&nobody, 100, PATIENCE).await, Err(FetchError::Unreachable(_))));
    }

    #[tokio::test]
    async fn who_says_nothing_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: HttpUrl = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let patience = Duration::from_millis(50);
        assert_eq!(fetch(&url, 100, patience).await, Err(FetchError::Late(patience)));
    }

    #[test]
    fn addresses_are_checked_before_anything_is_asked() {
        for bad in [
            "",
            "rtsp://10.0.0.7/",
            "https://10.0.0.7/",
            "http://",
            "http:///x",
            "http://h:x/",
            "http://h:0/",
            "http://h/a b",
        ] {
            assert!(bad.parse::<HttpUrl>().is_err(), "{bad}");
        }
        let url: HttpUrl = "http://10.0.0.7".parse().unwrap();
        assert_eq!((url.authority.as_str(), url.path.as_str()), ("10.0.0.7:80", "/"));
        assert_eq!("http://[::1]:81/x".parse::<HttpUrl>().unwrap().authority, "[::1]:81");
        assert_eq!([base64(b"f"), base64(b"fo"), base64(b"foo")], ["Zg==", "Zm8=", "Zm9v"]);
    }
}
