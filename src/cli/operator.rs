//! What an operator asks of a cluster that runs, through any of its nodes.
//!
//! Invariant: one request, one answer, bounded in time; what the node refuses is told in its words.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;

use super::{ArgumentsError, read_password};
use crate::config::LISTEN_DEFAULT;

/// How long a node may take to connect and to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is to be done instead of running a node.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Speaks to a cluster that runs.
    Cluster {
        /// What is asked of it.
        #[command(subcommand)]
        request: Request,
    },
}

/// What can be asked of a cluster.
#[derive(Subcommand, Debug)]
pub enum Request {
    /// Lets nodes that have lost their data go on without what only dead nodes have.
    ///
    /// Nodes that were restarted wait for every other replica of their keys that may still have them. If those are gone
    /// for good, this gives up what only they had; it is counted as a loss, and a dead node that returns begins empty.
    Recover {
        /// Says that you know that acknowledged writes may be lost.
        #[arg(long, required = true)]
        accept_loss: bool,

        /// A node's address for clients.
        #[arg(long, value_name = "ADDRESS:PORT", default_value_t = LISTEN_DEFAULT)]
        target: SocketAddr,

        /// File with the password that clients must give.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
}

/// It was not done.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The command line is wrong.
    #[error(transparent)]
    Arguments(#[from] ArgumentsError),
    /// Nobody answers.
    #[error("{0} does not answer: {1}; is a node running there?")]
    Unreachable(SocketAddr, io::Error),
    /// The node said no.
    #[error("the node refuses: {0}")]
    Refused(String),
}

impl Command {
    /// Does it; returns what to tell.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub fn run(&self) -> Result<String, OperatorError> {
        let Self::Cluster { request: Request::Recover { target, password_file, .. } } = self;
        ask(*target, password_file.as_deref(), &[b"CLUSTER", b"RECOVER", b"ACCEPT-LOSS"])?;
        Ok("what only dead nodes have is given up: see losses in INFO of any node, and its state".into())
    }
}

fn ask(target: SocketAddr, password_file: Option<&Path>, request: &[&[u8]]) -> Result<(), OperatorError> {
    let password = password_file.map(read_password).transpose()?;
    let unreachable = |error| OperatorError::Unreachable(target, error);
    let connect = || -> io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect_timeout(&target, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(BufReader::new(stream))
    };
    let mut stream = connect().map_err(unreachable)?;
    let auth = password.as_ref().map(|password| [&b"AUTH"[..], password.bytes()]);
    for request in auth.iter().map(<[_; 2]>::as_slice).chain([request]) {
        let answer = exchange(&mut stream, request).map_err(unreachable)?;
        if let Some(refusal) = answer.strip_prefix('-') {
            return Err(OperatorError::Refused(refusal.trim_end().into()));
        }
    }
    Ok(())
}

/// Sends a request as RESP has it, and returns the first line of the answer.
fn exchange(stream: &mut BufReader<TcpStream>, request: &[&[u8]]) -> io::Result<String> {
    let mut bytes = format!("*{}\r\n", request.len()).into_bytes();
    for word in request {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    stream.get_mut().write_all(&bytes)?;
    let mut line = String::new();
    stream.read_line(&mut line)?;
    if line.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(line) }
}
