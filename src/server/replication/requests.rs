//! Clients' requests, to what a coordinator is asked.
//!
//! Invariant: a request either begins in whole, or is answered at once by its connection's worker, or waits for those
//! before it; nothing is half begun. What depends on what a key holds is agreed on by its replicas, whatever level its
//! connection has; what is atomic across several keys is refused: a weaker promise under the same name would be worse
//! than none.

use std::collections::HashSet;

use crate::cluster::coordinator::{Action, Ask};
use crate::message::peer::{OperationId, Proposal};
use crate::message::{Condition, Envelope, ExpiryChange, Refusal, Request};
use crate::protocol::Limits as FrameLimits;
use crate::protocol::client::encode_refused;
use crate::protocol::resp::RespVersion;
use crate::protocol::resp::reply;
use crate::protocol::resp::request::Arguments;
use crate::server::commands::{self, AT, Access, Command, Leveled};
use crate::server::connection::Connection;
use crate::server::engine::{Engine, Shared};
use crate::server::output::Output;
use crate::server::replication::batch;
use crate::server::replication::conversation::Combine;
use crate::server::replication::judge::{self, CHANGE_OVERHEAD_BYTES_MAX};
use crate::server::replication::outbox::{Shape, Waiter, Waiting};
use crate::server::replication::walks::Purpose;
use crate::types::{KeyHash, Level, WallTime};

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Begun {
    /// It is under way, or was refused: its answer comes, or has been written.
    Yes,
    /// It waits until those before it have been answered.
    Later,
    /// It is none for replicas: it is run here, as on a node that is alone.
    Local,
}

/// Requests of one connection that are under way at once, at most.
const UNDER_WAY_MAX: usize = 512;

/// What one key is asked.
struct Part<'a> {
    key: &'a [u8],
    want: Want<'a>,
}

/// What is to be done with a key.
pub(super) enum Want<'a> {
    /// This, at the level that was chosen.
    Plain(Action<'a>),
    /// A change by agreement, in the judge's bytes.
    Change(Vec<u8>),
}

/// A request, as replicas see it.
struct Plan<'a> {
    combine: Combine,
    shape: Shape,
    first: Part<'a>,
    /// Those behind the first: mostly none, and then nothing is allocated.
    rest: Vec<Part<'a>>,
}

impl<'a> Plan<'a> {
    fn one(shape: Shape, key: &'a [u8], want: Want<'a>) -> Self {
        Self { combine: Combine::One, shape, first: Part { key, want }, rest: Vec::new() }
    }

    fn many(combine: Combine, shape: Shape, mut parts: impl Iterator<Item = Part<'a>>) -> Self {
        let first = parts.next().expect("the arity says so");
        Self { combine, shape, first, rest: parts.collect() }
    }

    /// Of several changes of one key, the last alone: they are under way together, and any of them might win.
    fn last_of_each(combine: Combine, shape: Shape, parts: impl Iterator<Item = Part<'a>>) -> Self {
        let mut parts: Vec<Part<'a>> = parts.collect();
        let mut seen = HashSet::with_capacity(parts.len());
        parts.reverse();
        parts.retain(|part| seen.insert(part.key));
        Self::many(combine, shape, parts.into_iter())
    }
}

/// Who asks.
pub(crate) struct Client<'w> {
    pub(crate) slot: usize,
    pub(crate) connection: &'w mut Connection,
    pub(crate) out: &'w mut Output,
    /// It wants no answer.
    pub(crate) silent: bool,
}

impl Client<'_> {
    fn is_under_way(&self) -> bool {
        self.connection.conversation.as_ref().is_some_and(|conversation| !conversation.is_empty())
    }
}

/// What is wrong with a request, in full.
type Wrong = Vec<u8>;

/// Begins a RESP command.
pub(crate) fn begin(
    engine: &mut Engine,
    client: &mut Client<'_>,
    command: &'static Command,
    operation: u16,
    arguments: &Arguments<'_>,
    hash: KeyHash,
) -> Begun {
    if command.name != AT {
        let chosen = Chosen { level: client.connection.session.level, explicitly: false };
        return begin_at(engine, client, chosen, command, operation, arguments, hash);
    }
    // What is wrong with it is told when it is run.
    if !commands::fits(command, arguments.len()) {
        return begin_other(client);
    }
    let Ok(leveled) = Leveled::of(arguments) else { return begin_other(client) };
    let hash = leveled.key().map_or(KeyHash(0), |key| engine.shared.store.hash(key));
    let Leveled { level, command, arguments } = leveled;
    let chosen = Chosen { level, explicitly: true };
    begin_at(engine, client, chosen, command, operation, &arguments, hash)
}

