//! `suppressd classify`: what a reply means, by an administrator's own rows and the rules of the
//! program. Needs no daemon.

use std::io::{self, BufRead, Read as _};
use std::ops::RangeInclusive;
use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::completions;
use super::configuration;
use super::context::Context;
use super::failure::{Failure, Outcome};
use super::table::{Column, Table};
use crate::admin::there_are;
use crate::model::SourceName;
use crate::verdict::own::{self, OwnRow, Teller};
use crate::verdict::{Enhanced, Reply, Rulebook};

/// So much of a line of standard input is read, in bytes.
const LINE_BYTES_MAX: usize = 64 << 10;

/// The arguments of `classify`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The reply; `-` reads one a line from standard input: TEXT, or CODE<TAB>ENHANCED<TAB>TEXT
    #[arg(value_name = "TEXT")]
    text: Vec<String>,
    /// The provider that passed it on, such as `sendgrid`
    #[arg(long, add = completions::providers())]
    provider: Option<String>,
    /// The source that was told, one of the configuration: its own rows hold, and its provider's
    #[arg(long, value_name = "NAME", add = completions::sources())]
    source: Option<String>,
    /// The provider's own word for the failure, such as `invalid address`, or what `events` shows
    /// as `provider_kind`, such as `Bounce/Permanent/NoEmail`
    #[arg(long)]
    provider_kind: Option<String>,
    /// The SMTP reply code
    #[arg(long, value_name = "CODE", value_parser = clap::value_parser!(u16).range(200..600))]
    smtp_code: Option<u16>,
    /// The enhanced status code
    #[arg(long, value_name = "CODE", value_parser = enhanced)]
    enhanced_code: Option<String>,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

const COLUMNS: &[Column] = &[
    Column::Field("CLASS", "class"),
    Column::Word("KIND", "kind"),
    Column::Field("RULE", "rule"),
    Column::Field("EVIDENCE", "evidence"),
    Column::Field("TEXT", "text"),
];

impl Arguments {
    /// Judges and prints.
    pub(super) fn run(mut self, context: &mut Context) -> Outcome {
        let book = Rulebook::built_in().map_err(|error| Failure::Failed(error.to_string()))?;
        self.check_provider(&book)?;
        let (own, source) = self.own_rows(context.config.as_deref())?;
        if self.provider_kind.is_some() && self.provider.is_none() {
            let why = "--provider-kind needs --provider, or --source, to tell whose word it is";
            return Err(Failure::Usage(why.to_owned()));
        }
        let rules = Rules { book, own, source };
        let mut table = Table::new(COLUMNS);
        let nothing =
            self.text.is_empty() && self.smtp_code.is_none() && self.enhanced_code.is_none();
        if self.text == ["-"] || (nothing && self.provider_kind.is_none()) {
            let (mut input, mut number) = (io::stdin().lock(), 0_u64);
            let asked = self.text == ["-"];
            while let Some(line) = Line::read(&mut input)? {
                number += 1;
                let (row, problem) = self.line(&rules, line);
                if let Some(problem) = problem {
                    context.out.note(&format!("line {number}: {problem}"));
                }
                self.show(context, &mut table, &row)?;
            }
            if number == 0 && !asked {
                return Err(nothing_to_judge());
            }
        } else {
            let text = self.text.join(" ");
            let is_coded = self.smtp_code.is_some() || self.enhanced_code.is_some();
            if text.trim().is_empty() && !is_coded && self.provider_kind.is_none() {
                return Err(nothing_to_judge());
            }
            let row = self.row(&rules, self.smtp_code, self.enhanced_code.as_deref(), &text);
            self.show(context, &mut table, &row)?;
        }
        table.end(&mut context.out)?;
        Ok(0)
    }

    /// The rows of the file that is named; else those of the usual one, if it is there and can be
    /// read. With `--source`, it must be, and its provider is meant unless another is named.
    fn own_rows(
        &mut self,
        file: Option<&Path>,
    ) -> Result<(Vec<OwnRow>, Option<SourceName>), Failure> {
        let is_needed = file.is_some() || self.source.is_some();
        let config = match configuration::load_for_a_look(&configuration::file(file)) {
            Ok(config) => config,
            Err(problems) if is_needed => {
                return Err(Failure::Configuration(problems.to_string()));
            }
            Err(_) => return Ok((Vec::new(), None)),
        };
        let own = config.reading.judge.own;
        let Some(name) = &self.source else { return Ok((own, None)) };
        let named = config.sources.iter().find(|source| source.name.as_str() == name);
        let unknown = || {
            let names = there_are(config.sources.iter().map(|source| source.name.as_str()));
            Failure::Usage(format!("there is no source named {name:?}{names}"))
        };
        let source = named.ok_or_else(unknown)?;
        self.provider.get_or_insert_with(|| source.provider.name().to_owned());
        Ok((own, Some(source.name.clone())))
    }

