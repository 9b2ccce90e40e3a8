//! A link to another node, from the side that connects: a worker's, on which its coordinator asks and answers come
//! back, or the control thread's, on which each says what it has to say.
//!
//! Invariant: a link that is up has been welcomed by the node it is for, in the life that this node knows; one that
//! is not up holds nothing to be sent. A link on which nothing is asked carries heartbeats, so that an answer is
//! always waited for sooner or later. Whoever is silent too long meanwhile has lost its link: that says nothing about
//! whether it lives, only that there is no use in waiting here. It decides nothing else.

mod complaints;
mod retry;
mod wire;

use std::io;
use std::net::SocketAddr;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::config::link::{HANDSHAKE_TIMEOUT, HEARTBEAT_INTERVAL, SILENCE_MAX};
use crate::protocol::handshake::encode_handshake;
use crate::protocol::handshake::{HANDSHAKE_BYTES, Handshake, LinkRefusal, Purpose, decode_handshake};
use crate::protocol::peer::{Heartbeat, encode_heartbeat};
use crate::types::Timestamp;

pub(crate) use complaints::Complaints;
pub(crate) use wire::{TOGETHER_MAX, Wire};

use retry::Retry;

/// A link, from the side that asks.
pub(crate) struct Link {
    pub(crate) address: SocketAddr,
    token: Token,
    /// What is sent on it is answered.
    answered: bool,
    state: State,
    retry: Retry,
    /// The last failure was told: it is not told again before the link was up.
    told: bool,
}

enum State {
    /// There is none until this moment.
    Down { until: Timestamp },
    /// Not welcomed yet, since this moment.
    Greeting { wire: Wire, since: Timestamp },
    /// Messages may go.
    Up {
        wire: Wire,
        /// When something was sent last.
        sent_at: Timestamp,
        /// Since when an answer is waited for and nothing came.
        silent_since: Option<Timestamp>,
    },
}

/// Why a link ended, or could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("{0}")]
    Kernel(#[from] io::Error),
    #[error("what it said is no message between nodes: {0}")]
    Protocol(#[from] crate::protocol::ProtocolError),
    #[error("it said what does not belong on this link")]
    Misplaced,
    #[error("{0} links are open, and that is the limit")]
    TooMany(usize),
    #[error("it was to join, and has not asked to in time")]
    NotJoining,
    #[error("it went on speaking before it was welcome")]
    Hasty,
    #[error("it did not introduce itself in time")]
    NoHandshake,
    #[error("it answered nothing for {} s", SILENCE_MAX.as_secs())]
    Silent,
    #[error("{0}")]
    Refused(LinkRefusal),
}

impl LinkError {
    /// Whether the link ended because the other end wanted that, or ended itself. Who is gone without a word did not.
    pub(crate) fn is_goodbye(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let goodbyes = [BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof];
        matches!(self, Self::Kernel(error) if goodbyes.contains(&error.kind()))
    }
}

/// What became of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    None,
    Up,
    Lost,
}

impl Link {
    /// A link that is still to be made; `answered` if the other end owes an answer to what is sent.
    pub(crate) fn new(address: SocketAddr, token: Token, answered: bool) -> Self {
        let state = State::Down { until: Timestamp::default() };
        Self { address, token, answered, state, retry: Retry::default(), told: false }
    }

