//! What is read was written, by a write that had begun and was not refused.

use annulus::history::regularity::reads_were_written::check;

use super::each_key;
use crate::world::World;

pub(super) fn broken<const BUG: usize>(world: &World<BUG>) -> Option<String> {
    each_key(world, check)
}
