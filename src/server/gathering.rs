//! Messages between workers: connections handed over, and questions that take the counters of all to answer.
//!
//! Invariant: a question is answered once, by the worker that was asked, after every worker has added its counters;
//! the connection that asked waits meanwhile and nothing of it is reordered. A worker whose mailbox is full is not
//! asked. Should the word that an answer is ready be lost to a full mailbox, the asker finds it when it keeps house.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam::queue::ArrayQueue;

use crate::config::turn;
use crate::protocol::resp::reply;
use crate::server::commands::{self, Question};
use crate::server::native;
use crate::server::worker::{Collection, Message, Worker};

impl Worker {
    /// Asks all workers for their counters on behalf of a connection, which waits for the answer.
    #[cold]
    pub(super) fn ask(&mut self, slot: usize, question: Question) {
        let workers = self.engine.shared.mailboxes.len();
        let session = &mut self.connections[slot].session;
        session.waiting = true;
        let collection = Arc::new(Collection {
            question,
            asker: self.index,
            connection: slot,
            session: session.id,
            parts: ArrayQueue::new(workers),
            missing: AtomicUsize::new(workers),
        });
        self.asked.push(Arc::clone(&collection));
        for mailbox in &self.engine.shared.mailboxes {
            if mailbox.send(Message::Collect(Arc::clone(&collection))).is_err() {
                self.contributed(&collection);
            }
        }
    }

    /// Counts one contribution; the last one makes the question ready.
    fn contributed(&self, collection: &Collection) {
        if collection.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            // A full mailbox loses nothing: the asker looks at its questions anyway, only later.
            let _ = self.engine.shared.mailboxes[collection.asker].send(Message::Collected);
        }
    }

    /// Answers the questions to which all workers have contributed.
    pub(super) fn answer_collected(&mut self) {
        let ready = |collection: &mut Arc<Collection>| collection.missing.load(Ordering::Acquire) == 0;
        let collected: Vec<_> = self.asked.extract_if(.., ready).collect();
        for collection in collected {
            self.answer(&collection);
        }
    }

    /// Handles the messages that wait, a bounded number of them.
    #[inline]
    pub(super) fn receive_messages(&mut self) {
        for _ in 0..turn::MAILBOX_MESSAGES {
            let Some(message) = self.engine.shared.mailboxes[self.index].receive() else { return };
            match message {
                Message::Serve(stream) => self.serve(stream),
                Message::Collect(collection) => {
                    self.engine.recorder.totals.buffered_bytes = self.buffered_bytes as u64;
                    // There is room: the queue has a place for each worker.
                    let _ = collection.parts.push(self.engine.recorder.clone());
                    self.contributed(&collection);
                }
                Message::Collected => self.answer_collected(),
                Message::Stop => {}
            }
        }
    }

    #[cold]
    fn answer(&mut self, collection: &Collection) {
        let slot = collection.connection;
        let asked = |connection: &&mut crate::server::connection::Connection| {
            connection.session.id == collection.session && connection.session.waiting
        };
        let Some(connection) = self.connections.get_mut(slot).filter(asked) else { return };
        connection.session.waiting = false;
        let Some(mut merged) = collection.parts.pop() else { return };
        while let Some(part) = collection.parts.pop() {
            merged.merge(&part);
        }
        let mut output = connection.output.take().or_else(|| self.spare_outputs.pop()).unwrap_or_default();
        match &collection.question {
            Question::Info { sections } => {
                let text = commands::info(&self.engine, &merged, sections);
                reply::verbatim(output.bytes(), connection.session.resp, &text);
            }
            Question::Stats { id } => native::answer_stats(&self.engine, &merged, *id, output.bytes()),
        }
        connection.output = Some(output);
        self.write(slot);
        self.settle(slot);
    }
}
