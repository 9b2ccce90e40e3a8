"""What the script of redis-py stands on: counting expectations, the table of commands, the server that asks for a
password, and connections without conversions.

    SCRIPT PORT GUARDED [--reference]

PORT: the server, which is emptied. GUARDED: the directory of `guarded_node`.
--reference: the server is redis-server 7, whose differences are marked; it proves the expectations right.
"""

import json
import pathlib
import subprocess
import sys
import time

import redis

PORT = int(sys.argv[1])
GUARDED = pathlib.Path(sys.argv[2])
REFERENCE = "--reference" in sys.argv[3:]
CLIENTS = pathlib.Path(__file__).resolve().parent.parent
REFUSALS = (redis.ResponseError, redis.AuthenticationError)

CASES = []
passed = 0
failed = 0


def case(function):
    """Registers a function that takes a fresh client and its protocol, on an empty server."""
    CASES.append(function)
    return function


def check(what, actual, expected):
    """Counts one expectation; a value is equal only if its type is too (1 is not True)."""
    count(what, actual == expected and type(actual) is type(expected), actual, expected)


def count(what, holds, actual, expected):
    global passed, failed
    if holds:
        passed += 1
        return
    failed += 1
    print(f"FAILED {what}\n  expected: {expected!r:.300}\n  actual:   {actual!r:.300}", file=sys.stderr)


def check_error(what, call, *parts):
    """Expects the server to refuse, with all the parts in its message."""
    try:
        reply = call()
    except REFUSALS as error:
        check(what, [part for part in parts if part not in str(error)], [])
    else:
        check(what, f"no error but {reply!r:.100}", "an error")


def wait_until(what, condition, deadline_s=10.0):
    """Waits for the server's clock, the only thing that cannot be told to hurry."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            check(what, "not within the deadline", "in time")
            return
        time.sleep(0.002)
    check(what, "in time", "in time")


class Raw:
    """A connection without redis-py's conversions of replies: what the server said, errors as values."""

    def __init__(self, protocol):
        self.connection = redis.Connection(host="127.0.0.1", port=PORT, protocol=protocol)
        self.connection.connect()

    def __call__(self, *arguments):
        self.connection.send_command(*arguments)
        try:
            return self.connection.read_response()
        except REFUSALS as error:
            return error

    def close(self):
        self.connection.disconnect()


def check_table(call):
    """Sends each command of commands.txt by `call(*words)`, which returns errors, and compares the replies."""
    family = ""
    for line in (CLIENTS / "commands.txt").read_text().splitlines():
        if line.startswith("== "):
            family = line[3:]
            call("FLUSHALL")
        elif line and not line.startswith("#") and not (REFERENCE and line.startswith("! ")):
            command, reply = line.removeprefix("! ").split(" => ")
            expected, actual = json.loads(reply), call(*command.split(" "))
            count(f"{family}: {command}", matches(expected, actual), actual, expected)


def matches(expected, actual):
    if isinstance(expected, str):
        return isinstance(actual, bytes) and actual.decode() == expected
    if isinstance(expected, list):
        return isinstance(actual, list) and len(actual) == len(expected) and all(map(matches, expected, actual))
    if not isinstance(expected, dict):
        return actual == expected and type(actual) is type(expected)
    [(kind, value)] = expected.items()
    match kind:
        case "error":
            # redis-py drops the `ERR` of the texts that it knows no type for.
            return isinstance(actual, REFUSALS) and str(actual).startswith((value, value.removeprefix("ERR ")))
        case "between":
            return isinstance(actual, int) and value[0] <= actual <= value[1]
        case "contains":
            text = b"\n".join(actual) if isinstance(actual, list) else actual
            return value.encode() in text
        case "unordered":
            return matches(sorted(value), sorted(actual))
        case "length":
            return len(actual) == value
        case "map":
            found = actual if isinstance(actual, dict) else dict(zip(actual[::2], actual[1::2]))
            return all(matches(wanted, found.get(key.encode())) for key, wanted in value.items())
    raise ValueError(f"commands.txt: no such expectation: {kind}")


def guarded_port():
    return int((GUARDED / "port").read_text())


def guarded_password():
    return (GUARDED / "password").read_text().strip()


def restart_guarded():
    subprocess.run([CLIENTS / "guarded_node", GUARDED], check=True)
