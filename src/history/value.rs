//! What keys hold in a history: lists of 64-bit tokens, each list one small number.
//!
//! Invariant: equal lists have equal [`Value`]s. A list is its last token and the list before it, kept once however
//! often it was read (hash-consing), so a thousand reads of a growing list cost its length and not its square. Absence
//! is the empty list, a number the list of one token; nothing here ever forgets a list.

use std::collections::HashMap;
use std::fmt::Write as _;

/// What a key holds, or that it is absent. Means something only beside the [`Values`] that made it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Value(u32);

impl Value {
    /// The key is not there.
    pub const ABSENT: Self = Self(0);

    /// Its place among the values made, dense from 0 on.
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Clone, Copy, Debug)]
struct Node {
    before: Value,
    token: u64,
    length: u32,
}

/// Every list that a history speaks of.
#[derive(Clone, Debug, Default)]
pub struct Values {
    /// The node of value 1 is the first.
    nodes: Vec<Node>,
    known: HashMap<(Value, u64), Value>,
}

impl Values {
    /// What one list costs in `nodes` and `known` together, while the latter grows: about.
    pub(super) const BYTES_EACH: usize = 128;

    /// The list of `token` alone, which is also how a number is held.
    pub fn number(&mut self, token: u64) -> Value {
        self.push(Value::ABSENT, token)
    }

    /// The list of these tokens.
    pub fn list(&mut self, tokens: &[u64]) -> Value {
        tokens.iter().fold(Value::ABSENT, |list, &token| self.push(list, token))
    }

    /// `list` and one token more.
    ///
    /// # Panics
    ///
    /// At 2^32 different lists, which no memory holds together with the operations that named them.
    pub fn push(&mut self, list: Value, token: u64) -> Value {
        let Self { nodes, known } = self;
        *known.entry((list, token)).or_insert_with(|| {
            let length = list.index().checked_sub(1).map_or(0, |index| nodes[index].length) + 1;
            nodes.push(Node { before: list, token, length });
            Value(u32::try_from(nodes.len()).expect("a history has fewer than 2^32 different values"))
        })
    }

    /// `list` without its last token, and that token; `None` if it is absent.
    #[must_use]
    pub fn pop(&self, list: Value) -> Option<(Value, u64)> {
        let node = self.nodes[list.index().checked_sub(1)?];
        Some((node.before, node.token))
    }

    /// The number that `value` is, if it is one.
    #[must_use]
    pub fn as_number(&self, value: Value) -> Option<u64> {
        self.pop(value).filter(|&(before, _)| before == Value::ABSENT).map(|(_, number)| number)
    }

    /// Tokens in `list`.
    #[must_use]
    pub fn length(&self, list: Value) -> u32 {
        list.index().checked_sub(1).map_or(0, |index| self.nodes[index].length)
    }

    /// The tokens of `list`, first to last.
    #[must_use]
    pub fn tokens(&self, list: Value) -> Vec<u64> {
        let mut tokens = Vec::new();
        let mut rest = list;
        while let Some((before, token)) = self.pop(rest) {
            tokens.push(token);
            rest = before;
        }
        tokens.reverse();
        tokens
    }

    /// Different lists held, absence included.
    pub(super) fn count(&self) -> usize {
        self.nodes.len() + 1
    }

    /// Every value made so far.
    pub(super) fn all(&self) -> impl Iterator<Item = Value> + use<> {
        (0..=u32::try_from(self.nodes.len()).expect("each has a number of 32 bits")).map(Value)
    }

    /// `value` for people: `absent`, `7`, `[7 8 9]`; a long list by its end.
    pub(super) fn text(&self, value: Value) -> String {
        /// Tokens shown of a list.
        const SHOWN: usize = 6;
        let tokens = self.tokens(value);
        match tokens[..] {
            [] => "absent".to_owned(),
            [number] => number.to_string(),
            _ => {
                let hidden = tokens.len().saturating_sub(SHOWN);
                let mut text = if hidden > 0 { format!("[({hidden} more)") } else { "[".to_owned() };
                for (index, token) in tokens[hidden..].iter().enumerate() {
                    let space = if index == 0 && hidden == 0 { "" } else { " " };
                    let _ = write!(text, "{space}{token}");
                }
                text + "]"
            }
        }
    }
}

/// Turns the values of one history into the same values of another, each list once.
pub(super) struct Translation<'v> {
    from: &'v Values,
    known: HashMap<Value, Value>,
}

impl<'v> Translation<'v> {
    pub(super) fn from(from: &'v Values) -> Self {
        Self { from, known: HashMap::from([(Value::ABSENT, Value::ABSENT)]) }
    }

    /// The value of `to` that is what `value` is.
    pub(super) fn of(&mut self, value: Value, to: &mut Values) -> Value {
        let mut unknown = Vec::new();
        let mut list = value;
        let mut translated = loop {
            if let Some(&known) = self.known.get(&list) {
                break known;
            }
            let (before, token) = self.from.pop(list).expect("absence is known, so this is a list");
            unknown.push((list, token));
            list = before;
        };
        for (list, token) in unknown.into_iter().rev() {
            translated = to.push(translated, token);
            self.known.insert(list, translated);
        }
        translated
    }
}
