//! Histories of registers that every paper on the matter draws, and those that a key-value store adds.

use annulus::history::Ask;

use crate::script::{Script, rank};

/// Herlihy and Wing 1990, section 1: overlapping operations may take effect in either order.
#[test]
fn concurrent_writes_are_ordered_by_the_reads_after_them() {
    Script::new().write(0, 0..=10, 1).write(1, 0..=10, 2).read(2, 11..=12, 1).is_linearizable();
    Script::new().write(0, 0..=10, 1).write(1, 0..=10, 2).read(2, 11..=12, 2).is_linearizable();
    Script::new()
        .write(0, 0..=10, 1)
        .write(1, 0..=10, 2)
        .read(2, 11..=12, 1)
        .read(3, 11..=12, 2)
        .is_not_linearizable(&[2, 3]);
}

/// Herlihy and Wing 1990, section 3.3: sequentially consistent, since the read could go first, but not linearizable.
#[test]
fn a_stale_read_is_sequentially_consistent_only() {
    Script::new().write(0, 0..=1, 1).write(0, 2..=3, 2).read(1, 4..=5, 1).is_not_linearizable(&[1, 2]);
    Script::new().write(0, 0..=1, 1).read_absent(1, 2..=3).is_not_linearizable(&[0, 1]);
}

/// Attiya, Bar-Noy and Dolev 1995: two reads during one write, the later of which sees the older value.
#[test]
fn new_old_inversion() {
    Script::new()
        .write(0, 0..=1, 1)
        .write(0, 2..=100, 2)
        .read(1, 10..=20, 2)
        .read(2, 30..=40, 1)
        .is_not_linearizable(&[2, 3]);
    Script::new()
        .write(0, 0..=1, 1)
        .write(0, 2..=100, 2)
        .read(1, 10..=30, 2)
        .read(2, 30..=40, 1)
        .is_linearizable();
}

/// Lowe 2017: a pending operation may have taken effect, and then it must be in the order.
#[test]
fn a_pending_write_happened_or_not() {
    Script::new().pending(0, 5, Ask::write(1)).read_absent(1, 6..=7).is_linearizable();
    Script::new().pending(0, 5, Ask::write(1)).read(1, 6..=7, 1).is_linearizable();
    Script::new().pending(0, 5, Ask::write(1)).read(1, 3..=4, 1).is_not_linearizable(&[1]);
    Script::new()
        .pending(0, 5, Ask::write(1))
        .read(1, 6..=7, 1)
        .read_absent(1, 8..=9)
        .is_not_linearizable(&[1, 2]);
}

#[test]
fn an_unknown_write_may_surface_once_and_late() {
    let mut late = Script::new();
    late.unknown(0, 0..=1, Ask::write(1)).write(1, 2..=3, 2).read(1, 4..=5, 2).read(1, 6..=7, 1);
    late.is_linearizable();
    late.read(1, 8..=9, 2).is_not_linearizable(&[3, 4]);
}

#[test]
fn unknown_and_refused_are_not_confused() {
    Script::new().unknown(0, 0..=1, Ask::write(1)).read(1, 2..=3, 1).is_linearizable();
    Script::new().refused(0, 0..=1, Ask::write(1)).read(1, 2..=3, 1).is_not_linearizable(&[1]);
    Script::new().refused(0, 0..=1, Ask::write(1)).read_absent(1, 2..=3).is_linearizable();
}

#[test]
fn a_lost_update() {
    let mut both = Script::new();
    both.write(0, 0..=1, 1).applied(1, 2..=9, Ask::compare_value(1, 2), 0).applied(
        2,
        3..=8,
        Ask::compare_value(1, 3),
        0,
    );
    both.is_not_linearizable(&[1, 2]);
    let mut one = Script::new();
    one.write(0, 0..=1, 1)
        .applied(1, 2..=9, Ask::compare_value(1, 2), 0)
        .not_met(2, 3..=8, Ask::compare_value(1, 3), 0)
        .read(3, 10..=11, 2);
    one.is_linearizable();
}

