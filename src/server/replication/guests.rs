//! The links that other nodes have to this worker: who is let in, and when each has its turn.
//!
//! Invariant: so many are open at most; whoever is refused, for whatever reason, is logged with the cause. What a guest
//! asks is its own business ([`Guest`]).

use std::io;

use mio::event::Event;
use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use slab::Slab;

use super::errands::OwnedProposal;
use super::guest::{Guest, Host, Inquiries, Welcome};
use super::{GUESTS, PEER_LISTENER};
use crate::config::link::GUESTS_MAX;
use crate::server::control;
use crate::server::link::{Complaints, LinkError};
use crate::types::{NodeNumber, Timestamp};

/// What complaints call them.
const WHOM: &str = "another node";

/// All of one worker's.
pub(super) struct Guests {
    listener: TcpListener,
    /// The kernel may hold links to accept.
    accepting: bool,
    guests: Slab<Guest>,
    /// How many there have been.
    seen: u64,
    /// Those that have something to do.
    queued: Vec<usize>,
    complaints: Complaints,
    /// What they asked.
    pub(super) inquiries: Inquiries,
}

/// What guests want that is not theirs to do.
#[derive(Default)]
pub(super) struct Heard {
    /// What is to be proposed, by the slots and numbers of their links.
    pub(super) proposals: Vec<(usize, u64, OwnedProposal)>,
    /// Who has been let in.
    pub(super) newcomers: Vec<NodeNumber>,
}

impl Guests {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            accepting: false,
            guests: Slab::new(),
            seen: 0,
            queued: Vec::new(),
            complaints: Complaints::default(),
            inquiries: Inquiries::default(),
        }
    }

    /// Starts to listen.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        registry.register(&mut self.listener, PEER_LISTENER, Interest::READABLE)
    }

    pub(super) fn note_listener(&mut self) {
        self.accepting = true;
    }

    /// Notes what an event says of the guest in a slot.
    pub(super) fn note(&mut self, slot: usize, event: &Event) {
        let Some(guest) = self.guests.get_mut(slot) else { return };
        guest.note(event);
        if !guest.queued {
            guest.queued = true;
            self.queued.push(slot);
        }
    }

    /// Whether there is more to do than one turn takes.
    pub(super) fn has_more(&self) -> bool {
        self.accepting || !self.queued.is_empty()
    }

    pub(super) fn accept(&mut self, now: Timestamp, registry: &Registry) {
        while self.accepting {
            let Ok((mut stream, _)) = self.listener.accept() else {
                // What could not be accepted is tried again at the next event.
                self.accepting = false;
                return;
            };
            if self.guests.len() >= GUESTS_MAX {
                self.complaints.tell(now, WHOM, &LinkError::TooMany(GUESTS_MAX));
                continue;
            }
            let entry = self.guests.vacant_entry();
            let token = Token(GUESTS + entry.key());
            match registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE) {
                Ok(()) => {
                    self.seen += 1;
                    entry.insert(Guest::new(stream, now, self.seen));
                }
                Err(error) => self.complaints.tell(now, WHOM, &error),
            }
        }
    }

    /// Gives each that has something to do its turn.
    pub(super) fn attend(&mut self, now: Timestamp, host: &Host<'_>, registry: &Registry, heard: &mut Heard) {
        let mut queued = std::mem::take(&mut self.queued);
        for slot in queued.drain(..) {
            let Some(guest) = self.guests.get_mut(slot) else { continue };
            guest.queued = false;
            let (before, serial, mut proposals) = (guest.node(), guest.serial, Vec::new());
            let attended = guest.attend(host, &mut proposals, &mut self.inquiries);
            heard.newcomers.extend(guest.node().filter(|_| before.is_none()));
            heard.proposals.extend(proposals.into_iter().map(|proposal| (slot, serial, proposal)));
            match attended {
                Ok(Welcome::Stays) if guest.has_more() => {
                    guest.queued = true;
                    self.queued.push(slot);
                }
                Ok(Welcome::Stays) => {}
                Ok(Welcome::SpeaksOfTheCluster(theirs)) => match self.guests.remove(slot).into_stream() {
                    None => self.complaints.tell(now, WHOM, &LinkError::Hasty),
                    Some(mut stream) => {
                        if registry.deregister(&mut stream).is_ok() {
                            // A control thread that has too much to do is asked again: the other end tries on.
                            let _ = host.roster.control.send(control::Message::Serve(stream, theirs));
                        }
                    }
                },
                Err(error) => {
                    self.guests.remove(slot);
                    if !error.is_goodbye() {
                        self.complaints.tell(now, WHOM, &error);
                    }
                }
            }
        }
        // Pushed to meanwhile: those with more than one turn takes.
        if self.queued.is_empty() {
            self.queued = queued;
        }
    }

    /// Closes the links of those who have not said who they are in time.
    pub(super) fn dismiss_late(&mut self, now: Timestamp) {
        let complaints = &mut self.complaints;
        self.guests.retain(|_, guest| {
            let late = guest.is_late(now);
            if late {
                complaints.tell(now, WHOM, &LinkError::NoHandshake);
            }
            !late
        });
    }

    /// Sends a guest an answer that took its time, if it is still there.
    pub(super) fn tell(&mut self, now: Timestamp, slot: usize, serial: u64, answer: &[u8]) {
        let guest = self.guests.get_mut(slot).filter(|guest| guest.serial == serial);
        if let Some(Err(error)) = guest.map(|guest| guest.tell(answer)) {
            self.guests.remove(slot);
            if !error.is_goodbye() {
                self.complaints.tell(now, WHOM, &error);
            }
        }
    }
}