/// The level of a command.
#[derive(Clone, Copy)]
struct Chosen {
    level: Level,
    /// It was said for this very command.
    explicitly: bool,
}

fn begin_at(
    engine: &mut Engine,
    client: &mut Client<'_>,
    chosen: Chosen,
    command: &'static Command,
    operation: u16,
    arguments: &Arguments<'_>,
    hash: KeyHash,
) -> Begun {
    if let Some(begun) = begin_walk_of(engine, client, command, operation, arguments) {
        return begun;
    }
    let planned = match command.access {
        Access::None => Ok(None),
        _ => plan(engine, client.connection.session.resp, chosen, command, arguments).map(Some),
    };
    let plan = match planned {
        Ok(Some(plan)) => plan,
        _ if client.is_under_way() => return Begun::Later,
        Ok(None) => return Begun::Local,
        Err(wrong) => return refuse(engine, client, operation, wrong),
    };
    carry_out(engine, client, operation, &plan, hash, chosen.level)
}

fn refuse(engine: &mut Engine, client: &mut Client<'_>, operation: u16, wrong: Wrong) -> Begun {
    engine.recorder.count(operation);
    engine.recorder.error(crate::metrics::ErrorKind::Command, Some(operation));
    if !client.silent {
        reply::error(client.out.bytes(), wrong);
    }
    Begun::Yes
}

/// Begins a command about all keys, if it is one.
fn begin_walk_of(
    engine: &mut Engine,
    client: &mut Client<'_>,
    command: &Command,
    operation: u16,
    arguments: &Arguments<'_>,
) -> Option<Begun> {
    // What has the wrong number of words is refused for that, as the others are.
    if command.keys.first.is_some() || !commands::fits(command, arguments.len()) {
        return None;
    }
    let walk = commands::walk(command.name, arguments, client.connection.session.resp)?;
    if client.is_under_way() {
        return Some(Begun::Later);
    }
    Some(match walk {
        Ok((purpose, cursor)) => begin_walk(engine, client, operation, purpose, cursor),
        Err(error) => refuse(engine, client, operation, error.text(command.name)),
    })
}

/// Begins what is about all keys. Nothing else of the connection is under way, and nothing begins before it has ended.
fn begin_walk(
    engine: &mut Engine,
    client: &mut Client<'_>,
    operation: u16,
    purpose: Purpose,
    cursor: u64,
) -> Begun {
    let connection = &mut *client.connection;
    let conversation = connection.conversation.get_or_insert_default();
    let sequence = conversation.add(None, Combine::One, 1, client.silent);
    let Some(replication) = &mut engine.replication else { return Begun::Local };
    let shape = match purpose {
        Purpose::NativeScan { id, .. } => Shape::Native(id),
        _ => Shape::Raw,
    };
    let (connection, session) = (client.slot, connection.session.id);
    let waiter = Waiter {
        connection,
        session,
        sequence,
        part: 0,
        operation,
        level: None,
        received: client.connection.received_at,
        begun: engine.batch_at,
        local_ns: 0,
        shape,
    };
    replication.begin_walk(&engine.shared, waiter, purpose, cursor);
    Begun::Yes
}

/// Begins a request of the native protocol.
pub(crate) fn begin_native(
    engine: &mut Engine,
    client: &mut Client<'_>,
    envelope: &Envelope<'_>,
    operation: u16,
    hash: KeyHash,
    limits: &FrameLimits,
) -> Begun {
    match envelope.request {
        Request::Ping | Request::Stats | Request::Cluster | Request::Authenticate { .. } => {
            return if client.is_under_way() { Begun::Later } else { Begun::Local };
        }
        Request::Scan { cursor, count } => {
            if client.is_under_way() {
                return Begun::Later;
            }
            let purpose = Purpose::NativeScan { id: envelope.id, count };
            return begin_walk(engine, client, operation, purpose, cursor);
        }
        Request::Batch(batch) => return batch::begin(engine, client, envelope, batch, operation, limits),
        _ => {}
    }
    let level = envelope.level.unwrap_or(client.connection.session.level);
    let id = envelope.id;
    match (want_of(engine, envelope, level), envelope.request.key()) {
        (Some(want), Some(key)) => {
            let plan = Plan::one(Shape::Native(id), key, want);
            carry_out(engine, client, operation, &plan, hash, level)
        }
        _ if client.is_under_way() => Begun::Later,
        _ => {
            engine.recorder.count(operation);
            encode_refused(id, Refusal::Unavailable, NOT_OFFERED, client.out.bytes());
            Begun::Yes
        }
    }
}

