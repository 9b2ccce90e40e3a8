//! Commands that Redis has and Annulus does not, with the reason: so that whoever sends one learns more than a typing
//! error would tell.
//!
//! The list names what clients send in practice; a name that is on neither list is unknown.

/// Why, and which.
const FAMILIES: &[(&str, &[&str])] = &[
    (
        "lists are not offered, a value here is a string",
        &[
            "blmove",
            "blmpop",
            "blpop",
            "brpop",
            "brpoplpush",
            "lindex",
            "linsert",
            "llen",
            "lmove",
            "lmpop",
            "lpop",
            "lpos",
            "lpush",
            "lpushx",
            "lrange",
            "lrem",
            "lset",
            "ltrim",
            "rpop",
            "rpoplpush",
            "rpush",
            "rpushx",
        ],
    ),
    (
        "hashes are not offered, a value here is a string",
        &[
            "hdel",
            "hexists",
            "hget",
            "hgetall",
            "hincrby",
            "hincrbyfloat",
            "hkeys",
            "hlen",
            "hmget",
            "hmset",
            "hrandfield",
            "hscan",
            "hset",
            "hsetnx",
            "hstrlen",
            "hvals",
        ],
    ),
    (
        "sets are not offered, a value here is a string",
        &[
            "sadd",
            "scard",
            "sdiff",
            "sdiffstore",
            "sinter",
            "sintercard",
            "sinterstore",
            "sismember",
            "smembers",
            "smismember",
            "smove",
            "spop",
            "srandmember",
            "srem",
            "sscan",
            "sunion",
            "sunionstore",
        ],
    ),
    (
        "sorted sets are not offered, a value here is a string",
        &[
            "bzmpop",
            "bzpopmax",
            "bzpopmin",
            "zadd",
            "zcard",
            "zcount",
            "zdiff",
            "zdiffstore",
            "zincrby",
            "zinter",
            "zintercard",
            "zinterstore",
            "zlexcount",
            "zmpop",
            "zmscore",
            "zpopmax",
            "zpopmin",
            "zrandmember",
            "zrange",
            "zrangebylex",
            "zrangebyscore",
            "zrangestore",
            "zrank",
            "zrem",
            "zremrangebylex",
            "zremrangebyrank",
            "zremrangebyscore",
            "zrevrange",
            "zrevrangebylex",
            "zrevrangebyscore",
            "zrevrank",
            "zscan",
            "zscore",
            "zunion",
            "zunionstore",
            "geoadd",
            "geodist",
            "geohash",
            "geopos",
            "georadius",
            "georadius_ro",
            "georadiusbymember",
            "georadiusbymember_ro",
            "geosearch",
            "geosearchstore",
        ],
    ),
    (
        "streams are not offered, a value here is a string",
        &[
            "xack",
            "xadd",
            "xautoclaim",
            "xclaim",
            "xdel",
            "xgroup",
            "xinfo",
            "xlen",
            "xpending",
            "xrange",
            "xread",
            "xreadgroup",
            "xrevrange",
            "xsetid",
            "xtrim",
        ],
    ),
    (
        "sketches are not offered, a value here is a string",
        &["pfadd", "pfcount", "pfdebug", "pfmerge", "pfselftest"],
    ),
    (
        "transactions are not offered: SET has conditions, and INCR, APPEND and their kin are atomic for their key",
        &["discard", "exec", "multi", "unwatch", "watch"],
    ),
    (
        "publishing and subscribing are not offered",
        &[
            "psubscribe",
            "publish",
            "pubsub",
            "punsubscribe",
            "spublish",
            "ssubscribe",
            "subscribe",
            "sunsubscribe",
            "unsubscribe",
        ],
    ),
    (
        "scripts and functions are not offered: SET has conditions, and INCR, APPEND and their kin are atomic",
        &["eval", "eval_ro", "evalsha", "evalsha_ro", "fcall", "fcall_ro", "function", "script"],
    ),
    ("it is not offered: it takes time by the product of both lengths", &["lcs"]),
    ("sorting is not offered, a value here is a string", &["sort", "sort_ro"]),
    ("bit fields are not offered; GETBIT, SETBIT, GETRANGE and SETRANGE are", &["bitfield", "bitfield_ro"]),
    ("any node takes any request, so that no client needs a map of the nodes", &["asking"]),
    ("there is one database", &["move", "swapdb"]),
    (
        "values are not exported; GET and SET with PXAT copy them",
        &["dump", "migrate", "restore", "restore-asking"],
    ),
    ("data is kept in memory only", &["bgrewriteaof", "bgsave", "lastsave", "save"]),
    (
        "nodes are equal and replicate among themselves",
        &["failover", "psync", "replconf", "replicaof", "role", "slaveof", "sync"],
    ),
    ("users are not offered; --password-file sets one password for all", &["acl"]),
    ("modules are not offered", &["module"]),
    ("it is not offered: annulus is stopped by SIGTERM", &["shutdown"]),
    ("watching other clients' commands is not offered", &["monitor"]),
    ("debugging commands are not offered", &["debug"]),
    ("it is not offered, alas", &["lolwut"]),
];

/// Why the command of this name, in whatever case, is not offered; `None` if nobody would expect it to be.
pub(super) fn reason(name: &[u8]) -> Option<&'static str> {
    let named = |names: &&[&str]| names.iter().any(|absent| name.eq_ignore_ascii_case(absent.as_bytes()));
    FAMILIES.iter().find(|(_, names)| named(names)).map(|(reason, _)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::commands::find;

    #[test]
    fn what_is_absent_is_not_offered() {
        for name in FAMILIES.iter().flat_map(|(_, names)| *names) {
            assert_eq!(find(name.as_bytes()), None, "{name}");
            assert!(reason(name.to_uppercase().as_bytes()).is_some());
        }
        assert_eq!(reason(b"frobnicate"), None);
    }
}
