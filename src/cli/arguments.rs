//! The values that several verbs take, checked before anything is sent: a mistyped reason must not
//! become a filter that matches nothing, or one that matches everything.

use std::io::{self, BufRead, Read};

use clap::Args;

use super::completions;
use super::failure::Failure;
use crate::admin::ListFilter;
use crate::clock;
use crate::model::bounds::check_note;
use crate::model::{Address, Class, EventKind, Reason, Scope, SourceName, Term, Time};
use crate::units;

/// Addresses of one command, so that its line stays well below the socket's 1 MiB.
const ADDRESSES_PER_COMMAND: usize = 1_000;

/// Most bytes of addresses from standard input.
const STDIN_BYTES_MAX: u64 = 256 << 20;

/// Most of the last events that can be asked for.
const EVENTS_MAX: u32 = 10_000;

/// Problems with addresses that are told in full.
const PROBLEMS_SHOWN_MAX: usize = 20;

/// Which suppressions: the filters of `list`, and of `lift`.
#[derive(Debug, Args)]
pub(super) struct FilterArguments {
    /// Only of this reason
    #[arg(long, value_parser = reason, add = completions::reasons())]
    reason: Option<Reason>,
    /// Only of this source
    #[arg(long, value_parser = source, add = completions::tellers())]
    source: Option<SourceName>,
    /// Only of this domain, not its subdomains
    #[arg(long, value_parser = domain)]
    domain: Option<String>,
    /// Only of this scope: `global` or `stream:NAME`
    #[arg(long, value_parser = scope, add = completions::scopes())]
    scope: Option<Scope>,
    /// Only begun at or after this time
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    since: Option<Time>,
    /// Only begun before this time
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    until: Option<Time>,
    /// Only what failures of this class made, and nothing else
    #[arg(long, value_parser = class, add = completions::classes())]
    class: Option<Class>,
    /// Only what failures made, and nothing else, in whose diagnostic this text stands
    #[arg(long, value_name = "TEXT")]
    diagnostic: Option<String>,
}

impl FilterArguments {
    /// The filter, as it is sent.
    pub(super) fn filter(&self) -> Result<ListFilter, Failure> {
        check_span(self.since, self.until)?;
        Ok(ListFilter {
            reason: text(self.reason.as_ref()),
            source: text(self.source.as_ref()),
            domain: self.domain.clone(),
            scope: text(self.scope.as_ref()),
            since: text(self.since.as_ref()),
            until: text(self.until.as_ref()),
            class: text(self.class.as_ref()),
            diagnostic: self.diagnostic.clone(),
        })
    }
}

/// A value as it is sent.
pub(super) fn text(value: Option<&impl ToString>) -> Option<String> {
    value.map(ToString::to_string)
}

/// Refuses a span of time that nothing can lie in.
pub(super) fn check_span(since: Option<Time>, until: Option<Time>) -> Result<(), Failure> {
    match (since, until) {
        (Some(since), Some(until)) if since >= until => {
            let why = format!("--since {since} is not before --until {until}");
            Err(Failure::Usage(why))
        }
        _ => Ok(()),
    }
}

/// A reason, by its name.
pub(super) fn reason(text: &str) -> Result<Reason, String> {
    let known = Reason::ALL.map(Reason::as_str).join(", ");
    Reason::parse(text).ok_or_else(|| format!("no such reason; there are: {known}"))
}

/// A kind of event, by its name.
pub(super) fn kind(text: &str) -> Result<EventKind, String> {
    let known = EventKind::ALL.map(EventKind::as_str).join(", ");
    EventKind::parse(text).ok_or_else(|| format!("no such kind; there are: {known}"))
}

/// A class of failure.
pub(super) fn class(text: &str) -> Result<Class, String> {
    let known = Class::ALL.map(|(_, name)| name).join(", ");
    Class::parse(text).ok_or_else(|| format!("no such class; there are: {known}"))
}

