//! `suppressd classify`: what a reply means, by an administrator's own rows and the rules of the
//! program. Needs no daemon.

use std::io::{self, BufRead};
use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::completions;
use super::configuration;
use super::context::Context;
use super::failure::{Failure, Outcome};
use super::table::{Column, Table};
use crate::verdict::own::{self, OwnRow, Teller};
use crate::verdict::{Reply, Rulebook, Told};

/// Longest line of standard input, in bytes.
const LINE_BYTES_MAX: usize = 64 << 10;

/// The arguments of `classify`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The reply; `-` reads one a line from standard input: TEXT, or CODE<TAB>ENHANCED<TAB>TEXT
    #[arg(value_name = "TEXT")]
    text: Vec<String>,
    /// The provider that passed it on, such as `sendgrid`
    #[arg(long, requires = "provider_kind", add = completions::providers())]
    provider: Option<String>,
    /// The provider's own word for the failure, such as `invalid address`
    #[arg(long, requires = "provider")]
    provider_kind: Option<String>,
    /// The SMTP reply code
    #[arg(long, value_name = "CODE", value_parser = clap::value_parser!(u16).range(200..600))]
    smtp_code: Option<u16>,
    /// The enhanced status code
    #[arg(long, value_name = "CODE")]
    enhanced_code: Option<String>,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

const COLUMNS: &[Column] = &[
    Column::Field("CLASS", "class"),
    Column::Field("KIND", "kind"),
    Column::Field("RULE", "rule"),
    Column::Field("EVIDENCE", "evidence"),
    Column::Field("TEXT", "text"),
];

impl Arguments {
    /// Judges and prints.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let book = Rulebook::built_in().map_err(|error| Failure::Failed(error.to_string()))?;
        let told = self.told(&book)?;
        let rules = Rules { book, own: own_rows(context.config.as_deref())?, told };
        let mut table = Table::new(COLUMNS);
        let mut show = |row: Value| {
            let out = &mut context.out;
            if self.json { out.json(&row) } else { table.row(out, &row) }
        };
        let nothing =
            self.text.is_empty() && self.smtp_code.is_none() && self.enhanced_code.is_none();
        if self.text == ["-"] || (nothing && self.provider.is_none()) {
            for line in io::stdin().lock().lines() {
                let line = line.map_err(|e| Failure::Failed(format!("standard input: {e}")))?;
                if line.len() > LINE_BYTES_MAX {
                    let why = format!("a line of standard input is over {LINE_BYTES_MAX} bytes");
                    return Err(Failure::Failed(why));
                }
                show(self.line(&rules, &line))?;
            }
        } else {
            let text = self.text.join(" ");
            show(self.row(&rules, self.smtp_code, self.enhanced_code.as_deref(), &text))?;
        }
        table.end(&mut context.out)?;
        Ok(0)
    }

    /// What the provider's word means.
    fn told(&self, book: &Rulebook) -> Result<Told, Failure> {
        let (Some(provider), Some(kind)) = (&self.provider, &self.provider_kind) else {
            return Ok(Told::Mirrors);
        };
        if !book.providers().any(|known| known == provider) {
            let known: Vec<&str> = book.providers().collect();
            let why = format!("no provider {provider:?}; there are: {}", known.join(", "));
            return Err(Failure::Usage(why));
        }
        Ok(book.told(provider, kind).unwrap_or_default())
    }

    /// A line of standard input: a text, or two codes before it.
    fn line(&self, rules: &Rules, line: &str) -> Value {
        let mut parts = line.splitn(3, '\t');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(code), Some(enhanced), Some(text)) => {
                let enhanced = Some(enhanced.trim()).filter(|code| !code.is_empty());
                let smtp = code.trim().parse().ok();
                self.row(rules, smtp, enhanced, text)
            }
            _ => self.row(rules, self.smtp_code, self.enhanced_code.as_deref(), line),
        }
    }

    fn row(&self, rules: &Rules, smtp: Option<u16>, enhanced: Option<&str>, text: &str) -> Value {
        let reply = Reply { smtp, enhanced, text };
        let teller = Teller { provider: self.provider.as_deref(), source: None };
        let (judgement, kind) = own::judge(&rules.own, teller, &reply).unwrap_or_else(|| {
            let judgement = rules.book.judge(&reply, rules.told);
            let kind = judgement.class.kind();
            (judgement, kind)
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

/// What judges.
struct Rules {
    book: Rulebook,
    /// The administrator's own rows, which come first.
    own: Vec<OwnRow>,
    /// What the provider's word means.
    told: Told,
}

/// The rows of the file that is named; else those of the usual one, if it is there and can be read.
fn own_rows(named: Option<&Path>) -> Result<Vec<OwnRow>, Failure> {
    match configuration::load_for_a_look(&configuration::file(named)) {
        Ok(config) => Ok(config.reading.judge.own),
        Err(problems) if named.is_some() => Err(Failure::Configuration(problems.to_string())),
        Err(_) => Ok(Vec::new()),
    }
}