/// What replicas are asked for a request of the native protocol, if it is about a key.
pub(super) fn want_of<'a>(engine: &Engine, envelope: &Envelope<'a>, level: Level) -> Option<Want<'a>> {
    let key = envelope.request.key()?;
    if key.len() > engine.shared.limits.key_bytes_max {
        return None;
    }
    match action_of(engine, &envelope.request) {
        Some(action) if level != Level::Linearizable || action == Action::Get => Some(Want::Plain(action)),
        _ => {
            let mut change = Vec::new();
            judge::change_of_request(envelope, &mut change);
            Some(Want::Change(change))
        }
    }
}

/// What is asked of a request that does not depend on what its key holds.
fn action_of<'a>(engine: &Engine, request: &Request<'a>) -> Option<Action<'a>> {
    match *request {
        Request::Get { .. } => Some(Action::Get),
        Request::Put { value, condition: Condition::Always, expiry, .. } => {
            let wall = engine.clock.wall();
            let expires_at = match expiry {
                ExpiryChange::Clear => None,
                ExpiryChange::At(at) => Some(at),
                ExpiryChange::AfterMs(ms) => Some(WallTime(wall.0.saturating_add(ms))),
                ExpiryChange::Keep => return None,
            };
            Some(Action::Put { value, expires_at })
        }
        Request::Remove { condition: Condition::Always, .. } => Some(Action::Remove),
        _ => None,
    }
}

/// What is about no key waits for what is under way, and is run here.
pub(crate) fn begin_other(client: &Client<'_>) -> Begun {
    if client.is_under_way() { Begun::Later } else { Begun::Local }
}

/// Why what is about more than a key is refused.
pub(super) const NOT_OFFERED: &str =
    "this is about several keys at once, which a cluster does not offer: ask about one key";

fn not_offered() -> Wrong {
    format!("UNAVAILABLE {NOT_OFFERED}").into()
}

/// The level at which it is done, whatever was asked for.
pub(super) fn level_of(want: &Want<'_>, level: Level) -> Level {
    match want {
        Want::Plain(_) => level,
        Want::Change(_) => Level::Linearizable,
    }
}

fn carry_out(
    engine: &mut Engine,
    client: &mut Client<'_>,
    operation: u16,
    plan: &Plan<'_>,
    hash: KeyHash,
    level: Level,
) -> Begun {
    let single = plan.combine == Combine::One;
    let connection = &mut *client.connection;
    let conversation = connection.conversation.get_or_insert_default();
    let waits = if single { conversation.concerns(hash) } else { !conversation.is_empty() };
    if waits || conversation.len() >= UNDER_WAY_MAX {
        return Begun::Later;
    }
    let known = single.then_some(hash);
    let sequence = conversation.add(known, plan.combine, 1 + plan.rest.len() as u32, client.silent);
    let Some(replication) = &mut engine.replication else { return Begun::Local };
    for (part, Part { key, want }) in (0..).zip(std::iter::once(&plan.first).chain(&plan.rest)) {
        let hash = if single { hash } else { engine.shared.store.hash(key) };
        let waiter = Waiter {
            connection: client.slot,
            session: connection.session.id,
            sequence,
            part,
            operation,
            level: Some(level_of(want, level)),
            received: connection.received_at,
            begun: engine.batch_at,
            local_ns: 0,
            shape: plan.shape,
        };
        replication.begin(&engine.shared, Waiting::Client(waiter), key, hash, level, want);
    }
    Begun::Yes
}

