//! The rules: rows of phrases, enhanced codes and reply codes, read from `rules/*.toml` once.
//!
//! All phrases stand in one tree of words, so the time for a text grows with its words alone,
//! however many rows there are. Of several phrases in a text the longest decides, unless a row
//! states another rank.

use super::codes::{Enhanced, Weight};
use super::providers::Providers;
use super::rows::{File, Groups, Range, Span, code_rows, phrases, range, span, split};
use super::text::Reading;
use super::tree::{Hit, Tree};
use crate::model::{Class, Fault};

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
    pub(super) rank: i32,
    /// Whether the phrase must be all that is said.
    pub(super) whole: bool,
    /// What it means where the server said 4 or "later", if that is something else.
    pub(super) soft: Option<Class>,
    /// Only with these codes, if any: an enhanced code's subject and detail, or a reply code.
    pub(super) with: Vec<Condition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
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

/// What a run of words in the tree is.
#[derive(Clone, Debug)]
enum Piece {
    /// A part of a row's phrase.
    Phrase(Part),
    /// A frame around the reply of another server.
    Frame,
}

/// A row's phrase, up to its next gap.
#[derive(Clone, Copy, Debug)]
struct Part {
    rule: usize,
    /// Its place in the phrase.
    place: usize,
    /// Whether the phrase ends here.
    last: bool,
}

/// A row whose phrase stands in a text.
#[derive(Clone, Debug)]
pub struct Found<'r> {
    /// The row.
    pub rule: &'r Rule,
    /// The words that were recognised, a gap between the parts.
    words: String,
}

