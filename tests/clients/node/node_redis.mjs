// Drives a server with node-redis (the package `redis`): once with its defaults, once with the other protocol.
// checks.mjs says how it is called.
import {
  PIPELINE, VALUE_BYTES_MAX, bytes, check, checkError, checkTable, guarded, port, reference, require, runCases,
  waitUntil,
} from "./checks.mjs";

const { RESP_TYPES, createClient } = require("redis");
const TO_BUFFERS = { [RESP_TYPES.BLOB_STRING]: Buffer };

async function connected(options = {}) {
  const client = createClient({ socket: { host: "127.0.0.1", port }, ...options });
  client.on("error", () => {}); // of connecting while the server is gone: it tries again, or its promises reject
  return client.connect();
}

const cases = {
  async strings(client) {
    check("PING", await client.ping(), "PONG");
    check("SET", await client.set("a", "1"), "OK");
    check("GET", [await client.get("a"), await client.get("gone")], ["1", null]);
    check("SET NX", await client.set("a", "2", { condition: "NX" }), null);
    check("SET GET", await client.set("a", "2", { GET: true }), "1");
    check("MSET", await client.mSet({ m1: "x", m2: "" }), "OK");
    check("MGET", await client.mGet(["m1", "gone", "m2"]), ["x", null, ""]);
    check("MSETNX", await client.mSetNX({ m1: "y", m3: "z" }), 0);
    check("APPEND, STRLEN", [await client.append("a", "bc"), await client.strLen("a")], [3, 3]);
    check("SETRANGE, GETRANGE", [await client.setRange("a", 1, "xy"), await client.getRange("a", 0, -2)], [3, "2x"]);
    check("SETBIT, GETBIT", [await client.setBit("bits", 7, 1), await client.getBit("bits", 7)], [0, 1]);
    check("BITCOUNT, BITPOS", [await client.bitCount("bits"), await client.bitPos("bits", 1)], [1, 7]);
    check("BITOP", await client.bitOp("NOT", "inverse", "bits"), 1);
    check("INCR, INCRBY", [await client.incr("n"), await client.incrBy("n", 41)], [1, 42]);
    check("INCRBYFLOAT", await client.incrByFloat("n", 0.5), "42.5");
    check("GETDEL, GETSET", [await client.getDel("n"), await client.getSet("a", "new")], ["42.5", "2xy"]);
    check("EXISTS, DEL", [await client.exists(["a", "m1", "gone"]), await client.del(["a", "m1"])], [2, 2]);
    await checkError("INCR of text", client.incr("m2"), "ERR value is not an integer or out of range");
  },

  async expiry(client) {
    check("SET EX", await client.set("a", "1", { expiration: { type: "EX", value: 100 } }), "OK");
    check("TTL", await client.ttl("a"), 100);
    check("EXPIRE NX, XX", [await client.expire("a", 9, "NX"), await client.expire("a", 90, "XX")], [0, 1]);
    check("EXPIREAT", [await client.expireAt("a", 4e9), await client.expireTime("a")], [1, 4e9]);
    check("PEXPIREAT", [await client.pExpireAt("a", 4e12), await client.pExpireTime("a")], [1, 4e12]);
    check("GETEX", [await client.getEx("a", { type: "PERSIST" }), await client.ttl("a")], ["1", -1]);
    check("PERSIST", await client.persist("a"), 0);
    check("SETEX, PSETEX", [await client.setEx("b", 9, "x"), await client.pSetEx("b", 1, "x")], ["OK", "OK"]);
    await waitUntil("PSETEX passes", async () => (await client.get("b")) === null);
  },

  async keysAndServer(client) {
    await client.mSet(Array.from({ length: 2000 }, (_, index) => [`scan:${index}`, "v"]));
    const found = new Set();
    for await (const keys of client.scanIterator({ COUNT: 100 })) keys.forEach((key) => found.add(key));
    check("SCAN", found.size, 2000);
    check("KEYS", (await client.keys("scan:199?")).length, 10);
    check("RENAME, COPY", [await client.rename("scan:0", "r"), await client.copy("r", "c")], ["OK", 1]);
    check("TYPE", await client.type("r"), "string");
    check("OBJECT ENCODING", await client.objectEncoding("r"), "embstr");
    check("DBSIZE", await client.dbSize(), 2001);
    check("CONFIG GET", { ...(await client.configGet("appendonly")) }, { appendonly: "no" });
    check("COMMAND COUNT", (await client.commandCount()) >= 66, true);
    const [get] = await client.commandInfo(["get"]);
    check("COMMAND INFO", [get.name, get.arity, get.flags.has("readonly")], ["get", 2, true]);
    check("INFO", (await client.info()).includes(`\r\ntcp_port:${port}\r\n`), true);
    check("TIME", Math.abs((await client.time())[0] - Date.now() / 1000) < 10, true);
    check("CLIENT SETNAME", [await client.clientSetName("me"), await client.clientGetName()], ["OK", "me"]);
    const all = await client.clientList();
    check("CLIENT LIST", all.some((one) => one.name === "me"), true);
    const named = all.some((one) => one.libName?.startsWith("node-redis"));
    if (!reference) check("CLIENT SETINFO", named, true); // redis-server has it from 7.2 on
  },

  async binaryAndLarge(client) {
    const buffers = client.withTypeMapping(TO_BUFFERS);
    const key = bytes(0, 255, 13, 10, 36);
    const value = bytes(...Array(256).keys());
    check("SET binary", await client.set(key, value), "OK");
    check("GET binary", (await buffers.get(key)).equals(value), true);
    const large = Buffer.alloc(VALUE_BYTES_MAX, value);
    check("SET 16 MiB", await client.set("large", large), "OK");
    check("GET 16 MiB", (await buffers.get("large")).equals(large), true);
  },

  async pipelines(client) {
    const indexes = [...Array(PIPELINE).keys()];
    await Promise.all(indexes.map((index) => client.set(`p:${index}`, `${index}`)));
    const values = await Promise.all(indexes.map((index) => client.get(`p:${index}`)));
    check("10,000 GETs without waiting", values.map(Number), indexes);
    await checkError("an error in a pipeline", client.multi().set("a", "x").incr("a").append("a", "y").execAsPipeline(),
      "ERR value is not an integer or out of range");
    check("stops nothing", await client.get("a"), "xy");
  },

  async manyClients() {
    const clients = await Promise.all(Array.from({ length: 50 }, () => connected()));
    const replies = await Promise.all(clients.flatMap((client) => Array.from({ length: 100 }, () => client.incr("m"))));
    check("increments of 50 clients are each counted once", new Set(replies).size, 5000);
    await Promise.all(clients.map((client) => client.close()));
  },

  async aConnectionKilled(client) {
    const other = await connected();
    const id = await other.clientId();
    check("CLIENT KILL", await client.clientKill({ filter: "ID", id }), 1);
    await waitUntil("who was killed connects again", async () => (await other.clientId().catch(() => id)) > id);
    await other.close();
  },

  async aPasswordAndARestart() {
    const socket = { host: "127.0.0.1", port: guarded.port };
    const once = { ...socket, reconnectStrategy: false };
    await checkError("a wrong password", connected({ socket: once, password: "wrong" }),
      "WRONGPASS invalid username-password pair or user is disabled.");
    const client = await connected({ socket, password: guarded.password });
    check("SET, let in", await client.set("a", "1"), "OK");
    await guarded.stop();
    await waitUntil("the loss is seen", () => !client.isReady);
    const waiting = client.get("a");
    await guarded.start();
    check("asked while the server is gone, answered when it is back", await waiting, null);
    await client.close();
  },

  async whatIsNotOffered(client) {
    if (reference) return; // it offers them
    await checkError("lists", client.lPush("l", "1"),
      "ERR unknown command 'LPUSH': lists are not offered, a value here is a string");
    const refusal = await client.multi().set("a", "1").exec().catch((error) => error);
    check("transactions", refusal instanceof Error, true);
    check("and the connection serves on", await client.ping(), "PONG");
  },

  everyFamily: (client) => checkTable((words) => client.sendCommand(words)),
  async everyFamilyInRESP2() {
    const client = await connected({ RESP: 2 });
    await checkTable((words) => client.sendCommand(words));
    await client.close();
  },
};

await runCases("node_redis.mjs", cases, {
  connect: () => connected(),
  flush: (client) => client.flushAll(),
  quit: (client) => client.close(),
});