/// What replicas are asked for a command on keys; an error if it cannot be asked of them.
fn plan<'a>(
    engine: &Engine,
    version: RespVersion,
    chosen: Chosen,
    command: &Command,
    arguments: &Arguments<'a>,
) -> Result<Plan<'a>, Wrong> {
    let given = arguments.len();
    if !commands::fits(command, given) {
        return Err(commands::CommandError::Arity.text(command.name));
    }
    let one = |shape, action| {
        let key = arguments.get(1).expect("the arity says so");
        Ok(Plan::one(shape, key, Want::Plain(action)))
    };
    let each = |combine, shape, action: Action<'a>| {
        let parts = arguments.iter_from(1, 1).map(|key| Part { key, want: Want::Plain(action) });
        Ok(Plan::many(combine, shape, parts))
    };
    let agrees = chosen.level == Level::Linearizable;
    let expiry = |unit_ms, remaining| Shape::Expiry { unit_ms, remaining };
    match command.name {
        "get" => one(Shape::Value(version), Action::Get),
        "strlen" => one(Shape::Length, Action::Get),
        "type" => one(Shape::Type, Action::Get),
        "ttl" => one(expiry(1000, true), Action::Get),
        "pttl" => one(expiry(1, true), Action::Get),
        "expiretime" => one(expiry(1000, false), Action::Get),
        "pexpiretime" => one(expiry(1, false), Action::Get),
        "getrange" | "substr" => {
            let number = |at| crate::operation::parse_integer(arguments.get(at).expect("the arity says so"));
            match (number(2), number(3)) {
                (Some(start), Some(end)) => one(Shape::Range { start, end }, Action::Get),
                _ => Err("ERR value is not an integer or out of range".into()),
            }
        }
        "mget" => each(Combine::Array, Shape::Value(version), Action::Get),
        "exists" | "touch" => each(Combine::Sum, Shape::Found, Action::Get),
        // Whether there was something to remove is agreed on, unless somebody says that it need not be.
        "del" | "unlink" => {
            let plain = chosen.explicitly && !agrees;
            let want = |key| match plain {
                true => Want::Plain(Action::Remove),
                false => Want::Change(change(version, &[b"DEL", key])),
            };
            let parts = arguments.iter_from(1, 1).map(|key| Part { key, want: want(key) });
            let shape = if plain { Shape::Removed } else { Shape::Raw };
            Ok(Plan::last_of_each(Combine::Sum, shape, parts))
        }
        "set" | "setex" | "psetex" => {
            match commands::plain_write(engine, command.name, arguments)
                .map_err(|error| error.text(command.name))?
            {
                Some((value, expires_at)) if !agrees => one(Shape::Ok, Action::Put { value, expires_at }),
                _ => whole(engine, version, command, arguments),
            }
        }
        "mset" if given % 2 == 1 => {
            let pairs = || arguments.iter_from(1, 2).zip(arguments.iter_from(2, 2));
            for (key, value) in pairs() {
                commands::check_sizes(engine, key, value.len()).map_err(|error| error.text("mset"))?;
            }
            let want = |key, value| match agrees {
                true => Want::Change(change(version, &[b"SET", key, value])),
                false => Want::Plain(Action::Put { value, expires_at: None }),
            };
            let parts = pairs().map(|(key, value)| Part { key, want: want(key, value) });
            let shape = if agrees { Shape::Raw } else { Shape::Ok };
            Ok(Plan::last_of_each(Combine::AllOk, shape, parts))
        }
        "mset" => Err(commands::CommandError::Arity.text("mset")),
        _ => whole(engine, version, command, arguments),
    }
}

/// A command about one key as a change by agreement.
fn whole<'a>(
    engine: &Engine,
    version: RespVersion,
    command: &Command,
    arguments: &Arguments<'a>,
) -> Result<Plan<'a>, Wrong> {
    let key = command.keys.only().and_then(|place| arguments.get(place)).ok_or_else(not_offered)?;
    let mut change = Vec::new();
    judge::change_of_command(version, arguments, &mut change);
    let limits = &engine.shared.limits;
    commands::check_sizes(engine, key, 0).map_err(|error| error.text(command.name))?;
    if change.len() > key.len() + limits.value_bytes_max + CHANGE_OVERHEAD_BYTES_MAX as usize {
        return Err(commands::CommandError::ValueTooLarge.text(command.name));
    }
    Ok(Plan::one(Shape::Raw, key, Want::Change(change)))
}

/// The command of these words as a change.
pub(super) fn change(version: RespVersion, words: &[&[u8]]) -> Vec<u8> {
    let mut change = Vec::new();
    judge::change_of_words(version, words.len(), words.iter().copied(), &mut change);
    change
}

impl super::Replication {
    pub(super) fn begin(
        &mut self,
        shared: &Shared,
        waiting: Waiting,
        key: &[u8],
        hash: KeyHash,
        level: Level,
        want: &Want<'_>,
    ) {
        let action = match want {
            Want::Plain(action) => *action,
            Want::Change(change) if self.coordinator.proposer_of(hash) == Some(self.view.own) => {
                let operation = OperationId { slot: 0, round: 0 };
                let remaining_ms = self.coordinator.timeout_ms();
                let (epoch, change) = (self.view.epoch, Some(change.as_slice()));
                let proposal = Proposal { operation, epoch, remaining_ms, key, change };
                return self.propose_here(shared, waiting, hash, &proposal);
            }
            Want::Change(change) => Action::Change { change },
        };
        let begun = match &waiting {
            Waiting::Client(waiter) => waiter.begun,
            Waiting::Walk { begun, .. } => *begun,
            Waiting::Asker(_) => self.turns_at[0],
        };
        let outbox = &mut self.outbox;
        let client = outbox.expect(waiting);
        let ask = Ask { client, key, hash, level, action };
        self.coordinator.begin(begun, &ask, outbox);
    }
}
