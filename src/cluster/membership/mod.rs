//! Membership: who is alive, found out by gossip. Who exists comes from the topology log, and is told from outside.
//!
//! ```text
//!            link lost, or no answer to a probe          no answer for the suspicion time
//!   alive ───────────────────────────────► suspected ───────────────────────────────► dead
//!     ▲ ◄─────────────────────────────────────┘                                        │
//!     │        it answers, with a higher refutation                                    │
//!     └── it is met under a newer identity: renewed by itself, or restarted ◄──────────┘
//! ```
//!
//! Invariants: nobody is spoken to or of who is not in the topology, or only was in an older incarnation; no verdict
//! rests on what was not heard while this machine was asleep ([`patience`]); a node declared dead and alive returns by
//! itself. It does no I/O: it is shown messages and the time, and gives orders. It never says who owns what.
//!
//! Every member is probed in turn, by others too if it does not answer; whoever finds it silent accuses it, to all and
//! to itself, and declares it dead if it has not refuted that in time. The dead are looked for, so that a healed
//! partition heals here.
//!
//! Sources: Das et al., "SWIM" (2002), sections 3 and 4; Dadgar et al., "Lifeguard" (2017), section IV.

mod hearsay;
pub mod patience;
mod random;
mod schedule;

use std::collections::BTreeMap;

use foca::{Codec, Foca, Header, Member, Message, NoCustomBroadcast, Notification, Runtime, State, Timer};

use crate::cluster::deviation::Deviation;
use crate::config::MembershipConfig;
use crate::config::gossip::{HELPERS, MESSAGE_BYTES_MAX, SOUGHT_MAX, TRANSMISSIONS_MAX};
use crate::message::gossip::Peer;
use crate::types::{Incarnation, NodeNumber, Timestamp};

use hearsay::Hearsay;
use patience::Patience;
use random::Random;
use schedule::{Due, Schedule};

/// What happens to the machine.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// These are the nodes of the topology, each with its incarnation; this node may be among them.
    Members(&'a [Peer]),
    /// A node sent this.
    Message {
        /// The node at the other end of the link.
        from: NodeNumber,
        /// What it sent.
        bytes: &'a [u8],
    },
    /// The link to a node ended, or could not be made.
    LinkLost(NodeNumber),
    /// There is a link to a node.
    LinkUp(NodeNumber),
    /// This node is about to stop: the others need not wait to find out.
    Leaving,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send this, if there is a link.
    Send {
        /// To which node.
        to: NodeNumber,
        /// What: up to [`MESSAGE_BYTES_MAX`] bytes.
        bytes: Vec<u8>,
    },
    /// A node's liveness is another now.
    Changed {
        /// Which node.
        node: NodeNumber,
        /// What it is now.
        liveness: Liveness,
    },
    /// This node was declared dead, and goes on as this.
    Renewed(Peer),
    /// This node sent what is no gossip: its link is to be closed.
    CloseLink(NodeNumber),
}

/// What a node is to this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Liveness {
    /// It answers, or was not asked yet.
    Alive,
    /// It does not answer, or somebody says so; there is no use in waiting for it.
    Suspected,
    /// It was suspected for too long.
    Dead,
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

/// A node of the topology.
#[derive(Clone, Copy, Debug)]
struct Present {
    incarnation: Incarnation,
    /// What was last said of it; `None` before anything was.
    told: Option<Liveness>,
}

/// What this node itself holds against another.
#[derive(Clone, Copy, Debug)]
struct Suspicion {
    of: Peer,
    /// What the other had refuted until then: anything higher refutes this too.
    refutations: u16,
    since: Timestamp,
}

/// One node's part in the gossip.
pub struct Membership<C> {
    foca: Foca<Peer, C, Random, NoCustomBroadcast>,
    codec: C,
    settings: MembershipConfig,
    own: NodeNumber,
    schedule: Schedule,
    present: BTreeMap<NodeNumber, Present>,
    suspicions: BTreeMap<NodeNumber, Suspicion>,
    patience: Patience,
    /// The dead node that was looked for last.
    sought: NodeNumber,
    left: bool,
}

