#!/usr/bin/env python3
"""Drives a server with redis-py: once with its defaults (RESP3), once with RESP2. Empties the server.

checks.py says how it is called. Error texts are checked word for word by redis_cli.sh; here it is what a program sees.
"""

import socket
import sys
import time
import traceback

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

import checks
from checks import PORT, REFERENCE, Raw, case, check, check_error, wait_until

VALUE_BYTES_MAX = 16 * 1024 * 1024
PIPELINE = 10_000
INTEGER_MAX = 2**63 - 1
NEVER = Retry(NoBackoff(), 0)  # by default a password refused is tried again for seconds


@case
def connection(client, protocol):
    raw = Raw(protocol)
    check("PING", client.ping(), True)
    check("PING message", raw("PING", b"a\x00b"), b"a\x00b")
    check("ECHO", client.echo(b"\xff\r\n"), b"\xff\r\n")
    check("ECHO of nothing", client.echo(""), b"")
    check("SELECT 0", client.select(0), True)
    stranger = redis.Redis(host="127.0.0.1", port=PORT, protocol=protocol, retry=NEVER)
    check_error("AUTH without a password to match", lambda: stranger.execute_command("AUTH", "x"), "any password")
    first, second = raw("CLIENT", "ID"), raw("CLIENT", "ID")
    check("CLIENT ID stays", first, second)
    other = Raw(protocol)
    check("CLIENT ID grows", other("CLIENT", "ID") > first > 0, True)
    other.close()

    check("CLIENT GETNAME unset", raw("CLIENT", "GETNAME"), None)
    check("CLIENT SETNAME", raw("CLIENT", "SETNAME", "worker-1"), b"OK")
    check("CLIENT GETNAME", raw("CLIENT", "GETNAME"), b"worker-1")
    information = dict(pair.split("=", 1) for pair in raw("CLIENT", "INFO").decode().split())
    check("CLIENT INFO id", information["id"], str(first))
    check("CLIENT INFO name", information["name"], "worker-1")
    check("CLIENT INFO addr", information["addr"].startswith("127.0.0.1:"), True)
    check("CLIENT INFO laddr", information["laddr"], f"127.0.0.1:{PORT}")
    check("CLIENT INFO db", information["db"], "0")
    check("CLIENT INFO ends with a line end", raw("CLIENT", "INFO")[-1:], b"\n")
    check("CLIENT SETNAME empty unsets", raw("CLIENT", "SETNAME", ""), b"OK")
    check("CLIENT GETNAME after", raw("CLIENT", "GETNAME"), None)
    if not REFERENCE:  # redis-server has CLIENT SETINFO from 7.2 on
        check("CLIENT INFO resp", information["resp"], str(protocol))
        check("CLIENT INFO lib-name, set by redis-py as it connects", "redis-py" in information["lib-name"], True)
        check("CLIENT SETINFO", raw("CLIENT", "SETINFO", "LIB-NAME", "mine"), b"OK")
        check("CLIENT SETINFO lib-ver", raw("CLIENT", "SETINFO", "lib-ver", "1.2"), b"OK")
        told = raw("CLIENT", "INFO").decode().split()
        check("CLIENT SETINFO is told", ["lib-name=mine" in told, "lib-ver=1.2" in told], [True, True])
        check("CLIENT SETINFO unknown", type(raw("CLIENT", "SETINFO", "colour", "red")), redis.ResponseError)
        check("CLIENT SETINFO with a space", type(raw("CLIENT", "SETINFO", "lib-name", "a b")), redis.ResponseError)
        check("SELECT 1", type(raw("SELECT", 1)), redis.ResponseError)
    raw.close()


