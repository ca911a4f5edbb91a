//! The files of rules as they are written: their rows, phrases and spans of codes.
//!
//! A phrase has gaps (`…`), groups (`{box}`: any word of the group of that name), and may leave its
//! last word open (`*`).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::codes::{Enhanced, Weight};
use super::rulebook::{CodeRow, Condition, Rule};
use super::text::Reading;
use super::tree::Step;
use crate::model::Class;

/// Reply codes, from one to another.
pub(super) type Range = std::ops::RangeInclusive<u16>;

/// Words that stand for each other in phrases, by their name.
pub(super) type Groups = BTreeMap<String, Vec<String>>;

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
pub(super) struct File {
    pub(super) source: String,
    /// Words of the reporting program behind which the reply of another server stands.
    #[serde(default)]
    pub(super) frames: Vec<String>,
    /// Words with which that program ends, and that say nothing of why; behind a dot where they
    /// are a sentence.
    #[serde(default)]
    pub(super) closings: Vec<String>,
    #[serde(default)]
    pub(super) group: Groups,
    /// Groups of names: what describes a name stands before it without a comma or colon.
    #[serde(default)]
    pub(super) names: Vec<String>,
    #[serde(default)]
    pub(super) rule: Vec<RuleRow>,
    #[serde(default)]
    pub(super) code: Vec<Row>,
    #[serde(default)]
    pub(super) reply: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleRow {
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
    #[serde(default)]
    whole: bool,
    #[serde(default)]
    named: bool,
    #[serde(default)]
    soft: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    codes: Vec<String>,
    class: String,
    weight: String,
    #[serde(default)]
    source: Option<String>,
}

impl Span {
    /// Whether there are such codes, and failures have them.
    pub(super) fn is_of_failures(self) -> bool {
        self.class.is_none_or(|class| matches!(class, 4 | 5)) && self.first <= self.last
    }

    /// Whether a code is one of these.
    pub(super) fn has(self, code: Enhanced) -> bool {
        self.subject == code.subject
            && (self.first..=self.last).contains(&code.detail)
            && self.class.is_none_or(|class| class == code.class)
    }
}

/// The rows that one row of a file stands for: one a phrase.
pub(super) fn phrases(
    family: &'static str,
    source: &str,
    row: RuleRow,
    groups: &Groups,
) -> Result<Vec<Rule>, String> {
    let class = |name: &str| Class::parse(name).ok_or_else(|| format!("no class {name:?}"));
    let of = class(&row.class)?;
    let soft = row.soft.as_deref().map(class).transpose()?;
    let with: Vec<Condition> =
        row.with.iter().map(|text| condition(text)).collect::<Result<_, _>>()?;
    let source = row.source.as_deref().unwrap_or(source);
    let rule = |(index, phrase): (usize, &String)| {
        let example = first_way(phrase, groups)?;
        if Reading::plain(&example).trim().chars().count() < 2 {
            return Err(format!("the phrase {phrase:?} is too short"));
        }
        Ok(Rule {
            goes_over: Reading::plain(phrase).contains(" . "),
            family,
            phrase: phrase.clone(),
            class: of,
            source: source.to_owned(),
            example: row.example.get(index).unwrap_or(&example).clone(),
            weak: row.weak,
            rank: row.rank,
            whole: row.whole,
            named: row.named,
            soft,
            with: with.clone(),
        })
    };
    row.any.iter().enumerate().map(rule).collect()
}

fn condition(text: &str) -> Result<Condition, String> {
    if let Ok(reply) = text.parse() {
        return Ok(Condition::Reply(reply));
    }
    let span = span(text).filter(|span| span.first == span.last);
    let span = span.ok_or_else(|| format!("{text:?} is neither a reply code nor x.n.n"))?;
    Ok(Condition::Enhanced(span.subject, span.first))
}

pub(super) fn code_rows<C>(
    source: &str,
    row: Row,
    read: impl Fn(&str) -> Option<C>,
) -> Result<Vec<(C, CodeRow)>, String> {
    let class = Class::parse(&row.class).ok_or_else(|| format!("no class {:?}", row.class))?;
    let weight = match row.weight.as_str() {
        "final" => Weight::Final,
        "blame" => Weight::Blame,
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
pub(super) fn range(text: &str) -> Option<Range> {
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

/// The pieces between the gaps (`…`), each in its steps. `*` at the end of a word leaves it open,
/// and ends the piece.
pub(super) fn split(phrase: &str, groups: &Groups) -> Result<Vec<Vec<Step>>, String> {
    let phrase = phrase.replace("* ", "*\u{2026}");
    let pieces = phrase.split('\u{2026}').map(|piece| steps(piece, groups));
    let pieces: Vec<Vec<Step>> = pieces.collect::<Result<_, _>>()?;
    Ok(pieces.into_iter().filter(|steps| !steps.is_empty()).collect())
}

fn steps(piece: &str, groups: &Groups) -> Result<Vec<Step>, String> {
    let mut steps: Vec<Step> = Vec::new();
    let words = |text: &str| -> Vec<Step> {
        let plain = Reading::plain(text);
        let step = |word: &str| if word == "." { Step::End } else { Step::Word(word.to_owned()) };
        plain.split_whitespace().map(step).collect()
    };
    let mut rest = piece;
    while let Some((before, group)) = rest.split_once('{') {
        let (name, after) = group.split_once('}').ok_or("a group has no end")?;
        let number = groups.keys().position(|known| known == name);
        let number = number.ok_or_else(|| format!("no group {name:?}"))?;
        steps.extend(words(before));
        steps.push(Step::Group(number as u32));
        rest = after;
    }
    steps.extend(words(rest));
    // What stands beside a gap, or at either end, is no matter.
    while steps.first() == Some(&Step::End) {
        steps.remove(0);
    }
    while steps.last() == Some(&Step::End) {
        steps.pop();
    }
    if rest.trim().ends_with('*')
        && let Some(Step::Word(word)) = steps.pop()
    {
        steps.push(Step::Open(word));
    }
    Ok(steps)
}

/// A phrase with the first words of its groups.
fn first_way(phrase: &str, groups: &Groups) -> Result<String, String> {
    let mut way = phrase.to_owned();
    while let Some((before, group)) = way.split_once('{') {
        let (name, after) = group.split_once('}').ok_or("a group has no end")?;
        let first = groups.get(name).and_then(|words| words.first());
        let first = first.ok_or_else(|| format!("no group {name:?}"))?;
        way = format!("{before}{first}{after}");
    }
    Ok(way)
}
