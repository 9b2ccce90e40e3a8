//! A rolling restart under load: a node at a time, each whole again before the next.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use annulus::client::{Client, Error, Operations};
use annulus::types::Level;
use rustix::process::Signal;

use crate::harness::wait_until;
use crate::nodes::Cluster;

const CLIENTS: usize = 6;

/// A client that knows all nodes, keeps to one, and when that fails asks the next, once.
struct Retrying<'c> {
    cluster: &'c [std::net::SocketAddr],
    at: usize,
    client: Option<Client>,
}

impl Retrying<'_> {
    fn once<T>(&mut self, ask: &mut impl FnMut(&mut Client) -> Result<T, Error>) -> Result<T, Error> {
        if self.client.is_none() {
            let address = self.cluster[self.at % self.cluster.len()];
            self.client = Some(Client::connect(address)?.with_level(Level::Quorum));
        }
        ask(self.client.as_mut().expect("just connected"))
    }

    fn ask<T>(&mut self, mut ask: impl FnMut(&mut Client) -> Result<T, Error>) -> Result<T, Error> {
        self.once(&mut ask).or_else(|_| {
            self.client = None;
            self.at += 1;
            self.once(&mut ask)
        })
    }
}

#[test]
fn a_rolling_restart_fails_nobody_who_tries_twice() {
    let mut cluster = Cluster::start(3);
    let addresses: Vec<_> = cluster.nodes.iter().map(|node| node.address).collect();
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let started = std::time::Instant::now();
    let failures: Vec<String> = std::thread::scope(|scope| {
        let work = |number: usize| {
            let (stop, done, addresses) = (&stop, &done, &addresses);
            scope.spawn(move || {
                let mut client = Retrying { cluster: addresses, at: number, client: None };
                let (mut failures, mut round) = (Vec::new(), 0_u64);
                while !stop.load(Ordering::Relaxed) {
                    let key = format!("rolling:{number}:{}", round % 50).into_bytes();
                    let value = round.to_string().into_bytes();
                    // Alone on its keys, it must read what it wrote.
                    let asked = client.ask(|client| client.put(&key, &value).map(|_| ()));
                    let read = asked.and_then(|()| client.ask(|client| client.get(&key)));
                    match read {
                        Ok(Some(entry)) if entry.value == value => _ = done.fetch_add(1, Ordering::Relaxed),
                        Ok(entry) => failures.push(format!("{entry:?} is not what was written")),
                        Err(error) => failures.push(format!(
                            "at node {}, {:?}: {error}",
                            client.at % 3,
                            started.elapsed()
                        )),
                    }
                    round += 1;
                }
                failures
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(work).collect();
        for (node, &address) in addresses.iter().enumerate() {
            let before = done.load(Ordering::Relaxed);
            wait_until("clients work", || done.load(Ordering::Relaxed) > before + 200);
            println!("TERM {node} {:?}", started.elapsed());
            cluster.nodes[node].signal(Signal::TERM);
            cluster.nodes[node].exit();
            println!("gone {node} {:?}", started.elapsed());
            cluster.restart_at(node, address);
            println!("back {node} {:?}", started.elapsed());
            wait_until("it is whole", || {
                let whole = |other| cluster.described(other, node).get("state") == "active";
                (0..3).all(|other| whole(other) && cluster.links(other) == 4)
            });
        }
        println!("end {:?}", started.elapsed());
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().expect("no client panics")).collect()
    });
    println!("{} rounds of a write and a read", done.load(Ordering::Relaxed));
    failures.iter().take(12).for_each(|failure| println!("{failure}"));
    assert!(failures.is_empty(), "{} failed: {:?}", failures.len(), failures.first());
}
