//! A store of three replicas with quorum reads and writes, in a few lines, under a scheduler that delays, loses and
//! reorders its messages: what its clients see is regular, unless one of its known bugs is switched on.

use annulus::history::{Answer, Ask, ClientId, History, Key, OperationId, Rank};
use annulus::types::Level;
use fastrand::Rng;

/// What can be wrong with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bug {
    None,
    /// Reads answer without making sure that a majority holds what they saw.
    NoWriteBack,
    /// A quorum write is acknowledged by one replica.
    AcknowledgedByOne,
    /// A quorum read asks one replica.
    ReadFromOne,
    /// A removal leaves nothing behind that is newer than what it removed.
    NoTombstone,
    /// A write that gives up says that nothing was applied, whatever was sent.
    RefusedAfterSending,
    /// A replica that refuses a write, since it has a higher version, is counted as one that took it.
    RefusalCounts,
    /// Two coordinators issue the same versions.
    SharedWriter,
}

/// Which answers tell a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    All,
    /// Those to writes, and to reads that find a value.
    OfValues,
    None,
}

const REPLICAS: usize = 3;
const MAJORITY: usize = 2;
const CLIENTS: u32 = 5;
const OPERATIONS: usize = 60;

/// A stored value, or a tombstone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Cell {
    version: u128,
    value: Option<u64>,
}

#[derive(Clone, Copy)]
enum Message {
    Read,
    Store(Cell),
    /// The cell that the replica had when it was asked, and whether it took what it was to store.
    Reply {
        seen: Cell,
        stored: bool,
    },
}

struct Sent {
    operation: usize,
    round: u32,
    replica: usize,
    message: Message,
}

/// An operation under way.
struct Active {
    id: OperationId,
    client: u32,
    ask: Ask,
    level: Level,
    /// Replies to earlier rounds are ignored.
    round: u32,
    /// What is being stored: by a write, or back by a read.
    storing: Option<Cell>,
    replies: Vec<(Cell, bool)>,
    is_over: bool,
}

pub(crate) struct Replicas {
    rng: Rng,
    bug: Bug,
    told: Told,
    now: u64,
    cells: [Cell; REPLICAS],
    active: Vec<Active>,
    sent: Vec<Sent>,
    clocks: [u128; CLIENTS as usize],
    history: History,
}

/// What clients of such a store see.
pub(crate) fn history(seed: u64, bug: Bug, told: Told) -> History {
    let mut replicas = Replicas {
        rng: Rng::with_seed(seed),
        bug,
        told,
        now: 0,
        cells: [Cell::default(); REPLICAS],
        active: Vec::new(),
        sent: Vec::new(),
        clocks: [0; CLIENTS as usize],
        history: History::new(),
    };
    while replicas.active.len() < OPERATIONS || !replicas.sent.is_empty() {
        replicas.step();
    }
    replicas.history
}

impl Replicas {
    fn step(&mut self) {
        self.now += 1;
        let client = self.rng.u32(0..CLIENTS);
        let current = self.active.iter().rposition(|active| active.client == client && !active.is_over);
        match (self.rng.u8(0..20), current) {
            (0, Some(operation)) => self.give_up(operation),
            (0..5, None) if self.active.len() < OPERATIONS => self.begin(client),
            _ => self.deliver(),
        }
    }

    fn begin(&mut self, client: u32) {
        let number = self.active.len() as u64 + 1;
        let ask = match self.rng.u8(0..10) {
            0..5 => Ask::Read,
            5 => Ask::remove(),
            _ => Ask::write(number),
        };
        let level = if self.rng.u8(0..8) == 0 { Level::One } else { Level::Quorum };
        let id = self.history.invoke(ClientId(client), Key(0), level, ask, self.now);
        let (replies, storing) = (Vec::new(), None);
        self.active.push(Active { id, client, ask, level, round: 0, storing, replies, is_over: false });
        let operation = self.active.len() - 1;
        match ask {
            _ if self.rng.u8(0..20) == 0 => self.refuse(operation),
            Ask::Read => self.send(operation, Message::Read),
            Ask::Write { value, .. } => self.store(operation, Some(value), 0),
            _ => self.store(operation, None, 0),
        }
    }