@case
def hello(client, protocol):
    raw = Raw(protocol)

    def as_map(reply):
        return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2]))

    plain = raw("HELLO")
    check("HELLO keeps the protocol", as_map(plain)[b"proto"], protocol)
    check("HELLO has the protocol's form", type(plain), dict if protocol == 3 else list)
    # redis-py's RESP3 parser reads both protocols, its RESP2 parser only that.
    for version, form in ((3, dict), (2, list), (3, dict)) if protocol == 3 else ((2, list),):
        reply = raw("HELLO", version)
        check(f"HELLO {version} form", type(reply), form)
        reply = as_map(reply)
        check(f"HELLO {version} proto", reply[b"proto"], version)
        check(f"HELLO {version} server", reply[b"server"] in (b"annulus", b"redis"), True)
        check(f"HELLO {version} version", reply[b"version"].decode().split(".")[0].isdigit(), True)
        check(f"HELLO {version} id", reply[b"id"], raw("CLIENT", "ID"))
        check(f"HELLO {version} mode", reply[b"mode"], b"standalone")
        check(f"HELLO {version} role", reply[b"role"], b"master")
        check(f"HELLO {version} modules", reply[b"modules"], [])
    check("HELLO SETNAME", as_map(raw("HELLO", 2, "SETNAME", "named"))[b"proto"], 2)
    check("HELLO SETNAME took", raw("CLIENT", "GETNAME"), b"named")
    check("HELLO 4 is refused", type(raw("HELLO", 4)), redis.ResponseError)
    check("HELLO refused changes nothing", raw("CLIENT", "GETNAME"), b"named")
    check("RESET", raw("RESET"), b"RESET")
    check("RESET leaves RESP3", type(raw("HELLO")), list)
    raw.close()


@case
def leaving(client, protocol):
    raw = Raw(protocol)
    check("QUIT", raw("QUIT"), b"OK")
    try:
        check("the server closes after QUIT", raw("PING"), "a closed connection")
    except redis.ConnectionError:
        check("the server closes after QUIT", True, True)


@case
def what_the_server_tells(client, protocol):
    client.mset({"a": 1, "b": 2})
    information = client.info()
    check("INFO redis_version", information["redis_version"].split(".")[0].isdigit(), True)
    check("INFO tcp_port", information["tcp_port"], PORT)
    check("INFO uptime", information["uptime_in_seconds"] >= 0, True)
    check("INFO connected_clients", information["connected_clients"] >= 1, True)
    check("INFO used_memory", information["used_memory"] > 0, True)
    check("INFO keyspace", information["db0"]["keys"], 2)
    before = information["total_commands_processed"]
    for _ in range(10):
        client.ping()
    check("INFO counts commands", client.info("stats")["total_commands_processed"] >= before + 10, True)
    text = Raw(protocol)("INFO", "server")
    check("INFO section", text.count(b"# "), 1)
    check("INFO section's head", text.startswith(b"# Server\r\n"), True)
    two = client.info("server", "clients")
    check("INFO of two sections", ["tcp_port" in two, "connected_clients" in two, "used_memory" in two],
          [True, True, False])
    check("CONFIG GET", client.config_get("appendonly"), {"appendonly": "no"})
    many = client.config_get("save", "appendonl?", "nosuch")
    check("CONFIG GET of many", many, {"save": "", "appendonly": "no"})
    check("CONFIG GET of nothing known", client.config_get("nosuch"), {})

    raw = Raw(protocol)
    commands = raw("COMMAND")
    check("COMMAND COUNT", raw("COMMAND", "COUNT"), len(commands))
    by_name = {entry[0]: entry for entry in commands}
    table = {  # arity, first key, last key, step, a flag it must have
        b"get": (2, 1, 1, 1, b"readonly"), b"set": (-3, 1, 1, 1, b"write"), b"mget": (-2, 1, -1, 1, b"readonly"),
        b"mset": (-3, 1, -1, 2, b"write"), b"del": (-2, 1, -1, 1, b"write"), b"ping": (-1, 0, 0, 0, b"fast"),
        b"incr": (2, 1, 1, 1, b"write"), b"exists": (-2, 1, -1, 1, b"readonly"), b"scan": (-2, 0, 0, 0, b"readonly"),
        b"expire": (-3, 1, 1, 1, b"write"), b"dbsize": (1, 0, 0, 0, b"readonly"), b"hello": (-1, 0, 0, 0, b"fast"),
        b"setnx": (3, 1, 1, 1, b"write"), b"append": (3, 1, 1, 1, b"write"), b"ttl": (2, 1, 1, 1, b"readonly"),
    }
    for name, (arity, first, last, step, flag) in table.items():
        entry = by_name.get(name, [None] * 6)
        check(f"COMMAND {name.decode()}", [entry[1], *entry[3:6]], [arity, first, last, step])
        flags = {item if isinstance(item, bytes) else item.encode() for item in entry[2] or ()}
        check(f"COMMAND {name.decode()} flags", flag in flags, True)
    raw.close()


