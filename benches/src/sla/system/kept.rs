//! A publisher on one kept TCP connection, as a good client library has it, whatever its protocol.
//!
//! Invariant: what has been published is held until the server has acknowledged it, and is sent again on every new connection before
//! anything else. A connection on which nothing came for [`KEEP_ALIVE`] is asked; if nothing comes for as long again it is given up.

use std::collections::BTreeSet;
use std::io::{BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{BenchError, Trying};

/// Silence after which a publisher asks, and after which it gives up.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How long connecting and greeting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(250);
/// How often the connection's silence is looked at.
const TICK: Duration = Duration::from_millis(250);

/// What a server says to a publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// It has the message of this number.
    Taken(u32),
    /// It asks whether we are there.
    Ping,
    /// Anything else: a sign of life.
    Other,
}

/// The bytes of one protocol.
pub(super) trait Protocol: Send + Sync + 'static {
    /// Greets the server on a new connection.
    fn greet(&self, socket: &mut TcpStream, reader: &mut BufReader<TcpStream>) -> Result<(), BenchError>;
    /// A message; `again` if it may have been sent before.
    fn message(&self, number: u32, again: bool) -> Vec<u8>;
    /// A question whether the server is there.
    fn ping(&self) -> &'static [u8];
    /// The answer to the server's.
    fn pong(&self) -> &'static [u8];
    /// Waits for the next that it says.
    fn read(&self, reader: &mut BufReader<TcpStream>) -> Result<Said, BenchError>;
}

/// See the module. It ends with its owner.
pub(super) struct Publisher<P: Protocol>(Arc<Shared<P>>);

struct Shared<P> {
    protocol: P,
    address: SocketAddr,
    state: Mutex<State>,
    over: AtomicBool,
}

struct State {
    /// There is none while it is being made anew.
    socket: Option<TcpStream>,
    /// Published and not acknowledged.
    open: BTreeSet<u32>,
    heard: Instant,
    asked: Option<Instant>,
}

impl<P: Protocol> Publisher<P> {
    /// Connects. To be called where the publisher stands: its threads stay there.
    ///
    /// # Errors
    /// The server is not there.
    pub(super) fn connect(protocol: P, address: SocketAddr) -> Result<Self, BenchError> {
        let state = State { socket: None, open: BTreeSet::new(), heard: Instant::now(), asked: None };
        let shared = Arc::new(Shared { protocol, address, state: Mutex::new(state), over: AtomicBool::new(false) });
        let reader = shared.connect()?;
        let (carry, look) = (Arc::clone(&shared), Arc::clone(&shared));
        let publisher = Self(shared);
        thread::Builder::new().name("publisher".into()).spawn(move || carry.carry(reader)).trying("start a thread")?;
        thread::Builder::new().name("keep-alive".into()).spawn(move || look.keep_alive()).trying("start a thread")?;
        Ok(publisher)
    }

    /// Publishes, now or as soon as there is a connection again.
    pub(super) fn publish(&self, number: u32) {
        let mut state = self.0.state();
        state.open.insert(number);
        let bytes = self.0.protocol.message(number, false);
        // A write that fails has broken the connection, and the next one begins with what is open.
        state.write(&bytes);
    }
}

impl<P: Protocol> Drop for Publisher<P> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
        self.0.state().hang_up();
    }
}

impl State {
    fn write(&mut self, bytes: &[u8]) {
        if self.socket.as_mut().is_some_and(|socket| socket.write_all(bytes).is_err()) {
            self.hang_up();
        }
    }

