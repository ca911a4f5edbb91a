//! Every log line for operators, and every metric: one function each, by area.
//!
//! Nothing here takes an address, a body or a secret; names of sources, files and counts only.
//! Metrics are named `suppressd_…`, as Prometheus's naming rules have it.

pub mod acme;
pub mod control;
pub mod export;
pub mod fleet;
pub mod fold;
pub mod forward;
pub mod health;
pub mod ingest;
pub mod log;
pub mod lookup;
pub mod poll;
pub mod push;
pub mod series;
pub mod webhook;
