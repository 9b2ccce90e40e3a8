//! Shards are arcs of the ring, and the ones that DashMap itself would choose.

use dashmap::DashMap;

use super::store;
use crate::types::{KeyHash, Token};

#[test]
fn shards_are_arcs_of_the_ring_in_order() {
    for shards in if cfg!(miri) { [2, 4, 16, 64] } else { [2, 64, 4096, 1 << 16] } {
        let store = store(shards, None);
        assert_eq!(store.table.shards(), shards);
        for shard in 0..shards {
            let first = store.table.first_token(shard);
            let last = match shard + 1 {
                next if next == shards => Token(u64::MAX),
                next => Token(store.table.first_token(next).0 - 1),
            };
            assert!(first < last);
            assert_eq!((store.table.shard_of(first), store.table.shard_of(last)), (shard, shard));
        }
    }
}

#[test]
fn dashmap_would_choose_the_same_shard() {
    let seed = 11;
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for shards in [2, 64, 4096, 1 << 16] {
        let store = store(shards, None);
        let map = DashMap::<u8, u8>::with_shard_amount(shards);
        let edges = [0, 1, u64::MAX, 1 << 56, 1 << 57, 1 << 63];
        for hash in edges.into_iter().chain(std::iter::repeat_with(|| random.u64(..)).take(1_000)) {
            let token = KeyHash(hash).token();
            assert_eq!(store.table.shard_of(token), map.determine_shard(hash as usize), "{hash:#x}");
            assert_eq!(token.hash(), KeyHash(hash));
        }
    }
}
