//! What quorum reads and writes promise, each broken once, and what looks broken but is not.

use annulus::history::regularity::Coverage;
use annulus::history::{Ask, Promise};
use annulus::types::Level;

use crate::script::Script;

const READ: Ask = Ask::Read;

#[test]
fn a_lost_write_shows_by_version_and_by_value() {
    let mut by_version = Script::new();
    by_version.applied(0, 0..=1, Ask::write(1), 5).applied(0, 2..=3, Ask::write(2), 6).holds(
        1,
        4..=5,
        READ,
        &[1],
        5,
    );
    by_version.breaks(Promise::AcknowledgedWritesStay, &[1, 2]);
    let mut by_value = Script::new();
    by_value.write(0, 0..=1, 1).write(0, 2..=3, 2).read(1, 4..=5, 1);
    by_value.breaks(Promise::AcknowledgedWritesStay, &[0, 1, 2]);
    let mut absent = Script::new();
    absent.write(0, 0..=1, 1).read_absent(1, 2..=3);
    absent.breaks(Promise::AcknowledgedWritesStay, &[0, 1]);
}

#[test]
fn a_write_acknowledged_below_another_is_lost() {
    let mut script = Script::new();
    script.applied(0, 0..=1, Ask::write(1), 6).applied(1, 2..=3, Ask::write(2), 5);
    script.breaks(Promise::AcknowledgedWritesStay, &[0, 1]);
    let mut concurrent = Script::new();
    concurrent.applied(0, 0..=2, Ask::write(1), 6).applied(1, 2..=3, Ask::write(2), 5);
    concurrent.is_regular();
}

#[test]
fn reads_going_back_show_by_version_and_by_value() {
    let mut by_version = Script::new();
    by_version.applied(0, 0..=1, Ask::write(1), 5).unknown(0, 2..=3, Ask::write(2));
    by_version.holds(1, 4..=5, READ, &[2], 6).holds(2, 6..=7, READ, &[1], 5);
    by_version.breaks(Promise::ReadsNeverGoBack, &[2, 3]);
    let mut by_value = Script::new();
    by_value.write(0, 0..=1, 1).unknown(0, 2..=3, Ask::write(2)).read(1, 4..=5, 2).read(2, 6..=7, 1);
    by_value.breaks(Promise::ReadsNeverGoBack, &[0, 2, 3]);
}

#[test]
fn a_removed_value_that_returns_is_found() {
    let mut by_value = Script::new();
    by_value.write(0, 0..=1, 1).remove(0, 2..=3).read(1, 4..=5, 1);
    by_value.breaks(Promise::RemovedStaysRemoved, &[0, 1, 2]);
    let mut by_version = Script::new();
    by_version.unknown(0, 0..=1, Ask::write(1)).applied(0, 2..=3, Ask::remove(), 8);
    by_version.holds(1, 4..=5, READ, &[1], 5);
    by_version.breaks(Promise::RemovedStaysRemoved, &[1, 2]);
}

#[test]
fn a_removed_value_may_return_if_it_is_or_may_be_written_again() {
    Script::new().write(0, 0..=1, 1).remove(0, 2..=3).write(0, 4..=5, 1).read(1, 6..=7, 1).is_regular();
    Script::new().unknown(0, 0..=1, Ask::write(1)).remove(0, 2..=3).read(1, 4..=5, 1).is_regular();
    // The write was acknowledged while the removal was under way.
    Script::new().write(0, 0..=2, 1).remove(0, 2..=3).read(1, 4..=5, 1).is_regular();
}

#[test]
fn evidence_of_different_kinds_adds_up() {
    // Absence is older than the write or as old as the removal; the read of 2 shows that the latter is outdated too.
    let mut script = Script::new();
    script.write(0, 0..=1, 1).remove(0, 2..=3).unknown(1, 2..=3, Ask::write(2)).read(2, 4..=5, 2);
    script.read_absent(2, 6..=7);
    script.breaks(Promise::ReadsNeverGoBack, &[1, 3, 4]);
}

#[test]
fn what_nobody_wrote_is_found() {
    Script::new().write(0, 0..=1, 1).read(1, 0..=1, 2).breaks(Promise::ReadsWereWritten, &[1]);
    Script::new().refused(0, 0..=1, Ask::write(1)).read(1, 2..=3, 1).breaks(Promise::ReadsWereWritten, &[1]);
    Script::new().read(1, 0..=1, 1).write(0, 2..=3, 1).breaks(Promise::ReadsWereWritten, &[0]);
    let mut list = Script::new();
    list.applied(0, 0..=1, Ask::Append(1), 0).holds(1, 2..=3, READ, &[1, 2], 0);
    list.breaks(Promise::ReadsWereWritten, &[1]);
    let mut one = Script::new();
    one.level = Level::One;
    one.read(0, 0..=1, 3).breaks(Promise::ReadsWereWritten, &[0]);
}

