//! What the tests of this module share.

use std::path::Path;
use std::time::Duration;

use super::{ALL, Settings};
use crate::model::{
    EventId, Fact, Filter, Latest, Reason, Scope, SourceName, Standing, Time, Until,
};
use crate::store::StandingRow;

/// An export that fixes nothing.
pub(super) fn settings(path: &Path) -> Settings {
    Settings {
        name: "postfix".to_owned(),
        format: ALL[0],
        path: path.to_owned(),
        filter: Filter::default(),
        reply: ALL[0].default_reply().to_owned(),
        min_interval: Duration::from_secs(1),
        max_shrink: 50,
        command: vec![],
        owner: None,
        group: None,
        mode: None,
    }
}

/// A standing with one ground, of the first second.
pub(super) fn standing(address: &str, scope: Scope, reason: Reason, until: Until) -> StandingRow {
    let mut standing = Standing::default();
    let at = Time::from_seconds(1);
    let latest = Latest { at, until, evidence: EventId::from_bytes([0; 16]), note: None };
    standing.merge(address, Fact::Ground { reason, source: SourceName::operator(), latest });
    (address.to_owned(), scope, standing)
}
