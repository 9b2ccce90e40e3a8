//! Commands on how a key is kept: OBJECT, MEMORY.
//!
//! A value here is kept in one way. What clients know as encodings is told from the value itself, as the server that
//! they expect would keep it when it was just set.

use crate::operation;
use crate::protocol::resp::reply;
use crate::protocol::resp::request::Arguments;
use crate::server::commands::numbers::integer;
use crate::server::commands::{CommandError, Context};
use crate::store::View;

/// Values up to this many bytes are called `embstr`, longer ones `raw`.
const EMBEDDED_BYTES_MAX: usize = 44;

const OBJECT_HELP: &[&str] = &[
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return how the value of <key> would be encoded: int, embstr or raw.",
    "IDLETIME <key>",
    "    Return the seconds since <key> was last written.",
    "REFCOUNT <key>",
    "    Return 1.",
    "HELP",
    "    Prints this help.",
];

const MEMORY_HELP: &[&str] = &[
    "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "USAGE <key> [SAMPLES <count>]",
    "    Return the bytes that <key> takes, its value and its slot in the table included.",
    "HELP",
    "    Prints this help.",
];

/// Answers with lines of help.
pub(super) fn help(context: &mut Context<'_>, lines: &[&str]) {
    let out = context.out.bytes();
    reply::array_head(out, lines.len());
    for line in lines {
        reply::simple(out, line);
    }
}

pub(super) fn object(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let subcommand = arguments[1].to_ascii_uppercase();
    let arity = |expected: usize| {
        let fits = arguments.len() == expected;
        if fits { Ok(()) } else { Err(CommandError::subcommand_arity("object", &arguments[1])) }
    };
    match subcommand.as_slice() {
        b"HELP" => {
            arity(2)?;
            help(context, OBJECT_HELP);
        }
        b"ENCODING" => {
            arity(3)?;
            tell(context, &arguments[2], |view| Told::Text(encoding(view.value())));
        }
        b"REFCOUNT" => {
            arity(3)?;
            tell(context, &arguments[2], |_| Told::Number(1));
        }
        b"IDLETIME" => {
            arity(3)?;
            let now = context.engine.clock.wall();
            let idle = |view: View<'_>| now.0.saturating_sub(view.version().stamp.wall().0) / 1000;
            tell(context, &arguments[2], |view| Told::Number(idle(view) as i64));
        }
        b"FREQ" => {
            arity(3)?;
            if context.read(&arguments[2], |view| view.is_none()) {
                reply::null(context.out.bytes(), context.session.resp);
                return Ok(());
            }
            let text = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that \
                        when switching between policies at runtime LRU and LFU data will take some time to adjust.";
            return Err(CommandError::Other(text.into()));
        }
        _ => return Err(CommandError::subcommand("OBJECT", &arguments[1])),
    }
    Ok(())
}

enum Told {
    Text(&'static str),
    Number(i64),
}

/// Answers what `about` tells of the key, or nothing if it is not there.
fn tell(context: &mut Context<'_>, key: &[u8], about: impl FnOnce(View<'_>) -> Told) {
    let told = context.read(key, |view| view.map(about));
    let out = context.out.bytes();
    match told {
        None => reply::null(out, context.session.resp),
        Some(Told::Text(text)) => reply::bulk(out, text.as_bytes()),
        Some(Told::Number(number)) => reply::integer(out, number),
    }
}

fn encoding(value: &[u8]) -> &'static str {
    match value.len() {
        _ if operation::parse_integer(value).is_some() => "int",
        0..=EMBEDDED_BYTES_MAX => "embstr",
        _ => "raw",
    }
}

pub(super) fn memory(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    match arguments[1].to_ascii_uppercase().as_slice() {
        b"HELP" if arguments.len() == 2 => help(context, MEMORY_HELP),
        b"USAGE" if arguments.len() >= 3 => {
            match (arguments.get(3), arguments.get(4)) {
                (None, _) => {}
                (Some(option), Some(samples)) if option.eq_ignore_ascii_case(b"SAMPLES") => {
                    // A value has no parts to sample.
                    if integer(samples)? < 0 || arguments.len() > 5 {
                        return Err(CommandError::Syntax);
                    }
                }
                _ => return Err(CommandError::Syntax),
            }
            tell(context, &arguments[2], |view| Told::Number(view.memory_bytes() as i64));
        }
        b"HELP" | b"USAGE" => return Err(CommandError::subcommand_arity("memory", &arguments[1])),
        _ => return Err(CommandError::subcommand("MEMORY", &arguments[1])),
    }
    Ok(())
}
