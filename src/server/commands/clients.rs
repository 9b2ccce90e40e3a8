//! Commands about the connection itself: HELLO, AUTH, PING, CLIENT and their kin.

use std::net::SocketAddr;

use crate::metrics::ErrorKind;
use crate::operation;
use crate::protocol::resp::request::Arguments;
use crate::protocol::resp::{RespVersion, reply};
use crate::server::commands::client_filter::ClientFilter;
use crate::server::commands::objects::help;
use crate::server::commands::{CommandError, Context, Question, entry, find};
use crate::server::engine::Engine;
use crate::server::password;
use crate::server::session::{Replies, Session};

/// Names that a client gives are at most this long.
const NAME_BYTES_MAX: usize = 128;

pub(super) fn ping(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    match arguments.len() {
        1 => reply::simple(context.out.bytes(), "PONG"),
        2 => reply::bulk(context.out.bytes(), &arguments[1]),
        _ => return Err(CommandError::Arity),
    }
    Ok(())
}

pub(super) fn echo(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    reply::bulk(context.out.bytes(), &arguments[1]);
    Ok(())
}

pub(super) fn quit(context: &mut Context<'_>, _arguments: &Arguments<'_>) -> Result<(), CommandError> {
    reply::ok(context.out.bytes());
    context.session.closing = true;
    Ok(())
}

pub(super) fn reset(context: &mut Context<'_>, _arguments: &Arguments<'_>) -> Result<(), CommandError> {
    context.session.reset(context.engine.shared.password.is_none());
    reply::simple(context.out.bytes(), "RESET");
    Ok(())
}

pub(super) fn select(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    database(&arguments[1])?;
    reply::ok(context.out.bytes());
    Ok(())
}

/// Refuses every database but the one there is.
pub(super) fn database(argument: &[u8]) -> Result<(), CommandError> {
    let index = operation::parse_integer(argument).ok_or(CommandError::NotAnInteger)?;
    match i32::try_from(index) {
        Ok(0) => Ok(()),
        Ok(_) => Err(CommandError::Other("ERR DB index is out of range".into())),
        Err(_) => {
            let text = "ERR value is out of range, value must between -2147483648 and 2147483647";
            Err(CommandError::Other(text.into()))
        }
    }
}

pub(super) fn auth(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let (user, password) = match arguments.len() {
        2 if context.engine.shared.password.is_none() => {
            return Err(CommandError::Other(
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?"
                    .into(),
            ));
        }
        2 => (USER, &arguments[1]),
        3 => (&arguments[1], &arguments[2]),
        _ => return Err(CommandError::Syntax),
    };
    if !is_let_in(context, user, password) {
        return Ok(());
    }
    reply::ok(context.out.bytes());
    Ok(())
}

/// The one user there is.
const USER: &[u8] = b"default";

/// Lets the client in, if this is the user and the password, or there is none; else the answer will come late.
fn is_let_in(context: &mut Context<'_>, user: &[u8], guess: &[u8]) -> bool {
    let right = match &context.engine.shared.password {
        Some(password) => password::is_right(password, guess),
        None => true,
    };
    if right && user == USER {
        context.session.authenticate();
        return true;
    }
    let mut answer = Vec::new();
    reply::error(&mut answer, "WRONGPASS invalid username-password pair or user is disabled.");
    context.engine.recorder.error(ErrorKind::Command, None);
    context.question = Some(Question::Denied { answer });
    false
}

