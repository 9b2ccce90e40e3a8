//! Two lists over the same places, with removal that can be undone ("dancing links", Knuth 2000).
//!
//! Invariant: places come back in the reverse of the order in which they were taken out, which is what makes the links
//! of a removed place, kept as they were, good enough to put it back.

/// Doubly linked lists of places; each place is in one of two lists.
pub(super) struct Links {
    next: Vec<u32>,
    previous: Vec<u32>,
    places: u32,
}

/// One of the two lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum List {
    First,
    Second,
}

impl Links {
    /// Places 0 to `lists.len() - 1`, each in its list, in their order.
    pub(super) fn new(lists: &[List]) -> Self {
        let places = u32::try_from(lists.len()).expect("a key has fewer than 2^32 operations");
        let heads = [places, places + 1];
        let size = lists.len() + heads.len();
        let mut links = Self { next: vec![0; size], previous: vec![0; size], places };
        let mut last = heads;
        for (place, &list) in (0_u32..).zip(lists) {
            links.join(last[list as usize], place);
            last[list as usize] = place;
        }
        for (head, last) in heads.into_iter().zip(last) {
            links.join(last, head);
        }
        links
    }

    fn join(&mut self, left: u32, right: u32) {
        self.next[left as usize] = right;
        self.previous[right as usize] = left;
    }

    /// The first place of `list`.
    pub(super) fn first(&self, list: List) -> Option<u32> {
        self.after(self.places + list as u32)
    }

    /// The place after `place` in its list, also if `place` is out of it.
    pub(super) fn after(&self, place: u32) -> Option<u32> {
        Some(self.next[place as usize]).filter(|&next| next < self.places)
    }

    pub(super) fn take_out(&mut self, place: u32) {
        self.join(self.previous[place as usize], self.next[place as usize]);
    }

    /// Undoes the last [`Links::take_out`] that is not undone yet, which was of `place`.
    pub(super) fn put_back(&mut self, place: u32) {
        let (previous, next) = (self.previous[place as usize], self.next[place as usize]);
        self.next[previous as usize] = place;
        self.previous[next as usize] = place;
    }
}
