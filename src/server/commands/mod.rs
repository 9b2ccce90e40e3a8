//! The commands of RESP: ONE table, one entry a command. To add a command is to add an entry and its handler.
//!
//! Invariant: an entry says all there is to know of a command before it runs: its arity is checked, its first key
//! hashed and prefetched by it, so a handler may index the arguments that the arity guarantees. Handlers change
//! the store through `operation` only and write exactly one reply, or ask a question that will be answered.

mod absent;
mod bits;
mod catalogue;
mod client_filter;
mod clients;
mod cluster;
mod config;
mod error;
mod expiry;
mod info;
mod keys;
mod level;
mod node;
mod numbers;
mod objects;
mod ranges;
mod several;
mod slots;
mod strings;

use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;

use crate::metrics::ErrorKind;
use crate::operation::Effect;
use crate::protocol::resp::reply;
use crate::protocol::resp::request::Arguments;
use crate::server::engine::Engine;
use crate::server::output::Output;
use crate::server::session::Session;
use crate::server::slow_log::{SlowEntry, excerpt};
use crate::store::View;
use crate::types::{KeyHash, WallTime};

pub(crate) use client_filter::ClientFilter;
pub(crate) use clients::describe;
pub(crate) use error::CommandError;
pub(crate) use info::{info, latencies, shows_stages, stats_counters};
pub(crate) use keys::{Wanted, walk};
pub(crate) use level::{AT, Leveled};
pub(crate) use strings::{check_sizes, plain_write};

use error::{QUOTED_BYTES_MAX, quoted};

/// The number of a command: its place in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CommandId(pub(crate) u8);

/// What a command does to keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// Nothing.
    None,
    /// It reads.
    Read,
    /// It writes without looking, unless its options say otherwise.
    Write,
    /// What it writes depends on what is there: linearizable as soon as a key has replicas.
    ReadModifyWrite,
}

/// Which arguments are keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys {
    pub(crate) first: Option<NonZeroUsize>,
    /// Negative: counted from the end.
    pub(crate) last: i8,
    pub(crate) step: u8,
}

impl Keys {
    /// The place of the only key, if there is just one.
    pub(crate) fn only(&self) -> Option<usize> {
        self.first.map(NonZeroUsize::get).filter(|&first| i8::try_from(first) == Ok(self.last))
    }
}

const NO_KEYS: Keys = Keys { first: None, last: 0, step: 0 };
const ONE_KEY: Keys = Keys { first: NonZeroUsize::new(1), last: 1, step: 1 };
const ALL_KEYS: Keys = Keys { first: NonZeroUsize::new(1), last: -1, step: 1 };
const TWO_KEYS: Keys = Keys { first: NonZeroUsize::new(1), last: 2, step: 1 };
const BEHIND_FIRST: Keys = Keys { first: NonZeroUsize::new(2), last: -1, step: 1 };
const KEY_VALUE_PAIRS: Keys = Keys { first: NonZeroUsize::new(1), last: -1, step: 2 };

/// What a handler runs in.
pub(crate) struct Context<'w> {
    pub(crate) engine: &'w mut Engine,
    pub(crate) session: &'w mut Session,
    pub(crate) out: &'w mut Output,
    pub(crate) command: &'static Command,
    /// The hash of the first key, of a command that has one.
    pub(crate) hash: KeyHash,
    /// What has to be asked of all workers before there is an answer.
    pub(crate) question: Option<Question>,
}

/// Something that cannot be answered at once: mostly because it takes what all workers know.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    /// INFO of these sections; none: the default ones.
    Info { sections: Vec<String> },
    /// The native `Stats` request of this id.
    Stats { id: crate::message::RequestId },
    /// Histograms of the operations of these numbers; none: of all that ran.
    Latencies { operations: Vec<usize> },
    /// The slow commands, so many of them; none: how many there are.
    SlowLog { count: Option<usize> },
    /// The connections that match.
    Clients(ClientFilter),
    /// To close the connections that match, and say how many they were, or that there was one.
    Kill { filter: ClientFilter, counted: bool },
    /// This answer, which takes no asking but is held back.
    Denied { answer: Vec<u8> },
}

