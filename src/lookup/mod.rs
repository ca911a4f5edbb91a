//! Live lookups: an MTA asks over a socket, and is told the verdict in its own protocol.
//!
//! A protocol is pure: bytes become queries, answers become bytes. `judge` finds the verdict, and
//! `listener` alone touches sockets. Nothing here changes anything.

mod judge;
pub mod listener;
mod policy;
mod reply;
mod socketmap;
mod tcp_table;
#[cfg(test)]
mod test;

use std::borrow::Cow;
use std::time::Duration;

pub use judge::{Judge, Lookups, Status};
pub use reply::{Replies, Style};

use crate::listen::{Entry, Listen};
use crate::model::{Address, Filter, Scope};

/// Every protocol that a lookup can name. README's table is checked against this list.
pub static ALL: &[&dyn Protocol] = &[&socketmap::Socketmap, &tcp_table::TcpTable, &policy::Policy];

/// Answers that are gathered before they are written, in bytes; one more may go beyond.
const ANSWERS_BYTES_MAX: usize = 64 << 10;

/// How an MTA asks and is answered.
pub trait Protocol: Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &'static str;

    /// Whether a query names its sender.
    fn names_sender(&self) -> bool;

    /// The query at the front of what has come, and how many bytes it took. `None`: it is not
    /// whole yet. What is said of some bytes holds however many follow.
    ///
    /// # Errors
    /// When nothing that follows can make it a query.
    fn query<'a>(&self, bytes: &'a [u8]) -> Result<Option<(Query<'a>, usize)>, Garbage>;

    /// Appends an answer.
    fn answer(&self, answer: Answer<'_>, out: &mut Vec<u8>);
}

/// What an MTA asks. What cannot be read as an address is asked for as it is, and is not found.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Query<'a> {
    /// Whom the mail is for. Empty: the query is about something else.
    pub recipient: Cow<'a, str>,
    /// Who sends it, where the protocol says so.
    pub sender: Cow<'a, str>,
    /// The name of the table that is asked, where the protocol has names.
    pub table: Cow<'a, str>,
}

/// What an MTA is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The address is not suppressed, or no address.
    Clear,
    /// It is, and this is what the MTA is to do.
    Suppressed(&'a str),
    /// We cannot know now.
    Unavailable,
}

/// The bytes are no query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbage;

/// One `[[lookup]]`.
#[derive(Clone)]
pub struct Settings {
    /// How the MTA asks.
    pub protocol: &'static dyn Protocol,
    /// Where it asks.
    pub listen: Listen,
    /// Permissions of a Unix socket.
    pub mode: u32,
    /// The group of a Unix socket, as a group id. `None`: ours.
    pub group: Option<u32>,
    /// Whether mail is let through while the store cannot answer.
    pub open_on_error: bool,
    /// Reasons and sources that count. Its scopes are empty: see `scopes`.
    pub filter: Filter,
    /// Scopes that count. Not empty.
    pub scopes: Vec<Scope>,
    /// Senders whose mail has other scopes; the first that matches counts.
    pub scopes_by_sender: Vec<(Sender, Vec<Scope>)>,
    /// What begins an extension of a local part. Empty: nothing does.
    pub recipient_delimiter: String,
    /// What the MTA is to do.
    pub replies: Replies,
    /// How it is told. `None`: the name of the table decides.
    pub style: Option<Style>,
    /// Most connections at once; more wait to be accepted.
    pub connections_max: usize,
    /// Longest wait for the next query.
    pub idle_timeout: Duration,
}

impl Settings {
    /// What its listener is bound by.
    pub fn entry(&self) -> Entry {
        Entry { listen: self.listen.clone(), mode: self.mode, group: self.group }
    }
}

/// Whom a row of `scopes_by_sender` means.
#[derive(Clone, PartialEq, Eq)]
pub enum Sender {
    /// One mailbox.
    Address(Address),
    /// Every mailbox of a domain, but none of its subdomains: in lower case, in A-labels.
    Domain(String),
}

/// Answers the whole queries at the front of `bytes`, as many as go into one writing. Says how
/// many bytes they took, and whether what follows may hold another.
///
/// # Errors
/// When the next bytes are no query. `out` has the answers to those before.
pub fn answer_all<'j>(
    protocol: &dyn Protocol,
    bytes: &[u8],
    out: &mut Vec<u8>,
    mut judge: impl FnMut(&Query<'_>) -> Answer<'j>,
) -> Result<(usize, bool), Garbage> {
    let mut used = 0;
    while out.len() < ANSWERS_BYTES_MAX {
        let Some((query, length)) = protocol.query(&bytes[used..])? else {
            return Ok((used, false));
        };
        protocol.answer(judge(&query), out);
        used += length;
    }
    Ok((used, true))
}