#[test]
fn a_lost_update_by_version() {
    let mut both = Script::new();
    both.applied(0, 0..=1, Ask::write(1), 5).applied(1, 2..=9, Ask::compare_version(rank(5), 2), 8).applied(
        2,
        3..=8,
        Ask::compare_version(rank(5), 3),
        7,
    );
    both.is_not_linearizable(&[1, 2]);
    // A write in between, though nobody knows its version.
    let mut over = Script::new();
    over.applied(0, 0..=1, Ask::write(1), 5).write(1, 2..=3, 2).applied(
        2,
        4..=5,
        Ask::compare_version(rank(5), 3),
        9,
    );
    over.is_not_linearizable(&[0, 1, 2]);
}

#[test]
fn a_version_may_rise_without_a_write_but_never_fall() {
    let mut settled = Script::new();
    settled
        .applied(0, 0..=1, Ask::write(1), 5)
        .holds(1, 2..=3, Ask::Read, &[1], 9)
        .not_met(0, 4..=5, Ask::compare_version(rank(5), 2), 9)
        .applied(0, 6..=7, Ask::compare_version(rank(9), 3), 12);
    settled.is_linearizable();
    settled.holds(1, 8..=9, Ask::Read, &[3], 11).is_not_linearizable(&[4]);
    let mut denied = Script::new();
    denied.applied(0, 0..=1, Ask::write(1), 5).not_met(0, 2..=3, Ask::compare_version(rank(5), 2), 5);
    denied.is_not_linearizable(&[0, 1]);
}

#[test]
fn put_if_absent_is_won_once() {
    let mut script = Script::new();
    script.applied(0, 0..=9, Ask::put_if_absent(1), 0).not_met(1, 0..=9, Ask::put_if_absent(2), 0);
    script.is_linearizable();
    script.read(0, 10..=11, 1).remove(0, 12..=13).applied(1, 14..=15, Ask::put_if_absent(3), 0);
    script.is_linearizable();
    let mut twice = Script::new();
    twice
        .applied(0, 0..=9, Ask::put_if_absent(1), 0)
        .applied(1, 0..=9, Ask::put_if_absent(2), 0)
        .is_not_linearizable(&[0, 1]);
}

#[test]
fn increments_take_effect_once() {
    let by_one = Ask::Increment(1);
    let mut script = Script::new();
    script.holds(0, 0..=5, by_one, &[1], 0).holds(1, 0..=5, by_one, &[2], 0).unknown(2, 0..=5, by_one);
    script.holds(0, 6..=7, by_one, &[4], 0).is_linearizable();
    script.holds(0, 8..=9, by_one, &[6], 0).is_not_linearizable(&[4]);
    let mut twice = Script::new();
    twice.holds(0, 0..=5, by_one, &[1], 0).holds(1, 0..=5, by_one, &[1], 0);
    twice.is_not_linearizable(&[0, 1]);
}

#[test]
fn appends_are_read_in_one_order() {
    let mut script = Script::new();
    script
        .applied(0, 0..=9, Ask::Append(1), 0)
        .applied(1, 0..=9, Ask::Append(2), 0)
        .unknown(2, 0..=9, Ask::Append(3))
        .holds(3, 10..=11, Ask::Read, &[2, 1], 0)
        .holds(3, 12..=13, Ask::Read, &[2, 1, 3], 0);
    script.is_linearizable();
    script.holds(3, 14..=15, Ask::Read, &[2, 1], 0).is_not_linearizable(&[4, 5]);
}

#[test]
fn level_one_binds_nobody_in_a_linearizable_order() {
    let mut script = Script::new();
    script.level = annulus::types::Level::One;
    script.write(0, 0..=1, 1).read_absent(1, 2..=3).read(1, 4..=5, 9);
    script.level = annulus::types::Level::Linearizable;
    script.read_absent(2, 6..=7).read(2, 8..=9, 1).is_linearizable();
    script.read_absent(2, 10..=11).is_not_linearizable(&[4, 5]);
}

#[test]
fn equal_times_are_concurrent() {
    Script::new().write(0, 0..=5, 1).read_absent(1, 5..=6).is_linearizable();
    Script::new().write(0, 0..=5, 1).read_absent(1, 6..=6).is_not_linearizable(&[0, 1]);
}