impl Context<'_> {
    /// Lets `decide` see what the first key holds and say what becomes of it; returns what it answered.
    #[inline]
    fn update<'v, R>(
        &mut self,
        key: &[u8],
        decide: impl FnOnce(Option<View<'_>>, WallTime) -> (Effect<'v>, R),
    ) -> Result<R, CommandError> {
        let engine = &mut *self.engine;
        let now = engine.clock.wall();
        let updated = engine.shared.store.update(self.hash, key, &mut engine.clock, |view| decide(view, now));
        updated.map(|updated| updated.answer).map_err(|_| CommandError::OutOfMemory)
    }

    /// Lends what the first key holds to `read`.
    #[inline]
    fn read<R>(&self, key: &[u8], read: impl FnOnce(Option<View<'_>>) -> R) -> R {
        self.engine.shared.store.get(self.hash, key, self.engine.clock.wall(), read)
    }
}

type Handler = fn(&mut Context<'_>, &Arguments<'_>) -> Result<(), CommandError>;

/// One command.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    /// Arguments with the name; negative: at least so many.
    pub(crate) arity: i8,
    pub(crate) flags: &'static [&'static str],
    pub(crate) keys: Keys,
    pub(crate) access: Access,
    /// What runs it: the command itself, or what times it by itself because it may take long.
    pub(crate) handler: Handler,
    /// The command itself.
    untimed: Handler,
}

const fn command(
    name: &'static str,
    arity: i8,
    flags: &'static [&'static str],
    keys: Keys,
    access: Access,
    handler: Handler,
) -> Command {
    let whole_store = matches!(access, Access::Read | Access::Write) && keys.first.is_none();
    let timed: Handler = if whole_store || keys.last < 0 { run_timed } else { handler };
    Command { name, arity, flags, keys, access, handler: timed, untimed: handler }
}

/// The key that a subcommand is about.
const SUBCOMMAND_KEY: Keys = Keys { first: NonZeroUsize::new(2), last: 2, step: 1 };

const READ: &[&str] = &["readonly", "fast"];
const READ_SLOW: &[&str] = &["readonly"];
const WRITE: &[&str] = &["write", "denyoom", "fast"];
const WRITE_SLOW: &[&str] = &["write", "denyoom"];
const FREE: &[&str] = &["write", "fast"];
const CONNECTION: &[&str] = &["noscript", "loading", "stale", "fast"];
/// May be sent before the password.
const STRANGER: &[&str] = &["noscript", "loading", "stale", "no_auth", "fast"];
const ADMIN: &[&str] = &["loading", "stale"];

