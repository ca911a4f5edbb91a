//! The webhooks that were turned away last, with why, so that a signature can be debugged.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::clock;
use crate::model::Time;

/// Most refusals that are kept, in memory only.
const KEPT_MAX: usize = 500;
/// Most characters of what a stranger has chosen.
const TEXT_MAX: usize = 200;

/// A webhook that was turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its number, from 1 on since the start.
    pub number: u64,
    /// When.
    pub at: Time,
    /// The source in its path, or what stands there.
    pub source: Box<str>,
    /// Who sent it.
    pub peer: Box<str>,
    /// Why. Nothing of its body.
    pub reason: Box<str>,
}

/// The last of them.
#[derive(Debug, Default)]
pub struct Refusals {
    kept: Mutex<VecDeque<Refusal>>,
    last: watch::Sender<u64>,
}

impl Refusals {
    /// Notes one.
    pub fn note(&self, source: &str, peer: impl Display, reason: impl Display) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.pop_front();
        }
        let number = *self.last.borrow() + 1;
        kept.push_back(Refusal {
            number,
            at: clock::now(),
            source: clipped(source),
            peer: clipped(&peer.to_string()),
            reason: clipped(&reason.to_string()),
        });
        self.last.send_replace(number);
    }

    /// Those behind number `seen` that are still kept, oldest first.
    pub fn since(&self, seen: u64) -> Vec<Refusal> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().filter(|refusal| refusal.number > seen).cloned().collect()
    }

    /// The number of the last one, as it grows.
    pub fn progress(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }
}

fn clipped(text: &str) -> Box<str> {
    text.chars().take(TEXT_MAX).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept() {
        let refusals = Refusals::default();
        for number in 1..=KEPT_MAX as u64 + 3 {
            refusals.note("acme", "192.0.2.1", format!("{number}: {}", "x".repeat(300)));
        }
        let kept = refusals.since(0);
        assert_eq!((kept.len(), kept[0].number), (KEPT_MAX, 4));
        assert!(kept[0].reason.starts_with("4: x") && kept[0].reason.len() == TEXT_MAX);
        assert_eq!(refusals.since(KEPT_MAX as u64 + 2).len(), 1);
        assert_eq!(*refusals.progress().borrow(), KEPT_MAX as u64 + 3);
    }
}
