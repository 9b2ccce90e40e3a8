//! One client's connection: its socket, what was read and not executed, what was answered and not written.
//!
//! Invariant: buffers are held only while bytes are in flight; an idle connection is this struct and nothing else.
//! It decides nothing: the worker reads, executes and writes.

use std::io::{self, ErrorKind, Read};
use std::mem;
use std::net::{Shutdown, SocketAddr};

use mio::net::TcpStream;

use crate::server::output::Output;
use crate::server::replication::Conversation;
use crate::server::session::Session;
use crate::types::Timestamp;

/// A connection.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) session: Session,
    /// Requests that wait for replicas.
    pub(crate) conversation: Option<Box<Conversation>>,
    /// Bytes read and not executed.
    pub(crate) input: Vec<u8>,
    /// Bytes that `input` must have before it is worth a look.
    pub(crate) needed: usize,
    /// Output that the socket did not take.
    pub(crate) output: Option<Box<Output>>,
    /// The socket may hold bytes.
    pub(crate) readable: bool,
    /// The peer closed its end, so that a short read does not mean an empty socket.
    pub(crate) read_closed: bool,
    /// Nothing more will come.
    pub(crate) finished: bool,
    /// The socket failed.
    pub(crate) broken: bool,
    /// Since when nothing but the client's end is waited for, if it has been told all there is to tell.
    pub(crate) parting_since: Option<Timestamp>,
    /// It is in the list of connections that have a turn.
    pub(crate) queued: bool,
    /// Bytes of memory that it is charged for.
    pub(crate) charged_bytes: usize,
    /// When bytes last went in either direction.
    pub(crate) active_at: Timestamp,
    /// When bytes last came.
    pub(crate) received_at: Timestamp,
}

/// What a read brought.
pub(crate) enum Received {
    /// So many bytes, maybe 0 for now.
    Bytes(usize),
    /// The connection failed.
    Failed,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, peer: Option<SocketAddr>, session: Session, now: Timestamp) -> Self {
        Self {
            stream,
            peer,
            session,
            conversation: None,
            input: Vec::new(),
            needed: 0,
            output: None,
            readable: false,
            read_closed: false,
            finished: false,
            broken: false,
            parting_since: None,
            queued: false,
            charged_bytes: 0,
            active_at: now,
            received_at: now,
        }
    }

    /// Whether an answer to it is being made elsewhere.
    #[inline]
    pub(crate) fn awaits_answer(&self) -> bool {
        self.session.waiting
            || self.conversation.as_ref().is_some_and(|conversation| !conversation.is_empty())
    }

    /// Whether bytes that were read may hold a request.
    #[inline]
    pub(crate) fn has_requests(&self) -> bool {
        !self.input.is_empty() && self.input.len() >= self.needed
    }

    /// Reads once into `space`. A short read proves the socket empty, unless the peer closed its end.
    #[inline]
    pub(crate) fn receive(&mut self, space: &mut [u8]) -> Received {
        match self.stream.read(space) {
            Ok(0) => {
                self.finished = true;
                self.readable = false;
                Received::Bytes(0)
            }
            Ok(count) => {
                self.readable = count == space.len() || self.read_closed;
                Received::Bytes(count)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                Received::Bytes(0)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Received::Bytes(0),
            Err(_) => Received::Failed,
        }
    }

    /// Bytes answered and not taken by the socket.
    #[inline]
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.output.as_ref().map_or(0, |output| output.waiting_bytes())
    }

    /// Memory that its buffers hold now.
    #[inline]
    pub(crate) fn held_bytes(&self) -> usize {
        self.input.capacity() + self.output.as_ref().map_or(0, |output| output.held_bytes())
    }

    /// Takes the unexecuted input out.
    #[inline]
    pub(crate) fn take_input(&mut self) -> Vec<u8> {
        mem::take(&mut self.input)
    }

    /// Ends our direction; the peer learns of it after the last byte.
    pub(crate) fn shut_down(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }
}
