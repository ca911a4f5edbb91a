//! The rules: rows of phrases, enhanced codes and reply codes, read from `rules/*.toml` once.
//!
//! All phrases stand in one automaton, so a text is read once however many rows there are, and no
//! text can make that slow. Of several phrases in a text the longest decides, unless a row states
//! another rank.

use aho_corasick::{AhoCorasick, MatchKind};
use serde::Deserialize;

use super::class::Class;
use super::codes::{Enhanced, Weight};
use super::text::Reading;

/// The files, each with its name.
const FILES: &[(&str, &str)] = include!("rules/list.in");

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The file it stands in.
    pub family: &'static str,
    /// What it is recognised by, as it is written.
    pub phrase: String,
    /// What it means.
    pub class: Class,
    /// Where that is documented.
    pub source: String,
    /// A text in which it decides.
    pub example: String,
    /// Whether a code that is strong decides against it.
    pub weak: bool,
    rank: i32,
    /// Letters of the phrase, without its gaps.
    length: usize,
    /// Only with these codes, if any: an enhanced code's subject and detail, or a reply code.
    with: Vec<Condition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Reply(u16),
    Enhanced(u16, u16),
}

/// What a code means where no words say more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeRow {
    /// The code, as it is written: `x.1.1`, or `x.7.606-649`; or a reply code, such as `521`.
    pub code: String,
    /// What it means.
    pub class: Class,
    /// How far it can be trusted by itself.
    pub weight: Weight,
    /// Where that is documented.
    pub source: String,
}

/// All rows.
pub struct Rulebook {
    rules: Vec<Rule>,
    /// One entry a piece of a phrase: the row, its place in the phrase, and whether it is the last.
    pieces: Vec<(usize, u8, bool)>,
    automaton: AhoCorasick,
    codes: Vec<(Span, CodeRow)>,
    replies: Vec<(u16, CodeRow)>,
}

/// Enhanced codes of one subject, from one detail to another.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// Only those with this first digit, if it is given.
    class: Option<u8>,
    subject: u16,
    first: u16,
    last: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    source: String,
    #[serde(default)]
    rule: Vec<RuleRow>,
    #[serde(default)]
    code: Vec<Row>,
    #[serde(default)]
    reply: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleRow {
    class: String,
    any: Vec<String>,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    example: Vec<String>,
    #[serde(default)]
    with: Vec<String>,
    #[serde(default)]
    weak: bool,
    #[serde(default)]
    rank: i32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    codes: Vec<String>,
    class: String,
    weight: String,
    #[serde(default)]
    source: Option<String>,
}

/// A row of the files cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("verdict/rules/{file}.toml: {problem}")]
pub struct RuleError {
    /// The file, without its ending.
    pub file: String,
    /// What is wrong.
    pub problem: String,
}

impl Rulebook {
    /// The rows of the program.
    ///
    /// # Errors
    /// When a row cannot be used; a test sees to it that none is.
    pub fn built_in() -> Result<Rulebook, RuleError> {
        Rulebook::read(FILES)
    }

    /// Reads files, each a name and a text.
    pub(crate) fn read(files: &[(&'static str, &str)]) -> Result<Rulebook, RuleError> {
        let mut rules: Vec<Rule> = Vec::new();
        let (mut codes, mut replies) = (Vec::new(), Vec::new());
        for (name, text) in files {
            let wrong = |problem: String| RuleError { file: (*name).to_owned(), problem };
            let file: File = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
            for row in file.rule {
                rules.extend(phrases(name, &file.source, row).map_err(wrong)?);
            }
            for row in file.code {
                codes.extend(code_rows(&file.source, row, span).map_err(wrong)?);
            }
            for row in file.reply {
                let reply = |code: &str| code.parse().ok();
                replies.extend(code_rows(&file.source, row, reply).map_err(wrong)?);
            }
        }
        let (mut pieces, mut patterns) = (Vec::new(), Vec::new());
        for (index, rule) in rules.iter().enumerate() {
            let own: Vec<String> = split(&rule.phrase);
            let last = own.len().saturating_sub(1);
            for (place, piece) in own.into_iter().enumerate() {
                pieces.push((index, place as u8, place == last));
                patterns.push(piece);
            }
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(&patterns)
            .map_err(|e| RuleError { file: "all".to_owned(), problem: e.to_string() })?;
        Ok(Rulebook { rules, pieces, automaton, codes, replies })
    }

    /// Every row that reads words.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Every row that reads an enhanced code, or a reply code.
    pub fn code_rows(&self) -> impl Iterator<Item = &CodeRow> {
        self.codes.iter().map(|(_, row)| row).chain(self.replies.iter().map(|(_, row)| row))
    }

    /// The rows whose phrases stand in `words`, and whose conditions hold.
    pub fn found(&self, words: &str, known: &Known<'_>) -> Vec<&Rule> {
        // How many pieces of a phrase were found, and where the last of them ended.
        let mut partly: Vec<(usize, u8, usize)> = Vec::new();
        let mut found: Vec<usize> = Vec::new();
        for hit in self.automaton.find_overlapping_iter(words) {
            let (rule, place, last) = self.pieces[hit.pattern().as_usize()];
            if place > 0 || !last {
                // Two pieces may share the space between them.
                let fits = |(r, next, end): &(usize, u8, usize)| {
                    *r == rule && *next == place && hit.start() + 1 >= *end
                };
                let begun = partly.iter().position(fits);
                match begun {
                    Some(at) => partly[at] = (rule, place + 1, hit.end()),
                    None if place == 0 && !partly.iter().any(|(r, ..)| *r == rule) => {
                        partly.push((rule, 1, hit.end()));
                    }
                    None => continue,
                }
                if !last {
                    continue;
                }
            }
            if !found.contains(&rule) {
                found.push(rule);
            }
        }
        found.into_iter().map(|rule| &self.rules[rule]).filter(|rule| rule.holds(known)).collect()
    }

    /// The row that decides among those found.
    pub fn decide<'r>(found: &[&'r Rule]) -> Option<&'r Rule> {
        let mut best: Option<&Rule> = None;
        for rule in found {
            let order = |rule: &Rule| (!rule.weak, rule.rank, rule.length);
            if best.is_none_or(|known| order(known) < order(rule)) {
                best = Some(rule);
            }
        }
        best
    }