    /// The other end may be back: a pause before it is tried again is over.
    pub(crate) fn try_now(&mut self) {
        if let State::Down { until } = &mut self.state {
            *until = Timestamp::default();
            self.retry.forget();
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// Notes what an event says.
    pub(crate) fn note(&mut self, event: &Event) {
        if let State::Up { wire, .. } | State::Greeting { wire, .. } = &mut self.state {
            wire.note(event);
        }
    }

    /// Whether it has more to read than one turn takes.
    pub(crate) fn has_more(&self) -> bool {
        match &self.state {
            State::Up { wire, .. } | State::Greeting { wire, .. } => wire.has_more(),
            State::Down { .. } => false,
        }
    }

    /// Connects if it is time to, and otherwise goes on: takes in what came and introduces itself. `accept` judges who
    /// answers.
    pub(crate) fn attend(
        &mut self,
        now: Timestamp,
        registry: &Registry,
        own: &Handshake,
        accept: impl FnOnce(&Handshake) -> Result<(), LinkRefusal>,
    ) -> Change {
        let result = match &self.state {
            State::Down { until } if now < *until => Ok(Change::None),
            State::Down { .. } => self.connect(now, registry, own).map(|()| Change::None),
            State::Greeting { .. } => self.greet(now, accept),
            State::Up { .. } => self.listen(now),
        };
        result.unwrap_or_else(|error| self.lose(now, &error))
    }

    /// What came and is whole.
    pub(crate) fn wire(&mut self) -> Option<&mut Wire> {
        match &mut self.state {
            State::Up { wire, .. } => Some(wire),
            State::Down { .. } | State::Greeting { .. } => None,
        }
    }

    /// Sends `staged` and what else is to be sent; what a link that is not up is given is dropped.
    pub(crate) fn send(&mut self, staged: &mut Vec<u8>, now: Timestamp) -> Change {
        let State::Up { wire, sent_at, silent_since } = &mut self.state else {
            staged.clear();
            return Change::None;
        };
        wire.send(staged);
        if wire.waiting_bytes() == 0 {
            if !self.answered || now < sent_at.after(HEARTBEAT_INTERVAL) {
                return Change::None;
            }
            encode_heartbeat(Heartbeat::Call, wire.output());
        }
        *sent_at = now;
        if self.answered {
            silent_since.get_or_insert(now);
        }
        match wire.flush() {
            Ok(()) => Change::None,
            Err(error) => self.lose(now, &error.into()),
        }
    }

    /// Ends it, to be made anew later.
    pub(crate) fn lose(&mut self, now: Timestamp, error: &LinkError) -> Change {
        let was_up = self.is_up();
        self.state = State::Down { until: now.after(self.retry.pause()) };
        if was_up {
            tracing::warn!("lost the link to {}: {error}", self.address);
        } else if !self.told {
            tracing::warn!("cannot reach {}: {error}; trying on", self.address);
        }
        self.told = !was_up;
        if was_up { Change::Lost } else { Change::None }
    }

    fn connect(&mut self, now: Timestamp, registry: &Registry, own: &Handshake) -> Result<(), LinkError> {
        let mut stream = TcpStream::connect(self.address)?;
        registry.register(&mut stream, self.token, Interest::READABLE | Interest::WRITABLE)?;
        let mut wire = Wire::new(stream);
        wire.output().extend_from_slice(&encode_handshake(own));
        self.state = State::Greeting { wire, since: now };
        Ok(())
    }

    fn greet(
        &mut self,
        now: Timestamp,
        accept: impl FnOnce(&Handshake) -> Result<(), LinkRefusal>,
    ) -> Result<Change, LinkError> {
        let State::Greeting { wire, since } = &mut self.state else { return Ok(Change::None) };
        if now > since.after(HANDSHAKE_TIMEOUT) {
            return Err(LinkError::NoHandshake);
        }
        if let Some(error) = wire.stream().take_error()? {
            return Err(error.into());
        }
        match wire.flush() {
            // Not connected yet; its end is told by an event.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(Change::None),
            result => result?,
        }
        let ended = wire.receive();
        let Some(bytes) = wire.take::<HANDSHAKE_BYTES>() else { return Ok(ended.map(|_| Change::None)?) };
        let theirs = decode_handshake(&bytes)?;
        match theirs.purpose {
            Purpose::Welcome => accept(&theirs).map_err(LinkError::Refused)?,
            Purpose::Refused(reason) => return Err(LinkError::Refused(reason)),
            Purpose::Hello | Purpose::Control | Purpose::Join => return Err(LinkError::Misplaced),
        }
        wire.stream().set_nodelay(true)?;
        let down = State::Down { until: now };
        if let State::Greeting { wire, .. } = std::mem::replace(&mut self.state, down) {
            self.state = State::Up { wire, sent_at: now, silent_since: None };
        }
        tracing::info!("linked to {}", self.address);
        self.retry.forget();
        self.told = false;
        Ok(Change::Up)
    }

    fn listen(&mut self, now: Timestamp) -> Result<Change, LinkError> {
        let State::Up { wire, silent_since, .. } = &mut self.state else { return Ok(Change::None) };
        if wire.receive()? > 0 {
            *silent_since = None;
        } else if silent_since.is_some_and(|since| now > since.after(SILENCE_MAX)) {
            return Err(LinkError::Silent);
        }
        Ok(Change::None)
    }
}
