//! Notifications that came before, byte for byte, and are durable: they are not journalled again.
//!
//! What a provider tells again adds nothing to the store: every event of it has the identity of the
//! first telling. So a captured body cannot fill the disk. Only in memory: after a start, one more
//! copy of each is journalled.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::model::{Submission, Time};

/// How long a notification is remembered. Providers try again for days, but at ever longer waits.
const REPEAT_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// Most notifications remembered, some 100 bytes each; with more, the oldest are forgotten early.
const REPEATS_MAX: usize = 32_768;

/// What one notification is known by.
pub(super) type Digest = [u8; 32];

/// The notifications that are durable.
#[derive(Default)]
pub(super) struct Repeats(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    known: HashSet<Digest>,
    oldest_first: VecDeque<(Time, Digest)>,
}

/// Notifications of one source that were not journalled again.
#[derive(Debug, Default)]
pub(super) struct Skipped {
    elements: AtomicU64,
    last: Mutex<Option<Time>>,
}

/// The digest of a submission's source and elements.
pub(super) fn digest(submission: &Submission) -> Digest {
    let mut hasher = Sha256::new();
    let source = submission.source.as_str().as_bytes();
    let elements = submission.elements.iter();
    let parts = elements.flat_map(|element| [element.context.as_bytes(), &*element.body]);
    for part in std::iter::once(source).chain(parts) {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

impl Repeats {
    /// Whether that notification is durable already.
    pub(super) fn knows(&self, digest: &Digest, now: Time) -> bool {
        let mut memory = self.memory();
        memory.forget(now);
        memory.known.contains(digest)
    }

    /// Remembers a notification that is durable.
    pub(super) fn note(&self, digest: Digest, now: Time) {
        let mut memory = self.memory();
        memory.forget(now);
        if memory.known.insert(digest) {
            memory.oldest_first.push_back((now, digest));
        }
        if memory.oldest_first.len() > REPEATS_MAX {
            memory.forget_oldest();
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn forget(&mut self, now: Time) {
        while let Some((since, _)) = self.oldest_first.front().copied() {
            // A clock that was set back must not keep anything for longer.
            let age = now.since(since).max(since.since(now));
            if age <= REPEAT_AGE {
                break;
            }
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, oldest)) = self.oldest_first.pop_front() {
            self.known.remove(&oldest);
        }
    }
}

impl Skipped {
    /// Notes one.
    pub(super) fn note(&self, elements: usize, now: Time) {
        self.elements.fetch_add(elements as u64, Ordering::Relaxed);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = last.max(Some(now));
    }

    /// How many elements, and when the last came.
    pub(super) fn so_far(&self) -> (u64, Option<Time>) {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        (self.elements.load(Ordering::Relaxed), *last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Element, Origin, SourceName};

    fn submission(source: &str, elements: &[(&str, &str)]) -> Submission {
        let element = |(context, body): &(&str, &str)| Element {
            context: (*context).to_owned(),
            body: body.as_bytes().into(),
        };
        Submission {
            source: SourceName::parse(source).unwrap(),
            provider: "generic".into(),
            origin: Origin::Webhook,
            feed: "".into(),
            received_at: Time::from_seconds(0),
            elements: elements.iter().map(element).collect(),
            cursor: None,
            released: Vec::new(),
        }
    }

    #[test]
    fn only_the_same_elements_of_the_same_source_are_the_same() {
        let of = |source, elements: &[_]| digest(&submission(source, elements));
        let one = of("a", &[("c", "one")]);
        assert_eq!(of("a", &[("c", "one")]), one);
        for other in [
            of("b", &[("c", "one")]),
            of("a", &[("", "cone")]),
            of("a", &[("co", "ne")]),
            of("a", &[("c", "one"), ("", "")]),
            of("a", &[("c", "One")]),
            of("a", &[]),
        ] {
            assert_ne!(other, one);
        }
    }

    #[test]
    fn the_memory_is_bounded_in_number_and_age() {
        let repeats = Repeats::default();
        let at = |hours: i64| Time::from_seconds(hours * 3_600);
        let number = |number: usize| Sha256::digest(number.to_le_bytes()).into();
        for n in 0..REPEATS_MAX + 10 {
            repeats.note(number(n), at(0));
            repeats.note(number(n), at(0));
        }
        assert_eq!(repeats.memory().known.len(), REPEATS_MAX);
        assert_eq!(repeats.memory().oldest_first.len(), REPEATS_MAX);
        let last = number(REPEATS_MAX + 9);
        assert!(repeats.knows(&last, at(23)));
        assert!(!repeats.knows(&number(0), at(23)));
        assert!(!repeats.knows(&last, at(25)));
        assert!(repeats.memory().known.is_empty());
        repeats.note(last, at(25));
        assert!(!repeats.knows(&last, at(0)), "the clock was a day ahead");
    }
}
