//! The integration tests, in one binary: what a user, a provider or an MTA sees.

// Marked as tests as a whole, so that what helps them may unwrap too.
#![cfg(test)]

mod cli;
mod config;
mod disk;
mod facts;
mod http;
mod journal;
mod kill;
mod laws;
mod poll;
mod polling;
mod postfix;
mod providers;
mod queue;
mod rebuild;
mod rust_text;
mod scrub;
mod support;
mod tidy;
mod unit;
mod verdicts;