pub(super) fn hello(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let mut version = context.session.resp;
    if let Some(text) = arguments.get(1) {
        version = match operation::parse_integer(text) {
            Some(2) => RespVersion::Two,
            Some(3) => RespVersion::Three,
            Some(_) => return Err(CommandError::Other("NOPROTO unsupported protocol version".into())),
            None => {
                let text = "ERR Protocol version is not an integer or out of range";
                return Err(CommandError::Other(text.into()));
            }
        };
    }
    let (mut name, mut credentials) = (None, None);
    let mut index = 2;
    while let Some(option) = arguments.get(index) {
        match option.to_ascii_uppercase().as_slice() {
            b"AUTH" if arguments.len() > index + 2 => {
                credentials = Some((&arguments[index + 1], &arguments[index + 2]));
                index += 3;
            }
            b"SETNAME" if arguments.len() > index + 1 => {
                name = Some(checked_name(&arguments[index + 1], "Client names")?);
                index += 2;
            }
            _ => {
                return Err(CommandError::quoting("ERR Syntax error in HELLO option '", option, "'"));
            }
        }
    }
    if let Some((user, password)) = credentials
        && !is_let_in(context, user, password)
    {
        return Ok(());
    }
    if !context.session.is_authenticated() {
        let text = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> \
                    AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol \
                    version at the same time";
        return Err(CommandError::Other(text.into()));
    }
    context.session.resp = version;
    if let Some(name) = name {
        context.session.name = name;
    }
    greet(context);
    Ok(())
}

fn greet(context: &mut Context<'_>) {
    let (version, id) = (context.session.resp, context.session.id);
    let out = context.out.bytes();
    reply::map_head(out, version, 7);
    for (field, value) in [("server", "annulus"), ("version", env!("CARGO_PKG_VERSION"))] {
        reply::bulk(out, field.as_bytes());
        reply::bulk(out, value.as_bytes());
    }
    reply::bulk(out, b"proto");
    reply::integer(out, if version == RespVersion::Three { 3 } else { 2 });
    reply::bulk(out, b"id");
    reply::integer(out, id as i64);
    for (field, value) in [("mode", "standalone"), ("role", "master")] {
        reply::bulk(out, field.as_bytes());
        reply::bulk(out, value.as_bytes());
    }
    reply::bulk(out, b"modules");
    reply::array_head(out, 0);
}

/// A name without blanks, control characters or anything else that would break a line of CLIENT INFO.
fn checked_name(name: &[u8], what: &str) -> Result<Box<[u8]>, CommandError> {
    if !name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        let text = format!("ERR {what} cannot contain spaces, newlines or special characters.");
        return Err(CommandError::Other(text.into()));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(CommandError::Other(
            format!("ERR {what} cannot be longer than {NAME_BYTES_MAX} bytes").into(),
        ));
    }
    Ok(name.into())
}

pub(super) fn client(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let arity = |expected: usize| {
        let fits = arguments.len() == expected;
        if fits { Ok(()) } else { Err(CommandError::subcommand_arity("client", &arguments[1])) }
    };
    match arguments[1].to_ascii_uppercase().as_slice() {
        b"ID" => {
            arity(2)?;
            reply::integer(context.out.bytes(), context.session.id as i64);
        }
        b"GETNAME" => {
            arity(2)?;
            match &*context.session.name {
                [] => reply::null(context.out.bytes(), context.session.resp),
                name => reply::bulk(context.out.bytes(), name),
            }
        }
        b"SETNAME" => {
            arity(3)?;
            context.session.name = checked_name(&arguments[2], "Client names")?;
            reply::ok(context.out.bytes());
        }
        b"SETINFO" => {
            arity(4)?;
            set_info(context.session, &arguments[2], &arguments[3])?;
            reply::ok(context.out.bytes());
        }
        b"INFO" => {
            arity(2)?;
            context.session.command = find(b"client");
            let line = describe(context.engine, context.session, context.engine.peer);
            reply::verbatim(context.out.bytes(), context.session.resp, &line);
        }
        b"REPLY" => {
            arity(3)?;
            choose_replies(context, &arguments[2])?;
        }
        // Nothing is evicted, and no read leaves a trace: both are so already.
        b"NO-EVICT" | b"NO-TOUCH" => {
            arity(3)?;
            on_or_off(&arguments[2])?;
            reply::ok(context.out.bytes());
        }
        b"UNBLOCK" => unblock(context, arguments)?,
        b"GETREDIR" => {
            arity(2)?;
            reply::integer(context.out.bytes(), -1);
        }
        b"LIST" => context.question = Some(Question::Clients(ClientFilter::of_list(arguments)?)),
        b"KILL" => context.question = Some(ClientFilter::of_kill(context, arguments)?),
        b"HELP" => {
            arity(2)?;
            help(context, CLIENT_HELP);
        }
        b"PAUSE" | b"UNPAUSE" => return Err(not_offered("it would stop every client of every worker")),
        b"TRACKING" | b"CACHING" | b"TRACKINGINFO" => {
            return Err(not_offered("clients are not told of changes"));
        }
        _ => return Err(CommandError::subcommand("CLIENT", &arguments[1])),
    }
    Ok(())
}

