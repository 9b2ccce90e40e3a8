//! A link that another node has to this worker: inquiries come in, answers go out.
//!
//! Invariant: no inquiry is looked at before the guest has introduced itself as a node of this cluster, in the life
//! that is known of it; each then gets exactly one answer, in the order in which they came. Proposals are answered when
//! they have been carried out.

use mio::event::Event;
use mio::net::TcpStream;

use crate::cluster::replica::Replica;
use crate::cluster::view::View;
use crate::config::link::HANDSHAKE_TIMEOUT;
use crate::message::peer::{Answer, Verdict};
use crate::protocol::Limits;
use crate::protocol::acknowledgement::AnswerWriter;
use crate::protocol::handshake::{
    HANDSHAKE_BYTES, Handshake, LinkRefusal, Purpose, decode_handshake, encode_handshake,
};
use crate::protocol::peer::{Heartbeat, PeerMessage, decode_peer, encode_heartbeat};
use crate::protocol::{Field, ProtocolError};
use crate::server::link::{LinkError, Wire};
use crate::server::replication::errands::OwnedProposal;
use crate::server::replication::lookahead::Lookahead;
use crate::server::replication::streaming::hand_over;
use crate::server::replication::walks::list_for;
use crate::server::roster::Roster;
use crate::store::Store;
use crate::types::{NodeNumber, Timestamp, WallTime};

/// Whether a guest is this worker's.
pub(super) enum Welcome {
    /// It is.
    Stays,
    /// It is the control thread's, which has yet to answer this introduction.
    SpeaksOfTheCluster(Handshake),
}

/// A link, from the side that answers.
pub(super) struct Guest {
    wire: Wire,
    since: Timestamp,
    welcomed: bool,
    /// It is in the list of those that have something to do.
    pub(super) queued: bool,
    /// Tells it from those that had its slot before.
    pub(super) serial: u64,
    /// Who it is, once it is welcome.
    node: NodeNumber,
}

/// How many inquiries of other nodes were answered.
#[derive(Clone, Copy, Default)]
pub(super) struct Inquiries {
    /// All of them.
    pub(super) served: u64,
    /// Those that were refused: they changed nothing.
    pub(super) refused: u64,
}

/// What a guest is served from.
pub(super) struct Host<'h> {
    pub(super) roster: &'h Roster,
    pub(super) replica: &'h Replica,
    pub(super) view: &'h View,
    pub(super) store: &'h Store,
    pub(super) wall: WallTime,
    pub(super) limits: &'h Limits,
}

impl Guest {
    pub(super) fn new(stream: TcpStream, now: Timestamp, serial: u64) -> Self {
        Self {
            wire: Wire::new(stream),
            since: now,
            welcomed: false,
            queued: false,
            serial,
            node: NodeNumber(0),
        }
    }

    /// Notes what an event says.
    pub(super) fn note(&mut self, event: &Event) {
        self.wire.note(event);
    }

    pub(super) fn has_more(&self) -> bool {
        self.wire.has_more()
    }

    /// Who it is, once it is welcome.
    pub(super) fn node(&self) -> Option<NodeNumber> {
        self.welcomed.then_some(self.node)
    }

    /// Whether it has not said in time who it is.
    pub(super) fn is_late(&self, now: Timestamp) -> bool {
        !self.welcomed && now > self.since.after(HANDSHAKE_TIMEOUT)
    }

    /// Sends an answer that took its time.
    ///
    /// # Errors
    /// The link is to be closed.
    pub(super) fn tell(&mut self, answer: &[u8]) -> Result<(), LinkError> {
        self.wire.output().extend_from_slice(answer);
        self.wire.flush()?;
        Ok(())
    }

