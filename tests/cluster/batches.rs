//! Batches of the native protocol in a cluster.

use annulus::client::Operations;
use annulus::message::{Condition, ExpiryChange, Outcome, Refusal, Reply, Request};
use annulus::types::Level;

use crate::nodes::Cluster;

#[test]
fn a_batch_has_an_outcome_for_each_of_its_requests_in_their_order() {
    let cluster = Cluster::start(3);
    let put = |key: &'static [u8], value: &'static [u8], condition| Request::Put {
        key,
        value,
        condition,
        expiry: ExpiryChange::Clear,
    };
    for level in [Level::One, Level::Quorum, Level::All] {
        let mut client = cluster.native(1, level);
        let keys: Vec<Vec<u8>> = (0..1000_u32).map(|key| format!("{level:?}:{key}").into_bytes()).collect();
        let mut batch = client.batch();
        for key in &keys {
            let (condition, expiry) = (Condition::Always, ExpiryChange::Clear);
            batch.push(Request::Put { key, value: key, condition, expiry }).unwrap();
        }
        let answers = batch.run().unwrap();
        assert_eq!(answers.len(), 1000);
        assert!(answers.iter().all(|outcome| matches!(outcome, Outcome::Done(Reply::Written { .. }))));
        let mut batch = client.batch();
        keys.iter().for_each(|key| _ = batch.push(Request::Get { key }).unwrap());
        let answers = batch.run().unwrap();
        for (key, outcome) in keys.iter().zip(answers.iter()) {
            assert!(
                matches!(outcome, Outcome::Done(Reply::Value { value, .. }) if value == key),
                "{outcome:?}"
            );
        }
    }
    let mut client = cluster.native(2, Level::Quorum);
    let mut batch = client.batch();
    batch.push(put(b"a", b"1", Condition::Always)).unwrap();
    batch.push(Request::Get { key: b"a" }).unwrap();
    batch.push(Request::Ping).unwrap();
    batch.push(put(b"b", b"1", Condition::Absent)).unwrap();
    batch.push(Request::Get { key: b"none" }).unwrap();
    batch.push(Request::Get { key: b"none" }).unwrap();
    batch.push(Request::Remove { key: b"none", condition: Condition::Always }).unwrap();
    let answers = batch.run().unwrap();
    let told: Vec<Outcome<'_>> = answers.iter().collect();
    let refused =
        |outcome: &Outcome<'_>| matches!(outcome, Outcome::Refused { reason: Refusal::Unavailable, .. });
    let written = |outcome: &Outcome<'_>| matches!(outcome, Outcome::Done(Reply::Written { .. }));
    assert!(written(&told[0]) && written(&told[3]), "{told:?}");
    assert!(refused(&told[1]) && refused(&told[6]), "{told:?}");
    assert!(matches!(told[2], Outcome::Done(Reply::Pong)), "{told:?}");
    assert_eq!((&told[4], &told[5]), (&Outcome::Done(Reply::Absent), &Outcome::Done(Reply::Absent)));
    // What is asked behind a batch waits for it.
    assert_eq!(client.get(b"a").unwrap().expect("it was written").value, b"1");
    assert_eq!(client.batch().run().unwrap().len(), 0);
}
