//! Once everything has healed and every key has been read from all its replicas, they hold the same cell of it.

use annulus::message::peer::Summary;
use annulus::types::NodeNumber;

use crate::clients::Clients;
use crate::service::name_of;
use crate::world::World;

pub(super) fn broken<const BUG: usize>(world: &World<BUG>) -> Option<String> {
    for key in Clients::keys() {
        let name = name_of(key);
        let hash = world.nodes[0].store.hash(&name);
        let replicas = world.nodes[0].view.ring.preference_list(hash.token());
        let summary = |node: NodeNumber| -> Option<(Summary, Vec<u8>)> {
            let node = world.index_of(node).expect("it is in the topology");
            world.nodes[node].store.inspect(hash, &name, |cell| {
                cell.map(|cell| (cell.summary(), format!("{:?}", cell.content).into_bytes()))
            })
        };
        let first = summary(replicas[0]);
        for replica in &replicas[1..] {
            let other = summary(*replica);
            if other != first {
                return Some(format!("{key:?}: {first:?} and {other:?}"));
            }
        }
    }
    None
}
