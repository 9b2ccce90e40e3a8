//! Parts a Rust file into code and comments, so that a rule about code is not misled by a string or a comment.
//!
//! Invariant: both parts have the lines of the text, so that line numbers agree. It knows just enough of the
//! lexical grammar for that (nested comments, raw strings, lifetimes); it does NOT parse.

/// A Rust file seen twice: without comments and the insides of literals, and with comments alone.
pub(crate) struct Source {
    /// Code; comments and what is inside string and character literals are blank.
    pub(crate) code: String,
    /// Comments; everything else is blank.
    pub(crate) comments: String,
    /// Whether the file is a test module as a whole.
    is_tests: bool,
}

impl Source {
    /// Parts the `text` of the file at `path`; under `src`, a file or folder called `tests` is a test module.
    pub(crate) fn of_file(path: &str, text: &str) -> Self {
        let mut parts = path.split('/').map(|part| part.strip_suffix(".rs").unwrap_or(part));
        let is_tests = parts.next() == Some("src") && parts.any(|part| part == "tests");
        Self { is_tests, ..Self::parse(text) }
    }

    /// Parts `text`.
    pub(crate) fn parse(text: &str) -> Self {
        let mut parser =
            Parser { text: text.chars().collect(), at: 0, code: String::new(), comments: String::new() };
        while parser.at < parser.text.len() {
            parser.step();
        }
        Self { code: parser.code, comments: parser.comments, is_tests: false }
    }

    /// The line, from 1, of the attribute that opens the test module; `None` without one.
    pub(crate) fn tests_line(&self) -> Option<usize> {
        if self.is_tests {
            return Some(1);
        }
        let lines: Vec<&str> = self.code.lines().map(str::trim).collect();
        let opens = |line: &str| line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test");
        (0..lines.len())
            .find(|&index| {
                let mut rest = lines[index..].iter().filter(|line| !line.is_empty());
                let same_line =
                    lines[index].rsplit_once(']').is_some_and(|(_, after)| is_module(after.trim()));
                let after = rest.by_ref().find(|line| !line.starts_with("#["));
                opens(lines[index]) && (same_line || after.is_some_and(|line| is_module(line)))
            })
            .map(|index| index + 1)
    }
}

/// Whether a line of code declares a module.
fn is_module(line: &str) -> bool {
    line.starts_with("mod ") || (line.starts_with("pub") && line.contains(" mod "))
}

/// Whether `c` may stand in an identifier.
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Byte offsets of `word` in `code` where it stands alone, not within a longer identifier.
pub(crate) fn word_offsets<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(offset, _)| offset).filter(move |&offset| {
        let before = code[..offset].chars().next_back();
        let after = code[offset + word.len()..].chars().next();
        let ends_in_word = word.chars().next_back().is_some_and(is_word);
        !(before.is_some_and(is_word) || ends_in_word && after.is_some_and(is_word))
    })
}

/// The line, from 1, of a byte offset.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// Where a text is being parted.
struct Parser {
    text: Vec<char>,
    at: usize,
    code: String,
    comments: String,
}

impl Parser {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    /// Takes one character, if there is one, into the code, the comments, or neither.
    fn take(&mut self, into_code: bool, into_comments: bool) {
        let Some(c) = self.peek(0) else { return };
        let blank = if c == '\n' { '\n' } else { ' ' };
        self.code.push(if into_code { c } else { blank });
        self.comments.push(if into_comments { c } else { blank });
        self.at += 1;
    }

    fn step(&mut self) {
        match (self.peek(0), self.peek(1)) {
            (Some('/'), Some('/')) => self.line_comment(),
            (Some('/'), Some('*')) => self.block_comment(),
            (Some('"'), _) => self.string(),
            (Some('\''), _) => self.quote(),
            (Some('r'), Some('"' | '#')) if !self.within_word() => self.raw_string(),
            _ => self.take(true, false),
        }
    }

    /// Whether the character here goes on an identifier; the `b` and `c` prefixes of a literal do not count.
    fn within_word(&self) -> bool {
        let before = |back: usize| self.at.checked_sub(back).map(|at| self.text[at]).filter(|&c| is_word(c));
        match before(1) {
            None => false,
            Some('b' | 'c') => before(2).is_some(),
            Some(_) => true,
        }
    }

