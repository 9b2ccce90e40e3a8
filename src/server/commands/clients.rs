//! Commands about the connection itself: HELLO, AUTH, PING, CLIENT and their kin.

use crate::operation;
use crate::protocol::resp::request::Arguments;
use crate::protocol::resp::{RespVersion, reply};
use crate::server::commands::{CommandError, Context};
use crate::server::session::Session;

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
    context.session.reset();
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
    match (arguments.len(), arguments.get(1)) {
        (2, _) => Err(CommandError::Other(
            "ERR AUTH <password> called without any password configured for the default user. \
             Are you sure your configuration is correct?"
                .into(),
        )),
        (3, user) => {
            check_user(user.unwrap_or_default())?;
            reply::ok(context.out.bytes());
            Ok(())
        }
        _ => Err(CommandError::Syntax),
    }
}

/// There is one user, and no password yet.
fn check_user(user: &[u8]) -> Result<(), CommandError> {
    if user == b"default" {
        return Ok(());
    }
    Err(CommandError::Other("WRONGPASS invalid username-password pair or user is disabled.".into()))
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
    let mut name = None;
    let mut index = 2;
    while let Some(option) = arguments.get(index) {
        match option.to_ascii_uppercase().as_slice() {
            b"AUTH" if arguments.len() > index + 2 => {
                check_user(&arguments[index + 1])?;
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
    if name.len() > NAME_BYTES_MAX {
        return Err(CommandError::Other(
            format!("ERR {what} cannot be longer than {NAME_BYTES_MAX} bytes").into(),
        ));
    }
    if !name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        let text = format!("ERR {what} cannot contain spaces, newlines or special characters.");
        return Err(CommandError::Other(text.into()));
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
            let line = describe(context);
            reply::verbatim(context.out.bytes(), context.session.resp, &line);
        }
        _ => return Err(CommandError::subcommand("CLIENT", &arguments[1])),
    }
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

/// The line that CLIENT INFO answers with.
fn describe(context: &Context<'_>) -> String {
    let session = &*context.session;
    let text = String::from_utf8_lossy;
    let age_s = context.engine.now.nanos_since(session.connected_at) / 1_000_000_000;
    let address = |address: Option<std::net::SocketAddr>| address.map_or(String::new(), |at| at.to_string());
    format!(
        "id={} addr={} laddr={} name={} age={age_s} idle=0 flags=N db=0 resp={} cmd={} user=default \
         lib-name={} lib-ver={}\n",
        session.id,
        address(context.engine.peer),
        context.engine.shared.address,
        text(&session.name),
        if session.resp == RespVersion::Three { 3 } else { 2 },
        context.command.name,
        text(&session.library_name),
        text(&session.library_version),
    )
}
