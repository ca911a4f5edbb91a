//! Just enough reading of Rust text for the tidy checks: tokens, paths, functions, tests cut off.
//!
//! It knows nothing of meaning. Comments, texts and characters are skipped, so that words in them
//! do not count.

/// One token: a word, `::`, or a single sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// One file below `src/`, read as tokens.
pub(crate) struct Source {
    /// Its path below `src/`, such as `poll/mod.rs`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Its tokens without those of tests.
    pub(crate) tokens: Vec<Token>,
    /// How many lines it has without those of tests.
    pub(crate) lines: usize,
}

/// A path such as `crate::model::Time`, with its line.
pub(crate) struct PathUse {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

/// A function, with the line of its `fn` and the number of lines to its closing brace.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Source {
        let mut tokens = tokens(text);
        let dropped = drop_tests(&mut tokens);
        let lines = text.lines().count() - dropped;
        Source { path: path.to_owned(), text: text.to_owned(), tokens, lines }
    }

    /// What the file is in paths: `poll/mod.rs` is `poll`, `poll/cursor.rs` is `poll/cursor`.
    pub(crate) fn key(&self) -> &str {
        let stem = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        stem.strip_suffix("/mod").unwrap_or(stem)
    }

    /// Every path of two segments or more, and every import, with `{…}` written out.
    pub(crate) fn paths(&self) -> Vec<PathUse> {
        let mut found = Vec::new();
        let mut index = 0;
        while index < self.tokens.len() {
            let behind_dot = index > 0 && self.tokens[index - 1].text == ".";
            if self.tokens[index].text == "use" {
                index = self.import(index + 1, &[], &mut found);
            } else if is_word(&self.tokens[index].text) && !behind_dot {
                index = self.plain_path(index, &mut found);
            } else {
                index += 1;
            }
        }
        found
    }

    /// The names of modules that the file declares.
    pub(crate) fn modules(&self) -> Vec<&str> {
        let pairs = self.tokens.windows(2).filter(|pair| pair[0].text == "mod");
        pairs.map(|pair| pair[1].text.as_str()).collect()
    }

    /// Every function that has a body.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        for (index, pair) in self.tokens.windows(2).enumerate() {
            if pair[0].text != "fn" || !is_word(&pair[1].text) {
                continue;
            }
            let Some(end) = item_end(&self.tokens, index) else { continue };
            if self.tokens[end].text == "}" {
                let line = pair[0].line;
                let lines = self.tokens[end].line - line + 1;
                found.push(Function { name: pair[1].text.clone(), line, lines });
            }
        }
        found
    }

    fn sign(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |token| &token.text)
    }

    fn plain_path(&self, start: usize, found: &mut Vec<PathUse>) -> usize {
        let mut segments = vec![self.tokens[start].text.clone()];
        let mut index = start + 1;
        while self.sign(index) == "::" && is_word(self.sign(index + 1)) {
            segments.push(self.tokens[index + 1].text.clone());
            index += 2;
        }
        if segments.len() > 1 {
            found.push(PathUse { segments, line: self.tokens[start].line });
        }
        index
    }

    /// Reads one branch of an import; gives the place behind it.
    fn import(&self, start: usize, above: &[String], found: &mut Vec<PathUse>) -> usize {
        let mut segments = above.to_vec();
        let mut index = start;
        loop {
            match self.sign(index) {
                "{" => {
                    index += 1;
                    while !matches!(self.sign(index), "}" | "") {
                        index = self.import(index, &segments, found);
                        index += usize::from(self.sign(index) == ",");
                    }
                    return index + 1;
                }
                "as" => index += 2,
                "::" => index += 1,
                word if is_word(word) || word == "*" => {
                    segments.push(word.to_owned());
                    index += 1;
                }
                _ => break,
            }
        }
        let line = self.tokens.get(start).map_or(0, |token| token.line);
        found.push(PathUse { segments, line });
        // Never stand still, whatever the text is.
        index.max(start + usize::from(!matches!(self.sign(start), "}" | "," | ";")))
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Where the item that starts at `start` ends: at its `;`, or at the `}` of its body.
fn item_end(tokens: &[Token], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(start) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" => depth = depth.saturating_sub(1),
            "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(index);
                }
            }
            ";" if depth == 0 => return Some(index),
            _ => {}
        }
    }
    None
}