impl<C> Membership<C>
where
    C: Codec<Peer, Error: std::error::Error> + Clone,
{
    /// The part of the node `own`. `seed` decides whom it probes when.
    ///
    /// # Panics
    /// If a round trip is not below half the probe period, or a time is zero.
    #[must_use]
    pub fn new(own: Peer, settings: MembershipConfig, codec: C, seed: u64, now: Timestamp) -> Self {
        assert!(
            !settings.probe_round_trip.is_zero() && settings.probe_round_trip < settings.probe_period / 2,
            "a probe's period has room for those who help: {settings:?}"
        );
        let config = foca::Config {
            probe_period: settings.probe_period,
            probe_rtt: settings.probe_round_trip,
            num_indirect_probes: HELPERS,
            max_transmissions: TRANSMISSIONS_MAX,
            // Suspicions are timed here, so that a slow observer's last longer.
            suspect_to_down_after: settings.suspicion,
            remove_down_after: None,
            max_packet_size: MESSAGE_BYTES_MAX,
            notify_down_members: true,
            // What is done at every beat takes their place: the library's end with the last member that is alive.
            periodic_announce: None,
            periodic_announce_to_down_members: None,
            periodic_gossip: None,
        };
        let mut schedule = Schedule::default();
        schedule.put(now.after(settings.probe_period), Due::Beat);
        Self {
            foca: Foca::new(own, config, Random::new(seed), codec.clone()),
            codec,
            settings,
            own: own.node,
            schedule,
            present: BTreeMap::new(),
            suspicions: BTreeMap::new(),
            patience: Patience::new(now),
            sought: own.node,
            left: false,
        }
    }

    /// Who this node is to the others.
    #[must_use]
    pub fn identity(&self) -> Peer {
        *self.foca.identity()
    }

    /// What each other node of the topology is to this one, in the order of their numbers.
    pub fn livenesses(&self) -> impl Iterator<Item = (NodeNumber, Liveness)> {
        self.present.iter().filter_map(|(&node, present)| Some((node, present.told?)))
    }

    /// Timers, suspicions and news that are kept: bounded by the nodes of the topology.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.schedule.len() + self.suspicions.len() + self.foca.updates_backlog()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called; `None` once it has left.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let verdicts = self.suspicions.values().map(|suspicion| self.verdict_at(suspicion));
        verdicts.chain(self.schedule.first()).min().filter(|_| !self.left)
    }

    /// Does what `input` calls for.
    pub fn handle<O: Outputs>(&mut self, now: Timestamp, input: Input<'_>, out: &mut O) {
        if self.left {
            return;
        }
        self.notice_sleep::<O>(now);
        match input {
            Input::Members(peers) => self.adopt(now, peers, out),
            Input::Message { from, bytes } => self.hear(now, from, bytes, out),
            Input::LinkLost(node) => self.lose(now, node, out),
            Input::LinkUp(node) => {
                if let Some(member) = self.member(node).filter(|member| member.state() != State::Alive) {
                    self.ask(now, &member, out);
                }
            }
            Input::Leaving => {
                self.run(now, out, |foca, orders| foca.leave_cluster(orders));
                self.left = true;
                return;
            }
        }
        self.settle(now, out);
    }

    /// Does what time calls for.
    pub fn handle_timeout<O: Outputs>(&mut self, now: Timestamp, out: &mut O) {
        if self.left {
            return;
        }
        self.notice_sleep::<O>(now);
        while let Some(due) = self.schedule.take(now) {
            match due {
                Due::Beat => self.beat(now, out),
                Due::Library(timer) => {
                    self.run(now, out, |foca, orders| foca.handle_timer(timer, orders));
                }
            }
        }
        self.judge(now, out);
        self.settle(now, out);
    }

    /// Calls the library, does what it orders, and notes what it finds of others.
    fn run<O: Outputs>(
        &mut self,
        now: Timestamp,
        out: &mut O,
        call: impl FnOnce(
            &mut Foca<Peer, C, Random, NoCustomBroadcast>,
            &mut Orders<'_, O>,
        ) -> Result<(), foca::Error>,
    ) {
        let mut orders = Orders { now, schedule: &mut self.schedule, accused: Vec::new(), out };
        let done = call(&mut self.foca, &mut orders);
        let accused = orders.accused;
        // What others can bring about is that a message is not for this node or makes no sense: then nothing was done.
        debug_assert!(
            !matches!(
                done,
                Err(foca::Error::IncompleteProbeCycle
                    | foca::Error::NotConnected
                    | foca::Error::InvalidConfig
                    | foca::Error::Encode(_))
            ),
            "{done:?}"
        );
        for (of, refutations) in accused {
            self.accuse(now, of, refutations);
        }
    }

    fn accuse(&mut self, now: Timestamp, of: Peer, refutations: u16) {
        let accusation = Suspicion { of, refutations, since: now };
        let held = self.suspicions.entry(of.node).or_insert(accusation);
        if (held.of, held.refutations) != (of, refutations) {
            *held = accusation;
        }
    }

    /// The topology has these nodes now.
    fn adopt<O: Outputs>(&mut self, now: Timestamp, peers: &[Peer], out: &mut O) {
        let gone: Vec<NodeNumber> = self
            .present
            .keys()
            .filter(|&&node| !peers.iter().any(|peer| peer.node == node))
            .copied()
            .collect();
        for node in gone {
            self.present.remove(&node);
            self.suspicions.remove(&node);
            if let Some(member) = self.member(node) {
                let id = *member.id();
                let down = Member::new(id, member.incarnation(), State::Down);
                self.run(now, out, |foca, orders| foca.apply_many(std::iter::once(down), false, orders));
                // The library forgets only the dead, and by a timer.
                self.run(now, out, |foca, orders| foca.handle_timer(Timer::RemoveDown(id), orders));
            }
        }
        let own = self.own;
        for &peer in peers.iter().filter(|peer| peer.node != own) {
            let known = self.present.get(&peer.node).copied();
            if known.is_some_and(|known| known.incarnation >= peer.incarnation) {
                continue;
            }
            let told = known.and_then(|known| known.told);
            self.present.insert(peer.node, Present { incarnation: peer.incarnation, told });
            let alive = std::iter::once(Member::alive(peer));
            self.run(now, out, |foca, orders| foca.apply_many(alive, false, orders));
            // It may have been renewed in this life, and nothing but this is taken by whoever it is now.
            self.run(now, out, |foca, orders| foca.announce(peer, orders));
        }
    }

    fn hear<O: Outputs>(&mut self, now: Timestamp, from: NodeNumber, bytes: &[u8], out: &mut O) {
        let identity = self.identity();
        let hearsay = Hearsay { from, own: identity, deviation: O::DEVIATION };
        let present = &self.present;
        let known = |peer: &Peer| {
            let present = present.get(&peer.node);
            present.is_some_and(|present| peer.incarnation >= present.incarnation)
        };
        match hearsay.sift(&mut self.codec, bytes, known) {
            Ok(Some(bytes)) => self.run(now, out, |foca, orders| foca.handle_data(&bytes, orders)),
            Ok(None) => {}
            Err(hearsay::NoGossip) => out.put(Output::CloseLink(from)),
        }
    }

    /// A link that is reset is a reason to suspect at once, and to ask whether it is so.
    fn lose<O: Outputs>(&mut self, now: Timestamp, node: NodeNumber, out: &mut O) {
        let Some(member) = self.member(node).filter(|member| member.state() != State::Down) else { return };
        let suspected = Member::new(*member.id(), member.incarnation(), State::Suspect);
        self.accuse(now, *member.id(), member.incarnation());
        self.run(now, out, |foca, orders| foca.apply_many(std::iter::once(suspected), true, orders));
        self.run(now, out, |foca, orders| foca.gossip(orders));
    }

    /// What is done regularly beside probing: passing on news, asking the suspected, looking for the dead.
    fn beat<O: Outputs>(&mut self, now: Timestamp, out: &mut O) {
        self.schedule.put(now.after(self.settings.probe_period), Due::Beat);
        self.patience.recover(now);
        if self.foca.updates_backlog() > 0 {
            self.run(now, out, |foca, orders| foca.gossip(orders));
        }
        let of_state = |state| move |member: &&Member<Peer>| member.state() == state;
        let mut suspected: Vec<Member<Peer>> =
            self.foca.iter_membership_state().filter(of_state(State::Suspect)).cloned().collect();
        suspected.sort_by_key(|member| member.id().node);
        for member in &suspected {
            self.ask(now, member, out);
        }
        if O::DEVIATION == Deviation::DeadNotSought {
            return;
        }
        let mut dead: Vec<Peer> = self
            .foca
            .iter_membership_state()
            .filter(of_state(State::Down))
            .map(|member| *member.id())
            .collect();
        // From the one behind the last on, round and round.
        let sought = self.sought;
        dead.sort_by_key(|peer| (peer.node <= sought, peer.node));
        for &peer in dead.iter().take(SOUGHT_MAX) {
            self.sought = peer.node;
            self.run(now, out, |foca, orders| foca.announce(peer, orders));
        }
    }

    /// Asks a member who it is, and tells it what it is suspected of: its answer refutes that.
    ///
    /// The library tells it only as long as the suspicion is news.
    fn ask<O: Outputs>(&mut self, now: Timestamp, member: &Member<Peer>, out: &mut O) {
        let dst = *member.id();
        self.run(now, out, |foca, orders| foca.announce(dst, orders));
        if member.state() == State::Suspect {
            // Refutations of its own are the library's to tell; 0 is news to nobody.
            let header = Header { src: self.identity(), src_incarnation: 0, dst, message: Message::Ping(0) };
            let mut bytes = Vec::with_capacity(64);
            let written = self.codec.encode_header(&header, &mut bytes);
            bytes.extend_from_slice(&1_u16.to_be_bytes());
            let written = written.and_then(|()| self.codec.encode_member(member, &mut bytes));
            written.expect("a vector has room for what the codec writes");
            out.put(Output::Send { to: dst.node, bytes });
        }
    }

    /// Declares dead who was suspected here for long enough and has not refuted it.
    fn judge<O: Outputs>(&mut self, now: Timestamp, out: &mut O) {
        if O::DEVIATION == Deviation::VerdictSkipped {
            self.suspicions.clear();
        }
        // A verdict leaves fewer who are suspected, and so may make others due.
        while let Some(&suspicion) = self.suspicions.values().find(|one| self.verdict_at(one) <= now) {
            self.suspicions.remove(&suspicion.of.node);
            let dead = Member::new(suspicion.of, suspicion.refutations, State::Down);
            self.run(now, out, |foca, orders| foca.apply_many(std::iter::once(dead), true, orders));
        }
    }

    fn verdict_at(&self, suspicion: &Suspicion) -> Timestamp {
        let heeded = self.present.values().filter(|one| one.told != Some(Liveness::Dead)).count();
        let factor = self.patience.factor(self.suspicions.len(), heeded);
        suspicion.since.after(self.settings.suspicion * factor)
    }

    /// Finds out that this machine itself was asleep: then what it waited for may be waiting for it.
    fn notice_sleep<O: Outputs>(&mut self, now: Timestamp) {
        // Not the suspicions: they may be due in the past when there is less reason to be patient.
        let Some(due) = self.schedule.first() else { return };
        if now <= due.after(self.settings.late_max) || O::DEVIATION == Deviation::SleepNotDoubted {
            return;
        }
        self.schedule.delay(now.nanos_since(due));
        for suspicion in self.suspicions.values_mut() {
            suspicion.since = now;
        }
        self.patience.doubt(now);
    }

    /// Brings the library and what was told up to what is so now.
    fn settle<O: Outputs>(&mut self, now: Timestamp, out: &mut O) {
        // After a renewal it waits to be spoken to before it probes again; everybody might.
        self.run(now, out, |foca, orders| foca.apply_many(std::iter::empty(), false, orders));
        let mut changed = Vec::new();
        for member in self.foca.iter_membership_state() {
            let &Peer { node, .. } = member.id();
            if let Some(held) = self.suspicions.get(&node) {
                let holds = member.state() == State::Suspect
                    && (held.of, held.refutations) == (*member.id(), member.incarnation());
                if !holds {
                    self.suspicions.remove(&node);
                }
            }
            let Some(present) = self.present.get_mut(&node) else { continue };
            let liveness = match member.state() {
                State::Alive => Liveness::Alive,
                State::Suspect => Liveness::Suspected,
                State::Down => Liveness::Dead,
            };
            if present.told != Some(liveness) {
                present.told = Some(liveness);
                changed.push((node, liveness));
            }
        }
        changed.sort_by_key(|&(node, _)| node);
        for (node, liveness) in changed {
            out.put(Output::Changed { node, liveness });
        }
    }

    fn member(&self, node: NodeNumber) -> Option<Member<Peer>> {
        self.foca.iter_membership_state().find(|member| member.id().node == node).cloned()
    }
}

/// What the library orders, as it orders it.
struct Orders<'a, O> {
    now: Timestamp,
    schedule: &'a mut Schedule,
    /// Whom it finds silent, and with which refutation.
    accused: Vec<(Peer, u16)>,
    out: &'a mut O,
}

impl<O: Outputs> Runtime<Peer> for Orders<'_, O> {
    fn notify(&mut self, notification: Notification<'_, Peer>) {
        if let Notification::Rejoin(&peer) = notification {
            self.out.put(Output::Renewed(peer));
        }
    }

    fn send_to(&mut self, to: Peer, data: &[u8]) {
        self.out.put(Output::Send { to: to.node, bytes: data.to_vec() });
    }

    fn submit_after(&mut self, event: Timer<Peer>, after: std::time::Duration) {
        match event {
            Timer::ChangeSuspectToDown { member_id, incarnation, .. } => {
                self.accused.push((member_id, incarnation));
            }
            timer => self.schedule.put(self.now.after(after), Due::Library(timer)),
        }
    }
}
