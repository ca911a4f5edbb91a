//! The integration tests: one binary, with real programs where users run real programs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod postfix;
mod support;
