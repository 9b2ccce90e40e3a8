//! What one turn takes in: the requests of many connections, parsed and hashed, not yet executed.
//!
//! Invariant: a request is a range of its connection's input and nothing more, so one that is not executed after
//! all is simply parsed again later. All buffers are reused from turn to turn. It executes nothing.

use crate::config::{BATCH_COUNT_MAX, Limits, STRANGER_REQUEST_BYTES_MAX, turn};
use crate::protocol::client::decode_request;
use crate::protocol::frame::{Split, split_frame};
use crate::protocol::preamble::PREAMBLE_BYTES;
use crate::protocol::resp::request::{self, Argument, Parsed, RequestError};
use crate::protocol::{Limits as FrameLimits, ProtocolError};
use crate::server::commands::{self, CommandId};
use crate::server::session::{Protocol, Session};
use crate::types::KeyHash;

/// Arguments and bytes of inline commands for which room is kept between turns.
const KEPT_ARGUMENTS_MAX: usize = 64 << 10;

/// Where the bytes of a span lie.
pub(crate) enum Source {
    /// In the worker's input buffer, from here on.
    Arena(usize),
    /// In the connection's own buffer, lent for the turn.
    Own(Vec<u8>),
}

/// One connection's share of a turn.
pub(crate) struct Span {
    pub(crate) connection: usize,
    pub(crate) source: Source,
    /// Bytes there.
    pub(crate) length: usize,
    /// Bytes of its requests.
    pub(crate) consumed: usize,
    /// Bytes that what follows them must have before it is worth a look.
    pub(crate) needed: usize,
    /// The first of its requests, and the one after its last.
    pub(crate) first: usize,
    pub(crate) end: usize,
    /// What followed them is no request.
    pub(crate) failure: Option<Failure>,
}

/// Why a connection cannot go on.
pub(crate) enum Failure {
    Resp(RequestError),
    Native(ProtocolError),
}

/// What a request is.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// A command of the table.
    Command(CommandId),
    /// A RESP request whose command is not in the table.
    UnknownCommand,
    /// A native frame.
    Frame,
    /// The preamble of a native connection.
    Preamble,
}

/// One request.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    pub(crate) kind: Kind,
    /// Where it begins in its span.
    pub(crate) start: usize,
    /// Its arguments in the list of arguments.
    pub(crate) first_argument: usize,
    pub(crate) end_argument: usize,
    /// The hash of its first key, if it has one.
    pub(crate) hash: Option<KeyHash>,
}

/// The requests of one turn.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) spans: Vec<Span>,
    pub(crate) requests: Vec<Request>,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) scratch: Vec<u8>,
    pub(crate) frame_limits: FrameLimits,
}