    /// Takes in what came, answers it and sends the answers; adds what is to be proposed to `proposals`.
    ///
    /// # Errors
    /// The link is to be closed.
    pub(super) fn attend(
        &mut self,
        host: &Host<'_>,
        proposals: &mut Vec<OwnedProposal>,
        inquiries: &mut Inquiries,
    ) -> Result<Welcome, LinkError> {
        let Host { roster, store, limits, .. } = *host;
        let ended = self.wire.receive();
        if !self.welcomed {
            let Some(bytes) = self.wire.take::<HANDSHAKE_BYTES>() else {
                return Ok(ended.map(|_| Welcome::Stays)?);
            };
            if let Some(theirs) = self.welcome(&bytes, roster)? {
                return Ok(Welcome::SpeaksOfTheCluster(theirs));
            }
        }
        let node = self.node;
        let mut answers = Answers { writer: AnswerWriter::default(), inquiries };
        self.wire.frames_together(limits, |frames, output| {
            let mut ahead = Lookahead::default();
            for frame in frames.iter().flatten() {
                ahead.add(decode_peer(*frame, limits)?, store);
            }
            ahead
                .messages(store)
                .try_for_each(|message| serve(node, message, host, proposals, &mut answers, output))
        })?;
        self.wire.flush()?;
        Ok(ended.map(|_| Welcome::Stays)?)
    }

    /// The socket, if nothing was read of it that was not used.
    pub(super) fn into_stream(self) -> Option<TcpStream> {
        self.wire.into_stream()
    }

    /// Hears who it is and tells it whether it is welcome; or says that this is not for it to tell.
    fn welcome(
        &mut self,
        bytes: &[u8; HANDSHAKE_BYTES],
        roster: &Roster,
    ) -> Result<Option<Handshake>, LinkError> {
        let judged = match decode_handshake(bytes) {
            Ok(theirs) if matches!(theirs.purpose, Purpose::Control | Purpose::Join) => {
                return Ok(Some(theirs));
            }
            Ok(theirs) if theirs.purpose == Purpose::Hello => {
                self.node = theirs.node;
                roster.accept(&theirs)
            }
            Ok(_) => return Err(LinkError::Misplaced),
            Err(ProtocolError { field: Field::ProtocolVersion, .. }) => Err(LinkRefusal::Version),
            Err(error) => return Err(error.into()),
        };
        let purpose = judged.map_or_else(Purpose::Refused, |()| Purpose::Welcome);
        self.wire.output().extend_from_slice(&encode_handshake(&Handshake { purpose, ..roster.own }));
        self.wire.flush()?;
        judged.map_err(LinkError::Refused)?;
        self.wire.stream().set_nodelay(true)?;
        self.welcomed = true;
        Ok(None)
    }
}

/// Where answers go, and are counted.
struct Answers<'i> {
    writer: AnswerWriter,
    inquiries: &'i mut Inquiries,
}

impl Answers<'_> {
    #[inline]
    fn add(&mut self, answer: &Answer<'_>, output: &mut Vec<u8>) {
        self.inquiries.served += 1;
        self.inquiries.refused += u64::from(matches!(answer.verdict, Verdict::Refused(_)));
        self.writer.write(answer, output);
    }
}

/// Does what another node asks, and appends the answer to `output`.
fn serve(
    node: NodeNumber,
    message: &PeerMessage<'_>,
    host: &Host<'_>,
    proposals: &mut Vec<OwnedProposal>,
    answers: &mut Answers<'_>,
    output: &mut Vec<u8>,
) -> Result<(), LinkError> {
    let Host { roster, replica, view, store, wall, .. } = *host;
    match message {
        PeerMessage::Inquiry(inquiry) => {
            inquiry.task.version().into_iter().for_each(|version| roster.want(version.stamp.wall()));
            replica.serve(inquiry, store, wall, |answer| answers.add(&answer, output));
        }
        PeerMessage::Proposal(proposal) => proposals.push(OwnedProposal::of(proposal)),
        PeerMessage::Fetch(fetch) => hand_over(node, fetch, roster, replica, view, store, output),
        PeerMessage::List(list) => list_for(list, replica, view, store, output),
        PeerMessage::Heartbeat(Heartbeat::Call) => encode_heartbeat(Heartbeat::Response, output),
        PeerMessage::Answer(_)
        | PeerMessage::Acknowledgement(_)
        | PeerMessage::Page(_)
        | PeerMessage::Listing(_)
        | PeerMessage::Heartbeat(Heartbeat::Response) => return Err(LinkError::Misplaced),
    }
    Ok(())
}
