// Drives a server with ioredis and its default settings; checks.mjs says how it is called.
import {
  PIPELINE, VALUE_BYTES_MAX, bytes, check, checkError, checkTable, guarded, port, reference, require, runCases,
  waitUntil,
} from "./checks.mjs";

const { Redis } = require("ioredis");

const cases = {
  async connecting(redis) {
    check("ready", redis.status, "ready");
    check("PING", await redis.ping(), "PONG");
    check("PING message", await redis.ping("hello"), "hello");
    check("ECHO", await redis.echo("é"), "é");
    check("SELECT 0", await redis.select(0), "OK");
    const id = await redis.client("ID");
    check("CLIENT ID", Number.isSafeInteger(id) && id > 0, true);
    check("CLIENT GETNAME unset", await redis.client("GETNAME"), null);
    check("CLIENT SETNAME", await redis.client("SETNAME", "node"), "OK");
    check("CLIENT GETNAME", await redis.client("GETNAME"), "node");
    const information = await redis.client("INFO");
    check("CLIENT INFO", [information.includes(`id=${id} `), information.includes(" name=node ")], [true, true]);
    const info = await redis.info();
    check("INFO", [info.startsWith("# "), info.includes(`\r\ntcp_port:${port}\r\n`)], [true, true]);
    check("COMMAND COUNT", (await redis.command("COUNT")) >= 36, true);
    await checkError("SELECT beyond", redis.select(16), "ERR DB index is out of range");
    await checkError("COMMAND NOSUCH", redis.command("NOSUCH"), "ERR unknown subcommand 'NOSUCH'. Try COMMAND HELP.");
    if (!reference) {
      // redis-server has 16 databases, and SETINFO and resp= from 7.2 on
      await checkError("SELECT 1", redis.select(1), "ERR DB index is out of range");
      check("CLIENT SETINFO as ioredis connects", information.includes(" lib-name=ioredis "), true);
      check("RESP3 is what was agreed", / resp=3\s/.test(information), true);
    }
    const hello = await redis.call("HELLO");
    const entries = Array.isArray(hello) ? hello : Object.entries(hello).flat();
    check("HELLO proto", entries[entries.indexOf("proto") + 1], 3);
  },

  async strings(redis) {
    check("SET", await redis.set("a", "1"), "OK");
    check("GET", await redis.get("a"), "1");
    check("GET of nothing", await redis.get("gone"), null);
    check("SET empty", [await redis.set("empty", ""), await redis.get("empty")], ["OK", ""]);
    check("SETNX", [await redis.setnx("nx", 1), await redis.setnx("nx", 2)], [1, 0]);
    check("MSET", await redis.mset({ m1: "x", m2: "y" }), "OK");
    check("MGET", await redis.mget("m1", "gone", "m2"), ["x", null, "y"]);
    check("EXISTS", await redis.exists("m1", "gone", "m1"), 2);
    check("STRLEN", [await redis.strlen("a"), await redis.strlen("gone")], [1, 0]);
    check("APPEND", [await redis.append("a", "bc"), await redis.get("a")], [3, "1bc"]);
    check("TYPE", [await redis.type("a"), await redis.type("gone")], ["string", "none"]);
    check("GETDEL", [await redis.getdel("nx"), await redis.getdel("nx")], ["1", null]);
    check("DBSIZE", await redis.dbsize(), 4);
    check("DEL", await redis.del("m1", "m2", "gone"), 2);
    check("UNLINK", await redis.unlink("a", "a"), 1);
    check("FLUSHDB", [await redis.flushdb(), await redis.dbsize()], ["OK", 0]);
    check("CONFIG GET", Object.values(await redis.config("GET", "appendonly")).includes("no"), true);
    await checkError("arity", redis.call("GET"), "ERR wrong number of arguments for 'get' command");
    await checkError("unknown", redis.call("NOSUCH", "a"),
      "ERR unknown command 'NOSUCH', with args beginning with: 'a' ");
  },

  async setOptions(redis) {
    check("XX of nothing", await redis.set("a", 1, "XX"), null);
    check("NX", [await redis.set("a", 1, "NX"), await redis.set("a", 2, "NX")], ["OK", null]);
    check("GET", await redis.set("a", 3, "GET"), "1");
    check("EX", [await redis.set("a", 4, "EX", 100), await redis.ttl("a")], ["OK", 100]);
    check("KEEPTTL", [await redis.set("a", 5, "KEEPTTL"), (await redis.pttl("a")) > 90_000], ["OK", true]);
    check("plain", [await redis.set("a", 6), await redis.ttl("a")], ["OK", -1]);
    check("EXAT", [await redis.set("a", 7, "EXAT", 1), await redis.get("a")], ["OK", null]);
    check("PXAT", [await redis.set("a", 8, "PXAT", Date.now() + 60_000), await redis.get("a")], ["OK", "8"]);
    await redis.set("a", 9, "PX", 1);
    await waitUntil("PX passes", async () => (await redis.get("a")) === null);
    await checkError("EX 0", redis.set("a", 1, "EX", 0), "ERR invalid expire time in 'set' command");
    await checkError("NX XX", redis.call("SET", "a", 1, "NX", "XX"), "ERR syntax error");
  },

  async countersAndExpiry(redis) {
    check("INCR, INCRBY", [await redis.incr("n"), await redis.incrby("n", 9)], [1, 10]);
    check("DECR, DECRBY", [await redis.decr("n"), await redis.decrby("n", 10)], [9, -1]);
    await redis.set("n", "9223372036854775807");
    await checkError("past the end", redis.incr("n"), "ERR increment or decrement would overflow");
    await redis.set("n", "x");
    await checkError("not a number", redis.incr("n"), "ERR value is not an integer or out of range");
    check("TTL", [await redis.ttl("n"), await redis.ttl("gone"), await redis.pttl("gone")], [-1, -2, -2]);
    check("EXPIRE", [await redis.expire("n", 100), await redis.ttl("n"), await redis.expire("gone", 1)], [1, 100, 0]);
    check("PEXPIRE", [await redis.pexpire("n", 60_000), (await redis.pttl("n")) <= 60_000], [1, true]);
    check("PERSIST", [await redis.persist("n"), await redis.persist("n")], [1, 0]);
    check("EXPIRE in the past", [await redis.expire("n", -1), await redis.exists("n")], [1, 0]);
  },

  async binaryAndLarge(redis) {
    const key = bytes(0, 255, 13, 10, 36);
    const value = bytes(...Array(256).keys());
    check("SET binary", await redis.set(key, value), "OK");
    check("GET binary", (await redis.getBuffer(key)).equals(value), true);
    check("STRLEN binary", await redis.strlen(key), 256);
    check("SCAN binary", (await redis.scanBuffer(0))[1].map((found) => found.equals(key)), [true]);
    const large = Buffer.alloc(VALUE_BYTES_MAX, value);
    check("SET 16 MiB", await redis.set("large", large), "OK");
    check("GET 16 MiB", (await redis.getBuffer("large")).equals(large), true);
    check("STRLEN 16 MiB", await redis.strlen("large"), VALUE_BYTES_MAX);
    check("PING after", await redis.ping(), "PONG");
  },

  async pipelines(redis) {
    const indexes = [...Array(PIPELINE).keys()];
    const sets = redis.pipeline();
    for (const index of indexes) sets.set(`p:${index}`, index);
    check("10,000 SETs", (await sets.exec()).every(([error, reply]) => error === null && reply === "OK"), true);
    const gets = redis.pipeline();
    for (const index of indexes) gets.get(`p:${index}`);
    check("10,000 GETs, in order", (await gets.exec()).map(([, reply]) => Number(reply)), indexes);
    const increments = await Promise.all(indexes.map(() => redis.incr("n")));
    check("10,000 INCRs without waiting", increments, indexes.map((index) => index + 1));
    const mixed = await redis.pipeline().set("a", "x").incr("a").get("a").exec();
    check("an error stops nothing", mixed.map(([error, reply]) => error?.message ?? reply),
      ["OK", "ERR value is not an integer or out of range", "x"]);
  },

  async scanning(redis) {
    const keys = [...Array(2000).keys()].map((index) => `scan:${index}`);
    await redis.mset(keys.flatMap((key) => [key, "v"]));
    for (const count of [1, 100, 10_000]) {
      const found = new Set();
      for await (const part of redis.scanStream({ count })) part.forEach((key) => found.add(key));
      check(`SCAN COUNT ${count}`, [...found].sort(), [...keys].sort());
    }
    const matched = new Set();
    for await (const part of redis.scanStream({ match: "scan:?", count: 500 })) part.forEach((key) => matched.add(key));
    check("SCAN MATCH", matched.size, 10);
  },

  async manyClients() {
    const clients = [...Array(50).keys()].map(() => new Redis({ port, host: "127.0.0.1" }));
    const replies = await Promise.all(clients.flatMap((client) => [...Array(100).keys()].map(() => client.incr("m"))));
    check("increments of 50 clients are each counted once", new Set(replies).size, 5000);
    check("and sum up", await clients[0].get("m"), "5000");
    await Promise.all(clients.map((client) => client.quit()));
  },

  async aConnectionKilled(redis) {
    const other = new Redis({ port, host: "127.0.0.1" });
    const id = await other.client("ID");
    check("CLIENT KILL", await redis.client("KILL", "ID", id), 1);
    check("who was killed connects again", (await other.client("ID")) > id, true);
    await other.quit();
  },

  async aPasswordAndARestart() {
    for (const [password, refusal] of [[undefined, "NOAUTH "], ["wrong", "WRONGPASS "]]) {
      const stranger = new Redis({ port: guarded.port, host: "127.0.0.1", password });
      const outcome = await new Promise((resolve) => stranger.once("error", resolve));
      check(`the password ${password}`, outcome.message.slice(0, refusal.length), refusal);
      stranger.disconnect();
    }
    const redis = new Redis({ port: guarded.port, host: "127.0.0.1", password: guarded.password });
    redis.on("error", () => {}); // of connecting while the server is gone: it tries again
    check("SET, let in", await redis.set("a", "1"), "OK");
    await guarded.stop();
    const waiting = redis.get("a");
    await guarded.start();
    check("asked while the server is gone, answered when it is back", await waiting, null);
    check("let in again", await redis.set("a", "2"), "OK");
    await redis.quit();
  },

  everyFamily: (redis) => checkTable((words) => redis.call(...words)),
};

await runCases("ioredis.mjs", cases, {
  async connect() {
    const redis = new Redis({ port, host: "127.0.0.1", retryStrategy: () => null });
    redis.on("error", (error) => console.error(`ioredis.mjs: ${error.message}`));
    await new Promise((resolve, reject) => {
      redis.once("ready", resolve).once("end", () => reject(new Error("no connection")));
    });
    return redis;
  },
  flush: (redis) => redis.flushall(),
  quit: async (redis) => check("QUIT", await redis.quit(), "OK"),
});
