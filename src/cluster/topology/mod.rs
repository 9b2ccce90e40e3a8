//! The topology log: how the nodes of a cluster elect a leader and agree on who belongs to it and who owns what.
//!
//! Invariants: every node applies the same commands in the same order; there is at most one leader in a term; whatever
//! is answered with is on disk before, in the order of the orders given. It does no I/O: it is shown messages and the
//! time, and gives orders. Whom it takes for dead it is told; that decides who votes, and nothing else.
//!
//! ```text
//! message, time, command ──► plausible ──► Raft library ──► Persist, then Send ──► apply: rules ──► Changed
//!                                               ▲                                    │
//!                            voters: who is to vote ◄────────────────────────────────┘
//! ```

mod convert;
mod log;
mod plausible;
mod rules;
mod voters;

use std::collections::{BTreeMap, BTreeSet};

use raft::eraftpb::{self, EntryType};
use raft::{ProgressState, RawNode, SnapshotStatus, StateRole};

use crate::cluster::deviation::Deviation;
use crate::config::topology::{
    ELECTION_TICKS_MAX, ELECTION_TICKS_MIN, HEARTBEAT_TICKS, LATE_TICKS_MAX, MESSAGE_BYTES_MAX, TICK,
    UNCOMMITTED_BYTES_MAX,
};
use crate::message::consensus::{Change, Electorate, Image, Message, Snapshot, Term};
use crate::message::topology::{Command, Denial, Entrance, Topology};
use crate::types::{NodeNumber, Timestamp};

use log::Log;
use voters::Standing;

/// Messages on their way to one node at most; it is sent no more before it has answered.
const INFLIGHT_MAX: usize = 64;

/// Who leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leadership {
    /// The leader, if one is known.
    pub leader: Option<NodeNumber>,
    /// The term.
    pub term: Term,
    /// Since when this node has known it.
    pub since: Timestamp,
}

/// What is to be done, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Put this on disk, and go on when it is there.
    Persist(Box<Image>),
    /// Send this.
    Send(Box<Message>),
    /// The topology is another now.
    Changed,
    /// Who leads is another now.
    Elected(Leadership),
}

/// Where the orders go.
pub trait Outputs {
    /// What is done wrong on purpose: nothing, but in the simulator's own tests.
    const DEVIATION: Deviation = Deviation::None;

    /// Keeps an order.
    fn put(&mut self, output: Output);
}

impl Outputs for Vec<Output> {
    fn put(&mut self, output: Output) {
        self.push(output);
    }
}

/// What becomes of a command that somebody wants carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is carried out.
    Done,
    /// It is under way, as far as is known here: ask again.
    UnderWay,
    /// This node does not lead: ask that one, or again if none is known.
    Elsewhere(Option<NodeNumber>),
    /// It cannot be carried out.
    Denied(Denial),
}

/// One node's part in the log.
pub struct TopologyLog {
    raft: RawNode<Log>,
    own: NodeNumber,
    random: fastrand::Rng,
    /// Up to when time was counted.
    counted: Timestamp,
    /// When it wanted to be looked at next.
    due: Timestamp,
    /// Those who are thought dead.
    dead: BTreeSet<NodeNumber>,
    leadership: Leadership,
    /// When nodes that were sent a snapshot are sent another.
    snapshots_again: Timestamp,
    /// The term and the place in the log of what it last proposed about movements.
    moved: (Term, u64),
}

impl Image {
    /// What the first node of a new cluster begins with.
    ///
    /// # Errors
    /// [`Denial`], if it is no node that a cluster could let in.
    pub fn founding(mut topology: Topology, founder: Entrance) -> Result<Self, Denial> {
        let first = topology.next_node;
        topology.apply(&Command::Enter(founder))?;
        let electorate = Electorate { voters: vec![first], ..Electorate::default() };
        let snapshot = Snapshot { index: 1, term: 1, electorate, topology };
        Ok(Self { term: 1, vote: Some(first), commit: 1, snapshot, entries: Vec::new() })
    }

    /// What a node begins with that was let into a cluster of this topology: no log yet.
    #[must_use]
    pub fn admitted(topology: Topology) -> Self {
        let snapshot = Snapshot { index: 0, term: 0, electorate: Electorate::default(), topology };
        Self { term: 0, vote: None, commit: 0, snapshot, entries: Vec::new() }
    }
}

