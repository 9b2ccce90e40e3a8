//! The native protocol's requests, run on the store.
//!
//! Invariant: a frame gets exactly one response with its id; a request that is refused changed nothing. What a node
//! that is alone applies is at once at every level, so the level byte is checked and met, whatever it says.

use crate::config::turn;
use crate::message::{Batch, Condition, Envelope, ExpiryChange, Outcome, Refusal, Reply, Request, RequestId};
use crate::metrics::ErrorKind;
use crate::operation::{self, Effect, Rejection};
use crate::protocol::client::decode_request;
use crate::protocol::client::{
    BatchWriter, PageWriter, encode_absent, encode_protocol_error, encode_refused, encode_response,
    encode_value, encode_value_head, encode_written,
};
use crate::protocol::frame::{Split, split_frame};
use crate::protocol::preamble::{
    Greeting, PREAMBLE_BYTES, PROTOCOL_VERSION, decode_preamble, encode_greeting,
};
use crate::protocol::{Field, Limits as FrameLimits, ProtocolError};
use crate::server::commands::{COMMANDS, Question};
use crate::server::description;
use crate::server::engine::Engine;
use crate::server::output::Output;
use crate::server::password;
use crate::server::replication::{Begun, Client, begin_native, begin_other};
use crate::server::session::Session;
use crate::store::{Store, Updated, View};
use crate::types::{KeyHash, Stamp, Version};

/// The operations, as reports name them.
pub(crate) const OPERATIONS: [&str; 14] = [
    "native:ping",
    "native:authenticate",
    "native:stats",
    "native:scan",
    "native:get",
    "native:get_range",
    "native:put",
    "native:remove",
    "native:increment",
    "native:append",
    "native:expire",
    "native:batch",
    "native:cluster",
    "native:bad_request",
];

const BAD_REQUEST: u16 = COMMANDS.len() as u16 + 13;

#[inline]
pub(crate) const fn operation_of(request: &Request<'_>) -> u16 {
    let number = match request {
        Request::Ping => 0,
        Request::Authenticate { .. } => 1,
        Request::Stats => 2,
        Request::Scan { .. } => 3,
        Request::Get { .. } => 4,
        Request::GetRange { .. } => 5,
        Request::Put { .. } => 6,
        Request::Remove { .. } => 7,
        Request::Increment { .. } => 8,
        Request::Append { .. } => 9,
        Request::Expire { .. } => 10,
        Request::Batch(_) => 11,
        Request::Cluster => 12,
    };
    COMMANDS.len() as u16 + number
}

/// Cells of a batch that are in flight at once.
const PREFETCHED_KEYS: usize = 32;

/// Answers the preamble of a connection.
pub(crate) fn greet(session: &mut Session, out: &mut Output, input: &[u8]) {
    let preamble = input.first_chunk::<PREAMBLE_BYTES>().expect("it was parsed as one");
    let greeting = match decode_preamble(*preamble) {
        Ok(preamble) => {
            session.level = preamble.level.unwrap_or_default();
            Some(Greeting::Welcome { authentication_required: !session.is_authenticated() })
        }
        Err(ProtocolError { field: Field::ProtocolVersion, .. }) => {
            Some(Greeting::VersionUnsupported { spoken: PROTOCOL_VERSION })
        }
        Err(_) => None,
    };
    if let Some(greeting) = greeting {
        out.bytes().extend_from_slice(&encode_greeting(greeting));
    }
    session.closing = !matches!(greeting, Some(Greeting::Welcome { .. }));
}

/// Runs the frame at the beginning of `input`, which holds a whole one.
#[inline]
pub(crate) fn execute(
    engine: &mut Engine,
    session: &mut Session,
    out: &mut Output,
    input: &[u8],
    limits: &FrameLimits,
    hash: Option<KeyHash>,
) -> Option<Question> {
    let Ok(Split::Frame(frame)) = split_frame(input, limits) else { return None };
    match decode_request(frame, limits) {
        Ok(Envelope { id, request: Request::Authenticate { password }, .. }) => {
            authenticate(engine, session, out, id, password)
        }
        Ok(envelope) => run(&mut Run { engine, out, limits }, &envelope, hash),
        Err(error) => {
            refuse_frame(engine, out, &error);
            None
        }
    }
}

