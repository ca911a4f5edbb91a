//! suppressd keeps a mail host's suppression lists true to what its e-mail providers report.
//!
//! Modules stand in layer order: each uses only those above it. ARCHITECTURE.md has the map.

pub mod model;

pub mod clock;
pub mod secret;
pub mod telemetry;
pub mod units;

pub mod provider;
pub mod rules;

pub mod listen;
pub mod store;

pub mod ingest;

pub mod admin;
pub mod export;
pub mod fetch;
pub mod poll;
pub mod webhook;

pub mod http;
