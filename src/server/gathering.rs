//! Messages between workers: connections handed over, and questions that take what all workers know to answer.
//!
//! Invariant: a question is answered once, by the worker that was asked, with what every worker knew after it was
//! asked; the connection that asked waits meanwhile and nothing of it is reordered. A worker gathers once at a time:
//! who asks meanwhile waits for the next time, so that a crowd of questions costs no more than a few. A worker whose
//! mailbox is full is not asked; should the word that all is gathered be lost, the asker sees it when it keeps house.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam::queue::ArrayQueue;

use crate::config::{WRONG_PASSWORD_DELAY, turn};
use crate::metrics::Recorder;
use crate::protocol::resp::reply;
use crate::server::commands::{self, ClientFilter, Question};
use crate::server::connection::Connection;
use crate::server::output::Output;
use crate::server::slow_log::{self, SlowEntry};
use crate::server::stats;
use crate::server::worker::{Message, Worker};
use crate::types::Timestamp;

/// Who asked, and what.
pub(super) struct Asker {
    connection: usize,
    session: u64,
    question: Question,
}

/// What is asked of every worker, for all that are served at a time.
#[derive(Default)]
struct Wanted {
    counters: bool,
    /// With the stages of replicated requests, which take much more room than all the rest.
    stages: bool,
    slow_log: bool,
    /// Lists of connections.
    lists: Vec<ClientFilter>,
    /// Connections to close.
    kills: Vec<ClientFilter>,
}

impl Wanted {
    fn by(askers: &[Asker]) -> Self {
        let mut wanted = Self::default();
        for asker in askers {
            match &asker.question {
                Question::Info { sections } => {
                    wanted.counters = true;
                    wanted.stages |= commands::shows_stages(sections);
                }
                Question::Stats { .. } => (wanted.counters, wanted.stages) = (true, true),
                Question::Latencies { .. } => wanted.counters = true,
                Question::SlowLog { .. } => wanted.slow_log = true,
                Question::Clients(filter) => wanted.lists.push(filter.clone()),
                Question::Kill { filter, .. } => wanted.kills.push(filter.clone()),
                Question::Denied { .. } => {}
            }
        }
        wanted
    }
}

/// What one worker, or several, know of it. Lists are in the order in which they are wanted.
#[derive(Default)]
struct Known {
    counters: Option<Recorder>,
    slow: Vec<SlowEntry>,
    /// Ids and lines of connections.
    lists: Vec<Vec<(u64, String)>>,
    /// How many connections were closed.
    killed: Vec<u64>,
}

impl Known {
    fn merge(&mut self, other: Self) {
        if let (Some(ours), Some(theirs)) = (&mut self.counters, &other.counters) {
            ours.merge(theirs);
        }
        self.slow.extend(other.slow);
        self.lists.iter_mut().zip(other.lists).for_each(|(ours, theirs)| ours.extend(theirs));
        self.killed.iter_mut().zip(other.killed).for_each(|(ours, theirs)| *ours += theirs);
    }
}

/// What the other workers know, on its way to the one that asked.
pub(crate) struct Collection {
    asker: usize,
    wanted: Wanted,
    parts: ArrayQueue<Known>,
    missing: AtomicUsize,
}

/// One worker's questions.
#[derive(Default)]
pub(super) struct Questions {
    /// What is being gathered, and for whom.
    collection: Option<Arc<Collection>>,
    served: Vec<Asker>,
    /// Those who came later.
    waiting: Vec<Asker>,
    /// Answers that are held back, the next one first.
    denied: VecDeque<Denied>,
}

/// An answer that is held back.
struct Denied {
    at: Timestamp,
    connection: usize,
    session: u64,
    answer: Vec<u8>,
}

impl Worker {
    /// Takes a question of a connection, which waits for the answer.
    #[cold]
    pub(super) fn ask(&mut self, slot: usize, question: Question) {
        let session = &mut self.connections[slot].session;
        session.waiting = true;
        if let Question::Denied { answer } = question {
            let at = self.engine.now.after(WRONG_PASSWORD_DELAY);
            self.questions.denied.push_back(Denied { at, connection: slot, session: session.id, answer });
            return;
        }
        self.questions.waiting.push(Asker { connection: slot, session: session.id, question });
    }