@case
def strings(client, protocol):
    check("SET", client.set("a", "1"), True)
    check("GET", client.get("a"), b"1")
    check("GET of nothing", client.get("gone"), None)
    check("SET empty", client.set("empty", ""), True)
    check("GET empty is not nothing", client.get("empty"), b"")
    check("STRLEN", [client.strlen("a"), client.strlen("empty"), client.strlen("gone")], [1, 0, 0])
    check("EXISTS counts repeats", client.exists("a", "gone", "a", "empty"), 3)
    check("TYPE", [client.type("a"), client.type("gone")], [b"string", b"none"])
    check("APPEND", [client.append("a", b"\x00\xff"), client.get("a")], [3, b"1\x00\xff"])
    check("APPEND to nothing", [client.append("new", "x"), client.get("new")], [1, b"x"])
    check("SETNX", [client.setnx("nx", 1), client.setnx("nx", 2), client.get("nx")], [True, False, b"1"])
    check("GETDEL", [client.getdel("nx"), client.getdel("nx"), client.exists("nx")], [b"1", None, 0])
    check("MSET", client.mset({"m1": 1, "m2": b"\x00"}), True)
    check("MGET", client.mget("m1", "gone", "m2", "m1"), [b"1", None, b"\x00", b"1"])
    check("DBSIZE", client.dbsize(), 5)
    check("DEL", client.delete("m1", "m2", "gone", "m1"), 2)
    check("UNLINK", client.unlink("a", "gone"), 1)
    check("the empty key", [client.set("", "v"), client.get(""), client.delete("")], [True, b"v", 1])
    check("FLUSHDB", [client.flushdb(), client.dbsize()], [True, 0])
    client.set("a", 1)
    check("FLUSHALL", [client.flushall(), client.dbsize(), client.get("a")], [True, 0, None])


@case
def binary_keys_and_values(client, protocol):
    keys = [bytes([byte]) for byte in range(256)]
    keys += [b"\r\n", b"a\x00b", b"a\x00c", b"*1\r\n$4\r\nPING\r\n", b"\xff" * 500]
    for key in keys:
        client.set(key, key[::-1])
    check("every binary key is its own", client.dbsize(), len(keys))
    check("every binary value comes back", client.mget(keys), [key[::-1] for key in keys])
    check("SCAN gives binary keys", set(client.scan_iter(count=7)), set(keys))
    check("DEL of binary keys", client.delete(*keys), len(keys))
    long_key = b"k" * 65536
    check("a key of 64 KiB", [client.set(long_key, 1), client.get(long_key), client.incr(long_key)], [True, b"1", 2])


