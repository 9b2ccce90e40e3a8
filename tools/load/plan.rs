//! What is sent next: the plan of a phase, and the requests that it comes down to.
//!
//! Invariant: a connection is given no more than its pipeline has room for, and in steady state nothing is allocated.
//! When a phase begins and ends is not decided here, nor is anything sent.

use crate::connection::Connection;
use crate::dialect::Dialect;
use crate::distribution::Distribution;
use crate::keys::KeyText;
use crate::options::Settings;
use crate::sending::Sending;

/// Pipeline while preloading, at least.
const PRELOAD_PIPELINE_MIN: usize = 64;

/// What connections are given to send.
pub(crate) enum Plan {
    /// Nothing: let what is under way come home.
    Drain,
    /// Every key once, from `next` to the end of the key space.
    Preload { next: u64 },
    /// Reads and writes as they are drawn; so many of them, if they are numbered.
    Mix { remaining: Option<u64> },
}

/// Encodes requests by plan.
pub(crate) struct Requests<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) distribution: Distribution,
    pub(crate) key_text: KeyText,
    /// What every set writes.
    pub(crate) value: Vec<u8>,
    pub(crate) plan: Plan,
}

impl Requests<'_> {
    /// Encodes what `connection` is to send now and returns how many requests; 0 if it must wait or the plan is done.
    pub(crate) fn encode<D: Dialect>(&mut self, connection: &mut Connection<D>) -> usize {
        let load = &self.settings.load;
        let outstanding = connection.outstanding;
        let room = |limit| room(self.settings.sending, outstanding, limit);
        match &mut self.plan {
            Plan::Drain => 0,
            Plan::Preload { next } => {
                let end = load.first_key + load.keys;
                let batch = (room(load.pipeline.max(PRELOAD_PIPELINE_MIN)) as u64).min(end - *next);
                for index in *next..*next + batch {
                    connection.dialect.encode_set(
                        self.key_text.of(index),
                        &self.value,
                        &mut connection.output,
                    );
                }
                *next += batch;
                batch as usize
            }
            Plan::Mix { remaining } => {
                let mut batch = room(load.pipeline);
                if let Some(remaining) = remaining {
                    batch = batch.min(usize::try_from(*remaining).unwrap_or(usize::MAX));
                    *remaining -= batch as u64;
                }
                for _ in 0..batch {
                    self.encode_drawn(connection);
                }
                batch
            }
        }
    }

    /// Encodes a request as it is drawn.
    pub(crate) fn encode_drawn<D: Dialect>(&mut self, connection: &mut Connection<D>) {
        let Connection { dialect, stream, output, .. } = connection;
        let key = self.key_text.of(self.settings.load.first_key + stream.next_index(&self.distribution));
        if stream.next_is_read(&self.distribution) {
            dialect.encode_get(key, output);
        } else {
            dialect.encode_set(key, &self.value, output);
        }
    }
}

/// Parts in which a window moves on. Replies that were written at once would otherwise be read and refilled at once,
/// and a window would be a batch.
const WINDOW_PARTS: usize = 4;

/// Replies to read at once with a pipeline of so many; `None` for all that are there.
pub(crate) const fn replies_per_read(sending: Sending, pipeline: usize) -> Option<usize> {
    match sending {
        Sending::Batch => None,
        Sending::Window => Some(pipeline.div_ceil(WINDOW_PARTS)),
    }
}

/// Requests that a connection may send now, with so many `outstanding` of a pipeline of `limit`.
const fn room(sending: Sending, outstanding: usize, limit: usize) -> usize {
    match sending {
        Sending::Batch if outstanding > 0 => 0,
        Sending::Batch | Sending::Window => limit.saturating_sub(outstanding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_waits_for_the_last_reply_and_a_window_for_none() {
        let rooms = |sending| [0, 1, 15, 16].map(|outstanding| room(sending, outstanding, 16));
        assert_eq!(rooms(Sending::Batch), [16, 0, 0, 0]);
        assert_eq!(rooms(Sending::Window), [16, 15, 1, 0]);
        // What a phase with a longer pipeline left under way.
        assert_eq!(room(Sending::Window, 64, 16), 0);
    }
}
