//! Commands on whole values: GET, SET and their kin.

use crate::message::{Condition, ExpiryChange};
use crate::operation::{self, Effect, Rejection};
use crate::protocol::resp::request::Arguments;
use crate::protocol::resp::{RespVersion, reply};
use crate::server::commands::{CommandError, Context, numbers};
use crate::server::engine::Engine;
use crate::server::output::Output;
use crate::store::View;
use crate::types::{KeyHash, WallTime};

/// Keys that MGET and MSET have in flight at once.
const PREFETCHED_KEYS: usize = 16;

/// Writes a value that was found, or nothing.
#[inline]
fn answer_value(out: &mut Output, version: RespVersion, view: Option<View<'_>>) {
    let Some(view) = view else { return reply::null(out.bytes(), version) };
    match view.share() {
        None => reply::bulk(out.bytes(), view.value()),
        Some(cell) => {
            reply::bulk_head(out.bytes(), cell.value().len());
            out.share(cell);
            out.bytes().extend_from_slice(reply::END);
        }
    }
}

#[inline]
fn read_one(context: &mut Context<'_>, hash: KeyHash, key: &[u8]) {
    let (out, version) = (&mut *context.out, context.session.resp);
    let engine = &mut *context.engine;
    let found = engine.shared.store.get(hash, key, engine.clock.wall(), |view| {
        answer_value(out, version, view);
        view.is_some()
    });
    engine.recorder.totals.hits += u64::from(found);
    engine.recorder.totals.misses += u64::from(!found);
}

#[inline]
pub(super) fn get(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    read_one(context, context.hash, &arguments[1]);
    Ok(())
}

pub(super) fn mget(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    reply::array_head(context.out.bytes(), arguments.len() - 1);
    let bytes_max = context.engine.shared.limits.output_bytes_max;
    for_each_prefetched(context, arguments, 1, |context, index, hash| {
        read_one(context, hash, &arguments[index]);
        if context.out.waiting_bytes() > bytes_max {
            return Err(CommandError::AnswerTooLarge(bytes_max));
        }
        Ok(())
    })
}

/// Runs `act` on every `step`th argument, whose cells are prefetched in groups.
fn for_each_prefetched(
    context: &mut Context<'_>,
    arguments: &Arguments<'_>,
    step: usize,
    mut act: impl FnMut(&mut Context<'_>, usize, KeyHash) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let mut hashes = [KeyHash(0); PREFETCHED_KEYS];
    for group in (1..arguments.len()).step_by(step * PREFETCHED_KEYS) {
        let keys = (group..arguments.len()).step_by(step).take(PREFETCHED_KEYS);
        let store = &context.engine.shared.store;
        for (hash, index) in hashes.iter_mut().zip(keys.clone()) {
            *hash = store.hash(&arguments[index]);
            store.prefetch_slot(*hash);
        }
        for (hash, _) in hashes.iter().zip(keys.clone()) {
            store.prefetch_cell(*hash);
        }
        for (hash, index) in hashes.into_iter().zip(keys) {
            act(context, index, hash)?;
        }
    }
    Ok(())
}

/// Refuses a key or a value beyond its limit.
#[inline]
pub(crate) fn check_sizes(engine: &Engine, key: &[u8], value_bytes: usize) -> Result<(), CommandError> {
    let limits = &engine.shared.limits;
    if key.len() > limits.key_bytes_max {
        return Err(CommandError::KeyTooLarge(limits.key_bytes_max));
    }
    if value_bytes > limits.value_bytes_max {
        return Err(CommandError::ValueTooLarge);
    }
    Ok(())
}

#[inline]
fn put(engine: &mut Engine, hash: KeyHash, key: &[u8], value: &[u8]) -> Result<(), CommandError> {
    let effect = Effect::Store { value: operation::NewValue::Bytes(value), expires_at: None };
    let done = engine.shared.store.update(hash, key, &mut engine.clock, |_| (effect, ()));
    done.map(|_| ()).map_err(|_| CommandError::OutOfMemory)
}

#[inline]
pub(super) fn set(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let (key, value) = (&arguments[1], &arguments[2]);
    check_sizes(context.engine, key, value.len())?;
    if arguments.len() > 3 {
        return set_with_options(context, arguments);
    }
    put(context.engine, context.hash, key, value)?;
    reply::ok(context.out.bytes());
    Ok(())
}

pub(super) fn mset(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    if arguments.len().is_multiple_of(2) {
        return Err(CommandError::Arity);
    }
    for index in (1..arguments.len()).step_by(2) {
        check_sizes(context.engine, &arguments[index], arguments[index + 1].len())?;
    }
    for_each_prefetched(context, arguments, 2, |context, index, hash| {
        put(context.engine, hash, &arguments[index], &arguments[index + 1])
    })?;
    reply::ok(context.out.bytes());
    Ok(())
}

/// A value to write, and when it expires, if ever.
type PlainWrite<'a> = (&'a [u8], Option<WallTime>);