#[test]
fn a_version_is_issued_once_for_one_value() {
    let mut two_writes = Script::new();
    two_writes.applied(0, 0..=9, Ask::write(1), 5).applied(1, 0..=9, Ask::write(1), 5);
    two_writes.breaks(Promise::OneValueAVersion, &[0, 1]);
    let mut two_values = Script::new();
    two_values.level = Level::One;
    two_values.unknown(0, 0..=9, Ask::write(2)).applied(1, 0..=9, Ask::write(1), 5);
    two_values.holds(2, 0..=9, READ, &[2], 5);
    two_values.breaks(Promise::OneValueAVersion, &[1, 2]);
}

/// Refused by those who had the version of 2, the write of 1 was tried again above it before it was acknowledged.
#[test]
fn a_write_that_was_tried_again_may_be_seen_around_another() {
    let mut told = Script::new();
    told.applied(0, 0..=20, Ask::write(1), 7).applied(1, 2..=5, Ask::write(2), 5);
    told.holds(2, 1..=2, READ, &[1], 3).holds(2, 6..=7, READ, &[2], 5).holds(2, 8..=9, READ, &[1], 7);
    told.is_regular();
    let mut untold = Script::new();
    untold.write(0, 0..=20, 1).write(1, 2..=5, 2).read(2, 1..=2, 1).read(2, 6..=7, 2).read(2, 8..=9, 1);
    untold.is_regular();
}

#[test]
fn what_is_not_acknowledged_may_surface_at_any_time() {
    let mut unknown = Script::new();
    unknown.unknown(0, 0..=1, Ask::write(1)).read(1, 2..=3, 1).write(1, 4..=5, 2).read(1, 6..=7, 2);
    unknown.read(1, 8..=9, 1).is_regular();
    let mut one = Script::new();
    one.level = Level::One;
    one.applied(0, 0..=1, Ask::write(1), 9);
    one.level = Level::Quorum;
    one.applied(1, 2..=3, Ask::write(2), 5).holds(1, 4..=5, READ, &[2], 5).holds(1, 6..=7, READ, &[1], 9);
    one.is_regular();
    let mut removal = Script::new();
    removal.write(0, 0..=1, 1).unknown(0, 2..=3, Ask::remove()).read(1, 4..=5, 1).read_absent(1, 6..=7);
    removal.is_regular();
}

/// The read met a late try of 2, below the version of 1, at one replica, and another before 1 reached it.
#[test]
fn a_read_that_began_before_a_write_ended_tells_nothing_of_it() {
    let mut script = Script::new();
    script.write(0, 0..=10, 1).unknown(1, 11..=12, Ask::write(2)).read(2, 9..=13, 2).read(2, 14..=15, 1);
    script.is_regular();
}

#[test]
fn level_one_reads_may_be_stale() {
    let mut script = Script::new();
    script.applied(0, 0..=1, Ask::write(1), 5).applied(0, 2..=3, Ask::write(2), 6);
    script.level = Level::One;
    script.holds(1, 4..=5, READ, &[2], 6).holds(1, 6..=7, READ, &[1], 5).holds(1, 8..=9, READ, &[], 0);
    script.is_regular();
}

#[test]
fn a_value_that_two_write_is_outdated_when_both_are() {
    let mut script = Script::new();
    script.write(0, 0..=1, 1).write(1, 0..=9, 1).write(0, 2..=3, 2).read(2, 5..=6, 1).is_regular();
    script.write(0, 10..=11, 3).read(2, 12..=13, 1);
    script.breaks(Promise::AcknowledgedWritesStay, &[0, 1, 2, 4, 5]);
}

#[test]
fn coverage_says_what_could_be_judged() {
    let mut script = Script::new();
    script.write(0, 0..=1, 1).unknown(0, 2..=3, Ask::write(2));
    script.read(1, 4..=5, 1).read(1, 6..=7, 2).holds(1, 8..=9, READ, &[2], 6);
    let coverage = Coverage { reads: 3, by_version: 1, by_value: 1, unjudged: 1 };
    assert_eq!(Coverage::of(&script.key()), coverage);
    script.applied(0, 10..=11, Ask::Increment(1), 0);
    let untold = Coverage { by_value: 0, unjudged: 2, ..coverage };
    assert_eq!(Coverage::of(&script.key()), untold);
}
