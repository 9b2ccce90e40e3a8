//! Random commands: each drawn from a table of shapes, and now and then spoilt.
//!
//! Keys are few, so that commands meet what others left. Amounts of time are far away from now and hardly ever the same
//! twice, so that it makes no difference which server's clock is a little ahead. To add a command, add a line.

use std::time::{SystemTime, UNIX_EPOCH};

/// A part of a command.
#[derive(Clone, Copy)]
enum Part {
    /// This word, in whatever case.
    Word(&'static str),
    Key,
    Value,
    Integer,
    Float,
    /// A place in a value.
    Index,
    /// A place to write at in a value.
    Offset,
    BitOffset,
    Bit,
    /// From now, in seconds or milliseconds.
    Seconds,
    Milliseconds,
    /// A moment, in seconds or milliseconds since 1970.
    AtSeconds,
    AtMilliseconds,
    Pattern,
    /// One of these, or nothing.
    Maybe(&'static [&'static [Part]]),
    /// This, some times over.
    Some(&'static [Part]),
}

use Part::{
    AtMilliseconds, AtSeconds, Bit, BitOffset, Float, Index, Integer, Key, Maybe, Milliseconds, Offset,
    Pattern, Seconds, Some, Value, Word,
};

const EXPIRY: &[&[Part]] = &[
    &[Word("EX"), Seconds],
    &[Word("PX"), Milliseconds],
    &[Word("EXAT"), AtSeconds],
    &[Word("PXAT"), AtMilliseconds],
];
const SET_CONDITION: &[&[Part]] = &[&[Word("NX")], &[Word("XX")]];
const EXPIRE_RULE: &[&[Part]] = &[
    &[Word("NX")],
    &[Word("XX")],
    &[Word("GT")],
    &[Word("LT")],
    &[Word("XX"), Word("GT")],
    &[Word("LT"), Word("XX")],
    &[Word("NX"), Word("GT")],
    &[Word("GT"), Word("LT")],
];
const CURSOR: &[&[Part]] =
    &[&[Word("0")], &[Word("0")], &[Word("1")], &[Word(" 1")], &[Word("x")], &[Word("18446744073709551616")]];
const COMBINATION: &[&[Part]] = &[&[Word("AND")], &[Word("OR")], &[Word("XOR")], &[Word("NOT")]];
const UNIT: &[&[Part]] = &[&[Word("BIT")], &[Word("BYTE")]];

/// The shapes; one that stands twice is drawn twice as often.
const SHAPES: &[&[Part]] = &[
    &[Word("APPEND"), Key, Value],
    &[Word("BITCOUNT"), Key],
    &[Word("BITCOUNT"), Key, Index, Index, Maybe(UNIT)],
    &[Word("BITOP"), Maybe(COMBINATION), Key, Some(&[Key])],
    &[Word("BITOP"), Word("NOT"), Key, Key],
    &[Word("BITPOS"), Key, Bit],
    &[Word("BITPOS"), Key, Bit, Index],
    &[Word("BITPOS"), Key, Bit, Index, Index, Maybe(UNIT)],
    &[Word("CLIENT"), Word("GETNAME")],
    &[Word("CLIENT"), Word("NO-EVICT"), Maybe(&[&[Word("ON")], &[Word("OFF")], &[Value]])],
    &[Word("CLIENT"), Word("SETNAME"), Key],
    &[Word("CLIENT"), Word("UNBLOCK"), Integer],
    &[Word("COMMAND"), Word("GETKEYS"), Word("GET"), Some(&[Key])],
    &[Word("COMMAND"), Word("GETKEYS"), Word("MSET"), Some(&[Key, Value])],
    &[Word("COMMAND"), Word("GETKEYS"), Word("PING")],
    &[Word("COPY"), Key, Key, Maybe(&[&[Word("DB"), Integer]]), Maybe(&[&[Word("REPLACE")]])],
    &[Word("DBSIZE")],
    &[Word("DECR"), Key],
    &[Word("DECRBY"), Key, Integer],
    &[Word("DEL"), Some(&[Key])],
    &[Word("ECHO"), Value],
    &[Word("EXISTS"), Some(&[Key])],
    &[Word("EXPIRE"), Key, Seconds, Maybe(EXPIRE_RULE)],
    &[Word("EXPIREAT"), Key, AtSeconds, Maybe(EXPIRE_RULE)],
    &[Word("EXPIRETIME"), Key],
    &[Word("GET"), Key],
    &[Word("GET"), Key],
    &[Word("GETBIT"), Key, BitOffset],
    &[Word("GETDEL"), Key],
    &[Word("GETEX"), Key, Maybe(EXPIRY)],
    &[Word("GETEX"), Key, Word("PERSIST")],
    &[Word("GETRANGE"), Key, Index, Index],
    &[Word("GETSET"), Key, Value],
    &[Word("INCR"), Key],
    &[Word("INCRBY"), Key, Integer],
    &[Word("INCRBYFLOAT"), Key, Float],
    &[Word("INCRBYFLOAT"), Key, Float],
    &[Word("KEYS"), Pattern],
    &[Word("MEMORY"), Word("USAGE"), Key, Maybe(&[&[Word("SAMPLES"), Integer]])],
    &[Word("MGET"), Some(&[Key])],
    &[Word("MSET"), Some(&[Key, Value])],
    &[Word("MSETNX"), Some(&[Key, Value])],
    &[Word("OBJECT"), Word("ENCODING"), Key],
    &[Word("OBJECT"), Word("FREQ"), Key],
    &[Word("OBJECT"), Word("HELP")],
    &[Word("OBJECT"), Word("IDLETIME"), Key],
    &[Word("OBJECT"), Word("REFCOUNT"), Key],
    &[Word("PERSIST"), Key],
    &[Word("PEXPIRE"), Key, Milliseconds, Maybe(EXPIRE_RULE)],
    &[Word("PEXPIREAT"), Key, AtMilliseconds, Maybe(EXPIRE_RULE)],
    &[Word("PEXPIRETIME"), Key],
    &[Word("PING"), Maybe(&[&[Value]])],
    &[Word("PSETEX"), Key, Milliseconds, Value],
    &[Word("PTTL"), Key],
    &[Word("RANDOMKEY")],
    &[Word("RENAME"), Key, Key],
    &[Word("RENAMENX"), Key, Key],
    &[
        Word("SCAN"),
        Maybe(CURSOR),
        Maybe(&[&[Word("MATCH"), Pattern]]),
        Word("COUNT"),
        Word("1000"),
        Maybe(&[&[Word("TYPE"), Word("STRING")], &[Word("TYPE"), Value], &[Word("COUNT"), Integer]]),
    ],
    &[Word("SELECT"), Integer],
    &[Word("SET"), Key, Float],
    &[Word("SET"), Key, Integer],
    &[Word("SET"), Key, Value],
    &[Word("SET"), Key, Value, Maybe(EXPIRY), Maybe(SET_CONDITION), Maybe(&[&[Word("GET")]])],
    &[Word("SET"), Key, Value, Maybe(SET_CONDITION), Maybe(&[&[Word("KEEPTTL")]]), Maybe(EXPIRY)],
    &[Word("SETBIT"), Key, BitOffset, Bit],
    &[Word("SETEX"), Key, Seconds, Value],
    &[Word("SETNX"), Key, Value],
    &[Word("SETRANGE"), Key, Offset, Value],
    &[Word("STRLEN"), Key],
    &[Word("SUBSTR"), Key, Index, Index],
    &[Word("TOUCH"), Some(&[Key])],
    &[Word("TTL"), Key],
    &[Word("TYPE"), Key],
    &[Word("UNLINK"), Some(&[Key])],
    &[Word("FROBNICATE"), Key, Value],
];

/// Commands that would clear what the others need are rare.
const FLUSH: &[Part] = &[Word("FLUSHALL"), Maybe(&[&[Word("SYNC")], &[Word("ASYNC")]])];
const FLUSH_ONE_IN: u32 = 500;

/// One command in so many is spoilt.
const SPOIL_ONE_IN: u32 = 8;

const KEYS: &[&[u8]] = &[
    b"a",
    b"b",
    b"c",
    b"number",
    b"float",
    b"bits",
    b"",
    b"\x00\xff\r\n",
    b"a long key, of forty bytes and some more",
];

const INTEGERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "7",
    "10",
    "-300",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "-9223372036854775807",
    "01",
    "+1",
    " 1",
    "1 ",
    "-0",
    "1e3",
    "0x10",
    "",
];

