#!/usr/bin/env bash
# Drives a server with redis-cli, redis-benchmark and bare bytes: replies, error texts word for word, inline
# commands, both protocols. Empties the server.
#
#   redis_cli.sh PORT GUARDED [--reference]
#
# GUARDED: the directory of `guarded_node`.
# --reference: the server is redis-server 7, whose differences are marked below; it proves the expectations right.
# shellcheck disable=SC2016 # dollars are RESP's, not the shell's
set -euo pipefail

port=${1:?usage: redis_cli.sh PORT GUARDED [--reference]}
guarded=${2:?usage: redis_cli.sh PORT GUARDED [--reference]}
reference=${3:-}
clients=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
passed=0
failed=0

# compare WHAT EXPECTED ACTUAL
compare() {
    if [[ $3 == "$2" ]]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED %s\n  expected: %q\n  actual:   %q\n' "$1" "${2:0:600}" "${3:0:600}" >&2
    fi
}

cli() { redis-cli -h 127.0.0.1 -p "$port" "$@" 2>&1; }

# check 'COMMAND' 'EXPECTED': a command as typed at redis-cli's prompt; lists come one element a line.
check() { compare "$1" "$2" "$(printf '%s\n' "$1" | cli)"; }

# begins 'COMMAND' 'BEGINNING': as check, of a reply of which only the beginning matters.
begins() {
    local reply
    reply=$(printf '%s\n' "$1" | cli)
    compare "$1" "$2" "${reply:0:${#2}}"
}

# arity COMMAND...: each is short of arguments, or has too many.
arity() {
    local command name
    for command in "$@"; do
        name=${command%% *}
        check "$command" "ERR wrong number of arguments for '$name' command"
    done
}

# bytes WHAT 'INPUT' 'EXPECTED': raw bytes to a new connection and all that comes back until the server closes it;
# printf escapes in the input; in the answer CR LF reads as |.
bytes() {
    local actual
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    # shellcheck disable=SC2059 # the input is a format on purpose
    printf "$2" >&3 || true
    actual=$(timeout 10 cat <&3 | tr -d '\r' | tr '\n' '|') || actual="(still open after 10 s) $actual"
    exec 3<&-
    compare "$1" "$3" "$actual"
}

integer='ERR value is not an integer or out of range'
overflow='ERR increment or decrement would overflow'
syntax='ERR syntax error'

strings() {
    check 'flushall' OK
    check 'set greeting "hello world"' OK
    check 'get greeting' 'hello world'
    check 'GET greeting' 'hello world'
    check 'get gone' ''
    check 'exists greeting gone greeting' 2
    check 'strlen greeting' 11
    check 'append greeting !' 12
    check 'append fresh abc' 3
    check 'append blank ""' 0
    check 'exists blank' 1
    check 'type greeting' string
    check 'type gone' none
    check 'dbsize' 3
    check 'mset a 1 b 2 a 3' OK
    check 'mget a b gone' $'3\n2'
    check 'del a b gone a' 2
    check 'unlink greeting fresh blank' 3
    check 'dbsize' 0
    check 'setnx a 1' 1
    check 'setnx a 2' 0
    check 'getdel a' 1
    check 'getdel a' ''
    arity 'get' 'get a b' 'set a' 'setnx a' 'getdel' 'mget' 'mset' 'mset a' 'mset a b c' 'del' 'unlink' 'exists' \
        'strlen' 'append a' 'type' 'dbsize x'
}

set_options() {
    check 'set a 1 xx' ''
    check 'exists a' 0
    check 'set a 1 nx' OK
    check 'set a 2 nx' ''
    check 'set a 2 xx' OK
    check 'set a 3 get' 2
    check 'set a 4 nx get' 3
    check 'get a' 3
    check 'set a 4 Px 100000 gEt' 3
    check 'set a 5 keepttl' OK
    check 'persist a' 1
    check 'set a 6 exat 1' OK
    check 'get a' ''
    check 'set a 6 pxat 99999999999999' OK
    check 'set a b nx xx' "$syntax"
    check 'set a b ex 10 px 10' "$syntax"
    check 'set a b ex 10 exat 10' "$syntax"
    check 'set a b ex' "$syntax"
    check 'set a b keepttl ex 10' "$syntax"
    check 'set a b ex 10 keepttl' "$syntax"
    check 'set a b nosuch' "$syntax"
    check 'set a b ex abc' "$integer"
    local option
    for option in 'ex 0' 'ex -1' 'px 0' 'px -1' 'exat 0' 'pxat -1' 'ex 9223372036854775807' \
        'px 9223372036854775807' 'exat 9223372036854775807'; do
        check "set a b $option" "ERR invalid expire time in 'set' command"
    done
    check 'get a' 6
}

