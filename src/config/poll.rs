//! A source's `poll` table: when it is asked, for what, and how.

use std::ops::RangeInclusive;
use std::time::Duration;

use croner::parser::{CronParser, Seconds, Year};
use url::{Host, Url};

use super::near::listed;
use super::section::{Field, Section, shown};
use super::source::{note, settings};
use super::{DAY, polls};
use crate::model::{SourceName, Time};
use crate::poll::Every;
use crate::provider::{Provider, Settings, Window};

const INTERVALS: RangeInclusive<Duration> = Duration::from_secs(1)..=MONTH;
const INTERVAL: Duration = Duration::from_secs(5 * 60);

const OVERLAPS: RangeInclusive<Duration> = Duration::ZERO..=MONTH;
const OVERLAP: Duration = Duration::from_secs(15 * 60);

/// No provider keeps its events for ten years.
const BACKFILLS: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3_650 * DAY.as_secs());
const BACKFILL: Duration = MONTH;

const MONTH: Duration = Duration::from_secs(30 * DAY.as_secs());

/// The keys under which adapters take the address of an API.
const URL_KEYS: [&str; 2] = ["url", "base_url"];

/// A good `poll` table.
pub(super) struct Poll {
    settings: Settings,
    feeds: Vec<String>,
    every: Every,
    overlap: Duration,
    backfill: Duration,
}

impl Poll {
    pub(super) fn into_settings(
        self,
        source: SourceName,
        provider: &'static dyn Provider,
        has_webhook: bool,
    ) -> polls::Settings {
        let Poll { settings, feeds, every, overlap, backfill } = self;
        polls::Settings { source, provider, settings, feeds, every, overlap, backfill, has_webhook }
    }
}

/// The `poll` table of a source. `None` where a problem was noted.
pub(super) fn poll(section: Section<'_>, provider: &dyn Provider) -> Option<Poll> {
    if provider.feeds().is_empty() {
        let what = format!("{} has no feed that can be polled", provider.name());
        section.problem_here(what, "remove poll, and rely on the webhook");
        return None;
    }
    let every = every(&section);
    let overlap = section.take("overlap").and_then(|field| field.duration(OVERLAPS));
    let backfill = section.take("backfill").and_then(|field| field.duration(BACKFILLS));
    let feeds = feeds(&section, provider);
    let settings = settings(&section, &[provider.poll_keys()]);
    try_request(&section, provider, &settings);
    let good = !section.has_problems();
    section.finish();
    good.then(|| Poll {
        settings,
        feeds,
        every: every.unwrap_or(Every::Interval(INTERVAL)),
        overlap: overlap.unwrap_or(OVERLAP),
        backfill: backfill.unwrap_or(BACKFILL),
    })
}

fn every(section: &Section<'_>) -> Option<Every> {
    let interval = section.take("every");
    let cron = section.take("cron");
    if let (Some(_), Some(cron)) = (&interval, &cron) {
        cron.problem("stands beside every", "keep one of the two");
    }
    let interval = interval.and_then(|field| field.duration(INTERVALS)).map(Every::Interval);
    cron.and_then(|field| expression(&field)).map(Every::Cron).or(interval)
}

/// A cron expression, as the scheduler will read it.
fn expression(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let fields = text.split_whitespace().count();
    if fields == 5 {
        let what = format!("{} has five fields", shown(text));
        field.problem(what, format!("put the seconds first, as in \"0 {}\"", text.trim()));
        return None;
    }
    let hint = "write six fields: second minute hour day month weekday, as in \"0 */5 * * * *\"";
    if fields != 6 || !text.is_ascii() {
        field.problem(format!("{} is not a cron expression", shown(text)), hint);
        return None;
    }
    let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Optional).build();
    match parser.parse(text) {
        Ok(_) => Some(text.to_owned()),
        Err(error) => {
            field.problem(format!("{} is not a cron expression: {error}", shown(text)), hint);
            None
        }
    }
}

/// The feeds to ask, in the provider's order; by default all.
fn feeds(section: &Section<'_>, provider: &dyn Provider) -> Vec<String> {
    let known = provider.feeds();
    let read = |text: &str| {
        let hint = || format!("{} has: {}", provider.name(), listed(known.iter().copied()));
        let feed = known.iter().find(|feed| **feed == text);
        feed.copied().ok_or_else(|| (format!("{} is not a feed", shown(text)), hint()))
    };
    let named = section.take("feeds").and_then(|field| field.list_of(read));
    let asked = |feed: &&&'static str| named.as_ref().is_none_or(|named| named.contains(feed));
    known.iter().filter(asked).map(|feed| (*feed).to_owned()).collect()
}

/// Builds a request as the poller will, to learn now what the adapter has against the settings.
fn try_request(section: &Section<'_>, provider: &dyn Provider, settings: &Settings) {
    let feed = provider.feeds().first().copied().unwrap_or_default();
    let until = Time::from_seconds(DAY.as_secs().cast_signed());
    let window = Window { since: Time::from_seconds(0), until };
    let request = match provider.page_request(settings, feed, &window, None) {
        Ok(request) => request,
        Err(error) => return note(section, &error),
    };
    if !is_private(&request.url) {
        let key = URL_KEYS.into_iter().find(|key| section.has(key));
        let what = "is not an https URL: the key and the events would cross the network in clear";
        let hint = "use https; plain http is for a loopback address only";
        match key {
            Some(key) => section.problem(key, what, hint),
            None => section.problem_here(what, hint),
        }
    }
}

/// Whether nobody on the way can read or change what is asked.
fn is_private(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && loopback)
}
