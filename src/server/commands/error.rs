//! Why a command was not done, and the words that its client is told.
//!
//! Invariant: what a client said is quoted up to a bound. It writes to no connection but the one that asked.

use crate::metrics::ErrorKind;
use crate::protocol::resp::reply;
use crate::server::commands::Context;

/// Bytes that are quoted of a command's name, and of all its arguments together.
pub(super) const QUOTED_BYTES_MAX: usize = 128;

/// Bytes that are quoted of an option that is none.
const OPTION_BYTES_MAX: usize = 4096;

/// What is quoted of `bytes`: as Redis does, what C would take for a text, up to a zero byte.
pub(super) fn quoted(bytes: &[u8], bytes_max: usize) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    &bytes[..end.min(bytes_max)]
}

/// Why a command was not done. Nothing was changed, but by MSET, whose keys are written one after the other.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("ERR wrong number of arguments")]
    Arity,
    #[error("ERR syntax error")]
    Syntax,
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    #[error("ERR value is not a valid float")]
    NotAFloat,
    #[error("ERR increment would produce NaN or Infinity")]
    NotFinite,
    #[error("ERR bit offset is not an integer or out of range")]
    BitOffset,
    #[error("ERR offset is out of range")]
    Offset,
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    #[error("ERR decrement would overflow")]
    DecrementOverflow,
    #[error("ERR invalid expire time")]
    ExpireTime,
    #[error("ERR invalid cursor")]
    Cursor,
    #[error("ERR key is longer than the limit of {0} bytes")]
    KeyTooLarge(usize),
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    ValueTooLarge,
    #[error("ERR the reply is longer than the limit of {0} bytes: ask for less at once")]
    AnswerTooLarge(usize),
    #[error("OOM command not allowed when used memory > 'maxmemory': remove keys or raise --memory-max")]
    OutOfMemory,
    /// What else there is, in full; it may quote a client's bytes.
    #[error("{}", String::from_utf8_lossy(.0))]
    Other(Vec<u8>),
}

impl CommandError {
    pub(super) const fn kind(&self) -> ErrorKind {
        match self {
            Self::NotAnInteger
            | Self::NotAFloat
            | Self::NotFinite
            | Self::Overflow
            | Self::DecrementOverflow => ErrorKind::State,
            Self::KeyTooLarge(_) | Self::ValueTooLarge | Self::AnswerTooLarge(_) => ErrorKind::TooLarge,
            Self::OutOfMemory => ErrorKind::OutOfMemory,
            _ => ErrorKind::Command,
        }
    }

    #[cold]
    pub(super) fn answer(&self, context: &mut Context<'_>, operation: Option<u16>) {
        context.engine.recorder.error(self.kind(), operation);
        reply::error(context.out.bytes(), self.text(context.command.name));
    }

    /// What a client of the command of this name is told.
    pub(crate) fn text(&self, name: &str) -> Vec<u8> {
        match self {
            Self::Arity => format!("ERR wrong number of arguments for '{name}' command").into(),
            Self::ExpireTime => format!("ERR invalid expire time in '{name}' command").into(),
            Self::Other(text) => text.clone(),
            other => other.to_string().into(),
        }
    }

    /// An error that quotes what a client said, between two texts.
    pub(super) fn quoting(before: &str, said: &[u8], behind: &str) -> Self {
        Self::Other([before.as_bytes(), quoted(said, OPTION_BYTES_MAX), behind.as_bytes()].concat())
    }

    /// A subcommand that the command does not have.
    pub(super) fn subcommand(command: &str, given: &[u8]) -> Self {
        let given = quoted(given, QUOTED_BYTES_MAX);
        Self::quoting("ERR unknown subcommand '", given, &format!("'. Try {command} HELP."))
    }

    /// A subcommand given too few or too many arguments.
    pub(super) fn subcommand_arity(command: &str, given: &[u8]) -> Self {
        let given = String::from_utf8_lossy(given).to_lowercase();
        Self::Other(format!("ERR wrong number of arguments for '{command}|{given}' command").into())
    }
}
