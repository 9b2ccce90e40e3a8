//! Clients' requests, to what a coordinator is asked.
//!
//! Invariant: a request either begins in whole, or is answered at once by its connection's worker, or waits for those
//! before it; nothing is half begun. What depends on what a key holds is refused: it takes agreement on the key, which
//! is not offered yet, and a weaker promise under the same name would be worse than none.

use std::collections::HashSet;

use crate::cluster::coordinator::{Action, Ask};
use crate::message::{Condition, Envelope, ExpiryChange, Refusal, Request};
use crate::protocol::Limits as FrameLimits;
use crate::protocol::client::encode_refused;
use crate::protocol::resp::reply;
use crate::protocol::resp::request::Arguments;
use crate::server::commands::{self, AT, Access, Command, Leveled};
use crate::server::connection::Connection;
use crate::server::engine::Engine;
use crate::server::output::Output;
use crate::server::replication::batch;
use crate::server::replication::conversation::Combine;
use crate::server::replication::outbox::{Shape, Waiter};
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
    action: Action<'a>,
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
    fn one(shape: Shape, key: &'a [u8], action: Action<'a>) -> Self {
        Self { combine: Combine::One, shape, first: Part { key, action }, rest: Vec::new() }
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
        let level = client.connection.session.level;
        return begin_at(engine, client, level, command, operation, arguments, hash);
    }
    // What is wrong with it is told when it is run.
    if !commands::fits(command, arguments.len()) {
        return begin_other(client);
    }
    let Ok(leveled) = Leveled::of(arguments) else { return begin_other(client) };
    let hash = leveled.key().map_or(KeyHash(0), |key| engine.shared.store.hash(key));
    let Leveled { level, command, arguments } = leveled;
    begin_at(engine, client, level, command, operation, &arguments, hash)
}

fn begin_at(
    engine: &mut Engine,
    client: &mut Client<'_>,
    level: Level,
    command: &'static Command,
    operation: u16,
    arguments: &Arguments<'_>,
    hash: KeyHash,
) -> Begun {
    let planned = match command.access {
        Access::None => Ok(None),
        // It counts what this node holds.
        Access::Read if command.name == "dbsize" => Ok(None),
        _ => plan(engine, client.connection.session.resp, command, arguments).map(Some),
    };
    let plan = match planned {
        Ok(Some(plan)) => plan,
        _ if client.is_under_way() => return Begun::Later,
        Ok(None) => return Begun::Local,
        Err(wrong) => {
            engine.recorder.count(operation);
            engine.recorder.error(crate::metrics::ErrorKind::Command, Some(operation));
            if !client.silent {
                reply::error(client.out.bytes(), wrong);
            }
            return Begun::Yes;
        }
    };
    carry_out(engine, client, operation, &plan, hash, level)
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
        Request::Ping | Request::Stats | Request::Authenticate { .. } => {
            return if client.is_under_way() { Begun::Later } else { Begun::Local };
        }
        Request::Batch(batch) => return batch::begin(engine, client, envelope, batch, operation, limits),
        _ => {}
    }
    let action = action_of(engine, &envelope.request);
    let id = envelope.id;
    match (action, envelope.request.key()) {
        (Some(action), Some(key)) => {
            let plan = Plan::one(Shape::Native(id), key, action);
            let level = envelope.level.unwrap_or(client.connection.session.level);
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

/// What replicas are asked for a request of the native protocol, if they can be.
pub(super) fn action_of<'a>(engine: &Engine, request: &Request<'a>) -> Option<Action<'a>> {
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

/// Why what depends on what a key holds is refused.
pub(super) const NOT_OFFERED: &str = "this needs agreement on the key, or on all keys, which a cluster does not offer \
                                      yet: use plain reads, writes and removals";

fn not_offered() -> Wrong {
    format!("UNAVAILABLE {NOT_OFFERED}").into()
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
    for (part, Part { key, action }) in (0..).zip(std::iter::once(&plan.first).chain(&plan.rest)) {
        let hash = if single { hash } else { engine.shared.store.hash(key) };
        let waiter = Waiter {
            connection: client.slot,
            session: connection.session.id,
            sequence,
            part,
            operation,
            begun: engine.now,
            shape: plan.shape,
        };
        replication.begin(engine.now, waiter, key, hash, level, *action);
    }
    Begun::Yes
}

/// What replicas are asked for a command on keys; an error if it cannot be asked of them.
fn plan<'a>(
    engine: &Engine,
    version: crate::protocol::resp::RespVersion,
    command: &Command,
    arguments: &Arguments<'a>,
) -> Result<Plan<'a>, Wrong> {
    let given = arguments.len();
    if !commands::fits(command, given) {
        return Err(commands::CommandError::Arity.text(command.name));
    }
    let one = |shape, action| Ok(Plan::one(shape, arguments.get(1).expect("the arity says so"), action));
    let each = |combine, shape, action: Action<'a>| {
        Ok(Plan::many(combine, shape, arguments.iter_from(1, 1).map(|key| Part { key, action })))
    };
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
        "del" | "unlink" => {
            let parts = arguments.iter_from(1, 1).map(|key| Part { key, action: Action::Remove });
            Ok(Plan::last_of_each(Combine::Sum, Shape::Removed, parts))
        }
        "set" | "setex" | "psetex" => {
            let (value, expires_at) = commands::plain_write(engine, command.name, arguments)
                .map_err(|error| error.text(command.name))?
                .ok_or_else(not_offered)?;
            one(Shape::Ok, Action::Put { value, expires_at })
        }
        "mset" if given % 2 == 1 => {
            let pairs = || arguments.iter_from(1, 2).zip(arguments.iter_from(2, 2));
            for (key, value) in pairs() {
                commands::check_sizes(engine, key, value.len()).map_err(|error| error.text("mset"))?;
            }
            let put = |value| Action::Put { value, expires_at: None };
            let parts = pairs().map(|(key, value)| Part { key, action: put(value) });
            Ok(Plan::last_of_each(Combine::AllOk, Shape::Ok, parts))
        }
        "mset" => Err(commands::CommandError::Arity.text("mset")),
        _ => Err(not_offered()),
    }
}

impl super::Replication {
    pub(super) fn begin(
        &mut self,
        now: crate::types::Timestamp,
        waiter: Waiter,
        key: &[u8],
        hash: KeyHash,
        level: Level,
        action: Action<'_>,
    ) {
        let outbox = &mut self.outbox;
        let client = outbox.expect(waiter);
        let ask = Ask { client, key, hash, level, action };
        self.coordinator.begin(now, &ask, outbox);
    }
}
