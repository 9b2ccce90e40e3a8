//! What was seen although something later had been seen before: the ground of three promises.
//!
//! Invariant: "later" is never a guess. By version it is a higher one. By value: once an operation was acknowledged,
//! all that it ever leaves ranks no higher than what it left then; whoever begins afterwards and sees something else
//! has therefore seen something later, and whoever begins after that one ended must see no less. Equal times are
//! concurrent.

use crate::history::operation::Rank;
use crate::history::record::KeyHistory;
use crate::history::regularity::sighting::{Content, Kind, Sighting, sightings};
use crate::history::regularity::sources::{Acknowledged, Sources};
use crate::history::verdict::{Promise, Verdict, Violation};

/// Judges `key` by `promise`, of which what operations of this `kind` show is the evidence.
pub(super) fn check(key: &KeyHistory<'_>, kind: Kind, promise: Promise) -> Verdict {
    let sightings = sightings(key);
    let outdated = outdated_by_version(&sightings, kind).or_else(|| outdated_by_value(key, &sightings, kind));
    match outdated {
        Some(places) => Verdict::Violation(Box::new(Violation::new(promise, key, places, true))),
        None => Verdict::Holds,
    }
}

/// An operation that shows a lower version than one of `kind` that ended before it began: places of the two. One that
/// wrote shows a lower one if it is not higher.
fn outdated_by_version(sightings: &[Sighting], kind: Kind) -> Option<Vec<usize>> {
    let told: Vec<(&Sighting, Rank)> =
        sightings.iter().filter_map(|sighting| Some((sighting, sighting.version?))).collect();
    let mut evidence: Vec<&(&Sighting, Rank)> =
        told.iter().filter(|(sighting, _)| sighting.kind == kind).collect();
    evidence.sort_by_key(|(sighting, _)| sighting.returned_at);
    let mut ended = evidence.into_iter().peekable();
    let mut highest: Option<(&Sighting, Rank)> = None;
    for &(sighting, version) in &told {
        while let Some(&&(earlier, its_version)) = ended.peek()
            && earlier.returned_at < sighting.invoked_at
        {
            if highest.is_none_or(|(_, highest)| its_version > highest) {
                highest = Some((earlier, its_version));
            }
            ended.next();
        }
        if let Some((earlier, its_version)) = highest
            && (version < its_version || (version == its_version && sighting.kind == Kind::Write))
        {
            return Some(vec![earlier.place, sighting.place]);
        }
    }
    None
}

/// A read of what was outdated when it began, as something of `kind` shows: places of the read, of what can have left
/// what it saw, and of what shows that this was outdated.
fn outdated_by_value(key: &KeyHistory<'_>, sightings: &[Sighting], kind: Kind) -> Option<Vec<usize>> {
    let sources = Sources::of(key);
    let any = Evidence::new(sightings.iter());
    let own = Evidence::new(sightings.iter().filter(|sighting| sighting.kind == kind));
    for read in sightings.iter().filter(|sighting| sighting.kind == Kind::Read) {
        let Some(content) = read.content else { continue };
        let mut proof = vec![read.place];
        let mut is_own = false;
        for source in sources.of_content(content) {
            if source.invoked_at > read.returned_at {
                continue;
            }
            let own = own.of_something_later(source.acknowledged, content, read.invoked_at);
            is_own |= own.is_some();
            match own.or_else(|| any.of_something_later(source.acknowledged, content, read.invoked_at)) {
                Some(place) => proof.extend(source.place.into_iter().chain([place])),
                None => {
                    is_own = false;
                    break;
                }
            }
        }
        if is_own {
            return Some(proof);
        }
    }
    None
}

/// Sightings of a content, to find the one that ended first among those that began after a moment.
struct Evidence {
    /// In order of invocation, each with the first to end from there on, and the first to end that shows something
    /// else.
    from: Vec<(u64, Ended, Option<Ended>)>,
}

#[derive(Clone, Copy)]
struct Ended {
    at: u64,
    content: Content,
    place: usize,
}

impl Evidence {
    fn new<'s>(sightings: impl DoubleEndedIterator<Item = &'s Sighting>) -> Self {
        let mut from: Vec<(u64, Ended, Option<Ended>)> = Vec::new();
        for sighting in sightings.rev() {
            let Some(content) = sighting.content else { continue };
            let new = Ended { at: sighting.returned_at, content, place: sighting.place };
            let (first, other) = match from.last() {
                None => (new, None),
                Some(&(_, first, other)) if new.at <= first.at => {
                    (new, if first.content == content { other } else { Some(first) })
                }
                Some(&(_, first, other)) if first.content == content => (first, other),
                Some(&(_, first, other)) => {
                    (first, Some(other.filter(|other| other.at < new.at).unwrap_or(new)))
                }
            };
            from.push((sighting.invoked_at, first, other));
        }
        from.reverse();
        Self { from }
    }

    /// What began after `acknowledged`, ended before `before` and shows another content: so it shows something later.
    fn of_something_later(&self, acknowledged: Acknowledged, content: Content, before: u64) -> Option<usize> {
        let begin = match acknowledged {
            Acknowledged::Never => return None,
            Acknowledged::At(after) => self.from.partition_point(|&(invoked_at, ..)| invoked_at <= after),
            Acknowledged::Always => 0,
        };
        let &(_, first, other) = self.from.get(begin)?;
        let ended = if first.content == content { other? } else { first };
        (ended.at < before).then_some(ended.place)
    }
}
