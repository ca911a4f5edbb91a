//! The integration tests, in one binary: what a user, a provider or an MTA sees.

// Marked as tests as a whole, so that what helps them may unwrap too.
#![cfg(test)]

mod authentic;
mod cli;
mod clock;
mod config;
mod contradictions;
mod custom;
mod disk;
mod export_daemon;
mod facts;
mod feeds;
mod formats;
mod hostile;
mod http;
mod identity;
mod journal;
mod kill;
mod laws;
mod lifecycle;
mod lists;
mod lists_facts;
mod logs;
mod lookup;
mod lookup_postfix;
mod mta_exim;
mod mta_haraka;
mod mta_opensmtpd;
mod mta_pages;
mod mta_rspamd;
mod mta_sendmail;
mod poll;
mod poll_daemon;
mod polling;
mod postfix;
mod postfix_daemon;
mod postfix_map;
mod providers;
mod pushes;
mod queue;
mod rebuild;
mod reconcile;
mod rereading;
mod retention;
mod rust_text;
mod same_fact;
mod scrub;
mod support;
mod tidy;
mod told_again;
mod told_twice;
mod unit;
mod verbs;
mod verdicts;
