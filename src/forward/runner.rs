//! A task per forward: reads what is behind its cursor, tells it, and journals how far it has come.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::file::Lines;
use super::post::{Outcome, Post};
use super::wire::Message;
use super::{Entry, Forwards, Receiver, Settings, Stand, Status, unsaid};
use crate::clock;
use crate::fetch::Fetcher;
use crate::ingest::{Ingest, Running};
use crate::model::{Cursor, Position, SourceName, Submission, Time};
use crate::provider::OWN;
use crate::stop::{Part, stopped};
use crate::store::{EventFilter, Reader, Step, StoreError, Told, TurnPlace};
use crate::telemetry;
use crate::turns::Tellers;

/// Most messages of one turn: the cursor is journalled behind them.
const MESSAGES_MAX: usize = 512;
/// Most elements that are looked at for them.
const LOOKS_MAX: usize = 20_000;
/// The wait before what failed is tried again: the store, or the file.
const AGAIN: Duration = Duration::from_secs(2);
/// How often a host looks whether it is its turn, while another tells.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What a cursor's feed starts with.
const FEED: &str = "forward/";

/// How far a forward has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    /// All up to here is told.
    place: TurnPlace,
    /// What came or turned before is passed over.
    since: Option<Time>,
}

/// What is behind a mark.
struct Found {
    messages: Vec<(TurnPlace, Message)>,
    /// The mark behind them.
    next: TurnPlace,
    /// Whether there may be more at once.
    more: bool,
}

struct Task {
    settings: Settings,
    reader: Reader,
    ingest: Ingest,
    stand: Arc<Mutex<Stand>>,
    sink: Sink,
    mark: Mark,
    /// Where the journal ended when it was started.
    born: Position,
    /// The name by which whose turn it is is known.
    name: Option<SourceName>,
    tellers: Tellers,
}

enum Sink {
    Post(Box<Post>),
    Lines(Arc<Mutex<Lines>>),
}

/// Starts a part for each, and one that looks for what they are to tell that nobody said. They
/// journal nothing behind their stop. One that was there `before`, and tells the same receiver,
/// goes on with its numbers. `never`: whom the present rules exempt, as the configuration has it.
pub fn start(
    all: Vec<Settings>,
    fetcher: &Fetcher,
    running: &Running,
    before: &Forwards,
    tellers: &Tellers,
    never: Vec<Box<str>>,
) -> (Forwards, Vec<Part>) {
    let (mut entries, mut parts) = (Vec::new(), Vec::new());
    if all.iter().any(|settings| settings.subjects.has_turns()) {
        parts.push(unsaid::start(running, never));
    }
    for settings in all {
        let (to, name) = (settings.to.to_string(), settings.name.clone());
        telemetry::forward::known(&name);
        let known = before.0.iter().find(|entry| entry.name == name && entry.to() == to);
        let stand = known.map(|entry| Arc::clone(&entry.stand)).unwrap_or_else(|| {
            let status = Status { name: name.clone(), to, ..Status::default() };
            Arc::new(Mutex::new(Stand { status, ..Stand::default() }))
        });
        let (replays, orders) = mpsc::channel(1);
        entries.push(Entry { name: name.clone(), stand: Arc::clone(&stand), replays });
        let sink = match settings.to.clone() {
            Receiver::Url { url, keys } => {
                Sink::Post(Box::new(Post { url, keys, fetcher: fetcher.clone() }))
            }
            Receiver::File(path) => Sink::Lines(Arc::new(Mutex::new(Lines::new(path)))),
        };
        let (reader, ingest) = (running.reader.clone(), running.ingest.clone());
        let (mark, born) = (Mark::default(), ingest.committed());
        let shared = SourceName::parse(&name).ok().filter(|_| settings.is_shared());
        let tellers = tellers.clone();
        let task =
            Task { settings, reader, ingest, stand, sink, mark, born, name: shared, tellers };
        parts.push(Part::start(format!("forward {name}"), |mut stop| async move {
            tokio::select! {
                () = stopped(&mut stop) => {}
                () = task.work(orders) => {}
            }
        }));
    }
    (Forwards(entries.into()), parts)
}

impl Task {
    async fn work(mut self, mut orders: mpsc::Receiver<Time>) {
        open(&self.stand).status.elsewhere = !self.is_ours();
        self.ingest.ready().await;
        let mut progress = self.ingest.progress();
        while !self.begin().await {
            tokio::time::sleep(AGAIN).await;
        }
        loop {
            progress.mark_unchanged();
            let more = tokio::select! {
                biased;
                Some(since) = orders.recv() => {
                    self.mark = Mark { place: TurnPlace::default(), since: Some(since) };
                    true
                }
                more = self.turn() => more,
            };
            if more {
                continue;
            }
            let others = !self.is_ours();
            tokio::select! {
                changed = progress.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(LOOK_EVERY), if others => {}
                Some(since) = orders.recv() => {
                    self.mark = Mark { place: TurnPlace::default(), since: Some(since) };
                }
            }
        }
    }

