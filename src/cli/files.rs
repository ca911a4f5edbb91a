//! What the exports' files say of the addresses of a command, in a line for each export and answer.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::failure::Failure;
use super::output::Output;
use super::row;

/// What the rows of a command have told.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// By export and what its file says: of how many addresses.
    counts: BTreeMap<(String, String), u64>,
    hint: Option<String>,
}

impl Files {
    /// Takes what one row tells.
    pub(super) fn take(&mut self, answer: &Value) {
        for export in row::list(answer, "exports") {
            let key = (row::text(export, "name"), row::text(export, "detail"));
            let addresses = export.get("addresses").and_then(Value::as_u64).unwrap_or(1);
            *self.counts.entry(key).or_default() += addresses;
        }
        self.hint = row::given(answer, "hint").or(self.hint.take());
    }

    /// Prints it, unless nothing but the answer is asked for.
    pub(super) fn print(&self, out: &mut Output) -> Result<(), Failure> {
        if out.is_quiet() {
            return Ok(());
        }
        let exports: BTreeSet<&String> = self.counts.keys().map(|(export, _)| export).collect();
        // One address needs no number: each export says one thing of it.
        let one = self.counts.values().sum::<u64>() == exports.len() as u64;
        if !exports.is_empty() {
            out.line("")?;
        }
        for ((export, detail), addresses) in &self.counts {
            let of = match addresses {
                _ if one => String::new(),
                1 => " (1 address)".to_owned(),
                several => format!(" ({several} addresses)"),
            };
            out.line(&format!("{export}: {detail}{of}"))?;
        }
        self.hint.iter().try_for_each(|hint| out.line(hint))
    }
}
