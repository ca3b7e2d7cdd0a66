//! As much of MQTT 3.1.1 (OASIS standard, 2014) as one publisher and one subscriber with QoS 1 need, by blocking.
//!
//! Invariant: a packet is written with one call and the socket does not wait to collect, so the peer's figures are its own.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::error::{BenchError, Trying};

/// Bytes of one packet's content: more than anything here sends or asks for.
const PACKET_BYTES: usize = 1 << 20;

/// What a broker sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Packet {
    /// Section 3.2; 0 is yes.
    ConnAck(u8),
    /// Section 3.9; 0x80 is no.
    SubAck(u8),
    /// Section 3.4: the broker has taken the message of this number over.
    PubAck(u16),
    /// Section 3.13: the broker is there.
    PingResp,
    /// Section 3.3: a message with QoS 1.
    Publish {
        /// To be acknowledged.
        id: u16,
        /// Whether the broker says that it sent it before.
        repeated: bool,
        /// Its content.
        payload: Vec<u8>,
    },
}

/// A connection to a broker.
#[derive(Debug)]
pub(crate) struct Client {
    socket: TcpStream,
    reader: BufReader<TcpStream>,
    last_id: u16,
}

impl Client {
    /// Connects under the name `id`. A session that is not `clean` is kept by the broker while the client is away.
    ///
    /// # Errors
    /// The broker is not there or does not want us.
    pub(crate) fn connect(address: SocketAddr, id: &str, clean: bool, patience: Duration) -> Result<Self, BenchError> {
        let socket = TcpStream::connect_timeout(&address, patience).trying(format!("connect to {address}"))?;
        let set = socket.set_nodelay(true).and_then(|()| socket.set_read_timeout(Some(patience)));
        set.and_then(|()| socket.set_write_timeout(Some(patience))).trying("set a socket up")?;
        let reader = BufReader::new(socket.try_clone().trying("share a socket")?);
        let mut client = Self { socket, reader, last_id: 0 };
        client.write(&connect(id, clean, Duration::ZERO))?;
        match client.receive()? {
            Packet::ConnAck(0) => Ok(client),
            other => Err(BenchError::answer("the MQTT broker to CONNECT", format!("{other:?}"))),
        }
    }

    /// Asks for the messages of `topic` with QoS 1.
    ///
    /// # Errors
    /// The broker gives less.
    pub(crate) fn subscribe(&mut self, topic: &str) -> Result<(), BenchError> {
        let mut body = self.next_id().to_be_bytes().to_vec();
        body.extend(text(topic));
        body.push(1);
        self.send(0x82, &body)?;
        match self.receive()? {
            Packet::SubAck(1) => Ok(()),
            other => Err(BenchError::answer("the MQTT broker to SUBSCRIBE", format!("{other:?}"))),
        }
    }

    /// Sends a message with QoS 1 and gives its number, under which it will be acknowledged.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<u16, BenchError> {
        let id = self.next_id();
        self.write(&publish(topic, id, payload, false))?;
        Ok(id)
    }

    /// Says that a message has come.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) fn acknowledge(&mut self, id: u16) -> Result<(), BenchError> {
        self.send(0x40, &id.to_be_bytes())
    }

    /// Waits for the next packet.
    ///
    /// # Errors
    /// The connection broke, nothing came in time, or what came is not asked for.
    pub(crate) fn receive(&mut self) -> Result<Packet, BenchError> {
        read_packet(&mut self.reader)
    }

    fn send(&mut self, first: u8, body: &[u8]) -> Result<(), BenchError> {
        self.write(&whole(first, body))
    }

    fn write(&mut self, packet: &[u8]) -> Result<(), BenchError> {
        self.socket.write_all(packet).trying("write to the MQTT broker")
    }

    /// Zero is no number (section 2.3.1).
    fn next_id(&mut self) -> u16 {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_id
    }
}

/// Section 3.12: asks whether the broker is there.
pub(crate) const PING: [u8; 2] = [0xc0, 0];

/// Section 3.1: protocol MQTT, level 4, the clean-session flag, the keep-alive in seconds (none if zero), the client's id.
pub(crate) fn connect(id: &str, clean: bool, keep_alive: Duration) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([4, u8::from(clean) << 1]);
    body.extend(u16::try_from(keep_alive.as_secs()).unwrap_or(u16::MAX).to_be_bytes());
    body.extend(text(id));
    whole(0x10, &body)
}

/// Section 3.3: a message with QoS 1 under the number `id`; `again` if it may have been sent before.
pub(crate) fn publish(topic: &str, id: u16, payload: &[u8], again: bool) -> Vec<u8> {
    let mut body = text(topic);
    body.extend(id.to_be_bytes());
    body.extend(payload);
    whole(0x32 | u8::from(again) << 3, &body)
}

/// A packet of this first byte (section 2.2).
fn whole(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    packet.extend(length(body.len()));
    packet.extend(body);
    packet
}

/// A text with its length before it (section 1.5.3). Ours are short.
fn text(text: &str) -> Vec<u8> {
    let mut out = u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    out.extend(text.as_bytes());
    out
}

/// A remaining length: seven bits a byte, the lowest first (section 2.2.3).
fn length(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = u8::try_from(value % 128).unwrap_or(0);
        value /= 128;
        out.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return out;
        }
    }
}