/// Every command, by name.
#[rustfmt::skip]
pub(crate) static COMMANDS: &[Command] = &[
    command("append",      3,  WRITE,      ONE_KEY,         Access::ReadModifyWrite, strings::append),
    command("at",          -3, CONNECTION, NO_KEYS,         Access::None,            level::at),
    command("auth",        -2, STRANGER,   NO_KEYS,         Access::None,            clients::auth),
    command("bitcount",    -2, READ_SLOW,  ONE_KEY,         Access::Read,            bits::bitcount),
    command("bitop",       -4, WRITE_SLOW, BEHIND_FIRST,    Access::ReadModifyWrite, several::bitop),
    command("bitpos",      -3, READ_SLOW,  ONE_KEY,         Access::Read,            bits::bitpos),
    command("client",      -2, ADMIN,      NO_KEYS,         Access::None,            clients::client),
    command("cluster",     -2, ADMIN,      NO_KEYS,         Access::None,            cluster::cluster),
    command("command",     -1, ADMIN,      NO_KEYS,         Access::None,            catalogue::command),
    command("config",      -2, ADMIN,      NO_KEYS,         Access::None,            config::config),
    command("consistency", -1, CONNECTION, NO_KEYS,         Access::None,            level::consistency),
    command("copy",        -3, WRITE_SLOW, TWO_KEYS,        Access::ReadModifyWrite, several::copy),
    command("dbsize",      1,  READ,       NO_KEYS,         Access::Read,            keys::dbsize),
    command("decr",        2,  WRITE,      ONE_KEY,         Access::ReadModifyWrite, numbers::decr),
    command("decrby",      3,  WRITE,      ONE_KEY,         Access::ReadModifyWrite, numbers::decrby),
    command("del",         -2, FREE,       ALL_KEYS,        Access::ReadModifyWrite, keys::del),
    command("echo",        2,  CONNECTION, NO_KEYS,         Access::None,            clients::echo),
    command("exists",      -2, READ,       ALL_KEYS,        Access::Read,            keys::exists),
    command("expire",      -3, FREE,       ONE_KEY,         Access::ReadModifyWrite, expiry::expire),
    command("expireat",    -3, FREE,       ONE_KEY,         Access::ReadModifyWrite, expiry::expireat),
    command("expiretime",  2,  READ,       ONE_KEY,         Access::Read,            expiry::expiretime),
    command("flushall",    -1, &["write"], NO_KEYS,         Access::Write,           keys::flush),
    command("flushdb",     -1, &["write"], NO_KEYS,         Access::Write,           keys::flush),
    command("get",         2,  READ,       ONE_KEY,         Access::Read,            strings::get),
    command("getbit",      3,  READ,       ONE_KEY,         Access::Read,            bits::getbit),
    command("getdel",      2,  FREE,       ONE_KEY,         Access::ReadModifyWrite, strings::getdel),
    command("getex",       -2, FREE,       ONE_KEY,         Access::ReadModifyWrite, strings::getex),
    command("getrange",    4,  READ_SLOW,  ONE_KEY,         Access::Read,            ranges::getrange),
    command("getset",      3,  WRITE,      ONE_KEY,         Access::ReadModifyWrite, strings::getset),
    command("hello",       -1, STRANGER,   NO_KEYS,         Access::None,            clients::hello),
    command("incr",        2,  WRITE,      ONE_KEY,         Access::ReadModifyWrite, numbers::incr),
    command("incrby",      3,  WRITE,      ONE_KEY,         Access::ReadModifyWrite, numbers::incrby),
    command("incrbyfloat", 3,  WRITE,      ONE_KEY,         Access::ReadModifyWrite, numbers::incrbyfloat),
    command("info",        -1, ADMIN,      NO_KEYS,         Access::None,            info::ask),
    command("keys",        2,  READ_SLOW,  NO_KEYS,         Access::Read,            keys::keys),
    command("latency",     -2, ADMIN,      NO_KEYS,         Access::None,            node::latency),
    command("memory",      -2, READ_SLOW,  SUBCOMMAND_KEY,  Access::Read,            objects::memory),
    command("mget",        -2, READ,       ALL_KEYS,        Access::Read,            strings::mget),
    command("mset",        -3, WRITE,      KEY_VALUE_PAIRS, Access::Write,           strings::mset),
    command("msetnx",      -3, WRITE_SLOW, KEY_VALUE_PAIRS, Access::ReadModifyWrite, several::msetnx),
    command("object",      -2, READ_SLOW,  SUBCOMMAND_KEY,  Access::Read,            objects::object),
    command("persist",     2,  FREE,       ONE_KEY,         Access::ReadModifyWrite, expiry::persist),
    command("pexpire",     -3, FREE,       ONE_KEY,         Access::ReadModifyWrite, expiry::pexpire),
    command("pexpireat",   -3, FREE,       ONE_KEY,         Access::ReadModifyWrite, expiry::pexpireat),
    command("pexpiretime", 2,  READ,       ONE_KEY,         Access::Read,            expiry::pexpiretime),
    command("ping",        -1, CONNECTION, NO_KEYS,         Access::None,            clients::ping),
    command("psetex",      4,  WRITE,      ONE_KEY,         Access::Write,           strings::psetex),
    command("pttl",        2,  READ,       ONE_KEY,         Access::Read,            expiry::pttl),
    command("quit",        -1, STRANGER,   NO_KEYS,         Access::None,            clients::quit),
    command("randomkey",   1,  READ_SLOW,  NO_KEYS,         Access::Read,            keys::randomkey),
    command("readonly",    1,  CONNECTION, NO_KEYS,         Access::None,            node::any_node_serves),
    command("readwrite",   1,  CONNECTION, NO_KEYS,         Access::None,            node::any_node_serves),
    command("rename",      3,  &["write"], TWO_KEYS,        Access::ReadModifyWrite, several::rename),
    command("renamenx",    3,  FREE,       TWO_KEYS,        Access::ReadModifyWrite, several::renamenx),
    command("reset",       1,  STRANGER,   NO_KEYS,         Access::None,            clients::reset),
    command("scan",        -2, READ_SLOW,  NO_KEYS,         Access::Read,            keys::scan),
    command("select",      2,  CONNECTION, NO_KEYS,         Access::None,            clients::select),
    command("set",         -3, WRITE,      ONE_KEY,         Access::Write,           strings::set),
    command("setbit",      4,  WRITE_SLOW, ONE_KEY,         Access::ReadModifyWrite, bits::setbit),
    command("setex",       4,  WRITE,      ONE_KEY,         Access::Write,           strings::setex),
    command("setnx",       3,  WRITE,      ONE_KEY,         Access::ReadModifyWrite, strings::setnx),
    command("setrange",    4,  WRITE_SLOW, ONE_KEY,         Access::ReadModifyWrite, ranges::setrange),
    command("slowlog",     -2, ADMIN,      NO_KEYS,         Access::None,            node::slowlog),
    command("strlen",      2,  READ,       ONE_KEY,         Access::Read,            strings::strlen),
    command("substr",      4,  READ_SLOW,  ONE_KEY,         Access::Read,            ranges::getrange),
    command("time",        1,  CONNECTION, NO_KEYS,         Access::None,            node::time),
    command("touch",       -2, READ,       ALL_KEYS,        Access::Read,            keys::exists),
    command("ttl",         2,  READ,       ONE_KEY,         Access::Read,            expiry::ttl),
    command("type",        2,  READ,       ONE_KEY,         Access::Read,            keys::kind),
    command("unlink",      -2, FREE,       ALL_KEYS,        Access::ReadModifyWrite, keys::del),
    command("wait",        3,  ADMIN,      NO_KEYS,         Access::None,            node::wait),
];