/// Where the parts of a row's phrase stand.
struct Match<'r> {
    rule: &'r Rule,
    /// Letters that were recognised, with the spaces between.
    length: usize,
    parts: Vec<Hit>,
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
        let wrong = |file: &str, problem| RuleError { file: file.to_owned(), problem };
        let (mut rows, mut groups): (Vec<_>, Groups) = (Vec::new(), Groups::new());
        let (mut codes, mut replies, mut frames) = (Vec::new(), Vec::new(), Vec::new());
        for (name, text) in files {
            let wrong = |problem: String| wrong(name, problem);
            let file: File = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
            frames.extend(file.frames);
            groups.extend(file.group);
            for row in file.code {
                codes.extend(code_rows(&file.source, row, span).map_err(wrong)?);
            }
            for row in file.reply {
                replies.extend(code_rows(&file.source, row, range).map_err(wrong)?);
            }
            rows.extend(file.rule.into_iter().map(|row| (*name, file.source.clone(), row)));
        }
        let providers = Providers::built_in()?;
        let mut book = Rulebook {
            rules: Vec::new(),
            pieces: Vec::new(),
            tree: Tree::default(),
            providers,
            codes,
            replies,
        };
        for (number, words) in groups.values().enumerate() {
            for word in words {
                book.tree.add_to_group(number as u32, Reading::plain(word).trim());
            }
        }
        for frame in frames {
            for steps in split(&frame, &groups).map_err(|problem| wrong("words", problem))? {
                book.tree.add(&steps, book.pieces.len());
                book.pieces.push(Piece::Frame);
            }
        }
        for (name, source, row) in rows {
            let wrong = |problem: String| wrong(name, problem);
            for rule in phrases(name, &source, row, &groups).map_err(wrong)? {
                book.add(rule, &groups).map_err(wrong)?;
            }
        }
        Ok(book)
    }

    fn add(&mut self, rule: Rule, groups: &Groups) -> Result<(), String> {
        let pieces = split(&rule.phrase, groups)?;
        for (place, steps) in pieces.iter().enumerate() {
            self.tree.add(steps, self.pieces.len());
            let last = place + 1 == pieces.len();
            self.pieces.push(Piece::Phrase(Part { rule: self.rules.len(), place, last }));
        }
        self.rules.push(rule);
        Ok(())
    }

    /// Every row that reads words.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The row that decides about `words`: behind the last frame, if a row speaks there that is not
    /// weak, and anywhere else. What stands behind a row that blames the sender whatever is said
    /// (by its rank) opens no frame: a callout's server speaks there.
    pub fn decide(&self, words: &str, known: &Known<'_>) -> Option<Found<'_>> {
        let words: Vec<&str> = words.split(' ').filter(|word| !word.is_empty()).collect();
        let hits = self.tree.hits(&words);
        self.deciding(&hits, &words, known).map(|found| found.told(&words))
    }

    fn deciding(&self, hits: &[Hit], words: &[&str], known: &Known<'_>) -> Option<Match<'_>> {
        if !hits.iter().any(|hit| matches!(self.pieces[hit.piece], Piece::Frame)) {
            return heaviest(self.found(hits, words, 0, known));
        }
        let blames =
            |found: &Match<'_>| found.rule.rank > 0 && found.rule.class.fault() == Fault::Sender;
        let until = self.found(hits, words, 0, known).filter(blames).map(|found| found.end()).min();
        let is_frame = |hit: &&Hit| {
            matches!(self.pieces[hit.piece], Piece::Frame)
                && until.is_none_or(|until| hit.start < until)
        };
        let frame = hits.iter().filter(is_frame).map(|hit| hit.end).max().unwrap_or(0);
        let behind = heaviest(self.found(hits, words, frame, known));
        if frame == 0 || behind.as_ref().is_some_and(|found| !found.rule.weak) {
            return behind;
        }
        behind.or_else(|| heaviest(self.found(hits, words, 0, known)))
    }

    /// The rows whose phrases stand behind the word `from`, and whose conditions hold.
    fn found<'r>(
        &'r self,
        hits: &[Hit],
        words: &[&str],
        from: usize,
        known: &Known<'_>,
    ) -> impl Iterator<Item = Match<'r>> {
        // Rows of which a part was found, and where each part stands.
        let mut begun: Vec<(usize, Vec<Hit>)> = Vec::new();
        let mut found = Vec::new();
        for hit in hits.iter().filter(|hit| hit.start >= from) {
            let Piece::Phrase(Part { rule, place, last }) = self.pieces[hit.piece] else {
                continue;
            };
            let is_whole = hit.start == from && hit.end == words.len();
            if self.rules[rule].whole && !is_whole {
                continue;
            }
            let parts = match begun.iter_mut().find(|(known, _)| *known == rule) {
                Some((_, parts)) => {
                    let is_next = parts.len() == place;
                    if !is_next || parts.last().is_some_and(|part| part.end > hit.start) {
                        continue;
                    }
                    parts.push(*hit);
                    parts.clone()
                }
                None if place == 0 => vec![*hit],
                None => continue,
            };
            if last {
                found.push(Match::of(&self.rules[rule], parts, words));
            } else if place == 0 {
                begun.push((rule, parts));
            }
        }
        found.into_iter().filter(|found| found.rule.holds(known))
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

/// The row that decides among those found.
fn heaviest<'r>(found: impl Iterator<Item = Match<'r>>) -> Option<Match<'r>> {
    let order = |found: &Match<'_>| (!found.rule.weak, found.rule.rank, found.length);
    found.reduce(|best, found| if order(&best) < order(&found) { found } else { best })
}

impl<'r> Match<'r> {
    fn of(rule: &'r Rule, parts: Vec<Hit>, words: &[&str]) -> Self {
        let letters = |part: &Hit| -> usize {
            words[part.start..part.end].iter().map(|word| word.chars().count() + 1).sum()
        };
        let length = parts.iter().map(letters).sum::<usize>() + parts.len() - 2;
        Match { rule, length, parts }
    }

    /// The word behind the last that was recognised.
    fn end(&self) -> usize {
        self.parts.last().map_or(0, |part| part.end)
    }

    fn told(self, words: &[&str]) -> Found<'r> {
        let said = self.parts.iter().map(|part| words[part.start..part.end].join(" "));
        Found { rule: self.rule, words: said.collect::<Vec<_>>().join(" \u{2026} ") }
    }
}

impl Found<'_> {
    /// What it means; `passing`: where the server said 4, or that it may be otherwise later. What
    /// is shut or moved then will be open, or have arrived.
    pub fn class(&self, passing: bool) -> Class {
        match self.rule.class {
            class if !passing => class,
            Class::Disabled | Class::Moved => Class::System,
            class => self.rule.soft.unwrap_or(class),
        }
    }

    /// What was recognised: the phrase, or the words that its groups stood for.
    pub fn evidence(&self) -> String {
        match self.rule.phrase.contains('{') {
            true => self.words.clone(),
            false => self.rule.phrase.clone(),
        }
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
