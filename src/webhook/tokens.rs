//! The tokens of notifications whose signature does not cover the body, each with its body.
//!
//! A token that came with one body is believed with no other. Where several hosts are called by
//! the same providers, each tells the others which tokens it has seen.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::clock;
use crate::model::Time;

/// How long a token is remembered: twice as long as a signature is good for, since its time may be
/// ahead of our clock by as much as behind it.
const TOKEN_AGE: Duration = Duration::from_secs(48 * 60 * 60);
/// Most tokens remembered; with more, the oldest are forgotten early.
const TOKENS_MAX: usize = 100_000;
/// Most tokens that wait to be told. With more, other hosts do not hear of some.
const TOLD_MAX: usize = 10_000;

/// A token of a source, and the body that it came with, as hashes.
pub type Token = ([u8; 32], [u8; 32]);

/// The tokens that were seen. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tokens(Arc<Mutex<Memory>>);

#[derive(Default)]
struct Memory {
    bodies: HashMap<[u8; 32], [u8; 32]>,
    oldest_first: VecDeque<(Time, [u8; 32])>,
    /// Who tells other hosts.
    told: Option<mpsc::Sender<Token>>,
}

impl Tokens {
    /// Remembers a token with its body; `false` when it is known with another.
    pub(super) fn admit(&self, source: &str, token: &str, body: &[u8], now: Time) -> bool {
        // A source's name has no line break.
        let key = Sha256::new().chain_update(format!("{source}\n{token}")).finalize().into();
        let body = Sha256::digest(body).into();
        let mut memory = self.memory();
        let (known, is_new) = memory.note((key, body), now);
        if let Some(told) = memory.told.as_ref().filter(|_| is_new) {
            let _ = told.try_send((key, body));
        }
        known == body
    }

    /// Remembers what other hosts have seen.
    pub fn learn(&self, tokens: &[Token]) {
        let (mut memory, now) = (self.memory(), clock::now());
        for token in tokens {
            memory.note(*token, now);
        }
    }

    /// What is seen here from now on, for the one who tells other hosts.
    pub fn used(&self) -> mpsc::Receiver<Token> {
        let (told, used) = mpsc::channel(TOLD_MAX);
        self.memory().told = Some(told);
        used
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// The body that a token is known with, and whether it is new.
    fn note(&mut self, (key, body): Token, now: Time) -> ([u8; 32], bool) {
        while let Some((since, oldest)) = self.oldest_first.front().copied() {
            if now.since(since) <= TOKEN_AGE && self.oldest_first.len() < TOKENS_MAX {
                break;
            }
            self.bodies.remove(&oldest);
            self.oldest_first.pop_front();
        }
        let known = self.bodies.get(&key).copied();
        if known.is_none() {
            self.oldest_first.push_back((now, key));
            self.bodies.insert(key, body);
        }
        (known.unwrap_or(body), known.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stands_for_one_body_of_one_source() {
        let tokens = Tokens::default();
        let at = |hours: i64| Time::from_seconds(hours * 3_600);
        assert!(tokens.admit("a", "t1", b"one", at(0)));
        assert!(tokens.admit("a", "t1", b"one", at(24)), "a retry");
        assert!(!tokens.admit("a", "t1", b"two", at(24)));
        assert!(!tokens.admit("a", "t1", b"", at(48)));
        assert!(tokens.admit("b", "t1", b"two", at(24)), "another source");
        assert!(tokens.admit("a", "t2", b"two", at(24)), "another token");
        assert!(tokens.admit("a", "t1", b"two", at(49)), "forgotten");
        assert!(!tokens.admit("a", "t1", b"one", at(49)));
    }

    #[test]
    fn the_memory_is_bounded() {
        let tokens = Tokens::default();
        for number in 0..TOKENS_MAX + 10 {
            assert!(tokens.admit("a", &number.to_string(), b"one", Time::from_seconds(0)));
        }
        assert_eq!(tokens.memory().oldest_first.len(), TOKENS_MAX);
        assert_eq!(tokens.memory().bodies.len(), TOKENS_MAX);
        let last = (TOKENS_MAX + 9).to_string();
        assert!(!tokens.admit("a", &last, b"two", Time::from_seconds(0)));
    }

    #[test]
    fn what_one_host_has_seen_the_others_know() {
        let (one, other) = (Tokens::default(), Tokens::default());
        let mut used = one.used();
        let now = clock::now();
        assert!(one.admit("a", "t1", b"one", now));
        assert!(one.admit("a", "t1", b"one", now));
        let told = used.try_recv().unwrap();
        assert!(used.try_recv().is_err(), "a retry is not told");
        other.learn(&[told]);
        assert!(!other.admit("a", "t1", b"two", now));
        assert!(other.admit("a", "t1", b"one", now));
    }
}
