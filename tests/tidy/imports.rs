//! The layers: which module may name which, and which may touch the world.
//!
//! Invariant: what decides cannot reach what acts, so a simulator can run the deciding code as it is. The rules
//! read paths (`crate::store`, `annulus::store`, groups in braces, climbing `super`s); they hold in tests too,
//! because a test that needs a higher layer belongs in `tests/`.

use crate::Violation;
use crate::source::{Source, is_word, line_of, word_offsets};

/// Who may import whom. A new module gets a row here, with as little in it as will do.
const LAYERS: [(&str, &[&str]); 15] = [
    ("types", &[]),
    ("rng", &["types"]),
    ("config", &["types", "message"]),
    ("hybrid_clock", &["types"]),
    ("slewed_clock", &["types"]),
    ("message", &["types"]),
    ("operation", &["types", "message"]),
    ("protocol", &["message", "types"]),
    ("store", &["operation", "message", "hybrid_clock", "types", "config", "cluster"]),
    ("metrics", &["types", "message", "config"]),
    ("client", &["protocol", "message", "types", "cluster"]),
    ("history", &["types"]),
    ("local", &["client", "message"]),
    ("cluster", &["message", "operation", "hybrid_clock", "types", "rng", "config"]),
    ("tools", &["client", "history", "local", "protocol", "message", "metrics", "types"]),
];

/// Modules that put everything together, and so may import everything.
const ASSEMBLERS: [&str; 4] = ["server", "cli", "main", "lib"];

/// Modules that decide or compute, and so never see a socket or a clock.
const DECIDERS: [&str; 12] = [
    "types",
    "rng",
    "config",
    "hybrid_clock",
    "slewed_clock",
    "message",
    "operation",
    "protocol",
    "store",
    "metrics",
    "cluster",
    "history",
];

/// Packages and parts of the standard library that reach the world, and modules kept from them beside `DECIDERS`.
const EFFECTS: [(&str, &[&str]); 8] = [
    ("mio::", &["client"]),
    ("socket2::", &["client"]),
    ("TcpStream", &[]),
    ("TcpListener", &[]),
    ("UdpSocket", &[]),
    ("thread::spawn", &["client"]),
    ("Instant::now", &[]),
    ("SystemTime::now", &[]),
];

/// The module a path belongs to: the first name below `src`, or `tools`; `None` for tests, benches and examples.
fn module_of(path: &str) -> Option<&str> {
    if path.starts_with("tools/") {
        return Some("tools");
    }
    let below = path.strip_prefix("src/")?;
    let name = below.split_once('/').map_or(below, |(folder, _)| folder);
    Some(name.strip_suffix(".rs").unwrap_or(name))
}

/// How many modules deep a file of `src` is: `lib.rs` 0, `store.rs` and `store/mod.rs` 1, `store/cell.rs` 2.
fn depth_of(path: &str) -> Option<usize> {
    let below = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let below = below.strip_suffix("/mod").unwrap_or(below);
    Some(if below == "lib" || below == "main" { 0 } else { below.split('/').count() })
}

/// The first names after `root::` in `code`, with their lines; a group in braces gives one for each member.
fn names_under(code: &str, root: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for offset in word_offsets(code, root) {
        let Some(rest) = code[offset + root.len()..].trim_start().strip_prefix("::") else { continue };
        let start = code.len() - rest.len();
        let mut depth = 0_usize;
        let mut expecting = true;
        let mut name = String::new();
        for (index, c) in rest.char_indices() {
            if expecting && (is_word(c) || c == '*') {
                name.push(c);
                continue;
            }
            if !name.is_empty() {
                found.push((line_of(code, start + index), std::mem::take(&mut name)));
                expecting = false;
            }
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                ',' if depth == 1 => expecting = true,
                _ => {}
            }
            if depth == 0 && !(expecting && c.is_whitespace()) {
                break;
            }
        }
        if !name.is_empty() {
            found.push((line_of(code, code.len()), name));
        }
    }
    found
}

