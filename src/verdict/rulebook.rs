//! The rules: rows of phrases, enhanced codes and reply codes, read from `rules/*.toml` once.
//!
//! All phrases stand in one tree of words, so the time for a text grows with its words alone,
//! however many rows there are. Of several phrases in a text the longest decides, unless a row
//! states another rank.

use super::codes::{Enhanced, Weight};
use super::providers::Providers;
use super::recent::Recent;
use super::rows::{File, Groups, Range, Span, code_rows, phrases, range, span, split};
use super::sentences::Words;
use super::text::Reading;
use super::tree::{Hit, Tree};
use crate::model::{Class, Fault};

/// The files, each with its name.
pub(super) const FILES: &[(&str, &str)] = include!("rules/list.in");

/// The group that stands for any word that may be somebody's name; its own words are examples.
const ANYBODY: &str = "anybody";

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
    /// Whether the parts of the phrase may stand in several sentences.
    pub(super) goes_over: bool,
    /// Whether the phrase must be said first of a mailbox that was cut out before it.
    pub(super) named: bool,
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
    pub(super) recent: Recent,
}

/// What a run of words in the tree is.
#[derive(Clone, Debug)]
enum Piece {
    /// A part of a row's phrase.
    Phrase(Part),
    /// A frame around the reply of another server.
    Frame,
    /// Words with which the program that quotes it ends; whether a sentence must begin with them.
    Closing(bool),
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
    /// The words that the phrase's groups stood for, a gap between the parts.
    words: String,
}

/// Where the parts of a row's phrase stand.
#[derive(Clone)]
struct Match<'r> {
    rule: &'r Rule,
    /// Letters that were recognised, with the spaces between.
    length: usize,
    parts: Parts,
}

/// The parts of a phrase in a text; most have one.
#[derive(Clone)]
struct Parts {
    first: Hit,
    rest: Vec<Hit>,
}