impl TopologyLog {
    /// The part of the node `own`, which remembers `image`. `seed` decides when it calls elections.
    ///
    /// # Panics
    /// If the image contradicts itself: read one that this program wrote.
    #[must_use]
    pub fn new(image: &Image, own: NodeNumber, seed: u64, now: Timestamp) -> Self {
        let config = raft::Config {
            id: convert::id(own),
            election_tick: ELECTION_TICKS_MIN,
            min_election_tick: ELECTION_TICKS_MIN,
            max_election_tick: ELECTION_TICKS_MAX,
            heartbeat_tick: HEARTBEAT_TICKS,
            applied: image.snapshot.index,
            max_size_per_msg: MESSAGE_BYTES_MAX,
            max_inflight_msgs: INFLIGHT_MAX,
            max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
            check_quorum: true,
            pre_vote: true,
            ..raft::Config::default()
        };
        let silent = slog::Logger::root(slog::Discard, slog::o!());
        let raft = RawNode::new(&config, Log::new(image), &silent).expect("the image is sound");
        let leadership = Leadership { leader: None, term: image.term, since: now };
        let random = fastrand::Rng::with_seed(seed);
        let mut log = Self {
            raft,
            own,
            random,
            counted: now,
            due: now,
            dead: BTreeSet::new(),
            leadership,
            snapshots_again: now,
            moved: (0, 0),
        };
        log.draw();
        if image.snapshot.electorate.voters == [own] {
            // There is nobody to wait for.
            log.raft.campaign().expect("a follower may call an election");
        }
        log
    }

