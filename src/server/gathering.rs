//! Messages between workers: connections handed over, and questions that take the counters of all to answer.
//!
//! Invariant: a question is answered once, by the worker that was asked, with what every worker counted after it was
//! asked; the connection that asked waits meanwhile and nothing of it is reordered. A worker gathers once at a time:
//! who asks meanwhile waits for the next time, so that a crowd of questions costs no more than a few. A worker whose
//! mailbox is full is not asked; should the word that all is gathered be lost, the asker sees it when it keeps house.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam::queue::ArrayQueue;

use crate::config::turn;
use crate::metrics::Recorder;
use crate::protocol::resp::reply;
use crate::server::commands::{self, Question};
use crate::server::native;
use crate::server::worker::{Message, Worker};

/// Who asked, and what.
pub(super) struct Asker {
    connection: usize,
    session: u64,
    question: Question,
}

/// The counters of the other workers, on their way to the one that asked.
pub(crate) struct Collection {
    asker: usize,
    parts: ArrayQueue<Recorder>,
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
}

impl Worker {
    /// Takes a question of a connection, which waits for the answer.
    #[cold]
    pub(super) fn ask(&mut self, slot: usize, question: Question) {
        let session = &mut self.connections[slot].session;
        session.waiting = true;
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
            self.questions.collection = Some(self.begin_collection());
        }
        let complete = |collection: &mut Arc<Collection>| collection.missing.load(Ordering::Acquire) == 0;
        let Some(collection) = self.questions.collection.take_if(complete) else { return };
        let mut merged = self.counters();
        while let Some(part) = collection.parts.pop() {
            merged.merge(&part);
        }
        for asker in mem::take(&mut self.questions.served) {
            self.answer(&asker, &merged);
        }
    }

    /// Asks all other workers for their counters.
    fn begin_collection(&self) -> Arc<Collection> {
        let mailboxes = &self.engine.shared.mailboxes;
        let others = mailboxes.len() - 1;
        let collection = Arc::new(Collection {
            asker: self.index,
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

    fn counters(&mut self) -> Recorder {
        self.engine.recorder.totals.buffered_bytes = self.buffered_bytes as u64;
        self.engine.recorder.clone()
    }

    /// Adds this worker's counters to what another gathers.
    fn contribute(&mut self, collection: &Collection) {
        // There is room: the queue has a place for each other worker.
        let _ = collection.parts.push(self.counters());
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
                // The loop looks at its questions and at the flag after this.
                Message::Collected | Message::Stop => {}
            }
        }
    }

    fn answer(&mut self, asker: &Asker, merged: &Recorder) {
        let slot = asker.connection;
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.session.id != asker.session || !connection.session.waiting {
            return;
        }
        connection.session.waiting = false;
        let mut output = connection.output.take().or_else(|| self.spare_outputs.pop()).unwrap_or_default();
        match &asker.question {
            Question::Info { sections } => {
                let text = commands::info(&self.engine, merged, sections);
                reply::verbatim(output.bytes(), connection.session.resp, &text);
            }
            Question::Stats { id } => native::answer_stats(&self.engine, merged, *id, output.bytes()),
        }
        connection.output = Some(output);
        self.write(slot);
        self.settle(slot);
    }
}