/// Imports that the table does not allow.
pub(crate) fn forbidden_imports(path: &str, source: &Source) -> Vec<Violation> {
    let Some(module) = module_of(path) else { return Vec::new() };
    if ASSEMBLERS.contains(&module) {
        return Vec::new();
    }
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
        return vec![Violation::new(
            path,
            1,
            format!("`{module}` is in no layer: give it a row in the import table"),
        )];
    };
    let root = if module == "tools" { "annulus" } else { "crate" };
    let is_own = |name: &str| name == module || (module == "tools" && name == "self");
    names_under(&source.code, root)
        .into_iter()
        .filter(|(_, name)| !is_own(name) && !allowed.contains(&name.as_str()))
        .map(|(line, name)| {
            let list = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
            let what = format!(
                "`{module}` may not import `{name}`, only {list}: move what is shared to a lower layer"
            );
            Violation::new(path, line, what)
        })
        .collect()
}

/// Chains of `super` that reach the root of the crate, where the table cannot see what they name.
pub(crate) fn escaping_paths(path: &str, source: &Source) -> Vec<Violation> {
    let Some(depth) = depth_of(path).filter(|&depth| depth > 0) else { return Vec::new() };
    let tests_line = source.tests_line().unwrap_or(usize::MAX);
    let mut found = Vec::new();
    for offset in word_offsets(&source.code, "super") {
        if source.code[..offset].trim_end().ends_with("::") {
            continue; // counted from the head of its chain
        }
        let mut rest = &source.code[offset..];
        let mut supers = 0;
        while let Some(after) = rest.strip_prefix("super") {
            supers += 1;
            rest = after.trim_start().strip_prefix("::").unwrap_or("").trim_start();
        }
        let line = line_of(&source.code, offset);
        // The depth of a test module with a file of its own is in its path; it starts on line 1.
        let depth_here = if tests_line > 1 && line >= tests_line { depth + 1 } else { depth };
        // `pub(super)` sets visibility and imports nothing.
        let visibility = source.code[..offset].trim_end().ends_with("pub(");
        if supers >= depth_here && !visibility {
            found.push(Violation::new(path, line, "this path climbs to the crate's root: write `crate::…`"));
        }
    }
    found
}

