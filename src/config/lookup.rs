//! The `[[lookup]]` tables: which MTA asks where, in which protocol, and what it is told.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::export::filter;
use super::listeners::{CONNECTIONS_MAX, CONNECTIONS_MAX_DEFAULT, admitted, clash, listen_in_time};
use super::lookups::{ALL, Protocol, Replies, Sender, Settings, Style};
use super::near::listed;
use super::reply::refusals;
use super::section::{Field, Section, checked, shown};
use super::{DAY, scope};
use crate::listen::Listen;
use crate::model::{Address, Filter, Scope, SourceName, reply};

/// Longer than Postfix keeps a policy connection that it does not use (300 s).
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
const IDLE_TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=DAY;

/// What cannot begin an extension: it would not be seen in a local part, or only in quotes.
const NO_DELIMITERS: &str = "@\"\\";

/// All `[[lookup]]` tables. `sources`: the names of the configured sources. `taken`: where others
/// listen, by the key that says so.
pub(super) fn lookups(
    sections: Vec<Section<'_>>,
    sources: &BTreeSet<SourceName>,
    taken: &mut Vec<(String, Listen)>,
) -> Vec<Settings> {
    let one = |(index, section): (usize, Section<'_>)| {
        let place = section.need("listen", "write \"unix:/path\" or \"127.0.0.1:10033\"");
        let listen = place.and_then(|field| {
            let listen = listen_in_time(&field)?;
            if let Some((key, _)) = taken.iter().find(|(_, other)| clash(other, &listen)) {
                let hint = "give each listener an address, a port or a path of its own";
                field.problem(format!("{listen} is taken by {key}"), hint);
            }
            if !listen.is_local() && listen != Listen::Systemd {
                let hint = "let a firewall admit your MTAs alone, or listen on loopback";
                let what = "other hosts reach it, and whoever does can ask about any address";
                field.warn(format!("{listen}: {what}"), hint);
            }
            taken.push((format!("lookup[{}].listen", index + 1), listen.clone()));
            Some(listen)
        });
        lookup(&section, listen, sources)
    };
    sections.into_iter().enumerate().filter_map(one).collect()
}

fn lookup(
    section: &Section<'_>,
    listen: Option<Listen>,
    sources: &BTreeSet<SourceName>,
) -> Option<Settings> {
    let protocol = protocol(section);
    if let (Some("tcp-table"), Some(Listen::Unix(_))) = (protocol.map(|p| p.name()), &listen) {
        let hint = "listen on \"127.0.0.1:10033\", or use socketmap, which has Unix sockets";
        section.warn("listen", "is a Unix socket, and Postfix's tcp_table(5) reaches none", hint);
    }
    let (mode, group) = admitted(section, listen.as_slice());
    let on_error = section
        .take("on_error")
        .and_then(|field| field.choice("a way to fail", &["open", "closed"]));
    let Filter { reasons, sources, scopes } = filter(section, sources, &[]);
    let by_sender = section.take("scopes_by_sender").map(|field| by_sender(&field, protocol));
    let delimiter = section.take("recipient_delimiter").and_then(|field| delimiter(&field));
    let reply = section
        .take("reply")
        .and_then(|field| refusals(&field, |text| reply::check(text).map(|_| ())));
    let style = section.take("style").and_then(|field| style(&field, protocol));
    let connections =
        section.take("connections_max").and_then(|field| field.integer(CONNECTIONS_MAX));
    let idle = section.take("idle_timeout").and_then(|field| field.duration(IDLE_TIMEOUTS));
    section.finish();
    let whole = |number: u64| usize::try_from(number).ok();
    Some(Settings {
        protocol: protocol?,
        listen: listen?,
        mode,
        group,
        open_on_error: on_error != Some("closed"),
        filter: Filter { reasons, sources, scopes: Vec::new() },
        scopes,
        scopes_by_sender: by_sender.unwrap_or_default(),
        recipient_delimiter: delimiter.unwrap_or_default(),
        replies: Replies::new(&reply.unwrap_or_default()),
        style,
        connections_max: connections.and_then(whole).unwrap_or(CONNECTIONS_MAX_DEFAULT),
        idle_timeout: idle.unwrap_or(IDLE_TIMEOUT),
    })
}

fn protocol(section: &Section<'_>) -> Option<&'static dyn Protocol> {
    let names: Vec<&'static str> = ALL.iter().map(|protocol| protocol.name()).collect();
    let hint = format!("this version has: {}", listed(names.iter().copied()));
    let chosen = section.need("protocol", &hint)?.choice("a protocol", &names)?;
    ALL.iter().copied().find(|protocol| protocol.name() == chosen)
}

/// A policy service always answers with what access(5) takes.
fn style(field: &Field<'_>, protocol: Option<&dyn Protocol>) -> Option<Style> {
    let chosen = field.choice("a style", &Style::ALL.map(Style::as_str))?;
    if protocol.is_some_and(|protocol| protocol.names_sender()) {
        field.problem("has no meaning for policy", "remove it");
    }
    Style::parse(chosen)
}

fn by_sender(field: &Field<'_>, protocol: Option<&dyn Protocol>) -> Vec<(Sender, Vec<Scope>)> {
    if protocol.is_some_and(|protocol| !protocol.names_sender()) {
        field.problem("needs to know the sender", "use protocol = \"policy\", or remove it");
    }
    let row = |section: Section<'_>| {
        let hint = "write \"news@example.com\", or \"@example.com\" for a domain";
        let sender = section.need("sender", hint).and_then(|field| sender(&field, hint));
        let hint = "write \"global\" or \"stream:NAME\", or both";
        let scopes = section.need("scopes", hint).and_then(|field| field.list_of(scope));
        section.finish();
        Some((sender?, scopes?))
    };
    field.list().iter().filter_map(Field::table).filter_map(row).collect()
}

fn sender(field: &Field<'_>, hint: &str) -> Option<Sender> {
    let text = field.text()?;
    let probe = if text.starts_with('@') { format!("x{text}") } else { text.to_owned() };
    let wrong = format!("{} is neither an address nor a domain behind @", shown(text));
    let address = checked(field, Address::parse(&probe).map_err(|_| wrong), hint)?;
    if text.starts_with('@') {
        return Some(Sender::Domain(address.domain().to_owned()));
    }
    Some(Sender::Address(address))
}

fn delimiter(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let fits = |c: char| c.is_ascii_punctuation() && !NO_DELIMITERS.contains(c);
    if text.chars().all(fits) {
        return Some(text.to_owned());
    }
    let hint = "write the characters that the MTA's own setting has, such as \"+\"";
    field.problem(format!("{} does not delimit an extension", shown(text)), hint);
    None
}
