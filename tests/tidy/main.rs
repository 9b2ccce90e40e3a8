//! Holds what no lint holds: layers, lengths, openings, leftovers, names, links.
//!
//! Each rule is a pure function of a path and a text that gives violations, and each is fed bad text in its own
//! file, so that a rule which stopped catching anything fails. This file walks the tree and says what it found.
//! It does NOT repeat the compiler's, rustfmt's or clippy's work.

mod imports;
mod leftovers;
mod links;
mod shape;
mod source;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use source::Source;

/// One broken rule at one place, and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Violation {
    path: String,
    line: usize,
    what: String,
}

impl Violation {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// Folders that hold nothing of ours.
const SKIPPED_FOLDERS: [&str; 6] = ["target", "node_modules", ".git", ".venv", "__pycache__", "corpus"];

/// Endings of the files whose lines are measured.
const MEASURED_ENDINGS: [&str; 6] = ["rs", "py", "sh", "mjs", "js", "toml"];

/// Every file of the repository, as paths relative to its root with `/` between parts, sorted.
fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository can be read") {
            let entry = entry.expect("an entry of the repository can be read");
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().expect("an entry has a type");
            if kind.is_dir() {
                if !SKIPPED_FOLDERS.contains(&name.as_str()) {
                    folders.push(entry.path());
                }
            } else {
                let path = entry.path();
                let relative = path.strip_prefix(root).expect("the walk started at the root");
                found.push(relative.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}

/// Everything wrong with one file.
fn violations(path: &str, text: &str, tree: &links::Tree) -> Vec<Violation> {
    let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
    let mut found = shape::forbidden_names(path);
    if MEASURED_ENDINGS.contains(&ending) {
        found.extend(shape::long_lines(path, text));
    }
    if ending == "md" {
        found.extend(links::broken_links(path, text, tree));
        found.extend(links::unknown_commands(path, text, tree));
    }
    if ending == "rs" {
        let source = Source::of_file(path, text);
        found.extend(shape::missing_opening(path, text));
        found.extend(shape::long_file(path, text, &source));
        found.extend(shape::forbidden_inline_modules(path, &source));
        found.extend(imports::forbidden_imports(path, &source));
        found.extend(imports::escaping_paths(path, &source));
        found.extend(imports::forbidden_effects(path, &source));
        found.extend(leftovers::leftovers(path, &source));
        found.extend(leftovers::unexplained(path, text, &source));
        found.extend(leftovers::misplaced_unsafe(path, &source));
    }
    found
}

#[test]
fn the_tree_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let paths = files(root);
    assert!(paths.iter().any(|path| path == "src/lib.rs"), "the walk missed src/lib.rs: {paths:?}");
    assert!(paths.iter().any(|path| path == "README.md"), "the walk missed README.md: {paths:?}");

    let read = |path: &str| fs::read(root.join(path)).expect("a file of the repository can be read");
    let documents = paths
        .iter()
        .filter(|path| path.ends_with(".md"))
        .map(|path| (path.clone(), String::from_utf8_lossy(&read(path)).into_owned()))
        .collect();
    let manifest = String::from_utf8_lossy(&read("Cargo.toml")).into_owned();
    let tree = links::Tree::new(paths.clone(), documents, &manifest);

    let mut found = Vec::new();
    for path in &paths {
        let bytes = read(path);
        // What is not text (a golden capture, a picture) has no lines to be tidy.
        if let Ok(text) = String::from_utf8(bytes) {
            found.extend(violations(path, &text, &tree));
        }
    }
    let report: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{} untidy places:\n{}", found.len(), report.join("\n"));
}

#[test]
fn a_violation_prints_its_place_first() {
    let violation = Violation::new("src/store/cell.rs", 7, "say why");
    assert_eq!(violation.to_string(), "src/store/cell.rs:7: say why");
}

#[test]
fn all_rules_are_wired_in() {
    let tree = links::Tree::new(vec!["README.md".to_owned()], Vec::new(), "");
    let long = "x".repeat(121);
    let text = format!(
        "use crate::server::Node;\nuse super::types;\nuse mio::Poll;\nmod util {{}}\nfn f() {{ todo!() }}\n\
         #[ignore]\nunsafe fn g() {{}}\n// {long}\n{}",
        "fn h() {}\n".repeat(500)
    );
    let found = violations("src/types.rs", &text, &tree);
    for part in [
        "opens with",
        "before its tests",
        "names nothing",
        "may not import",
        "climbs",
        "`mio::`",
        "`todo!`",
        "reason",
        "`unsafe`",
        "columns",
    ] {
        assert!(found.iter().any(|violation| violation.what.contains(part)), "{part}: {found:#?}");
    }
    let found = violations("docs/util/a.md", "[gone](b.md)\n```sh\nno-such-tool\n```\n", &tree);
    for part in ["names nothing", "b.md", "no-such-tool"] {
        assert!(found.iter().any(|violation| violation.what.contains(part)), "{part}: {found:#?}");
    }
}