    fn store(&mut self, operation: usize, value: Option<u64>, above: u128) {
        let client = self.active[operation].client;
        let writer = if self.bug == Bug::SharedWriter { client % 2 } else { client };
        let clock = &mut self.clocks[client as usize];
        // Clocks lag by up to forty steps.
        let wall = u128::from(self.now.saturating_sub(10 * u64::from(client)));
        *clock = wall.max(*clock + 1).max((above >> 8) + 1);
        let cell = Cell { version: *clock << 8 | u128::from(writer), value };
        self.active[operation].storing = Some(cell);
        self.send(operation, Message::Store(cell));
    }

    fn send(&mut self, operation: usize, message: Message) {
        let active = &mut self.active[operation];
        active.round += 1;
        active.replies.clear();
        let round = active.round;
        let is_single = active.ask == Ask::Read && active.level == Level::One;
        let only = is_single.then(|| self.rng.usize(0..REPLICAS));
        let replicas = (0..REPLICAS).filter(|&replica| only.is_none_or(|only| only == replica));
        self.sent.extend(replicas.map(|replica| Sent { operation, round, replica, message }));
    }

    fn deliver(&mut self) {
        if self.sent.is_empty() {
            return;
        }
        let index = self.rng.usize(0..self.sent.len());
        let Sent { operation, round, replica, message } = self.sent.swap_remove(index);
        if self.rng.u8(0..12) == 0 {
            return; // lost
        }
        let cell = &mut self.cells[replica];
        let seen = *cell;
        let stored = match message {
            Message::Reply { seen, stored } => return self.reply(operation, round, seen, stored),
            Message::Read => false,
            Message::Store(new) => {
                if new.version > cell.version {
                    *cell = new;
                    if self.bug == Bug::NoTombstone && new.value.is_none() {
                        *cell = Cell::default();
                    }
                }
                new.version >= seen.version
            }
        };
        self.sent.push(Sent { operation, round, replica, message: Message::Reply { seen, stored } });
    }

    fn reply(&mut self, operation: usize, round: u32, seen: Cell, stored: bool) {
        let bug = self.bug;
        let active = &mut self.active[operation];
        if active.is_over || active.round != round {
            return;
        }
        active.replies.push((seen, stored));
        let is_lax = match active.ask {
            Ask::Read => bug == Bug::ReadFromOne,
            _ => bug == Bug::AcknowledgedByOne,
        };
        let needed = if active.level == Level::One || is_lax { 1 } else { MAJORITY };
        let highest = active.replies.iter().map(|&(seen, _)| seen).max_by_key(|cell| cell.version);
        let highest = highest.expect("there is a reply");
        match (active.ask, active.storing) {
            (Ask::Read, None) if active.replies.len() >= needed => {
                let agreed = active.replies.iter().all(|&(seen, _)| seen == highest);
                if agreed || bug == Bug::NoWriteBack {
                    self.answer_read(operation, highest);
                } else {
                    self.active[operation].storing = Some(highest);
                    self.send(operation, Message::Store(highest));
                }
            }
            (Ask::Read, None) => {}
            // Who has something newer need not take what is written back.
            (Ask::Read, Some(cell)) if active.replies.len() >= needed => self.answer_read(operation, cell),
            (Ask::Read, Some(_)) => {}
            (_, Some(cell)) => {
                let took =
                    active.replies.iter().filter(|(_, stored)| *stored || bug == Bug::RefusalCounts).count();
                if took >= needed {
                    self.done(operation, Answer::Applied, cell);
                } else if active.replies.len() - took > REPLICAS - needed {
                    self.store(operation, cell.value, highest.version);
                }
            }
            (_, None) => unreachable!("a write begins by storing"),
        }
    }

    fn answer_read(&mut self, operation: usize, cell: Cell) {
        let value = self.history.list(cell.value.as_slice());
        self.done(operation, Answer::Holds(value), cell);
    }

    fn done(&mut self, operation: usize, answer: Answer, cell: Cell) {
        let is_told = match self.told {
            Told::All => true,
            Told::OfValues => cell.value.is_some(),
            Told::None => false,
        };
        let version = Rank::new(cell.version).filter(|_| is_told);
        let active = &mut self.active[operation];
        active.is_over = true;
        self.history.done(active.id, answer, version, self.now);
    }

    fn refuse(&mut self, operation: usize) {
        self.active[operation].is_over = true;
        self.history.refused(self.active[operation].id, self.now);
    }

    fn give_up(&mut self, operation: usize) {
        if self.active[operation].ask == Ask::Read || self.bug == Bug::RefusedAfterSending {
            return self.refuse(operation);
        }
        self.active[operation].is_over = true;
        self.history.unknown(self.active[operation].id, self.now);
    }
}
