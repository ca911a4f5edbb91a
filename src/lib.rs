//! suppressd keeps a mail host's suppression lists true to what its e-mail providers report.
//!
//! Modules stand in layer order: each uses only those above it. ARCHITECTURE.md has the map.

pub mod model;

pub mod clock;
pub mod current;
pub mod niceness;
pub mod secret;
pub mod shown;
pub mod telemetry;
pub mod units;

pub mod ends;
pub mod import;
pub mod provider;
pub mod rules;
pub mod verdict;

pub mod accept;
pub mod flights;
pub mod forgotten;
pub mod journal;
pub mod listen;
pub mod room;
pub mod stop;
pub mod store;
pub mod turns;

pub mod backup;
pub mod ingest;

pub mod resolve;

pub mod fetch;

pub mod acme;
pub mod admin;
pub mod export;
pub mod fleet;
pub mod forward;
pub mod lookup;
pub mod poll;
pub mod webhook;

pub mod http;

pub mod control;

pub mod config;
pub mod systemd;

pub mod probe;

pub mod daemon;

pub mod cli;
