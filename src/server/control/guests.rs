//! The control links that other nodes have to this one.
//!
//! Invariant: each has introduced itself before it gets here; one that says what is no control message is closed.

use std::time::Duration;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use slab::Slab;

use super::{Said, Source};
use crate::config::control::GUESTS_MAX;
use crate::protocol::Limits;
use crate::protocol::control::{CONTROL_BYTES_MAX, decode_control};
use crate::protocol::handshake::{Handshake, Purpose, encode_handshake};
use crate::server::link::{Complaints, LinkError, Wire};
use crate::server::roster::Roster;
use crate::types::{NodeNumber, Timestamp};

/// The token of the guest in slot 0.
const FIRST: usize = 1;

/// How long a process that joins may say nothing.
const JOIN_SILENCE_MAX: Duration = Duration::from_secs(10);

struct Guest {
    wire: Wire,
    /// Who it is, unless it only wants to join.
    node: Option<NodeNumber>,
    since: Timestamp,
}

/// All of them.
#[derive(Default)]
pub(super) struct Guests {
    guests: Slab<Guest>,
    complaints: Complaints,
}

/// What complaints call somebody.
fn whom(node: Option<NodeNumber>) -> String {
    match node {
        Some(node) => format!("what says that it is node {}", node.0),
        None => "a process that was to join".to_owned(),
    }
}

impl Guests {
    /// Answers somebody's introduction, and keeps the link if it is welcome; returns whether it is a node's.
    pub(super) fn welcome(
        &mut self,
        now: Timestamp,
        roster: &Roster,
        registry: &Registry,
        mut stream: TcpStream,
        theirs: &Handshake,
    ) -> bool {
        let judged = roster.accept_control(theirs);
        let purpose = judged.map_or_else(Purpose::Refused, |()| Purpose::Welcome);
        let entry = self.guests.vacant_entry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if entry.key() >= GUESTS_MAX {
            self.complaints.tell(now, &whom(None), &LinkError::TooMany(GUESTS_MAX));
            return false;
        }
        if let Err(error) = registry.register(&mut stream, Token(FIRST + entry.key()), interest) {
            self.complaints.tell(now, &whom(None), &error);
            return false;
        }
        // Without it, each answer would wait for the one before to be confirmed.
        let _ = stream.set_nodelay(true);
        let mut wire = Wire::new(stream);
        wire.output().extend_from_slice(&encode_handshake(&Handshake { purpose, ..roster.own }));
        let sent = wire.flush();
        if let Err(refusal) = judged {
            self.complaints.tell(now, &whom(Some(theirs.node)), &refusal);
            return false;
        }
        let node = (theirs.purpose == Purpose::Control).then_some(theirs.node);
        if sent.is_ok() {
            entry.insert(Guest { wire, node, since: now });
        }
        node.is_some()
    }

    pub(super) fn note(&mut self, token: usize, event: &Event) {
        if let Some(guest) = self.guests.get_mut(token - FIRST) {
            guest.wire.note(event);
        }
    }

    pub(super) fn has_more(&self) -> bool {
        self.guests.iter().any(|(_, guest)| guest.wire.has_more())
    }

    /// Takes in what they say.
    pub(super) fn attend(&mut self, now: Timestamp, said: &mut Vec<(Source, Said)>) {
        let limits = Limits { frame_bytes_max: CONTROL_BYTES_MAX, ..Limits::default() };
        let complaints = &mut self.complaints;
        self.guests.retain(|slot, guest| {
            let received = guest.wire.receive();
            let understood = guest.wire.frames(&limits, |frame, _| {
                said.push((Source::Guest(slot), decode_control(frame)?));
                Ok::<(), LinkError>(())
            });
            let ended = understood.err().or(received.err().map(LinkError::from));
            if let Some(error) = ended.as_ref().filter(|error| !error.is_goodbye()) {
                complaints.tell(now, &whom(guest.node), error);
            }
            let late = guest.node.is_none() && now > guest.since.after(JOIN_SILENCE_MAX);
            if late && ended.is_none() {
                complaints.tell(now, &whom(None), &LinkError::NotJoining);
            }
            ended.is_none() && !late
        });
    }

    pub(super) fn wire(&mut self, slot: usize) -> Option<&mut Wire> {
        self.guests.get_mut(slot).map(|guest| &mut guest.wire)
    }

    /// Who has the link in a slot, unless it only wants to join.
    pub(super) fn node(&self, slot: usize) -> Option<NodeNumber> {
        self.guests.get(slot).and_then(|guest| guest.node)
    }

    /// The link that a node has to this one: the newest, if it has made it anew.
    pub(super) fn wire_of(&mut self, node: NodeNumber) -> Option<&mut Wire> {
        let found = self.guests.iter_mut().filter(|(_, guest)| guest.node == Some(node));
        found.max_by_key(|(_, guest)| guest.since).map(|(_, guest)| &mut guest.wire)
    }

    pub(super) fn send(&mut self) {
        self.guests.retain(|_, guest| guest.wire.flush().is_ok());
    }
}