/// Lets a client in, or answers late that it is not.
#[cold]
fn authenticate(
    engine: &mut Engine,
    session: &mut Session,
    out: &mut Output,
    id: RequestId,
    guess: &[u8],
) -> Option<Question> {
    let operation = operation_of(&Request::Authenticate { password: guess });
    engine.recorder.count(operation);
    let right = engine.shared.password.as_ref().is_none_or(|password| password::is_right(password, guess));
    if right {
        session.authenticate();
        encode_response(id, &Outcome::Done(Reply::Authenticated), out.bytes());
        return None;
    }
    engine.recorder.error(ErrorKind::Command, Some(operation));
    let mut answer = Vec::new();
    encode_refused(id, Refusal::AuthenticationFailed, "the password is wrong", &mut answer);
    Some(Question::Denied { answer })
}

/// Begins the frame at the beginning of `input` at the replicas of its key, if it is about one.
pub(crate) fn replicate(
    engine: &mut Engine,
    client: &mut Client<'_>,
    input: &[u8],
    limits: &FrameLimits,
    hash: KeyHash,
) -> Begun {
    let Ok(Split::Frame(frame)) = split_frame(input, limits) else { return Begun::Local };
    match decode_request(frame, limits) {
        Ok(envelope) => {
            begin_native(engine, client, &envelope, operation_of(&envelope.request), hash, limits)
        }
        Err(_) => begin_other(client),
    }
}

/// Whether the frame at the beginning of `input` may be sent before the password.
pub(crate) fn is_for_strangers(input: &[u8], limits: &FrameLimits) -> bool {
    let Ok(Split::Frame(frame)) = split_frame(input, limits) else { return false };
    match decode_request(frame, limits) {
        Ok(envelope) => matches!(envelope.request, Request::Authenticate { .. }),
        // It is told what is wrong with it.
        Err(_) => true,
    }
}

/// Answers the frame at the beginning of `input`, whose client has not given the password.
pub(crate) fn refuse_stranger(out: &mut Output, input: &[u8], limits: &FrameLimits) {
    let Ok(Split::Frame(frame)) = split_frame(input, limits) else { return };
    let message = "the password comes first: send Authenticate";
    encode_refused(frame.id(), Refusal::AuthenticationRequired, message, out.bytes());
}

/// Answers a frame that is no request, if its id is known.
#[cold]
pub(crate) fn refuse_frame(engine: &mut Engine, out: &mut Output, error: &ProtocolError) {
    engine.recorder.count(BAD_REQUEST);
    engine.recorder.error(ErrorKind::Protocol, Some(BAD_REQUEST));
    encode_protocol_error(error, out.bytes());
}

struct Run<'w> {
    engine: &'w mut Engine,
    out: &'w mut Output,
    limits: &'w FrameLimits,
}

#[inline]
fn run(run: &mut Run<'_>, envelope: &Envelope<'_>, hash: Option<KeyHash>) -> Option<Question> {
    let Envelope { id, request, .. } = *envelope;
    let operation = operation_of(&request);
    run.engine.recorder.count(operation);
    let hash = match (hash, request.key()) {
        (Some(hash), _) => hash,
        (None, Some(key)) => run.engine.shared.store.hash(key),
        (None, None) => KeyHash(0),
    };
    let done = match request {
        Request::Stats => return Some(Question::Stats { id }),
        Request::Batch(batch) => {
            run_batch(run, id, batch);
            Ok(())
        }
        Request::Cluster => match description::as_json(run.engine) {
            Some(json) => run.reply(id, Reply::Cluster { json: &json }),
            None => Err(Refusal::Alone),
        },
        Request::Ping => run.reply(id, Reply::Pong),
        // In a batch: the decoder lets none in there, and alone it was answered before.
        Request::Authenticate { .. } => run.reply(id, Reply::Authenticated),
        Request::Scan { cursor, count } => run.scan(id, cursor, count as usize),
        Request::Get { key } => run.get(id, hash, key),
        Request::GetRange { key, start, end } => run.get_range(id, hash, key, start, end),
        Request::Put { key, value, condition, expiry } => run.put(id, hash, key, value, condition, expiry),
        Request::Remove { key, condition } => run.remove(id, hash, key, condition),
        Request::Increment { key, delta } => run.increment(id, hash, key, delta),
        Request::Append { key, value } => run.append(id, hash, key, value),
        Request::Expire { key, expiry } => run.expire(id, hash, key, expiry),
    };
    if let Err(reason) = done {
        run.refuse(id, operation, reason);
    }
    None
}