const FLOATS: &[&str] = &[
    "0.1",
    "0.2",
    "-1.5",
    "3.0e3",
    "5e-1",
    "1e17",
    "-1e-17",
    "1e-18",
    "123456789.123456789",
    "0x1.8p1",
    "inf",
    "-inf",
    "nan",
    "1e5000",
    "1e-5000",
    ".5",
    "5.",
    ".",
    "1.5 ",
    " 1.5",
    "+2",
    "1e",
    "-0",
    "1e400",
    "-1e400",
    "infinity",
    "3.14159265358979323846",
    "99999999999999999999",
    "18446744073709551615.5",
    "1_000",
    "0x",
    "1e+2",
    "--1",
];

const INDEXES: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "-2",
    "5",
    "-5",
    "17",
    "100",
    "-100",
    "9223372036854775807",
    "-9223372036854775808",
    "x",
];

const OFFSETS: &[&str] =
    &["0", "1", "5", "44", "1000", "5000", "-1", "536870912", "9223372036854775807", "x"];

const BIT_OFFSETS: &[&str] =
    &["0", "1", "7", "8", "63", "1000", "20000", "-1", "4294967296", "9223372036854775807", "01", "x"];

const PATTERNS: &[&str] =
    &["*", "a*", "?", "[ab]", "[^ab]*", "[a-c]", "*o*", "number", "\\a", "[", "**", "a[", "[b-a]", "", "*\\"];