    /// Goes to the journalled cursor; a new forward begins with what has come since it was started,
    /// which may be before the store was open.
    async fn begin(&mut self) -> bool {
        match self.reader.cursor(&SourceName::operator(), &self.feed()) {
            Ok(Some(text)) => {
                // One that cannot be read is of a newer version: everything is told again.
                self.mark = Mark::parse(&text).unwrap_or_default();
                true
            }
            Ok(None) => {
                self.mark = Mark { place: start_of(self.born), since: None };
                self.keep().await
            }
            Err(_) => false,
        }
    }

    /// Whether this host tells: it has the turn, or an operator wants it told again from here.
    fn is_ours(&self) -> bool {
        let turns = &self.tellers.turns;
        self.mark.since.is_some() || self.name.as_ref().is_none_or(|name| turns.is_ours(name))
    }

    /// Goes on, or passes over what another host has told. Says whether to go on at once.
    async fn turn(&mut self) -> bool {
        let is_ours = self.is_ours();
        open(&self.stand).status.elsewhere = !is_ours;
        let Some(name) = self.name.clone() else { return self.tell_more().await };
        if !is_ours {
            return self.pass_over(&name).await;
        }
        let (turns, by_order) = (self.tellers.turns.clone(), self.mark.since.is_some());
        let more = tokio::select! {
            biased;
            () = turns.ended(&name), if !by_order => return true,
            more = self.tell_more() => more,
        };
        if self.mark.since.is_none() {
            self.tellers.has_told(&name, self.mark.place.record);
        }
        more
    }

    /// Passes over what another host has told. Says whether to go on at once.
    async fn pass_over(&mut self, name: &SourceName) -> bool {
        open(&self.stand).waiting = None;
        let told = start_of(self.tellers.told_elsewhere(name));
        if told <= self.mark.place {
            return false;
        }
        let Some(Found { mut messages, next, more }) = self.find().await else { return true };
        let passed = next.min(told);
        messages.retain(|(place, _)| *place <= passed);
        self.mark.place = passed;
        if !messages.is_empty() {
            open(&self.stand).status.passed += messages.len() as u64;
            self.keep_surely().await;
        }
        more && passed < told
    }

    async fn find(&self) -> Option<Found> {
        let (reader, mark) = (self.reader.clone(), self.mark);
        let subjects = self.settings.subjects.clone();
        let found = tokio::task::spawn_blocking(move || look(&reader, &subjects, mark)).await;
        if let Ok(Ok(found)) = found {
            return Some(found);
        }
        // The checks tell of the store.
        tokio::time::sleep(AGAIN).await;
        None
    }

    /// Tells what is behind the mark. Says whether to go on at once.
    async fn tell_more(&mut self) -> bool {
        let Some(Found { messages, next, more }) = self.find().await else { return true };
        let messages: Vec<Message> = messages.into_iter().map(|(_, message)| message).collect();
        open(&self.stand).waiting = messages.first().map(|message| message.at);
        let is_news = !messages.is_empty();
        if is_news {
            self.tell(messages).await;
        }
        self.mark.place = next;
        if !more {
            self.mark.since = None;
            open(&self.stand).waiting = None;
        }
        // What nobody was told of needs no record: it is passed over again after a start.
        if is_news {
            self.keep_surely().await;
        }
        more
    }

