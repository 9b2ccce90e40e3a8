//! What the machine orders, input by input: whole lists.

use std::time::Duration;

use annulus::cluster::membership::{Input, Liveness, Membership, Output};
use annulus::config::MembershipConfig;
use annulus::message::gossip::Peer;
use annulus::protocol::gossip::GossipCodec;
use annulus::types::{Incarnation, NodeNumber, Timestamp};
use foca::{Codec, Header, Member, Message, State};

type Machine = Membership<GossipCodec>;

/// An order, with what is sent taken apart.
#[derive(Clone, PartialEq, Debug)]
enum Order {
    Send { to: u16, message: Message<Peer>, news: Vec<Member<Peer>> },
    Changed(u16, Liveness),
    Renewed(Peer),
    CloseLink(u16),
}

fn order(output: &Output) -> Order {
    match output {
        Output::Send { to, bytes } => {
            let mut rest = &bytes[..];
            let header = GossipCodec.decode_header(&mut rest).expect("a message");
            assert_eq!(header.dst.node, *to);
            let news = rest.get(2..).map_or_else(Vec::new, |mut members| {
                let count = members.len() / 12;
                (0..count).map(|_| GossipCodec.decode_member(&mut members).expect("a member")).collect()
            });
            Order::Send { to: to.0, message: header.message, news }
        }
        Output::Changed { node, liveness } => Order::Changed(node.0, *liveness),
        Output::Renewed(peer) => Order::Renewed(*peer),
        Output::CloseLink(node) => Order::CloseLink(node.0),
    }
}

fn send(to: u16, message: Message<Peer>, news: &[Member<Peer>]) -> Order {
    Order::Send { to, message, news: news.to_vec() }
}

const fn peer(node: u16) -> Peer {
    Peer::new(NodeNumber(node), Incarnation(10 + node as u32))
}

const fn ms(ms: u64) -> Timestamp {
    Timestamp(ms * 1_000_000)
}

fn suspected(node: u16) -> Member<Peer> {
    Member::new(peer(node), 0, State::Suspect)
}

/// Node 0, at 0 ms, that knows nobody.
fn alone() -> Machine {
    Membership::new(peer(0), MembershipConfig::default(), GossipCodec, 7, ms(0))
}

fn given(machine: &mut Machine, now: Timestamp, input: Input<'_>) -> Vec<Order> {
    let mut out = Vec::new();
    machine.handle(now, input, &mut out);
    out.iter().map(order).collect()
}

/// Node 0, at 0 ms, in a topology with `others`.
fn among(others: &[u16]) -> Machine {
    let mut machine = alone();
    let peers: Vec<Peer> = others.iter().map(|&node| peer(node)).collect();
    given(&mut machine, ms(0), Input::Members(&peers));
    machine
}