/// Waits for the next packet.
///
/// # Errors
/// The connection broke, or what came is not asked for.
pub(crate) fn read_packet(reader: &mut impl Read) -> Result<Packet, BenchError> {
    let mut read = |bytes: &mut [u8]| reader.read_exact(bytes).trying("read from the MQTT broker");
    let mut byte = [0];
    read(&mut byte)?;
    let first = byte[0];
    let mut size = 0;
    for place in 0..4 {
        read(&mut byte)?;
        size |= usize::from(byte[0] & 0x7f) << (7 * place);
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let strange = || BenchError::answer("the MQTT broker", format!("a packet 0x{first:02x} of {size} bytes"));
    if byte[0] & 0x80 != 0 || size > PACKET_BYTES {
        return Err(strange());
    }
    let mut body = vec![0; size];
    read(&mut body)?;
    packet(first, &body).ok_or_else(strange)
}

fn packet(first: u8, body: &[u8]) -> Option<Packet> {
    let number = |bytes: &[u8]| Some(u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]));
    match (first >> 4, first & 0x06) {
        (2, _) => Some(Packet::ConnAck(*body.get(1)?)),
        (9, _) => Some(Packet::SubAck(*body.get(2)?)),
        (4, _) => Some(Packet::PubAck(number(body)?)),
        (13, _) => Some(Packet::PingResp),
        (3, 0x02) => {
            let topic = usize::from(number(body)?);
            let rest = body.get(2 + topic..)?;
            let payload = rest.get(2..)?.to_vec();
            Some(Packet::Publish { id: number(rest)?, repeated: first & 0x08 != 0, payload })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn remaining_lengths_of_the_standard() {
        // Table 2.4.
        let table: [(usize, &[u8]); 6] = [
            (0, &[0]),
            (127, &[0x7f]),
            (128, &[0x80, 1]),
            (16_383, &[0xff, 0x7f]),
            (16_384, &[0x80, 0x80, 1]),
            (2_097_152, &[0x80, 0x80, 0x80, 1]),
        ];
        for (value, bytes) in table {
            assert_eq!(length(value), bytes, "{value}");
        }
    }

    #[test]
    fn packets_that_a_broker_sends() {
        let of = |bytes: &[u8]| read_packet(&mut &bytes[..]);
        assert_eq!(of(&[0x20, 2, 0, 5]).unwrap(), Packet::ConnAck(5));
        assert_eq!(of(&[0x90, 3, 0, 1, 0x80]).unwrap(), Packet::SubAck(0x80));
        assert_eq!(of(&[0x40, 2, 1, 2]).unwrap(), Packet::PubAck(258));
        assert_eq!(of(&[0xd0, 0]).unwrap(), Packet::PingResp);
        let long = [&[0x3a, 0xcd, 1, 0, 1, b't', 0, 9][..], &[7; 200]].concat();
        assert_eq!(of(&long).unwrap(), Packet::Publish { id: 9, repeated: true, payload: vec![7; 200] });
    }

    #[test]
    fn nonsense_is_an_error_and_no_panic() {
        for bytes in [
            &[0x20, 2, 0][..],
            &[0x20, 1, 0],
            &[0x90, 2, 0, 1],
            &[0x32, 3, 0, 9, b't'],
            &[0x32, 4, 0, 1, b't', 0],
            &[0x30, 3, 0, 1, b't'],
            &[0x34, 5, 0, 1, b't', 0, 1],
            &[0x32, 0xff, 0xff, 0xff, 0xff, 1],
            &[0x32, 0xff, 0xff, 0xff, 0x7f],
            &[0xf0, 0],
            &[],
        ] {
            assert!(read_packet(&mut &bytes[..]).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn what_a_client_that_stays_sends() {
        assert_eq!(connect("me", false, Duration::from_secs(10)), b"\x10\x0e\0\x04MQTT\x04\x00\0\x0a\0\x02me");
        assert_eq!(publish("t", 2, b"hi", true), b"\x3a\x07\0\x01t\0\x02hi");
    }

    #[test]
    fn what_a_client_sends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let broker = std::thread::spawn(move || {
            let mut socket = listener.accept().unwrap().0;
            let mut expect = |wanted: &[u8], answer: &[u8]| {
                let mut have = vec![0; wanted.len()];
                socket.read_exact(&mut have).unwrap();
                assert_eq!(have, wanted);
                socket.write_all(answer).unwrap();
            };
            expect(b"\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x02me", &[0x20, 2, 0, 0]);
            expect(b"\x82\x06\0\x01\0\x01t\x01", &[0x90, 3, 0, 1, 1]);
            expect(b"\x32\x07\0\x01t\0\x02hi", &[0x40, 2, 0, 2]);
            expect(&[0x40, 2, 1, 0], &[]);
        });
        let mut client = Client::connect(address, "me", true, Duration::from_secs(20)).unwrap();
        client.subscribe("t").unwrap();
        let id = client.publish("t", b"hi").unwrap();
        assert_eq!(client.receive().unwrap(), Packet::PubAck(id));
        client.acknowledge(256).unwrap();
        broker.join().unwrap();
        client.last_id = u16::MAX;
        assert_eq!(client.next_id(), 1);
    }
}