/// Runs the requests of a batch in order, each to its own outcome.
#[cold]
fn run_batch(whole: &mut Run<'_>, id: RequestId, batch: Batch<'_>) {
    let mut writer = BatchWriter::begin(id, batch.count(), whole.out.bytes());
    let limits = *whole.limits;
    let mut requests = batch.requests(limits);
    let mut scans = 0;
    loop {
        let ahead = requests.clone().take(PREFETCHED_KEYS);
        let keys =
            ahead.clone().filter_map(|request| request.ok().and_then(|envelope| envelope.request.key()));
        let store = &whole.engine.shared.store;
        keys.clone().for_each(|key| store.prefetch_slot(store.hash(key)));
        keys.for_each(|key| store.prefetch_cell(store.hash(key)));
        let mut empty = true;
        for request in requests.by_ref().take(PREFETCHED_KEYS) {
            empty = false;
            scans += usize::from(matches!(request, Ok(Envelope { request: Request::Scan { .. }, .. })));
            match request {
                Ok(Envelope { id, request: request @ Request::Scan { .. }, .. })
                    if scans > turn::SCANS_PER_BATCH_MAX =>
                {
                    whole.refuse(id, operation_of(&request), Refusal::AnswerTooLarge);
                }
                Ok(envelope) => run_in_batch(whole, &envelope, &mut writer),
                Err(error) => refuse_frame(whole.engine, whole.out, &error),
            }
        }
        if empty {
            break;
        }
    }
    writer.finish(whole.out.bytes());
}

fn run_in_batch(whole: &mut Run<'_>, envelope: &Envelope<'_>, writer: &mut BatchWriter) {
    let (before, mark) = (whole.out.shared_bytes(), whole.out.mark());
    let question = run(whole, envelope, None);
    assert!(question.is_none(), "the decoder lets no Stats and no batch into a batch");
    let shared_bytes = whole.out.shared_bytes() - before;
    let reads =
        matches!(envelope.request, Request::Get { .. } | Request::GetRange { .. } | Request::Scan { .. });
    let room = whole.limits.frame_bytes_max as usize;
    if reads && writer.frame_bytes(whole.out.bytes()) + shared_bytes > room {
        // An answer that the frame has no room for is taken back and refused by itself; reads change nothing.
        whole.out.rewind(mark);
        return whole.refuse(envelope.id, operation_of(&envelope.request), Refusal::AnswerTooLarge);
    }
    writer.add_elsewhere(shared_bytes);
}

