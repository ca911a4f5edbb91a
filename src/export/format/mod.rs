//! The formats: what a row says, one file each, and what they share.
//!
//! Pure: suppressions become rows. `key` has the spellings that a reader may look up, `field` the
//! quoting of CSV and JSON.

mod field;
mod key;

mod brevo;
mod csv;
mod csv_guarded;
mod exim;
mod haraka;
mod hashed;
mod json_lines;
mod kumomta;
mod mailgun;
mod opensmtpd;
mod plain;
mod postfix;
mod postmark;
mod regexp;
mod rspamd;
mod sendgrid;
mod sendmail;
mod ses;

use crate::model::reply::Refusals;
use crate::model::{Reason, Scope, Time, Until};

use super::Table;
use super::rows::Rows;
#[cfg(test)]
use super::test;

/// Every format that an export can name. README's table is checked against this list.
pub static ALL: &[&dyn Format] = &[
    &postfix::TRANSPORT,
    &postfix::ACCESS,
    &regexp::Postfix,
    &exim::Exim,
    &opensmtpd::OpenSmtpd,
    &sendmail::Sendmail,
    &haraka::Haraka,
    &rspamd::Rspamd,
    &regexp::Rspamd,
    &kumomta::KumoMta,
    &plain::Plain,
    &csv::Csv,
    &csv_guarded::CsvGuarded,
    &json_lines::JsonLines,
    &hashed::Hashed,
    &brevo::Brevo,
    &mailgun::BOUNCES,
    &mailgun::COMPLAINTS,
    &mailgun::UNSUBSCRIBES,
    &postmark::Postmark,
    &sendgrid::SendGrid,
    &ses::Ses,
];

/// What makes a hash of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// MD5, for those who take nothing else.
    Md5,
}

impl Hash {
    /// Its name, as the configuration has it.
    pub fn name(self) -> &'static str {
        match self {
            Hash::Sha256 => "sha256",
            Hash::Md5 => "md5",
        }
    }
}

/// Why a format cannot carry an address. Such addresses are left out, counted and reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(pub &'static str);

/// One suppressed address, as a format is asked to write it.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    /// The local part of the address's key: case-folded, quoted only if it must be.
    pub local: &'a str,
    /// The domain of the key: lower case, A-labels.
    pub domain: &'a str,
    /// The address as a provider or operator spelled it.
    pub spelling: &'a str,
    /// What it covers, for formats that have a row for each scope.
    pub scope: &'a Scope,
    /// The weightiest reason.
    pub reason: Reason,
    /// Since when.
    pub since: Time,
    /// Until when.
    pub until: Until,
    /// How the export is written.
    pub style: &'a Style,
}

impl<'a> Entry<'a> {
    /// What the reader answers for it, as [`Format::answer`] made it.
    pub fn answer(&self) -> &'a str {
        self.style.answers.get(self.reason as usize).map_or("", String::as_str)
    }
}

impl PartialEq for dyn Format {
    fn eq(&self, other: &dyn Format) -> bool {
        self.name() == other.name()
    }
}

/// What an export's configuration says about the writing of its rows, beside the format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Style {
    /// What holds the rows.
    pub table: Table,
    /// What makes hashes, where the format has them.
    pub hash: Hash,
    /// By reason, in order of [`Reason::ALL`].
    answers: Vec<String>,
}

impl Style {
    /// The style of an export in that format. `replies` were checked by the format.
    pub fn new(format: &dyn Format, table: Table, hash: Hash, replies: &Refusals) -> Style {
        let answer = |reason| match format.has_replies() {
            true => format.answer(&replies.get(reason)),
            false => String::new(),
        };
        Style { table, hash, answers: Reason::ALL.into_iter().map(answer).collect() }
    }
}

/// What a text file of rows is put together from.
pub struct Shape {
    /// Before all rows.
    pub head: &'static str,
    /// Before the key of each row.
    pub open: &'static str,
    /// Between the key and the value of each row.
    pub separator: &'static str,
    /// How many cells the key has, which have separators between them too.
    pub key_cells: usize,
    /// After the value of each row. Open, separator and close hold one line break together.
    pub close: &'static str,
    /// Between a row and the next.
    pub joiner: &'static str,
    /// After all rows.
    pub foot: &'static str,
    /// Whether a separator between quotation marks is a part of the key.
    pub quotes: bool,
}

impl Shape {
    /// A row a line, without anything around them.
    pub const LINES: Shape = Shape {
        head: "",
        open: "",
        separator: "",
        key_cells: 1,
        close: "\n",
        joiner: "",
        foot: "",
        quotes: true,
    };
}

/// One MTA's or provider's file format.
pub trait Format: Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &'static str;

    /// The lines to paste into the reader's configuration, or how to hand it the file.
    /// `{path}` stands for the file, `{map}` for the file without the table's ending, `{type}`
    /// and `{scheme}` for how the reader calls the table. Empty: there is no one reader.
    fn config(&self) -> &'static str {
        ""
    }

    /// The end that a table's path must have, because the reader adds it to the name it is given.
    fn ending(&self, _table: Table) -> &'static str {
        ""
    }

    /// The type by which the reader reads a text as it is, where it has another for what a command
    /// compiles of it.
    fn uncompiled(&self) -> Option<&'static str> {
        None
    }

    /// How the reader calls a table, as its type and as a scheme.
    fn called(&self, table: Table) -> [&'static str; 2] {
        [table.as_str(); 2]
    }

    /// What can hold its rows. The first does unless the configuration says otherwise.
    fn tables(&self) -> &'static [Table] {
        &[Table::Text]
    }

    /// The text file around and between rows.
    fn shape(&self) -> &'static Shape {
        &Shape::LINES
    }

    /// The reasons that are in such a file unless the configuration names others. Empty: all.
    fn reasons(&self) -> &'static [Reason] {
        &[]
    }

    /// Whether rows are hashes of addresses, so that the configuration chooses which.
    fn hashes(&self) -> bool {
        false
    }

    /// Whether an address has a row for each of its scopes.
    fn is_by_scope(&self) -> bool {
        false
    }

    /// Whether addresses that the reader cannot tell apart have one row, so that the end of one
    /// need not be that of the row.
    fn shares_keys(&self) -> bool {
        false
    }

    /// Whether its rows hold a reply.
    fn has_replies(&self) -> bool {
        false
    }

    /// Whether a configured reply can be used.
    ///
    /// # Errors
    /// Says what it must be.
    fn check_reply(&self, _reply: &str) -> Result<(), String> {
        Ok(())
    }

    /// What a row holds to have this reply given, which was checked and has its reason in words.
    fn answer(&self, reply: &str) -> String {
        reply.to_owned()
    }

    /// Adds the rows of one address: more than one where the reader would look for other
    /// spellings. Only addresses that the reader cannot tell apart have a key in common.
    ///
    /// # Errors
    /// When the format cannot carry the address. The rows that were added do not count then.
    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit>;
}
