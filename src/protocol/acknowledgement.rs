//! Answers of a replica, to bytes: those that say "applied" of inquiries that came together are one frame.
//!
//! Invariant: what a frame says of several operations is what as many frames would have said, in their order. Most
//! answers to a pipeline of writes are these, and one of them costs eight bytes rather than a frame.

use super::codec::{Malformed, Reader};
use super::frame::{LENGTH_BYTES, begin_frame, finish_frame};
use super::peer::{encode_answer, kind, put_head};
use super::{Fault, Field};
use crate::message::peer::{Answer, OperationId, Verdict};

/// Operations of one frame, at most.
const OPERATIONS_MAX: usize = 4096;

/// Bytes of an operation.
const OPERATION_BYTES: usize = 8;

/// Several operations of which a replica has applied what it was asked to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acknowledgement<'a> {
    /// Whether each key had a value before that had not expired.
    pub existed: bool,
    first: OperationId,
    /// The others, still encoded.
    others: &'a [u8],
}

impl<'a> Acknowledgement<'a> {
    /// What is said of each operation.
    pub fn answers(self) -> impl Iterator<Item = Answer<'a>> {
        let (others, _) = self.others.as_chunks::<OPERATION_BYTES>();
        let number = |bytes: &[u8]| u32::from_le_bytes(*bytes.first_chunk().expect("a half of eight bytes"));
        let others = others
            .iter()
            .map(move |bytes| OperationId { slot: number(&bytes[..4]), round: number(&bytes[4..]) });
        let verdict = Verdict::Applied { existed: self.existed };
        std::iter::once(self.first).chain(others).map(move |operation| Answer { operation, verdict })
    }

    /// Reads what stands behind the first of several operations.
    pub(super) fn decode(
        existed: bool,
        first: OperationId,
        reader: Reader<'a>,
    ) -> Result<Acknowledgement<'a>, Malformed> {
        let others = reader.rest();
        if !others.len().is_multiple_of(OPERATION_BYTES) {
            return Err(Malformed::new(Field::Operands, Fault::Truncated));
        }
        if others.len() >= OPERATIONS_MAX * OPERATION_BYTES {
            return Err(Malformed::new(Field::Operands, Fault::TooLarge));
        }
        Ok(Self { existed, first, others })
    }
}

/// Writes answers behind each other.
#[derive(Default)]
pub struct AnswerWriter {
    /// The frame at the end that more can be added to.
    open: Option<Open>,
}

struct Open {
    existed: bool,
    start: usize,
    end: usize,
}

impl AnswerWriter {
    /// Appends `answer` to `out`, from whose front nothing may be taken as long as this is used.
    #[inline]
    pub fn write(&mut self, answer: &Answer<'_>, out: &mut Vec<u8>) {
        let Verdict::Applied { existed } = answer.verdict else { return encode_answer(answer, out) };
        let start = match &self.open {
            Some(open) if open.takes(existed, out.len()) => {
                let OperationId { slot, round } = answer.operation;
                out.extend_from_slice(&slot.to_le_bytes());
                out.extend_from_slice(&round.to_le_bytes());
                open.start
            }
            _ => {
                let start = begin_frame(out);
                put_head(kind::APPLIED, u8::from(existed), 0, answer.operation, out);
                start
            }
        };
        finish_frame(start, 0, out);
        self.open = Some(Open { existed, start, end: out.len() });
    }
}

impl Open {
    /// Whether something that is to stand at `end` can be added.
    fn takes(&self, existed: bool, end: usize) -> bool {
        let full = self.end - self.start > LENGTH_BYTES + OPERATIONS_MAX * OPERATION_BYTES;
        self.existed == existed && self.end == end && !full
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Limits;
    use crate::protocol::frame::{Split, split_frame};
    use crate::protocol::peer::{PeerMessage, decode_peer};

    fn applied(slot: u32, existed: bool) -> Answer<'static> {
        Answer { operation: OperationId { slot, round: slot * 3 }, verdict: Verdict::Applied { existed } }
    }

    fn refused(slot: u32) -> Answer<'static> {
        let verdict = Verdict::Refused(crate::message::peer::Obstacle::Drift);
        Answer { operation: OperationId { slot, round: 1 }, verdict }
    }

    fn write(answers: &[Answer<'static>]) -> Vec<u8> {
        let (mut writer, mut out) = (AnswerWriter::default(), Vec::new());
        answers.iter().for_each(|answer| writer.write(answer, &mut out));
        out
    }

    /// What `bytes` say, and in how many frames.
    fn read(mut bytes: &[u8]) -> (Vec<String>, usize) {
        let (mut said, mut frames) = (Vec::new(), 0);
        while let Ok(Split::Frame(frame)) = split_frame(bytes, &Limits::default()) {
            match decode_peer(frame, &Limits::default()) {
                Ok(PeerMessage::Answer(answer)) => said.push(format!("{answer:?}")),
                Ok(PeerMessage::Acknowledgement(many)) => {
                    said.extend(many.answers().map(|answer| format!("{answer:?}")));
                }
                other => panic!("{other:?}"),
            }
            frames += 1;
            bytes = &bytes[frame.bytes_total()..];
        }
        assert!(bytes.is_empty());
        (said, frames)
    }

    #[test]
    fn what_is_said_of_many_is_what_is_said_of_each() {
        let kinds = [applied(1, true), applied(2, true), applied(3, false), refused(4), applied(5, false)];
        // Every order of up to six of these, so that runs begin and end everywhere.
        for order in 0..5_usize.pow(6) {
            let answers: Vec<_> = (0..6).map(|place| kinds[order / 5_usize.pow(place) % 5]).collect();
            let (said, frames) = read(&write(&answers));
            assert_eq!(said, answers.iter().map(|answer| format!("{answer:?}")).collect::<Vec<_>>());
            assert!(frames <= answers.len());
        }
        assert_eq!(read(&write(&[applied(1, true); 6])).1, 1);
    }

    #[test]
    fn a_frame_is_bounded() {
        let many: Vec<_> = (0..2 * OPERATIONS_MAX as u32).map(|slot| applied(slot, true)).collect();
        let (said, frames) = read(&write(&many));
        assert_eq!((said.len(), frames), (2 * OPERATIONS_MAX, 2));
    }

    #[test]
    fn what_stands_behind_something_else_is_a_frame_of_its_own() {
        let (mut writer, mut out) = (AnswerWriter::default(), Vec::new());
        writer.write(&applied(1, true), &mut out);
        encode_answer(&refused(2), &mut out);
        writer.write(&applied(3, true), &mut out);
        assert_eq!(read(&out).1, 3);
    }
}
