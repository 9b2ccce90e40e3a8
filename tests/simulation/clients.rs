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

/// Keys whose values do not last: some that are written plainly, and as many that are changed by agreement alone.
const FLEETING: u64 = 3;
const FIRST_FLEETING: u64 = FIRST_AGREED + AGREED;
const FIRST_FLEETING_AGREED: u64 = FIRST_FLEETING + FLEETING;

/// When a value that was written ceases to be there, by the clock of the node that was asked.
#[derive(Clone, Copy)]
pub(crate) struct Expiry {
    pub(crate) key: Key,
    pub(crate) value: u64,
    /// In nanoseconds of the world, if all clocks are right.
    pub(crate) at_ns: u64,
}

/// What a client asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) key: Key,
    pub(crate) level: Level,
    pub(crate) ask: Ask,
    /// How long what it writes is there, in milliseconds; 0 for as long as nobody changes it.
    pub(crate) lives_ms: u64,
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
    pub(crate) expiries: Vec<Expiry>,
    /// Every clock shows the right time all the while.
    clocks_are_right: bool,
}

impl Clients {
    pub(crate) fn new(agreed_of_ten: u8, clocks_are_right: bool) -> Self {
        Self {
            clients: [Client::default(); CLIENTS],
            history: History::new(),
            next_value: 1,
            agreed_of_ten,
            seen: 0,
            expiries: Vec::new(),
            clocks_are_right,
        }
    }

    /// What a client wants next.
    pub(crate) fn wish(&mut self, random: &mut fastrand::Rng) -> Wish {
        if random.u8(..10) == 0 {
            return self.wish_fleeting(random);
        }
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
        Wish { key, level, ask, lives_ms: 0 }
    }

    /// Something that does not last, or is read of what did not.
    fn wish_fleeting(&mut self, random: &mut fastrand::Rng) -> Wish {
        let place = random.u64(..2 * FLEETING);
        let key = Key(FIRST_FLEETING + place);
        let writes = if place < FLEETING { Level::Quorum } else { Level::Linearizable };
        let lives_ms = random.u64(5..400);
        match random.u8(..10) {
            0..5 => {
                let level = if random.bool() { writes } else { Level::Quorum };
                Wish { key, level, ask: Ask::Read, lives_ms: 0 }
            }
            5..7 if place >= FLEETING => {
                let ask = Ask::put_if_absent(self.new_value());
                Wish { key, level: writes, ask, lives_ms }
            }
            7 if place >= FLEETING => {
                let ask = Ask::compare_value(self.seen, self.new_value());
                Wish { key, level: writes, ask, lives_ms }
            }
            8 => {
                let when = if place < FLEETING { Condition::Always } else { Condition::Present };
                Wish { key, level: writes, ask: Ask::Remove { when }, lives_ms: 0 }
            }
            _ => Wish { key, level: writes, ask: self.write(), lives_ms },
        }
    }

    /// Something that has to be agreed on, or is read of what was.
    fn wish_agreement(&mut self, random: &mut fastrand::Rng) -> Wish {
        let kind = random.u64(..3);
        // Who wants nothing else wants it of few keys.
        let few_of_ten = if self.agreed_of_ten == 10 { 10 } else { 6 };
        let place = if random.u8(..10) < few_of_ten { kind } else { kind + 3 * random.u64(1..AGREED / 3) };
        let key = Key(FIRST_AGREED + place);
        if random.u8(..10) < 3 {
            let level = if random.bool() { Level::Linearizable } else { Level::Quorum };
            return Wish { key, level, ask: Ask::Read, lives_ms: 0 };
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
        Wish { key, level: Level::Linearizable, ask, lives_ms: 0 }
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
        let Wish { key, level, ask, lives_ms } = wish;
        let id = self.history.invoke(ClientId(client as u32), key, level, ask, now_ns);
        if let Ask::Write { value, .. } = ask
            && lives_ms > 0
        {
            let at_ns = now_ns + lives_ms * 1_000_000;
            self.expiries.push(Expiry { key, value, at_ns });
            // As if somebody were to remove it then, and nobody knew whether that has been done: not before its time,
            // to the millisecond, if that is known.
            let from_ns = if self.clocks_are_right { at_ns - 2_000_000 } else { now_ns };
            let nobody = ClientId(CLIENTS as u32 + self.expiries.len() as u32);
            let removal = Ask::Remove { when: Condition::ValueIs(value) };
            let id = self.history.invoke(nobody, key, level, removal, from_ns);
            self.history.unknown(id, from_ns);
        }
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
        (0..FIRST_FLEETING + 2 * FLEETING).map(Key)
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
        (FIRST_AGREED..FIRST_FLEETING).map(Key)
    }

    /// Keys that are changed by agreement alone and whose values do not last.
    pub(crate) fn agreed_and_fleeting() -> impl Iterator<Item = Key> {
        (FIRST_FLEETING_AGREED..FIRST_FLEETING_AGREED + FLEETING).map(Key)
    }

    /// Keys whose values do not last.
    pub(crate) fn fleeting() -> impl Iterator<Item = Key> {
        (FIRST_FLEETING..FIRST_FLEETING_AGREED + FLEETING).map(Key)
    }

    /// Whether time alone may end what was written, as far as the run's clocks tell: at `at_ns` of the world.
    pub(crate) fn clocks_are_right(&self) -> bool {
        self.clocks_are_right
    }

    /// Keys that clients contend for.
    pub(crate) fn contended() -> impl Iterator<Item = Key> {
        (0..CONTENDED).map(Key)
    }
}
