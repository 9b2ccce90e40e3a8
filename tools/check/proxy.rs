//! What stands between nodes: it passes on what they say to each other, late, in part, or not at all.
//!
//! Invariant: bytes that are passed on are those that came, in their order; after some were swallowed, nothing more is
//! passed on of that connection. Who connects is read from the introduction that every link begins with.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Bytes that every link begins with, from who connects.
const INTRODUCTION_BYTES: usize = 32;

/// Where in them the number of the node stands: two bytes, the lower first. A process that has yet to join has 0.
const NODE_AT: usize = 6;

/// How often a thread that has nothing to pass on looks whether it may.
const LOOK: Duration = Duration::from_millis(10);

/// How long who connects may take to introduce himself, and a node to be connected to.
const PATIENCE: Duration = Duration::from_secs(5);

/// What becomes of the bytes from one node to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Passage {
    /// They are passed on.
    #[default]
    Open,
    /// They are passed on so many milliseconds late.
    Late(u64),
    /// They wait.
    Stalled,
    /// They are swallowed; the connection is reset when that ends.
    Swallowed,
}

/// The passages between all nodes, by place: from whom, to whom.
#[derive(Debug)]
pub(crate) struct Passages {
    nodes: usize,
    passages: RwLock<Vec<Passage>>,
    /// Connections to and from a node that were made before this number changed are reset.
    resets: Vec<AtomicU64>,
    ended: AtomicBool,
}

impl Passages {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            nodes,
            passages: RwLock::new(vec![Passage::default(); nodes * nodes]),
            resets: (0..nodes).map(|_| AtomicU64::new(0)).collect(),
            ended: AtomicBool::new(false),
        }
    }

    pub(crate) fn set(&self, from: usize, to: usize, passage: Passage) {
        let mut passages = self.passages.write().unwrap_or_else(PoisonError::into_inner);
        passages[from * self.nodes + to] = passage;
    }

    /// Opens all.
    pub(crate) fn open(&self) {
        self.passages.write().unwrap_or_else(PoisonError::into_inner).fill(Passage::Open);
    }

    /// Resets every connection of a node.
    pub(crate) fn reset(&self, node: usize) {
        self.resets[node].fetch_add(1, Ordering::Relaxed);
    }

    /// Who is not known yet is nobody's: nothing happens to him.
    fn get(&self, from: Option<usize>, to: Option<usize>) -> Passage {
        let (Some(from), Some(to)) = (from, to) else { return Passage::Open };
        self.passages.read().unwrap_or_else(PoisonError::into_inner)[from * self.nodes + to]
    }

    fn resets_of(&self, one: Option<usize>, other: Option<usize>) -> u64 {
        let of = |node: Option<usize>| node.map_or(0, |node| self.resets[node].load(Ordering::Relaxed));
        of(one) + of(other)
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// What stands before one node.
#[derive(Debug)]
pub(crate) struct Proxy {
    passages: Arc<Passages>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens, and passes on to the node of a place, which is reached at `to`.
    pub(crate) fn start(
        listener: TcpListener,
        to: SocketAddr,
        place: usize,
        passages: &Arc<Passages>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let passages_there = Arc::clone(passages);
        let thread = thread::Builder::new().name(format!("proxy-{place}")).spawn(move || {
            while !passages_there.has_ended() {
                match listener.accept() {
                    Ok((stream, _)) => begin(stream, to, place, &passages_there),
                    Err(_) => thread::sleep(LOOK), // A listener that does not wait: it must be able to end.
                }
            }
        })?;
        Ok(Self { passages: Arc::clone(passages), thread: Some(thread) })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.passages.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Passes a connection on, in threads of its own.
fn begin(stream: TcpStream, to: SocketAddr, place: usize, passages: &Arc<Passages>) {
    let passages = Arc::clone(passages);
    // A thread that cannot be started is a connection that breaks.
    let _ = thread::Builder::new().name(format!("link-{place}")).spawn(move || {
        let _ = pass_on(stream, to, place, &passages);
    });
}

fn pass_on(mut near: TcpStream, to: SocketAddr, place: usize, passages: &Arc<Passages>) -> io::Result<()> {
    near.set_nonblocking(false)?;
    near.set_read_timeout(Some(PATIENCE))?;
    let mut introduction = [0; INTRODUCTION_BYTES];
    near.read_exact(&mut introduction)?;
    let number = u16::from_le_bytes([introduction[NODE_AT], introduction[NODE_AT + 1]]);
    // Nodes are numbered from 1 in the order in which they joined, which is that of their places.
    let from = usize::from(number).checked_sub(1).filter(|&from| from < passages.nodes);
    let mut far = TcpStream::connect_timeout(&to, PATIENCE)?;
    for stream in [&near, &far] {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK))?;
    }
    let before = passages.resets_of(from, Some(place));
    far.write_all(&introduction)?;
    let there = Way { from, to: Some(place), near: near.try_clone()?, far: far.try_clone()?, resets: before };
    let back = Way { from: Some(place), to: from, near: far, far: near, resets: before };
    let passages_back = Arc::clone(passages);
    thread::Builder::new().name(format!("link-{place}-back")).spawn(move || back.run(&passages_back))?;
    there.run(passages);
    Ok(())
}

/// One direction of a connection.
struct Way {
    from: Option<usize>,
    to: Option<usize>,
    near: TcpStream,
    far: TcpStream,
    /// What the resets of both came to when it began.
    resets: u64,
}

impl Way {
    fn run(mut self, passages: &Passages) {
        // How it ended is of no interest: either side finds out when both are closed.
        let _ = self.pass(passages);
        for stream in [&self.near, &self.far] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn pass(&mut self, passages: &Passages) -> io::Result<()> {
        let mut bytes = vec![0; 64 << 10];
        let mut swallowed = false;
        loop {
            let may_go_on = passages.resets_of(self.from, self.to) == self.resets && !passages.has_ended();
            let passage = passages.get(self.from, self.to);
            if !may_go_on || (swallowed && passage != Passage::Swallowed) {
                return Ok(());
            }
            if passage == Passage::Stalled {
                thread::sleep(LOOK); // It is stalled on purpose.
                continue;
            }
            let count = match self.near.read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            match passages.get(self.from, self.to) {
                Passage::Swallowed => swallowed = true,
                Passage::Late(ms) => {
                    thread::sleep(Duration::from_millis(ms)); // It is late on purpose.
                    self.far.write_all(&bytes[..count])?;
                }
                // What was read before it stalled was under way.
                Passage::Open | Passage::Stalled => self.far.write_all(&bytes[..count])?,
            }
        }
    }
}