/// Whether a key might expire while the sequence runs, at a moment that two servers do not see alike.
fn expires_soon(command: &[Vec<u8>]) -> bool {
    let times = ["expire", "getex", "pexpire", "psetex", "set", "setex"];
    let soon = |word: &Vec<u8>| {
        let amount = std::str::from_utf8(word).ok().and_then(|text| text.parse::<i64>().ok());
        amount.is_some_and(|amount| (1..1_000_000).contains(&amount))
    };
    times.iter().any(|name| command[0].eq_ignore_ascii_case(name.as_bytes())) && command[1..].iter().any(soon)
}

pub(crate) struct Generator {
    random: fastrand::Rng,
    /// Now, when the sequence began.
    now_s: u64,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        Self { random: fastrand::Rng::with_seed(seed), now_s }
    }

    /// Which of two sessions goes next.
    pub(crate) fn session(&mut self) -> usize {
        self.random.usize(..2)
    }

    pub(crate) fn command(&mut self) -> Vec<Vec<u8>> {
        let flush = self.random.u32(..FLUSH_ONE_IN) == 0;
        let shape = if flush { FLUSH } else { SHAPES[self.random.usize(..SHAPES.len())] };
        let mut command = Vec::new();
        for part in shape {
            self.push(*part, &mut command);
        }
        if !flush && self.random.u32(..SPOIL_ONE_IN) == 0 {
            let sound = command.clone();
            self.spoil(&mut command);
            if expires_soon(&command) {
                return sound;
            }
        }
        command
    }

    fn push(&mut self, part: Part, command: &mut Vec<Vec<u8>>) {
        let word = match part {
            Word(word) => self.in_some_case(word),
            Key => self.one_of(KEYS).to_vec(),
            Value => self.value(),
            Integer => self.text_of(INTEGERS),
            Float => self.float(),
            Index => self.text_of(INDEXES),
            Offset => self.text_of(OFFSETS),
            BitOffset => self.text_of(BIT_OFFSETS),
            Bit => self.text_of(&["0", "1", "0", "1", "0", "1", "2", "-1", "x"]),
            Seconds => self.time(1),
            Milliseconds => self.time(1000),
            AtSeconds => self.moment(1),
            AtMilliseconds => self.moment(1000),
            Pattern => self.text_of(PATTERNS),
            Maybe(choices) => {
                if self.random.bool() {
                    for part in self.one_of(choices) {
                        self.push(*part, command);
                    }
                }
                return;
            }
            Some(parts) => {
                for _ in 0..self.random.usize(1..5) {
                    for part in parts {
                        self.push(*part, command);
                    }
                }
                return;
            }
        };
        command.push(word);
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.random.usize(..choices.len())]
    }

    fn text_of(&mut self, choices: &[&str]) -> Vec<u8> {
        self.one_of(choices).as_bytes().to_vec()
    }

    fn in_some_case(&mut self, word: &str) -> Vec<u8> {
        match self.random.u8(..4) {
            0 => word.to_lowercase().into_bytes(),
            1 => word.bytes().map(|byte| if self.random.bool() { byte | 0x20 } else { byte }).collect(),
            _ => word.as_bytes().to_vec(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        let length = match self.random.u8(..10) {
            0 => 0,
            1 => self.random.usize(40..50),
            2 => self.random.usize(1000..1050),
            3 => self.random.usize(2000..6000),
            4 => return self.text_of(INTEGERS),
            5 => return vec![self.one_of(&[0x00, 0xFF]); self.random.usize(1..40)],
            _ => self.random.usize(1..20),
        };
        (0..length).map(|_| self.random.u8(..)).collect()
    }

    fn float(&mut self) -> Vec<u8> {
        match self.random.u8(..6) {
            0 | 1 => self.text_of(FLOATS),
            2 => {
                let digits: String = (0..self.random.usize(1..45)).map(|_| self.random.digit(10)).collect();
                format!("{digits}e{}", self.random.i32(-70..30)).into_bytes()
            }
            3 => {
                let digits: String = (0..self.random.usize(1..20)).map(|_| self.random.digit(16)).collect();
                format!("-0x.{digits}p{}", self.random.i32(-70..80)).into_bytes()
            }
            4 => format!("{}.{}", self.random.i32(-1000..1000), self.random.u32(..1_000_000)).into_bytes(),
            _ => self.random.i64(-1_000_000_000_000..1_000_000_000_000).to_string().into_bytes(),
        }
    }

    /// A time from now, in units of which a second has so many.
    fn time(&mut self, per_second: i64) -> Vec<u8> {
        match self.random.u8(..8) {
            0 => self.text_of(&[
                "0",
                "-1",
                "-1000",
                "x",
                "",
                "9223372036854775807",
                "-9223372036854775808",
                "1.5",
            ]),
            _ => (self.random.i64(1_000..1_000_000) * 100 * per_second).to_string().into_bytes(),
        }
    }

    fn moment(&mut self, per_second: u64) -> Vec<u8> {
        match self.random.u8(..8) {
            0 => self.text_of(&["0", "-1", "1000", "x", "", "9223372036854775807", "-9223372036854775808"]),
            _ => {
                let later_s = self.random.u64(1_000..1_000_000) * 100 + 50;
                ((self.now_s + later_s) * per_second).to_string().into_bytes()
            }
        }
    }

    /// Drops, doubles, swaps or replaces a word behind the first.
    fn spoil(&mut self, command: &mut Vec<Vec<u8>>) {
        let at = self.random.usize(..command.len());
        match self.random.u8(..5) {
            0 if at > 0 => drop(command.remove(at)),
            1 => {
                let word = command[at].clone();
                command.push(word);
            }
            2 if at > 0 => {
                let other = self.random.usize(1..command.len());
                command.swap(at, other);
            }
            3 if at > 0 => command[at] = self.value(),
            _ => command.push(b"superfluous".to_vec()),
        }
    }
}
