//! Rules about what must not be left behind: unfinished code, unexplained sleeps and skipped tests, stray `unsafe`.

use crate::Violation;
use crate::source::{Source, line_of, word_offsets};

/// Code that is never finished work.
const FORBIDDEN_IN_CODE: [&str; 3] = ["todo!", "dbg!", "unimplemented!"];

/// Marks in comments that belong in the issue tracker.
const FORBIDDEN_IN_COMMENTS: [&str; 2] = ["FIXME", "XXX"];

/// What may stay if a comment or a `reason = "…"` on the lines right above, or on its own line, says why.
const NEED_A_REASON: [&str; 2] = ["#[ignore", "thread::sleep"];

/// Files that may hold `unsafe`. Each block in them has its `SAFETY:` comment, which clippy demands.
const UNSAFE_FILES: [&str; 2] = ["src/store/cell.rs", "src/store/table.rs"];

/// A file of `tests/` or `tools/` with this name may hold `unsafe`: to count allocations is to be an allocator.
const UNSAFE_ALLOCATOR: &str = "counting_allocator.rs";

/// Unfinished code, and marks that say so.
pub(crate) fn leftovers(path: &str, source: &Source) -> Vec<Violation> {
    let in_code = FORBIDDEN_IN_CODE.iter().map(|&word| (&source.code, word, "finish it or take it out"));
    let in_comments =
        FORBIDDEN_IN_COMMENTS.iter().map(|&word| (&source.comments, word, "file an issue instead"));
    in_code
        .chain(in_comments)
        .flat_map(|(text, word, advice)| {
            word_offsets(text, word)
                .map(move |offset| Violation::new(path, line_of(text, offset), format!("`{word}`: {advice}")))
        })
        .collect()
}

/// Sleeps and skipped tests that nobody explains.
pub(crate) fn unexplained(path: &str, text: &str, source: &Source) -> Vec<Violation> {
    let lines: Vec<&str> = text.lines().collect();
    let comments: Vec<&str> = source.comments.lines().collect();
    let explains = |index: usize| {
        let comment = comments.get(index).map_or("", |line| line.trim());
        let is_reason = comment.starts_with("//") && !comment.starts_with("///");
        is_reason || lines[index].contains("reason = \"")
    };
    let goes_on = |index: usize| {
        let line = lines[index].trim();
        line.starts_with("//") || line.starts_with('#')
    };
    NEED_A_REASON
        .iter()
        .flat_map(|&word| word_offsets(&source.code, word).map(move |offset| (word, offset)))
        .map(|(word, offset)| (word, line_of(&source.code, offset)))
        .filter(|&(_, line)| {
            let above = (0..line - 1).rev().take_while(|&index| goes_on(index)).any(explains);
            !explains(line - 1) && !above
        })
        .map(|(word, line)| {
            Violation::new(path, line, format!("`{word}`: say the reason in a comment beside it"))
        })
        .collect()
}

/// `unsafe` where it is not allowed.
pub(crate) fn misplaced_unsafe(path: &str, source: &Source) -> Vec<Violation> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let counts = name == UNSAFE_ALLOCATOR && (folder.starts_with("tests") || folder.starts_with("tools"));
    if counts || UNSAFE_FILES.contains(&path) {
        return Vec::new();
    }
    let allowed = UNSAFE_FILES.join(", ");
    word_offsets(&source.code, "unsafe")
        .map(|offset| {
            let what =
                format!("`unsafe` stays in {allowed} and a test's {UNSAFE_ALLOCATOR}: write it safely");
            Violation::new(path, line_of(&source.code, offset), what)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(found: &[Violation]) -> Vec<usize> {
        found.iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn unfinished_code_is_caught() {
        let text =
            "fn a() { todo!() }\nfn b() { dbg!(1); }\nfn c() { unimplemented!() }\n// FIXME: d\n/* XXX */\n";
        assert_eq!(lines(&leftovers("src/a.rs", &Source::parse(text))), vec![1, 2, 3, 4, 5]);
        let fine = "const A: &str = \"todo! FIXME\"; // todo! is a macro\nfn XXXL() {}\nmy_todo!();\n";
        assert_eq!(leftovers("src/a.rs", &Source::parse(fine)), vec![]);
    }

    fn unexplained_lines(text: &str) -> Vec<usize> {
        lines(&unexplained("tests/a.rs", text, &Source::parse(text)))
    }

    #[test]
    fn sleeps_and_skipped_tests_need_a_reason() {
        assert_eq!(unexplained_lines("fn a() {\n    thread::sleep(d);\n}\n"), vec![2]);
        assert_eq!(unexplained_lines("use std::thread::sleep;\n"), vec![1]);
        assert_eq!(unexplained_lines("#[test]\n#[ignore]\nfn a() {}\n"), vec![2]);
        assert_eq!(unexplained_lines("#[test]\n#[ignore = \"slow\"]\nfn a() {}\n"), vec![2]);
        // A comment further up belongs to something else; documentation says what, not why.
        assert_eq!(unexplained_lines("// why\nlet a = 1;\nthread::sleep(d);\n"), vec![3]);
        assert_eq!(unexplained_lines("/// Sleeps.\n#[ignore]\nfn a() {}\n"), vec![2]);
    }

    #[test]
    fn a_reason_is_taken() {
        assert_eq!(unexplained_lines("thread::sleep(d); // the peer has no readiness to poll\n"), vec![]);
        assert_eq!(unexplained_lines("// takes an hour\n#[test]\n#[ignore]\nfn a() {}\n"), vec![]);
        let lint = "#[expect(clippy::disallowed_methods, reason = \"polls a process\")]\nthread::sleep(d);\n";
        assert_eq!(unexplained_lines(lint), vec![]);
        assert_eq!(unexplained_lines("let a = \"thread::sleep\";\n"), vec![]);
    }

    #[test]
    fn stray_unsafe_is_caught() {
        let source = Source::parse("#![allow(unsafe_code)]\n// unsafe\nfn a() { unsafe { b() } }\n");
        assert_eq!(lines(&misplaced_unsafe("src/server/worker.rs", &source)), vec![3]);
        assert_eq!(lines(&misplaced_unsafe("src/counting_allocator.rs", &source)), vec![3]);
        for path in ["src/store/cell.rs", "src/store/table.rs", "tests/allocations/counting_allocator.rs"] {
            assert_eq!(misplaced_unsafe(path, &source), vec![], "{path}");
        }
    }
}
