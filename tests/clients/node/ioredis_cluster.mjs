// Drives a cluster with the cluster client of ioredis and its default settings; kills a node under it.
//
//     node SCRIPT PORT...
//
// PORT: where the nodes of a cluster of three listen on 127.0.0.1. It is emptied, and one node is killed.
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

const require = createRequire(`${process.env.ANNULUS_NODE_MODULES}/`);
const { Cluster, Redis } = require("ioredis");
const ports = process.argv.slice(2).map(Number);
const KEYS = 200;
let failed = 0;

function check(what, actual, expected) {
  if (JSON.stringify(actual) === JSON.stringify(expected)) return;
  failed += 1;
  console.error(`FAILED ${what}\n  expected: ${JSON.stringify(expected)}\n  actual:   ${JSON.stringify(actual)}`);
}

// What a program does that must not lose a write: it tries again until it is told that it was done.
async function retried(call, deadline = Date.now() + 15_000) {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(50);
    }
  }
}

const numbers = [...Array(KEYS).keys()];
const cluster = new Cluster([{ host: "127.0.0.1", port: ports[0] }]);
cluster.on("error", () => {});
await new Promise((resolve) => cluster.once("ready", resolve));
check("nodes", cluster.nodes("master").map((node) => node.options.port).sort(), [...ports].sort());
await cluster.flushall();
for (const number of numbers) await cluster.set(`key:${number}`, `value ${number}`);
const values = await Promise.all(numbers.map((number) => cluster.get(`key:${number}`)));
check("values", values, numbers.map((number) => `value ${number}`));
check("MSET of one slot", await cluster.mset("{t}a", 1, "{t}b", 2), "OK");
check("MGET of one slot", await cluster.mget("{t}a", "{t}b"), ["1", "2"]);
check("DEL of one slot", await cluster.del("{t}a", "{t}b"), 2);
check("INCR", [await cluster.incr("counter"), await cluster.incr("counter")], [1, 2]);
await cluster.del("counter");
check("DBSIZE", await cluster.nodes("master")[0].dbsize(), KEYS);
const seen = new Set();
for await (const keys of cluster.nodes("master")[1].scanStream({ count: 50 })) keys.forEach((key) => seen.add(key));
check("SCAN of one node", seen.size, KEYS);

const victim = new Redis(ports[2]);
victim.on("error", () => {});
const pid = Number(/process_id:(\d+)/.exec(await victim.info("server"))[1]);
victim.disconnect();
process.kill(pid, "SIGKILL");
for (const number of numbers) await retried(() => cluster.set(`key:${number}`, `newer ${number}`));
const newer = [];
for (const number of numbers) newer.push(await retried(() => cluster.get(`key:${number}`)));
check("values without a node", newer, numbers.map((number) => `newer ${number}`));
console.log(`ioredis_cluster.mjs: ${failed === 0 ? "passed" : `${failed} failed`}`);
cluster.disconnect();
process.exit(failed ? 1 : 0);
