//! How commands answer: words for people, or JSON for programs.
//!
//! Invariant: an answer goes to standard output and is one of the two; what went wrong goes to standard error, in
//! words.

use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

use crate::client::Error;
use crate::local::LocalError;

/// The answer is no: there is no such key, or the condition does not hold.
pub(super) const NO: u8 = 3;

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line or the configuration is wrong.
    #[error("{0}")]
    Usage(String),
    /// Surely nothing was changed.
    #[error("{0}")]
    NotDone(String),
    /// Nobody knows whether it takes effect.
    #[error("{0}; it may or may not take effect")]
    Unknown(String),
}

impl Failure {
    /// What the process exits with.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::NotDone(_) => 1,
            Self::Usage(_) => 2,
            Self::Unknown(_) => 4,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        if error.may_have_applied() { Self::Unknown(message) } else { Self::NotDone(message) }
    }
}

impl From<LocalError> for Failure {
    fn from(error: LocalError) -> Self {
        Self::NotDone(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::NotDone(error.to_string())
    }
}

/// Answers, as JSON or in words.
pub(super) fn print(
    json: bool,
    value: &impl Serialize,
    words: impl FnOnce() -> String,
) -> Result<ExitCode, Failure> {
    let mut text = if json {
        serde_json::to_string_pretty(value).map_err(io::Error::from)?.into_bytes()
    } else {
        words().into_bytes()
    };
    if !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    write(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes to standard output; that nobody reads any more is not an error.
pub(super) fn write(bytes: &[u8]) -> io::Result<()> {
    match io::stdout().lock().write_all(bytes) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => written,
    }
}

/// Bytes for JSON: as text if they are, else in hexadecimal digits under another name.
pub(super) fn bytes_as_json(name: &str, bytes: &[u8]) -> (String, serde_json::Value) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (name.to_owned(), text.into()),
        Err(_) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            (format!("{name}_hex"), digits.into())
        }
    }
}
