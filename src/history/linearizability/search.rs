//! The search for an order: Wing and Gong's ("Testing and Verifying Concurrent Objects", 1993) with Lowe's memory of
//! what was tried ("Testing for linearizability", 2017), as Porcupine does it, key by key.
//!
//! Invariant: it says that there is no order only after trying all that could be; the rules below leave out only such
//! as have an equal that is tried. It is a loop over a trail of choices and undoes them one by one, so its stack does
//! not grow with the history. Rules, beside the two papers':
//! - What fits the present state and does not change it comes at once: it could only be moved up to here.
//! - An operation that may be left out is not followed by an overwrite: leaving it out would have done as well.
//! - Versions told come in their order. A value that comes about once is not left while somebody still needs it, and a
//!   key that is only appended to grows towards the longest value needed.

use crate::history::linearizability::links::{Links, List};
use crate::history::linearizability::memo::{Fingerprint, Memo};
use crate::history::linearizability::model::{State, step};
use crate::history::linearizability::problem::Problem;
use crate::history::value::{Value, Values};

/// What was spent before there was an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OutOf {
    Memory,
    Steps,
}

/// What every order must contain, and what it may.
const REQUIRED: List = List::First;
const OPTIONAL: List = List::Second;

/// Kinds of fingerprints.
const OPERATION: u64 = 0;
const STATE: u64 = 1;

/// Where an order stands after some operations.
#[derive(Clone, Copy)]
struct Standing {
    state: State,
    /// The last operation may be left out, and nothing that depends on it has followed.
    is_idle: bool,
    /// Latest invocation among the operations in order.
    invoked_last: u64,
    /// The operations in order, without optional ones whose time is over: they make no difference any more.
    members: Fingerprint,
    /// Places in `by_deadline` before this are of optional operations whose time is over.
    expired: usize,
    /// Places in `by_return` before this are in order.
    returned: usize,
    /// Required operations in order that told a version.
    versions_told: usize,
}

/// An operation put in order, and what there was before.
struct Placed {
    place: u32,
    before: Standing,
    /// It was no choice, so there is none to undo it for.
    is_forced: bool,
}

struct Search {
    problem: Problem,
    open: Links,
    in_order: Vec<bool>,
    now: Standing,
    trail: Vec<Placed>,
    memo: Memo,
    steps: u64,
}

/// Whether there is an order. Takes the steps it makes from `steps_left`.
pub(super) fn run(problem: Problem, bytes_max: usize, steps_left: &mut u64) -> Result<bool, OutOf> {
    if problem.is_hopeless {
        return Ok(false);
    }
    let mut search = Search::new(problem);
    let result = search.run(bytes_max, *steps_left);
    *steps_left = steps_left.saturating_sub(search.steps);
    result
}

impl Search {
    fn new(problem: Problem) -> Self {
        let lists: Vec<List> = problem
            .candidates
            .iter()
            .map(|candidate| if candidate.is_required { REQUIRED } else { OPTIONAL })
            .collect();
        let now = Standing {
            state: State::NEW,
            is_idle: false,
            invoked_last: 0,
            members: Fingerprint::default(),
            expired: 0,
            returned: 0,
            versions_told: 0,
        };
        Self {
            open: Links::new(&lists),
            in_order: vec![false; lists.len()],
            now,
            trail: Vec::new(),
            memo: Memo::default(),
            steps: 0,
            problem,
        }
    }

    fn run(&mut self, bytes_max: usize, steps_max: u64) -> Result<bool, OutOf> {
        self.settle();
        let mut choice = self.first_choice();
        while self.open.first(REQUIRED).is_some() {
            if self.steps > steps_max {
                return Err(OutOf::Steps);
            }
            if self.memo.bytes() + self.problem.values.count() * Values::BYTES_EACH > bytes_max {
                return Err(OutOf::Memory);
            }
            match choice {
                Some(place) if self.choose(place) => choice = self.first_choice(),
                Some(place) => choice = self.choice_after(place),
                None => match self.undo_choice() {
                    Some(place) => choice = self.choice_after(place),
                    None => return Ok(false),
                },
            }
        }
        Ok(true)
    }

    /// The latest invocation that can come next: whatever returned before it would have to be in order already.
    fn horizon(&self) -> u64 {
        let first = self.problem.by_return.get(self.now.returned);
        first.map_or(u64::MAX, |&place| self.problem.candidates[place as usize].returned_at)
    }

    fn within_horizon(&self, place: u32) -> bool {
        self.problem.candidates[place as usize].invoked_at <= self.horizon()
    }

    /// Required operations are tried first: most of the optional ones never happened.
    fn first_choice(&self) -> Option<u32> {
        let required = self.open.first(REQUIRED).filter(|&place| self.within_horizon(place));
        required.or_else(|| self.first_optional())
    }

    fn first_optional(&self) -> Option<u32> {
        self.open.first(OPTIONAL).filter(|&place| self.within_horizon(place))
    }

    fn choice_after(&self, place: u32) -> Option<u32> {
        let next = self.open.after(place).filter(|&next| self.within_horizon(next));
        let is_required = self.problem.candidates[place as usize].is_required;
        if is_required { next.or_else(|| self.first_optional()) } else { next }
    }