impl Parts {
    fn iter(&self) -> impl Iterator<Item = &Hit> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    fn last(&self) -> &Hit {
        self.rest.last().unwrap_or(&self.first)
    }
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
        let mut names: Vec<String> = Vec::new();
        for (name, text) in files {
            let wrong = |problem: String| wrong(name, problem);
            let file: File = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
            frames.extend(file.frames.into_iter().map(|words| (words, Piece::Frame)));
            frames.extend(file.closings.into_iter().map(|words| {
                let begins = words.starts_with('.');
                (words, Piece::Closing(begins))
            }));
            groups.extend(file.group);
            names.extend(file.names);
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
            recent: Recent::default(),
        };
        for (number, (name, words)) in groups.iter().enumerate() {
            if names.contains(name) {
                book.tree.name(number as u32);
            }
            if name == ANYBODY {
                book.tree.any(number as u32);
            }
            for word in words {
                book.tree.add_to_group(number as u32, Reading::plain(word).trim());
            }
        }
        for (words, piece) in frames {
            for steps in split(&words, &groups).map_err(|problem| wrong("words", problem))? {
                book.tree.add(&[steps], book.pieces.len());
                book.pieces.push(piece.clone());
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
        self.tree.add(&pieces, self.pieces.len());
        let rule_number = self.rules.len();
        let part = |place| Part { rule: rule_number, place, last: place + 1 == pieces.len() };
        self.pieces.extend((0..pieces.len()).map(|place| Piece::Phrase(part(place))));
        self.rules.push(rule);
        Ok(())
    }

    /// Every row that reads words.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The row that decides about `words`: behind the last frame, if a row speaks there, and else
    /// anywhere; but in front of it no address is called dead by a mere hint, such as "mailbox
    /// unavailable", by which a program spells out any 550 that it quotes. What stands behind a row
    /// that blames the sender whatever is said (by its rank) opens no frame: a callout's server
    /// speaks there.
    pub fn decide(&self, words: &str, known: &Known<'_>) -> Option<Found<'_>> {
        let text = Words::of(words);
        let mut hits = self.tree.hits(&text);
        self.keep_said(&mut hits, &text);
        self.keep_stated(&mut hits, &text);
        self.deciding(&hits, &text, known).map(|found| found.told(&text.words))
    }

    /// Takes away what only the program says that quotes a server: a name that it has for every
    /// refusal, such as "unknown address error", and that it gives up, where more is said.
    fn keep_said(&self, hits: &mut Vec<Hit>, text: &Words<'_>) {
        let is_own = |hit: &&Hit| match self.pieces[hit.piece] {
            Piece::Phrase(_) => false,
            Piece::Frame => true,
            Piece::Closing(begins) => {
                let is_last = text.breaks.get(hit.end).is_none_or(|next| next.ends);
                hit.start > 0 && is_last && (!begins || text.breaks[hit.start].ends)
            }
        };
        let own: Vec<Hit> = hits.iter().filter(is_own).copied().collect();
        if own.is_empty() {
            return;
        }
        hits.retain(|hit| {
            let Piece::Phrase(Part { rule, .. }) = self.pieces[hit.piece] else { return true };
            let rule = &self.rules[rule];
            let says = |own: &Hit| match self.pieces[own.piece] {
                Piece::Closing(_) => false,
                _ => !rule.weak && rule.class.fault() != Fault::Recipient,
            };
            let is_within = |own: &&Hit| own.start <= hit.start && hit.end <= own.end;
            own.iter().find(is_within).is_none_or(says)
        });
    }

    /// Takes away where an address is called dead by words that do not state it, or that belong to
    /// the name of a thing; of these, what shorter phrases make of them as well.
    fn keep_stated(&self, hits: &mut Vec<Hit>, text: &Words<'_>) {
        let is_dead = |hit: &Hit| match self.pieces[hit.piece] {
            Piece::Phrase(Part { rule, .. }) => self.rules[rule].class.fault() == Fault::Recipient,
            Piece::Frame | Piece::Closing(_) => false,
        };
        // Of each word, how far what names a thing goes on.
        let mut named = Vec::new();
        for hit in hits.iter().filter(|hit| is_dead(hit) && text.name_a_thing(hit.end)) {
            named.resize(text.words.len(), 0);
            named[hit.start..hit.end].fill(hit.end);
        }
        let names = |hit: &Hit| {
            let words = named.get(hit.start..hit.end).unwrap_or_default();
            words.iter().any(|end| *end >= hit.end)
        };
        hits.retain(|hit| {
            !is_dead(hit) || !(text.are_no_statement(hit.start, hit.end) || names(hit))
        });
    }

    fn deciding(&self, hits: &[Hit], text: &Words<'_>, known: &Known<'_>) -> Option<Match<'_>> {
        let all = |from| self.found(hits, text, from, known);
        if !hits.iter().any(|hit| matches!(self.pieces[hit.piece], Piece::Frame)) {
            return heaviest(&all(0), text);
        }
        let blames =
            |found: &&Match<'_>| found.rule.rank > 0 && found.rule.class.fault() == Fault::Sender;
        let until = all(0).iter().filter(blames).map(|found| found.parts.last().start).min();
        let is_frame = |hit: &&Hit| {
            matches!(self.pieces[hit.piece], Piece::Frame)
                && until.is_none_or(|until| hit.start < until)
        };
        let frame = hits.iter().filter(is_frame).map(|hit| hit.end).max().unwrap_or(0);
        let behind = heaviest(&all(frame), text);
        if frame == 0 || behind.is_some() {
            return behind;
        }
        let mut before = all(0);
        before.retain(|found| !(found.rule.weak && found.rule.class.fault() == Fault::Recipient));
        heaviest(&before, text)
    }

    /// The rows whose phrases stand behind the word `from`, and whose conditions hold.
    fn found<'r>(
        &'r self,
        hits: &[Hit],
        text: &Words<'_>,
        from: usize,
        known: &Known<'_>,
    ) -> Vec<Match<'r>> {
        // Rows of which a part was found, and where each part stands.
        let mut begun: Vec<(usize, Parts)> = Vec::new();
        let mut found = Vec::new();
        for hit in hits.iter().filter(|hit| hit.start >= from) {
            let Piece::Phrase(Part { rule, place, last }) = self.pieces[hit.piece] else {
                continue;
            };
            if !self.rules[rule].fits(hit, text, from) {
                continue;
            }
            let goes_over = self.rules[rule].goes_over;
            let parts = match begun.iter_mut().find(|(known, _)| *known == rule) {
                Some((_, parts)) if goes_over || !text.parts(parts.first.start, hit.start) => {
                    let is_next = parts.rest.len() + 1 == place;
                    if !is_next || parts.last().end > hit.start {
                        continue;
                    }
                    parts.rest.push(*hit);
                    parts.clone()
                }
                Some((_, parts)) => {
                    if place == 0 {
                        *parts = Parts { first: *hit, rest: Vec::new() };
                    }
                    continue;
                }
                None if place == 0 => Parts { first: *hit, rest: Vec::new() },
                None => continue,
            };
            if last {
                found.push(Match::of(&self.rules[rule], parts, &text.words));
            } else if place == 0 {
                begun.push((rule, parts));
            }
        }
        found.retain(|found| found.rule.holds(known));
        found
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

/// The row that decides among those found. Once a sentence has said that there is no such address,
/// another one decides behind it only if it blames the sender for this very message.
fn heaviest<'r>(found: &[Match<'r>], text: &Words<'_>) -> Option<Match<'r>> {
    let order = |found: &Match<'_>| (!found.rule.weak, found.rule.rank, found.length);
    let pick = |found: &mut dyn Iterator<Item = &Match<'r>>| {
        found.reduce(|best, found| if order(best) < order(found) { found } else { best }).cloned()
    };
    let best = pick(&mut found.iter())?;
    if best.rule.rank <= 0 && best.rule.class.fault() == Fault::Recipient {
        let blames = |found: &&Match<'_>| {
            let is_sender = !found.rule.weak && found.rule.class.fault() == Fault::Sender;
            is_sender && text.parts(found.start(), best.start()) && found.is_blame(text)
        };
        return Some(pick(&mut found.iter().filter(blames)).unwrap_or(best));
    }
    let start = best.start();
    let is_aside = match best.rule.class.fault() {
        Fault::Recipient | Fault::Unknown => false,
        Fault::Sender => !text.is_meant(start),
        Fault::Passing => true,
    };
    if best.rule.weak || best.rule.rank > 0 || !is_aside {
        return Some(best);
    }
    let dead = |found: &&Match<'_>| {
        let is_dead = matches!(found.rule.class, Class::NoMailbox | Class::NoDomain);
        is_dead && !found.rule.weak && found.start() < start && text.parts(found.start(), start)
    };
    Some(pick(&mut found.iter().filter(dead)).unwrap_or(best))
}

