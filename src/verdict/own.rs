//! An administrator's own rows: what a failure means here, whatever the rules of the program say.
//!
//! They read the reply as it is, with what it echoes, since an administrator may mean just that. A
//! pattern is matched in time that grows with the text alone.

use regex::{Regex, RegexBuilder};

use super::Reply;
use super::codes::Enhanced;
use super::rows::{Span, span};
use super::text::Reading;
use crate::model::{Class, EventKind, Judgement, SourceName};

/// Longest pattern, and most memory that it may take once it is compiled, in bytes.
const PATTERN_BYTES_MAX: usize = 4 << 10;
const COMPILED_BYTES_MAX: usize = 4 << 20;

/// One row.
#[derive(Clone, Debug)]
pub struct OwnRow {
    /// Where it stands in the configuration.
    pub name: String,
    /// The words that must be in the reply.
    pub words: Option<Words>,
    /// Only with this reply code.
    pub code: Option<u16>,
    /// Only with one of these enhanced codes.
    pub enhanced: Option<Codes>,
    /// Only from this provider.
    pub provider: Option<String>,
    /// Only from this source.
    pub source: Option<SourceName>,
    /// What it means.
    pub class: Class,
    /// The kind of a failure that is final: that of the class, unless the row says another.
    pub kind: EventKind,
}

/// What is looked for in a reply.
#[derive(Clone, Debug)]
pub enum Words {
    /// A text, in lower case and with single spaces.
    Text(String),
    /// A pattern.
    Pattern(Regex),
}

/// Enhanced codes: one, or some of one subject.
#[derive(Clone, Copy, Debug)]
pub struct Codes(Span);

/// Where a failure comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Teller<'a> {
    /// The provider.
    pub provider: Option<&'a str>,
    /// The source.
    pub source: Option<&'a SourceName>,
}

impl Words {
    /// A text, wherever it stands in a reply; case and line breaks do not matter.
    pub fn text(text: &str) -> Words {
        Words::Text(spaced(text).to_lowercase())
    }

    /// A regular expression in the notation of Rust's `regex` crate; case does not matter.
    ///
    /// # Errors
    /// Says what is wrong with it, in a line.
    pub fn pattern(pattern: &str) -> Result<Words, String> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(format!("is longer than {PATTERN_BYTES_MAX} bytes"));
        }
        let built = RegexBuilder::new(pattern)
            .case_insensitive(true)
            .size_limit(COMPILED_BYTES_MAX)
            .build();
        built.map(Words::Pattern).map_err(|error| {
            // It draws the pattern with marks below it; its last line says what is wrong.
            let error = error.to_string();
            let last = error.lines().last().unwrap_or("").trim_start_matches("error: ");
            format!("is no regular expression: {last}")
        })
    }

    /// What of the words stands in a reply.
    fn find<'t>(&'t self, text: &'t str, lower: &str) -> Option<&'t str> {
        match self {
            Words::Text(words) => lower.contains(words).then_some(words),
            Words::Pattern(pattern) => pattern.find(text).map(|found| found.as_str()),
        }
    }

    /// Whether they stand in every reply, and so tell none from another: a text of spaces, a
    /// pattern that finds the empty text or any one sign.
    pub fn hold_of_all(&self) -> bool {
        match self {
            Words::Text(text) => text.is_empty(),
            Words::Pattern(pattern) => {
                pattern.is_match("") || ["a", "0", "?"].iter().all(|sign| pattern.is_match(sign))
            }
        }
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        match self {
            Words::Text(text) => text,
            Words::Pattern(pattern) => pattern.as_str(),
        }
    }
}

impl Codes {
    /// From `5.7.1`, `x.7.1` for any first digit, or `5.7.1-9`: of a failure, so 4 or 5.
    pub fn parse(text: &str) -> Option<Codes> {
        span(text).filter(|span| span.is_of_failures()).map(Codes)
    }
}

impl OwnRow {
    /// A row that reads nothing yet, and means a class.
    pub fn of_class(name: String, class: Class) -> OwnRow {
        OwnRow {
            name,
            words: None,
            code: None,
            enhanced: None,
            provider: None,
            source: None,
            class,
            kind: class.kind(),
        }
    }

    /// A row that reads nothing yet, and means a kind: of its classes the plainest.
    pub fn of_kind(name: String, kind: EventKind) -> OwnRow {
        let class = match kind {
            EventKind::HardBounce => Class::NoMailbox,
            EventKind::Blocked => Class::Policy,
            _ => Class::System,
        };
        OwnRow { kind, ..OwnRow::of_class(name, class) }
    }
}

