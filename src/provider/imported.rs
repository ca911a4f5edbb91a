//! Rows of imported files, written and read as elements like any provider's.
//!
//! Which file they come from, and what its columns meant, is settled before: `src/import/`. No
//! source can name this provider.

use serde::{Deserialize, Serialize};

use super::{Notification, Provider, Stamp, Unreadable, wire};
use crate::model::bounds::check_note;
use crate::model::trust::believed;
use crate::model::{Address, Element, Event, EventKind, Reason, Scope, Time};

/// The name that it has in the journal.
pub const IMPORT: &str = "import";

/// What reads the rows, by name.
pub(super) struct Import;

/// One row: an address and why it is suppressed. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Imported {
    /// The address, as it was spelled.
    pub address: String,
    /// Why.
    pub reason: String,
    /// What it covers; else all mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Since when; else since it was imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// When the last fact behind it was, if that is known and another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// Until when, if it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// What was said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A row whose parts were understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Understood {
    /// The address.
    pub address: Address,
    /// Why.
    pub reason: Reason,
    /// What it covers.
    pub scope: Scope,
    /// Since when.
    pub since: Option<Time>,
    /// When the last fact was.
    pub last: Option<Time>,
    /// Until when.
    pub until: Option<Time>,
}

impl Imported {
    /// Reads the parts.
    ///
    /// # Errors
    /// When one of them is not valid.
    pub fn understood(&self) -> Result<Understood, Unreadable> {
        let invalid = |what: &str| Unreadable(format!("{what} is not valid"));
        let time = |text: &Option<String>, what: &str| match text {
            None => Ok(None),
            Some(text) => Time::parse(text).map(Some).ok_or_else(|| invalid(what)),
        };
        let scope = self.scope.as_deref().unwrap_or("global");
        check_note(self.note.as_deref().unwrap_or_default()).map_err(Unreadable)?;
        Ok(Understood {
            address: wire::mailbox(&self.address)?,
            reason: Reason::parse(&self.reason).ok_or_else(|| invalid("the reason"))?,
            scope: Scope::parse(scope).ok_or_else(|| invalid("the scope"))?,
            since: time(&self.since, "the time `since`")?,
            last: time(&self.last, "the time `last`")?,
            until: time(&self.until, "the time `until`")?,
        })
    }

    /// The element that carries it.
    pub fn element(&self) -> Element {
        let body = serde_json::to_vec(self);
        #[expect(clippy::expect_used, reason = "a struct of texts always has a JSON form")]
        Element { context: String::new(), body: body.expect("texts have a JSON form") }
    }
}

/// The kind of event that a reason comes of.
fn kind(reason: Reason) -> EventKind {
    match reason {
        Reason::HardBounce => EventKind::HardBounce,
        Reason::Complaint => EventKind::Complaint,
        Reason::Unsubscribe => EventKind::Unsubscribed,
        Reason::Invalid => EventKind::Rejected,
        Reason::Manual | Reason::ProviderListed | Reason::SoftBounces => EventKind::Listed,
    }
}

impl Provider for Import {
    fn name(&self) -> &'static str {
        IMPORT
    }

    fn verification(&self) -> &'static str {
        "the control socket's permissions"
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        wire::split_json(notification.body)
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        let row: Imported = serde_json::from_slice(&element.body)
            .map_err(|error| Unreadable(format!("not an imported row: {error}")))?;
        let Understood { address, reason, scope, since, last, until } = row.understood()?;
        let at = since.map_or(stamp.received_at, |since| believed(since, stamp.received_at));
        let end = row.until.as_deref().unwrap_or("");
        let given = |time: Option<Time>| time.map_or(String::new(), |time| time.to_string());
        // The same row is the same event whenever it is imported, and another end is another.
        let event = |at, given: &str| Event {
            scope: scope.clone(),
            reason: Some(reason),
            until,
            diagnostic: row.note.clone(),
            undated: given.is_empty(),
            identity: Some(format!("{reason}:{given}:{end}")),
            ..stamp.event(IMPORT, kind(reason), reason.to_string(), address.clone(), at)
        };
        let mut events = vec![event(at, &given(since))];
        events
            .extend(last.map(|last| event(believed(last, stamp.received_at), &given(Some(last)))));
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Fact, Origin, SourceName, Until};

    fn read(row: &Imported, received: &str) -> Vec<Event> {
        let source = SourceName::parse("import").unwrap();
        let stamp = Stamp {
            source: &source,
            origin: Origin::Import,
            feed: "",
            received_at: Time::parse(received).unwrap(),
        };
        Import.read(&row.element(), &stamp).unwrap()
    }

    fn row(reason: Reason) -> Imported {
        Imported {
            address: "Gone@Example.com".into(),
            reason: reason.to_string(),
            scope: None,
            since: Some("2026-01-02T03:04:05Z".into()),
            last: None,
            until: None,
            note: Some("why".into()),
        }
    }

    #[test]
    fn every_reason_becomes_its_ground_with_its_date_and_note() {
        for reason in Reason::ALL {
            let events = read(&row(reason), "2026-06-01T00:00:00Z");
            let Some(Fact::Ground { reason: of, latest, .. }) = events[0].fact() else {
                panic!("{reason}")
            };
            assert_eq!(
                (of, latest.until, latest.note.as_deref()),
                (reason, Until::Forever, Some("why"))
            );
            assert_eq!(latest.at.to_string(), "2026-01-02T03:04:05Z");
        }
    }

    #[test]
    fn the_same_row_is_one_event_whenever_it_comes() {
        let dated = row(Reason::Manual);
        let undated = Imported { since: None, ..row(Reason::Manual) };
        let ended = Imported { until: Some("2027-01-01T00:00:00Z".into()), ..dated.clone() };
        let id = |row: &Imported, at: &str| read(row, at)[0].id();
        for row in [&dated, &undated, &ended] {
            assert_eq!(id(row, "2026-06-01T00:00:00Z"), id(row, "2026-07-01T00:00:00Z"));
        }
        let at = "2026-06-01T00:00:00Z";
        assert_ne!(id(&dated, at), id(&ended, at));
        assert_ne!(id(&dated, at), id(&undated, at));
    }

    #[test]
    fn what_is_no_row_is_told() {
        for (bad, says) in [
            (Imported { address: "x".into(), ..row(Reason::Manual) }, "recipient"),
            (Imported { reason: "bounce".into(), ..row(Reason::Manual) }, "the reason"),
            (Imported { scope: Some("news".into()), ..row(Reason::Manual) }, "the scope"),
            (Imported { since: Some("soon".into()), ..row(Reason::Manual) }, "`since`"),
            (Imported { note: Some("a\nb".into()), ..row(Reason::Manual) }, "one line"),
        ] {
            assert!(bad.understood().unwrap_err().0.contains(says));
        }
    }
}
