//! Commands on keys whatever they hold: DEL, EXISTS, SCAN and their kin.

use crate::cluster::walk::CURSOR_SHIFT;
use crate::config::turn;
use crate::operation::Effect;
use crate::operation::glob;
use crate::protocol::resp::request::Arguments;
use crate::protocol::resp::{RespVersion, reply};
use crate::server::commands::numbers::integer;
use crate::server::commands::{CommandError, Context};
use crate::server::replication::Purpose;

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

pub(super) fn dbsize(context: &mut Context<'_>, _arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let count = context.engine.shared.store.len();
    context.engine.ends_turn = true;
    reply::integer(context.out.bytes(), count as i64);
    Ok(())
}

fn check_flush(arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let known = |option: &[u8]| option.eq_ignore_ascii_case(b"SYNC") || option.eq_ignore_ascii_case(b"ASYNC");
    if arguments.len() > 2 || !arguments.get(1).is_none_or(known) {
        return Err(CommandError::Syntax);
    }
    Ok(())
}

pub(super) fn flush(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    check_flush(arguments)?;
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
#[derive(Debug)]
pub(crate) struct Wanted {
    pattern: Option<Box<[u8]>>,
    pub(crate) count: usize,
    /// Whether keys of the wanted type can exist at all.
    strings: bool,
}

impl Wanted {
    fn parse(arguments: &Arguments<'_>) -> Result<Self, CommandError> {
        let mut wanted = Self { pattern: None, count: 10, strings: true };
        let mut index = 2;
        while let Some(option) = arguments.get(index) {
            let value = arguments.get(index + 1).ok_or(CommandError::Syntax)?;
            match option.to_ascii_uppercase().as_slice() {
                b"MATCH" => wanted.pattern = Some(value.into()),
                b"COUNT" => {
                    let count = integer(value)?;
                    if count < 1 {
                        return Err(CommandError::Syntax);
                    }
                    wanted.count = usize::try_from(count).unwrap_or(usize::MAX).min(turn::PAGE_KEYS_MAX);
                }
                b"TYPE" => wanted.strings = value.eq_ignore_ascii_case(b"string"),
                _ => return Err(CommandError::Syntax),
            }
            index += 2;
        }
        Ok(wanted)
    }

    pub(crate) fn wants(&self, key: &[u8]) -> bool {
        self.strings && self.pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, key))
    }
}

/// What a command about all keys is for in a cluster, and where it begins; `None` if it is none.
pub(crate) fn walk(
    name: &str,
    arguments: &Arguments<'_>,
    version: RespVersion,
) -> Option<Result<(Purpose, u64), CommandError>> {
    let keys = || Purpose::Keys { pattern: arguments[1].into(), found: Vec::new(), count: 0 };
    let begun = match name {
        "scan" => {
            cursor(&arguments[1]).and_then(|cursor| Ok((Purpose::Scan(Wanted::parse(arguments)?), cursor)))
        }
        "keys" => Ok((keys(), 0)),
        "dbsize" => Ok((Purpose::Count, 0)),
        "randomkey" => {
            let anywhere = fastrand::u64(..) >> CURSOR_SHIFT;
            Ok((Purpose::Random { version, turned: false }, anywhere))
        }
        "flushall" | "flushdb" => {
            check_flush(arguments).map(|()| (Purpose::Flush { missing: 0, failed: false }, 0))
        }
        _ => return None,
    };
    Some(begun)
}

fn cursor(text: &[u8]) -> Result<u64, CommandError> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(CommandError::Cursor)
}

pub(super) fn scan(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let cursor = cursor(&arguments[1])?;
    let wanted = Wanted::parse(arguments)?;
    let engine = &*context.engine;
    let (mut keys, mut count) = (Vec::new(), 0);
    let page = engine.shared.store.scan(cursor, wanted.count, engine.clock.wall(), |view| {
        if wanted.wants(view.key()) {
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

pub(super) fn keys(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let pattern = &arguments[1];
    let engine = &*context.engine;
    let bytes_max = engine.shared.limits.output_bytes_max;
    let (mut keys, mut count, mut cursor) = (Vec::new(), 0, 0);
    loop {
        let page = engine.shared.store.scan(cursor, usize::MAX, engine.clock.wall(), |view| {
            if glob::matches(pattern, view.key()) {
                reply::bulk(&mut keys, view.key());
                count += 1;
            }
            keys.len() <= bytes_max
        });
        if keys.len() > bytes_max {
            return Err(CommandError::AnswerTooLarge(bytes_max));
        }
        cursor = page.next;
        if cursor == 0 {
            break;
        }
    }
    context.engine.ends_turn = true;
    let out = context.out.bytes();
    reply::array_head(out, count);
    out.extend_from_slice(&keys);
    Ok(())
}

/// Keys that RANDOMKEY draws from.
const DRAWN_FROM: usize = 32;

/// Answers one of the keys that come next behind a random place on the ring, each as likely as the others. A single
/// one would be as likely as the gap before it is wide; over so many the gaps nearly even out, and a store that has
/// fewer draws from all of them.
pub(super) fn randomkey(context: &mut Context<'_>, _arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let engine = &*context.engine;
    let (mut seen, mut drawn) = (0, Vec::new());
    engine.shared.store.scan_around(fastrand::u64(..), DRAWN_FROM, engine.clock.wall(), |view| {
        seen += 1;
        if fastrand::usize(..seen) == 0 {
            drawn.clear();
            drawn.extend_from_slice(view.key());
        }
    });
    context.engine.ends_turn = true;
    match seen {
        0 => reply::null(context.out.bytes(), context.session.resp),
        _ => reply::bulk(context.out.bytes(), &drawn),
    }
    Ok(())
}