    /// The reader notices and makes a new one.
    fn hang_up(&mut self) {
        if let Some(socket) = self.socket.take() {
            // It may be gone already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl<P: Protocol> Shared<P> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn connect(&self) -> Result<BufReader<TcpStream>, BenchError> {
        let mut socket =
            TcpStream::connect_timeout(&self.address, CONNECT).trying(format!("connect to {}", self.address))?;
        let set = socket.set_nodelay(true).and_then(|()| socket.set_read_timeout(Some(CONNECT)));
        set.trying("set a socket up")?;
        let mut reader = BufReader::new(socket.try_clone().trying("share a socket")?);
        self.protocol.greet(&mut socket, &mut reader)?;
        // From here on the keep-alive watches over it.
        socket.set_read_timeout(None).trying("set a socket up")?;
        let mut state = self.state();
        (state.socket, state.heard, state.asked) = (Some(socket), Instant::now(), None);
        let again: Vec<u8> = state.open.iter().flat_map(|number| self.protocol.message(*number, true)).collect();
        state.write(&again);
        Ok(reader)
    }

    fn carry(&self, mut reader: BufReader<TcpStream>) {
        loop {
            while let Ok(said) = self.protocol.read(&mut reader) {
                let mut state = self.state();
                (state.heard, state.asked) = (Instant::now(), None);
                match said {
                    Said::Taken(number) => _ = state.open.remove(&number),
                    Said::Ping => state.write(self.protocol.pong()),
                    Said::Other => {}
                }
            }
            self.state().hang_up();
            reader = loop {
                if self.is_over() {
                    return;
                }
                match self.connect() {
                    Ok(reader) => break reader,
                    Err(_) => thread::sleep(PAUSE),
                }
            };
            if self.is_over() {
                // Its owner left while this connection was made.
                return self.state().hang_up();
            }
        }
    }

    fn keep_alive(&self) {
        while !self.is_over() {
            thread::sleep(TICK);
            let mut state = self.state();
            match state.asked {
                Some(asked) if asked.elapsed() >= KEEP_ALIVE => state.hang_up(),
                None if state.socket.is_some() && state.heard.elapsed() >= KEEP_ALIVE => {
                    state.asked = Some(Instant::now());
                    state.write(self.protocol.ping());
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, Read};
    use std::net::TcpListener;

    /// Lines: a greeting, a number for each message, the number back.
    struct Lines;

    impl Protocol for Lines {
        fn greet(&self, socket: &mut TcpStream, reader: &mut BufReader<TcpStream>) -> Result<(), BenchError> {
            socket.write_all(b"hello\n").trying("greet")?;
            reader.read_line(&mut String::new()).trying("be greeted")?;
            Ok(())
        }
        fn message(&self, number: u32, again: bool) -> Vec<u8> {
            format!("{number}{}\n", if again { " again" } else { "" }).into_bytes()
        }
        fn ping(&self) -> &'static [u8] {
            b"?\n"
        }
        fn pong(&self) -> &'static [u8] {
            b"!\n"
        }
        fn read(&self, reader: &mut BufReader<TcpStream>) -> Result<Said, BenchError> {
            let mut line = String::new();
            if reader.read_line(&mut line).trying("read")? == 0 {
                return Err(BenchError::answer("the server", "nothing"));
            }
            Ok(match line.trim() {
                "?" => Said::Ping,
                number => number.parse().map_or(Said::Other, Said::Taken),
            })
        }
    }

    #[test]
    fn what_was_not_acknowledged_comes_again_on_the_next_connection_and_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let accept = || {
                let mut socket = listener.accept().unwrap().0;
                socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let mut reader = BufReader::new(socket.try_clone().unwrap());
                assert_eq!(line(&mut reader), "hello");
                socket.write_all(b"hello\n").unwrap();
                (socket, reader)
            };
            let (mut socket, mut reader) = accept();
            assert_eq!((line(&mut reader), line(&mut reader)), ("1".into(), "2".into()));
            socket.write_all(b"1\n?\n").unwrap();
            assert_eq!(line(&mut reader), "!");
            drop((socket, reader));
            let (mut socket, mut reader) = accept();
            assert_eq!(line(&mut reader), "2 again");
            socket.write_all(b"2\n").unwrap();
            assert_eq!(line(&mut reader), "3");
            let mut rest = Vec::new();
            // The owner hangs up.
            reader.read_to_end(&mut rest).unwrap();
            assert_eq!(rest, b"");
        });
        let publisher = Publisher::connect(Lines, address).unwrap();
        publisher.publish(1);
        publisher.publish(2);
        let began = Instant::now();
        while publisher.0.state().open.contains(&2) {
            assert!(began.elapsed() < Duration::from_secs(20));
            thread::sleep(Duration::from_millis(5));
        }
        publisher.publish(3);
        thread::sleep(Duration::from_millis(50));
        drop(publisher);
        server.join().unwrap();
    }

    fn line(reader: &mut BufReader<TcpStream>) -> String {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}
