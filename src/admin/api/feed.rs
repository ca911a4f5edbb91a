//! Events for programs, in the form that a `generic` source's `url` reads.
//!
//! In the order in which they were told. What is on a provider's list is no event of a message, and
//! stands in the pages of suppressions.

use serde_json::{Value, json};

use super::query::{AFTER, Next, Query};
use super::{Answered, page, sparse};
use crate::admin::events;
use crate::admin::{Admin, EventQuery, Failure};
use crate::model::{Event, EventKind, Position};
use crate::store::{EventFilter, EventPlace, Step, Told};

/// Where the feed is.
const PATH: &str = "/v1/events";

/// Most elements that are looked at for one page, and most bytes that it is filled to.
const LOOKS_MAX: usize = 20_000;
const BYTES_MAX: usize = 1 << 20;

/// Bytes of an id of ours, which is told in hex.
const ID_BYTES: usize = 16;

/// What a page is about.
struct Question {
    filter: EventFilter,
    from: EventPlace,
    limit: usize,
    next: Next,
}

impl Question {
    fn parse(fields: Vec<(String, String)>) -> Result<Question, Failure> {
        let mut query = Query::new(fields)?;
        let filter = events::parse(EventQuery {
            address: query.take("address"),
            message_id: query.take("message_id"),
            kind: query.take("kind"),
            class: query.take("class"),
            source: query.take("source"),
            since: query.take("since"),
            until: query.take("until"),
            limit: None,
        })?;
        // Whoever polls asks for what is new: that may be told long after it happened.
        let filter = EventFilter { or_told: true, ..filter };
        let from = query.take(AFTER).map(|text| {
            place(&text).ok_or_else(|| Failure::usage("after is not from the `next` of a page"))
        });
        let limit = query.limit()?;
        let from = from.transpose()?.unwrap_or_default();
        Ok(Question { filter, from, limit, next: query.finish()? })
    }
}

impl Admin {
    /// A page of events, by the fields of a query: `after`, `limit`, and the filters. `next` is
    /// the URL of the page behind it; `null` when there is nothing more now.
    pub fn feed(&self, fields: Vec<(String, String)>) -> Answered {
        Question::parse(fields).and_then(|question| self.told(question)).into()
    }

    fn told(&self, question: Question) -> Result<String, Failure> {
        let Question { filter, from, limit, next } = question;
        let mut scan = self.reader.events_from(filter, from)?;
        let (mut found, mut looked, mut bytes, mut last) = (Vec::new(), 0, 0, from);
        loop {
            let place = scan.place();
            let full = found.len() >= limit || looked >= LOOKS_MAX || bytes >= BYTES_MAX;
            // The events of one element stay together: a page is asked for by element.
            if full && place != last {
                return Ok(page("events", &found, Some(next.url(PATH, &shown(place)))));
            }
            match scan.step()? {
                Step::Told(told) => {
                    looked += 1;
                    last = told.place;
                    if let Some(row) = row(&told) {
                        let row = row.to_string();
                        bytes += row.len();
                        found.push(row);
                    }
                }
                Step::Passed(number) => looked += number.max(1),
                Step::End => return Ok(page("events", &found, None)),
            }
        }
    }
}

/// An event in the generic form. `None`: the form has no word for it.
fn row(told: &Told) -> Option<Value> {
    let event = &told.event;
    let wordless = [EventKind::Listed, EventKind::Unlisted, EventKind::Unknown];
    if wordless.contains(&event.kind) {
        return None;
    }
    Some(sparse(json!({
        "event": event.kind.as_str(),
        "timestamp": event.at.to_string(),
        "event_id": origin_id(event).unwrap_or_else(|| told.id.to_string()),
        "message_id": event.message_id,
        "recipient": event.address.received(),
        "reason": event.diagnostic,
        "smtp_code": event.smtp_code,
        "url": event.url,
        "user_agent": event.user_agent,
        "source": event.source.as_str(),
        "scope": event.scope.to_string(),
        "until": event.until.map(|until| until.to_string()),
    })))
}

/// The id under which another suppressd has told an event: two that read each other know it again.
fn origin_id(event: &Event) -> Option<String> {
    let is_ours = |id: &String| {
        let is_hex = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        id.len() == 2 * ID_BYTES && id.bytes().all(is_hex)
    };
    event.provider_event_id.clone().filter(|id| &*event.provider == "generic" && is_ours(id))
}

fn shown((Position { segment, offset }, element): EventPlace) -> String {
    format!("{segment}.{offset}.{element}")
}

fn place(text: &str) -> Option<EventPlace> {
    let mut parts = text.split('.');
    let mut number = || parts.next()?.parse::<u32>().ok();
    let place = (Position { segment: number()?, offset: number()? }, number()?);
    parts.next().is_none().then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_shown() {
        let here = (Position { segment: 7, offset: 4_096 }, 12);
        assert_eq!(place(&shown(here)), Some(here));
        for bad in ["", "1", "1.2", "1.2.3.4", "a.b.c", "-1.2.3", "99999999999.2.3"] {
            assert_eq!(place(bad), None, "{bad}");
        }
    }
}
