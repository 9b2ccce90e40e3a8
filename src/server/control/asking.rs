//! What clients want carried out for the whole cluster: asked of whoever leads until it is so.
//!
//! Invariant: what is wanted is bounded in number and in time; a later setting takes the place of an earlier one, so
//! that an old wish is never carried out after a new one of the same node.

use std::collections::VecDeque;
use std::io;
use std::mem::discriminant;
use std::time::Duration;

use super::{Control, Said};
use crate::cluster::topology::Verdict;
use crate::config::control::ASK_PAUSE;
use crate::message::topology::Command;
use crate::types::Timestamp;

/// Commands that wait at most.
const WANTED_MAX: usize = 64;

/// How long one is asked for.
const WANTED_FOR: Duration = Duration::from_secs(30);

/// Commands that are asked for.
#[derive(Default)]
pub(super) struct Wanted {
    commands: VecDeque<(Command, Timestamp)>,
    ask_at: Timestamp,
}

impl Wanted {
    /// Adds a command.
    pub(super) fn add(&mut self, now: Timestamp, command: Command) {
        let replaces = |other: &Command| match (other, &command) {
            (Command::Set(other), Command::Set(setting)) => discriminant(other) == discriminant(setting),
            _ => *other == command,
        };
        self.commands.retain(|(other, _)| !replaces(other));
        if self.commands.len() == WANTED_MAX {
            self.commands.pop_front();
        }
        self.commands.push_back((command, now.after(WANTED_FOR)));
        self.ask_at = now;
    }
}

impl Control {
    /// Asks for what clients want, if it is time to.
    pub(super) fn pursue(&mut self, now: Timestamp) -> io::Result<()> {
        if self.wanted.commands.is_empty() || now < self.wanted.ask_at {
            return Ok(());
        }
        self.wanted.ask_at = now.after(ASK_PAUSE);
        for _ in 0..self.wanted.commands.len() {
            let Some((command, until)) = self.wanted.commands.pop_front() else { break };
            match self.act(|log, out| log.ask(now, &command, out))? {
                Verdict::Done => continue,
                Verdict::Denied(denial) => {
                    tracing::warn!("cannot carry out {command:?}: {denial}");
                    continue;
                }
                Verdict::Elsewhere(Some(leader)) => {
                    self.say_to(leader, &Said::Ask(Box::new(command.clone())));
                }
                Verdict::Elsewhere(None) | Verdict::UnderWay => {}
            }
            if now < until {
                self.wanted.commands.push_back((command, until));
            } else {
                tracing::warn!("nobody has carried out {command:?} in {} s: given up", WANTED_FOR.as_secs());
            }
        }
        Ok(())
    }
}
