//! The other end of the wire: a blocking client of the native protocol.
//!
//! Invariant: a request is sent once and never repeated; a call returns its outcome, or an [`Error`] that says
//! whether it may have been applied. After a time-out or a broken connection the client is not connected until
//! told to [`reconnect`](Client::reconnect), so that no late answer is taken for another's. A [`Client`] knows one
//! node: any node takes any request. A [`ClusterClient`] knows them all, asks one that has the key, and repeats at
//! another what surely was not applied.
//!
//! ```no_run
//! use annulus::client::{Client, Operations};
//! use annulus::message::Request;
//! use annulus::types::Level;
//!
//! # fn main() -> Result<(), annulus::client::Error> {
//! let mut client = Client::connect("127.0.0.1:7400")?.with_level(Level::Quorum);
//! client.put(b"greeting", b"hello")?;
//! let entry = client.get(b"greeting")?.expect("just written");
//! client.compare_and_set(b"greeting", entry.version, b"good morning")?;
//!
//! let mut pipeline = client.pipeline();
//! pipeline.push(Request::Increment { key: b"visits", delta: 1 })?;
//! pipeline.push(Request::Get { key: b"greeting" })?;
//! for outcome in pipeline.run()?.iter() {
//!     println!("{outcome:?}");
//! }
//! # Ok(())
//! # }
//! ```

mod cluster;
mod connection;
mod error;
mod operations;
mod pipeline;
mod scan;
#[cfg(test)]
mod tests;

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

pub use cluster::{ClusterClient, Placement};
pub use error::Error;
pub use operations::Operations;
pub use pipeline::{Answers, Batch, Pipeline};
pub use scan::Scan;

use crate::message::{Envelope, Outcome, Reply, Request, RequestId};
use crate::protocol::client::encode_request;
use crate::protocol::frame::REQUEST_OVERHEAD_BYTES_MAX;
use crate::protocol::{Fault, Field, Limits, ProtocolError};
use crate::types::{Level, Version, WallTime};
use connection::{Connection, Places};

/// Bytes of buffer that are kept between requests.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// How a client connects and waits.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long to wait for each address of the node.
    pub connect_timeout: Duration,
    /// How long to wait for bytes from the node; `None` for ever.
    pub read_timeout: Option<Duration>,
    /// How long to wait for the node to take bytes; `None` for ever.
    pub write_timeout: Option<Duration>,
    /// The connection's level; `None` for the node's default.
    pub level: Option<Level>,
    /// The cluster's password, if it has one.
    pub password: Option<Vec<u8>>,
    /// How much to send, and to take, at a time.
    pub limits: Limits,
    /// How long a [`ClusterClient`] goes on trying what surely was not applied.
    pub retry_for: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            read_timeout: Some(Duration::from_secs(5)),
            write_timeout: Some(Duration::from_secs(5)),
            level: None,
            password: None,
            limits: Limits::default(),
            retry_for: Duration::from_secs(5),
        }
    }
}

/// What a key holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its version.
    pub version: Version,
    /// When it expires, if ever.
    pub expires_at: Option<WallTime>,
    /// Its value, or the part of it that was asked for.
    pub value: Vec<u8>,
}

/// What became of a write with a condition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conditional {
    /// The condition held; this version was written.
    Written(Version),
    /// It did not; nothing was written.
    NotWritten {
        /// The version that is there, if any.
        current: Option<Version>,
    },
}

/// A connection to a node. One request at a time, or many with a [`Pipeline`] or a [`Batch`].
#[derive(Debug)]
pub struct Client {
    addresses: Vec<SocketAddr>,
    options: Options,
    connection: Option<Connection>,
    level: Option<Level>,
    next_id: u32,
    sent: Vec<u8>,
    received: Vec<u8>,
}

impl Client {
    /// Connects with default [`Options`].
    ///
    /// # Errors
    ///
    /// No node there speaks the protocol, or it refused.
    pub fn connect(address: impl ToSocketAddrs) -> Result<Self, Error> {
        Self::connect_with(address, Options::default())
    }

    /// Connects, and authenticates if the options hold a password.
    ///
    /// # Errors
    ///
    /// No node there speaks the protocol, or it refused.
    pub fn connect_with(address: impl ToSocketAddrs, options: Options) -> Result<Self, Error> {
        let addresses = address.to_socket_addrs().map_err(|source| Error::Connect { source })?.collect();
        let mut client = Self {
            addresses,
            options,
            connection: None,
            level: None,
            next_id: 0,
            sent: Vec::new(),
            received: Vec::new(),
        };
        client.reconnect()?;
        Ok(client)
    }

    /// Connects anew, after an error or instead of the connection there is.
    ///
    /// # Errors
    ///
    /// As of [`connect_with`](Self::connect_with).
    pub fn reconnect(&mut self) -> Result<(), Error> {
        self.connection = None;
        self.connection = Some(Connection::open(&self.addresses, &self.options)?);
        let Some(password) = self.options.password.clone() else {
            return Ok(());
        };
        let authenticated = match self.call(Request::Authenticate { password: &password }) {
            Ok(Reply::Authenticated) => Ok(()),
            Ok(_) => Err(wrong_kind()),
            Err(error) => Err(error),
        };
        if authenticated.is_err() {
            self.connection = None;
        }
        authenticated
    }