/// What `from` sends.
fn message(from: Peer, refutations: u16, to: Peer, message: Message<Peer>, news: &[Member<Peer>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = Header { src: from, src_incarnation: refutations, dst: to, message };
    GossipCodec.encode_header(&header, &mut bytes).expect("there is room");
    if !news.is_empty() {
        bytes.extend_from_slice(&u16::try_from(news.len()).expect("they are few").to_be_bytes());
        for member in news {
            GossipCodec.encode_member(member, &mut bytes).expect("there is room");
        }
    }
    bytes
}

fn heard(machine: &mut Machine, now: Timestamp, from: u16, bytes: &[u8]) -> Vec<Order> {
    given(machine, now, Input::Message { from: NodeNumber(from), bytes })
}

/// Lets time pass up to `until`, looked at whenever it is due; what became of nodes, and when.
fn pass(machine: &mut Machine, until: Timestamp) -> Vec<(u64, Order)> {
    let mut changes = Vec::new();
    while let Some(due) = machine.next_timeout().filter(|due| *due <= until) {
        let mut out = Vec::new();
        machine.handle_timeout(due, &mut out);
        assert!(machine.next_timeout().is_none_or(|next| next > due), "time goes on");
        let changed = out.iter().map(order).filter(|order| !matches!(order, Order::Send { .. }));
        changes.extend(changed.map(|order| (due.0 / 1_000_000, order)));
    }
    changes
}

#[test]
fn nodes_of_the_topology_are_alive_and_asked_who_they_are() {
    let mut machine = alone();
    let orders = given(&mut machine, ms(0), Input::Members(&[peer(0), peer(1), peer(2)]));
    let expected = [
        send(1, Message::Announce, &[]),
        send(2, Message::Announce, &[]),
        Order::Changed(1, Liveness::Alive),
        Order::Changed(2, Liveness::Alive),
    ];
    assert_eq!(orders, expected);
    assert_eq!(given(&mut machine, ms(1), Input::Members(&[peer(0), peer(1), peer(2)])), []);
}

#[test]
fn a_reset_link_suspects_at_once_and_tells_the_others() {
    let mut machine = among(&[1, 2]);
    let mut orders = given(&mut machine, ms(10), Input::LinkLost(NodeNumber(1)));
    let changed = orders.pop();
    assert_eq!(changed, Some(Order::Changed(1, Liveness::Suspected)));
    orders.sort_by_key(|order| if let Order::Send { to, .. } = order { *to } else { 0 });
    assert_eq!(orders, [1, 2].map(|to| send(to, Message::Gossip, &[suspected(1)])));
}

#[test]
fn whoever_refutes_is_alive_and_whoever_does_not_is_dead_after_the_suspicion() {
    // So many that those who do not answer here, all of them, are not most before the verdict.
    let others: Vec<u16> = (1..20).collect();
    let mut machine = among(&others);
    for node in [1, 2] {
        given(&mut machine, ms(10), Input::LinkLost(NodeNumber(node)));
    }
    let refuted = message(peer(1), 1, peer(0), Message::Gossip, &[]);
    assert_eq!(heard(&mut machine, ms(20), 1, &refuted), [Order::Changed(1, Liveness::Alive)]);
    let again = message(peer(1), 1, peer(0), Message::Gossip, &[]);
    assert_eq!(heard(&mut machine, ms(21), 1, &again), []);
    let mut changes = pass(&mut machine, ms(1450));
    changes.retain(|(_, order)| matches!(order, Order::Changed(_, Liveness::Dead)));
    assert_eq!(changes, [(1410, Order::Changed(2, Liveness::Dead))]);
}

#[test]
fn whoever_does_not_answer_a_probe_is_suspected_and_asked_until_it_is_dead() {
    let mut machine = among(&[1]);
    let changes = pass(&mut machine, ms(2500));
    let expected = [(400, Order::Changed(1, Liveness::Suspected)), (1800, Order::Changed(1, Liveness::Dead))];
    assert_eq!(changes, expected);
}

#[test]
fn a_node_that_is_cut_off_is_patient_and_then_judges_all_at_once() {
    let mut machine = among(&[1, 2]);
    let changes = pass(&mut machine, ms(5000));
    let nodes: Vec<u16> = changes
        .iter()
        .map(|(_, order)| if let Order::Changed(node, _) = order { *node } else { panic!("{order:?}") })
        .collect();
    let [first, second] = [nodes[0], nodes[1]];
    let expected = [
        (400, Order::Changed(first, Liveness::Suspected)),
        (600, Order::Changed(second, Liveness::Suspected)),
        // Twice the suspicion, and then the other's verdict is overdue.
        (3200, Order::Changed(1, Liveness::Dead)),
        (3200, Order::Changed(2, Liveness::Dead)),
    ];
    assert_eq!(changes, expected);
}

#[test]
fn a_suspected_node_is_told_at_every_beat_and_asked_who_it_is() {
    let mut machine = among(&[1]);
    given(&mut machine, ms(10), Input::LinkLost(NodeNumber(1)));
    let mut out = Vec::new();
    machine.handle_timeout(ms(200), &mut out);
    let orders: Vec<Order> = out.iter().map(order).collect();
    let news = [suspected(1)];
    let expected = [
        send(1, Message::Gossip, &news),
        send(1, Message::Announce, &[]),
        send(1, Message::Ping(0), &news),
        send(1, Message::Ping(1), &news),
    ];
    assert_eq!(orders, expected);
    assert_eq!(
        given(&mut machine, ms(210), Input::LinkUp(NodeNumber(1))),
        [send(1, Message::Announce, &[]), send(1, Message::Ping(0), &news)]
    );
}

#[test]
fn whoever_slept_gives_others_a_whole_suspicion_and_more() {
    let mut machine = among(&[1]);
    given(&mut machine, ms(10), Input::LinkLost(NodeNumber(1)));
    let mut out = Vec::new();
    machine.handle_timeout(ms(3000), &mut out);
    let expected = 3000 + 2 * MembershipConfig::default().suspicion.as_millis() as u64;
    let changes = pass(&mut machine, ms(10_000));
    // The doubt lasts a second; then a suspicion is as long as ever.
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!((4400..=expected).contains(&changes[0].0), "{changes:?}");
    assert_eq!(changes[0].1, Order::Changed(1, Liveness::Dead));
}

#[test]
fn what_waits_for_whoever_slept_counts_before_anything_is_held_against_the_sender() {
    let mut machine = among(&[1]);
    pass(&mut machine, ms(200));
    let ack = message(peer(1), 0, peer(0), Message::Ack(1), &[]);
    let mut out = Vec::new();
    machine.handle_timeout(ms(3400), &mut out);
    assert!(!out.iter().any(|output| matches!(output, Output::Changed { .. })), "{out:?}");
    assert_eq!(heard(&mut machine, ms(3400), 1, &ack), []);
    assert_eq!(pass(&mut machine, ms(3600)), []);
}

#[test]
fn strangers_and_older_incarnations_are_not_heard_of() {
    let mut machine = among(&[1, 2]);
    let (stranger, older) = (peer(9), Peer::new(NodeNumber(2), Incarnation(3)));
    let backlog = machine.backlog();
    let news = [Member::alive(stranger), Member::down(older)];
    let gossip = message(peer(1), 0, peer(0), Message::Gossip, &news);
    assert_eq!(heard(&mut machine, ms(10), 1, &gossip), []);
    let from_stranger = message(stranger, 0, peer(0), Message::Ping(1), &[]);
    assert_eq!(heard(&mut machine, ms(10), 9, &from_stranger), []);
    let pretending = message(peer(2), 0, peer(0), Message::Ping(1), &[]);
    assert_eq!(heard(&mut machine, ms(10), 1, &pretending), []);
    let for_stranger =
        message(peer(1), 0, peer(0), Message::PingReq { target: stranger, probe_number: 1 }, &[]);
    assert_eq!(heard(&mut machine, ms(10), 1, &for_stranger), []);
    assert_eq!(machine.backlog(), backlog);
}

#[test]
fn a_node_declared_dead_renews_itself_and_says_so() {
    let mut machine = among(&[1]);
    let dead = message(peer(1), 0, peer(0), Message::TurnUndead, &[]);
    let renewed = Peer { renewal: 1, ..peer(0) };
    let old = Member::down(peer(0));
    let expected = [send(1, Message::Gossip, &[old]), Order::Renewed(renewed)];
    assert_eq!(heard(&mut machine, ms(10), 1, &dead), expected);
    assert_eq!(machine.identity(), renewed);
    assert_eq!(heard(&mut machine, ms(11), 1, &dead), [], "it was about the old identity");
}

#[test]
fn a_new_incarnation_or_renewal_takes_the_place_of_the_dead() {
    let mut machine = among(&[1, 2]);
    let dead = [Member::down(peer(1)), Member::down(peer(2))];
    let gossip = message(peer(1), 0, peer(0), Message::Gossip, &dead);
    let orders = heard(&mut machine, ms(10), 1, &gossip);
    assert_eq!(orders, [Order::Changed(1, Liveness::Dead), Order::Changed(2, Liveness::Dead)]);
    let restarted = Peer::new(NodeNumber(1), Incarnation(99));
    let orders = given(&mut machine, ms(11), Input::Members(&[peer(0), restarted, peer(2)]));
    let changed: Vec<&Order> = orders.iter().filter(|order| !matches!(order, Order::Send { .. })).collect();
    assert_eq!(changed, [&Order::Changed(1, Liveness::Alive)]);
    let renewed = Peer { renewal: 1, ..peer(2) };
    let gossip = message(renewed, 0, peer(0), Message::Gossip, &[]);
    assert_eq!(heard(&mut machine, ms(12), 2, &gossip), [Order::Changed(2, Liveness::Alive)]);
}

#[test]
fn a_removed_node_is_forgotten_and_spoken_to_no_more() {
    let mut machine = among(&[1, 2]);
    given(&mut machine, ms(10), Input::LinkLost(NodeNumber(1)));
    assert_eq!(given(&mut machine, ms(20), Input::Members(&[peer(0), peer(2)])), []);
    let mut now = ms(20);
    while let Some(due) = machine.next_timeout().filter(|due| *due <= ms(5000)) {
        now = due;
        let mut out = Vec::new();
        machine.handle_timeout(now, &mut out);
        assert!(out.iter().all(|output| !matches!(output, Output::Send { to: NodeNumber(1), .. })));
    }
    assert!(now > ms(4000));
    assert!(machine.livenesses().all(|(node, _)| node == NodeNumber(2)));
}

#[test]
fn what_is_no_gossip_closes_the_link() {
    let mut machine = among(&[1]);
    let sound = message(peer(1), 0, peer(0), Message::Ping(1), &[suspected(1)]);
    let longer = [&sound[..], b"x"].concat();
    let huge = vec![1; 1401];
    for bytes in [&b""[..], &sound[..sound.len() - 1], &longer, &huge] {
        assert_eq!(heard(&mut machine, ms(10), 1, bytes), [Order::CloseLink(1)]);
    }
}

#[test]
fn whoever_leaves_tells_the_others_and_is_done() {
    let mut machine = among(&[1]);
    let orders = given(&mut machine, ms(10), Input::Leaving);
    assert_eq!(orders, [send(1, Message::Gossip, &[Member::down(peer(0))])]);
    assert_eq!(machine.next_timeout(), None);
    let dead = message(peer(1), 0, peer(0), Message::TurnUndead, &[]);
    assert_eq!(heard(&mut machine, ms(11), 1, &dead), []);
    let mut out = Vec::new();
    machine.handle_timeout(ms(11).after(Duration::from_secs(9)), &mut out);
    assert_eq!(out, []);
}
