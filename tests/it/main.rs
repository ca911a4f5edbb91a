//! The integration tests: laws of merging and judging, providers, and the source text itself.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod facts;
mod laws;
mod providers;
mod rust_text;
mod tidy;
mod verdicts;
