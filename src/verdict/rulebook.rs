//! The rules: rows of phrases, enhanced codes and reply codes, read from `rules/*.toml` once.
//!
//! All phrases stand in one tree of words, so the time for a text grows with its words alone,
//! however many rows there are. Of several phrases in a text the longest decides, unless a row
//! states another rank.

use serde::Deserialize;

use super::codes::{Enhanced, Weight};
use super::providers::Providers;
use super::text::Reading;
use super::tree::{Hit, Tree};
use crate::model::Class;

/// The files, each with its name.
pub(super) const FILES: &[(&str, &str)] = include!("rules/list.in");

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
    pieces: Vec<Piece>,
    tree: Tree,
    pub(super) providers: Providers,
    codes: Vec<(Span, CodeRow)>,
    replies: Vec<(Range, CodeRow)>,
}

/// Reply codes, from one to another.
type Range = std::ops::RangeInclusive<u16>;

/// What a run of words in the tree is.
#[derive(Clone, Copy, Debug)]
enum Piece {
    /// A part of a row's phrase: which row, the place in the phrase, and whether it is the last.
    Phrase(usize, u8, bool),
    /// A frame around the reply of another server.
    Frame,
}

/// Enhanced codes of one subject, from one detail to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
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
    /// Words of the reporting program behind which the reply of another server stands.
    #[serde(default)]
    frames: Vec<String>,
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
        let (mut codes, mut replies, mut frames) = (Vec::new(), Vec::new(), Vec::new());
        for (name, text) in files {
            let wrong = |problem: String| RuleError { file: (*name).to_owned(), problem };
            let file: File = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
            frames.extend(file.frames);
            for row in file.rule {
                rules.extend(phrases(name, &file.source, row).map_err(wrong)?);
            }
            for row in file.code {
                codes.extend(code_rows(&file.source, row, span).map_err(wrong)?);
            }
            for row in file.reply {
                replies.extend(code_rows(&file.source, row, range).map_err(wrong)?);
            }
        }
        let (mut pieces, mut tree) = (Vec::new(), Tree::default());
        for frame in frames {
            tree.add(Reading::plain(&frame).trim(), pieces.len());
            pieces.push(Piece::Frame);
        }
        for (index, rule) in rules.iter().enumerate() {
            let own = split(&rule.phrase);
            let last = own.len().saturating_sub(1);
            for (place, piece) in own.iter().enumerate() {
                tree.add(piece, pieces.len());
                pieces.push(Piece::Phrase(index, place as u8, place == last));
            }
        }
        let providers = Providers::built_in()?;
        Ok(Rulebook { rules, pieces, tree, providers, codes, replies })
    }

    /// Every row that reads words.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The row that decides about `words`: behind the last frame, if a row speaks there that is not
    /// weak, and anywhere else.
    pub fn decide(&self, words: &str, known: &Known<'_>) -> Option<&Rule> {
        let hits = self.tree.hits(words);
        let frames = hits.iter().filter(|hit| matches!(self.pieces[hit.piece], Piece::Frame));
        let frame = frames.map(|hit| hit.end).max().unwrap_or(0);
        let behind = heaviest(self.found(&hits, frame, known));
        if frame == 0 || behind.is_some_and(|rule| !rule.weak) {
            return behind;
        }
        behind.or_else(|| heaviest(self.found(&hits, 0, known)))
    }

    /// The rows whose phrases stand behind the word `from`, and whose conditions hold.
    fn found(&self, hits: &[Hit], from: usize, known: &Known<'_>) -> impl Iterator<Item = &Rule> {
        // How many pieces of a phrase were found, and where the last of them ended.
        let mut begun: Vec<(usize, u8, usize)> = Vec::new();
        let mut found: Vec<usize> = Vec::new();
        for hit in hits.iter().filter(|hit| hit.start >= from) {
            let Piece::Phrase(rule, place, last) = self.pieces[hit.piece] else { continue };
            let known = begun.iter_mut().find(|(r, ..)| *r == rule);
            let whole = match known {
                Some((_, next, until)) if *next == place && *until <= hit.start => {
                    (*next, *until) = (place + 1, hit.end);
                    last
                }
                None if place == 0 && last => true,
                None if place == 0 => {
                    begun.push((rule, 1, hit.end));
                    false
                }
                _ => false,
            };
            if whole {
                found.push(rule);
            }
        }
        found.into_iter().map(|rule| &self.rules[rule]).filter(|rule| rule.holds(known))
    }

    /// What an enhanced code means.
    pub fn code(&self, code: Enhanced) -> Option<&CodeRow> {
        self.codes.iter().find(|(span, _)| span.has(code)).map(|(_, row)| row)
    }

    /// What a reply code means.
    pub fn reply(&self, reply: u16) -> Option<&CodeRow> {
        self.replies.iter().find(|(known, _)| known.contains(&reply)).map(|(_, row)| row)
    }
}

impl Span {
    /// Whether a code is one of these.
    pub(super) fn has(self, code: Enhanced) -> bool {
        self.subject == code.subject
            && (self.first..=self.last).contains(&code.detail)
            && self.class.is_none_or(|class| class == code.class)
    }
}

/// The row that decides among those found.
fn heaviest<'r>(found: impl Iterator<Item = &'r Rule>) -> Option<&'r Rule> {
    let order = |rule: &Rule| (!rule.weak, rule.rank, rule.length);
    found.reduce(|best, rule| if order(best) < order(rule) { rule } else { best })
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
    #[cfg(test)]
    pub(super) fn rank(&self) -> i32 {
        self.rank
    }

    #[cfg(test)]
    pub(super) fn conditions(&self) -> String {
        format!("{:?}", self.with)
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
    let with: Vec<Condition> =
        row.with.iter().map(|text| condition(text)).collect::<Result<_, _>>()?;
    let source = row.source.as_deref().unwrap_or(source);
    row.any
        .iter()
        .enumerate()
        .map(|(index, phrase)| {
            let pieces = split(phrase);
            let length = pieces.iter().map(|piece| piece.chars().count()).sum();
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
        "final" => Weight::Final,
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

/// From `452`, or `4xx`: all that begin so.
fn range(text: &str) -> Option<Range> {
    let number = |digits: char| text.replace('x', &digits.to_string()).parse().ok();
    Some(number('0')?..=number('9')?)
}

/// From `x.1.1`, `5.1.1` or `x.7.606-649`.
pub(super) fn span(text: &str) -> Option<Span> {
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

/// The pieces between the gaps (`…`), as they stand in a text's words. `*` at the end of a word
/// leaves it open, and ends the piece.
fn split(phrase: &str) -> Vec<String> {
    let piece = |text: &str| {
        let open = if text.trim().ends_with('*') { "*" } else { "" };
        let words = Reading::plain(text);
        (words.len() > 1).then(|| format!("{}{open}", words.trim()))
    };
    phrase.replace("* ", "*\u{2026}").split('\u{2026}').filter_map(piece).collect()
}
