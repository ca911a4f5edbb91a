//! The `hold` table: from when on new suppressions are a mass that is held back.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::section::{Field, Section, shown};
use crate::model::Hold;

const COUNTS: RangeInclusive<u64> = 1..=1_000_000;
const SPANS: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 60 * 60);

/// What masses can be told apart by.
const BY: [&str; 3] = ["source", "domain", "class"];

/// The `[hold]` table. Without it nothing is held.
pub(super) fn hold(section: Section<'_>) -> Hold {
    let default = Hold::default();
    let new = section.take("new").and_then(|field| {
        let is_table = field.value.is_table();
        if !is_table {
            let hint = "write it as { count = 500, within = \"1h\" }";
            field.problem(field.is_not("a table"), hint);
        }
        field.table().filter(|_| is_table)
    });
    let (count, within) = new.map_or((None, None), |new| {
        let count = new.take("count").and_then(|field| field.integer(COUNTS));
        let within = new.take("within").and_then(|field| field.duration(SPANS));
        new.finish();
        (count.and_then(|count| u32::try_from(count).ok()), within)
    });
    if !section.has("new") {
        let hint = "write new = { count = 500, within = \"1h\" }, or what you need";
        section.warn("new", "is absent: more than 500 within an hour are a mass", hint);
    }
    let by = section.take("by").and_then(|field| by(&field));
    section.finish();
    let by = by.unwrap_or_else(|| BY.map(str::to_owned).to_vec());
    let has = |part: &str| by.iter().any(|by| by == part);
    Hold {
        count: count.unwrap_or(default.count),
        within: within.unwrap_or(default.within),
        by_source: has(BY[0]),
        by_domain: has(BY[1]),
        by_class: has(BY[2]),
    }
}

fn by(field: &Field<'_>) -> Option<Vec<String>> {
    field.list_of(|text| {
        let hint = format!("there are: {}", BY.join(", "));
        let what = || (format!("{} is not what masses are told apart by", shown(text)), hint);
        BY.contains(&text).then(|| text.to_owned()).ok_or_else(what)
    })
}