    fn show(&self, context: &mut Context, table: &mut Table, row: &Value) -> Result<(), Failure> {
        let out = &mut context.out;
        if self.json { out.json(row) } else { table.row(out, row) }
    }

    fn check_provider(&self, book: &Rulebook) -> Result<(), Failure> {
        let Some(provider) = &self.provider else { return Ok(()) };
        if book.providers().any(|known| known == provider) {
            return Ok(());
        }
        Err(Failure::Usage(format!("no provider {provider:?}{}", there_are(book.providers()))))
    }

    /// A line of standard input: a text, or two codes before it. Judged whatever is wrong with it,
    /// which is told.
    fn line(&self, rules: &Rules, line: Line) -> (Value, Option<String>) {
        let (text, mut problem) = line.text();
        let mut parts = text.splitn(3, '\t');
        let (Some(code), Some(given), Some(said)) = (parts.next(), parts.next(), parts.next())
        else {
            let row = self.row(rules, self.smtp_code, self.enhanced_code.as_deref(), &text);
            return (row, problem);
        };
        let (code, given) = (code.trim(), given.trim());
        let smtp = code.parse().ok().filter(|code| CODES.contains(code));
        let known = enhanced(given).ok();
        if smtp.is_none() && !code.is_empty() {
            problem = Some(format!("{} is no reply code, and does not count", shown(code)));
        } else if known.is_none() && !given.is_empty() {
            problem = Some(format!("{} is no enhanced code, and does not count", shown(given)));
        }
        (self.row(rules, smtp, known.as_deref(), said), problem)
    }

    fn row(&self, rules: &Rules, smtp: Option<u16>, enhanced: Option<&str>, text: &str) -> Value {
        let reply = Reply { smtp, enhanced, text };
        let teller = Teller { provider: self.provider.as_deref(), source: rules.source.as_ref() };
        let (judgement, kind) = own::judge(&rules.own, teller, &reply).unwrap_or_else(|| {
            let provider = teller.provider.unwrap_or_default();
            let kind = self.provider_kind.as_deref().unwrap_or_default();
            rules.book.judge_shown(provider, kind, &reply)
        });
        json!({
            "text": text,
            "class": judgement.class.as_str(),
            "kind": kind.as_str(),
            "rule": judgement.rule,
            "evidence": judgement.evidence,
        })
    }
}

/// So many signs of a wrong code are shown.
const SHOWN_MAX: usize = 20;

/// A wrong code in quotes, as far as it tells which one it is.
fn shown(code: &str) -> String {
    match code.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{:?}\u{2026}", &code[..end]),
        None => format!("{code:?}"),
    }
}

fn nothing_to_judge() -> Failure {
    Failure::Usage("there is nothing to judge; give a reply's text, or `-` and one a line".into())
}

/// What judges.
struct Rules {
    book: Rulebook,
    /// The administrator's own rows, which come first.
    own: Vec<OwnRow>,
    /// The source whose rows hold too.
    source: Option<SourceName>,
}

/// A line of standard input, as far as it is read.
struct Line {
    bytes: Vec<u8>,
    /// There was more of it.
    is_cut: bool,
}

impl Line {
    /// The next one, if there is one.
    fn read(input: &mut impl BufRead) -> Result<Option<Line>, Failure> {
        let failed = |error: io::Error| Failure::Failed(format!("standard input: {error}"));
        let mut bytes = Vec::new();
        // Room for the line's end.
        let mut most = input.by_ref().take(LINE_BYTES_MAX as u64 + 2);
        if most.read_until(b'\n', &mut bytes).map_err(failed)? == 0 {
            return Ok(None);
        }
        let is_ended = bytes.last() == Some(&b'\n');
        while matches!(bytes.last(), Some(b'\n' | b'\r')) {
            bytes.pop();
        }
        let is_cut = bytes.len() > LINE_BYTES_MAX;
        bytes.truncate(LINE_BYTES_MAX);
        if !is_ended && is_cut {
            input.skip_until(b'\n').map_err(failed)?;
        }
        Ok(Some(Line { bytes, is_cut }))
    }

    /// Its text, and what is wrong with it.
    fn text(self) -> (String, Option<String>) {
        let is_cut = self.is_cut.then(|| format!("is cut behind {LINE_BYTES_MAX} bytes"));
        match String::from_utf8(self.bytes) {
            Ok(text) => (text, is_cut),
            Err(error) => {
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let strange = "has bytes that are no UTF-8, and do not count".to_owned();
                (text, is_cut.or(Some(strange)))
            }
        }
    }
}

/// The reply codes that there are.
const CODES: RangeInclusive<u16> = 200..=599;

/// An enhanced status code (RFC 3463), as it is written.
fn enhanced(text: &str) -> Result<String, String> {
    let text = text.trim();
    let known = Enhanced::parse(text).map(|_| text.to_owned());
    known.ok_or_else(|| "write three numbers, the first of them 2, 4 or 5, as in 5.1.1".to_owned())
}