const _: () = assert!(COMMANDS.len() < NOWHERE as usize);

/// Names up to this long are packed into one number and looked up; the others are few and searched.
const PACKED_BYTES_MAX: usize = 8;
const INDEX_SLOTS: usize = 256;
const NOWHERE: u8 = u8::MAX;

/// Slots of an open-addressed index over the packed names, built by the compiler.
static INDEX: [(u64, u8); INDEX_SLOTS] = index();

const fn index() -> [(u64, u8); INDEX_SLOTS] {
    let mut slots = [(0, NOWHERE); INDEX_SLOTS];
    let mut number = 0;
    while number < COMMANDS.len() {
        let name = COMMANDS[number].name.as_bytes();
        if name.len() <= PACKED_BYTES_MAX {
            let mut packed: u64 = 0;
            let mut at = 0;
            while at < name.len() {
                packed |= (name[at] as u64) << (8 * at);
                at += 1;
            }
            let mut slot = slot_of(packed);
            while slots[slot].1 != NOWHERE {
                slot = (slot + 1) % INDEX_SLOTS;
            }
            slots[slot] = (packed, number as u8);
        }
        number += 1;
    }
    slots
}

#[inline]
const fn slot_of(packed: u64) -> usize {
    (packed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as usize
}

/// Bit 5 of every byte: what tells a small letter from a capital one.
const SMALL: u64 = 0x2020_2020_2020_2020;

/// The command of this name, in whatever case.
#[inline]
pub(crate) fn find(name: &[u8]) -> Option<CommandId> {
    let Some(packed) = pack(name) else { return search(name) };
    // Names are letters only, and no other byte becomes a small letter this way but its capital.
    let packed = packed | (SMALL >> (8 * (PACKED_BYTES_MAX - name.len())));
    let mut slot = slot_of(packed);
    loop {
        let (present, number) = INDEX[slot];
        if present == packed || number == NOWHERE {
            return (number != NOWHERE).then_some(CommandId(number));
        }
        slot = (slot + 1) % INDEX_SLOTS;
    }
}

/// The bytes of a name of 1 to 8 bytes in one number, by loads that overlap instead of a loop.
#[inline]
fn pack(name: &[u8]) -> Option<u64> {
    match *name {
        [one] => Some(u64::from(one)),
        [first, .., last] if name.len() < 4 => {
            let middle = u64::from(name[1]) << 8;
            Some(u64::from(first) | middle | u64::from(last) << (8 * (name.len() - 1)))
        }
        _ if name.len() > PACKED_BYTES_MAX => None,
        _ => {
            let (front, back) = (name.first_chunk::<4>()?, name.last_chunk::<4>()?);
            let back = u64::from(u32::from_le_bytes(*back)) << (8 * (name.len() - 4));
            Some(u64::from(u32::from_le_bytes(*front)) | back)
        }
    }
}

/// The command of a name that is not packed: too long, or empty.
#[cold]
fn search(name: &[u8]) -> Option<CommandId> {
    let number = COMMANDS.iter().position(|command| command.name.as_bytes().eq_ignore_ascii_case(name))?;
    Some(CommandId(number as u8))
}

/// The entry of a command.
#[inline]
pub(crate) fn entry(id: CommandId) -> &'static Command {
    &COMMANDS[usize::from(id.0)]
}

