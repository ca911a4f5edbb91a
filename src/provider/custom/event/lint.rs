//! What of an `event` table can never be meant: pointers that lead nowhere, rows that nothing
//! reaches, kinds that nothing makes.
//!
//! A fault would have every event misread; a doubt is told, and the table is used as it is.

use std::collections::BTreeSet;

use super::super::HINT;
use super::{At, HEADER, Value};
use super::{Condition, EventKind, Kind, Knobs, Row, SettingError, SettingErrors, Settings};

/// A key within the table, what is wrong with it, and what to write.
type Told = (String, &'static str, &'static str);

const NO_POINTER: &str = "is no JSON pointer";
const POINTER: &str = "start it with a /";

/// What suppresses an address, at once or by count.
const WEIGHTY: &[EventKind] = &[
    EventKind::HardBounce,
    EventKind::SoftBounce,
    EventKind::Complaint,
    EventKind::Unsubscribed,
    EventKind::Rejected,
    EventKind::Listed,
];

impl Knobs {
    /// The table. `None` where an error was noted: of each key that is not in the form that it must
    /// have.
    pub(in super::super) fn of(
        table: &Value,
        at: At<'_>,
        settings: &Settings,
        errors: &mut SettingErrors,
    ) -> Option<Knobs> {
        let whole = match serde_json::from_value(table.clone()) {
            Ok(knobs) => return Some(knobs),
            Err(error) => error,
        };
        let mut bad = Vec::new();
        // That tells of one fault, and not where it is: so each key is looked at alone.
        for (key, value) in table.as_object().into_iter().flatten() {
            if let ("map", Some(rows)) = (&**key, value.as_array()) {
                let rows = (1..).zip(rows).filter_map(|(number, row)| {
                    let error = serde_json::from_value::<Row>(row.clone()).err()?;
                    Some((at.key(&format!("map[{number}]")), error))
                });
                bad.extend(rows);
                continue;
            }
            let mut alone = serde_json::json!({ "recipient": "" });
            alone[key] = value.clone();
            let error = serde_json::from_value::<Knobs>(alone).err();
            bad.extend(error.map(|error| (at.key(key), error)));
        }
        if bad.is_empty() {
            bad.push((at.table(), whole));
        }
        let told = bad.into_iter();
        errors.0.extend(
            told.map(|(key, error)| {
                settings.problem(&key, &format!("cannot be used: {error}"), HINT)
            }),
        );
        None
    }

    /// What of the table cannot be used, beside the kinds of its rows.
    pub(super) fn faults(&self) -> Vec<Told> {
        let mut faults: Vec<Told> = Vec::new();
        for (key, pointers) in self.pointers() {
            // A header can be kept for an id and a time alone.
            let may_be_header = ["event_id", "time"].contains(&key);
            let is_good = |pointer: &&String| {
                is_pointer(pointer) || may_be_header && pointer.starts_with(HEADER)
            };
            if !pointers.iter().all(|pointer| is_good(&pointer)) {
                faults.push((key.to_owned(), NO_POINTER, POINTER));
            }
        }
        for (number, row) in (1..).zip(&self.map) {
            for condition in &row.when {
                let fault = condition.fault();
                faults
                    .extend(fault.map(|(what, hint)| (format!("map[{number}].when"), what, hint)));
            }
        }
        faults
    }

