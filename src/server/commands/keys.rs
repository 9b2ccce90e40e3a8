//! Commands on keys whatever they hold: DEL, EXPIRE, TTL, SCAN and their kin.

use crate::config::turn;
use crate::message::ExpiryChange;
use crate::operation::{self, Effect};
use crate::protocol::resp::reply;
use crate::protocol::resp::request::Arguments;
use crate::server::commands::numbers::{integer, moment};
use crate::server::commands::{CommandError, Context, glob};
use crate::store::View;
use crate::types::WallTime;

/// Cells that are freed in the event loop: some 100 microseconds' worth.
const FREED_AT_ONCE_MAX: usize = 4096;

pub(super) fn del(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let engine = &mut *context.engine;
    let mut removed = 0;
    for key in arguments.iter_from(1, 1) {
        let hash = engine.shared.store.hash(key);
        let updated = engine.shared.store.update(hash, key, &mut engine.clock, |view| match view {
            Some(_) => (Effect::Remove, 1),
            None => (Effect::Keep, 0),
        });
        removed += updated.map_err(|_| CommandError::OutOfMemory)?.answer;
    }
    reply::integer(context.out.bytes(), removed);
    Ok(())
}

pub(super) fn exists(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let engine = &*context.engine;
    let (store, now) = (&engine.shared.store, engine.clock.wall());
    let there = |key: &&[u8]| store.get(store.hash(key), key, now, |view| view.is_some());
    let count = arguments.iter_from(1, 1).filter(there).count();
    reply::integer(context.out.bytes(), count as i64);
    Ok(())
}

pub(super) fn kind(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let engine = &*context.engine;
    let there =
        engine.shared.store.get(context.hash, &arguments[1], engine.clock.wall(), |view| view.is_some());
    reply::simple(context.out.bytes(), if there { "string" } else { "none" });
    Ok(())
}

pub(super) fn expire(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    expire_after(context, arguments, 1000)
}

pub(super) fn pexpire(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    expire_after(context, arguments, 1)
}

fn expire_after(
    context: &mut Context<'_>,
    arguments: &Arguments<'_>,
    unit_ms: i64,
) -> Result<(), CommandError> {
    let rule = ExpiryRule::parse(arguments)?;
    let amount = integer(&arguments[2])?;
    let now = context.engine.clock.wall();
    let at = match moment(now, amount, unit_ms) {
        Some(at) => at,
        // So long ago that it was before 1970: as good as now.
        None if amount < 0 && amount.checked_mul(unit_ms).is_some() => WallTime(0),
        None => return Err(CommandError::ExpireTime),
    };
    change_expiry(context, &arguments[1], ExpiryChange::At(at), |view| rule.allows(view.expires_at(), at))
}

/// When EXPIRE may replace the expiry that is there; a key that never expires counts as expiring at the end of time.
#[derive(Default)]
struct ExpiryRule {
    only_first: bool,
    only_again: bool,
    only_later: bool,
    only_earlier: bool,
}

impl ExpiryRule {
    fn parse(arguments: &Arguments<'_>) -> Result<Self, CommandError> {
        let mut rule = Self::default();
        for option in arguments.iter_from(3, 1) {
            match option.to_ascii_uppercase().as_slice() {
                b"NX" => rule.only_first = true,
                b"XX" => rule.only_again = true,
                b"GT" => rule.only_later = true,
                b"LT" => rule.only_earlier = true,
                _ => {
                    let option = String::from_utf8_lossy(&option[..option.len().min(64)]).into_owned();
                    return Err(CommandError::Other(format!("ERR Unsupported option {option}")));
                }
            }
        }
        if rule.only_first && (rule.only_again || rule.only_later || rule.only_earlier) {
            let text = "ERR NX and XX, GT or LT options at the same time are not compatible";
            return Err(CommandError::Other(text.into()));
        }
        if rule.only_later && rule.only_earlier {
            let text = "ERR GT and LT options at the same time are not compatible";
            return Err(CommandError::Other(text.into()));
        }
        Ok(rule)
    }

    fn allows(&self, before: Option<WallTime>, after: WallTime) -> bool {
        !(self.only_first && before.is_some()
            || self.only_again && before.is_none()
            || self.only_later && before.is_none_or(|before| after <= before)
            || self.only_earlier && before.is_some_and(|before| after >= before))
    }
}

pub(super) fn persist(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    change_expiry(context, &arguments[1], ExpiryChange::Clear, |view| view.expires_at().is_some())
}

