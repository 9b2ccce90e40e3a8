//! What clients of a quorum store see is regular; with a bug in the store, some promise is soon seen broken.

use std::collections::BTreeMap;

use annulus::history::{Key, Promise, Verdict, regularity};

use crate::replicas::{Bug, Told, history};

#[test]
fn a_correct_store_is_never_accused() {
    for told in [Told::All, Told::OfValues, Told::None] {
        for seed in 0..5_000 {
            let history = history(seed, Bug::None, told);
            for check in regularity::CHECKS {
                let verdict = check(&history.key(Key(0)));
                assert_eq!(verdict, Verdict::Holds, "seed {seed}, versions told: {told:?}, {verdict:?}");
            }
        }
    }
}

/// How often each promise is seen broken in 1,000 histories.
fn breaches(bug: Bug, told: Told) -> BTreeMap<String, usize> {
    let mut breaches = BTreeMap::new();
    for seed in 0..1_000 {
        let history = history(seed, bug, told);
        for check in regularity::CHECKS {
            if let Verdict::Violation(violation) = check(&history.key(Key(0))) {
                *breaches.entry(format!("{:?}", violation.promise)).or_default() += 1;
            }
        }
    }
    println!("{bug:?}, versions told: {told:?}: {breaches:?}");
    breaches
}

#[test]
fn every_bug_is_found_by_the_promise_it_breaks() {
    let cases = [
        (Bug::NoWriteBack, Promise::ReadsNeverGoBack, [true, true, true]),
        (Bug::AcknowledgedByOne, Promise::AcknowledgedWritesStay, [true, true, true]),
        (Bug::ReadFromOne, Promise::AcknowledgedWritesStay, [true, true, true]),
        (Bug::ReadFromOne, Promise::ReadsNeverGoBack, [true, true, true]),
        (Bug::NoTombstone, Promise::RemovedStaysRemoved, [true, true, true]),
        (Bug::RefusedAfterSending, Promise::ReadsWereWritten, [true, true, true]),
        (Bug::RefusalCounts, Promise::AcknowledgedWritesStay, [true, true, true]),
        (Bug::SharedWriter, Promise::OneValueAVersion, [true, true, false]),
    ];
    for (bug, promise, found) in cases {
        for (told, is_found) in [Told::All, Told::OfValues, Told::None].into_iter().zip(found) {
            let times = breaches(bug, told).get(&format!("{promise:?}")).copied().unwrap_or(0);
            assert_eq!(times >= 10, is_found, "{bug:?} breaks {promise:?} {times} times in 1,000");
        }
    }
}