/// Whether a command takes so many arguments, its name counted.
#[inline(always)]
pub(crate) const fn fits(command: &Command, given: usize) -> bool {
    let arity = command.arity;
    if arity >= 0 { given == arity as usize } else { given >= arity.unsigned_abs() as usize }
}

/// Runs a command: one reply to `out`, whatever happens.
#[inline(always)]
pub(crate) fn execute(context: &mut Context<'_>, id: CommandId, arguments: &Arguments<'_>) {
    let operation = u16::from(id.0);
    context.engine.recorder.count(operation);
    let mark = context.out.mark();
    let result = if !fits(context.command, arguments.len()) {
        Err(CommandError::Arity)
    } else if context.engine.times_all {
        run_timed(context, arguments)
    } else {
        (context.command.handler)(context, arguments)
    };
    if let Err(error) = result {
        context.out.rewind(mark);
        error.answer(context, Some(operation));
    }
}

/// Runs a command that may take long, and logs it if it did.
fn run_timed(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let started = context.engine.time.now();
    let result = (context.command.untimed)(context, arguments);
    let engine = &mut *context.engine;
    let duration_us = engine.time.now().nanos_since(started) / 1000;
    let settings = &engine.shared.settings;
    let slow =
        u64::try_from(settings.slow_threshold_us()).is_ok_and(|threshold_us| duration_us >= threshold_us);
    // What strangers may send are passwords.
    if slow && !context.command.flags.contains(&"no_auth") {
        let entry = SlowEntry {
            id: engine.shared.next_slow_entry.fetch_add(1, Ordering::Relaxed),
            at: engine.clock.wall(),
            duration_us,
            arguments: excerpt(arguments),
            peer: engine.peer,
            client_name: context.session.name.clone(),
        };
        engine.slow_log.add(entry, settings.slow_entries_max());
    }
    result
}

/// Whether a request whose command is not in the table is a line of HTTP that comes before a body: then nothing of the
/// connection is to be believed, as with redis-server.
#[cold]
pub(crate) fn is_http(arguments: &Arguments<'_>) -> bool {
    ["POST", "Host:"].iter().any(|line| arguments[0].eq_ignore_ascii_case(line.as_bytes()))
}

/// Answers a request whose command is not in the table.
#[cold]
pub(crate) fn refuse_unknown(engine: &mut Engine, out: &mut Output, arguments: &Arguments<'_>) {
    engine.recorder.error(ErrorKind::Command, None);
    let mut text = [b"ERR unknown command '", quoted(&arguments[0], QUOTED_BYTES_MAX), b"'"].concat();
    if let Some(reason) = absent::reason(&arguments[0]) {
        text.extend_from_slice(b": ");
        text.extend_from_slice(reason.as_bytes());
        return reply::error(out.bytes(), &text);
    }
    let mut listed = Vec::new();
    for argument in arguments.iter_from(1, 1) {
        if listed.len() >= QUOTED_BYTES_MAX {
            break;
        }
        let room = QUOTED_BYTES_MAX - listed.len();
        listed.extend([b"'", quoted(argument, room), b"' "].concat());
    }
    text.extend_from_slice(b", with args beginning with: ");
    text.extend_from_slice(&listed);
    reply::error(out.bytes(), &text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_in_every_case_and_nothing_else_is() {
        for (number, entry) in COMMANDS.iter().enumerate() {
            let id = Some(CommandId(number as u8));
            assert_eq!(find(entry.name.as_bytes()), id);
            assert_eq!(find(entry.name.to_uppercase().as_bytes()), id);
            assert!(entry.name.bytes().all(|byte| byte.is_ascii_lowercase()), "{}", entry.name);
        }
        for name in ["", "ge", "gett", "g\0t", "\u{7}et", "getgetgetgetgetget", "@et"] {
            assert_eq!(find(name.as_bytes()), None, "{name:?}");
        }
    }

    #[test]
    fn the_table_is_sorted_so_that_an_entry_has_one_place() {
        assert!(COMMANDS.is_sorted_by(|left, right| left.name < right.name));
    }
}