/// Changes the expiry of a key that is there and for which `applies`; answers 1 if it did.
fn change_expiry(
    context: &mut Context<'_>,
    key: &[u8],
    change: ExpiryChange,
    applies: impl Fn(View<'_>) -> bool,
) -> Result<(), CommandError> {
    let engine = &mut *context.engine;
    let now = engine.clock.wall();
    let updated = engine.shared.store.update(context.hash, key, &mut engine.clock, |view| match view {
        Some(view) if applies(view) => (operation::expire(Some(view.current()), change, now), 1),
        _ => (Effect::Keep, 0),
    });
    let changed = updated.map_err(|_| CommandError::OutOfMemory)?.answer;
    reply::integer(context.out.bytes(), changed);
    Ok(())
}

pub(super) fn ttl(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    remaining(context, arguments, |left_ms| left_ms.saturating_add(500) / 1000)
}

pub(super) fn pttl(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    remaining(context, arguments, |left_ms| left_ms)
}

/// Answers what is left of a key's life; -1: it lives for ever, -2: it is not there.
fn remaining(
    context: &mut Context<'_>,
    arguments: &Arguments<'_>,
    unit: impl Fn(u64) -> u64,
) -> Result<(), CommandError> {
    let engine = &*context.engine;
    let now = engine.clock.wall();
    let answer = engine.shared.store.get(context.hash, &arguments[1], now, |view| {
        view.map_or(-2, |view| match view.expires_at() {
            None => -1,
            Some(at) => i64::try_from(unit(at.0.saturating_sub(now.0))).unwrap_or(i64::MAX),
        })
    });
    reply::integer(context.out.bytes(), answer);
    Ok(())
}

pub(super) fn dbsize(context: &mut Context<'_>, _arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let count = context.engine.shared.store.len();
    context.engine.ends_turn = true;
    reply::integer(context.out.bytes(), count as i64);
    Ok(())
}

pub(super) fn flush(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let known = |option: &[u8]| option.eq_ignore_ascii_case(b"SYNC") || option.eq_ignore_ascii_case(b"ASYNC");
    if arguments.len() > 2 || !arguments.get(1).is_none_or(known) {
        return Err(CommandError::Syntax);
    }
    let garbage = context.engine.shared.store.clear();
    context.engine.ends_turn = true;
    if garbage.cells() <= FREED_AT_ONCE_MAX {
        drop(garbage);
        reply::ok(context.out.bytes());
        return Ok(());
    }
    // Freeing millions of cells takes longer than any client should wait.
    let freeing = std::thread::Builder::new().name("free".into()).spawn(move || drop(garbage));
    if let Err(error) = freeing {
        tracing::warn!(%error, "no thread to free memory in: freed in the event loop");
    }
    reply::ok(context.out.bytes());
    Ok(())
}

/// What SCAN was told beside the cursor.
struct ScanOptions<'a> {
    pattern: Option<&'a [u8]>,
    count: usize,
    /// Whether keys of the wanted type can exist at all.
    strings: bool,
}

impl<'a> ScanOptions<'a> {
    fn parse(arguments: &Arguments<'a>) -> Result<Self, CommandError> {
        let mut options = Self { pattern: None, count: 10, strings: true };
        let mut index = 2;
        while let Some(option) = arguments.get(index) {
            let value = arguments.get(index + 1).ok_or(CommandError::Syntax)?;
            match option.to_ascii_uppercase().as_slice() {
                b"MATCH" => options.pattern = Some(value),
                b"COUNT" => {
                    let count = integer(value)?;
                    if count < 1 {
                        return Err(CommandError::Syntax);
                    }
                    options.count = usize::try_from(count).unwrap_or(usize::MAX).min(turn::PAGE_KEYS_MAX);
                }
                b"TYPE" => options.strings = value.eq_ignore_ascii_case(b"string"),
                _ => return Err(CommandError::Syntax),
            }
            index += 2;
        }
        Ok(options)
    }

    fn wants(&self, key: &[u8]) -> bool {
        self.strings && self.pattern.is_none_or(|pattern| glob::matches(pattern, key))
    }
}

pub(super) fn scan(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let cursor = std::str::from_utf8(&arguments[1]).ok().and_then(|text| text.parse::<u64>().ok());
    let cursor = cursor.ok_or(CommandError::Cursor)?;
    let options = ScanOptions::parse(arguments)?;
    let engine = &*context.engine;
    let (mut keys, mut count) = (Vec::new(), 0);
    let page = engine.shared.store.scan(cursor, options.count, engine.clock.wall(), |view| {
        if options.wants(view.key()) {
            reply::bulk(&mut keys, view.key());
            count += 1;
        }
        keys.len() <= turn::PAGE_KEY_BYTES
    });
    context.engine.ends_turn = true;
    let out = context.out.bytes();
    reply::array_head(out, 2);
    reply::bulk(out, itoa::Buffer::new().format(page.next).as_bytes());
    reply::array_head(out, count);
    out.extend_from_slice(&keys);
    Ok(())
}
