//! The requests of one connection that wait for replicas: several at once, answered in the order in which they came.
//!
//! Invariant: a reply is written when all before it have been, so a client sees what it would see if each request had
//! waited for the one before it. Requests about one key are not under way together; whoever begins them sees to that
//! with [`Conversation::concerns`].

use std::collections::VecDeque;

use crate::message::RequestId;
use crate::protocol::resp::reply;
use crate::server::replication::{OperationResult, batch};
use crate::types::KeyHash;

/// The requests under way, the oldest first.
#[derive(Default)]
pub(crate) struct Conversation {
    /// The number of the oldest.
    first: u64,
    awaited: VecDeque<Awaited>,
}

/// How the replies to its parts become the reply to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Combine {
    /// There is one.
    One,
    /// They stand in an array.
    Array,
    /// All say OK, or one says why not.
    AllOk,
    /// Their sum, or why one is missing.
    Sum,
    /// They are the outcomes of a batch.
    Batch {
        /// Of this id.
        id: RequestId,
        /// The answer has this many bytes at most.
        bytes_max: u32,
    },
}

struct Awaited {
    /// Its key, if it has one only.
    hash: Option<KeyHash>,
    combine: Combine,
    missing: u32,
    parts: Vec<Vec<u8>>,
    /// The first part that was not done made it this.
    result: OperationResult,
    /// The client wants no answer.
    silent: bool,
}

impl Conversation {
    /// Whether nothing is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.awaited.is_empty()
    }

    /// Requests under way.
    pub(crate) fn len(&self) -> usize {
        self.awaited.len()
    }

    /// Whether a request about this key has to wait for one that is under way.
    pub(crate) fn concerns(&self, hash: KeyHash) -> bool {
        self.awaited
            .iter()
            .any(|awaited| awaited.missing > 0 && awaited.hash.is_none_or(|other| other == hash))
    }

    /// Adds a request of so many parts; returns its number.
    pub(crate) fn add(&mut self, hash: Option<KeyHash>, combine: Combine, parts: u32, silent: bool) -> u64 {
        let result = OperationResult::Done;
        self.awaited.push_back(Awaited { hash, combine, missing: parts, parts: Vec::new(), result, silent });
        self.first + self.awaited.len() as u64 - 1
    }

    /// Takes the reply to a part, and writes to `out` what can be told now. Returns what became of a request that has
    /// been answered by it: it was the last part, or is a request by itself.
    pub(crate) fn accept(
        &mut self,
        sequence: u64,
        part: u32,
        (bytes, result): (&[u8], OperationResult),
        out: &mut Vec<u8>,
    ) -> Option<OperationResult> {
        let place = sequence.checked_sub(self.first)? as usize;
        let awaited = self.awaited.get_mut(place)?;
        awaited.missing = awaited.missing.saturating_sub(1);
        if awaited.result == OperationResult::Done {
            awaited.result = result;
        }
        let answered = match awaited.combine {
            Combine::Batch { .. } => Some(result),
            _ => (awaited.missing == 0).then_some(awaited.result),
        };
        if place == 0 && awaited.combine == Combine::One {
            if !awaited.silent {
                out.extend_from_slice(bytes);
            }
            self.awaited.pop_front();
            self.first += 1;
        } else {
            if awaited.parts.len() <= part as usize {
                awaited.parts.resize(part as usize + 1, Vec::new());
            }
            awaited.parts[part as usize] = bytes.to_vec();
        }
        while let Some(awaited) = self.awaited.front().filter(|awaited| awaited.missing == 0) {
            if !awaited.silent {
                awaited.write(out);
            }
            self.awaited.pop_front();
            self.first += 1;
        }
        answered
    }
}

impl Awaited {
    fn write(&self, out: &mut Vec<u8>) {
        let error = || self.parts.iter().find(|part| part.starts_with(b"-"));
        match self.combine {
            Combine::One => self.parts.iter().for_each(|part| out.extend_from_slice(part)),
            Combine::Batch { id, bytes_max } => batch::write(id, bytes_max, &self.parts, out),
            Combine::Array => {
                reply::array_head(out, self.parts.len());
                self.parts.iter().for_each(|part| out.extend_from_slice(part));
            }
            Combine::AllOk | Combine::Sum if error().is_some() => {
                out.extend_from_slice(error().expect("just seen"));
            }
            Combine::AllOk => reply::ok(out),
            Combine::Sum => {
                let number = |part: &Vec<u8>| {
                    let digits = part.strip_prefix(b":")?.strip_suffix(b"\r\n")?;
                    crate::operation::parse_integer(digits)
                };
                reply::integer(out, self.parts.iter().filter_map(number).sum());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: OperationResult = OperationResult::Done;

    #[test]
    fn replies_leave_in_the_order_of_the_requests_whatever_comes_first() {
        let mut conversation = Conversation::default();
        let mut out = Vec::new();
        let first = conversation.add(Some(KeyHash(1)), Combine::One, 1, false);
        let second = conversation.add(Some(KeyHash(2)), Combine::One, 1, true);
        let third = conversation.add(None, Combine::Array, 2, false);
        let fourth = conversation.add(Some(KeyHash(4)), Combine::One, 1, false);
        assert!(conversation.concerns(KeyHash(9)), "the third may be about any key");
        conversation.accept(fourth, 0, (b"+four\r\n", DONE), &mut out);
        conversation.accept(third, 1, (b"$1\r\nb\r\n", DONE), &mut out);
        conversation.accept(second, 0, (b"+two\r\n", DONE), &mut out);
        assert!(out.is_empty());
        conversation.accept(first, 0, (b"+one\r\n", DONE), &mut out);
        assert_eq!(out, b"+one\r\n", "the second is silent, the third is not whole");
        conversation.accept(third, 0, (b"$1\r\na\r\n", DONE), &mut out);
        assert_eq!(out, b"+one\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n+four\r\n");
        assert!(conversation.is_empty());
        let fifth = conversation.add(Some(KeyHash(5)), Combine::One, 1, false);
        assert_eq!(fifth, 4);
        assert!(conversation.concerns(KeyHash(5)) && !conversation.concerns(KeyHash(6)));
    }

    #[test]
    fn parts_become_one_reply() {
        let whole = |combine, parts: &[&[u8]]| {
            let (mut conversation, mut out) = (Conversation::default(), Vec::new());
            let sequence = conversation.add(None, combine, parts.len() as u32, false);
            for (part, bytes) in parts.iter().enumerate() {
                conversation.accept(sequence, part as u32, (bytes, DONE), &mut out);
            }
            out
        };
        assert_eq!(whole(Combine::Sum, &[b":1\r\n", b":0\r\n", b":1\r\n"]), b":2\r\n");
        assert_eq!(whole(Combine::Sum, &[b":1\r\n", b"-TIMEOUT x\r\n"]), b"-TIMEOUT x\r\n");
        assert_eq!(whole(Combine::AllOk, &[b"+OK\r\n", b"+OK\r\n"]), b"+OK\r\n");
        assert_eq!(whole(Combine::AllOk, &[b"+OK\r\n", b"-OOM x\r\n"]), b"-OOM x\r\n");
    }
}