    /// What an enhanced code means.
    pub fn code(&self, code: Enhanced) -> Option<&CodeRow> {
        let fits = |span: &Span| {
            span.subject == code.subject
                && (span.first..=span.last).contains(&code.detail)
                && span.class.is_none_or(|class| class == code.class)
        };
        self.codes.iter().find(|(span, _)| fits(span)).map(|(_, row)| row)
    }

    /// What a reply code means.
    pub fn reply(&self, reply: u16) -> Option<&CodeRow> {
        self.replies.iter().find(|(known, _)| *known == reply).map(|(_, row)| row)
    }
}

/// What a row's condition is held against.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Reply codes.
    pub replies: &'a [u16],
    /// Enhanced codes.
    pub codes: &'a [Enhanced],
}

impl Rule {
    /// Its name: the family and the phrase.
    pub fn name(&self) -> String {
        format!("{}: {}", self.family, self.phrase)
    }

    fn holds(&self, known: &Known<'_>) -> bool {
        let one = |condition: &Condition| match condition {
            Condition::Reply(reply) => known.replies.contains(reply),
            Condition::Enhanced(subject, detail) => {
                known.codes.iter().any(|code| (code.subject, code.detail) == (*subject, *detail))
            }
        };
        self.with.is_empty() || self.with.iter().any(one)
    }
}

/// The rows that one row of a file stands for: one a phrase.
fn phrases(family: &'static str, source: &str, row: RuleRow) -> Result<Vec<Rule>, String> {
    let class = Class::parse(&row.class).ok_or_else(|| format!("no class {:?}", row.class))?;
    let with: Vec<Condition> = row.with.iter().map(|text| condition(text)).collect::<Result<_, _>>()?;
    let source = row.source.as_deref().unwrap_or(source);
    row.any
        .iter()
        .enumerate()
        .map(|(index, phrase)| {
            let pieces = split(phrase);
            let length = pieces.iter().map(|piece| piece.trim().chars().count()).sum();
            if length < 2 {
                return Err(format!("the phrase {phrase:?} is too short"));
            }
            let example = row.example.get(index).unwrap_or(phrase).clone();
            Ok(Rule {
                family,
                phrase: phrase.clone(),
                class,
                source: source.to_owned(),
                example,
                weak: row.weak,
                rank: row.rank,
                length,
                with: with.clone(),
            })
        })
        .collect()
}

fn condition(text: &str) -> Result<Condition, String> {
    if let Ok(reply) = text.parse() {
        return Ok(Condition::Reply(reply));
    }
    let span = span(text).filter(|span| span.first == span.last);
    let span = span.ok_or_else(|| format!("{text:?} is neither a reply code nor x.n.n"))?;
    Ok(Condition::Enhanced(span.subject, span.first))
}

fn code_rows<C>(
    source: &str,
    row: Row,
    read: impl Fn(&str) -> Option<C>,
) -> Result<Vec<(C, CodeRow)>, String> {
    let class = Class::parse(&row.class).ok_or_else(|| format!("no class {:?}", row.class))?;
    let weight = match row.weight.as_str() {
        "strong" => Weight::Strong,
        "weak" => Weight::Weak,
        "none" => Weight::None,
        other => return Err(format!("no weight {other:?}")),
    };
    let source = row.source.as_deref().unwrap_or(source);
    row.codes
        .iter()
        .map(|code| {
            let read = read(code).ok_or_else(|| format!("{code:?} is no code"))?;
            Ok((read, CodeRow { code: code.clone(), class, weight, source: source.to_owned() }))
        })
        .collect()
}

/// From `x.1.1`, `5.1.1` or `x.7.606-649`.
fn span(text: &str) -> Option<Span> {
    let mut parts = text.split('.');
    let class = match parts.next()? {
        "x" => None,
        digit => Some(digit.parse().ok()?),
    };
    let subject = parts.next()?.parse().ok()?;
    let details = parts.next()?;
    let (first, last) = details.split_once('-').unwrap_or((details, details));
    let span = Span { class, subject, first: first.parse().ok()?, last: last.parse().ok()? };
    parts.next().is_none().then_some(span)
}

/// The pieces between the gaps (`…`), as they stand in a text's words. `*` at a piece's end leaves
/// the end of the word open.
fn split(phrase: &str) -> Vec<String> {
    phrase.replace("* ", "*\u{2026}").split('\u{2026}').filter_map(piece).collect()
}

fn piece(text: &str) -> Option<String> {
    let text = text.trim();
    let open = text.ends_with('*');
    let words = Reading::plain(text.trim_end_matches('*'));
    let words = words.trim();
    let edge = |c: Option<char>| if c.is_some_and(|c| c.is_ascii()) { " " } else { "" };
    let end = if open { "" } else { edge(words.chars().next_back()) };
    (!words.is_empty()).then(|| format!("{}{words}{end}", edge(words.chars().next())))
}
