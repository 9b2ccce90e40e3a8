//! Annulus' own protocol: a preamble, perhaps the password, then frames with ids, laid out by the library itself.
//!
//! Invariant: a reply is taken only when its frame is whole; answers may come in any order, and each tells by its id
//! which request it answers. It chooses no condition or expiry, and reads no replies but those of its requests.

use annulus::message::{self, Condition, Envelope, ExpiryChange, RequestId};
use annulus::protocol::Limits;
use annulus::protocol::client::{decode_response, encode_request};
use annulus::protocol::frame::{Frame, Split, split_frame};
use annulus::protocol::preamble::{Greeting, PREAMBLE_BYTES, Preamble, decode_greeting, encode_preamble};
use annulus::types::Level;

use super::{Dialect, Malformed, Outcome, Reply, Request};

/// The id of the password, apart from those of the requests, which count from 0.
const PASSWORD_ID: RequestId = RequestId(u32::MAX);

/// The dialect: which ids a connection has given away, and how it was greeted.
#[derive(Clone, Default)]
pub(crate) struct Native {
    limits: Limits,
    /// The id of the next request. Ids are used again after 2^32 requests, when their answers came long ago.
    next_id: u32,
    greeted: bool,
    gives_password: bool,
    level: Option<Level>,
}

impl Native {
    pub(crate) fn new(level: Option<Level>) -> Self {
        Self { level, ..Self::default() }
    }

