//! The integration tests, in one binary: what a user, a provider or an MTA sees.

// Marked as tests as a whole, so that what helps them may unwrap too.
#![cfg(test)]

mod poll;
mod support;