counters() {
    check 'del n' 0
    check 'incr n' 1
    check 'incrby n 41' 42
    check 'decr n' 41
    check 'decrby n 50' -9
    check 'incrby n -1' -10
    check 'decrby n -20' 10
    local value
    for value in abc '" 1"' '"1 "' +1 01 -0 '""' 1.0 9223372036854775808; do
        check "set n $value" OK
        check 'incr n' "$integer"
    done
    check 'set n 9223372036854775807' OK
    check 'incr n' "$overflow"
    check 'incrby n 1' "$overflow"
    check 'get n' 9223372036854775807
    check 'decrby n -9223372036854775808' 'ERR decrement would overflow'
    check 'set n -9223372036854775808' OK
    check 'decr n' "$overflow"
    check 'decrby n 1' "$overflow"
    check 'incrby n 9223372036854775807' -1
    check 'incrby n abc' "$integer"
    check 'decrby n 9223372036854775808' "$integer"
    arity 'incr' 'incr a b' 'decr' 'incrby n' 'decrby n'
}

expiry() {
    check 'set a b' OK
    check 'ttl a' -1
    check 'pttl a' -1
    check 'ttl gone' -2
    check 'pttl gone' -2
    check 'expire gone 10' 0
    check 'expire a 100' 1
    check 'ttl a' 100
    check 'pexpire a 100500' 1
    check 'expire a 10 nx' 0
    check 'expire a 200 gt' 1
    check 'expire a 100 gt' 0
    check 'expire a 100 lt' 1
    check 'expire a 100 xx' 1
    check 'persist a' 1
    check 'persist a' 0
    check 'persist gone' 0
    check 'expire a 100 xx' 0
    check 'expire a 100 gt' 0
    check 'expire a 100 lt' 1
    check 'set a c' OK
    check 'ttl a' -1
    check 'expire a -1' 1
    check 'exists a' 0
    check 'set a b' OK
    check 'pexpire a 0' 1
    check 'get a' ''
    check 'set a b' OK
    check 'expire a abc' "$integer"
    check 'expire a 10 nosuch' 'ERR Unsupported option nosuch'
    check 'expire a 10 nx xx' 'ERR NX and XX, GT or LT options at the same time are not compatible'
    check 'expire a 10 nx gt' 'ERR NX and XX, GT or LT options at the same time are not compatible'
    check 'expire a 10 gt lt' 'ERR GT and LT options at the same time are not compatible'
    check 'expire a 9223372036854775807' "ERR invalid expire time in 'expire' command"
    check 'expire a -9223372036854775808' "ERR invalid expire time in 'expire' command"
    check 'pexpire a 9223372036854775807' "ERR invalid expire time in 'pexpire' command"
    check 'ttl a' -1
    arity 'expire a' 'pexpire a' 'ttl' 'ttl a b' 'pttl' 'persist'
}

connection() {
    check 'ping' PONG
    check 'ping "a b"' 'a b'
    check 'echo "a b"' 'a b'
    check 'select 0' OK
    check 'select abc' "$integer"
    check 'select 16' 'ERR DB index is out of range'
    check 'select -1' 'ERR DB index is out of range'
    check 'reset' RESET
    check 'hello 4' 'NOPROTO unsupported protocol version'
    check 'hello 1' 'NOPROTO unsupported protocol version'
    check 'hello abc' 'ERR Protocol version is not an integer or out of range'
    check 'hello 3 foo' "ERR Syntax error in HELLO option 'foo'"
    check 'hello 3 auth other x' 'WRONGPASS invalid username-password pair or user is disabled.'
    check 'auth x' "ERR AUTH <password> called without any password configured for the default user. \
Are you sure your configuration is correct?"
    check 'auth default x' OK
    check 'auth other x' 'WRONGPASS invalid username-password pair or user is disabled.'
    check 'auth a b c' "$syntax"
    check 'client getname' ''
    check 'client nosuch' "ERR unknown subcommand 'nosuch'. Try CLIENT HELP."
    check 'client id x' "ERR wrong number of arguments for 'client|id' command"
    check 'client setname "a b"' 'ERR Client names cannot contain spaces, newlines or special characters.'
    arity 'ping a b' 'echo' 'echo a b' 'auth' 'client' 'select' 'reset x'
    if [[ -z $reference ]]; then # redis-server has 16 databases, and SETINFO from 7.2 on
        check 'select 1' 'ERR DB index is out of range'
        check 'client setinfo lib-name shell' OK
    fi
}