/// The name of a source.
pub(super) fn source(text: &str) -> Result<SourceName, String> {
    SourceName::parse(text).map_err(|error| error.to_string())
}

/// A scope.
pub(super) fn scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).ok_or_else(|| "a scope is `global` or `stream:NAME`".to_owned())
}

/// One address, as typed.
pub(super) fn address(text: &str) -> Result<String, String> {
    Address::named(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn domain(text: &str) -> Result<String, String> {
    // An address has the one reader of domains; an `@` in this one would make two.
    match Address::parse(&format!("x@{text}")) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("not a domain name".to_owned()),
    }
}

/// A note: one line, for people.
pub(super) fn note(text: &str) -> Result<String, String> {
    check_note(text).map(|()| text.to_owned())
}

/// A time: RFC 3339, a date, or a duration back from now.
pub(super) fn time(text: &str) -> Result<Time, String> {
    time_at(text, clock::now())
}

fn time_at(text: &str, now: Time) -> Result<Time, String> {
    not_negative(text)?;
    let back = || units::duration(text).map(|span| now.minus(span).floor_second());
    Time::parse(text)
        .or_else(|| Time::parse(&format!("{text}T00:00:00Z")))
        .or_else(back)
        .ok_or_else(|| {
            "a time is 2026-06-15T10:32:11Z, 2026-06-15, or a duration back from now such as 2h or \
             7d"
            .to_owned()
        })
}

/// Tells a duration that was written as a negative one, and an option in the place of a value.
fn not_negative(text: &str) -> Result<(), String> {
    match text.strip_prefix('-') {
        Some(rest) if units::duration(rest).is_some() => {
            Err(format!("a duration has no sign: did you mean {rest}?"))
        }
        Some(_) => Err("the value is missing".to_owned()),
        None => Ok(()),
    }
}

/// How long an addition holds: a duration of whole seconds, or `forever`.
pub(super) fn term(text: &str) -> Result<Term, String> {
    not_negative(text)?;
    if text == "forever" {
        return Ok(Term::Forever);
    }
    match units::duration(text) {
        Some(span) if span.as_secs() > 0 => Ok(Term::For(span)),
        _ => Err("it is `forever`, or a duration of at least a second such as 12h or 30d".into()),
    }
}

/// The id of a mass that is held back.
pub(super) fn mass(text: &str) -> Result<u64, String> {
    let id = text.parse().ok().filter(|id| *id > 0);
    id.ok_or_else(|| "an id is a number such as 3: `suppressd held` shows them".to_owned())
}

/// How many rows a verb shows.
#[derive(Debug, Args)]
pub(super) struct Limit {
    /// No more than the first N
    #[arg(short = 'n', long, value_name = "N", value_parser = limit)]
    pub(super) limit: Option<u64>,
}

/// How many rows are wanted at most.
fn limit(text: &str) -> Result<u64, String> {
    let limit = text.parse().ok().filter(|limit| *limit > 0);
    limit.ok_or_else(|| "it is a number of rows from 1 on".to_owned())
}

/// How many of the last events are wanted at most.
pub(super) fn last_events(text: &str) -> Result<u32, String> {
    let limit = text.parse().ok().filter(|limit| *limit <= EVENTS_MAX);
    limit.ok_or_else(|| format!("it is a number of events from 1 to {EVENTS_MAX}"))
}

/// The addresses of a command, from the arguments and, for `-`, from standard input, all checked:
/// one that is wrong stops the whole command before anything is done.
pub(super) fn addresses(arguments: &[String]) -> Result<Vec<String>, Failure> {
    let mut addresses = Vec::new();
    let mut problems = Vec::new();
    let mut read = false;
    for argument in arguments {
        if argument != "-" {
            take(argument, String::new(), &mut addresses, &mut problems);
        } else if !std::mem::replace(&mut read, true) {
            from_stdin(&mut addresses, &mut problems)?;
        }
    }
    if !problems.is_empty() {
        let more = problems.len().saturating_sub(PROBLEMS_SHOWN_MAX);
        problems.truncate(PROBLEMS_SHOWN_MAX);
        if more > 0 {
            problems.push(format!("and {more} more"));
        }
        let problems = problems.join("\n  ");
        return Err(Failure::Usage(format!(
            "nothing was done, for these are no addresses:\n  {problems}"
        )));
    }
    if addresses.is_empty() && !arguments.is_empty() {
        // An empty list means "all" to some commands: it must never be sent for "none".
        return Err(Failure::Usage("standard input has no addresses".to_owned()));
    }
    Ok(addresses)
}

fn from_stdin(addresses: &mut Vec<String>, problems: &mut Vec<String>) -> Result<(), Failure> {
    let unread = |error: io::Error| Failure::Failed(format!("standard input: {error}"));
    let mut input = io::stdin().lock().take(STDIN_BYTES_MAX);
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        if input.read_until(b'\n', &mut line).map_err(unread)? == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        if !text.trim().is_empty() {
            take(text.trim(), format!("line {number}: "), addresses, problems);
        }
    }
    if input.limit() == 0 {
        let why = format!("standard input is larger than {STDIN_BYTES_MAX} bytes");
        return Err(Failure::Usage(why));
    }
    Ok(())
}

