//! COMMAND: what the table of commands says, for clients.

use crate::operation::glob;
use crate::protocol::resp::request::Arguments;
use crate::protocol::resp::{RespVersion, reply};
use crate::server::commands::objects::help;
use crate::server::commands::{Access, COMMANDS, Command, CommandError, Context, entry, find, fits};

const HELP: &[&str] = &[
    "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "(no subcommand), INFO [<name> ...]",
    "    Return how commands are called: all, or these.",
    "COUNT",
    "    Return how many commands there are.",
    "LIST [FILTERBY PATTERN|ACLCAT|MODULE <value>]",
    "    Return their names.",
    "DOCS [<name> ...]",
    "    Return the group of each.",
    "GETKEYS <command>",
    "    Return the keys of a whole command.",
    "HELP",
    "    Prints this help.",
];

pub(super) fn command(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let out = context.out.bytes();
    let Some(subcommand) = arguments.get(1) else {
        describe_all(out, context.session.resp);
        return Ok(());
    };
    match subcommand.to_ascii_uppercase().as_slice() {
        b"HELP" if arguments.len() == 2 => help(context, HELP),
        b"COUNT" if arguments.len() == 2 => reply::integer(out, COMMANDS.len() as i64),
        b"COUNT" => return Err(CommandError::subcommand_arity("command", subcommand)),
        b"INFO" if arguments.len() == 2 => describe_all(out, context.session.resp),
        b"INFO" => {
            reply::array_head(out, arguments.len() - 2);
            for name in arguments.iter_from(2, 1) {
                match find(name) {
                    Some(id) => describe(out, context.session.resp, entry(id)),
                    None => reply::null(out, context.session.resp),
                }
            }
        }
        b"LIST" => list(context, arguments)?,
        b"GETKEYS" if arguments.len() > 3 => get_keys(context, arguments)?,
        b"GETKEYS" | b"HELP" => return Err(CommandError::subcommand_arity("command", subcommand)),
        b"DOCS" => document(context, arguments),
        _ => return Err(CommandError::subcommand("COMMAND", subcommand)),
    }
    Ok(())
}

/// Answers the names of commands, all or those that a filter leaves.
fn list(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let filter = match (arguments.len(), arguments.get(2), arguments.get(3)) {
        (2, ..) => None,
        (5, Some(filter), Some(kind)) if filter.eq_ignore_ascii_case(b"FILTERBY") => {
            Some((kind.to_ascii_uppercase(), &arguments[4]))
        }
        _ => return Err(CommandError::Syntax),
    };
    let chosen = |command: &&Command| match &filter {
        None => Ok(true),
        Some((kind, value)) => match kind.as_slice() {
            b"PATTERN" => Ok(glob::matches(&value.to_ascii_lowercase(), command.name.as_bytes())),
            b"ACLCAT" => Ok(category(command).as_bytes()[1..].eq_ignore_ascii_case(value)),
            b"MODULE" => Ok(false),
            _ => Err(CommandError::Syntax),
        },
    };
    let mut names = Vec::new();
    for command in COMMANDS {
        if chosen(&command)? {
            names.push(command.name);
        }
    }
    let out = context.out.bytes();
    reply::array_head(out, names.len());
    names.into_iter().for_each(|name| reply::bulk(out, name.as_bytes()));
    Ok(())
}

/// Answers which of the arguments of a whole command are keys.
fn get_keys(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let refused = |text: &str| CommandError::Other(text.into());
    let id = find(&arguments[2]).ok_or_else(|| refused("ERR Invalid command specified"))?;
    let command = entry(id);
    let given = arguments.len() - 2;
    let Some(first) = command.keys.first else {
        return Err(refused("ERR The command has no key arguments"));
    };
    if !fits(command, given) {
        return Err(refused("ERR Invalid number of arguments specified for command"));
    }
    let last = if command.keys.last < 0 { given - 1 } else { command.keys.last as usize };
    let keys: Vec<usize> =
        (first.get()..=last.min(given - 1)).step_by(usize::from(command.keys.step)).collect();
    let out = context.out.bytes();
    reply::array_head(out, keys.len());
    keys.into_iter().for_each(|index| reply::bulk(out, &arguments[index + 2]));
    Ok(())
}

/// Answers a map from names to what is known of them; of others nothing is said.
fn document(context: &mut Context<'_>, arguments: &Arguments<'_>) {
    let named: Vec<&Command> = match arguments.len() {
        2 => COMMANDS.iter().collect(),
        _ => arguments.iter_from(2, 1).filter_map(find).map(entry).collect(),
    };
    let (out, version) = (context.out.bytes(), context.session.resp);
    reply::map_head(out, version, named.len());
    for command in named {
        reply::bulk(out, command.name.as_bytes());
        reply::map_head(out, version, 1);
        reply::bulk(out, b"group");
        let group = match command.access {
            Access::None => "server",
            Access::Read | Access::Write | Access::ReadModifyWrite => "string",
        };
        reply::bulk(out, group.as_bytes());
    }
}

const fn category(command: &Command) -> &'static str {
    match command.access {
        Access::None => "@connection",
        Access::Read => "@read",
        Access::Write | Access::ReadModifyWrite => "@write",
    }
}

fn describe_all(out: &mut Vec<u8>, version: RespVersion) {
    reply::array_head(out, COMMANDS.len());
    for entry in COMMANDS {
        describe(out, version, entry);
    }
}

fn describe(out: &mut Vec<u8>, version: RespVersion, entry: &Command) {
    reply::array_head(out, 10);
    reply::bulk(out, entry.name.as_bytes());
    reply::integer(out, i64::from(entry.arity));
    reply::set_head(out, version, entry.flags.len());
    for flag in entry.flags {
        reply::simple(out, flag);
    }
    reply::integer(out, entry.keys.first.map_or(0, |first| first.get() as i64));
    reply::integer(out, i64::from(entry.keys.last));
    reply::integer(out, i64::from(entry.keys.step));
    reply::set_head(out, version, 1);
    reply::simple(out, category(entry));
    // Tips, key specifications and subcommands: none.
    for _ in 0..3 {
        reply::array_head(out, 0);
    }
}