server() {
    check 'flushdb' OK
    check 'flushdb async' OK
    check 'flushall sync' OK
    check 'flushall nosuch' "$syntax"
    check 'flushdb nosuch' "$syntax"
    check 'config get save' save
    check 'config get appendonly' $'appendonly\nno'
    check 'config get appendonl?' $'appendonly\nno'
    compare 'config get in any case' no "$(cli config get APPENDONLY | tail -n 1)"
    check 'config get nosuch' ''
    check 'config get' "ERR wrong number of arguments for 'config|get' command"
    check 'config nosuch' "ERR unknown subcommand 'nosuch'. Try CONFIG HELP."
    check 'command nosuch' "ERR unknown subcommand 'nosuch'. Try COMMAND HELP."
    check 'nosuch' "ERR unknown command 'nosuch', with args beginning with: "
    check 'NoSuch a "b c"' "ERR unknown command 'NoSuch', with args beginning with: 'a' 'b c' "
    check 'info nosuch' ''
    check 'scan abc' 'ERR invalid cursor'
    check 'scan 18446744073709551616' 'ERR invalid cursor'
    check 'scan 0 count 0' "$syntax"
    check 'scan 0 count abc' "$integer"
    check 'scan 0 nosuch' "$syntax"
    check 'scan 0 match' "$syntax"
    check 'scan 0' 0
    arity 'scan'
    check 'command nosuch' "ERR unknown subcommand 'nosuch'. Try COMMAND HELP."
}

resp3() {
    compare '-3 set' OK "$(cli -3 set a b)"
    compare '-3 get' '"b"' "$(cli -3 --no-raw get a)"
    compare '-3 get of nothing' '(nil)' "$(cli -3 --no-raw get gone)"
    compare '-3 mget' $'1) "b"\n2) (nil)' "$(cli -3 --no-raw mget a gone)"
    compare '-3 config get' '1# "save" => ""' "$(cli -3 --no-raw config get save)"
    compare '-3 error' "(error) $integer" "$(cli -3 --no-raw incr a)"
    compare '-3 incr' '(integer) 1' "$(cli -3 --no-raw incr three)"
    compare '--json' '{"appendonly":"no"}' "$(cli --json config get appendonly)"
    compare '-x from a pipe' OK "$(printf 'a\0b\r\nc' | cli -x set binary)"
    compare 'bytes of a piped value' 6 "$(cli strlen binary)"
    compare '--no-raw binary' '"a\x00b\r\nc"' "$(cli --no-raw get binary)"
    compare '--scan' $'a\nbinary\nthree' "$(cli --scan | sort)"
}

inline_and_bytes() {
    bytes 'inline' 'PING\r\nset k "v \\x41\\n"\r\nget k\r\nQUIT\r\n' '+PONG|+OK|$4|v A||+OK|'
    bytes 'inline, bare LF, spaces, blank lines' '\r\n\n  ping   x  \nQUIT\n' '$1|x|+OK|'
    bytes 'inline, single quotes' "echo 'a\\\\'b \\\\x41'\\r\\nQUIT\\r\\n" '$8|a'"'"'b \x41|+OK|'
    bytes 'nothing after QUIT' 'QUIT\r\nSET after quit\r\n' '+OK|'
    check 'exists after' 0
    bytes 'unbalanced quotes' 'set k "v\r\n' '-ERR Protocol error: unbalanced quotes in request|'
    bytes 'empty arrays are skipped' '*0\r\n*-1\r\n*1\r\n$4\r\nQUIT\r\n' '+OK|'
    bytes 'no length' '*1\r\nPING\r\n' "-ERR Protocol error: expected '\$', got 'P'|"
    bytes 'odd array length' '*abc\r\n' '-ERR Protocol error: invalid multibulk length|'
    bytes 'endless array' '*2147483648\r\n' '-ERR Protocol error: invalid multibulk length|'
    bytes 'odd bulk length' '*1\r\n$abc\r\n' '-ERR Protocol error: invalid bulk length|'
    bytes 'negative bulk length' '*1\r\n$-1\r\n' '-ERR Protocol error: invalid bulk length|'
    bytes 'answers before a protocol error are sent' 'PING\r\n*x\r\n' \
        '+PONG|-ERR Protocol error: invalid multibulk length|'
    bytes 'RESP2' 'DEL gone\r\nGET gone\r\nMGET gone\r\nCONFIG GET nosuch\r\nINCR gone\r\nGET gone\r\nQUIT\r\n' \
        ':0|$-1|*1|$-1|*0|:1|$1|1|+OK|'
    bytes 'HELLO with a wrong user changes nothing' \
        'HELLO 3 AUTH nobody x\r\nGET none\r\nCLIENT GETNAME\r\nQUIT\r\n' \
        '-WRONGPASS invalid username-password pair or user is disabled.|$-1|$-1|+OK|'
    bytes 'CLIENT REPLY' 'CLIENT REPLY OFF\r\nPING\r\nCLIENT REPLY ON\r\nCLIENT REPLY SKIP\r\nPING\r\nQUIT\r\n' \
        '+OK|+OK|'
    bytes 'RESET unsets the name' \
        'CLIENT SETNAME me\r\nCLIENT GETNAME\r\nRESET\r\nCLIENT GETNAME\r\nQUIT\r\n' \
        '+OK|$2|me|+RESET|$-1|+OK|'
    local hello
    hello='HELLO 3\r\nDEL gone\r\nGET gone\r\nMGET gone\r\nCONFIG GET nosuch\r\nRESET\r\nGET gone\r\nQUIT\r\n'
    # shellcheck disable=SC2059 # the input is a format on purpose
    hello=$(printf "$hello" |
        timeout 10 bash -c "exec 3<>/dev/tcp/127.0.0.1/$port; cat >&3; cat <&3" | tr -d '\r' | tr '\n' '|')
    compare 'HELLO 3 answers with a map' '%7|$6|server|' "${hello:0:13}"
    compare 'RESP3, and RESET leaves it' ':1|_|*1|_|%0|+RESET|$-1|+OK|' "${hello#*modules|\*0|}"
}

