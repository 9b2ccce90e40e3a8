//! Once everything has healed and every key has been read from all its replicas, they hold the same cell of it.

use annulus::message::peer::Summary;

use crate::clients::Clients;
use crate::world::{World, name_of};

pub(super) fn broken<const BUG: usize>(world: &World<BUG>) -> Option<String> {
    for key in Clients::keys() {
        let name = name_of(key);
        let hash = world.nodes[0].store.hash(&name);
        let replicas = world.nodes[0].view.ring.preference_list(hash.token());
        let summary = |node: usize| -> Option<(Summary, Vec<u8>)> {
            world.nodes[node].store.inspect(hash, &name, |cell| {
                cell.map(|cell| (cell.summary(), format!("{:?}", cell.content).into_bytes()))
            })
        };
        let first = summary(usize::from(replicas[0].0));
        for replica in &replicas[1..] {
            let other = summary(usize::from(replica.0));
            if other != first {
                return Some(format!("{key:?}: {first:?} and {other:?}"));
            }
        }
    }
    None
}