fn not_offered(reason: &str) -> CommandError {
    CommandError::Other(format!("ERR this subcommand of CLIENT is not offered: {reason}").into())
}

/// No command here blocks, so nobody is to be set free.
fn unblock(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let id = arguments.get(2).filter(|_| arguments.len() <= 4);
    let id = id.ok_or_else(|| CommandError::subcommand_arity("client", &arguments[1]))?;
    let known = |how: &[u8]| how.eq_ignore_ascii_case(b"timeout") || how.eq_ignore_ascii_case(b"error");
    if !arguments.get(3).is_none_or(known) {
        return Err(CommandError::Other("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR".into()));
    }
    operation::parse_integer(id).ok_or(CommandError::NotAnInteger)?;
    reply::integer(context.out.bytes(), 0);
    Ok(())
}

fn set_info(session: &mut Session, attribute: &[u8], value: &[u8]) -> Result<(), CommandError> {
    match attribute.to_ascii_uppercase().as_slice() {
        b"LIB-NAME" => session.library_name = checked_name(value, "lib-name")?,
        b"LIB-VER" => session.library_version = checked_name(value, "lib-ver")?,
        _ => {
            return Err(CommandError::quoting("ERR Unrecognized option '", attribute, "'"));
        }
    }
    Ok(())
}

/// What CLIENT REPLY chooses; only `ON` is answered.
fn choose_replies(context: &mut Context<'_>, choice: &[u8]) -> Result<(), CommandError> {
    let replies = match choice.to_ascii_uppercase().as_slice() {
        b"ON" => {
            reply::ok(context.out.bytes());
            Replies::All
        }
        b"OFF" => Replies::None,
        // Where none is sent there is none to skip.
        b"SKIP" if context.session.replies() == Replies::None => Replies::None,
        b"SKIP" => Replies::SkipOne,
        _ => return Err(CommandError::Syntax),
    };
    context.session.set_replies(replies);
    Ok(())
}

fn on_or_off(choice: &[u8]) -> Result<(), CommandError> {
    let known = choice.eq_ignore_ascii_case(b"on") || choice.eq_ignore_ascii_case(b"off");
    if known { Ok(()) } else { Err(CommandError::Syntax) }
}

const CLIENT_HELP: &[&str] = &[
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GETNAME, SETNAME <name>, SETINFO <attribute> <value>, ID, INFO",
    "    What this connection is, and what it says of itself.",
    "LIST [TYPE NORMAL|MASTER|REPLICA|PUBSUB] [ID <id> ...]",
    "    Return a line for each connection of the node.",
    "KILL <ip:port> | <option> <value> ... (ADDR, LADDR, ID, USER, TYPE, SKIPME)",
    "    Close connections.",
    "REPLY ON|OFF|SKIP",
    "    Choose whether commands are replied to.",
    "HELP",
    "    Prints this help.",
];

/// The line that CLIENT INFO answers with, and one of those of CLIENT LIST.
pub(crate) fn describe(engine: &Engine, session: &Session, peer: Option<SocketAddr>) -> String {
    let text = String::from_utf8_lossy;
    let age_s = engine.now.nanos_since(session.connected_at) / 1_000_000_000;
    let address = |address: Option<SocketAddr>| address.map_or(String::new(), |at| at.to_string());
    format!(
        "id={} addr={} laddr={} name={} age={age_s} idle=0 flags=N db=0 resp={} cmd={} user=default \
         lib-name={} lib-ver={}\n",
        session.id,
        address(peer),
        engine.shared.address,
        text(&session.name),
        if session.resp == RespVersion::Three { 3 } else { 2 },
        session.command.map_or("NULL", |id| entry(id).name),
        text(&session.library_name),
        text(&session.library_version),
    )
}
