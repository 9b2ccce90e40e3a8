//! Whoever begins after a read ended sees what it saw or something later.

use annulus::history::regularity::reads_never_go_back::check;

use super::each_key;
use crate::world::World;

pub(super) fn broken<const BUG: usize>(world: &World<BUG>) -> Option<String> {
    each_key(world, check)
}