    /// Answers what has been gathered, and gathers for those who wait.
    #[inline]
    pub(super) fn attend_questions(&mut self) {
        if self.questions.collection.is_some() || !self.questions.waiting.is_empty() {
            self.attend();
        }
    }

    #[cold]
    fn attend(&mut self) {
        if self.questions.collection.is_none() {
            self.questions.served = mem::take(&mut self.questions.waiting);
            self.questions.collection = Some(self.begin_collection(Wanted::by(&self.questions.served)));
        }
        let complete = |collection: &mut Arc<Collection>| collection.missing.load(Ordering::Acquire) == 0;
        let Some(collection) = self.questions.collection.take_if(complete) else { return };
        let mut known = self.look_up(&collection.wanted);
        while let Some(part) = collection.parts.pop() {
            known.merge(part);
        }
        known.slow.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.id));
        let (mut lists, mut killed) = (mem::take(&mut known.lists).into_iter(), known.killed.iter());
        for asker in mem::take(&mut self.questions.served) {
            let mut list = match asker.question {
                Question::Clients(_) => lists.next().unwrap_or_default(),
                _ => Vec::new(),
            };
            list.sort_unstable_by_key(|(id, _)| *id);
            let count = match asker.question {
                Question::Kill { .. } => killed.next().copied().unwrap_or(0),
                _ => 0,
            };
            self.answer(&asker, &known, &list, count);
        }
    }

    /// Asks all other workers for what `wanted` says.
    fn begin_collection(&self, wanted: Wanted) -> Arc<Collection> {
        let mailboxes = &self.engine.shared.mailboxes;
        let others = mailboxes.len() - 1;
        let collection = Arc::new(Collection {
            asker: self.index,
            wanted,
            parts: ArrayQueue::new(others.max(1)),
            missing: AtomicUsize::new(others),
        });
        for (index, mailbox) in mailboxes.iter().enumerate() {
            let message = Message::Collect(Arc::clone(&collection));
            if index != self.index && mailbox.send(message).is_err() {
                collection.missing.fetch_sub(1, Ordering::AcqRel);
            }
        }
        collection
    }

    /// What this worker knows of what is wanted; connections that are to be closed are.
    fn look_up(&mut self, wanted: &Wanted) -> Known {
        self.engine.recorder.totals.buffered_bytes = self.buffered_bytes as u64;
        if let Some(replication) = &self.engine.replication {
            self.engine.recorder.counters = replication.counters();
        }
        Known {
            counters: wanted.counters.then(|| self.engine.recorder.copy(wanted.stages)),
            slow: if wanted.slow_log { self.engine.slow_log.entries() } else { Vec::new() },
            lists: wanted.lists.iter().map(|filter| self.list(filter)).collect(),
            killed: wanted.kills.iter().map(|filter| self.kill(filter)).collect(),
        }
    }

    /// The connections that match: ids and lines.
    fn list(&self, filter: &ClientFilter) -> Vec<(u64, String)> {
        let local = self.engine.shared.address;
        let matching = self.connections.iter().map(|(_, connection)| connection).filter(|connection| {
            connection.parting_since.is_none()
                && filter.matches(connection.session.id, connection.peer, local)
        });
        matching
            .map(|connection| {
                let line = commands::describe(&self.engine, &connection.session, connection.peer);
                (connection.session.id, line)
            })
            .collect()
    }

    /// Closes the connections that match, the one that asked for it when it has been answered; returns how many.
    fn kill(&mut self, filter: &ClientFilter) -> u64 {
        let local = self.engine.shared.address;
        let matches = |connection: &Connection| {
            connection.parting_since.is_none()
                && filter.matches(connection.session.id, connection.peer, local)
        };
        let slots: Vec<usize> = self
            .connections
            .iter()
            .filter(|(_, connection)| matches(connection))
            .map(|(slot, _)| slot)
            .collect();
        for &slot in &slots {
            let session = &mut self.connections[slot].session;
            if session.waiting {
                session.closing = true;
            } else {
                self.close(slot);
            }
        }
        slots.len() as u64
    }

    /// Adds what this worker knows to what another gathers.
    fn contribute(&mut self, collection: &Collection) {
        // There is room: the queue has a place for each other worker.
        let known = self.look_up(&collection.wanted);
        let _ = collection.parts.push(known);
        if collection.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            // A full mailbox loses nothing: the asker looks now and then anyway.
            let _ = self.engine.shared.mailboxes[collection.asker].send(Message::Collected);
        }
    }

    /// Handles the messages that wait, a bounded number of them.
    #[inline]
    pub(super) fn receive_messages(&mut self) {
        for _ in 0..turn::MAILBOX_MESSAGES {
            let Some(message) = self.engine.shared.mailboxes[self.index].receive() else { return };
            match message {
                Message::Serve(stream) => self.serve(stream),
                Message::Collect(collection) => self.contribute(&collection),
                Message::Forget(what) => self.engine.forget(what),
                Message::Adopt(outlook) => self.adopt(&outlook),
                Message::Errand(errand) => self.run_errand(&errand),
                Message::ErrandDone { ticket, answer } => self.hear_of_errand(ticket, &answer),
                // The loop looks at its questions and at the flag after this.
                Message::Collected | Message::Stop => {}
            }
        }
    }

    fn answer(&mut self, asker: &Asker, known: &Known, list: &[(u64, String)], killed: u64) {
        let Some((slot, mut output)) = self.resume(asker.connection, asker.session) else { return };
        let version = self.connections[slot].session.resp;
        let out = output.bytes();
        match (&asker.question, &known.counters) {
            (Question::Info { sections }, Some(merged)) => {
                reply::verbatim(out, version, &commands::info(&self.engine, merged, sections));
            }
            (Question::Stats { id }, Some(merged)) => stats::answer(&self.engine, merged, *id, out),
            (Question::Latencies { operations }, Some(merged)) => {
                commands::latencies(merged, operations, out, version);
            }
            (Question::SlowLog { count: Some(count) }, _) => slow_log::answer(&known.slow, *count, out),
            (Question::SlowLog { count: None }, _) => reply::integer(out, known.slow.len() as i64),
            (Question::Clients(_), _) => {
                let lines: String = list.iter().map(|(_, line)| line.as_str()).collect();
                reply::verbatim(out, version, &lines);
            }
            (Question::Kill { counted: true, .. }, _) => reply::integer(out, killed as i64),
            (Question::Kill { counted: false, .. }, _) if killed == 0 => {
                reply::error(out, "ERR No such client");
            }
            (Question::Kill { .. }, _) => reply::ok(out),
            (Question::Info { .. } | Question::Stats { .. } | Question::Latencies { .. }, None)
            | (Question::Denied { .. }, _) => {}
        }
        self.deliver(slot, output);
    }

    /// A connection that has waited, and where to write its answer; `None` if it is gone.
    fn resume(&mut self, slot: usize, session: u64) -> Option<(usize, Box<Output>)> {
        let connection = self.connections.get_mut(slot)?;
        if connection.session.id != session || !connection.session.waiting {
            return None;
        }
        connection.session.waiting = false;
        Some((slot, connection.output.take().or_else(|| self.spare_outputs.pop()).unwrap_or_default()))
    }

    fn deliver(&mut self, slot: usize, output: Box<Output>) {
        self.connections[slot].output = Some(output);
        self.write(slot);
        self.settle(slot);
    }

    /// Gives answers that were held back, when they have been for long enough.
    pub(super) fn answer_denied(&mut self) {
        let now = self.engine.now;
        let Some(due) = self.questions.denied.iter().rposition(|denied| denied.at <= now) else { return };
        for denied in self.questions.denied.drain(..=due).collect::<Vec<_>>() {
            if let Some((slot, mut output)) = self.resume(denied.connection, denied.session) {
                output.bytes().extend_from_slice(&denied.answer);
                self.deliver(slot, output);
            }
        }
    }
}