    fn greeting(&mut self, bytes: &[u8]) -> Result<Option<Reply>, Malformed> {
        let Some(&greeting) = bytes.first_chunk::<PREAMBLE_BYTES>() else { return Ok(None) };
        self.greeted = true;
        let outcome = match decode_greeting(greeting) {
            Ok(Greeting::Welcome { authentication_required })
                if self.gives_password || !authentication_required =>
            {
                Outcome::Stored
            }
            Ok(_) => Outcome::Error,
            Err(_) => return Err(Malformed),
        };
        Ok(Some(Reply { bytes: PREAMBLE_BYTES, outcome, answers: None }))
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

    fn greet(&mut self, password: Option<&[u8]>, output: &mut Vec<u8>) -> usize {
        output.extend_from_slice(&encode_preamble(Preamble { level: self.level }));
        let Some(password) = password else { return 1 };
        self.gives_password = true;
        let request = message::Request::Authenticate { password };
        encode_request(&Envelope { id: PASSWORD_ID, level: None, request }, output);
        2
    }

    fn encode(&mut self, request: Request<'_>, output: &mut Vec<u8>) {
        let (condition, expiry) = (Condition::Always, ExpiryChange::Clear);
        let request = match request {
            Request::Get { key } => message::Request::Get { key },
            Request::Set { key, value } => message::Request::Put { key, value, condition, expiry },
            Request::Delete { key } => message::Request::Remove { key, condition },
            Request::Increment { key } => message::Request::Increment { key, delta: 1 },
        };
        let id = RequestId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        encode_request(&Envelope { id, level: None, request }, output);
    }

    fn reply(&mut self, bytes: &[u8]) -> Result<Option<Reply>, Malformed> {
        if !self.greeted {
            return self.greeting(bytes);
        }
        let Some(frame) = self.frame(bytes)? else { return Ok(None) };
        let (id, outcome) = decode_response(frame).map_err(|_| Malformed)?;
        let outcome = match outcome {
            message::Outcome::Done(message::Reply::Value { .. }) => Outcome::Hit,
            message::Outcome::Done(message::Reply::Absent) => Outcome::Miss,
            message::Outcome::Done(
                message::Reply::Written { .. }
                | message::Reply::Removed { .. }
                | message::Reply::Integer { .. }
                | message::Reply::Authenticated,
            ) => Outcome::Stored,
            message::Outcome::Done(_) => return Err(Malformed),
            message::Outcome::Refused { .. } | message::Outcome::Unknown { .. } => Outcome::Error,
        };
        Ok(Some(Reply { bytes: frame.bytes_total(), outcome, answers: Some(id.0) }))
    }

    fn describe(&self, reply: &[u8]) -> String {
        // No frame is taken for a greeting: its magic number would be a length beyond the limit.
        if let Some(greeting) = reply.first_chunk().and_then(|&bytes| decode_greeting(bytes).ok()) {
            return match greeting {
                Greeting::Welcome { .. } => "a password is required".to_owned(),
                other => format!("{other:?}"),
            };
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

    fn greeted() -> Native {
        Native { greeted: true, ..Native::default() }
    }

    #[test]
    fn requests_are_numbered_frames_behind_a_preamble() {
        let (mut native, mut output) = (Native::default(), Vec::new());
        assert_eq!(native.greet(None, &mut output), 1);
        assert_eq!(output, [0x8A, b'A', b'N', b'L', 1, 0, 0, 0]);
        assert_eq!(native.greet(Some(b"secret"), &mut output), 2);
        output.drain(..2 * PREAMBLE_BYTES);
        let (key, value) = (b"key:1", b"0123456789");
        native.encode(Request::Get { key }, &mut output);
        native.encode(Request::Set { key, value }, &mut output);
        native.encode(Request::Delete { key }, &mut output);
        native.encode(Request::Increment { key }, &mut output);
        let mut rest = &output[..];
        let (condition, expiry) = (Condition::Always, ExpiryChange::Clear);
        for (id, request) in [
            (PASSWORD_ID.0, message::Request::Authenticate { password: b"secret" }),
            (0, message::Request::Get { key }),
            (1, message::Request::Put { key, value, condition, expiry }),
            (2, message::Request::Remove { key, condition }),
            (3, message::Request::Increment { key, delta: 1 }),
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
            assert_eq!(outcomes_split_at(Native::default(), &stream, split), expected);
        }
    }

    #[test]
    fn a_reply_tells_which_request_it_answers() {
        let mut bytes = Vec::new();
        encode_absent(RequestId(4), &mut bytes);
        let expected = Reply { bytes: bytes.len(), outcome: Outcome::Miss, answers: Some(4) };
        assert_eq!(greeted().reply(&bytes), Ok(Some(expected)));
    }

    #[test]
    fn a_greeting_that_is_no_welcome_is_an_error() {
        let required = Greeting::Welcome { authentication_required: true };
        for (greeting, described) in [
            (Greeting::Overloaded, "Overloaded"),
            (Greeting::VersionUnsupported { spoken: 9 }, "VersionUnsupported { spoken: 9 }"),
            (required, "a password is required"),
        ] {
            let bytes = encode_greeting(greeting);
            let mut native = Native::default();
            let reply = native.reply(&bytes).unwrap().unwrap();
            assert_eq!((reply.bytes, reply.outcome), (PREAMBLE_BYTES, Outcome::Error));
            assert_eq!(native.describe(&bytes), described);
        }
        assert_eq!(Native::default().reply(b"-ERR no\r\n"), Err(Malformed));
        let mut native = Native { gives_password: true, ..Native::default() };
        assert_eq!(native.reply(&encode_greeting(required)).unwrap().unwrap().outcome, Outcome::Stored);
    }

    #[test]
    fn other_replies_and_other_frames_are_malformed() {
        let mut pong = Vec::new();
        let outcome = message::Outcome::Done(message::Reply::Pong);
        annulus::protocol::client::encode_response(RequestId(0), &outcome, &mut pong);
        assert_eq!(greeted().reply(&pong), Err(Malformed));
        assert_eq!(greeted().reply(&[0; 12]), Err(Malformed));
    }

    #[test]
    fn an_error_is_described_by_its_reason() {
        let mut bytes = Vec::new();
        encode_refused(RequestId(0), Refusal::OutOfMemory, "at the memory limit", &mut bytes);
        assert_eq!(greeted().describe(&bytes), "OutOfMemory: at the memory limit");
    }
}
