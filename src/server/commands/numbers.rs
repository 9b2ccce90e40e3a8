//! Commands that count, and the arithmetic of numbers and moments that arrive as text.

use crate::operation::{self, Effect, FloatRejection, Rejection};
use crate::protocol::resp::reply;
use crate::protocol::resp::request::Arguments;
use crate::server::commands::strings::check_sizes;
use crate::server::commands::{CommandError, Context};
use crate::store::View;
use crate::types::WallTime;

/// `base` and so many units later; `None` if that is before 1970 or beyond 64 signed bits.
pub(super) fn moment(base: WallTime, amount: i64, unit_ms: i64) -> Option<WallTime> {
    let at_ms = amount.checked_mul(unit_ms)?.checked_add(i64::try_from(base.0).ok()?)?;
    u64::try_from(at_ms).ok().map(WallTime)
}

/// An argument that must be a whole number.
pub(super) fn integer(argument: &[u8]) -> Result<i64, CommandError> {
    operation::parse_integer(argument).ok_or(CommandError::NotAnInteger)
}

fn add(context: &mut Context<'_>, key: &[u8], delta: i64) -> Result<(), CommandError> {
    check_sizes(context.engine, key, 0)?;
    let engine = &mut *context.engine;
    let updated = engine.shared.store.update(context.hash, key, &mut engine.clock, |view| {
        match operation::increment(view.map(View::current), delta) {
            Ok((effect, sum)) => (effect, Ok(sum)),
            Err(rejection) => (Effect::Keep, Err(rejection)),
        }
    });
    let sum =
        updated.map_err(|_| CommandError::OutOfMemory)?.answer.map_err(|rejection| match rejection {
            Rejection::Overflow => CommandError::Overflow,
            _ => CommandError::NotAnInteger,
        })?;
    reply::integer(context.out.bytes(), sum);
    Ok(())
}

pub(super) fn incr(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    add(context, &arguments[1], 1)
}

pub(super) fn decr(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    add(context, &arguments[1], -1)
}

pub(super) fn incrby(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    add(context, &arguments[1], integer(&arguments[2])?)
}

pub(super) fn decrby(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let delta = integer(&arguments[2])?.checked_neg().ok_or(CommandError::DecrementOverflow)?;
    add(context, &arguments[1], delta)
}

pub(super) fn incrbyfloat(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let (key, delta) = (&arguments[1], &arguments[2]);
    check_sizes(context.engine, key, 0)?;
    let bytes_max = context.engine.shared.limits.value_bytes_max;
    let mut text = String::new();
    let answer = &mut text;
    let rejected = context.update(key, |view, _| {
        match operation::increment_float(view.map(View::current), delta, bytes_max, answer) {
            Ok(effect) => (effect, None),
            Err(rejection) => (Effect::Keep, Some(rejection)),
        }
    })?;
    match rejected {
        None => reply::bulk(context.out.bytes(), text.as_bytes()),
        Some(FloatRejection::NotAFloat) => return Err(CommandError::NotAFloat),
        Some(FloatRejection::NotFinite) => return Err(CommandError::NotFinite),
        Some(FloatRejection::ValueTooLarge) => return Err(CommandError::ValueTooLarge),
    }
    Ok(())
}