    /// Puts `place` next, and all that follows from it; `false`, with nothing changed, if that leads nowhere new.
    fn choose(&mut self, place: u32) -> bool {
        let Some(state) = self.possible(place) else { return false };
        self.put(place, state, false);
        self.settle();
        let Standing { state, is_idle, members, .. } = self.now;
        let [high, low] = [state.version_min >> 64, state.version_min].map(|half| half as u64);
        let value = (state.value.index() as u64) << 1 | u64::from(is_idle);
        let situation =
            members.with(Fingerprint::of(STATE, value, 0)).with(Fingerprint::of(STATE, high, low));
        if self.memo.is_new(situation) {
            return true;
        }
        self.undo_choice();
        false
    }

    /// The state after `place`, if it can come next.
    fn possible(&mut self, place: u32) -> Option<State> {
        self.steps += 1;
        let candidate = &self.problem.candidates[place as usize];
        if candidate.returned_at < self.now.invoked_last
            || (self.now.is_idle && candidate.ask.overwrites())
            || candidate.twin.is_some_and(|twin| !self.in_order[twin as usize])
        {
            return None;
        }
        if candidate.is_required
            && let Some(version) = candidate.version
            && version != self.problem.versions[self.now.versions_told]
        {
            return None;
        }
        let before = self.now.state;
        let after = step(before, candidate, &mut self.problem.values)?;
        let is_dead_end = after.value != before.value
            && (self.is_missed(before.value, candidate.needs)
                || self.is_astray(after.value, candidate.needs));
        (!is_dead_end).then_some(after)
    }

    /// Whether the key never holds `value` again after an operation that has these `needs`, and somebody still needs
    /// it.
    fn is_missed(&self, value: Value, needs: Option<Value>) -> bool {
        self.problem.comes_once.get(value.index()) == Some(&true) && self.is_needed_after(value, needs)
    }

    /// Whether the key never comes to hold the value that it must grow to, after an operation that has these `needs`
    /// and leaves `value`.
    fn is_astray(&self, value: Value, needs: Option<Value>) -> bool {
        let is_on_the_way = self.problem.is_on_the_way.get(value.index()) == Some(&true);
        !is_on_the_way && self.problem.grows_to.is_some_and(|whole| self.is_needed_after(whole, needs))
    }

    /// Whether somebody else needs `value`, beside an operation that has these `needs`.
    fn is_needed_after(&self, value: Value, needs: Option<Value>) -> bool {
        self.problem.needed[value.index()] > u32::from(needs == Some(value))
    }

    /// Puts in order what can come next and changes nothing.
    fn settle(&mut self) {
        let mut next = self.open.first(REQUIRED);
        while let Some(place) = next.filter(|&place| self.within_horizon(place)) {
            let candidate = &self.problem.candidates[place as usize];
            if candidate.is_effectless
                && !self.would_miss_a_deadline(candidate.invoked_at)
                && self.possible(place) == Some(self.now.state)
            {
                self.put(place, self.now.state, true);
            }
            next = self.open.after(place);
        }
    }

    /// Whether the time of an optional operation would be over once one invoked at `invoked_at` is in order.
    fn would_miss_a_deadline(&self, invoked_at: u64) -> bool {
        let next = self.problem.by_deadline[self.now.expired..].iter();
        next.map_while(|&place| {
            let deadline = self.problem.candidates[place as usize].returned_at;
            (deadline < invoked_at).then_some(place)
        })
        .any(|place| !self.in_order[place as usize])
    }

    fn put(&mut self, place: u32, state: State, is_forced: bool) {
        self.trail.push(Placed { place, before: self.now, is_forced });
        self.open.take_out(place);
        self.in_order[place as usize] = true;
        let candidate = &self.problem.candidates[place as usize];
        if let Some(value) = candidate.needs {
            self.problem.needed[value.index()] -= 1;
        }
        let now = &mut self.now;
        now.state = state;
        now.is_idle = !candidate.is_required;
        now.invoked_last = now.invoked_last.max(candidate.invoked_at);
        now.members = now.members.with(Fingerprint::of(OPERATION, u64::from(place), 0));
        while let Some(&first) = self.problem.by_deadline.get(now.expired)
            && self.problem.candidates[first as usize].returned_at < now.invoked_last
        {
            if self.in_order[first as usize] {
                now.members = now.members.with(Fingerprint::of(OPERATION, u64::from(first), 0));
            }
            now.expired += 1;
        }
        now.versions_told += usize::from(candidate.is_required && candidate.version.is_some());
        while let Some(&first) = self.problem.by_return.get(now.returned)
            && self.in_order[first as usize]
        {
            now.returned += 1;
        }
    }

    /// Undoes the last choice and what followed from it; `None` if there is none.
    fn undo_choice(&mut self) -> Option<u32> {
        while let Some(Placed { place, before, is_forced }) = self.trail.pop() {
            self.open.put_back(place);
            self.in_order[place as usize] = false;
            if let Some(value) = self.problem.candidates[place as usize].needs {
                self.problem.needed[value.index()] += 1;
            }
            self.now = before;
            if !is_forced {
                return Some(place);
            }
        }
        None
    }
}
