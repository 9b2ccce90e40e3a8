//! What of a message is heeded: what is about nodes of the topology, in their present incarnation or a newer one.
//!
//! Invariant: the library never learns of any other node, nor of an older incarnation; a message is heeded only if it
//! is whole and its sender is who the link says. It judges who is spoken of, not what is said.

use std::borrow::Cow;

use foca::{Codec, Message, State};

use crate::cluster::deviation::Deviation;
use crate::config::gossip::MESSAGE_BYTES_MAX;
use crate::message::gossip::Peer;
use crate::types::NodeNumber;

/// These bytes are no message.
pub(super) struct NoGossip;

/// Where a message came from, and to whom.
pub(super) struct Hearsay {
    pub(super) from: NodeNumber,
    /// Who this node is now.
    pub(super) own: Peer,
    pub(super) deviation: Deviation,
}

impl Hearsay {
    /// The message in `bytes` without what is said of others than those `known`; `None` if nothing of it is heeded.
    pub(super) fn sift<'a, C: Codec<Peer>>(
        &self,
        codec: &mut C,
        bytes: &'a [u8],
        known: impl Fn(&Peer) -> bool,
    ) -> Result<Option<Cow<'a, [u8]>>, NoGossip> {
        if bytes.len() > MESSAGE_BYTES_MAX.get() {
            return Err(NoGossip);
        }
        let known = |peer: &Peer| known(peer) || self.deviation == Deviation::StrangersBelieved;
        let mut rest = bytes;
        let header = codec.decode_header(&mut rest).map_err(|_| NoGossip)?;
        let about = match header.message {
            Message::PingReq { target, .. } | Message::IndirectAck { target, .. } => Some(target),
            Message::IndirectPing { origin, .. } | Message::ForwardedAck { origin, .. } => Some(origin),
            _ => None,
        };
        let (head, mut kept) = (&bytes[..bytes.len() - rest.len()], Vec::new());
        let mut heeded = 0_u16;
        let told = match rest.split_first_chunk::<2>() {
            Some((&told, members)) => {
                rest = members;
                u16::from_be_bytes(told)
            }
            None if rest.is_empty() => 0,
            None => return Err(NoGossip),
        };
        for _ in 0..told {
            let before = rest;
            let member = codec.decode_member(&mut rest).map_err(|_| NoGossip)?;
            let heeds = if member.id().node == self.own.node {
                // What it was, it is no more; and what it is to be, the topology tells those who start it.
                *member.id() == self.own && !(member.state() == State::Down && self.is_deaf())
            } else {
                known(member.id())
            };
            if heeds {
                heeded += 1;
                kept.extend_from_slice(&before[..before.len() - rest.len()]);
            }
        }
        if !rest.is_empty() {
            return Err(NoGossip);
        }
        let deaf = header.message == Message::TurnUndead && self.is_deaf();
        if header.src.node != self.from
            || !known(&header.src)
            || about.is_some_and(|one| !known(&one))
            || deaf
        {
            return Ok(None);
        }
        if heeded == told {
            return Ok(Some(Cow::Borrowed(bytes)));
        }
        Ok(Some(Cow::Owned([head, &heeded.to_be_bytes(), &kept].concat())))
    }

    fn is_deaf(&self) -> bool {
        self.deviation == Deviation::RenewalSkipped
    }
}