@case
def set_options(client, protocol):
    check("XX of nothing", client.set("a", 1, xx=True), None)
    check("XX stored nothing", client.exists("a"), 0)
    check("NX", client.set("a", 1, nx=True), True)
    check("NX again", client.set("a", 2, nx=True), None)
    check("XX", client.set("a", 3, xx=True), True)
    check("GET", client.set("a", 4, get=True), b"3")
    check("GET of nothing", client.set("fresh", 1, get=True), None)
    check("GET of nothing stores", client.get("fresh"), b"1")
    check("NX GET of something", client.set("a", 5, nx=True, get=True), b"4")
    check("NX GET of something stores nothing", client.get("a"), b"4")
    check("XX GET of nothing", [client.set("gone", 1, xx=True, get=True), client.exists("gone")], [None, 0])
    check("EX", [client.set("a", 1, ex=100), client.ttl("a")], [True, 100])
    check("PX", [client.set("a", 1, px=100_500), client.ttl("a") in (100, 101)], [True, True])
    check("KEEPTTL", [client.set("a", 2, keepttl=True), client.ttl("a") > 90, client.get("a")], [True, True, b"2"])
    check("a plain SET drops the TTL", [client.set("a", 3), client.ttl("a")], [True, -1])
    check("KEEPTTL of none", [client.set("a", 4, keepttl=True), client.ttl("a")], [True, -1])
    now_s = int(time.time())
    check("EXAT", [client.set("a", 1, exat=now_s + 100), 98 <= client.ttl("a") <= 100], [True, True])
    check("PXAT", [client.set("a", 1, pxat=(now_s + 200) * 1000), 198 <= client.ttl("a") <= 200], [True, True])
    check("EXAT in the past", [client.set("a", 1, exat=1), client.get("a"), client.exists("a")], [True, None, 0])
    client.set("a", "old", px=1)
    wait_until("PX 1 passes", lambda: client.exists("a") == 0)
    check("NX over what has expired", client.set("a", 1, nx=True), True)
    for options in (("NX", "XX"), ("EX", 1, "PX", 1), ("EX",), ("KEEPTTL", "EX", 1), ("NOSUCH",)):
        call = lambda options=options: client.execute_command("SET", "a", "bad", *options)  # noqa: E731
        check_error(f"SET {options}", call, "syntax error")
    for options in (("EX", 0), ("PX", -1), ("EXAT", 0), ("PXAT", -1), ("EX", INTEGER_MAX), ("PX", INTEGER_MAX)):
        call = lambda options=options: client.execute_command("SET", "a", "bad", *options)  # noqa: E731
        check_error(f"SET {options}", call, "invalid expire time in 'set' command")
    check("what was refused stored nothing", client.get("a"), b"1")


@case
def counters(client, protocol):
    check("INCR of nothing", client.execute_command("INCR", "n"), 1)
    check("DECR of nothing", client.execute_command("DECR", "m"), -1)
    check("INCRBY", client.incrby("n", 41), 42)
    check("DECRBY", client.decrby("n", 43), -1)
    check("what is stored is text", client.get("n"), b"-1")
    check("EX stays", [client.expire("n", 100), client.incr("n"), client.ttl("n") > 90], [True, 0, True])
    client.set("n", 1)
    check("APPEND, then INCR", [client.append("n", "9"), client.incr("n"), client.get("n")], [2, 20, b"20"])
    client.set("n", INTEGER_MAX)
    check_error("INCR past the end", lambda: client.incr("n"), "increment or decrement would overflow")
    check("INCR past the end stores nothing", client.get("n"), str(INTEGER_MAX).encode())
    check("DECRBY of the largest", client.decrby("n", INTEGER_MAX), 0)
    client.set("n", -INTEGER_MAX - 1)
    check_error("DECR past the end", lambda: client.decr("n"), "increment or decrement would overflow")
    check_error("DECRBY of the smallest", lambda: client.decrby("n", -INTEGER_MAX - 1), "decrement would overflow")
    for bad in ("", "x", " 1", "1 ", "+1", "01", "-0", "1.5", "0x1", str(INTEGER_MAX + 1), b"1\x00", "1" * 100):
        client.set("n", bad)
        check_error(f"INCR of {bad!r}", lambda: client.incr("n"), "not an integer or out of range")
    check_error("INCRBY by text", lambda: client.execute_command("INCRBY", "n", "x"), "not an integer")


@case
def parts_and_bits(client, protocol):
    check("SETRANGE of nothing", [client.setrange("a", 2, "xyz"), client.get("a")], [5, b"\x00\x00xyz"])
    check("GETRANGE", [client.getrange("a", -2, -1), client.getrange("a", 9, 10)], [b"yz", b""])
    check("SETBIT", [client.setbit("bits", 9, 1), client.setbit("bits", 9, 0), client.setbit("bits", 9, 1)], [0, 1, 0])
    check("GETBIT", [client.getbit("bits", 9), client.getbit("bits", 10**6)], [1, 0])
    check("BITCOUNT", [client.bitcount("bits"), client.bitcount("bits", 0, 8, "BIT")], [1, 0])
    check("BITPOS", [client.bitpos("bits", 1), client.bitpos("bits", 0, 2), client.bitpos("gone", 1)], [9, -1, -1])
    check("BITOP", [client.bitop("NOT", "bits", "bits"), client.get("bits")], [2, b"\xff\xbf"])
    check("INCRBYFLOAT", [client.incrbyfloat("f", 0.1), client.incrbyfloat("f", 0.2), client.get("f")],
          [0.1, 0.3, b"0.3"])


