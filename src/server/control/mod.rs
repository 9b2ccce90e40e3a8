//! The control thread: the cluster's machines on real sockets, clocks and a disk.
//!
//! Invariants: it alone changes what the node knows of its cluster, and hands it to the workers; an order of a machine
//! is carried out before the next, and what is to be on disk is there before anything is said that depends on it. It
//! decides nothing: that is [`TopologyLog`]. No request of a client waits for it.
//!
//! ```text
//! other nodes' control threads ◄──► links, guests ──► TopologyLog ──► metadata file
//!                                                          │
//!                     workers ◄── Outlook (mailboxes) ◄────┘
//! ```

mod asking;
mod clocks;
mod file;
mod gossip;
mod guests;
mod join;
mod publish;
mod start;
mod tidy;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Poll, Token};

use crate::cluster::membership::{Input, Liveness, Membership};
use crate::cluster::ring::Ring;
use crate::cluster::topology::{Output, TopologyLog, Verdict};
use crate::config::control::{ASK_PAUSE, CEILING_AHEAD, CEILING_INTERVAL, CEILING_NEAR, HAND_OVER_TIMEOUT};
use crate::message::control::{Control as Said, TimeTold, Told};
use crate::message::metadata::Metadata;
use crate::message::topology::{Command, Entrance};
use crate::protocol::Limits;
use crate::protocol::control::{CONTROL_BYTES_MAX, decode_control, encode_control};
use crate::protocol::gossip::GossipCodec;
use crate::protocol::handshake::{Handshake, LinkRefusal, Purpose};
use crate::server::clock::Clock;
use crate::server::engine::Shared;
use crate::server::happened::Happening;
use crate::server::link::{Change, Link, LinkError};
use crate::server::roster::{Outlook, Roster};
use crate::types::{Epoch, NodeNumber, Stamp, Timestamp, WallTime};

pub use start::BeginError;
pub(crate) use start::{Beginning, begin};

use asking::Wanted;
use clocks::{Clocks, Comparison};
use file::MetadataFile;
use guests::Guests;
use tidy::Tidiness;

pub(crate) const WAKER: Token = Token(0);
/// Tokens from here on are of links to other nodes, by number; below, of guests.
const LINKS: usize = 1 << 32;

/// How often links are looked at that nothing happens on.
const LOOK_AROUND: Duration = Duration::from_millis(50);

/// What other threads tell the control thread.
pub(crate) enum Message {
    /// This node wants to speak of the cluster itself.
    Serve(TcpStream, Handshake),
    /// A client wants this carried out for the whole cluster.
    Ask(Command),
    /// This node has what it had lost, or what a movement brings it.
    Whole {
        /// The latest time that others have stored or promised anything for.
        heard: WallTime,
        /// Which movement.
        filling: Option<Epoch>,
    },
    /// The node is to stop.
    Stop,
}

/// Where something was said, and where the answer goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    Link(NodeNumber),
    Guest(usize),
}

/// The control thread's state.
pub(crate) struct Control {
    poll: Poll,
    clock: Clock,
    roster: Arc<Roster>,
    shared: Arc<Shared>,
    file: MetadataFile,
    metadata: Metadata,
    log: TopologyLog,
    entrance: Entrance,
    links: BTreeMap<NodeNumber, Link>,
    guests: Guests,
    /// Who is alive, once the log has this node's present life.
    membership: Option<Membership<GossipCodec>>,
    /// Links that came up or were lost, which membership has yet to be told of.
    link_changes: Vec<(NodeNumber, Change)>,
    /// What nodes are that are not alive.
    doubted: BTreeMap<NodeNumber, Liveness>,
    /// The ring of the latest epoch that was handed to workers.
    ring: Option<(Epoch, Arc<Ring>)>,
    /// What workers have yet to be handed.
    outlook: Option<(Arc<Outlook>, Vec<bool>)>,
    changed: bool,
    knows_leader: bool,
    entered: bool,
    ask_at: Timestamp,
    /// What clients want carried out.
    wanted: Wanted,
    clocks: Clocks,
    clocks_at: Timestamp,
    /// The last comparison of clocks, which was told.
    compared: Comparison,
    ceiling_at: Timestamp,
    /// Up to when versions may have been promised in the life before, in which everything was forgotten.
    pub(super) fence: WallTime,
    /// The workers have what was lacking, of that movement if it was for one; the log is to be told when that time,
    /// up to which others may have promised anything, is over.
    whole: Option<(WallTime, Option<Epoch>)>,
    tidiness: Tidiness,
    look_around_at: Timestamp,
    stop_at: Option<Timestamp>,
}

