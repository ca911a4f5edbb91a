//! `suppressd rejudge`: what the present rules make of what the journal holds.

use clap::Args;
use serde_json::Value;

use super::arguments::Limit;
use super::context::Context;
use super::failure::Outcome;
use super::row;
use super::table::Column;
use crate::admin::Command;

/// The arguments of `rejudge`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Make it so; without it nothing is changed
    #[arg(long)]
    apply: bool,
    /// Only show what would change, as without --apply
    #[arg(long, conflicts_with = "apply")]
    dry_run: bool,
    #[command(flatten)]
    first: Limit,
    /// Print JSON, one object a line, the last with the counts
    #[arg(long)]
    json: bool,
}

const COLUMNS: &[Column] = &[
    Column::Field("ADDRESS", "address"),
    Column::Field("SCOPE", "scope"),
    Column::Field("FROM", "from"),
    Column::Field("TO", "to"),
    Column::Field("HELD", "held"),
    Column::Field("WHY", "why"),
];

impl Arguments {
    /// Asks, shows progress on a terminal, prints what changes, and counts at the end.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let command = Command::Rejudge { apply: self.apply };
        context.show_counted(self.first.limit, &command, self.json, COLUMNS, summary)
    }
}

fn summary(row: &Value) -> String {
    let count = |key| row::given(row, key).unwrap_or_else(|| "0".to_owned());
    let (addresses, changed, corrected) =
        (count("addresses"), count("changed"), count("corrected"));
    let end = match (row::is(row, "applied"), &*corrected) {
        (_, "0") => "",
        (true, _) => "; it is done",
        (false, _) => "; nothing was changed: --apply makes it so",
    };
    let held = match (&*count("held"), row::is(row, "applied")) {
        ("0", _) => String::new(),
        (held, true) => format!("; held back with a mass: {held}, see `suppressd held`"),
        (held, false) => format!("; [hold] would hold back {held} of them"),
    };
    let leaving = row::list(row, "leaving")
        .iter()
        .map(|of| format!("{} leave export {}", row::text(of, "rows"), row::text(of, "export")));
    let leaving: Vec<String> = leaving.collect();
    let leaving = match (leaving.is_empty(), row::is(row, "applied")) {
        (true, _) => String::new(),
        (false, true) => format!("; {}", leaving.join(", ")),
        (false, false) => {
            format!("; {}, and max_shrink would not hold them back", leaving.join(", "))
        }
    };
    let rest = match row::is(row, "resumed") {
        true => "going on where a run was broken off, so of the rest only: ",
        false => "",
    };
    format!(
        "{rest}{addresses} addresses that have failed: {changed} verdicts change, in {corrected} \
         facts read otherwise{end}{held}{leaving}"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_counts_are_one_line() {
        let row = json!({"found": "summary", "addresses": 9, "changed": 2, "corrected": 3,
            "applied": false});
        let line = "9 addresses that have failed: 2 verdicts change, in 3 facts read otherwise; \
                    nothing was changed: --apply makes it so";
        assert_eq!(summary(&row), line);
        let row =
            json!({"addresses": 9, "changed": 2, "corrected": 3, "applied": false, "held": 1});
        assert_eq!(summary(&row), format!("{line}; [hold] would hold back 1 of them"));
        let row = json!({"addresses": 9, "changed": 2, "corrected": 3, "applied": false,
            "leaving": [{"export": "postfix", "rows": 2}]});
        let end = "; 2 leave export postfix, and max_shrink would not hold them back";
        assert!(summary(&row).ends_with(end), "{}", summary(&row));
        let row = json!({"addresses": 9, "changed": 2, "corrected": 3, "applied": true, "held": 1});
        let end = "it is done; held back with a mass: 1, see `suppressd held`";
        assert!(summary(&row).ends_with(end), "{}", summary(&row));
        let row = json!({"addresses": 9, "applied": true, "resumed": true});
        assert!(summary(&row).contains("of the rest only: 9"), "{}", summary(&row));
    }
}
