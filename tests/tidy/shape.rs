//! Rules about the shape of files: how long, how wide, how they open, what they are called.
//!
//! A reader should get a file onto a few screens and know its job from the first line and its name.

use crate::Violation;
use crate::source::{Source, line_of, word_offsets};

/// Lines of a file before its test module.
const LINES_MAX: usize = 500;

/// Lines of a file with its tests.
const LINES_WITH_TESTS_MAX: usize = 900;

/// Characters of a line.
const COLUMNS_MAX: usize = 120;

/// Names that say nothing of what a module does.
const FORBIDDEN_NAMES: [&str; 9] =
    ["util", "utils", "common", "helper", "helpers", "manager", "managers", "misc", "utilities"];

/// A file that is too long, before its tests or with them.
pub(crate) fn long_file(path: &str, text: &str, source: &Source) -> Vec<Violation> {
    let lines = text.lines().count();
    let before_tests = source.tests_line().map_or(lines, |line| line - 1);
    let mut found = Vec::new();
    if before_tests > LINES_MAX {
        let what = format!(
            "{before_tests} lines before its tests, {LINES_MAX} at most: split it by what it decides"
        );
        found.push(Violation::new(path, LINES_MAX + 1, what));
    }
    if lines > LINES_WITH_TESTS_MAX {
        let what =
            format!("{lines} lines with its tests, {LINES_WITH_TESTS_MAX} at most: move tests to `tests/`");
        found.push(Violation::new(path, LINES_WITH_TESTS_MAX + 1, what));
    }
    found
}

/// Lines that are too wide.
pub(crate) fn long_lines(path: &str, text: &str) -> Vec<Violation> {
    let wide = |line: &str| Some(line.chars().count()).filter(|&columns| columns > COLUMNS_MAX);
    text.lines()
        .enumerate()
        .filter_map(|(index, line)| Some((index + 1, wide(line)?)))
        .map(|(line, columns)| {
            Violation::new(path, line, format!("{columns} columns, {COLUMNS_MAX} at most: break the line"))
        })
        .collect()
}

/// A Rust file that does not begin by saying what it is for.
pub(crate) fn missing_opening(path: &str, text: &str) -> Vec<Violation> {
    let first = text.lines().next().unwrap_or_default();
    if first.strip_prefix("//!").is_some_and(|rest| !rest.trim().is_empty()) {
        return Vec::new();
    }
    let what = "a file opens with `//!`: its job, its invariant, what it does not do";
    vec![Violation::new(path, 1, what)]
}

/// A file or folder whose name says nothing.
pub(crate) fn forbidden_names(path: &str) -> Vec<Violation> {
    path.split('/')
        .map(|part| part.split_once('.').map_or(part, |(stem, _)| stem))
        .filter(|stem| FORBIDDEN_NAMES.contains(stem))
        .map(|stem| Violation::new(path, 1, format!("`{stem}` names nothing: call it after what it does")))
        .collect()
}

/// A module within a file whose name says nothing.
pub(crate) fn forbidden_inline_modules(path: &str, source: &Source) -> Vec<Violation> {
    word_offsets(&source.code, "mod")
        .filter_map(|offset| {
            let rest = source.code[offset + "mod".len()..].trim_start();
            let name: String = rest.chars().take_while(|&c| crate::source::is_word(c)).collect();
            FORBIDDEN_NAMES.contains(&name.as_str()).then(|| {
                let what = format!("`mod {name}` names nothing: call it after what it does");
                Violation::new(path, line_of(&source.code, offset), what)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(text: &str) -> Vec<usize> {
        long_file("src/a.rs", text, &Source::parse(text)).iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn long_files_are_caught() {
        let line = "fn a() {}\n";
        let tests = "#[cfg(test)]\nmod tests {}\n";
        assert_eq!(lengths(&line.repeat(500)), vec![]);
        assert_eq!(lengths(&line.repeat(501)), vec![501]);
        assert_eq!(lengths(&format!("{}{tests}{}", line.repeat(500), line.repeat(398))), vec![]);
        assert_eq!(lengths(&format!("{}{tests}{}", line.repeat(500), line.repeat(399))), vec![901]);
        assert_eq!(lengths(&format!("{}{tests}", line.repeat(501))), vec![501]);
        // A test attribute on a single item is not the test module.
        assert_eq!(lengths(&format!("#[cfg(test)]\nuse a;\n{}", line.repeat(600))), vec![501]);
    }

    #[test]
    fn wide_lines_are_caught() {
        assert_eq!(long_lines("a.rs", &"é".repeat(120)), vec![]);
        let found = long_lines("a.rs", &format!("ok\n{}\n", "é".repeat(121)));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 2);
    }

    #[test]
    fn missing_openings_are_caught() {
        assert_eq!(missing_opening("a.rs", "//! Counts.\nfn a() {}\n"), vec![]);
        for text in ["", "fn a() {}\n", "// Counts.\n", "\n//! Late.\n", "//!\n", "/// Counts.\n"] {
            assert_eq!(missing_opening("a.rs", text).len(), 1, "{text:?}");
        }
    }

    #[test]
    fn empty_names_are_caught() {
        for path in ["src/util.rs", "src/store/helpers.rs", "tests/common/mod.rs", "src/server/manager/a.rs"]
        {
            assert_eq!(forbidden_names(path).len(), 1, "{path}");
        }
        assert_eq!(forbidden_names("src/utility_bill.rs"), vec![]);
        let found =
            forbidden_inline_modules("src/a.rs", &Source::parse("fn a() {}\npub(crate) mod util {}\n"));
        assert_eq!(found.iter().map(|violation| violation.line).collect::<Vec<_>>(), vec![2]);
        assert_eq!(
            forbidden_inline_modules("src/a.rs", &Source::parse("mod utility;\n// mod util\n")),
            vec![]
        );
    }
}
