//! The mailbox between workers, run through the orders in which its threads can meet: nothing is lost, nothing comes
//! twice, and an owner that sleeps is woken for every message that was accepted.
//!
//! The code is the node's own, `src/server/mailbox.rs`; its atomics, queue and waker are those of the model checker
//! loom, which also shows old values to loads that are too weakly ordered. Not modelled: the inside of the lock-free
//! queue, which a lock stands for, and the kernel.

use std::sync::atomic::{AtomicU64, Ordering};

use loom::sync::{Arc, Mutex};
use loom::thread;

use server::mailbox::Mailbox;
use server::sync::{Bell, Waker};

/// Stands for the node's module of that name, so that the file finds what it imports.
#[path = "../src/server"]
mod server {
    pub(crate) mod mailbox;

    /// The parts, as a model checker has them.
    pub(crate) mod sync {
        use std::collections::VecDeque;
        use std::io;

        pub(crate) use loom::sync::atomic::{AtomicBool, Ordering};
        use loom::sync::{Arc, Condvar, Mutex};

        /// A bounded queue whose operations happen at once.
        pub(crate) struct ArrayQueue<M> {
            capacity: usize,
            messages: Mutex<VecDeque<M>>,
        }

        impl<M> ArrayQueue<M> {
            pub(crate) fn new(capacity: usize) -> Self {
                Self { capacity, messages: Mutex::new(VecDeque::new()) }
            }

            pub(crate) fn push(&self, message: M) -> Result<(), M> {
                let mut messages = self.messages.lock().expect("no thread panics with it");
                if messages.len() == self.capacity {
                    return Err(message);
                }
                messages.push_back(message);
                Ok(())
            }

            pub(crate) fn pop(&self) -> Option<M> {
                self.messages.lock().expect("no thread panics with it").pop_front()
            }

            pub(crate) fn is_empty(&self) -> bool {
                self.messages.lock().expect("no thread panics with it").is_empty()
            }
        }

        /// What an event loop sleeps on: rings are remembered until it looks, however many as one.
        pub(crate) struct Bell {
            rung: Mutex<bool>,
            ringing: Condvar,
        }

        impl Bell {
            pub(crate) fn new() -> Self {
                Self { rung: Mutex::new(false), ringing: Condvar::new() }
            }

            /// Sleeps until it rings, if `may_sleep`; takes the ring away.
            pub(crate) fn poll(&self, may_sleep: bool) {
                let mut rung = self.rung.lock().expect("no thread panics with it");
                while may_sleep && !*rung {
                    rung = self.ringing.wait(rung).expect("no thread panics with it");
                }
                *rung = false;
            }
        }

        /// Rings the bell, or fails to as often as it is told.
        pub(crate) struct Waker {
            pub(crate) bell: Arc<Bell>,
            pub(crate) failures: Mutex<usize>,
        }

        impl Waker {
            pub(crate) fn wake(&self) -> io::Result<()> {
                let mut failures = self.failures.lock().expect("no thread panics with it");
                if *failures > 0 {
                    *failures -= 1;
                    return Err(io::ErrorKind::OutOfMemory.into());
                }
                *self.bell.rung.lock().expect("no thread panics with it") = true;
                self.bell.ringing.notify_one();
                Ok(())
            }
        }
    }
}

/// How often an order may take a thread off in mid-course; switches where a thread waits or ends are free.
/// `LOOM_MAX_PREEMPTIONS` allows more.
const PREEMPTIONS_MAX: usize = 3;

/// An owner and its mailbox.
struct Owner {
    bell: Arc<Bell>,
    mailbox: Arc<Mailbox<u32>>,
}

impl Owner {
    fn new(capacity: usize, failures: usize) -> Self {
        let bell = Arc::new(Bell::new());
        let waker = Waker { bell: bell.clone(), failures: Mutex::new(failures) };
        Self { bell, mailbox: Arc::new(Mailbox::new(capacity, waker)) }
    }

    /// One turn of the event loop: sleeps until it is woken, then takes what there is. A worker looks before it sleeps;
    /// the mailbox has to do without, unless waking fails.
    fn turn(&self, received: &mut Vec<u32>) {
        self.turn_that_sleeps_if(true, received);
    }

    fn turn_that_sleeps_if(&self, may_sleep: bool, received: &mut Vec<u32>) {
        self.bell.poll(may_sleep);
        received.extend(std::iter::from_fn(|| self.mailbox.receive()));
    }

    /// Has a thread send these, one after the other; it returns those that were refused.
    fn sender(&self, messages: std::ops::Range<u32>) -> thread::JoinHandle<Vec<u32>> {
        let mailbox = self.mailbox.clone();
        thread::spawn(move || messages.filter_map(|message| mailbox.send(message).err()).collect())
    }
}

/// Runs `scenario` in every order with so few preemptions; a thread that sleeps for ever fails it.
fn in_every_order(name: &str, scenario: fn()) {
    let orders = std::sync::Arc::new(AtomicU64::new(0));
    let counted = orders.clone();
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(PREEMPTIONS_MAX));
    model.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        scenario();
    });
    let orders = orders.load(Ordering::Relaxed);
    println!("{name}: {orders} orders");
    assert!(orders > 50, "{name}: {orders} orders are too few to have tried anything");
}

#[test]
fn two_senders_and_an_owner_that_sleeps_between() {
    in_every_order("two senders", || {
        let owner = Owner::new(2, 0);
        let senders = [owner.sender(0..1), owner.sender(1..2)];
        let mut received = Vec::new();
        while received.len() < 2 {
            owner.turn(&mut received);
        }
        received.sort_unstable();
        assert_eq!(received, [0, 1]);
        for sender in senders {
            assert!(sender.join().expect("it sends").is_empty());
        }
        assert_eq!(owner.mailbox.receive(), None);
    });
}

#[test]
fn messages_of_one_sender_come_in_order() {
    in_every_order("one sender", || {
        let owner = Owner::new(3, 0);
        let sender = owner.sender(0..3);
        let mut received = Vec::new();
        while received.len() < 3 {
            owner.turn(&mut received);
        }
        assert_eq!(received, [0, 1, 2]);
        assert!(sender.join().expect("it sends").is_empty());
    });
}

#[test]
fn a_full_mailbox_gives_back_what_it_does_not_take() {
    in_every_order("full mailbox", || {
        let owner = Owner::new(1, 0);
        let senders = [owner.sender(0..1), owner.sender(1..2)];
        let mut received = Vec::new();
        owner.turn(&mut received);
        let refused = senders.map(|sender| sender.join().expect("it sends")).concat();
        while received.len() + refused.len() < 2 {
            owner.turn(&mut received);
        }
        received.extend(refused);
        received.sort_unstable();
        assert_eq!(received, [0, 1]);
    });
}

#[test]
fn a_wake_up_that_failed_is_made_up_for_by_the_next() {
    in_every_order("failed wake-up", || {
        let owner = Owner::new(2, 1);
        let sender = owner.sender(0..2);
        let mut received = Vec::new();
        while received.len() < 2 {
            owner.turn_that_sleeps_if(owner.mailbox.is_empty(), &mut received);
        }
        assert_eq!(received, [0, 1]);
        assert!(sender.join().expect("it sends").is_empty());
    });
}
