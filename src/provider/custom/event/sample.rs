//! Events as a description says they come, for `suppressd trigger`: each is built of a row of the
//! map. Whether it says what it should is for whoever reads it: rows before may take it.

use serde_json::Value;

use super::super::super::generic::sample_reply;
use super::super::super::wire::put;
use super::{Condition, EventKind, HEADER, Kind, List, Meaning, Reader, lookup, text};
use crate::model::{Address, Time};

/// What stands where any value will do.
const ANY: &str = "sample";

/// What a sample is to tell.
#[derive(Clone, Copy)]
pub(in super::super) struct Wanted<'a> {
    /// What happened.
    pub(in super::super) kind: EventKind,
    /// To whom.
    pub(in super::super) address: &'a Address,
    /// When.
    pub(in super::super) now: Time,
}

impl Reader {
    /// Events that may tell this, the likeliest first: of rows of that kind, then of rows whose
    /// kind is decided by what the server said.
    pub(in super::super) fn samples<'a>(
        &'a self,
        wanted: &'a Wanted<'a>,
    ) -> impl Iterator<Item = Value> + 'a {
        let is_meant = |row: &&Meaning| row.means == Some(wanted.kind);
        let rows = self.map.iter().filter(is_meant);
        let open = self.map.iter().filter(move |row| !is_meant(row) && row.failure.is_some());
        rows.chain(open).flat_map(move |row| self.of_row(row, wanted))
    }

    fn of_row<'a>(
        &'a self,
        row: &'a Meaning,
        wanted: &'a Wanted<'a>,
    ) -> impl Iterator<Item = Value> + 'a {
        let words = row.kind.all().iter().map(|word| Some(&**word));
        let words = words.chain(row.kind.all().is_empty().then_some(None));
        // Each place of the recipient is tried: a row may ask for one of them.
        let places = self.knobs.recipient.all();
        words.flat_map(move |word| {
            places.iter().filter_map(move |place| self.of_word(row, word, place, wanted))
        })
    }

    /// An event of a row, with one of its types, and the recipient at that place. `None`: the
    /// description has no room for it.
    fn of_word(
        &self,
        row: &Meaning,
        word: Option<&str>,
        recipient: &str,
        wanted: &Wanted<'_>,
    ) -> Option<Value> {
        let (knobs, mut item) = (&self.knobs, Value::Null);
        let is_there = word.is_none_or(|word| self.put_word(&mut item, word));
        let address = wanted.address.received();
        if !(is_there && put(&mut item, recipient, address.into())) {
            return None;
        }
        let now = wanted.now.floor_second().to_string();
        fill(&mut item, &knobs.time, now.into());
        row.when.iter().for_each(|condition| condition.meet(&mut item));
        if word.is_none() && self.word_of(&item).is_none() {
            self.put_word(&mut item, ANY);
        }
        let id = format!("sample-{}", wanted.now.nanos());
        fill(&mut item, &knobs.event_id, id.as_str().into());
        fill(&mut item, &knobs.message_id, id.into());
        if let Some((code, said)) = sample_reply(wanted.kind).filter(|_| row.failure.is_some()) {
            fill(&mut item, &knobs.smtp_code, code.into());
            let enhanced = said.split(' ').nth(1).unwrap_or_default();
            fill(&mut item, &knobs.enhanced, enhanced.into());
            fill(&mut item, &knobs.diagnostic, said.into());
        }
        Some(item)
    }

    /// Writes the type where it stands; in parts, where it is joined.
    fn put_word(&self, item: &mut Value, word: &str) -> bool {
        match &self.knobs.kind {
            Kind::At(pointers) => fill(item, pointers, word.into()),
            Kind::Joined { join, sep } => {
                let parts = if sep.is_empty() { vec![word] } else { word.split(&**sep).collect() };
                parts.len() <= join.len()
                    && join.iter().zip(parts).all(|(place, part)| put(item, place, part.into()))
            }
        }
    }

    fn word_of(&self, item: &Value) -> Option<String> {
        let places = match &self.knobs.kind {
            Kind::At(pointers) => pointers.all(),
            Kind::Joined { join, .. } => join,
        };
        places.iter().find_map(|place| lookup(item, place).and_then(text))
    }
}

/// Writes a value to the first place of a list that has room, unless one of them has something.
fn fill(item: &mut Value, places: &List, value: Value) -> bool {
    let places = || places.all().iter().filter(|place| !place.starts_with(HEADER));
    let has = |place: &String| lookup(item, place).is_some_and(|found| !found.is_null());
    let mut is_there = places().any(has);
    for place in places() {
        is_there = is_there || put(item, place, value.clone());
    }
    is_there
}

impl Condition {
    /// Changes what stands there so that it holds, as far as that can be done.
    fn meet(&self, item: &mut Value) {
        if self.holds(item) {
            return;
        }
        let known = lookup(item, &self.ptr).and_then(text);
        let value = match (&self.eq, self.among.as_deref().and_then(<[Value]>::first)) {
            (Some(value), _) | (None, Some(value)) => value.clone(),
            (None, None) if self.lt.is_some() || self.ge.is_some() => {
                // `lt` alone asks for anything below it.
                self.ge.or(self.lt.map(|end| end - 1.0)).into()
            }
            (None, None) => {
                let (prefix, part) = (self.prefix.as_deref(), self.contains.as_deref());
                let known = known.as_deref().unwrap_or(match (prefix, part) {
                    (None, None) => ANY,
                    _ => "",
                });
                format!("{}{known}{}", prefix.unwrap_or(""), part.unwrap_or("")).into()
            }
        };
        if self.exists != Some(false) {
            put(item, &self.ptr, value);
        }
    }
}
