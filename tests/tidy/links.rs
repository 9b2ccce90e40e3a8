//! Rules about documents: a relative link leads to a file and a heading, and a command that is shown exists.
//!
//! It reads the part of Markdown that the documents use (inline links, `#` headings, fenced blocks); it does NOT
//! follow links out of the repository.

use std::collections::{BTreeMap, BTreeSet};

use crate::Violation;

/// Programs from outside that a document may tell the reader to run.
const OUTSIDE_PROGRAMS: [&str; 22] = [
    "apt-get",
    "cargo",
    "cd",
    "curl",
    "docker",
    "echo",
    "export",
    "git",
    "kill",
    "nc",
    "node",
    "npm",
    "perf",
    "pip",
    "printf",
    "python3",
    "redis-benchmark",
    "redis-cli",
    "redis-server",
    "rustup",
    "strace",
    "taskset",
];

/// Subcommands of cargo that come with the toolchain.
const CARGO_SUBCOMMANDS: [&str; 9] =
    ["run", "test", "build", "bench", "fmt", "clippy", "doc", "fuzz", "install"];

/// What a document can point at.
pub(crate) struct Tree {
    files: BTreeSet<String>,
    anchors: BTreeMap<String, BTreeSet<String>>,
    programs: BTreeSet<String>,
}

impl Tree {
    /// A tree of `files`, the texts of its `documents`, and the programs that its `manifest` builds.
    pub(crate) fn new(files: Vec<String>, documents: Vec<(String, String)>, manifest: &str) -> Self {
        let anchors = documents.into_iter().map(|(path, text)| (path, anchors(&text))).collect();
        let programs = manifest
            .lines()
            .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
            .map(str::to_owned)
            .collect();
        Self { files: files.into_iter().collect(), anchors, programs }
    }

    fn has_path(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        path.is_empty()
            || self.files.contains(path)
            || self.files.iter().any(|file| file.starts_with(&folder))
    }

    fn has_target(&self, folder: &str, name: &str) -> bool {
        let forms = [format!("{folder}/{name}.rs"), format!("{folder}/{name}/main.rs")];
        forms.iter().any(|form| self.files.contains(form))
    }
}

/// The lines of a document with their numbers from 1, and whether each is within a fenced block of commands.
fn lines(text: &str) -> Vec<(usize, &str, Block)> {
    let mut block = Block::Prose;
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            block = match (block, language.trim()) {
                (Block::Prose, "sh" | "bash" | "shell" | "console") => Block::Commands,
                (Block::Prose, _) => Block::Other,
                _ => Block::Prose,
            };
            continue;
        }
        found.push((index + 1, line, block));
    }
    found
}

/// What a line of a document is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    Prose,
    Commands,
    Other,
}

/// The anchors that a document's headings make, as forges make them: lower case, no punctuation, hyphens.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, line, block) in lines(text) {
        let title = line.trim_start_matches('#');
        if block != Block::Prose || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let kept = title.trim().to_lowercase();
        let slug: String = kept
            .chars()
            .filter(|&c| c.is_alphanumeric() || c == ' ' || c == '-' || c == '_')
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let repeats = (1..).map(|count| format!("{slug}-{count}"));
        let free = std::iter::once(slug.clone()).chain(repeats).find(|name| !found.contains(name));
        found.extend(free);
    }
    found
}

/// The targets of a line's inline links; code between backticks is left out.
fn targets(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = line;
    let mut in_code = false;
    while let Some(at) = rest.find(['`', ']']) {
        let (mark, after) = (rest.as_bytes()[at], &rest[at + 1..]);
        rest = after;
        if mark == b'`' {
            in_code = !in_code;
        } else if let Some((target, after)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')'))
            && !in_code
        {
            found.push(target.split_whitespace().next().unwrap_or_default());
            rest = after;
        }
    }
    found
}

/// The path that `target` means, seen from the document at `path`; `None` if it leaves the repository.
fn resolve(path: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// Relative links to files or headings that are not there.
pub(crate) fn broken_links(path: &str, text: &str, tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (line, content, block) in lines(text) {
        if block != Block::Prose {
            continue;
        }
        for target in targets(content) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let resolved = if file.is_empty() { Some(path.to_owned()) } else { resolve(path, file) };
            let Some(resolved) = resolved.filter(|resolved| tree.has_path(resolved)) else {
                found.push(Violation::new(path, line, format!("`{target}` leads to no file: mend the link")));
                continue;
            };
            let known = tree.anchors.get(&resolved).is_none_or(|anchors| anchors.contains(anchor));
            if !anchor.is_empty() && !known {
                let what = format!("`{resolved}` has no heading for `#{anchor}`: mend the link");
                found.push(Violation::new(path, line, what));
            }
        }
    }
    found
}

/// Commands in fenced shell blocks that nobody could run.
pub(crate) fn unknown_commands(path: &str, text: &str, tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut continues = false;
    for (line, content, block) in lines(text) {
        if block != Block::Commands {
            continues = false;
            continue;
        }
        let started_before = std::mem::replace(&mut continues, content.trim_end().ends_with('\\'));
        let command = content.trim().trim_start_matches("$ ");
        if started_before || command.is_empty() || command.starts_with('#') {
            continue;
        }
        if let Some(what) = unknown(command, tree) {
            found.push(Violation::new(path, line, what));
        }
    }
    found
}

