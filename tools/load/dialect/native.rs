//! Annulus' own protocol: a preamble, then GET and PUT frames with ids, laid out by the library itself.
//!
//! Invariant: a reply is taken only when its frame is whole, and only under an id that was sent; answers may come in
//! any order. It chooses no level, condition or expiry, and reads no replies but those of GET and PUT.

use annulus::message::{self, Condition, Envelope, ExpiryChange, Request, RequestId};
use annulus::protocol::Limits;
use annulus::protocol::client::{decode_response, encode_request};
use annulus::protocol::frame::{Frame, Split, split_frame};
use annulus::protocol::preamble::{Greeting, PREAMBLE_BYTES, Preamble, decode_greeting, encode_preamble};

use super::{Dialect, Malformed, Outcome, Reply};

/// The dialect: which ids a connection has given away, and whether it was greeted.
#[derive(Clone, Default)]
pub(crate) struct Native {
    limits: Limits,
    /// The id of the next request. Ids are used again after 2^32 requests, when their answers came long ago.
    next_id: u32,
    greeted: bool,
}

impl Native {
    fn encode(&mut self, request: Request<'_>, output: &mut Vec<u8>) {
        let id = RequestId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        encode_request(&Envelope { id, level: None, request }, output);
    }

    /// Whether a request with this id was sent: it lies in the half of all ids behind the next.
    fn was_sent(&self, id: RequestId) -> bool {
        (1..=1 << 31).contains(&self.next_id.wrapping_sub(id.0))
    }

    fn greeting(&mut self, bytes: &[u8]) -> Result<Option<Reply>, Malformed> {
        let Some(&greeting) = bytes.first_chunk::<PREAMBLE_BYTES>() else { return Ok(None) };
        self.greeted = true;
        let outcome = match decode_greeting(greeting) {
            Ok(Greeting::Welcome { authentication_required: false }) => Outcome::Stored,
            Ok(_) => Outcome::Error,
            Err(_) => return Err(Malformed),
        };
        Ok(Some(Reply { bytes: PREAMBLE_BYTES, outcome }))
    }

    fn frame<'a>(&self, bytes: &'a [u8]) -> Result<Option<Frame<'a>>, Malformed> {
        match split_frame(bytes, &self.limits) {
            Ok(Split::Frame(frame)) => Ok(Some(frame)),
            Ok(Split::Incomplete { .. }) => Ok(None),
            Err(_) => Err(Malformed),
        }
    }
}

impl Dialect for Native {
    // Length, header and version.
    const REPLY_OVERHEAD_BYTES: usize = 24;

    fn greet(&mut self, output: &mut Vec<u8>) -> usize {
        output.extend_from_slice(&encode_preamble(Preamble { level: None }));
        1
    }

    fn encode_get(&mut self, key: &[u8], output: &mut Vec<u8>) {
        self.encode(Request::Get { key }, output);
    }

    fn encode_set(&mut self, key: &[u8], value: &[u8], output: &mut Vec<u8>) {
        let (condition, expiry) = (Condition::Always, ExpiryChange::Clear);
        self.encode(Request::Put { key, value, condition, expiry }, output);
    }

    fn reply(&mut self, bytes: &[u8]) -> Result<Option<Reply>, Malformed> {
        if !self.greeted {
            return self.greeting(bytes);
        }
        let Some(frame) = self.frame(bytes)? else { return Ok(None) };
        let (id, outcome) = decode_response(frame).map_err(|_| Malformed)?;
        if !self.was_sent(id) {
            return Err(Malformed);
        }
        let outcome = match outcome {
            message::Outcome::Done(message::Reply::Value { .. }) => Outcome::Hit,
            message::Outcome::Done(message::Reply::Absent) => Outcome::Miss,
            message::Outcome::Done(message::Reply::Written { .. }) => Outcome::Stored,
            message::Outcome::Done(_) => return Err(Malformed),
            message::Outcome::Refused { .. } | message::Outcome::Unknown { .. } => Outcome::Error,
        };
        Ok(Some(Reply { bytes: frame.bytes_total(), outcome }))
    }