/// Sockets, files, threads and clocks in modules that only decide.
pub(crate) fn forbidden_effects(path: &str, source: &Source) -> Vec<Violation> {
    let Some(module) = module_of(path) else { return Vec::new() };
    // A test may look at a clock to print how long it took; what ships may not.
    let tests_line = source.tests_line().unwrap_or(usize::MAX);
    EFFECTS
        .iter()
        .filter(|(_, also)| DECIDERS.contains(&module) || also.contains(&module))
        .flat_map(|&(effect, _)| word_offsets(&source.code, effect).map(move |offset| (effect, offset)))
        .map(|(effect, offset)| (effect, line_of(&source.code, offset)))
        .filter(|&(_, line)| line < tests_line)
        .map(|(effect, line)| {
            let what = format!(
                "`{effect}` in `{module}`, which only decides: let `server` act and pass in the result"
            );
            Violation::new(path, line, what)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(path: &str, text: &str) -> Vec<usize> {
        forbidden_imports(path, &Source::parse(text)).iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn each_row_of_the_table_forbids_what_it_does_not_list() {
        let modules: Vec<&str> =
            LAYERS.iter().map(|(name, _)| *name).filter(|name| *name != "tools").chain(["server"]).collect();
        for (module, allowed) in LAYERS {
            let tool = module == "tools";
            let path = if tool { "tools/load/main.rs".to_owned() } else { format!("src/{module}/part.rs") };
            let root = if tool { "annulus" } else { "crate" };
            for other in &modules {
                let caught = !imports(&path, &format!("use {root}::{other}::Thing;")).is_empty();
                assert_eq!(caught, module != *other && !allowed.contains(other), "{module} imports {other}");
            }
        }
    }

    #[test]
    fn the_table_has_no_circle() {
        let row =
            |name: &str| LAYERS.iter().find(|(module, _)| *module == name).map_or(&[][..], |(_, row)| row);
        for (module, _) in LAYERS {
            let mut reached: Vec<&str> = row(module).to_vec();
            let mut next = 0;
            while next < reached.len() {
                let further: Vec<&str> =
                    row(reached[next]).iter().copied().filter(|name| !reached.contains(name)).collect();
                reached.extend(further);
                next += 1;
            }
            assert!(!reached.contains(&module), "{module} reaches itself");
        }
    }

    #[test]
    fn every_way_to_write_an_import_is_seen() {
        assert_eq!(imports("src/types.rs", "use crate::server::Node;\n"), vec![1]);
        assert_eq!(imports("src/types.rs", "\nfn a() { crate::server::run() }\n"), vec![2]);
        assert_eq!(
            imports("src/types.rs", "use crate::{\n    types::A,\n    server::{self, B, C},\n};\n"),
            vec![3]
        );
        assert_eq!(imports("src/types.rs", "use crate::{types::{A, B}, store, client};\n"), vec![1, 1]);
        assert_eq!(imports("src/types.rs", "use crate :: server;\n"), vec![1]);
        assert_eq!(imports("src/types.rs", "use crate::*;\n"), vec![1]);
        assert_eq!(imports("src/types.rs", "use crate::Node;\n"), vec![1]);
        assert_eq!(imports("src/types.rs", "crate::server"), vec![1]);
        assert_eq!(imports("tools/load/main.rs", "use annulus::{client::Client, store::Store};\n"), vec![1]);
        assert_eq!(imports("tools/load/main.rs", "fn a() { annulus::server::run() }\n"), vec![1]);
    }

    #[test]
    fn what_is_no_import_is_let_be() {
        assert_eq!(imports("src/types.rs", "//! See [`crate::server`].\npub(crate) fn a() {}\n"), vec![]);
        assert_eq!(imports("src/types.rs", "const A: &str = \"crate::server\";\n"), vec![]);
        assert_eq!(
            imports("src/store/cell.rs", "pub(in crate::store) fn a(b: crate::types::B) {}\n"),
            vec![]
        );
        assert_eq!(imports("src/server/worker.rs", "use crate::{store, cluster};\n"), vec![]);
        assert_eq!(imports("src/main.rs", "use annulus::server;\n"), vec![]);
        assert_eq!(imports("tools/load/main.rs", "use crate::report::Report;\n"), vec![]);
        assert_eq!(imports("tests/abuse.rs", "use annulus::store;\n"), vec![]);
    }

    #[test]
    fn a_module_without_a_row_is_caught() {
        assert_eq!(imports("src/surprise.rs", "//! Fine otherwise.\n"), vec![1]);
        assert_eq!(imports("src/surprise/part.rs", ""), vec![1]);
    }

    fn climbs(path: &str, text: &str) -> Vec<usize> {
        escaping_paths(path, &Source::parse(text)).iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn climbing_to_the_root_is_caught() {
        assert_eq!(climbs("src/types.rs", "use super::server;\n"), vec![1]);
        assert_eq!(climbs("src/store/mod.rs", "\nuse super::server;\n"), vec![2]);
        assert_eq!(climbs("src/store/cell.rs", "use super::super::server;\n"), vec![1]);
        let tests =
            "//! A.\n#[cfg(test)]\nmod tests {\n    use super::*;\n    use super::super::server;\n}\n";
        assert_eq!(climbs("src/types.rs", tests), vec![5]);
        assert_eq!(climbs("src/store/cell.rs", "use super::table;\npub(super) fn a() {}\n"), vec![]);
        assert_eq!(climbs("src/store.rs", "pub(super) fn a() {}\n"), vec![]);
    }

    #[test]
    fn effects_are_kept_from_what_decides() {
        for (effect, also) in EFFECTS {
            for module in DECIDERS.iter().chain(also) {
                let source = Source::parse(&format!("fn a() {{ {effect}(b) }}\n"));
                assert_eq!(
                    forbidden_effects(&format!("src/{module}.rs"), &source).len(),
                    1,
                    "{effect} {module}"
                );
                assert_eq!(forbidden_effects("src/server/clock.rs", &source), vec![], "{effect}");
            }
        }
        let test = Source::parse(
            "//! A.\n#[cfg(test)]\nmod tests { use std::time; fn a() { time::Instant::now(); } }\n",
        );
        assert_eq!(forbidden_effects("src/protocol/codec.rs", &test), vec![]);
    }
}