@case
def keys_of_all_kinds(client, protocol):
    check("SETEX, PSETEX", [client.setex("a", 100, 1), client.psetex("b", 100_000, 2)], [True, True])
    check("GETEX", [client.getex("a", persist=True), client.ttl("a"), client.getex("gone")], [b"1", -1, None])
    check("GETSET drops the expiry", [client.getset("b", 3), client.ttl("b")], [b"2", -1])
    check("EXPIREAT, EXPIRETIME", [client.expireat("b", 4_000_000_000), client.expiretime("b")], [True, 4_000_000_000])
    check("PEXPIREAT, PEXPIRETIME", [client.pexpireat("b", 4 * 10**12), client.pexpiretime("b")], [True, 4 * 10**12])
    check("COPY", [client.copy("b", "c"), client.copy("b", "c"), client.copy("a", "c", replace=True)],
          [True, False, True])
    check("RENAME", [client.rename("b", "d"), client.expiretime("d"), client.exists("b")], [True, 4_000_000_000, 0])
    check("RENAMENX", [client.renamenx("d", "a"), client.renamenx("d", "e")], [False, True])
    check_error("RENAME of nothing", lambda: client.rename("gone", "x"), "no such key")
    check("MSETNX", [client.msetnx({"x": 1, "a": 2}), client.msetnx({"x": 1, "y": 2})], [False, True])
    check("TOUCH", client.touch("a", "gone", "x"), 2)
    check("KEYS", sorted(client.keys("[a-e]")), [b"a", b"c", b"e"])
    check("RANDOMKEY", client.randomkey() in (b"a", b"c", b"e", b"x", b"y"), True)
    check("OBJECT ENCODING", [client.object("encoding", "a"), client.object("encoding", "gone")], [b"int", None])
    check("MEMORY USAGE", [client.memory_usage("a") > 8, client.memory_usage("gone")], [True, None])
    if not REFERENCE:
        check_error("what is not offered says why", lambda: client.lpush("list", 1),
                    "unknown command 'LPUSH': lists are not offered")


@case
def expiry(client, protocol):
    client.set("a", 1)
    check("TTL of none, of nothing", [client.ttl("a"), client.ttl("gone"), client.pttl("gone")], [-1, -2, -2])
    check("EXPIRE", [client.expire("a", 100), client.ttl("a")], [True, 100])
    check("PEXPIRE", [client.pexpire("a", 50_000), 49_000 < client.pttl("a") <= 50_000], [True, True])
    check("EXPIRE of nothing", client.expire("gone", 1), False)
    check("EXPIRE NX, GT, LT, XX", [client.expire("a", 10, nx=True), client.expire("a", 10, gt=True),
                                    client.expire("a", 10, lt=True), client.expire("a", 20, xx=True)],
          [False, False, True, True])
    check("PERSIST", [client.persist("a"), client.persist("a"), client.ttl("a"), client.persist("gone")],
          [True, False, -1, False])
    check("EXPIRE GT of none", client.expire("a", 10, gt=True), False)
    check("EXPIRE in the past removes", [client.expire("a", -1), client.exists("a"), client.dbsize()], [True, 0, 0])
    client.mset({"b": 1, "c": 2})
    client.pexpire("b", 30)
    check("alive before its time", client.get("c"), b"2")
    wait_until("PEXPIRE passes", lambda: client.get("b") is None)
    check("what has expired is nowhere", [client.exists("b"), client.ttl("b"), client.type("b"), client.getdel("b"),
                                          client.strlen("b"), client.delete("b"), client.persist("b"),
                                          client.expire("b", 5), client.mget("b", "c"), list(client.scan_iter())],
          [0, -2, b"none", None, 0, 0, False, False, [None, b"2"], [b"c"]])
    client.set("b", 5, px=1)
    wait_until("PX passes", lambda: client.exists("b") == 0)
    check("INCR starts anew, without a TTL", [client.incr("b"), client.ttl("b")], [1, -1])
    for count in range(100):
        client.set(f"short:{count}", "x", px=20)
    wait_until("a sweep collects what nobody reads", lambda: client.dbsize() == 2)