    fn describe(&self, reply: &[u8]) -> String {
        // No frame is taken for a greeting: its magic number would be a length beyond the limit.
        if let Some(greeting) = reply.first_chunk().and_then(|&bytes| decode_greeting(bytes).ok()) {
            return format!("{greeting:?}");
        }
        let outcome = self.frame(reply).ok().flatten().and_then(|frame| decode_response(frame).ok());
        match outcome {
            Some((_, message::Outcome::Refused { reason, message })) => format!("{reason:?}: {message}"),
            Some((_, message::Outcome::Unknown { message })) => format!("unknown outcome: {message}"),
            _ => "not an error".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use annulus::message::Refusal;
    use annulus::protocol::client::{
        decode_request, encode_absent, encode_refused, encode_value, encode_written,
    };
    use annulus::protocol::preamble::encode_greeting;
    use annulus::types::Version;

    use super::super::tests::outcomes_split_at;
    use super::*;

    const WELCOME: Greeting = Greeting::Welcome { authentication_required: false };

    /// A connection that has sent `requests` requests.
    fn after(requests: usize) -> Native {
        let mut native = Native::default();
        for _ in 0..requests {
            native.encode_get(b"key:1", &mut Vec::new());
        }
        native
    }

    fn greeted_after(requests: usize) -> Native {
        Native { greeted: true, ..after(requests) }
    }

    #[test]
    fn requests_are_numbered_frames_behind_a_preamble() {
        let (mut native, mut output) = (Native::default(), Vec::new());
        assert_eq!(native.greet(&mut output), 1);
        assert_eq!(output, [0x8A, b'A', b'N', b'L', 1, 0, 0, 0]);
        output.clear();
        native.encode_get(b"key:1", &mut output);
        native.encode_set(b"key:1", b"0123456789", &mut output);
        let mut rest = &output[..];
        let (condition, expiry) = (Condition::Always, ExpiryChange::Clear);
        for (id, request) in [
            (0, Request::Get { key: b"key:1" }),
            (1, Request::Put { key: b"key:1", value: b"0123456789", condition, expiry }),
        ] {
            let frame = native.frame(rest).unwrap().unwrap();
            let expected = Envelope { id: RequestId(id), level: None, request };
            assert_eq!(decode_request(frame, &native.limits), Ok(expected));
            rest = &rest[frame.bytes_total()..];
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn replies_split_at_every_byte() {
        let mut stream = encode_greeting(WELCOME).to_vec();
        // In another order than that of the requests.
        encode_absent(RequestId(1), &mut stream);
        encode_value(RequestId(0), Version::default(), None, b"a value", &mut stream);
        encode_written(RequestId(3), Version::default(), &mut stream);
        encode_refused(RequestId(2), Refusal::OutOfMemory, "no room", &mut stream);
        let expected = [Outcome::Stored, Outcome::Miss, Outcome::Hit, Outcome::Stored, Outcome::Error];
        for split in 0..=stream.len() {
            assert_eq!(outcomes_split_at(after(4), &stream, split), expected);
        }
    }

    #[test]
    fn a_greeting_that_is_no_welcome_is_an_error() {
        for greeting in [
            Greeting::Overloaded,
            Greeting::VersionUnsupported { spoken: 9 },
            Greeting::Welcome { authentication_required: true },
        ] {
            let bytes = encode_greeting(greeting);
            let mut native = Native::default();
            let reply = native.reply(&bytes).unwrap().unwrap();
            assert_eq!(reply, Reply { bytes: PREAMBLE_BYTES, outcome: Outcome::Error });
            assert_eq!(native.describe(&bytes), format!("{greeting:?}"));
        }
        assert_eq!(Native::default().reply(b"-ERR no\r\n"), Err(Malformed));
    }

    #[test]
    fn an_id_that_was_not_sent_is_malformed() {
        let mut bytes = Vec::new();
        encode_absent(RequestId(4), &mut bytes);
        assert_eq!(greeted_after(4).reply(&bytes), Err(Malformed));
        assert!(greeted_after(5).reply(&bytes).is_ok());
        let mut wrapped = Native { next_id: 2, greeted: true, ..Native::default() };
        bytes.clear();
        encode_absent(RequestId(u32::MAX), &mut bytes);
        assert!(wrapped.reply(&bytes).is_ok());
    }

    #[test]
    fn other_replies_and_other_frames_are_malformed() {
        let mut pong = Vec::new();
        let outcome = message::Outcome::Done(message::Reply::Pong);
        annulus::protocol::client::encode_response(RequestId(0), &outcome, &mut pong);
        assert_eq!(greeted_after(1).reply(&pong), Err(Malformed));
        assert_eq!(greeted_after(1).reply(&[0; 12]), Err(Malformed));
    }

    #[test]
    fn an_error_is_described_by_its_reason() {
        let mut bytes = Vec::new();
        encode_refused(RequestId(0), Refusal::OutOfMemory, "at the memory limit", &mut bytes);
        assert_eq!(greeted_after(1).describe(&bytes), "OutOfMemory: at the memory limit");
    }
}