    fn line_comment(&mut self) {
        while self.peek(0).is_some_and(|c| c != '\n') {
            self.take(false, true);
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.text.len() {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => depth += 1,
                (Some('*'), Some('/')) => depth -= 1,
                _ => {
                    self.take(false, true);
                    continue;
                }
            }
            self.take(false, true);
            self.take(false, true);
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.take(true, false);
        while let Some(c) = self.peek(0) {
            if c == '"' {
                self.take(true, false);
                return;
            }
            self.take(false, false);
            if c == '\\' {
                self.take(false, false);
            }
        }
    }

    fn raw_string(&mut self) {
        self.take(true, false);
        let mut hashes = 0;
        while self.peek(hashes) == Some('#') {
            hashes += 1;
        }
        if self.peek(hashes) != Some('"') {
            return; // a raw identifier
        }
        for _ in 0..=hashes {
            self.take(true, false);
        }
        while self.at < self.text.len() {
            let closes = self.peek(0) == Some('"') && (1..=hashes).all(|ahead| self.peek(ahead) == Some('#'));
            if closes {
                for _ in 0..=hashes {
                    self.take(true, false);
                }
                return;
            }
            self.take(false, false);
        }
    }

    /// A character literal, or the start of a lifetime.
    fn quote(&mut self) {
        self.take(true, false);
        if self.peek(0) == Some('\\') {
            self.take(false, false);
            self.take(false, false);
            while self.at < self.text.len() && self.peek(0) != Some('\'') {
                self.take(false, false);
            }
        } else if self.peek(1) == Some('\'') {
            self.take(false, false);
        } else {
            return;
        }
        self.take(true, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        let text = "let a = \"todo!()\"; // todo!()\nlet b = r#\"x \" todo!\"#; /* a /* todo! */ b */ let c = 'x';\n";
        let source = Source::parse(text);
        assert!(!source.code.contains("todo"), "{}", source.code);
        assert!(source.code.contains("let c"), "{}", source.code);
        assert_eq!(source.comments.matches("todo").count(), 2);
        assert_eq!(source.code.lines().count(), text.lines().count());
        assert_eq!(source.comments.lines().count(), text.lines().count());
    }

    #[test]
    fn quotes_and_lifetimes_are_told_apart() {
        let source = Source::parse("fn f<'a>(x: &'a str) { g('\"', '\\'', b'\\\\', '\\u{41}'); end() }");
        assert!(source.code.contains("end()"), "{}", source.code);
        assert!(source.code.contains("<'a>(x: &'a str)"), "{}", source.code);
        let source = Source::parse("let r#type = br\"\\\"; end(); let s = \"\\\\\"; more()");
        assert!(source.code.contains("end()") && source.code.contains("more()"), "{}", source.code);
    }

    #[test]
    fn an_open_literal_ends_with_the_text() {
        for text in ["\"", "'\\", "r#\"", "/*", "'", "r", "\"\\", "/* *", "'\\u"] {
            assert_eq!(Source::parse(text).code.chars().count(), text.chars().count(), "{text}");
        }
    }

    #[test]
    fn the_test_module_is_found() {
        assert_eq!(Source::parse("fn a() {}\n\n#[cfg(test)]\nmod tests {}\n").tests_line(), Some(3));
        assert_eq!(Source::parse("#[cfg(test)]\n#[path = \"a.rs\"]\n\nmod tests;\n").tests_line(), Some(1));
        assert_eq!(Source::parse("a!();\n#[cfg(all(test, loom))] mod tests {}\n").tests_line(), Some(2));
        assert_eq!(Source::parse("#[cfg(test)]\nfn a() {}\nmod b {}\n").tests_line(), None);
        assert_eq!(Source::parse("// #[cfg(test)]\nmod b {}\n").tests_line(), None);
    }

    #[test]
    fn a_test_module_of_its_own_file_is_tests_throughout() {
        assert_eq!(Source::of_file("src/client/tests.rs", "fn a() {}\n").tests_line(), Some(1));
        assert_eq!(Source::of_file("src/client/tests/pipeline.rs", "fn a() {}\n").tests_line(), Some(1));
        assert_eq!(Source::of_file("src/client/attests.rs", "fn a() {}\n").tests_line(), None);
        assert_eq!(Source::of_file("tests/abuse.rs", "fn a() {}\n").tests_line(), None);
    }

    #[test]
    fn words_stand_alone() {
        let code = "unsafe_code unsafe {} an_unsafe";
        assert_eq!(word_offsets(code, "unsafe").collect::<Vec<_>>(), vec![12]);
        assert_eq!(line_of("a\nb\nc", 4), 3);
    }
}
