//! A version is issued once and stands for one value.

use annulus::history::regularity::one_value_a_version::check;

use super::each_key;
use crate::world::World;

pub(super) fn broken<const BUG: usize>(world: &World<BUG>) -> Option<String> {
    each_key(world, check)
}