/// What is wrong with one command; `None` if it can be run.
fn unknown(command: &str, tree: &Tree) -> Option<String> {
    // Variables set for the command come before it.
    let mut words =
        command.split_whitespace().skip_while(|word| word.contains('=') && !word.starts_with('-'));
    let program = words.next()?;
    let arguments: Vec<&str> = words.collect();
    if program == "cargo" {
        return unknown_cargo(&arguments, tree);
    }
    if let Some(built) = program.trim_start_matches("./").strip_prefix("target/release/") {
        let missing = !tree.programs.contains(built);
        return missing.then(|| format!("`{built}` is not built by Cargo.toml: mend the command"));
    }
    if program.contains('/') {
        let missing = !tree.files.contains(program.trim_start_matches("./"));
        return missing.then(|| format!("`{program}` is not in the tree: mend the command"));
    }
    let known = OUTSIDE_PROGRAMS.contains(&program) || tree.programs.contains(program);
    (!known).then(|| {
        format!("`{program}` is no known program: mend the command, or list it in tests/tidy/links.rs")
    })
}

/// What is wrong with the arguments of cargo.
fn unknown_cargo(arguments: &[&str], tree: &Tree) -> Option<String> {
    let arguments = arguments.split(|&word| word == "--").next().unwrap_or_default();
    let subcommand = arguments.iter().find(|word| !word.starts_with(['-', '+']))?;
    if !CARGO_SUBCOMMANDS.contains(subcommand) {
        return Some(format!("`cargo {subcommand}` does not come with the toolchain: mend the command"));
    }
    for pair in arguments.windows(2) {
        let missing = match pair[0] {
            "--bin" => !tree.programs.contains(pair[1]),
            "--example" => !tree.has_target("examples", pair[1]),
            "--bench" => !tree.has_target("benches", pair[1]),
            "--test" => !tree.has_target("tests", pair[1]),
            _ => false,
        };
        if missing {
            return Some(format!("`{} {}` is no target of Cargo.toml: mend the command", pair[0], pair[1]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let files = ["README.md", "docs/wire.md", ".ci/run", "tests/tidy/main.rs", "examples/hello.rs"];
        let documents = [("docs/wire.md", "# The wire\n## Frames, `u8` & all\n## Twice\n## Twice\n")];
        let manifest = "[package]\nname = \"annulus\"\n[[bin]]\nname = \"annulus-load\"\n";
        Tree::new(
            files.map(str::to_owned).to_vec(),
            documents.map(|(path, text)| (path.to_owned(), text.to_owned())).to_vec(),
            manifest,
        )
    }

    fn links(path: &str, text: &str) -> usize {
        broken_links(path, text, &tree()).len()
    }

    #[test]
    fn broken_links_are_caught() {
        for bad in
            ["docs/gone.md", "wire.md", "../README.md", "docs/wire.md#gone", "#gone", "docs/wire.md#twice-2"]
        {
            let text = format!("# Here\n\n[a](docs/wire.md) and [b]({bad})\n");
            let mut tree = tree();
            tree.anchors.insert("README.md".to_owned(), anchors(&text));
            let found = broken_links("README.md", &text, &tree);
            assert_eq!(found.iter().map(|violation| violation.line).collect::<Vec<_>>(), vec![3], "{bad}");
        }
    }

    #[test]
    fn good_links_are_let_be() {
        for good in
            ["docs/wire.md", "./docs/wire.md#the-wire", "docs/", "docs/wire.md#frames-u8--all", ".ci/run"]
        {
            assert_eq!(links("README.md", &format!("[a]({good} \"title\")")), 0, "{good}");
        }
        assert_eq!(links("docs/wire.md", "[a](../README.md) [b](wire.md#twice-1) [c](#twice)"), 0);
        assert_eq!(
            links("README.md", "[a](https://example.org/x) `[b](gone.md)`\n```\n[c](gone.md)\n```\n"),
            0
        );
    }

    #[test]
    fn unknown_commands_are_caught() {
        for bad in [
            "cargo run --bin annulus-gone",
            "cargo run --release --example gone",
            "cargo bench --bench gone",
            "cargo test --test gone",
            "cargo frobnicate",
            "./tests/gone.sh",
            "tests/gone/run 1",
            "target/release/gone",
            "frobnicate",
            "A=1 frobnicate",
        ] {
            let text = format!("Run:\n\n```sh\n$ {bad}\n```\n");
            let found = unknown_commands("README.md", &text, &tree());
            assert_eq!(found.iter().map(|violation| violation.line).collect::<Vec<_>>(), vec![4], "{bad}");
        }
    }

    #[test]
    fn known_commands_are_let_be() {
        for good in [
            "cargo run --release",
            "RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps",
            "cargo run --release --bin annulus-load -- --bin gone",
            "cargo run --example hello",
            "cargo test --test tidy",
            ".ci/run",
            "./target/release/annulus node --listen 127.0.0.1:0",
            "redis-cli -p 7400 set a b",
            "# a comment",
            "annulus-load --connections 4 \\\n  --anything goes",
        ] {
            let text = format!("```console\n{good}\n```\n");
            assert_eq!(unknown_commands("README.md", &text, &tree()), vec![], "{good}");
        }
        assert_eq!(unknown_commands("README.md", "```text\nfrobnicate\n```\n", &tree()), vec![]);
    }
}