impl Control {
    pub(crate) fn new(beginning: Beginning, roster: Arc<Roster>, shared: Arc<Shared>, clock: Clock) -> Self {
        let Beginning { poll, file, metadata, entrance, seed, .. } = beginning;
        let fence = metadata.ceiling;
        let log = TopologyLog::new(&metadata.image, metadata.number, seed, clock.now());
        Self {
            poll,
            clock,
            roster,
            shared,
            file,
            metadata,
            log,
            entrance,
            links: BTreeMap::new(),
            guests: Guests::default(),
            membership: None,
            link_changes: Vec::new(),
            doubted: BTreeMap::new(),
            ring: None,
            outlook: None,
            changed: true,
            knows_leader: false,
            entered: false,
            ask_at: Timestamp::default(),
            wanted: Wanted::default(),
            clocks: Clocks::default(),
            clocks_at: Timestamp::default(),
            compared: Comparison::Waiting,
            ceiling_at: Timestamp::default(),
            fence,
            whole: None,
            tidiness: Tidiness::default(),
            look_around_at: Timestamp::default(),
            stop_at: None,
        }
    }

    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// The kernel's; after one of the disk's, what it holds is not known, and the node must stop.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        let mut said = Vec::new();
        loop {
            match self.poll.poll(&mut events, Some(self.idle_for())) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => result?,
            }
            let now = self.clock.now();
            events.iter().for_each(|event| self.note(event));
            self.receive_messages(now);
            self.guests.attend(now, &mut said);
            self.attend_links(now, &mut said);
            for (source, message) in said.drain(..) {
                self.hear(now, source, message)?;
            }
            let now = self.clock.now();
            if now >= self.log.next_timeout() {
                self.act(|log, out| log.handle_timeout(now, out))?;
            }
            self.attend_membership(now)?;
            if now >= self.look_around_at {
                self.look_around_at = now.after(LOOK_AROUND);
            }
            self.ask_for_clocks(now);
            self.enter(now)?;
            self.pursue(now)?;
            self.raise_ceiling(now)?;
            self.report_whole(now);
            self.tidy();
            self.publish(now)?;
            self.send(now);
            if self.has_stopped(now)? {
                return Ok(());
            }
        }
    }

    fn idle_for(&self) -> Duration {
        let mailbox = &self.roster.control;
        let stopping = self.shared.stopping.load(Ordering::Relaxed);
        if self.guests.has_more() || !mailbox.is_empty() || self.links.values().any(Link::has_more) {
            return Duration::ZERO;
        }
        let now = self.clock.now();
        let gossip = self.membership.as_ref().and_then(Membership::next_timeout);
        let next =
            self.log.next_timeout().min(self.look_around_at).min(gossip.unwrap_or(self.look_around_at));
        let idle = Duration::from_nanos(next.nanos_since(now));
        let idle = self.tidiness.idle_for().map_or(idle, |pause| idle.min(pause));
        if stopping { idle.min(Duration::from_millis(5)) } else { idle }
    }

    fn note(&mut self, event: &Event) {
        match event.token() {
            WAKER => {}
            Token(token) if token >= LINKS => {
                let node = u16::try_from(token - LINKS).ok().map(NodeNumber);
                let link = node.and_then(|node| self.links.get_mut(&node));
                link.into_iter().for_each(|link| link.note(event));
            }
            Token(token) => self.guests.note(token, event),
        }
    }

    fn receive_messages(&mut self, now: Timestamp) {
        let roster = Arc::clone(&self.roster);
        while let Some(message) = roster.control.receive() {
            match message {
                Message::Serve(stream, theirs) => {
                    if self.guests.welcome(now, &roster, self.poll.registry(), stream, &theirs) {
                        // Who reaches this node can be reached.
                        self.links.get_mut(&theirs.node).into_iter().for_each(Link::try_now);
                    }
                }
                Message::Ask(command) => self.wanted.add(now, command),
                Message::Whole { heard, filling } => self.whole = Some((heard.max(self.fence), filling)),
                Message::Stop => {}
            }
        }
    }

    fn attend_links(&mut self, now: Timestamp, said: &mut Vec<(Source, Said)>) {
        let own = Handshake { purpose: Purpose::Control, ..self.roster.own };
        let limits = Limits { frame_bytes_max: CONTROL_BYTES_MAX, ..Limits::default() };
        for (&node, link) in &mut self.links {
            let expects = |theirs: &Handshake| {
                if theirs.node == node { self.roster.accept_control(theirs) } else { Err(LinkRefusal::Node) }
            };
            let mut change = link.attend(now, self.poll.registry(), &own, expects);
            let understood = link.wire().map_or(Ok(()), |wire| {
                wire.frames(&limits, |frame, _| {
                    said.push((Source::Link(node), decode_control(frame)?));
                    Ok::<(), LinkError>(())
                })
            });
            if let Err(error) = understood {
                change = link.lose(now, &error);
            }
            self.link_changes.extend((change != Change::None).then_some((node, change)));
        }
    }

    fn hear(&mut self, now: Timestamp, source: Source, said: Said) -> io::Result<()> {
        match said {
            // Whoever wants to join is nobody yet, and nobody speaks for another.
            Said::Consensus(message) if self.speaker(source) == Some(message.from) => {
                self.act(|log, out| log.handle(now, &message, out))
            }
            Said::Consensus(_) => Ok(()),
            Said::Ask(command) => {
                let verdict = self.act(|log, out| log.ask(now, &command, out))?;
                let told = self.told(verdict);
                self.say(source, &Said::Told(Box::new(told)));
                Ok(())
            }
            Said::Told(told) => match *told {
                // Only a node's life may end it: what clients want was judged before it was asked for.
                Told::Denied(denial) if !self.entered && self.speaker(source).is_some() => {
                    Err(io::Error::other(denial))
                }
                Told::Denied(denial) => {
                    tracing::warn!("the leader denies what was asked of it: {denial}");
                    Ok(())
                }
                Told::Done(_) | Told::Later | Told::Elsewhere(_) => Ok(()),
            },
            Said::Time(told) => {
                let wall = self.clock.wall();
                match (source, told.answered_at) {
                    (_, None) => self.say(source, &Said::Time(TimeTold { answered_at: Some(wall), ..told })),
                    (Source::Link(node), Some(_)) => self.clocks.hear(node, told, wall),
                    (Source::Guest(_), Some(_)) => {}
                }
                Ok(())
            }
            Said::Gossip(bytes) => match self.speaker(source) {
                Some(from) => self.gossip(now, Input::Message { from, bytes: &bytes }),
                None => Ok(()),
            },
        }
    }

    fn told(&self, verdict: Verdict) -> Told {
        match verdict {
            Verdict::Done => Told::Done(self.log.topology().clone()),
            Verdict::Denied(denial) => Told::Denied(denial),
            Verdict::Elsewhere(Some(leader)) => {
                let node = self.log.topology().nodes.get(&leader);
                node.map_or(Told::Later, |node| Told::Elsewhere(node.peer_address))
            }
            Verdict::Elsewhere(None) | Verdict::UnderWay => Told::Later,
        }
    }

    /// Lets the topology log act, and carries out its orders.
    fn act<R>(&mut self, act: impl FnOnce(&mut TopologyLog, &mut Vec<Output>) -> R) -> io::Result<R> {
        let mut orders = Vec::new();
        let result = act(&mut self.log, &mut orders);
        for order in orders {
            match order {
                Output::Persist(image) => {
                    self.metadata.image = *image;
                    self.persist()?;
                }
                Output::Send(message) => {
                    let to = message.to;
                    self.say_to(to, &Said::Consensus(message));
                }
                Output::Changed => self.changed = true,
                Output::Elected(leadership) => {
                    let name = leadership.leader.and_then(|leader| self.log.topology().nodes.get(&leader));
                    let name = name.map_or("nobody", |node| node.name.text());
                    tracing::info!("{name} leads the cluster in term {}", leadership.term);
                    let knew = std::mem::replace(&mut self.knows_leader, leadership.leader.is_some());
                    match (knew, self.knows_leader) {
                        (_, true) => self.roster.happened.note(Happening::LeaderElected),
                        (true, false) => self.roster.happened.note(Happening::LeaderLost),
                        (false, false) => {}
                    }
                    self.changed = true;
                }
            }
        }
        Ok(result)
    }

    fn persist(&mut self) -> io::Result<()> {
        self.file.write(&self.metadata).inspect_err(|error| {
            tracing::error!("the metadata cannot be written, so the node stops: {error}");
        })
    }

    /// Sends something to a node, by its link or by the one that it has to this node.
    fn say_to(&mut self, node: NodeNumber, said: &Said) {
        let wire = self.links.get_mut(&node).and_then(Link::wire);
        if let Some(wire) = wire.or_else(|| self.guests.wire_of(node)) {
            encode_control(said, wire.output());
        }
    }

    fn say(&mut self, source: Source, said: &Said) {
        let wire = match source {
            Source::Link(node) => self.links.get_mut(&node).and_then(Link::wire),
            Source::Guest(slot) => self.guests.wire(slot),
        };
        if let Some(wire) = wire {
            encode_control(said, wire.output());
        }
    }

    fn send(&mut self, now: Timestamp) {
        let nothing = &mut Vec::new();
        for (&node, link) in &mut self.links {
            let change = link.send(nothing, now);
            self.link_changes.extend((change != Change::None).then_some((node, change)));
        }
        self.guests.send();
    }

    /// Asks for this life to be taken into the log, until it is.
    fn enter(&mut self, now: Timestamp) -> io::Result<()> {
        if self.entered || now < self.ask_at {
            return Ok(());
        }
        self.ask_at = now.after(ASK_PAUSE);
        if !self.has_right_time() {
            return Ok(());
        }
        let command = Command::Enter(self.entrance.clone());
        match self.act(|log, out| log.ask(now, &command, out))? {
            Verdict::Done => {
                self.entered = true;
                self.changed = true;
            }
            Verdict::Elsewhere(Some(leader)) => self.say_to(leader, &Said::Ask(Box::new(command))),
            Verdict::Denied(denial) => return Err(io::Error::other(denial)),
            Verdict::Elsewhere(None) | Verdict::UnderWay => {}
        }
        Ok(())
    }

    /// Tells the log that this node has what it lacked: not before everything that it may have promised in its life
    /// before, or others before a movement, is in the past, or clients would have to be ahead of their clocks.
    fn report_whole(&mut self, now: Timestamp) {
        let Some((heard, filling)) = self.whole.take_if(|(heard, _)| self.clock.wall() > *heard) else {
            return;
        };
        self.shared.store.raise_fence(Stamp::last_of(heard));
        let (node, topology) = (self.metadata.number, self.log.topology());
        if let Some(present) = topology.nodes.get(&node) {
            let incarnation = present.incarnation;
            self.wanted.add(
                now,
                match filling {
                    Some(since) => Command::Filled { node, incarnation, since, heard },
                    None => Command::Recovered { node, incarnation, heard },
                },
            );
        }
    }

    /// Puts a later ceiling on disk if versions come near the one that is there.
    fn raise_ceiling(&mut self, now: Timestamp) -> io::Result<()> {
        if now < self.ceiling_at {
            return Ok(());
        }
        self.ceiling_at = now.after(CEILING_INTERVAL);
        let milliseconds = |duration: Duration| duration.as_millis() as u64;
        let wanted = self.roster.wanted().0.max(self.clock.wall().0);
        if self.metadata.ceiling.0 < wanted + milliseconds(CEILING_NEAR) {
            self.metadata.ceiling = WallTime(wanted + milliseconds(CEILING_AHEAD));
            self.persist()?;
            self.roster.set_ceiling(self.metadata.ceiling);
        }
        Ok(())
    }

    /// Lets another lead before it stops, if this node does; `true` when it may stop.
    fn has_stopped(&mut self, now: Timestamp) -> io::Result<bool> {
        if !self.shared.stopping.load(Ordering::Relaxed) {
            return Ok(false);
        }
        if self.stop_at.is_none() {
            self.stop_at = Some(now.after(HAND_OVER_TIMEOUT));
            self.act(|log, out| log.hand_over(now, out))?;
            self.gossip(now, Input::Leaving)?;
            self.send(now);
        }
        let alone = self.log.electorate().voters.len() <= 1;
        Ok(alone || !self.log.leads() || self.stop_at.is_some_and(|at| now >= at))
    }
}
