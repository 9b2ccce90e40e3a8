//! What the checkers and the recorder do at their limits, and what a violation looks like.

use annulus::history::linearizability::{self, Budget};
use annulus::history::{Answer, Ask, ClientId, History, Key, Rank, Undecided, Verdict};
use annulus::types::{Level, Stamp, Version, WriterId};
use fastrand::Rng;

use crate::atomic;
use crate::mutants::MIXES;
use crate::script::{KEY, Script, rank};

/// Many writes at once and a read of none of them: every subset of them would have to be tried.
fn hard() -> Script {
    let mut script = Script::new();
    for client in 0..20 {
        script.applied(client, 0..=100, Ask::compare_value(1_000 + u64::from(client) / 2, 1_000), 0);
        script.write(100 + client, 0..=100, 1_000 + u64::from(client) / 2);
    }
    script.read(50, 101..=102, 1_000).read(51, 103..=104, 1_001);
    script
}

#[test]
fn a_spent_budget_is_told_and_not_guessed_over() {
    let script = hard();
    let judge = |budget| linearizability::check(&script.key(), &budget);
    let few_steps = Budget { steps_max: 100, ..Budget::default() };
    assert_eq!(judge(few_steps), Verdict::Undecided(Undecided::Steps { steps_max: 100 }));
    let little_memory = Budget { bytes_max: 100_000, steps_max: u64::MAX };
    assert_eq!(judge(little_memory), Verdict::Undecided(Undecided::Memory { bytes_max: 100_000 }));
}

/// A search that used the stack would overflow it, one that was not linear would not end.
#[test]
fn a_long_history_needs_no_stack() {
    let (_, mix) = MIXES[0];
    let plan = atomic::Plan {
        clients: 16,
        operations: 200_000,
        keys: 1,
        mix,
        tells_versions: false,
        unknown_permille: 0,
    };
    let history = atomic::history(&mut Rng::with_seed(1), &plan);
    let check = move || linearizability::check(&history.key(Key(0)), &Budget::default());
    let small_stack = std::thread::Builder::new().stack_size(256 << 10).spawn(check).unwrap();
    assert_eq!(small_stack.join().unwrap(), Verdict::Holds);
}

#[test]
fn an_empty_history_holds() {
    assert_eq!(linearizability::check(&History::new().key(KEY), &Budget::default()), Verdict::Holds);
    Script::new().is_regular();
}

#[test]
fn what_several_recorders_saw_is_put_together() {
    let record = |client: u32, from: u64, tokens: &[u64]| {
        let mut history = History::new();
        let token = *tokens.last().unwrap();
        let id = history.invoke(ClientId(client), KEY, Level::Linearizable, Ask::Append(token), from);
        let value = history.list(tokens);
        history.done(id, Answer::Holds(value), None, from + 1);
        history
    };
    let judge = |parts: &[History]| {
        let mut whole = History::new();
        parts.iter().for_each(|part| whole.absorb(part));
        assert_eq!(whole.operation_count(), parts.len());
        linearizability::check(&whole.key(KEY), &Budget::default()) == Verdict::Holds
    };
    let parts = [record(1, 4, &[8, 9, 7]), record(2, 0, &[8]), record(3, 2, &[8, 9])];
    assert!(judge(&parts));
    assert!(!judge(&parts[..1]));
}

#[test]
fn a_mark_of_expiry_ranks_between_its_value_and_the_next() {
    let version = |stamp, writer| Version { stamp: Stamp(stamp), writer: WriterId(writer) };
    let ascending = [
        Rank::of(version(0, 0), false),
        Rank::of(version(0, 0), true),
        Rank::of(version(0, 1), false),
        Rank::of(version(0, u32::MAX), true),
        Rank::of(version(1, 0), false),
        Rank::of(version(u64::MAX, u32::MAX), false),
        Rank::of(version(u64::MAX, u32::MAX), true),
    ];
    assert!(ascending.is_sorted_by(|lower, higher| lower < higher));
    assert_eq!(size_of::<Option<Rank>>(), size_of::<Rank>());
}

#[test]
#[should_panic(expected = "is no answer to")]
fn an_answer_that_does_not_fit_is_not_recorded() {
    Script::new().not_met(0, 0..=1, Ask::write(1), 0);
}

#[test]
#[should_panic(expected = "answered before it was asked")]
fn an_answer_does_not_come_before_its_question() {
    Script::new().refused(0, std::ops::RangeInclusive::new(2, 1), Ask::Read);
}

#[test]
fn a_violation_is_drawn_as_a_time_line() {
    let mut script = Script::new();
    script
        .applied(0, 0..=10, Ask::write(1), 5)
        .unknown(1, 5..=30, Ask::compare_version(rank(5), 2))
        .holds(2, 20..=40, Ask::Read, &[2], 7)
        .read(3, 50..=60, 1);
    let verdict = script.linearizability();
    let drawn = verdict.violation().unwrap().to_string();
    let expected = "\
key 7: not linearizable: no order of these operations explains their answers
. client 0    |---|            write 1 -> applied @5, quorum   [0, 10]
. client 1      |----->        write 2 if @5 -> unknown, quorum   [5, 30]
  client 2          |---|      read -> 2 @7, quorum   [20, 40]
  client 3                |-|  read -> 1, quorum   [50, 60]
. marks what is shown for context
";
    assert_eq!(drawn, expected, "{drawn}");
}
