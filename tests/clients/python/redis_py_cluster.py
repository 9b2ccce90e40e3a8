#!/usr/bin/env python3
"""Drives a cluster with the cluster client of redis-py and its default settings; kills a node under it.

    SCRIPT PORT...

PORT: where the nodes of a cluster of three listen on 127.0.0.1. It is emptied, and one node is killed.
"""

import os
import signal
import sys
import time

import redis
from redis.cluster import ClusterNode, RedisCluster

PORTS = [int(port) for port in sys.argv[1:]]
KEYS = 200

failed = 0


def check(what, actual, expected):
    global failed
    if actual != expected:
        failed += 1
        print(f"FAILED {what}\n  expected: {expected!r:.300}\n  actual:   {actual!r:.300}", file=sys.stderr)


def retried(call, seconds=15):
    """What a program does that must not lose a write: it tries again until it is told that it was done."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except redis.RedisError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


cluster = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", PORTS[0])], decode_responses=True)
check("nodes", sorted(node.port for node in cluster.get_nodes()), sorted(PORTS))
cluster.flushall(target_nodes=RedisCluster.RANDOM)

for number in range(KEYS):
    cluster.set(f"key:{number}", f"value {number}")
check("values", [cluster.get(f"key:{number}") for number in range(KEYS)], [f"value {n}" for n in range(KEYS)])
check("MGET of many slots", cluster.mget_nonatomic([f"key:{n}" for n in range(20)]), [f"value {n}" for n in range(20)])
check("MSET and MGET of one", cluster.mset({"{t}a": "1", "{t}b": "2"}), True)
check("MGET of one", cluster.mget("{t}a", "{t}b"), ["1", "2"])
check("INCR", [cluster.incr("counter") for _ in range(3)], [1, 2, 3])
check("DEL of many slots", cluster.delete("{t}a", "{t}b", "counter"), 3)
check("DBSIZE of any node", [cluster.dbsize(target_nodes=[node]) for node in cluster.get_nodes()], [KEYS] * 3)
one = cluster.get_nodes()[0]
check("SCAN of one node", len(set(cluster.scan_iter(target_nodes=one, count=50))), KEYS)
check("KEYSLOT", cluster.cluster_keyslot("foo"), 12182)
check("state", cluster.cluster_info(target_nodes=one)["cluster_state"], "ok")
with cluster.pipeline() as pipeline:
    for number in range(50):
        pipeline.set(f"piped:{number}", number)
    check("pipeline", pipeline.execute(), [True] * 50)

victim = redis.Redis(port=PORTS[1], decode_responses=True)
os.kill(victim.info("server")["process_id"], signal.SIGKILL)
for number in range(KEYS):
    retried(lambda: cluster.set(f"key:{number}", f"newer {number}"))
values = [retried(lambda: cluster.get(f"key:{number}")) for number in range(KEYS)]
check("values without a node", values, [f"newer {n}" for n in range(KEYS)])
print(f"redis_py_cluster.py: {'passed' if failed == 0 else f'{failed} failed'}")
sys.exit(1 if failed else 0)