impl Batch {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { frame_limits: frame_limits(limits), ..Self::default() }
    }

    pub(crate) fn clear(&mut self) {
        self.spans.clear();
        self.requests.clear();
        self.arguments.clear();
        self.scratch.clear();
        // A request of a million arguments is rare; its lists are not worth keeping.
        self.arguments.shrink_to(KEPT_ARGUMENTS_MAX);
        self.scratch.shrink_to(KEPT_ARGUMENTS_MAX);
    }

    /// Parses the requests at the beginning of `input` and adds them as the span of `connection`.
    pub(crate) fn add(
        &mut self,
        connection: usize,
        session: &mut Session,
        input: &[u8],
        limits: &Limits,
        seed: u64,
    ) -> &mut Span {
        let first = self.requests.len();
        let bytes_max =
            if session.is_authenticated() { limits.request_bytes_max } else { STRANGER_REQUEST_BYTES_MAX };
        let protocol = &mut session.protocol;
        let frame_limits = FrameLimits { frame_bytes_max: bounded(bytes_max), ..self.frame_limits };
        let (mut at, mut needed, mut failure) = (0, 1, None);
        while at < input.len() && self.requests.len() - first < turn::CONNECTION_COMMANDS_MAX {
            let rest = &input[at..];
            if *protocol == Protocol::Unknown {
                *protocol = if rest[0] >= 0x80 { Protocol::Native } else { Protocol::Resp };
                if *protocol == Protocol::Native && rest.len() < PREAMBLE_BYTES {
                    *protocol = Protocol::Unknown;
                    needed = PREAMBLE_BYTES;
                    break;
                }
                if *protocol == Protocol::Native {
                    self.push(Kind::Preamble, at, None);
                    at += PREAMBLE_BYTES;
                    continue;
                }
            }
            let step = match protocol {
                Protocol::Native => self.add_frame(rest, at, &frame_limits, seed),
                _ => self.add_command(rest, at, bytes_max, seed),
            };
            match step {
                Ok(Step::Next(bytes)) => at += bytes,
                Ok(Step::Needs(bytes)) => {
                    needed = bytes;
                    break;
                }
                Err(why) => {
                    failure = Some(why);
                    break;
                }
            }
        }
        let end = self.requests.len();
        let source = Source::Arena(0);
        self.spans.push(Span {
            connection,
            source,
            length: input.len(),
            consumed: at,
            needed,
            first,
            end,
            failure,
        });
        self.spans.last_mut().expect("just pushed")
    }

    #[inline]
    fn add_command(&mut self, input: &[u8], at: usize, bytes_max: usize, seed: u64) -> Result<Step, Failure> {
        let first_argument = self.arguments.len();
        let parsed = request::parse(input, bytes_max, &mut self.arguments, &mut self.scratch);
        let consumed = match parsed.map_err(Failure::Resp)? {
            Parsed::Complete { consumed } => consumed,
            Parsed::Incomplete { needed } => return Ok(Step::Needs(needed)),
        };
        let arguments = request::Arguments::new(input, &self.scratch, &self.arguments[first_argument..]);
        let Some(name) = arguments.get(0) else { return Ok(Step::Next(consumed)) };
        let (kind, hash) = match commands::find(name) {
            None => (Kind::UnknownCommand, None),
            Some(id) => {
                let key = commands::entry(id).keys.first.and_then(|first| arguments.get(first.get()));
                (Kind::Command(id), key.map(|key| KeyHash::of(key, seed)))
            }
        };
        let end_argument = self.arguments.len();
        self.requests.push(Request { kind, start: at, first_argument, end_argument, hash });
        Ok(Step::Next(consumed))
    }

    #[inline]
    fn add_frame(
        &mut self,
        input: &[u8],
        at: usize,
        limits: &FrameLimits,
        seed: u64,
    ) -> Result<Step, Failure> {
        match split_frame(input, limits).map_err(Failure::Native)? {
            Split::Incomplete { needed_bytes_total } => Ok(Step::Needs(needed_bytes_total)),
            Split::Frame(frame) => {
                // A frame that is no request is answered when its turn comes.
                let envelope = decode_request(frame, limits).ok();
                let key = envelope.and_then(|envelope| envelope.request.key());
                self.push(Kind::Frame, at, key.map(|key| KeyHash::of(key, seed)));
                Ok(Step::Next(frame.bytes_total()))
            }
        }
    }

    #[inline]
    fn push(&mut self, kind: Kind, start: usize, hash: Option<KeyHash>) {
        self.requests.push(Request { kind, start, first_argument: 0, end_argument: 0, hash });
    }
}

enum Step {
    /// The next request begins so many bytes further on.
    Next(usize),
    /// There is no whole request until there are so many bytes.
    Needs(usize),
}

fn bounded(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// What the native protocol's decoder needs to know of the limits.
fn frame_limits(limits: &Limits) -> FrameLimits {
    FrameLimits {
        key_bytes_max: bounded(limits.key_bytes_max),
        value_bytes_max: bounded(limits.value_bytes_max),
        frame_bytes_max: bounded(limits.request_bytes_max),
        batch_count_max: BATCH_COUNT_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Timestamp;

    #[test]
    fn what_a_request_of_a_million_arguments_took_is_given_back() {
        let limits = Limits::default();
        let mut batch = Batch::new(&limits);
        let mut input = b"*1000000\r\n".to_vec();
        input.extend(b"$1\r\nk\r\n".repeat(1_000_000));
        let mut session = Session::new(0, Timestamp::default(), true, false);
        let span = batch.add(0, &mut session, &input, &limits, 0);
        assert_eq!(span.consumed, input.len());
        assert!(batch.arguments.capacity() >= 1_000_000);
        batch.clear();
        assert!(batch.arguments.capacity() <= KEPT_ARGUMENTS_MAX);
    }
}