    fn pointers(&self) -> [(&'static str, &[String]); 14] {
        let kind = match &self.kind {
            Kind::At(pointers) => pointers.all(),
            Kind::Joined { join, .. } => join,
        };
        [
            ("type", kind),
            ("recipient", self.recipient.all()),
            ("time", self.time.all()),
            ("event_id", self.event_id.all()),
            ("message_id", self.message_id.all()),
            ("smtp_code", self.smtp_code.all()),
            ("enhanced", self.enhanced.all()),
            ("diagnostic", self.diagnostic.all()),
            ("tags", self.tags.all()),
            ("metadata", self.metadata.all()),
            ("stream", self.stream.all()),
            ("url", self.url.all()),
            ("user_agent", self.user_agent.all()),
            ("machine", self.machine.all()),
        ]
    }

    /// What is most times not meant. `feed`: the name of the feed, whose rows may have no type.
    pub(in super::super) fn doubts(
        &self,
        at: At<'_>,
        feed: Option<&str>,
        settings: &Settings,
    ) -> Vec<SettingError> {
        let whole = self.of_the_whole().into_iter();
        let rows = (0..self.map.len()).filter_map(|at| {
            let (what, hint) = self.of_row(at, feed)?;
            Some((format!("map[{}]", at + 1), what, hint))
        });
        let told = whole.chain(rows);
        told.map(|(key, what, hint)| settings.problem(&at.key(&key), what, hint)).collect()
    }

    fn of_the_whole(&self) -> Vec<Told> {
        let mut told: Vec<Told> = Vec::new();
        let kinds: BTreeSet<EventKind> = self.map.iter().filter_map(Row::kind).collect();
        if self.map.is_empty() {
            let hint = "add rows such as { type = \"bounce\", kind = \"hard_bounce\" }";
            told.push(("map".to_owned(), "is missing: every event would be unknown", hint));
        } else if !WEIGHTY.iter().any(|kind| kinds.contains(kind)) {
            let hint = "add rows for the service's bounces, complaints and unsubscriptions";
            let what = "has no row that could suppress anybody";
            told.push(("map".to_owned(), what, hint));
        }
        let is_list = kinds.iter().all(|kind| is_of_a_list(*kind));
        let ids = [&self.event_id, &self.message_id];
        if !is_list && ids.iter().all(|id| id.all().is_empty()) {
            let hint =
                "say where the event's id is, if it is the same over retries, or the message's";
            let what = "is missing, as is message_id: two failures of one address in one second \
                count as one, and nothing tells messages apart";
            told.push(("event_id".to_owned(), what, hint));
        }
        let of_streams = self.map.iter().any(Row::is_of_stream);
        let has_stream = !self.stream.all().is_empty();
        if has_stream && !of_streams && !self.map.is_empty() {
            let hint = "remove it, or let a row be an unsubscription or say stream = true";
            told.push(("stream".to_owned(), "is used by no row", hint));
        }
        told
    }

    /// What is odd about a row.
    fn of_row(&self, at: usize, feed: Option<&str>) -> Option<(&'static str, &'static str)> {
        let row = &self.map[at];
        if contradicts(&row.when) {
            return Some(("can match nothing: its conditions exclude each other", "mend its when"));
        }
        let types = row.kind.all();
        if let (Some(feed), false) = (feed, self.has_type())
            && !types.is_empty()
            && types.iter().all(|word| !word.eq_ignore_ascii_case(feed))
        {
            let hint = "remove its type, or say in event.type where the rows have theirs";
            return Some(("can match nothing: the rows have no type but the feed's name", hint));
        }
        if self.is_covered(at) {
            let hint = "put it before the row that takes all it could match, or remove it";
            return Some(("can match nothing: the rows before it take all of it", hint));
        }
        if row.stream == Some(true) && self.stream.all().is_empty() {
            let hint = "say in event.stream where the stream's name is, or remove it";
            return Some(("is limited to a stream, and nothing says which", hint));
        }
        if row.class.is_some() && row.fault.is_some() {
            return Some(("has a class, beside which fault says nothing", "keep one of the two"));
        }
        let counted = [EventKind::SoftBounce];
        let takes_one = |kind| WEIGHTY.contains(&kind) && !counted.contains(&kind);
        let is_ground = row.kind().is_some_and(|kind| takes_one(kind) || is_of_a_list(kind));
        if row.reason.is_some() && !is_ground {
            return Some((
                "has a reason, and such an event suppresses nobody at once",
                "remove it",
            ));
        }
        None
    }

    /// Whether the rows before it take all that a row could match.
    fn is_covered(&self, at: usize) -> bool {
        let row = &self.map[at];
        let wider = self.map[..at]
            .iter()
            .filter(|earlier| earlier.when.iter().all(|condition| row.when.contains(condition)));
        let wider: Vec<&[String]> = wider.map(|earlier| earlier.kind.all()).collect();
        let is_one = |types: &&[String], word: &str| {
            types.iter().any(|known| known.eq_ignore_ascii_case(word))
        };
        let takes = |word: &String| wider.iter().any(|types| is_one(types, word));
        let types = row.kind.all();
        wider.iter().any(|types| types.is_empty()) || !types.is_empty() && types.iter().all(takes)
    }
}

impl Row {
    fn kind(&self) -> Option<EventKind> {
        EventKind::parse(&self.means)
    }

    /// Whether it uses the stream: where it says so, or is an unsubscription or its end.
    fn is_of_stream(&self) -> bool {
        let usual = [Some(EventKind::Unsubscribed), Some(EventKind::Resubscribed)];
        self.stream.unwrap_or(usual.contains(&self.kind()))
    }
}

impl Condition {
    /// What of it cannot be used, and what to write.
    pub(in super::super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        let Condition { ptr, eq, among, prefix, contains, lt, ge, exists } = self;
        let tests = [
            eq.is_some(),
            among.is_some(),
            prefix.is_some(),
            contains.is_some(),
            lt.is_some(),
            ge.is_some(),
            exists.is_some(),
        ];
        if !is_pointer(ptr) {
            return Some(("has a ptr that is no JSON pointer", POINTER));
        }
        if !tests.contains(&true) {
            let hint = "add eq, in, prefix, contains, lt, ge or exists";
            return Some(("has a condition that tests nothing", hint));
        }
        None
    }

    /// What it lets pass by `eq` and `in`; `None`: anything.
    fn allowed(&self) -> Option<Vec<&Value>> {
        let among = self.among.as_ref().map(|values| values.iter().collect::<Vec<_>>());
        match (&self.eq, among) {
            (Some(eq), None) => Some(vec![eq]),
            (Some(eq), Some(among)) => Some(if among.contains(&eq) { vec![eq] } else { vec![] }),
            (None, among) => among,
        }
    }

    /// Whether it asks for a value to be there.
    fn wants_one(&self) -> bool {
        let by_value = self.eq.is_some() || self.among.is_some();
        let by_number = self.lt.is_some() || self.ge.is_some();
        by_value
            || by_number
            || self.prefix.is_some()
            || self.contains.is_some()
            || self.exists == Some(true)
    }
}

/// Whether conditions that must all hold exclude each other.
fn contradicts(when: &[Condition]) -> bool {
    let one = |condition: &Condition| {
        let same = || when.iter().filter(|other| other.ptr == condition.ptr);
        let none_left = condition.allowed().is_some_and(|allowed| {
            let passes = |value: &&&Value| {
                same().filter_map(Condition::allowed).all(|other| other.contains(*value))
            };
            allowed.iter().find(passes).is_none()
        });
        let is_absent = same().any(|other| other.exists == Some(false));
        none_left || is_absent && condition.wants_one()
    };
    when.iter().any(one)
}

fn is_of_a_list(kind: EventKind) -> bool {
    matches!(kind, EventKind::Listed | EventKind::Unlisted)
}

fn is_pointer(text: &str) -> bool {
    text.is_empty() || text.starts_with('/')
}
