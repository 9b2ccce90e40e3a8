//! Whoever begins after a write was acknowledged sees that write or a later one.

use annulus::history::regularity::acknowledged_writes_stay::check;

use super::each_key;
use crate::world::World;

pub(super) fn broken<const BUG: usize>(world: &World<BUG>) -> Option<String> {
    each_key(world, check)
}
