//! What the tests of this module share.

use std::path::Path;
use std::time::Duration;

use super::{ALL, Entry, Format, Hash, Rows, Settings, Style, Table, Unfit};
use crate::model::reply::Refusals;
use crate::model::{
    Address, EventId, Fact, Filter, Gist, Latest, Lift, Lifts, Reason, Scope, SourceName, Standing,
    Telling, Time, Until,
};
use crate::store::{StandingRow, StoreError, Visit};

/// The format of that name.
pub(super) fn format(name: &str) -> &'static dyn Format {
    *ALL.iter().find(|format| format.name() == name).unwrap()
}

/// The usual style of a format.
pub(super) fn style(format: &dyn Format) -> Style {
    style_in(format, Table::Text)
}

/// The same, in that table.
pub(super) fn style_in(format: &dyn Format, table: Table) -> Style {
    Style::new(format, table, Hash::Sha256, &Refusals::default())
}

/// An export that fixes nothing.
pub(super) fn settings(path: &Path) -> Settings {
    let format = format("postfix-access");
    Settings {
        name: "postfix".to_owned(),
        format,
        style: style(format),
        path: path.to_owned(),
        filter: Filter::default(),
        min_interval: Duration::from_secs(1),
        max_shrink: 50,
        command: vec![],
        owner: None,
        group: None,
        mode: None,
    }
}

/// Calls back with what a format is given of an address, suppressed by hand for ever.
pub(super) fn with_entry(address: &str, then: impl FnOnce(&Entry<'_>)) {
    let parsed = Address::parse(address).unwrap();
    then(&Entry {
        local: parsed.local(),
        domain: parsed.domain(),
        spelling: address,
        scope: &Scope::Global,
        reason: Reason::Manual,
        since: Time::from_seconds(0),
        until: Until::Forever,
        style: &style(format("postfix-access")),
    });
}

/// The keys and values of an address in a format.
pub(super) fn rows(name: &str, address: &str) -> Result<Vec<(String, String)>, Unfit> {
    let mut rows = Rows::default();
    let mut result = Ok(());
    with_entry(address, |entry| {
        let style = &style(format(name));
        result = format(name).rows(&Entry { style, ..*entry }, &mut rows);
    });
    let owned = |row: super::Row<'_>| (row.key.to_owned(), row.value.to_owned());
    result.map(|()| rows.iter().map(owned).collect())
}

/// The keys alone.
pub(super) fn keys(rows: Vec<(String, String)>) -> Vec<String> {
    rows.into_iter().map(|(key, _)| key).collect()
}

/// A standing with one ground, of the first second.
pub(super) fn standing(address: &str, scope: Scope, reason: Reason, until: Until) -> StandingRow {
    let mut standing = Standing::default();
    let at = Time::from_seconds(1);
    let evidence = EventId::from_bytes([0; 16]);
    let latest = Latest { at, until, evidence, class: None, note: None };
    let fact = Fact::Ground { reason, source: SourceName::operator(), latest };
    standing.merge(address, fact, &Telling::BY_DATE);
    (address.to_owned(), scope, standing)
}

/// A standing that was lifted.
pub(super) fn lifted(address: &str) -> StandingRow {
    let (key, scope, mut standing) =
        self::standing(address, Scope::Global, Reason::Manual, Until::Forever);
    let covers = Lifts { reason: None, source: None };
    let lift = Lift { covers, through: Time::from_seconds(2), theirs: false };
    standing.merge(address, Fact::Lift(lift), &Telling::BY_DATE);
    (key, scope, standing)
}

/// Goes through rows as the store does.
pub(super) fn visit(rows: &[StandingRow], each: Visit<'_>) -> Result<(), StoreError> {
    rows.iter().try_for_each(|(address, scope, of)| each(address, scope, &Gist::of(of)))
}