/// Removes each item behind `#[cfg(test)]`; gives the number of lines that went.
fn drop_tests(tokens: &mut Vec<Token>) -> usize {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut dropped = 0;
    let is_mark = |seven: &[Token]| seven.iter().map(|t| t.text.as_str()).eq(MARK);
    while let Some(start) = tokens.windows(MARK.len()).position(is_mark) {
        let end = item_end(tokens, start + MARK.len()).unwrap_or(tokens.len() - 1);
        dropped += tokens[end].line - tokens[start].line + 1;
        tokens.drain(start..=end);
    }
    dropped
}

/// The tokens of a text. What is no Rust gives some tokens too, but never a panic.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let length = skipped(rest).unwrap_or_else(|| {
            let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
            let length = match word {
                Some(0) if rest.starts_with("::") => 2,
                Some(0) => first.len_utf8(),
                Some(length) => length,
                None => rest.len(),
            };
            if !first.is_whitespace() {
                found.push(Token { text: rest[..length].to_owned(), line });
            }
            length
        });
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    found
}

/// The length of the comment, text, character or lifetime that `rest` starts with, if it does.
fn skipped(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(rest.find("*/").map_or(rest.len(), |end| end + 2));
    }
    for prefix in ["br", "cr", "r"] {
        let Some(raw) = rest.strip_prefix(prefix) else { continue };
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if let Some(inside) = raw[hashes..].strip_prefix('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let end = inside.find(&close).map_or(inside.len(), |end| end + close.len());
            return Some(prefix.len() + hashes + 1 + end);
        }
    }
    for prefix in ["b\"", "c\"", "\""] {
        if let Some(inside) = rest.strip_prefix(prefix) {
            return Some(prefix.len() + quoted(inside, '"'));
        }
    }
    let inside = rest.strip_prefix("b'").or_else(|| rest.strip_prefix('\''))?;
    let prefix = rest.len() - inside.len();
    let mut chars = inside.chars();
    match (chars.next(), chars.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => Some(prefix + quoted(inside, '\'')),
        // A lifetime: the sign alone.
        _ => Some(prefix),
    }
}

/// How far it is to behind the closing quote.
fn quoted(inside: &str, close: char) -> usize {
    let mut escaped = false;
    for (index, c) in inside.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == close => return index + c.len_utf8(),
            _ => {}
        }
    }
    inside.len()
}

#[test]
fn words_in_comments_and_texts_do_not_count() {
    let text = r##"
        // sled::a
        /* sled::b */ let x = "sled::c \" sled::d"; let y = r#"sled::e " sled::f"#;
        let z = '"'; let w = b'\''; fn f<'a>(t: &'a str) -> sled::G { t.sled() }
    "##;
    let source = Source::new("x.rs", text);
    let paths: Vec<String> = source.paths().iter().map(|p| p.segments.join("::")).collect();
    assert_eq!(paths, ["sled::G"]);
    assert_eq!(source.paths()[0].line, 4);
}

#[test]
fn imports_are_written_out() {
    let source = Source::new("x.rs", "pub use a::{self, b::{c, D as E}, f::*}; use g; a::b::c();");
    let paths: Vec<String> = source.paths().iter().map(|p| p.segments.join("::")).collect();
    assert_eq!(paths, ["a::self", "a::b::c", "a::b::D", "a::f::*", "g", "a::b::c"]);
}

#[test]
fn tests_are_cut_off_and_functions_measured() {
    let text = "fn a(x: [u8; 2]) -> u8 {\n  1\n}\ntrait T { fn b(); }\n\
                #[cfg(test)]\nmod tests {\n  fn c() {}\n}\nfn d() {}\n";
    let source = Source::new("x.rs", text);
    let found: Vec<(&str, usize, usize)> = Vec::new();
    let functions = source.functions();
    let found = functions.iter().fold(found, |mut all, f| {
        all.push((&f.name, f.line, f.lines));
        all
    });
    assert_eq!(found, [("a", 1, 3), ("d", 9, 1)]);
    assert_eq!(source.lines, 5);
}
