//! How many replicas a client's requests wait for: CONSISTENCY for its connection, AT for one command.
//!
//! Invariant: a level is chosen here and acted on by the coordinator of a cluster; a node that is alone meets every
//! level by itself, so that here a command behind AT runs as without it. AT is what such a command is counted as.

use crate::protocol::resp::reply;
use crate::protocol::resp::request::Arguments;
use crate::server::commands::error::{QUOTED_BYTES_MAX, quoted};
use crate::server::commands::{Command, CommandError, Context, entry, find, fits};
use crate::types::Level;

/// The name of the command that chooses a level for another.
pub(crate) const AT: &str = "at";

/// A command behind AT.
pub(crate) struct Leveled<'a> {
    pub(crate) level: Level,
    pub(crate) command: &'static Command,
    /// Its own, its name first.
    pub(crate) arguments: Arguments<'a>,
}

impl<'a> Leveled<'a> {
    /// What the arguments of AT say.
    ///
    /// # Errors
    /// There is no such level or no such command.
    pub(crate) fn of(arguments: &Arguments<'a>) -> Result<Self, CommandError> {
        let level = parse(&arguments[1])?;
        let name = &arguments[2];
        let unknown = || {
            let quoted = quoted(name, QUOTED_BYTES_MAX);
            CommandError::quoting("ERR unknown command '", quoted, "' behind AT level")
        };
        let command = entry(find(name).ok_or_else(unknown)?);
        if command.name == AT {
            return Err(CommandError::Other("ERR AT cannot stand behind AT: give one level".into()));
        }
        Ok(Self { level, command, arguments: arguments.behind(2) })
    }

    /// The first key, if it has one.
    pub(crate) fn key(&self) -> Option<&'a [u8]> {
        self.command.keys.first.and_then(|first| self.arguments.get(first.get()))
    }
}

/// Runs the command behind it: at every level this node is all that there is.
pub(super) fn at(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let leveled = Leveled::of(arguments)?;
    let Leveled { command, ref arguments, .. } = leveled;
    context.command = command;
    if !fits(command, arguments.len()) {
        return Err(CommandError::Arity);
    }
    if let Some(key) = leveled.key() {
        context.hash = context.engine.shared.store.hash(key);
    }
    // While every command is timed, this one is already.
    let handler = if context.engine.times_all { command.untimed } else { command.handler };
    handler(context, arguments)
}

pub(super) fn consistency(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    match arguments.len() {
        1 => reply::bulk(context.out.bytes(), context.session.level.name().as_bytes()),
        2 => {
            context.session.level = parse(&arguments[1])?;
            reply::ok(context.out.bytes());
        }
        _ => return Err(CommandError::Arity),
    }
    Ok(())
}

fn parse(name: &[u8]) -> Result<Level, CommandError> {
    Level::named(name).ok_or_else(|| {
        let said = quoted(name, QUOTED_BYTES_MAX);
        CommandError::quoting("ERR unknown level '", said, "': use one, quorum, all or linearizable")
    })
}