impl Run<'_> {
    #[cold]
    fn refuse(&mut self, id: RequestId, operation: u16, reason: Refusal) {
        let (kind, message) = match reason {
            Refusal::ConditionFailed { .. } => (ErrorKind::State, "the condition does not hold"),
            Refusal::NotAnInteger => (ErrorKind::State, "the value is not a 64-bit signed decimal number"),
            Refusal::Overflow => (ErrorKind::State, "the sum does not fit 64 bits"),
            Refusal::OutOfMemory => {
                (ErrorKind::OutOfMemory, "the memory limit is reached: remove keys or raise --memory-max")
            }
            Refusal::AnswerTooLarge => {
                (ErrorKind::TooLarge, "the answer does not fit a frame: ask for less at once")
            }
            Refusal::Alone => (ErrorKind::Command, "this node is alone: it was started without --id"),
            Refusal::ValueTooLarge => (ErrorKind::TooLarge, "the value would be longer than the limit"),
            _ => (ErrorKind::Command, ""),
        };
        self.engine.recorder.error(kind, Some(operation));
        encode_refused(id, reason, message, self.out.bytes());
    }

    fn reply(&mut self, id: RequestId, reply: Reply<'_>) -> Result<(), Refusal> {
        encode_response(id, &Outcome::Done(reply), self.out.bytes());
        Ok(())
    }

    /// Counts a read that was answered.
    fn found(&mut self, found: bool) -> Result<(), Refusal> {
        self.engine.recorder.totals.hits += u64::from(found);
        self.engine.recorder.totals.misses += u64::from(!found);
        Ok(())
    }

    #[inline]
    fn get(&mut self, id: RequestId, hash: KeyHash, key: &[u8]) -> Result<(), Refusal> {
        let out = &mut *self.out;
        let now = self.engine.clock.wall();
        let found = self.engine.shared.store.get(hash, key, now, |view| {
            let Some(view) = view else {
                encode_absent(id, out.bytes());
                return false;
            };
            match view.share() {
                None => encode_value(id, view.version(), view.expires_at(), view.value(), out.bytes()),
                Some(cell) => {
                    let bytes = cell.value().len();
                    encode_value_head(id, view.version(), view.expires_at(), bytes, out.bytes());
                    out.share(cell);
                }
            }
            true
        });
        self.found(found)
    }

    fn get_range(
        &mut self,
        id: RequestId,
        hash: KeyHash,
        key: &[u8],
        start: i64,
        end: i64,
    ) -> Result<(), Refusal> {
        let out = &mut *self.out;
        let now = self.engine.clock.wall();
        let found = self.engine.shared.store.get(hash, key, now, |view| {
            let Some(view) = view else {
                encode_absent(id, out.bytes());
                return false;
            };
            let part = operation::range(view.value(), start, end);
            encode_value(id, view.version(), view.expires_at(), part, out.bytes());
            true
        });
        self.found(found)
    }

    /// Decides on a key under its lock; `decide` says what becomes of it, or why nothing does.
    #[inline]
    fn update<'v, R>(
        &mut self,
        hash: KeyHash,
        key: &[u8],
        decide: impl FnOnce(Option<View<'_>>) -> Result<(Effect<'v>, R), Rejection>,
    ) -> Result<Updated<R>, Refusal> {
        let engine = &mut *self.engine;
        let store: &Store = &engine.shared.store;
        let updated = store.update(hash, key, &mut engine.clock, |view| match decide(view) {
            Ok((effect, answer)) => (effect, Ok(answer)),
            Err(rejection) => (Effect::Keep, Err(refusal(rejection, view.map(View::version)))),
        });
        let Updated { answer, version } = updated.map_err(|_| Refusal::OutOfMemory)?;
        Ok(Updated { answer: answer?, version })
    }

    /// The version of a write; one that changed nothing of a key that is not there gets one of its own.
    fn written(&mut self, version: Option<Version>) -> Version {
        version.unwrap_or_else(|| self.engine.clock.issue_above(Stamp::default()))
    }

    #[inline]
    fn put(
        &mut self,
        id: RequestId,
        hash: KeyHash,
        key: &[u8],
        value: &[u8],
        condition: Condition,
        expiry: ExpiryChange,
    ) -> Result<(), Refusal> {
        let now = self.engine.clock.wall();
        let updated = self.update(hash, key, |view| {
            let effect = operation::put(view.map(View::current), value, condition, expiry, now)?;
            Ok((effect, ()))
        })?;
        let version = self.written(updated.version);
        encode_written(id, version, self.out.bytes());
        Ok(())
    }

    fn remove(
        &mut self,
        id: RequestId,
        hash: KeyHash,
        key: &[u8],
        condition: Condition,
    ) -> Result<(), Refusal> {
        let updated = self.update(hash, key, |view| {
            Ok((operation::remove(view.map(View::current), condition)?, view.is_some()))
        })?;
        self.reply(id, Reply::Removed { existed: updated.answer })
    }

    fn increment(&mut self, id: RequestId, hash: KeyHash, key: &[u8], delta: i64) -> Result<(), Refusal> {
        let updated = self.update(hash, key, |view| operation::increment(view.map(View::current), delta))?;
        let reply = Reply::Integer { version: self.written(updated.version), value: updated.answer };
        self.reply(id, reply)
    }

    fn append(&mut self, id: RequestId, hash: KeyHash, key: &[u8], value: &[u8]) -> Result<(), Refusal> {
        let bytes_max = self.limits.value_bytes_max as usize;
        let updated =
            self.update(hash, key, |view| operation::append(view.map(View::current), value, bytes_max))?;
        let reply = Reply::Length { version: self.written(updated.version), bytes: updated.answer as u64 };
        self.reply(id, reply)
    }

    fn expire(
        &mut self,
        id: RequestId,
        hash: KeyHash,
        key: &[u8],
        expiry: ExpiryChange,
    ) -> Result<(), Refusal> {
        let now = self.engine.clock.wall();
        let updated = self.update(hash, key, |view| {
            Ok((operation::expire(view.map(View::current), expiry, now), view.is_some()))
        })?;
        if updated.answer {
            let version = self.written(updated.version);
            encode_written(id, version, self.out.bytes());
        } else {
            encode_absent(id, self.out.bytes());
        }
        Ok(())
    }

    fn scan(&mut self, id: RequestId, cursor: u64, count: usize) -> Result<(), Refusal> {
        let mut writer = PageWriter::begin(id, self.out.bytes());
        let out = &mut *self.out;
        let (store, now) = (&self.engine.shared.store, self.engine.clock.wall());
        let page = store.scan(cursor, count.clamp(1, turn::PAGE_KEYS_MAX), now, |view| {
            writer.push(view.key(), out.bytes());
            writer.frame_bytes(out.bytes()) <= turn::PAGE_KEY_BYTES
        });
        writer.finish(page.next, out.bytes());
        self.engine.ends_turn = true;
        Ok(())
    }
}

const fn refusal(rejection: Rejection, current: Option<Version>) -> Refusal {
    match rejection {
        Rejection::ConditionFailed => Refusal::ConditionFailed { current },
        Rejection::NotAnInteger => Refusal::NotAnInteger,
        Rejection::Overflow => Refusal::Overflow,
        Rejection::ValueTooLarge => Refusal::ValueTooLarge,
    }
}
