//! Commands that are atomic across several keys: MSETNX, COPY, RENAME, RENAMENX, BITOP.
//!
//! Invariant: each holds the places of all its keys from its first look to its last change, by [`together`], the one
//! gate. A node that is alone has all keys; where keys may live apart, it is there that such a command is refused.

use crate::operation::bits::{self, Combination};
use crate::operation::{Effect, NewValue};
use crate::protocol::resp::reply;
use crate::protocol::resp::request::Arguments;
use crate::server::commands::clients::database;
use crate::server::commands::strings::check_sizes;
use crate::server::commands::{CommandError, Context};
use crate::store::{Store, Together};
use crate::types::WallTime;

/// Holds the places of `keys`.
fn together<'s, 'k>(store: &'s Store, keys: impl Iterator<Item = &'k [u8]>) -> Together<'s> {
    store.together(keys.map(|key| store.hash(key)))
}

pub(super) fn msetnx(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    if arguments.len().is_multiple_of(2) {
        return Err(CommandError::Arity);
    }
    for index in (1..arguments.len()).step_by(2) {
        check_sizes(context.engine, &arguments[index], arguments[index + 1].len())?;
    }
    let engine = &mut *context.engine;
    let store = &engine.shared.store;
    let pair = |index: usize| (store.hash(&arguments[index]), &arguments[index], &arguments[index + 1]);
    let pairs = (1..arguments.len()).step_by(2).map(pair);
    let mut keys = together(store, arguments.iter_from(1, 2));
    let done = keys.put_all_if_none(pairs, &mut engine.clock).map_err(|_| CommandError::OutOfMemory)?;
    reply::integer(context.out.bytes(), i64::from(done));
    Ok(())
}

/// How a key's value comes to another key.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Transfer {
    /// Where something is there already, it is replaced.
    replace: bool,
    /// The first key goes.
    moves: bool,
}

/// What became of a transfer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transferred {
    Done,
    NothingThere,
    Taken,
}

/// Gives the second of the command's keys what the first one holds, its expiry too.
fn transfer(
    context: &mut Context<'_>,
    arguments: &Arguments<'_>,
    how: Transfer,
) -> Result<Transferred, CommandError> {
    let (from, to) = (&arguments[1], &arguments[2]);
    check_sizes(context.engine, to, 0)?;
    let engine = &mut *context.engine;
    let (store, now) = (&engine.shared.store, engine.clock.wall());
    let (from_hash, to_hash) = (context.hash, store.hash(to));
    let mut keys = together(store, [from, to].into_iter());
    let held = |value: &[u8], expires_at: Option<WallTime>| (value.to_vec(), expires_at);
    let held = keys.get(from_hash, from, now, |view| view.map(|view| held(view.value(), view.expires_at())));
    let Some((value, expires_at)) = held else { return Ok(Transferred::NothingThere) };
    if !how.replace && keys.get(to_hash, to, now, |view| view.is_some()) {
        return Ok(Transferred::Taken);
    }
    if from == to {
        return Ok(Transferred::Done);
    }
    let effect = Effect::Store { value: NewValue::Bytes(&value), expires_at };
    let mut update = |hash, key, effect| {
        let updated = keys.update(hash, key, &mut engine.clock, |_| (effect, ()));
        updated.map_err(|_| CommandError::OutOfMemory)
    };
    update(to_hash, to, effect)?;
    if how.moves {
        update(from_hash, from, Effect::Remove)?;
    }
    Ok(Transferred::Done)
}

pub(super) fn copy(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let mut replace = false;
    let mut index = 3;
    while let Some(option) = arguments.get(index) {
        match option.to_ascii_uppercase().as_slice() {
            b"REPLACE" => replace = true,
            b"DB" => {
                index += 1;
                database(arguments.get(index).ok_or(CommandError::Syntax)?)?;
            }
            _ => return Err(CommandError::Syntax),
        }
        index += 1;
    }
    if arguments[1] == arguments[2] {
        return Err(CommandError::Other("ERR source and destination objects are the same".into()));
    }
    let transferred = transfer(context, arguments, Transfer { replace, moves: false })?;
    reply::integer(context.out.bytes(), i64::from(transferred == Transferred::Done));
    Ok(())
}

pub(super) fn rename(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    move_key(context, arguments, true)?;
    reply::ok(context.out.bytes());
    Ok(())
}

pub(super) fn renamenx(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let moved = move_key(context, arguments, false)?;
    reply::integer(context.out.bytes(), i64::from(moved));
    Ok(())
}

/// Whether the first key moved to the second.
fn move_key(
    context: &mut Context<'_>,
    arguments: &Arguments<'_>,
    replace: bool,
) -> Result<bool, CommandError> {
    match transfer(context, arguments, Transfer { replace, moves: true })? {
        Transferred::NothingThere => Err(CommandError::Other("ERR no such key".into())),
        transferred => Ok(transferred == Transferred::Done),
    }
}

pub(super) fn bitop(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let (combination, negated) = match arguments[1].to_ascii_uppercase().as_slice() {
        b"AND" => (Combination::And, false),
        b"OR" => (Combination::Or, false),
        b"XOR" => (Combination::ExclusiveOr, false),
        b"NOT" if arguments.len() > 4 => {
            let text = "ERR BITOP NOT must be called with a single source key.";
            return Err(CommandError::Other(text.into()));
        }
        b"NOT" => (Combination::Or, true),
        _ => return Err(CommandError::Syntax),
    };
    let target = &arguments[2];
    check_sizes(context.engine, target, 0)?;
    let engine = &mut *context.engine;
    let (store, now) = (&engine.shared.store, engine.clock.wall());
    let mut keys = together(store, arguments.iter_from(2, 1));
    let mut combined = None;
    for source in arguments.iter_from(3, 1) {
        keys.get(store.hash(source), source, now, |view| {
            bits::combine(combination, &mut combined, view.map_or(&[], |view| view.value()));
        });
    }
    let mut value = combined.unwrap_or_default();
    if negated {
        value.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let updated = keys.update(context.hash, target, &mut engine.clock, |view| {
        let effect = match (value.is_empty(), view) {
            (false, _) => Effect::Store { value: NewValue::Bytes(&value), expires_at: None },
            (true, Some(_)) => Effect::Remove,
            (true, None) => Effect::Keep,
        };
        (effect, ())
    });
    updated.map_err(|_| CommandError::OutOfMemory)?;
    reply::integer(context.out.bytes(), value.len() as i64);
    Ok(())
}
