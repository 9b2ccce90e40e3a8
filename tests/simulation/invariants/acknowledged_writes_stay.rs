//! Whoever begins after a write was acknowledged sees that write or a later one, unless it had its time.

use annulus::history::regularity::acknowledged_writes_stay::check;

use super::each_lasting_key;
use crate::world::World;

pub(super) fn broken<const BUG: usize>(world: &World<BUG>) -> Option<String> {
    each_lasting_key(world, check)
}
