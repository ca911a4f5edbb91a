//! A sample notification of a described webhook: built as it says, and sent only where it is read
//! as what was asked for.

use http::HeaderMap;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use serde_json::Value;

use super::event::Wanted;
use super::{Format, Notification, Sample, Stamp, Webhook, wire};
use crate::model::{Origin, SourceName};
use crate::provider::Judge;

impl Webhook {
    /// A sample of that kind. `None`: the description maps nothing to it.
    pub(super) fn sample(&self, wanted: &Wanted<'_>) -> Option<Sample> {
        let bodies = self.reader.samples(wanted).filter_map(|item| self.body(item));
        let body = bodies.into_iter().find(|body| self.tells(body, wanted))?;
        Some(Sample { content_type: self.format.content_type(), body })
    }

    /// The body that holds an event.
    fn body(&self, item: Value) -> Option<Vec<u8>> {
        let mut body = Value::Null;
        let is_there = match &*self.items {
            "" => wire::put(&mut body, "", item),
            items => wire::put(&mut body, items, vec![item].into()),
        };
        let text = is_there.then(|| body.to_string())?;
        Some(match self.format {
            Format::Json => text.into_bytes(),
            Format::Lines => format!("{text}\n").into_bytes(),
            Format::Form => {
                format!("event={}", percent_encode(text.as_bytes(), NON_ALPHANUMERIC)).into_bytes()
            }
        })
    }

    /// Whether a body is read as one event, and as the one that is wanted.
    fn tells(&self, body: &[u8], wanted: &Wanted<'_>) -> bool {
        let (headers, source) = (HeaderMap::new(), SourceName::operator());
        let now = wanted.now;
        let sent = Notification { headers: &headers, query: "", body, url: None, now };
        let stamp = Stamp { source: &source, origin: Origin::Webhook, feed: "", received_at: now };
        let elements = self.split(&sent);
        let read = elements.iter().map(|element| self.reader.read(element, &stamp));
        let Ok(events) = read.collect::<Result<Vec<_>, _>>() else { return false };
        let mut events = events.into_iter().flatten();
        let (Some(mut event), None) = (events.next(), events.next()) else { return false };
        Judge::default().judge(&mut event);
        event.kind == wanted.kind && event.address.key() == wanted.address.key()
    }
}

impl Format {
    fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Lines => "application/x-ndjson",
            Format::Form => "application/x-www-form-urlencoded",
        }
    }
}
