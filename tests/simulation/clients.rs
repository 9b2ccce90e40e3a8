//! Clients: what they ask, and the history of what they were told.
//!
//! Invariant: every value is written once. A client has one operation under way; what it does not know the outcome of
//! is recorded so, and it goes on with the next.

use annulus::history::{Answer, Ask, ClientId, Condition, History, Key, OperationId, Rank};
use annulus::types::{Level, Version};

use crate::changes::Changed;
use crate::node::Told;

/// Clients of a run.
pub(crate) const CLIENTS: usize = 8;

/// Keys that they contend for, and keys besides.
const CONTENDED: u64 = 5;

/// Keys that are changed by agreement alone: numbers, counters, lists; those above are contended for.
const AGREED: u64 = 12;
const WIDE: u64 = 60;
const FIRST_AGREED: u64 = CONTENDED + WIDE;

/// What a client asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) key: Key,
    pub(crate) level: Level,
    pub(crate) ask: Ask,
}

/// One client.
#[derive(Clone, Copy, Default)]
pub(crate) struct Client {
    /// How many operations it began.
    pub(crate) begun: u64,
    /// What is under way, and at which node.
    pub(crate) waiting: Option<(OperationId, usize, Ask)>,
}

/// All clients, and what they know.
pub(crate) struct Clients {
    pub(crate) clients: [Client; CLIENTS],
    pub(crate) history: History,
    next_value: u64,
    /// How many of ten wishes have to be agreed on.
    agreed_of_ten: u8,
    /// The number that a key held that was read last.
    seen: u64,
}

impl Clients {
    pub(crate) fn new(agreed_of_ten: u8) -> Self {
        Self {
            clients: [Client::default(); CLIENTS],
            history: History::new(),
            next_value: 1,
            agreed_of_ten,
            seen: 0,
        }
    }

    /// What a client wants next.
    pub(crate) fn wish(&mut self, random: &mut fastrand::Rng) -> Wish {
        if random.u8(..10) < self.agreed_of_ten {
            return self.wish_agreement(random);
        }
        let contended = random.u8(..10) < 8;
        let key = Key(if contended { random.u64(..CONTENDED) } else { CONTENDED + random.u64(..WIDE) });
        let level = match random.u8(..20) {
            0 => Level::One,
            1 => Level::All,
            _ => Level::Quorum,
        };
        let ask = match random.u8(..20) {
            0..10 => Ask::Read,
            10..18 => self.write(),
            _ => Ask::Remove { when: Condition::Always },
        };
        Wish { key, level, ask }
    }

    /// Something that has to be agreed on, or is read of what was.
    fn wish_agreement(&mut self, random: &mut fastrand::Rng) -> Wish {
        let kind = random.u64(..3);
        let place = if random.u8(..10) < 6 { kind } else { kind + 3 * random.u64(1..AGREED / 3) };
        let key = Key(FIRST_AGREED + place);
        if random.u8(..10) < 3 {
            let level = if random.bool() { Level::Linearizable } else { Level::Quorum };
            return Wish { key, level, ask: Ask::Read };
        }
        let ask = match (kind, random.u8(..10)) {
            (0, 0) => self.write(),
            (0, 1..3) => Ask::Remove { when: Condition::Present },
            (0, 3) => Ask::remove(),
            (0, 4..8) => Ask::put_if_absent(self.new_value()),
            (0, _) => Ask::compare_value(self.seen, self.new_value()),
            (1, _) => Ask::Increment(1),
            _ => Ask::Append(self.new_value()),
        };
        Wish { key, level: Level::Linearizable, ask }
    }

    fn new_value(&mut self) -> u64 {
        self.next_value += 1;
        self.next_value
    }

    /// A write of a value that nobody else writes.
    pub(crate) fn write(&mut self) -> Ask {
        Ask::write(self.new_value())
    }

    /// Records that a client asks.
    pub(crate) fn begin(&mut self, client: usize, node: usize, wish: Wish, now_ns: u64) -> u64 {
        let Wish { key, level, ask } = wish;
        let id = self.history.invoke(ClientId(client as u32), key, level, ask, now_ns);
        let state = &mut self.clients[client];
        state.begun += 1;
        state.waiting = Some((id, node, ask));
        state.begun
    }

    /// Records what a client is told.
    ///
    /// `false` if that is no answer to what it asked.
    pub(crate) fn finish(&mut self, client: usize, told: Told, now_ns: u64) -> bool {
        let Some((id, _, ask)) = self.clients[client].waiting.take() else { return true };
        let rank = |version: Version| Some(Rank::of(version, false));
        match (told, ask) {
            (Told::Written(version), _) => self.history.done(id, Answer::Applied, rank(version), now_ns),
            (Told::Changed(Changed::Done), Ask::Write { .. } | Ask::Remove { .. }) => {
                self.history.done(id, Answer::Applied, None, now_ns);
            }
            (Told::Changed(Changed::NotMet), ask) if ask.condition() != Condition::Always => {
                self.history.done(id, Answer::NotMet, None, now_ns);
            }
            (Told::Changed(Changed::Holds(number)), Ask::Increment(_)) => {
                let value = self.history.number(number);
                self.history.done(id, Answer::Holds(value), None, now_ns);
            }
            (Told::Changed(Changed::Length(length)), Ask::Append(_)) => {
                self.history.done(id, Answer::Length(length), None, now_ns);
            }
            (Told::Value(tokens, version), Ask::Read) => {
                self.seen = tokens[0];
                let value = self.history.list(&tokens);
                self.history.done(id, Answer::Holds(value), rank(version), now_ns);
            }
            (Told::Nothing, Ask::Read) => {
                let nothing = self.history.list(&[]);
                self.history.done(id, Answer::Holds(nothing), None, now_ns);
            }
            (Told::Nothing, _) => self.history.done(id, Answer::Applied, None, now_ns),
            (Told::Refused, _) => self.history.refused(id, now_ns),
            // A read that brought nothing changed nothing.
            (Told::Unknown, Ask::Read) => self.history.refused(id, now_ns),
            (Told::Unknown, _) => self.history.unknown(id, now_ns),
            (Told::Changed(_) | Told::Value(..), _) => {
                self.history.unknown(id, now_ns);
                return false;
            }
        }
        true
    }

    /// Every key, those that are contended for first.
    pub(crate) fn keys() -> impl Iterator<Item = Key> {
        (0..FIRST_AGREED + AGREED).map(Key)
    }

    /// A change of such a key that is done whatever it holds.
    pub(crate) fn probe(key: Key) -> Ask {
        match (key.0 - FIRST_AGREED) % 3 {
            0 => Ask::remove(),
            1 => Ask::Increment(1),
            _ => Ask::Append(u64::MAX - key.0),
        }
    }

    /// Keys that are changed by agreement alone.
    pub(crate) fn agreed() -> impl Iterator<Item = Key> {
        (FIRST_AGREED..FIRST_AGREED + AGREED).map(Key)
    }

    /// Keys that clients contend for.
    pub(crate) fn contended() -> impl Iterator<Item = Key> {
        (0..CONTENDED).map(Key)
    }
}
