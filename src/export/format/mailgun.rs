//! Mailgun's imports (`POST /v3/DOMAIN/LIST/import`), at most 25 MB a file: a list of its own for
//! bounces, complaints and unsubscribes.
//!
//! Source: Mailgun's OpenAPI description; times are those of RFC 2822.

use super::field::csv;
use super::key::mailbox;
use super::{Entry, Format, Rows, Shape, Unfit};
use crate::model::Reason;
use crate::model::reply::words;

/// One of Mailgun's lists.
pub(super) struct Mailgun {
    name: &'static str,
    config: &'static str,
    shape: &'static Shape,
    reasons: &'static [Reason],
    /// What stands between the address and the time.
    between: fn(Reason) -> [&'static str; 3],
}

const SHAPE: Shape = Shape { separator: ",", close: "\r\n", ..Shape::LINES };

/// `mailgun-bounces`.
pub(super) static BOUNCES: Mailgun = Mailgun {
    name: "mailgun-bounces",
    config: "\
curl --user \"api:$MAILGUN_KEY\" --form \"file=@{path}\" \\
  https://api.mailgun.net/v3/$MAILGUN_DOMAIN/bounces/import
",
    shape: &Shape { head: "address,code,error,created_at\r\n", ..SHAPE },
    reasons: &[
        Reason::HardBounce,
        Reason::Invalid,
        Reason::Manual,
        Reason::ProviderListed,
        Reason::SoftBounces,
    ],
    between: |reason| ["550,", words(reason), ","],
};

/// `mailgun-complaints`.
pub(super) static COMPLAINTS: Mailgun = Mailgun {
    name: "mailgun-complaints",
    config: "\
curl --user \"api:$MAILGUN_KEY\" --form \"file=@{path}\" \\
  https://api.mailgun.net/v3/$MAILGUN_DOMAIN/complaints/import
",
    shape: &Shape { head: "address,created_at\r\n", ..SHAPE },
    reasons: &[Reason::Complaint],
    between: |_| [""; 3],
};

/// `mailgun-unsubscribes`: of all tags.
pub(super) static UNSUBSCRIBES: Mailgun = Mailgun {
    name: "mailgun-unsubscribes",
    config: "\
curl --user \"api:$MAILGUN_KEY\" --form \"file=@{path}\" \\
  https://api.mailgun.net/v3/$MAILGUN_DOMAIN/unsubscribes/import
",
    shape: &Shape { head: "address,tags,created_at\r\n", ..SHAPE },
    reasons: &[Reason::Unsubscribe],
    between: |_| ["*,", "", ""],
};

impl Format for Mailgun {
    fn name(&self) -> &'static str {
        self.name
    }

    fn config(&self) -> &'static str {
        self.config
    }

    fn shape(&self) -> &'static Shape {
        self.shape
    }

    fn reasons(&self) -> &'static [Reason] {
        self.reasons
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        let [first, second, third] = (self.between)(entry.reason);
        let since = entry.since.to_rfc_2822();
        rows.add(&[&csv(&mailbox(entry))], &[first, second, third, "\"", &since, "\""]);
        Ok(())
    }
}
