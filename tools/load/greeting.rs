//! How a connection is made: connected, greeted with the password if there is one, and only then without blocking.
//!
//! Invariant: a socket that is handed over has been welcomed, and nothing is left to read from it. Nothing here is
//! measured: whoever counts begins later.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use thiserror::Error;

use crate::dialect::{Dialect, Malformed, Outcome};

/// How long a connection may take to be made, and a greeting to be answered.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes that a greeting's replies may have.
const REPLY_BYTES_MAX: usize = 64 * 1024;

/// The target let nobody in. Its fault, or that of the way to it, or of the password.
#[derive(Debug, Error)]
pub(crate) enum Unwelcome {
    #[error("cannot connect to {target}: {source}")]
    Unreachable { target: String, source: io::Error },
    #[error("{target} did not answer the greeting within {} s: does it speak this protocol?",
        CONNECT_TIMEOUT.as_secs())]
    Silent { target: String },
    #[error("{target} refused the greeting: {says}")]
    Refused { target: String, says: String },
    #[error("{target}: {source}")]
    Malformed { target: String, source: Malformed },
}

/// Connects to `address`, which people call `target`, and greets it in `dialect`.
pub(crate) fn connect<D: Dialect>(
    target: &str,
    address: SocketAddr,
    dialect: &mut D,
    password: Option<&[u8]>,
) -> Result<mio::net::TcpStream, Unwelcome> {
    let unreachable = |source| Unwelcome::Unreachable { target: target.to_owned(), source };
    let mut socket = open(address).map_err(unreachable)?;
    let mut greeting = Vec::new();
    let expected = dialect.greet(password, &mut greeting);
    socket.write_all(&greeting).map_err(unreachable)?;
    let mut received = Vec::new();
    for _ in 0..expected {
        let (outcome, taken) = loop {
            match dialect.reply(&received) {
                Ok(Some(reply)) => break (reply.outcome, reply.bytes),
                Ok(None) => more(&mut socket, &mut received).map_err(|error| match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                        Unwelcome::Silent { target: target.to_owned() }
                    }
                    _ => unreachable(error),
                })?,
                Err(source) => return Err(Unwelcome::Malformed { target: target.to_owned(), source }),
            }
        };
        if outcome == Outcome::Error {
            let says = dialect.describe(&received[..taken]);
            return Err(Unwelcome::Refused { target: target.to_owned(), says });
        }
        received.drain(..taken);
    }
    socket.set_nonblocking(true).map_err(unreachable)?;
    Ok(mio::net::TcpStream::from_std(socket))
}

fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(CONNECT_TIMEOUT))?;
    socket.set_write_timeout(Some(CONNECT_TIMEOUT))?;
    Ok(socket)
}

fn more(socket: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = [0; 512];
    match socket.read(&mut chunk) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(read) if received.len() + read <= REPLY_BYTES_MAX => {
            received.extend_from_slice(&chunk[..read]);
            Ok(())
        }
        Ok(_) => Err(ErrorKind::InvalidData.into()),
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
        Err(error) => Err(error),
    }
}
