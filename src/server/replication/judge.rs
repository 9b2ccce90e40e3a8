//! Deciding on changes: a client's command is run on the one cell that it is about, as a node that is alone runs it.
//!
//! Invariant: what is decided depends on the command, the cell, the version and the time that are given, and on nothing
//! else, so that it can be decided again from another cell; the node's own store is neither read nor changed. Whatever
//! is refused, such as a value that is no number, is a decision to keep what is there and to say why.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use crate::cluster::coordinator::{Decided, Decision, Question};
use crate::config::{Limits, ShardCount, StoreConfig};
use crate::hybrid_clock::HybridClock;
use crate::message::Envelope;
use crate::message::peer::{Cell, Kind};
use crate::metrics::Recorder;
use crate::protocol::Limits as FrameLimits;
use crate::protocol::client::encode_request;
use crate::protocol::resp::RespVersion;
use crate::protocol::resp::request::{Argument, Arguments, Parsed, parse};
use crate::server::clock::Clock;
use crate::server::commands::{self, Context};
use crate::server::engine::{Engine, OPERATIONS, Shared};
use crate::server::native;
use crate::server::output::Output;
use crate::server::session::Session;
use crate::server::settings::Settings;
use crate::server::slow_log::SlowLog;
use crate::store::Store;
use crate::types::{Timestamp, WallTime, WriterId};

/// How a change begins: what speaks of it.
const RESP2: u8 = b'2';
const RESP3: u8 = b'3';
const NATIVE: u8 = b'n';

/// Bytes that a change has beside a key and a value, at most; a command that needs more is refused.
pub(super) const CHANGE_OVERHEAD_BYTES_MAX: u32 = 1024;

/// A command of RESP as a change.
pub(super) fn change_of_command(version: RespVersion, arguments: &Arguments<'_>, out: &mut Vec<u8>) {
    change_of_words(version, arguments.len(), arguments.iter_from(0, 1), out);
}

