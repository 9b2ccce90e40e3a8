//! Nothing that a removal acknowledged since has removed is seen again.

use annulus::history::regularity::removed_stays_removed::check;

use super::each_key;
use crate::world::World;

pub(super) fn broken<const BUG: usize>(world: &World<BUG>) -> Option<String> {
    each_key(world, check)
}
