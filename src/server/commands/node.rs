//! Commands on the node as a whole: TIME, WAIT, READONLY, READWRITE, LATENCY, SLOWLOG.

use crate::operation;
use crate::protocol::resp::reply;
use crate::protocol::resp::request::Arguments;
use crate::server::commands::numbers::integer;
use crate::server::commands::objects::help;
use crate::server::commands::{CommandError, Context, Question, find};
use crate::server::worker::Forget;

const LATENCY_HELP: &[&str] = &[
    "LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "HISTOGRAM [<command> ...]",
    "    Return how many calls took at most so many microseconds.",
    "RESET, LATEST, HISTORY <event>",
    "    Answered as if no event had been recorded: events are not, histograms are.",
    "HELP",
    "    Prints this help.",
];

const SLOWLOG_HELP: &[&str] = &[
    "SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET [<count>]",
    "    Return the slowest commands of late (default: 10, -1: all), the newest first: id, time, microseconds,",
    "    arguments, client, client's name.",
    "LEN",
    "    Return the number of entries.",
    "RESET",
    "    Forget them.",
    "HELP",
    "    Prints this help.",
];

/// Entries that SLOWLOG GET answers with unless it is told.
const SLOWLOG_COUNT: usize = 10;

pub(super) fn time(context: &mut Context<'_>, _arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let wall = context.engine.clock.wall();
    let out = context.out.bytes();
    reply::array_head(out, 2);
    // Wall time is known to the millisecond.
    for number in [wall.0 / 1000, wall.0 % 1000 * 1000] {
        reply::bulk(out, itoa::Buffer::new().format(number).as_bytes());
    }
    Ok(())
}

/// There is no replica to wait for: none is as many as there will be.
pub(super) fn wait(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let refused = |text: &str| CommandError::Other(text.into());
    integer(&arguments[1])?;
    match operation::parse_integer(&arguments[2]) {
        None => return Err(refused("ERR timeout is not an integer or out of range")),
        Some(timeout_ms) if timeout_ms < 0 => return Err(refused("ERR timeout is negative")),
        Some(_) => {}
    }
    reply::integer(context.out.bytes(), 0);
    Ok(())
}

/// Any node serves any key, for reading and for writing.
pub(super) fn any_node_serves(
    context: &mut Context<'_>,
    _arguments: &Arguments<'_>,
) -> Result<(), CommandError> {
    reply::ok(context.out.bytes());
    Ok(())
}

pub(super) fn latency(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    match (arguments[1].to_ascii_uppercase().as_slice(), arguments.len()) {
        (b"HISTOGRAM", count) => {
            let known = arguments.iter_from(2, 1).filter_map(find).map(|id| usize::from(id.0));
            let operations: Vec<usize> = known.collect();
            if count > 2 && operations.is_empty() {
                reply::map_head(context.out.bytes(), context.session.resp, 0);
            } else {
                context.question = Some(Question::Latencies { operations });
            }
        }
        (b"LATEST", 2) | (b"HISTORY", 3) => reply::array_head(context.out.bytes(), 0),
        (b"RESET", _) => reply::integer(context.out.bytes(), 0),
        (b"HELP", 2) => help(context, LATENCY_HELP),
        (b"DOCTOR" | b"GRAPH", _) => {
            let text =
                "ERR latency events are not recorded: see LATENCY HISTOGRAM, INFO latencystats and SLOWLOG";
            return Err(CommandError::Other(text.into()));
        }
        (b"LATEST" | b"HISTORY" | b"HELP", _) => {
            return Err(CommandError::subcommand_arity("latency", &arguments[1]));
        }
        _ => return Err(CommandError::subcommand("LATENCY", &arguments[1])),
    }
    Ok(())
}

pub(super) fn slowlog(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    match (arguments[1].to_ascii_uppercase().as_slice(), arguments.len()) {
        (b"GET", 2 | 3) => {
            let count = match arguments.get(2).map(integer).transpose()? {
                None => SLOWLOG_COUNT,
                Some(-1) => usize::MAX,
                Some(count) => usize::try_from(count).map_err(|_| {
                    CommandError::Other("ERR count should be greater than or equal to -1".into())
                })?,
            };
            context.question = Some(Question::SlowLog { count: Some(count) });
        }
        (b"LEN", 2) => context.question = Some(Question::SlowLog { count: None }),
        (b"RESET", 2) => {
            context.engine.forget_everywhere(Forget::SlowLog);
            reply::ok(context.out.bytes());
        }
        (b"HELP", 2) => help(context, SLOWLOG_HELP),
        (b"GET" | b"LEN" | b"RESET" | b"HELP", _) => {
            return Err(CommandError::subcommand_arity("slowlog", &arguments[1]));
        }
        _ => return Err(CommandError::subcommand("SLOWLOG", &arguments[1])),
    }
    Ok(())
}