@case
def large_values(client, protocol):
    pattern = bytes(range(256)) * 4096
    for size in (1023, 1024, 1025, 65_536, 1_000_003, VALUE_BYTES_MAX):
        value = (pattern * (size // len(pattern) + 1))[:size]
        check(f"SET of {size} bytes", client.set("large", value), True)
        check(f"GET of {size} bytes", client.get("large") == value, True)
        check(f"STRLEN of {size} bytes", client.strlen("large"), size)
    check("SET GET of 16 MiB", client.set("large", "small", get=True) == value, True)
    client.set("large", value[: size // 2])
    check("APPEND of 8 MiB to 8 MiB", client.append("large", value[size // 2 :]), size)
    check("what was appended", client.get("large") == value, True)
    client.mset({"m1": value[:5_000_000], "m2": value[:5_000_000]})
    check("MGET of large values", [len(part) for part in client.mget("m1", "m2", "m1")], [5_000_000] * 3)
    check("the server serves on", client.ping(), True)


@case
def pipelines(client, protocol):
    pipeline = client.pipeline(transaction=False)
    for index in range(PIPELINE):
        pipeline.set(f"p:{index}", index)
    check(f"{PIPELINE} SETs in a pipeline", pipeline.execute(), [True] * PIPELINE)
    for index in range(PIPELINE):
        pipeline.get(f"p:{index}")
    check(f"{PIPELINE} GETs in a pipeline, in order", pipeline.execute(),
          [str(index).encode() for index in range(PIPELINE)])
    for index in range(PIPELINE):
        pipeline.incr("counter")
    check(f"{PIPELINE} INCRs of one key, in order", pipeline.execute(), list(range(1, PIPELINE + 1)))
    for index in range(100):
        pipeline.set("x", index).incr("x").append("x", "y").incr("x").get("x").delete("x").get("x")
    replies = pipeline.execute(raise_on_error=False)
    expected = []
    for index in range(100):
        grown = f"{index + 1}y"
        expected += [True, index + 1, len(grown), "error", grown.encode(), 1, None]
    check("each command sees the one before it; an error stops nothing",
          ["error" if isinstance(reply, redis.ResponseError) else reply for reply in replies], expected)
    keys = [f"p:{index}" for index in range(PIPELINE)]
    check("MGET of 10,000", client.mget(keys), [str(index).encode() for index in range(PIPELINE)])
    check("EXISTS of 10,000", client.exists(*keys), PIPELINE)
    check("DEL of 10,000", client.delete(*keys), PIPELINE)


@case
def a_command_in_pieces(client, protocol):
    """Bytes one by one, and many commands in one write, give the same answers."""
    request = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nQUIT\r\n"
    expected = b"+OK\r\n$4\r\na\r\nb\r\n+OK\r\n"
    for piece_bytes in (1, 3, 7, len(request)):
        with socket.create_connection(("127.0.0.1", PORT), timeout=10) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for start in range(0, len(request), piece_bytes):
                connection.sendall(request[start : start + piece_bytes])
            answer = b""
            while part := connection.recv(4096):
                answer += part
        check(f"pieces of {piece_bytes}", answer, expected)


@case
def scan(client, protocol):
    count = 5000
    keys = {f"scan:{index}".encode() for index in range(count)}
    client.mset({key: b"v" for key in keys})
    for step in (1, 10, 1000, 100_000):
        found = list(client.scan_iter(count=step))
        check(f"SCAN COUNT {step} gives every key", set(found) == keys, True)
    cursor, some = client.scan(0, count=10)
    check("SCAN gives a part at a time", 0 < len(some) < count and cursor != 0, True)
    check("SCAN MATCH", set(client.scan_iter(match="scan:4[2-3]?")),
          {f"scan:4{second}{third}".encode() for second in (2, 3) for third in range(10)})
    check("SCAN MATCH of nothing", list(client.scan_iter(match="nosuch*", count=1000)), [])
    check("SCAN TYPE string", set(client.scan_iter(_type="string", count=1000)) == keys, True)
    check("SCAN TYPE hash", list(client.scan_iter(_type="hash", count=1000)), [])

    seen, cursor, writes = set(), None, 0
    while cursor != 0:
        cursor, part = client.scan(cursor or 0, count=100)
        seen.update(part)
        client.mset({f"new:{writes}:{index}": 1 for index in range(50)})
        client.delete(*[f"new:{writes - 1}:{index}" for index in range(50)])
        writes += 1
    check("SCAN while keys come and go gives every key that stays", keys <= seen, True)
    check("and nothing that never was", all(key.startswith((b"scan:", b"new:")) for key in seen), True)
    cursor, part = client.scan(2**64 - 1)
    check("any cursor is answered", isinstance(cursor, int), True)
    client.flushall()
    cursor, part = client.scan(0)
    check("SCAN of nothing", [cursor, part], [0, []])


@case
def errors_leave_the_connection_usable(client, protocol):
    raw = Raw(protocol)
    for arguments in (("NOSUCH",), ("GET",), ("GET", "a", "b"), ("SET", "a"), ("MSET", "a"),
                      ("COMMAND", "NOSUCH"), ("CLIENT", "NOSUCH"), ("CONFIG", "NOSUCH"), ("SELECT", "x")):
        check(f"{arguments} is refused", isinstance(raw(*arguments), redis.ResponseError), True)
        check(f"after {arguments}", raw("PING"), b"PONG")
    raw.close()


@case
def a_connection_killed(client, protocol):
    other = redis.Redis(host="127.0.0.1", port=PORT, protocol=protocol, single_connection_client=True)
    number = other.client_id()
    check("CLIENT KILL", client.client_kill_filter(_id=number), 1)
    check("who was killed connects again", other.client_id() > number, True)
    other.close()


@case
def silence(client, protocol):
    raw = Raw(protocol)
    raw.connection.send_command("CLIENT", "REPLY", "OFF")
    raw.connection.send_command("SET", "a", 1)
    check("CLIENT REPLY ON is the first reply", raw("CLIENT", "REPLY", "ON"), b"OK")
    raw.connection.send_command("CLIENT", "REPLY", "SKIP")
    raw.connection.send_command("INCR", "a")
    check("what was not answered was done", raw("GET", "a"), b"2")
    raw.close()


@case
def a_password_and_a_restart(client, protocol):
    def guarded(**options):
        return redis.Redis(host="127.0.0.1", port=checks.guarded_port(), protocol=protocol, **options)

    check_error("without the password", lambda: guarded(retry=NEVER).get("a"), "")
    check_error("a wrong password", lambda: guarded(password="wrong", retry=NEVER).get("a"), "username-password pair")
    let_in = guarded(password=checks.guarded_password())
    check("SET, let in", [let_in.set("a", 1), let_in.auth(checks.guarded_password())], [True, True])
    checks.restart_guarded()
    check("let in again after a restart", [let_in.get("a"), let_in.set("a", 2)], [None, True])
    let_in.close()


@case
def every_family(client, protocol):
    raw = Raw(protocol)
    checks.check_table(raw)
    raw.close()


def main():
    for name, options in (("RESP3, the defaults", {}), ("RESP2", {"protocol": 2})):
        for function in checks.CASES:
            client = redis.Redis(host="127.0.0.1", port=PORT, **options)
            try:
                client.flushall()
                function(client, options.get("protocol", 3))
            except Exception:
                checks.failed += 1
                print(f"FAILED {function.__name__} ({name})", file=sys.stderr)
                traceback.print_exc()
            finally:
                client.close()
    redis.Redis(host="127.0.0.1", port=PORT).flushall()
    print(f"redis_py.py: {checks.passed} passed, {checks.failed} failed")
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