/// What the first of the rows says that holds, if one does.
pub fn judge(
    rows: &[OwnRow],
    teller: Teller<'_>,
    reply: &Reply<'_>,
) -> Option<(Judgement, EventKind)> {
    if rows.is_empty() {
        return None;
    }
    let text = spaced(reply.text);
    let lower = text.to_lowercase();
    let reading = Reading::of(reply.text);
    let codes: Vec<u16> = reply.smtp.into_iter().chain(reading.replies).collect();
    let given = reply.enhanced.and_then(|text| Enhanced::parse(text.trim()));
    let enhanced: Vec<Enhanced> = given.into_iter().chain(reading.codes).collect();
    rows.iter().find_map(|row| {
        let is_of = row.provider.as_deref().is_none_or(|name| teller.provider == Some(name))
            && row.source.as_ref().is_none_or(|name| teller.source == Some(name));
        let has = row.code.is_none_or(|code| codes.contains(&code))
            && row.enhanced.is_none_or(|of| enhanced.iter().any(|code| of.0.has(*code)));
        if !is_of || !has {
            return None;
        }
        let evidence = match &row.words {
            Some(words) => words.find(&text, &lower)?.to_owned(),
            None => text.clone(),
        };
        let (rule, source) = (row.name.clone(), "the configuration".to_owned());
        Some((Judgement { class: row.class, rule, evidence, source }, row.kind))
    })
}

/// A text on one line, with single spaces.
fn spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(words: Option<Words>, class: Class) -> OwnRow {
        OwnRow { words, ..OwnRow::of_class("rules.reply[1]".to_owned(), class) }
    }

    fn class(row: &OwnRow, teller: Teller<'_>, reply: &Reply<'_>) -> Option<Class> {
        judge(std::slice::from_ref(row), teller, reply).map(|(judgement, _)| judgement.class)
    }

    #[test]
    fn a_row_holds_where_all_of_it_does() {
        let source = SourceName::parse("acme").unwrap();
        let teller = Teller { provider: Some("mailgun"), source: Some(&source) };
        let text = "550-5.7.1 Our  Very Own\r\n550 5.7.1 wording for u@x.test";
        let reply = Reply { smtp: None, enhanced: None, text };
        let words = Some(Words::text("very own 550 5.7.1 wording"));
        let plain = row(words, Class::Full);
        assert_eq!(class(&plain, teller, &reply), Some(Class::Full));
        for (holds, row) in [
            (true, OwnRow { code: Some(550), ..plain.clone() }),
            (false, OwnRow { code: Some(552), ..plain.clone() }),
            (true, OwnRow { enhanced: Codes::parse("5.7.1"), ..plain.clone() }),
            (true, OwnRow { enhanced: Codes::parse("x.7.0-9"), ..plain.clone() }),
            (false, OwnRow { enhanced: Codes::parse("4.7.1"), ..plain.clone() }),
            (true, OwnRow { provider: Some("mailgun".to_owned()), ..plain.clone() }),
            (false, OwnRow { provider: Some("sendgrid".to_owned()), ..plain.clone() }),
            (true, OwnRow { source: Some(source.clone()), ..plain.clone() }),
            (false, OwnRow { source: SourceName::parse("other").ok(), ..plain.clone() }),
            (true, OwnRow { words: None, code: Some(550), ..plain.clone() }),
            (false, OwnRow { words: Some(Words::text("not there")), ..plain.clone() }),
        ] {
            assert_eq!(class(&row, teller, &reply).is_some(), holds, "{row:?}");
        }
    }

    #[test]
    fn what_stands_in_every_reply_is_told() {
        for all in
            [Words::text(" \t"), Words::pattern(".*").unwrap(), Words::pattern("x?").unwrap()]
        {
            assert!(all.hold_of_all(), "{all:?}");
        }
        assert!(Words::pattern(r"\S").unwrap().hold_of_all());
        for some in [Words::text("x"), Words::pattern("x+").unwrap(), Words::pattern("^5").unwrap()]
        {
            assert!(!some.hold_of_all(), "{some:?}");
        }
    }

    #[test]
    fn enhanced_codes_are_those_of_failures() {
        for (text, fits) in [
            ("4.2.2", true),
            ("5.7.1-9", true),
            ("x.1.1", true),
            ("2.1.5", false),
            ("5.1.9-2", false),
        ] {
            assert_eq!(Codes::parse(text).is_some(), fits, "{text}");
        }
    }

    #[test]
    fn a_pattern_is_matched_in_any_case_and_says_what_it_found() {
        let words = Words::pattern(r"own \d+ word").unwrap();
        let row = row(Some(words), Class::Policy);
        let reply = Reply { text: "550 OWN\n12 WORDS", ..Reply::default() };
        let (judgement, kind) = judge(&[row], Teller::default(), &reply).unwrap();
        assert_eq!((&*judgement.evidence, kind), ("OWN 12 WORD", EventKind::Blocked));
        for (bad, why) in [("(", "unclosed group"), ("a{999999}", "size limit"), ("\\", "escape")] {
            assert!(Words::pattern(bad).unwrap_err().contains(why), "{:?}", Words::pattern(bad));
        }
    }
}
