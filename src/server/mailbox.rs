//! Messages between workers: a bounded lock-free queue, and a wake-up that is sent once for many messages.
//!
//! Invariant: a message that was accepted is seen by the owner's next turn; a full mailbox refuses, it never
//! blocks. Wake-ups are coalesced: as long as one is on its way no other is sent.

use std::io;

use crate::server::sync::{ArrayQueue, AtomicBool, Ordering, Waker};

/// The mailbox of one event loop.
pub(crate) struct Mailbox<M> {
    queue: ArrayQueue<M>,
    waker: Waker,
    awake: AtomicBool,
}

impl<M> Mailbox<M> {
    /// A mailbox for `capacity` messages whose owner is woken by `waker`.
    pub(crate) fn new(capacity: usize, waker: Waker) -> Self {
        Self { queue: ArrayQueue::new(capacity), waker, awake: AtomicBool::new(false) }
    }

    /// Puts a message in; gives it back if the mailbox is full or its owner cannot be woken.
    pub(crate) fn send(&self, message: M) -> Result<(), M> {
        self.queue.push(message)?;
        if !self.awake.swap(true, Ordering::AcqRel) && self.wake().is_err() {
            // The message stays: the owner looks at its mailbox at each turn anyway.
            self.awake.store(false, Ordering::Release);
        }
        Ok(())
    }

    /// Whether nothing waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn wake(&self) -> io::Result<()> {
        self.waker.wake()
    }

    /// The next message. The owner calls it until there is none.
    #[inline]
    pub(crate) fn receive(&self) -> Option<M> {
        if self.queue.is_empty() && !self.awake.load(Ordering::Relaxed) {
            return None;
        }
        // Exchanged, not only stored: a sender's exchange comes before this one, and then its message is seen below, or
        // after it, and then it wakes the owner again. That holds whatever the queue orders.
        self.awake.swap(false, Ordering::AcqRel);
        self.queue.pop()
    }
}
