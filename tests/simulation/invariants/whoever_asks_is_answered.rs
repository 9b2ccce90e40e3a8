//! Every operation gets one reply, in time; once nothing is wrong any more, every operation is done.

use crate::world::World;

pub(super) fn broken<const BUG: usize>(world: &World<BUG>) -> Option<String> {
    let left = |node: &crate::node::Node| (node.coordinator.under_way() > 0).then_some(node.number);
    let under_way = world.nodes.iter().find_map(left).map(|node| format!("{node:?} has operations left"));
    world.complaint.clone().or(under_way)
}
