//! Reads tests/clients/commands.txt, whose head says what is in it, and judges replies by it.

use redis::{RedisResult, Value};
use serde_json::Value as Json;

/// A command, and what it must be told. Each family begins with an empty store.
pub(crate) struct Entry {
    pub(crate) family: &'static str,
    pub(crate) command: &'static str,
    pub(crate) expected: Expected,
}

#[derive(Debug)]
pub(crate) struct Expected(Json);

pub(crate) fn entries() -> impl Iterator<Item = Entry> {
    let mut family = "";
    include_str!("../clients/commands.txt").lines().filter(|line| !line.is_empty()).filter_map(move |line| {
        if line.starts_with("# ") || line == "#" {
            return None;
        }
        if let Some(name) = line.strip_prefix("== ") {
            family = name;
            return Some(Entry { family, command: "FLUSHALL", expected: Expected("OK".into()) });
        }
        let (command, reply) =
            line.strip_prefix("! ").unwrap_or(line).split_once(" => ").expect("COMMAND => REPLY");
        Some(Entry {
            family,
            command,
            expected: Expected(serde_json::from_str(reply).expect("a reply is JSON")),
        })
    })
}

impl Expected {
    pub(crate) fn fits(&self, reply: &RedisResult<Value>) -> bool {
        match (self.0.get("error"), reply) {
            (Some(beginning), Err(error)) => {
                let text =
                    format!("{} {}", error.code().unwrap_or_default(), error.detail().unwrap_or_default());
                text.starts_with(beginning.as_str().expect("a text"))
            }
            (None, Ok(value)) => fits(&self.0, value),
            _ => false,
        }
    }
}

fn fits(expected: &Json, value: &Value) -> bool {
    match expected {
        Json::Null => *value == Value::Nil,
        Json::Number(number) => matches!(value, Value::Int(found) if Some(*found) == number.as_i64()),
        Json::String(text) => text_of(value).as_ref() == Some(text),
        Json::Array(elements) => {
            let found = elements_of(value);
            found.len() == elements.len()
                && elements.iter().zip(found).all(|(element, found)| fits(element, found))
        }
        Json::Object(object) => {
            let (kind, wanted) = object.iter().next().expect("an expectation");
            fits_kind(kind, wanted, value)
        }
        Json::Bool(_) => panic!("no reply is a truth value"),
    }
}

fn fits_kind(kind: &str, wanted: &Json, value: &Value) -> bool {
    match kind {
        "between" => {
            let bound = |index: usize| wanted[index].as_i64().expect("a bound");
            matches!(value, Value::Int(found) if (bound(0)..=bound(1)).contains(found))
        }
        "contains" => {
            let part = wanted.as_str().expect("a text");
            let texts = elements_of(value).iter().chain([value]).filter_map(text_of);
            texts.into_iter().any(|text| text.contains(part))
        }
        "unordered" => {
            let mut found: Vec<_> = elements_of(value).iter().map(text_of).collect();
            let mut wanted: Vec<_> = wanted
                .as_array()
                .expect("a list")
                .iter()
                .map(|text| text.as_str().map(String::from))
                .collect();
            found.sort();
            wanted.sort();
            found == wanted
        }
        "length" => elements_of(value).len() as u64 == wanted.as_u64().expect("a length"),
        "map" => wanted
            .as_object()
            .expect("a map")
            .iter()
            .all(|(key, wanted)| value_of(value, key).is_some_and(|found| fits(wanted, found))),
        _ => panic!("commands.txt: no such expectation: {kind}"),
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Okay => Some("OK".into()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.clone()),
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    }
}

fn elements_of(value: &Value) -> &[Value] {
    match value {
        Value::Array(elements) | Value::Set(elements) => elements,
        _ => &[],
    }
}

/// What a map has under a key, in either of its forms.
fn value_of<'v>(map: &'v Value, key: &str) -> Option<&'v Value> {
    let is_key = |found: &Value| text_of(found).as_deref() == Some(key);
    match map {
        Value::Map(pairs) => pairs.iter().find(|(found, _)| is_key(found)).map(|(_, value)| value),
        _ => elements_of(map).chunks_exact(2).find(|pair| is_key(&pair[0])).map(|pair| &pair[1]),
    }
}
