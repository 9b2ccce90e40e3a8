// What the scripts of node's clients share: counting expectations, the table of commands, and the server that asks for
// a password. Says nothing of any client.
//
//     node SCRIPT.mjs PORT GUARDED [--reference]
//
// PORT: the server, which is emptied. GUARDED: the directory of `guarded_node`.
// --reference: the server is redis-server 7, whose differences are marked; it proves the expectations right.
// Clients are looked for beside the script, or in the folder that ANNULUS_NODE_MODULES names.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { promisify } from "node:util";

const modules = process.env.ANNULUS_NODE_MODULES;
const clients = path.join(import.meta.dirname, "..");
const DEADLINE_MS = 10_000;
export const require = createRequire(modules ? path.join(modules, "anchor.js") : import.meta.url);
export const port = Number(process.argv[2]);
export const reference = process.argv.includes("--reference");
export const PIPELINE = 10_000;
export const VALUE_BYTES_MAX = 16 * 1024 * 1024;
let passed = 0;
let failed = 0;

export function check(what, actual, expected) {
  try {
    assert.deepStrictEqual(actual, expected);
    passed += 1;
  } catch {
    failed += 1;
    console.error(`FAILED ${what}\n  expected: ${show(expected)}\n  actual:   ${show(actual)}`);
  }
}

const show = (value) => (JSON.stringify(value) ?? String(value)).slice(0, 300);
export const bytes = (...values) => Buffer.from(values);
export const settled = (promise) => promise.catch((error) => error);

export async function checkError(what, promise, message) {
  const outcome = await settled(promise);
  check(what, outcome instanceof Error ? outcome.message : `no error but ${show(outcome)}`, message);
}

export async function waitUntil(what, condition) {
  const end = Date.now() + DEADLINE_MS;
  while (!(await condition())) {
    if (Date.now() > end) return check(what, "not within the deadline", "in time");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return check(what, "in time", "in time");
}

// Sends each command of commands.txt by `call(words)`, which may reject, and compares the replies.
export async function checkTable(call) {
  let family = "";
  for (const line of readFileSync(path.join(clients, "commands.txt"), "utf8").split("\n")) {
    if (line === "" || line.startsWith("#") || (reference && line.startsWith("! "))) continue;
    if (line.startsWith("== ")) {
      family = line.slice(3);
      await call(["FLUSHALL"]);
      continue;
    }
    const [command, reply] = line.replace(/^! /, "").split(" => ");
    const actual = await settled(call(command.split(" ")));
    const expected = JSON.parse(reply);
    check(`${family}: ${command}`, matches(expected, actual) ? expected : actual, expected);
  }
}

function matches(expected, actual) {
  if (Array.isArray(expected)) {
    return Array.isArray(actual) && actual.length === expected.length &&
      expected.every((element, index) => matches(element, actual[index]));
  }
  if (typeof expected === "string") return String(actual) === expected;
  if (expected === null || typeof expected !== "object") return actual === expected;
  const [[kind, value]] = Object.entries(expected);
  switch (kind) {
    case "error": return actual instanceof Error && actual.message.startsWith(value);
    case "between": return Number.isInteger(actual) && value[0] <= actual && actual <= value[1];
    case "contains": return String(actual).includes(value);
    case "unordered": return matches([...value].sort(), [...actual].sort());
    case "length": return actual.length === value;
    case "map": return Object.entries(value).every(([key, wanted]) => matches(wanted, mapOf(actual)[key]));
    default: throw new Error(`commands.txt: no such expectation: ${kind}`);
  }
}

// A map as RESP2 (a list) or RESP3 gives it.
function mapOf(reply) {
  if (!Array.isArray(reply)) return reply instanceof Map ? Object.fromEntries(reply) : reply;
  const pairs = [...Array(reply.length / 2).keys()].map((index) => [String(reply[2 * index]), reply[2 * index + 1]]);
  return Object.fromEntries(pairs);
}

// The server that asks for a password; start() kills and restarts it, stop() only kills.
const directory = process.argv[3];
const runGuarded = (...how) => promisify(execFile)(path.join(clients, "guarded_node"), [directory, ...how]);
export const guarded = {
  port: Number(readFileSync(path.join(directory, "port"), "utf8")),
  password: readFileSync(path.join(directory, "password"), "utf8").trim(),
  start: () => runGuarded(),
  stop: () => runGuarded("kill"),
};

// Runs each case with a client of its own on an empty server. `connect` gives a connected client; `flush` empties the
// server by it; `quit` says goodbye.
export async function runCases(script, cases, { connect, flush, quit }) {
  for (const [name, run] of Object.entries(cases)) {
    try {
      const client = await connect();
      await flush(client);
      await run(client);
      await flush(client);
      await quit(client);
    } catch (error) {
      failed += 1;
      console.error(`FAILED ${script} ${name}: ${error.stack}`);
    }
  }
  console.log(`${script}: ${passed} passed, ${failed} failed`);
  // A client that failed may be left open.
  process.exit(failed === 0 ? 0 : 1);
}
