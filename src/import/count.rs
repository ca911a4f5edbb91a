//! What a file holds, counted: the ground of the decision to import it.

use std::collections::BTreeMap;

use super::row::NOT_SAID;
use super::{Recognised, Told};
use crate::model::{Reason, Time};

/// Bad rows that are kept; all are counted.
const BAD_KEPT_MAX: usize = 1_000;

/// What was told of a file, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// As what it was recognised.
    pub recognised: Option<Recognised>,
    /// Rows, of every kind.
    pub rows: u64,
    /// Rows that suppress, by reason.
    pub reasons: BTreeMap<Reason, u64>,
    /// Rows that suppress nobody, by why not.
    pub passed: BTreeMap<&'static str, u64>,
    /// Rows that cannot be read.
    pub bad: u64,
    /// The first of them: their lines, and why.
    pub first_bad: Vec<(u64, String)>,
    /// From which line on nothing can be read, and why. It counts as one bad row.
    pub lost: Option<(u64, &'static str)>,
    /// Rows without a time.
    pub undated: u64,
    /// Rows with a time that has no zone.
    pub unzoned: u64,
    /// The first and the last time.
    pub span: Option<(Time, Time)>,
    /// The sign that the file is only a part of its list.
    pub part: Option<&'static str>,
}

impl Count {
    /// Counts what is told.
    pub fn note(&mut self, told: &Told) {
        match told {
            Told::Recognised(recognised) => self.recognised = Some(recognised.clone()),
            Told::Part(sign) => self.part = Some(sign),
            Told::Passed(_, why) => {
                self.rows += 1;
                *self.passed.entry(why).or_default() += 1;
            }
            Told::Bad(line, why) => self.note_bad(*line, why),
            Told::Lost(line, why) => {
                self.lost = Some((*line, why));
                self.note_bad(*line, why);
            }
            Told::Rows(_, rows, is_zoned) => {
                self.rows += 1;
                self.unzoned += u64::from(!is_zoned);
                let Some(row) = rows.first() else { return };
                *self.reasons.entry(row.reason).or_default() += 1;
                match row.since {
                    None => self.undated += 1,
                    Some(at) => {
                        let (first, last) = self.span.unwrap_or((at, at));
                        self.span = Some((first.min(at), last.max(at)));
                    }
                }
            }
        }
    }

    fn note_bad(&mut self, line: u64, why: &str) {
        self.rows += 1;
        self.bad += 1;
        if self.first_bad.len() < BAD_KEPT_MAX {
            self.first_bad.push((line, why.to_owned()));
        }
    }

    /// Rows that suppress.
    pub fn suppressing(&self) -> u64 {
        self.reasons.values().sum()
    }

    /// Why the whole is no list of suppressions, if it is none.
    pub fn refusal(&self) -> Option<String> {
        let unsaid = self.passed.get(NOT_SAID).copied().unwrap_or(0);
        let passed: u64 = self.passed.values().sum();
        let rows = format!("{} {}", self.rows, if self.rows == 1 { "row" } else { "rows" });
        if unsaid > 0 {
            return Some(format!(
                "{rows}, {unsaid} of them without a word of being suppressed: it may be a list of \
                 all contacts; if all on it are to be suppressed, say why with `--reason`"
            ));
        }
        if self.rows > 0 && passed == self.rows {
            let why: Vec<&str> = self.passed.keys().copied().collect();
            return Some(format!("{rows}, and none is suppressed: {}", why.join("; ")));
        }
        (self.rows == 0).then(|| "there is no row in it".to_owned())
    }
}
