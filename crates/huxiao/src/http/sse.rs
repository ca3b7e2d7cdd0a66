//! Reads an event stream (WHATWG HTML, section 9.2.6): bytes in, in pieces of any size, messages out.
//!
//! Invariant: what it holds is bounded by [`MESSAGE_BYTES`], and how the bytes were cut makes no difference.

/// Bytes of one message, and of one line. An event is at most some tens of KiB.
const MESSAGE_BYTES: usize = 1 << 20;

/// One message of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// Its type; `message` if the stream does not say.
    pub event: String,
    /// Its content.
    pub data: String,
    /// The id that came with this very message.
    pub id: Option<String>,
}

/// A message without end: no node of ours sends one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of the stream is longer than {MESSAGE_BYTES} bytes")]
pub struct TooLong;

/// Takes the bytes of one stream.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed right after it belongs to the same line end.
    after_return: bool,
    begun: bool,
    event: String,
    data: String,
    id: Option<String>,
}

impl Parser {
    /// A parser at the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and gives the messages that they complete.
    ///
    /// # Errors
    /// [`TooLong`]; the stream is then of no use any more.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Message>, TooLong> {
        let mut messages = Vec::new();
        for &byte in bytes {
            let second_half = std::mem::take(&mut self.after_return) && byte == b'\n';
            match byte {
                b'\n' if second_half => {}
                b'\n' | b'\r' => {
                    self.after_return = byte == b'\r';
                    messages.extend(self.end_of_line());
                }
                _ => self.line.push(byte),
            }
            if self.line.len() + self.data.len() > MESSAGE_BYTES {
                return Err(TooLong);
            }
        }
        Ok(messages)
    }

    fn end_of_line(&mut self) -> Option<Message> {
        let line = std::mem::take(&mut self.line);
        let mut line = line.as_slice();
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        }
        if line.is_empty() {
            return self.dispatch();
        }
        let line = String::from_utf8_lossy(line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            // A comment has an empty field; `retry` is the server's wish for browsers, we have a backoff of our own.
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<Message> {
        let (event, mut data, id) = (std::mem::take(&mut self.event), std::mem::take(&mut self.data), self.id.take());
        if data.is_empty() {
            return None;
        }
        // The line break after the last line is none of the content.
        data.pop();
        let event = if event.is_empty() { "message".to_owned() } else { event };
        Some(Message { event, data, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "\u{feff}retry: 1000\n\n: a comment\nevent: alarm\nid: 7\ndata: {\"a\":\ndata: 1}\n\n\
        event: heartbeat\rdata:x\r\rdata\n\nevent: lost\nid: 9\n\nid: 8\r\ndata:  two\r\n\r\nid: \0\ndata: 警情\n\ndata: cut";

    fn expected() -> Vec<Message> {
        let message = |event: &str, data: &str, id: Option<&str>| Message {
            event: event.into(),
            data: data.into(),
            id: id.map(str::to_owned),
        };
        vec![
            message("alarm", "{\"a\":\n1}", Some("7")),
            message("heartbeat", "x", None),
            message("message", "", None),
            message("message", " two", Some("8")),
            message("message", "警情", None),
        ]
    }

    #[test]
    fn every_form_that_the_standard_knows() {
        assert_eq!(Parser::new().push(STREAM.as_bytes()).unwrap(), expected());
    }

    #[test]
    fn how_the_bytes_are_cut_makes_no_difference() {
        for size in 1..STREAM.len() {
            let mut parser = Parser::new();
            let messages: Vec<_> =
                STREAM.as_bytes().chunks(size).flat_map(|piece| parser.push(piece).unwrap()).collect();
            assert_eq!(messages, expected(), "pieces of {size}");
        }
    }

    #[test]
    fn a_message_without_end_is_refused() {
        let mut parser = Parser::new();
        let line = [b"data: ".as_slice(), &[b'x'; 4_096], b"\n"].concat();
        let refused = (0..1_000).map(|_| parser.push(&line)).find(Result::is_err);
        assert_eq!(refused, Some(Err(TooLong)));
        assert_eq!(Parser::new().push(&vec![b'x'; MESSAGE_BYTES + 1]), Err(TooLong));
    }

    #[test]
    fn bytes_that_are_not_text_do_no_harm() {
        let messages = Parser::new().push(b"data: \xff\xfe\n\n").unwrap();
        assert_eq!(messages[0].data, "\u{fffd}\u{fffd}");
    }
}
