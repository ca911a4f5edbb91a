//! A table for KumoMTA's `kumo.json_load`: one JSON object from addresses to what to answer.

use super::field::json;
use super::key::each_spelling;
use super::reply::{self, Reply};
use super::{Entry, Format, Rows, Shape, Unfit};

const SHAPE: Shape =
    Shape { head: "{", open: "\n", separator: ": ", close: "", joiner: ",", foot: "\n}\n" };

/// `kumomta`.
pub(super) struct KumoMta;

impl Format for KumoMta {
    fn name(&self) -> &'static str {
        "kumomta"
    }

    fn shape(&self) -> &'static Shape {
        &SHAPE
    }

    fn default_reply(&self) -> Option<&'static str> {
        Some(reply::DEFAULT)
    }

    fn check_reply(&self, reply: &str) -> Result<(), String> {
        reply::check_permanent(reply).map(|_| ())
    }

    /// The policy gives the SMTP code itself.
    fn answer(&self, reply: &str) -> String {
        let Some(parts) = Reply::parse(reply) else { return String::new() };
        json(&format!("{} {}", parts.status(), parts.text))
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        each_spelling(entry, |local, domain| {
            rows.add(&[&json(&format!("{local}@{domain}"))], &[entry.answer()]);
        });
        Ok(())
    }
}