    /// What was agreed on, as far as is known here, once the orders given so far are carried out.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.raft.store().applied.topology
    }

    /// Who votes, as far as is known here.
    #[must_use]
    pub fn electorate(&self) -> &Electorate {
        &self.raft.store().applied.electorate
    }

    /// How far the log was applied.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.raft.store().applied.index
    }

    /// Who leads, as far as is known here.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        self.leadership
    }

    /// Whether this node leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.raft.raft.state == StateRole::Leader
    }

    /// Takes in a message of another node.
    pub fn handle<O: Outputs>(&mut self, now: Timestamp, message: &Message, out: &mut O) {
        self.count_time_before(now);
        if plausible::is_plausible(message, &self.raft, self.own) {
            // It refuses what is of no use to it, such as answers of nodes that have gone.
            let _ = self.raft.step(convert::to_message(message));
            self.draw();
            self.go_on(now, out);
        }
    }

    /// Is told that a node lives, or is dead. Whoever nothing was said of lives.
    pub fn set_alive<O: Outputs>(&mut self, now: Timestamp, node: NodeNumber, alive: bool, out: &mut O) {
        let changed = if alive { self.dead.remove(&node) } else { self.dead.insert(node) };
        if changed && !alive {
            self.raft.report_unreachable(convert::id(node));
        }
        self.go_on(now, out);
    }

    /// Is asked to have a command carried out. It can be asked as often as one likes.
    pub fn ask<O: Outputs>(&mut self, now: Timestamp, command: &Command, out: &mut O) -> Verdict {
        let topology = self.topology();
        if topology.has(command) {
            return Verdict::Done;
        }
        if !self.leads() {
            return Verdict::Elsewhere(self.leadership.leader);
        }
        let holder = match command {
            // A node that has its number is itself, whatever else it was told to say.
            Command::Enter(entrance) if entrance.replaces && entrance.was.is_none() => {
                topology.node_named(&entrance.name)
            }
            _ => None,
        };
        let alive = |node: &NodeNumber| topology.nodes.get(node).filter(|_| !self.dead.contains(node));
        let denial = match holder {
            Some((number, node)) if !self.dead.contains(&number) => {
                Err(Denial::HolderAlive(node.name.clone()))
            }
            _ if let Command::Revoke { nodes } = command
                && let Some(node) = nodes.iter().find_map(alive) =>
            {
                Err(Denial::Alive(node.name.clone()))
            }
            _ => topology.judge(command),
        };
        if let Err(denial) = denial {
            return Verdict::Denied(denial);
        }
        let bytes = convert::command_bytes(&Change::Topology(command.clone()));
        // One that is dropped, because too much is under way, is asked for again.
        let _ = self.raft.propose(Vec::new(), bytes);
        self.go_on(now, out);
        Verdict::UnderWay
    }

    /// Lets another voter lead, if this node does: before it stops.
    pub fn hand_over<O: Outputs>(&mut self, now: Timestamp, out: &mut O) {
        if self.leads() {
            let electorate = self.electorate();
            let heir = electorate.voters.iter().find(|&&node| node != self.own && !self.dead.contains(&node));
            if let Some(&heir) = heir {
                self.raft.transfer_leader(convert::id(heir));
                self.go_on(now, out);
            }
        }
    }

    /// When `handle_timeout` wants to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Timestamp {
        self.due
    }

    /// Lets time go by.
    ///
    /// A machine that is looked at much later than it wanted was itself stopped: what it would have heard is waiting
    /// perhaps, so the time beyond counts for nothing, and it calls no election because of it.
    pub fn handle_timeout<O: Outputs>(&mut self, now: Timestamp, out: &mut O) {
        let tick_ns = TICK.as_nanos() as u64;
        let counts_until = self.due.0.saturating_add(LATE_TICKS_MAX * tick_ns).min(now.0);
        let ticks = counts_until.saturating_sub(self.counted.0) / tick_ns;
        let late = counts_until < now.0;
        self.counted = if late { now } else { Timestamp(self.counted.0 + ticks * tick_ns) };
        for _ in 0..ticks {
            self.raft.tick();
            self.draw();
        }
        if self.leads() && now >= self.snapshots_again {
            self.send_snapshots_again();
            self.snapshots_again = now.after(TICK * ELECTION_TICKS_MIN as u32);
        }
        self.go_on(now, out);
    }

    /// Counts the time that went by before something was heard at `now`, but for the last tick before what is due: what
    /// was heard in time may make it needless.
    fn count_time_before(&mut self, now: Timestamp) {
        let elapsed = now.nanos_since(self.counted) / TICK.as_nanos() as u64;
        let ticks = elapsed.min(u64::from(self.ticks_to_wait() - 1));
        for _ in 0..ticks {
            self.raft.tick();
        }
        self.counted = if elapsed > ticks { now } else { self.counted.after(TICK * ticks as u32) };
    }

    /// Draws the time of the next election anew whenever the library has: its own random numbers have no seed.
    fn draw(&mut self) {
        if self.raft.raft.election_elapsed == 0 {
            let ticks = self.random.usize(ELECTION_TICKS_MIN..ELECTION_TICKS_MAX);
            self.raft.raft.set_randomized_election_timeout(ticks);
        }
    }

    /// A snapshot that was sent and not answered was lost, for all that is known.
    fn send_snapshots_again(&mut self) {
        let waiting = |(&id, progress): (&u64, &raft::Progress)| {
            (progress.state == ProgressState::Snapshot).then_some(id)
        };
        let waiting: Vec<u64> = self.raft.raft.prs().iter().filter_map(waiting).collect();
        for id in waiting {
            self.raft.report_snapshot(id, SnapshotStatus::Failure);
        }
    }

    /// Carries out what the library has ready, and sees to it that the right nodes vote.
    fn go_on<O: Outputs>(&mut self, now: Timestamp, out: &mut O) {
        let before = (self.applied(), self.topology().epoch);
        self.carry_out(out);
        if self.keep_voters() | self.keep_moving() {
            self.carry_out(out);
        }
        let leader = convert::node(self.raft.raft.leader_id);
        let term = self.raft.raft.term;
        if (leader, term) != (self.leadership.leader, self.leadership.term) {
            self.leadership = Leadership { leader, term, since: now };
            out.put(Output::Elected(self.leadership));
        }
        if (self.applied(), self.topology().epoch) != before {
            out.put(Output::Changed);
        }
        self.due = self.counted.after(TICK * self.ticks_to_wait());
    }

    fn ticks_to_wait(&self) -> u32 {
        let raft = &self.raft.raft;
        let ticks = if raft.state == StateRole::Leader {
            let heartbeat = raft.heartbeat_timeout().saturating_sub(raft.heartbeat_elapsed());
            heartbeat.min(raft.election_timeout().saturating_sub(raft.election_elapsed))
        } else {
            raft.randomized_election_timeout().saturating_sub(raft.election_elapsed)
        };
        ticks.max(1) as u32
    }

    fn carry_out<O: Outputs>(&mut self, out: &mut O) {
        while self.raft.has_ready() {
            let electorate = self.electorate().clone();
            let mut ready = self.raft.ready();
            let log = self.raft.mut_store();
            if !ready.snapshot().is_empty() {
                log.restore(convert::from_own_snapshot(ready.snapshot()));
            }
            log.append(ready.entries());
            if let Some(state) = ready.hs() {
                log.set_hard_state(state);
            }
            let mut image = ready.must_sync().then(|| Box::new(log.image()));
            if O::DEVIATION == Deviation::VoteForgotten
                && let Some(image) = &mut image
            {
                image.vote = None;
            }
            if O::DEVIATION != Deviation::AnsweredBeforePersisted {
                image.take().into_iter().for_each(|image| out.put(Output::Persist(image)));
            }
            send(&ready.take_messages(), out);
            send(&ready.take_persisted_messages(), out);
            image.into_iter().for_each(|image| out.put(Output::Persist(image)));
            let committed = ready.take_committed_entries();
            self.apply(&committed);
            let mut light = self.raft.advance(ready);
            if let Some(commit) = light.commit_index() {
                self.raft.mut_store().set_commit(commit);
            }
            send(&light.take_messages(), out);
            self.apply(light.committed_entries());
            self.raft.advance_apply();
            let log = self.raft.mut_store();
            log.compact();
            if log.applied.electorate != electorate {
                // Who does not know after a restart that this was committed counts on voters who may be gone for good.
                out.put(Output::Persist(Box::new(log.image())));
            }
        }
    }

    fn apply(&mut self, entries: &[eraftpb::Entry]) {
        for entry in entries {
            let electorate = (entry.get_entry_type() != EntryType::EntryNormal).then(|| {
                // One that cannot be made changes nothing, here as everywhere: no leader of this program proposes one.
                self.raft.apply_conf_change(&convert::conf_change(entry)).ok()
            });
            let applied = &mut self.raft.mut_store().applied;
            (applied.index, applied.term) = (entry.index, entry.term);
            if let Some(state) = electorate {
                state.iter().for_each(|state| applied.electorate = convert::from_conf_state(state));
            } else if let Change::Topology(command) = convert::from_own_entry(entry).change {
                // What is denied was judged before by an older state: it changes nothing, here as everywhere.
                let _ = applied.topology.apply(&command);
            }
        }
    }

    /// As the leader, has keys moved to whom they are to belong to, and ends movements that cannot go on; `true` if
    /// there is something new to carry out.
    fn keep_moving(&mut self) -> bool {
        let (term, last) = (self.raft.raft.term, self.raft.raft.raft_log.last_index());
        let proposed = self.moved.0 == term && self.applied() < self.moved.1;
        if !self.leads() || proposed {
            return false;
        }
        let topology = self.topology();
        let command = match &topology.movement {
            Some(movement)
                if topology.may_be_called_off()
                    && movement.awaited.iter().any(|node| self.dead.contains(node)) =>
            {
                Command::CallOff { since: movement.since }
            }
            Some(_) => return false,
            None => {
                let progress = self.raft.raft.prs();
                let heard = |node: &NodeNumber| {
                    let heard =
                        progress.get(convert::id(*node)).is_some_and(|progress| progress.recent_active);
                    *node == self.own || heard && !self.dead.contains(node)
                };
                let live: BTreeSet<NodeNumber> = topology.nodes.keys().copied().filter(heard).collect();
                let Some((comes, copies)) = topology.wanted_move(&live) else { return false };
                Command::Move { comes, copies }
            }
        };
        let bytes = convert::command_bytes(&Change::Topology(command));
        self.moved = (term, last + 1);
        self.raft.propose(Vec::new(), bytes).is_ok()
    }

    /// As the leader, proposes who is to vote; `true` if there is something new to carry out.
    fn keep_voters(&mut self) -> bool {
        if !self.leads() || self.raft.raft.has_pending_conf() || !self.electorate().voters_outgoing.is_empty()
        {
            return false;
        }
        let committed = self.raft.raft.raft_log.committed;
        let standing = |&node: &NodeNumber| {
            let progress = self.raft.raft.prs().get(convert::id(node));
            let caught_up =
                progress.is_some_and(|progress| progress.matched + 1 >= committed && progress.recent_active);
            let alive = node == self.own || !self.dead.contains(&node);
            (node, Standing { alive, caught_up })
        };
        let nodes: BTreeMap<NodeNumber, Standing> = self.topology().nodes.keys().map(standing).collect();
        let changes = voters::plan(&nodes, self.electorate(), self.own);
        !changes.is_empty()
            && self.raft.propose_conf_change(Vec::new(), convert::to_conf_change(&changes)).is_ok()
    }
}

fn send<O: Outputs>(messages: &[eraftpb::Message], out: &mut O) {
    for message in messages.iter().filter_map(convert::from_message) {
        out.put(Output::Send(Box::new(message)));
    }
}