impl<'r> Match<'r> {
    fn of(rule: &'r Rule, parts: Parts, words: &[&str]) -> Self {
        let letters = |part: &Hit| -> usize {
            words[part.start..part.end].iter().map(|word| word.chars().count() + 1).sum()
        };
        let length = parts.iter().map(letters).sum::<usize>() + parts.rest.len() - 1;
        Match { rule, length, parts }
    }

    /// The first word that was recognised.
    fn start(&self) -> usize {
        self.parts.first.start
    }

    /// Whether it says of the sender, and of this message, what became of it.
    fn is_blame(&self, text: &Words<'_>) -> bool {
        let last = text.words.get(self.end().saturating_sub(1)).copied();
        let is_so = matches!(
            last.unwrap_or_default(),
            "banned" | "blacklisted" | "blocked" | "blocklisted" | "denied" | "listed" | "rejected"
        );
        let first = text.words.get(self.start()).copied().unwrap_or_default();
        let is_sender = matches!(first, "client" | "ip" | "sender" | "your");
        is_so && is_sender && text.is_meant(self.start())
    }

    /// The word behind the last that was recognised.
    fn end(&self) -> usize {
        self.parts.last().end
    }

    fn told(self, words: &[&str]) -> Found<'r> {
        if !self.rule.phrase.contains('{') {
            return Found { rule: self.rule, words: String::new() };
        }
        let said = self.parts.iter().map(|part| words[part.start..part.end].join(" "));
        Found { rule: self.rule, words: said.collect::<Vec<_>>().join(" \u{2026} ") }
    }
}

impl Found<'_> {
    /// What it means; `passing`: where the server said 4, or that it may be otherwise later. What
    /// is shut or moved then will be open, or have arrived, and what nothing explains has failed
    /// for now.
    pub fn class(&self, passing: bool) -> Class {
        match self.rule.class {
            class if !passing => class,
            Class::Disabled | Class::Moved | Class::Unexplained => Class::System,
            class => self.rule.soft.unwrap_or(class),
        }
    }

    /// What was recognised: the phrase, or the words that its groups stood for.
    pub fn evidence(&self) -> String {
        match self.words.is_empty() {
            true => self.rule.phrase.clone(),
            false => self.words.clone(),
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

    /// Whether the phrase may stand there, in what is read from a word on.
    fn fits(&self, hit: &Hit, text: &Words<'_>, from: usize) -> bool {
        let Some(before) = text.breaks.get(hit.start) else { return false };
        let is_first = hit.start == from || before.ends || before.cut;
        let is_whole = hit.start == from && hit.end == text.words.len() && !text.links;
        (!self.whole || is_whole)
            && (!self.named || is_first && before.mailbox)
            && (!hit.parted || self.whole)
            && !((self.named || hit.end > hit.start + 1) && text.describes(hit.end - 1))
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
