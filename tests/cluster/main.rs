//! Three nodes in processes of their own, on loopback, and what they promise while some of them are killed, paused,
//! restarted or spoken to by strangers.
//!
//! Each file is a theme. Histories are recorded by the clients, in one clock, and judged when the clients are done.
//! None sleeps for a guess.

// The functions that tests share are tests too, which the lint cannot know; they measure real time.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod agreement;
mod batches;
mod clients;
mod faults;
#[path = "../node/harness.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod harness;
mod load;
mod metrics;
mod moves;
mod nodes;
mod patience;
mod rolling;
mod serving;
mod strangers;
mod topology;
mod walks;