/// What SET, SETEX or PSETEX writes, if that does not depend on what is there.
pub(crate) fn plain_write<'a>(
    engine: &Engine,
    name: &str,
    arguments: &Arguments<'a>,
) -> Result<Option<PlainWrite<'a>>, CommandError> {
    let value_at = if name == "set" { 2 } else { 3 };
    let value = arguments.get(value_at).ok_or(CommandError::Arity)?;
    check_sizes(engine, &arguments[1], value.len())?;
    let now = engine.clock.wall();
    let at = match name {
        "setex" => Some(expiry_of(b"EX", &arguments[2], now)?),
        "psetex" => Some(expiry_of(b"PX", &arguments[2], now)?),
        _ => {
            let options = SetOptions::parse(arguments)?;
            let depends = options.condition != Condition::Always || options.equal_to.is_some();
            match options.expiry(now)? {
                _ if depends || options.get => return Ok(None),
                ExpiryChange::At(at) => Some(at),
                ExpiryChange::Clear => None,
                ExpiryChange::Keep | ExpiryChange::AfterMs(_) => return Ok(None),
            }
        }
    };
    Ok(Some((value, at)))
}

pub(super) fn setex(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    set_expiring(context, arguments, b"EX")
}

pub(super) fn psetex(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    set_expiring(context, arguments, b"PX")
}

fn set_expiring(
    context: &mut Context<'_>,
    arguments: &Arguments<'_>,
    unit: &[u8],
) -> Result<(), CommandError> {
    let (key, value) = (&arguments[1], &arguments[3]);
    check_sizes(context.engine, key, value.len())?;
    let at = expiry_of(unit, &arguments[2], context.engine.clock.wall())?;
    context.update(key, |view, now| {
        let current = view.map(View::current);
        let put = operation::put(current, value, Condition::Always, ExpiryChange::At(at), now);
        (put.expect("nothing was asked of what is there"), ())
    })?;
    reply::ok(context.out.bytes());
    Ok(())
}

pub(super) fn getset(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let (key, value) = (&arguments[1], &arguments[2]);
    check_sizes(context.engine, key, value.len())?;
    let (out, version) = (&mut *context.out, context.session.resp);
    let engine = &mut *context.engine;
    let updated = engine.shared.store.update(context.hash, key, &mut engine.clock, |view| {
        answer_value(out, version, view);
        (Effect::Store { value: operation::NewValue::Bytes(value), expires_at: None }, ())
    });
    updated.map(|_| ()).map_err(|_| CommandError::OutOfMemory)
}

pub(super) fn getex(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let (mut expiry, mut persist) = (None::<(Vec<u8>, &[u8])>, false);
    let mut index = 2;
    while let Some(option) = arguments.get(index) {
        let name = option.to_ascii_uppercase();
        let another = expiry.as_ref().is_some_and(|(unit, _)| *unit != name);
        match name.as_slice() {
            b"PERSIST" if expiry.is_none() => persist = true,
            b"EX" | b"PX" | b"EXAT" | b"PXAT" if !persist && !another => {
                index += 1;
                expiry = Some((name, arguments.get(index).ok_or(CommandError::Syntax)?));
            }
            _ => return Err(CommandError::Syntax),
        }
        index += 1;
    }
    let (out, version) = (&mut *context.out, context.session.resp);
    let engine = &mut *context.engine;
    let now = engine.clock.wall();
    let updated = engine.shared.store.update(context.hash, &arguments[1], &mut engine.clock, |view| {
        // As Redis does, the time is only looked at when there is something to expire.
        let change = match expiry.as_ref().filter(|_| view.is_some()) {
            Some((unit, amount)) => match expiry_of(unit, amount, now) {
                Ok(at) => ExpiryChange::At(at),
                Err(error) => return (Effect::Keep, Err(error)),
            },
            None if persist => ExpiryChange::Clear,
            None => ExpiryChange::Keep,
        };
        answer_value(out, version, view);
        (operation::expire(view.map(View::current), change, now), Ok(()))
    });
    updated.map_err(|_| CommandError::OutOfMemory)?.answer
}

/// What SET was told beside key and value.
#[derive(Default)]
struct SetOptions<'a> {
    condition: Condition,
    /// Set only if this is what the key holds.
    equal_to: Option<&'a [u8]>,
    /// `EX` and its kin, and how much of it.
    expiry: Option<(Vec<u8>, &'a [u8])>,
    keep_expiry: bool,
    /// Answer with the value that was there.
    get: bool,
}