fn take(text: &str, place: String, addresses: &mut Vec<String>, problems: &mut Vec<String>) {
    match address(text) {
        Ok(address) => addresses.push(address),
        Err(why) => problems.push(format!("{place}{text:?}: {why}")),
    }
}

/// Cuts addresses into the commands that carry them.
pub(super) fn portions(addresses: &[String]) -> impl Iterator<Item = Vec<String>> {
    addresses.chunks(ADDRESSES_PER_COMMAND).map(<[String]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exact_or_back_from_now() {
        let now = Time::parse("2026-06-15T10:32:11.5Z").unwrap();
        for (given, sent) in [
            ("2026-06-15T12:32:11.25+02:00", "2026-06-15T10:32:11.25Z"),
            ("2026-06-15", "2026-06-15T00:00:00Z"),
            ("2h", "2026-06-15T08:32:11Z"),
            ("1d12h", "2026-06-13T22:32:11Z"),
        ] {
            assert_eq!(time_at(given, now).map(|t| t.to_string()).as_deref(), Ok(sent), "{given}");
        }
        for bad in ["", "yesterday", "2026-13-01", "2026-06-15T10:32", "5", "-2h"] {
            assert!(time_at(bad, now).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn values_say_what_they_may_be() {
        assert!(reason("bounce").unwrap_err().contains("hard_bounce, invalid"));
        assert!(kind("bounce").unwrap_err().contains("accepted, delivered"));
        assert_eq!(term("forever"), Ok(Term::Forever));
        assert!(term("-1d").unwrap_err().ends_with("did you mean 1d?"));
        assert!(time("-1d12h").unwrap_err().ends_with("did you mean 1d12h?"));
        assert!(time("--follow").unwrap_err().contains("is missing"));
        assert_eq!(term("90s"), Ok(Term::For(std::time::Duration::from_secs(90))));
        for bad in ["0s", "10ms", "never", ""] {
            assert!(term(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "a@b.example", "b..example", "b example"] {
            assert!(domain(bad).is_err(), "{bad:?}");
        }
        assert!(domain("bücher.example").is_ok());
        assert_eq!((mass("3"), limit("1"), last_events("10000")), (Ok(3), Ok(1), Ok(10_000)));
        for bad in ["", "x", "0", "-1", "1.5", "99999999999999999999"] {
            assert!(mass(bad).unwrap_err().contains("`suppressd held`"), "{bad:?}");
            assert!(limit(bad).unwrap_err().contains("from 1"), "{bad:?}");
        }
        assert!(last_events("10001").unwrap_err().contains("1 to 10000"));
        assert!(note("two\nlines").is_err());
        assert!(note(&"x".repeat(4_097)).is_err());
    }
}
