//! Clients that vanish, a thousand times, in the middle of a request and of a reply: nothing of them stays.

use std::net::SocketAddr;

use crate::harness::{Client, Process, Reply, request, wait_until};

/// How many clients are killed in each test.
const KILLS: usize = 1_000;

/// How a client dies: with what it has sent, and whether with a reset instead of an end.
fn kill(address: SocketAddr, sent: &[u8], abruptly: bool) {
    let mut client = Client::narrow(address);
    client.try_send(sent);
    if abruptly {
        socket2::SockRef::from(&client.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
}

/// Kills clients that had sent each of `sent` in turn, and checks that the node is as it was.
fn assert_nothing_stays(sent: &[Vec<u8>]) {
    let process = Process::start(&[]);
    let mut observer = Client::connect(process.address);
    assert_eq!(observer.call(&["SET", "long", &"v".repeat(200_000)]), Reply::ok());
    let used = observer.info("used_memory");
    let round = |count: usize, observer: &mut Client| {
        for number in 0..count {
            kill(process.address, &sent[number % sent.len()], number % 2 == 1);
        }
        wait_until("all are forgotten", || observer.info("connected_clients") == 1);
    };
    // Buffers that are kept for later connections are no leak: they are there after the first few.
    round(100, &mut observer);
    let (descriptors, resident) = (process.descriptors(), process.resident_bytes());
    round(KILLS, &mut observer);
    assert_eq!(observer.info("buffered_bytes"), 0);
    // Values that were being sent were kept alive for that only.
    assert_eq!(observer.info("used_memory"), used);
    wait_until("the descriptors are back", || process.descriptors() == descriptors);
    let grown = process.resident_bytes().saturating_sub(resident);
    println!("{KILLS} kills: {descriptors} descriptors before and after, {grown} bytes more in memory");
    // Each of two workers may keep 64 outputs of 256 KiB; what each of the killed left behind would be more.
    assert!(grown < 40 << 20, "{grown} bytes more after {KILLS} kills");
}

#[test]
fn in_the_middle_of_a_request() {
    let mut long = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2000000\r\n".to_vec();
    long.extend(vec![b'v'; 1_000_000]);
    let mut native = annulus::protocol::preamble::encode_preamble(Default::default()).to_vec();
    native.extend([200, 0, 0, 0, 1, 0, 0, 0, 32]);
    let sent =
        [b"*2\r\n$3\r\nGET\r\n$4\r\nlo".to_vec(), long, native, Vec::new(), b"PI".to_vec(), vec![0x8A]];
    assert_nothing_stays(&sent);
}

#[test]
fn in_the_middle_of_a_reply() {
    let sent = [
        request(&["GET", "long"]).repeat(20),
        request(&["MGET", "long", "long", "long"]),
        request(&["INFO"]).repeat(50),
        [request(&["PING"]).repeat(3_000), request(&["GET", "long"]), b"*1\r\n$4".to_vec()].concat(),
        [request(&["GET", "long"]), request(&["QUIT"]), request(&["PING"]).repeat(3_000)].concat(),
    ];
    assert_nothing_stays(&sent);
}