impl<'a> SetOptions<'a> {
    fn parse(arguments: &Arguments<'a>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut index = 3;
        while let Some(option) = arguments.get(index) {
            let name = option.to_ascii_uppercase();
            let conditional = options.condition != Condition::Always || options.equal_to.is_some();
            match name.as_slice() {
                b"NX" if !conditional || options.condition == Condition::Absent => {
                    options.condition = Condition::Absent;
                }
                b"XX" if !conditional || options.condition == Condition::Present => {
                    options.condition = Condition::Present;
                }
                b"IFEQ" if !conditional => {
                    index += 1;
                    options.equal_to = Some(arguments.get(index).ok_or(CommandError::Syntax)?);
                }
                b"GET" => options.get = true,
                b"KEEPTTL" if options.expiry.is_none() => options.keep_expiry = true,
                b"EX" | b"PX" | b"EXAT" | b"PXAT" if !options.keep_expiry => {
                    if options.expiry.as_ref().is_some_and(|(unit, _)| *unit != name) {
                        return Err(CommandError::Syntax);
                    }
                    index += 1;
                    options.expiry = Some((name, arguments.get(index).ok_or(CommandError::Syntax)?));
                }
                _ => return Err(CommandError::Syntax),
            }
            index += 1;
        }
        Ok(options)
    }

    fn expiry(&self, now: WallTime) -> Result<ExpiryChange, CommandError> {
        match &self.expiry {
            Some((unit, amount)) => expiry_of(unit, amount, now).map(ExpiryChange::At),
            None if self.keep_expiry => Ok(ExpiryChange::Keep),
            None => Ok(ExpiryChange::Clear),
        }
    }
}

/// The moment that `EX 10` and its kin name.
fn expiry_of(unit: &[u8], amount: &[u8], now: WallTime) -> Result<WallTime, CommandError> {
    let amount = operation::parse_integer(amount).ok_or(CommandError::NotAnInteger)?;
    if amount <= 0 {
        return Err(CommandError::ExpireTime);
    }
    let base = if unit.ends_with(b"AT") { WallTime(0) } else { now };
    let unit_ms = if unit.starts_with(b"E") { 1000 } else { 1 };
    numbers::moment(base, amount, unit_ms).ok_or(CommandError::ExpireTime)
}

#[cold]
fn set_with_options(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let (key, value) = (&arguments[1], &arguments[2]);
    let now = context.engine.clock.wall();
    let options = SetOptions::parse(arguments)?;
    let expiry = options.expiry(now)?;
    let (out, version) = (&mut *context.out, context.session.resp);
    let engine = &mut *context.engine;
    let updated = engine.shared.store.update(context.hash, key, &mut engine.clock, |view| {
        if options.get {
            answer_value(out, version, view);
        }
        let current = view.map(View::current);
        if options.equal_to.is_some_and(|value| view.is_none_or(|view| view.value() != value)) {
            return (Effect::Keep, false);
        }
        match operation::put(current, value, options.condition, expiry, now) {
            Ok(effect) => (effect, true),
            Err(_) => (Effect::Keep, false),
        }
    });
    let done = updated.map_err(|_| CommandError::OutOfMemory)?.answer;
    match (options.get, done) {
        (true, _) => {}
        (false, true) => reply::ok(context.out.bytes()),
        (false, false) => reply::null(context.out.bytes(), version),
    }
    Ok(())
}

pub(super) fn setnx(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let (key, value) = (&arguments[1], &arguments[2]);
    check_sizes(context.engine, key, value.len())?;
    let engine = &mut *context.engine;
    let now = engine.clock.wall();
    let updated = engine.shared.store.update(context.hash, key, &mut engine.clock, |view| {
        let current = view.map(View::current);
        match operation::put(current, value, Condition::Absent, ExpiryChange::Clear, now) {
            Ok(effect) => (effect, 1),
            Err(_) => (Effect::Keep, 0),
        }
    });
    let stored = updated.map_err(|_| CommandError::OutOfMemory)?.answer;
    reply::integer(context.out.bytes(), stored);
    Ok(())
}

pub(super) fn getdel(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let (out, version) = (&mut *context.out, context.session.resp);
    let engine = &mut *context.engine;
    let removed = engine.shared.store.update(context.hash, &arguments[1], &mut engine.clock, |view| {
        answer_value(out, version, view);
        let effect = if view.is_some() { Effect::Remove } else { Effect::Keep };
        (effect, ())
    });
    removed.map(|_| ()).map_err(|_| CommandError::OutOfMemory)
}

pub(super) fn strlen(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let engine = &*context.engine;
    let length = engine.shared.store.get(context.hash, &arguments[1], engine.clock.wall(), |view| {
        view.map_or(0, |view| view.value().len())
    });
    reply::integer(context.out.bytes(), length as i64);
    Ok(())
}

pub(super) fn append(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let (key, suffix) = (&arguments[1], &arguments[2]);
    check_sizes(context.engine, key, suffix.len())?;
    let engine = &mut *context.engine;
    let bytes_max = engine.shared.limits.value_bytes_max;
    let updated = engine.shared.store.update(context.hash, key, &mut engine.clock, |view| {
        match operation::append(view.map(View::current), suffix, bytes_max) {
            Ok((effect, length)) => (effect, Ok(length)),
            Err(rejection) => (Effect::Keep, Err(rejection)),
        }
    });
    let length = updated.map_err(|_| CommandError::OutOfMemory)?.answer;
    let length = length.map_err(|_: Rejection| CommandError::ValueTooLarge)?;
    reply::integer(context.out.bytes(), length as i64);
    Ok(())
}