    async fn keep_surely(&self) {
        while !self.keep().await {
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn tell(&self, messages: Vec<Message>) {
        let (stand, name) = (Arc::clone(&self.stand), self.settings.name.clone());
        let note = move |outcome: Outcome| note(&stand, &name, outcome);
        match &self.sink {
            Sink::Post(post) => post.tell(messages, note).await,
            Sink::Lines(lines) => {
                let messages = Arc::new(messages);
                loop {
                    let (lines, messages) = (Arc::clone(lines), Arc::clone(&messages));
                    let add =
                        move || lines.lock().unwrap_or_else(PoisonError::into_inner).add(&messages);
                    match tokio::task::spawn_blocking(add).await {
                        Ok(Ok(())) => break,
                        Ok(Err(error)) => note(Outcome::Failed(error.to_string())),
                        Err(error) => note(Outcome::Failed(error.to_string())),
                    }
                    tokio::time::sleep(AGAIN).await;
                }
                messages.iter().for_each(|_| note(Outcome::Taken));
            }
        }
    }

    /// Journals how far it has come.
    async fn keep(&self) -> bool {
        let submission = Submission {
            cursor: Some(Cursor { feed: self.feed(), state: self.mark.to_string() }),
            ..Submission::ours(SourceName::operator(), OWN, Vec::new(), clock::now())
        };
        self.ingest.submit(&submission).await.is_ok()
    }

    fn feed(&self) -> String {
        format!("{FEED}{}", self.settings.name)
    }
}

fn note(stand: &Mutex<Stand>, name: &str, outcome: Outcome) {
    let mut stand = open(stand);
    match outcome {
        Outcome::Taken => {
            stand.status.sent += 1;
            stand.last_success = Some(clock::now());
            if stand.status.error.take().is_some() {
                telemetry::forward::recovered(name);
            }
            stand.status.failures = 0;
            telemetry::forward::taken(name);
        }
        Outcome::Failed(why) => {
            stand.status.failures += 1;
            let first = stand.status.error.as_ref() != Some(&why);
            telemetry::forward::failed(name, &why, first);
            stand.status.error = Some(why);
        }
    }
}

fn open(stand: &Mutex<Stand>) -> MutexGuard<'_, Stand> {
    stand.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The place before everything of a record.
fn start_of(record: Position) -> TurnPlace {
    TurnPlace { record, element: 0, number: 0 }
}

/// What is behind a mark, in the order of the journal. It blocks on the store.
fn look(reader: &Reader, subjects: &super::Subjects, mark: Mark) -> Result<Found, StoreError> {
    let mut all: Vec<(TurnPlace, Message)> = Vec::new();
    let mut bound = start_of(reader.totals()?.applied).max(mark.place);
    let mut more = false;
    if !subjects.kinds.is_empty() {
        let (events, reached) = events(reader, subjects, mark)?;
        more = reached.is_some();
        bound = reached.unwrap_or(bound);
        all.extend(events);
    }
    if subjects.has_turns() {
        let turns = reader.turns_behind(mark.place, MESSAGES_MAX)?;
        if turns.len() == MESSAGES_MAX
            && let Some((last, _)) = turns.last().filter(|(last, _)| *last < bound)
        {
            (bound, more) = (*last, true);
        }
        let wanted = turns.into_iter().filter(|(_, turn)| match turn.added {
            true => subjects.added,
            false => subjects.lifted,
        });
        all.extend(wanted.map(|(place, turn)| (place, Message::of_turn(place, &turn))));
    }
    all.retain(|(place, message)| {
        let is_late = mark.since.is_none_or(|since| message.at.nanos() >= since.nanos());
        *place > mark.place && *place <= bound && is_late
    });
    all.sort_by_key(|(place, _)| *place);
    Ok(Found { messages: all, next: bound, more })
}

/// The events behind a mark, each with its place; and the place up to which all are there, if that
/// is not the end.
type Events = (Vec<(TurnPlace, Message)>, Option<TurnPlace>);

fn events(reader: &Reader, subjects: &super::Subjects, mark: Mark) -> Result<Events, StoreError> {
    let TurnPlace { record, element, .. } = mark.place;
    let mut scan =
        reader.events_from(EventFilter::default(), (record, element.saturating_sub(1)))?;
    let (mut found, mut looked) = (Vec::new(), 0);
    let (mut last, mut number) = (None, 0);
    loop {
        let (record, element) = scan.place();
        // The events of one element stay together.
        let is_next = last.is_none_or(|last| last != (record, element));
        if is_next && (found.len() >= MESSAGES_MAX || looked >= LOOKS_MAX) {
            let place = TurnPlace { record, element: element + 1, number: 0 };
            return Ok((found, Some(place.max(mark.place))));
        }
        match scan.step()? {
            Step::Told(told) => {
                looked += 1;
                number = if last == Some(told.place) { number + 1 } else { 1 };
                last = Some(told.place);
                if let Some(message) = wanted(subjects, &told) {
                    let (record, element) = told.place;
                    found.push((TurnPlace { record, element: element + 1, number }, message));
                }
            }
            Step::Passed(number) => looked += number.max(1),
            Step::End => return Ok((found, None)),
        }
    }
}

fn wanted(subjects: &super::Subjects, told: &Told) -> Option<Message> {
    subjects.kinds.contains(&told.event.kind).then(|| Message::of_event(told))
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TurnPlace { record, element, number } = self.place;
        write!(f, "{}.{}.{element}.{number}", record.segment, record.offset)?;
        self.since.map_or(Ok(()), |since| write!(f, "@{since}"))
    }
}

impl Mark {
    fn parse(text: &str) -> Option<Mark> {
        let (place, since) = match text.split_once('@') {
            Some((place, since)) => (place, Some(Time::parse(since)?)),
            None => (text, None),
        };
        let mut numbers = place.split('.').map(|number| number.parse::<u32>().ok());
        let mut next = || numbers.next().flatten();
        let record = Position { segment: next()?, offset: next()? };
        let place = TurnPlace { record, element: next()?, number: next()? };
        numbers.next().is_none().then_some(Mark { place, since })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let record = Position { segment: 3, offset: 88 };
        let place = TurnPlace { record, element: 2, number: u32::MAX };
        for since in [None, Time::parse("2026-06-15T10:32:11.5Z")] {
            let mark = Mark { place, since };
            assert_eq!(Mark::parse(&mark.to_string()), Some(mark));
        }
        for bad in ["", "1.2.3", "1.2.3.4.5", "1.2.3.x", "1.2.3.4@yesterday"] {
            assert_eq!(Mark::parse(bad), None, "{bad}");
        }
    }
}
