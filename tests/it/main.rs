//! The integration tests, in one binary: what a user, a provider or an MTA sees.

mod config;