benchmark() {
    local report name
    check 'del counter:__rand_int__' 0
    report=$(redis-benchmark -h 127.0.0.1 -p "$port" -t ping,set,get,incr,mset -P 16 -q -n 20000 2>&1 |
        tr '\r' '\n')
    for name in PING_INLINE PING_MBULK SET GET INCR 'MSET (10 keys)'; do
        if grep -qF "$name: " <<<"$(grep 'requests per second' <<<"$report")"; then
            passed=$((passed + 1))
        else
            compare "redis-benchmark $name" "$name: … requests per second" "$report"
        fi
    done
    compare 'redis-benchmark does not complain' '' "$(grep -iE 'warning|error' <<<"$report" || true)"
    compare 'every increment of redis-benchmark counted' 20000 "$(cli get counter:__rand_int__)"
    compare "redis-benchmark's value" 3 "$(cli strlen key:__rand_int__)"
    report=$(redis-benchmark -h 127.0.0.1 -p "$port" -3 -t set,get -r 1000 -n 5000 -d 4096 -q 2>&1 | tr '\r' '\n')
    compare 'redis-benchmark -3 finishes' 2 "$(grep -c 'requests per second' <<<"$report")"
    compare 'redis-benchmark -3 does not complain' '' "$(grep -iE 'warning|error' <<<"$report" || true)"
}

# The lines of the table of commands whose reply is a text, a number, null or an error, which is what bash can read;
# but those about the connection, because each command here has its own.
every_family() {
    local line command reply family=
    while IFS= read -r line; do
        [[ -z $reference || $line != '! '* ]] || continue
        line=${line#! }
        command=${line% => *} reply=${line##* => }
        [[ $line != '== '* ]] || { family=${line#== } && cli flushall >/dev/null; }
        [[ $family != 'the connection' ]] || continue
        case $reply in
        null) check "$command" '' ;;
        '"'*) reply=${reply#\"} && check "$command" "${reply%\"}" ;;
        '{"error": "'*) reply=${reply#*: \"} && begins "$command" "${reply%\"\}}" ;;
        [0-9-]*) check "$command" "$reply" ;;
        esac
    done <<<"$(sed '/^#/d; s/  / "" /' "$clients/commands.txt")"
}

a_password_and_a_restart() {
    local port password
    read -r port <"$guarded/port"
    read -r password <"$guarded/password"
    check 'get a' 'NOAUTH Authentication required.'
    check 'auth wrong' 'WRONGPASS invalid username-password pair or user is disabled.'
    compare '-a' OK "$(cli --no-auth-warning -a "$password" set a 1)"
    "$clients/guarded_node" "$guarded"
    compare '-a and -3 after a restart' '' "$(cli -3 --no-auth-warning --user default -a "$password" get a)"
}

strings
set_options
counters
expiry
connection
server
resp3
inline_and_bytes
every_family
a_password_and_a_restart
benchmark
check 'flushall' OK
printf 'redis_cli.sh: %d passed, %d failed\n' "$passed" "$failed"
[[ $failed == 0 ]]