/// A command of so many words as a change.
pub(super) fn change_of_words<'a>(
    version: RespVersion,
    count: usize,
    words: impl Iterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
) {
    out.push(if version == RespVersion::Two { RESP2 } else { RESP3 });
    let mut number = itoa::Buffer::new();
    out.push(b'*');
    out.extend_from_slice(number.format(count).as_bytes());
    for argument in words {
        out.extend_from_slice(b"\r\n$");
        out.extend_from_slice(number.format(argument.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(argument);
    }
    out.extend_from_slice(b"\r\n");
}

/// A request of the native protocol as a change.
pub(super) fn change_of_request(envelope: &Envelope<'_>, out: &mut Vec<u8>) {
    out.push(NATIVE);
    encode_request(envelope, out);
}

/// A node that is alone, with room for one cell.
pub(super) struct Judge {
    engine: Engine,
    session: Session,
    output: Output,
    arguments: Vec<Argument>,
    limits: FrameLimits,
}

impl Judge {
    pub(super) fn new(limits: &Limits, frame_limits: FrameLimits) -> Self {
        let shared = Shared {
            store: store(),
            limits: limits.clone(),
            settings: Settings::new(limits),
            address: ([0, 0, 0, 0], 0).into(),
            password: None,
            roster: None,
            mailboxes: Box::default(),
            loads: Box::default(),
            stopping: AtomicBool::new(false),
            next_connection: AtomicU64::new(0),
            next_slow_entry: AtomicU64::new(0),
        };
        let engine = Engine {
            index: 0,
            shared: Arc::new(shared),
            clock: HybridClock::new(WriterId::default()),
            recorder: Recorder::new(OPERATIONS),
            now: Timestamp::default(),
            batch_at: Timestamp::default(),
            ends_turn: false,
            peer: None,
            time: Clock::start(),
            times_all: false,
            slow_log: SlowLog::default(),
            replication: None,
        };
        let session = Session::new(0, Timestamp::default(), true, false);
        Self { engine, session, output: Output::default(), arguments: Vec::new(), limits: frame_limits }
    }

    /// Decides on a change.
    pub(super) fn decide(&mut self, question: &Question<'_>, decision: &mut Decision) -> Decided {
        let Question { key, change, current, version, wall } = *question;
        if let Some(shared) = Arc::get_mut(&mut self.engine.shared) {
            shared.store = store();
        }
        self.engine.clock = HybridClock::issuing(version, wall);
        if let Some(cell) = current {
            let store = &self.engine.shared.store;
            // There is no memory limit.
            let _ = store.merge(store.hash(key), key, cell, wall);
        }
        match change.split_first() {
            Some((&NATIVE, frame)) => self.run_request(frame),
            Some((&version, command)) => self.run_command(version, command),
            None => {}
        }
        // A vector takes everything.
        let _ = self.output.write_to(&mut decision.reply);
        self.output = Output::default();
        self.outcome(key, current, wall, decision)
    }

    fn run_request(&mut self, frame: &[u8]) {
        // It is about one key, and asks nothing of others.
        native::execute(&mut self.engine, &mut self.session, &mut self.output, frame, &self.limits, None);
    }

    fn run_command(&mut self, version: u8, command: &[u8]) {
        self.session.resp = if version == RESP3 { RespVersion::Three } else { RespVersion::Two };
        self.arguments.clear();
        let mut scratch = Vec::new();
        let parsed = parse(command, usize::MAX, &mut self.arguments, &mut scratch);
        let (Ok(Parsed::Complete { .. }), Some(id)) = (
            parsed,
            self.arguments
                .first()
                .and_then(|_| commands::find(Arguments::new(command, &scratch, &self.arguments).get(0)?)),
        ) else {
            return;
        };
        let arguments = Arguments::new(command, &scratch, &self.arguments);
        let entry = commands::entry(id);
        // Whatever another node sends, nothing but a key is looked at.
        let place = entry.keys.first.map(NonZeroUsize::get);
        let only = entry.keys.only().or(place.filter(|place| arguments.len() == place + 1));
        let Some(key) = only.and_then(|place| arguments.get(place)) else { return };
        let hash = self.engine.shared.store.hash(key);
        let (engine, session, out) = (&mut self.engine, &mut self.session, &mut self.output);
        let mut context = Context { engine, session, out, command: entry, hash, question: None };
        commands::execute(&mut context, id, &arguments);
    }

    /// What the command has left behind.
    fn outcome(
        &self,
        key: &[u8],
        before: Option<Cell<'_>>,
        wall: WallTime,
        decision: &mut Decision,
    ) -> Decided {
        let store = &self.engine.shared.store;
        store.inspect(store.hash(key), key, |after| {
            let after = after.filter(|cell| cell.summary().kind.is_live(wall));
            match (before, after) {
                (None, None) => Decided::Keep,
                (Some(_), None) => Decided::Store(Kind::Tombstone),
                (Some(before), Some(after)) if before.version == after.version => Decided::Keep,
                (_, Some(after)) => {
                    if let crate::message::peer::Content::Value { value, .. } = after.content {
                        decision.value.extend_from_slice(value);
                    }
                    Decided::Store(after.summary().kind)
                }
            }
        })
    }
}

fn store() -> Store {
    let shards = ShardCount::new(2).expect("a power of two");
    Store::new(&StoreConfig { shards, hash_seed: 0, memory_bytes_max: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::peer::Content;
    use crate::message::{Request, RequestId};
    use crate::types::{Stamp, Version};

    const VERSION: Version = Version { stamp: Stamp(70 << 16), writer: WriterId(9) };
    const BEFORE: Version = Version { stamp: Stamp(60 << 16), writer: WriterId(3) };

    fn decide(change: &[u8], current: Option<&[u8]>) -> (Decided, String, Vec<u8>) {
        let limits = Limits::for_values_of(1000);
        let mut judge = Judge::new(&limits, FrameLimits::default());
        let content = |value| Content::Value { value, expires_at: None };
        let current = current.map(|value| Cell { version: BEFORE, content: content(value) });
        let mut decision = Decision::default();
        // Later than the version: what is issued is the version all the same.
        let wall = WallTime(1000);
        let question = Question { key: b"k", change, current, version: VERSION, wall };
        let decided = judge.decide(&question, &mut decision);
        (decided, String::from_utf8_lossy(&decision.reply).into_owned(), decision.value)
    }

    fn command(words: &[&str]) -> Vec<u8> {
        let mut input = format!("*{}\r\n", words.len());
        for word in words {
            input += &format!("${}\r\n{word}\r\n", word.len());
        }
        let mut list = Vec::new();
        parse(input.as_bytes(), usize::MAX, &mut list, &mut Vec::new()).unwrap();
        let mut change = Vec::new();
        change_of_command(RespVersion::Two, &Arguments::new(input.as_bytes(), b"", &list), &mut change);
        assert_eq!(change[1..], *input.as_bytes());
        change
    }

    #[test]
    fn commands_decide_as_on_a_node_that_is_alone() {
        let stored = Decided::Store(Kind::Value { expires_at: None });
        for (words, current, decided, reply, value) in [
            (&["INCR", "k"][..], None, stored, ":1\r\n", "1"),
            (&["incr", "k"], Some("41"), stored, ":42\r\n", "42"),
            (
                &["INCR", "k"],
                Some("x"),
                Decided::Keep,
                "-ERR value is not an integer or out of range\r\n",
                "",
            ),
            (&["APPEND", "k", "b"], Some("a"), stored, ":2\r\n", "ab"),
            (&["SET", "k", "v", "NX"], Some("a"), Decided::Keep, "$-1\r\n", ""),
            (&["SET", "k", "v", "NX"], None, stored, "+OK\r\n", "v"),
            (&["DEL", "k"], Some("a"), Decided::Store(Kind::Tombstone), ":1\r\n", ""),
            (&["DEL", "k"], None, Decided::Keep, ":0\r\n", ""),
            (&["GETDEL", "k"], Some("a"), Decided::Store(Kind::Tombstone), "$1\r\na\r\n", ""),
            (&["PERSIST", "k"], Some("a"), Decided::Keep, ":0\r\n", ""),
            (&["STRLEN", "k"], Some("abc"), Decided::Keep, ":3\r\n", ""),
        ] {
            let (seen, told, new) = decide(&command(words), current.map(str::as_bytes));
            assert_eq!((seen, told.as_str()), (decided, reply), "{words:?}");
            assert_eq!(new, value.as_bytes(), "{words:?}");
        }
        let at = Some(WallTime(6000));
        let (decided, reply, value) = decide(&command(&["EXPIRE", "k", "5"]), Some(b"v"));
        assert_eq!((decided, reply.as_str()), (Decided::Store(Kind::Value { expires_at: at }), ":1\r\n"));
        assert_eq!(value, b"v");
    }

    #[test]
    fn requests_are_told_the_version_that_is_proposed() {
        let request = Request::Increment { key: b"k", delta: 2 };
        let mut change = Vec::new();
        change_of_request(&Envelope { id: RequestId(5), level: None, request }, &mut change);
        let (decided, reply, value) = decide(&change, Some(b"40"));
        assert_eq!((decided, value), (Decided::Store(Kind::Value { expires_at: None }), b"42".to_vec()));
        assert!(!reply.is_empty());
        let put = Request::Put {
            key: b"k",
            value: b"v",
            condition: crate::message::Condition::VersionIs(BEFORE),
            expiry: crate::message::ExpiryChange::Clear,
        };
        let mut change = Vec::new();
        change_of_request(&Envelope { id: RequestId(5), level: None, request: put }, &mut change);
        let mut expected = Vec::new();
        let written = crate::message::Outcome::Done(crate::message::Reply::Written { version: VERSION });
        crate::protocol::client::encode_response(RequestId(5), &written, &mut expected);
        let (decided, reply, _) = decide(&change, Some(b"40"));
        assert_eq!(decided, Decided::Store(Kind::Value { expires_at: None }));
        assert_eq!(reply, String::from_utf8_lossy(&expected));
    }
}
