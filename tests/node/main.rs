//! A node abused from outside, over real sockets: what it must answer, refuse, survive and give back.
//!
//! Each file is a theme. Every test starts its own node on a port of the kernel's choice; tests that look at a
//! process as a whole (descriptors, memory, signals) run the binary. None sleeps for a guess.

// The functions that tests share are tests too, which the lint cannot know; they measure real time.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod clocks;
mod commands;
mod deadlines;
mod garbage;
mod harness;
mod killed;
mod limits;
mod password;
mod pipelines;
mod process;
mod serving;
mod sizes;
mod slow;
mod stop;
mod values;