    /// Whether requests can be sent.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// The same client, its requests from now on at `level`.
    #[must_use]
    pub const fn with_level(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    /// The level of requests from now on; `None` for the connection's.
    pub const fn set_level(&mut self, level: Option<Level>) {
        self.level = level;
    }

    /// A pipeline, to be filled.
    pub const fn pipeline(&mut self) -> Pipeline<'_> {
        Pipeline::new(self)
    }

    /// A batch, to be filled.
    pub fn batch(&mut self) -> Batch<'_> {
        Batch::new(self)
    }

    /// Sends a request and receives its answer, which [`reply`](Self::reply) then has.
    fn exchange(&mut self, request: Request<'_>) -> Result<(), Error> {
        self.check_size(&request)?;
        let id = self.next_id();
        let mut sent = std::mem::take(&mut self.sent);
        let mut received = std::mem::take(&mut self.received);
        sent.clear();
        received.clear();
        encode_request(&Envelope { id, level: self.level, request }, &mut sent);
        let mut place = Places::awaiting(id, 1);
        let exchanged = self.connected(|connection| connection.exchange(&sent, &mut received, &mut place));
        sent.shrink_to(BUFFER_BYTES_KEPT);
        received.shrink_to(BUFFER_BYTES_KEPT);
        self.sent = sent;
        self.received = received;
        exchanged?;
        if let Outcome::Done(reply) = pipeline::outcome_at(&self.received, &self.options.limits)
            && !answers(&reply, &request)
        {
            self.connection = None;
            return Err(wrong_kind());
        }
        self.reply().map(|_| ())
    }

    /// The answer to the last request, if it was received.
    fn reply(&self) -> Result<Reply<'_>, Error> {
        refusal_or_reply(pipeline::outcome_at(&self.received, &self.options.limits))
    }

    const fn next_id(&mut self) -> RequestId {
        let id = RequestId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        id
    }

    /// Whether the node has closed the connection, or said something that nobody asked for.
    fn is_stale(&self) -> bool {
        self.connection.as_ref().is_none_or(Connection::is_stale)
    }

    /// Uses the connection, and drops it if that fails.
    fn connected(
        &mut self,
        exchange: impl FnOnce(&mut Connection) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let result = exchange(self.connection.as_mut().ok_or(Error::NotConnected)?);
        if result.is_err() {
            self.connection = None;
        }
        result
    }

    fn check_size(&self, request: &Request<'_>) -> Result<(), Error> {
        let (key, value): (&[u8], &[u8]) = match *request {
            Request::Ping | Request::Stats | Request::Cluster | Request::Scan { .. } => (&[], &[]),
            Request::Authenticate { password } => (&[], password),
            Request::Get { key }
            | Request::GetRange { key, .. }
            | Request::Remove { key, .. }
            | Request::Increment { key, .. }
            | Request::Expire { key, .. } => (key, &[]),
            Request::Put { key, value, .. } | Request::Append { key, value } => (key, value),
            Request::Batch(batch) => (&[], batch.frames),
        };
        let limits = &self.options.limits;
        let frame_bytes = REQUEST_OVERHEAD_BYTES_MAX as usize + key.len() + value.len();
        let field = if key.len() > limits.key_bytes_max as usize {
            Field::Key
        } else if value.len() > limits.value_bytes_max as usize && !matches!(request, Request::Batch(_)) {
            Field::Value
        } else if frame_bytes > limits.frame_bytes_max as usize {
            Field::FrameLength
        } else {
            return Ok(());
        };
        Err(Error::TooLarge { field })
    }
}

impl Operations for Client {
    fn call(&mut self, request: Request<'_>) -> Result<Reply<'_>, Error> {
        self.exchange(request)?;
        self.reply()
    }
}

/// What was done, or an error for what was not.
fn refusal_or_reply(outcome: Outcome<'_>) -> Result<Reply<'_>, Error> {
    match outcome {
        Outcome::Done(reply) => Ok(reply),
        Outcome::Refused { reason, message } => Err(Error::Refused { reason, message: message.to_owned() }),
        Outcome::Unknown { message } => Err(Error::Unknown { message: message.to_owned() }),
    }
}

/// Whether `reply` is of a kind that `request` asks for.
const fn answers(reply: &Reply<'_>, request: &Request<'_>) -> bool {
    match request {
        Request::Ping => matches!(reply, Reply::Pong),
        Request::Authenticate { .. } => matches!(reply, Reply::Authenticated),
        Request::Stats => matches!(reply, Reply::Stats(_)),
        Request::Cluster => matches!(reply, Reply::Cluster { .. }),
        Request::Scan { .. } => matches!(reply, Reply::Page { .. }),
        Request::Get { .. } | Request::GetRange { .. } => {
            matches!(reply, Reply::Absent | Reply::Value { .. })
        }
        Request::Put { .. } => matches!(reply, Reply::Written { .. }),
        Request::Expire { .. } => matches!(reply, Reply::Absent | Reply::Written { .. }),
        Request::Remove { .. } => matches!(reply, Reply::Removed { .. }),
        Request::Increment { .. } => matches!(reply, Reply::Integer { .. }),
        Request::Append { .. } => matches!(reply, Reply::Length { .. }),
        Request::Batch(_) => matches!(reply, Reply::Batch(_)),
    }
}

/// A reply that does not go with its request.
const fn wrong_kind() -> Error {
    Error::Protocol(ProtocolError {
        field: Field::ReplyKind,
        fault: Fault::Misplaced,
        id: None,
        ends_connection: true,
    })
}
