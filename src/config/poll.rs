//! A source's `poll` table: when it is asked, for what, and how.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use chrono::DateTime;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use toml::de::DeValue;
use url::Url;

use super::near::listed;
use super::section::{Field, Section, shown};
use super::source::{described, note, settings};
use super::{DAY, MINUTE, polls};
use crate::clock;
use crate::model::{SourceName, Time};
use crate::poll::{Bounds, Every};
use crate::provider::{Adapter, Feed, PageRequest, Provider, Query, Settings, Window};
use crate::units::show_duration;

const INTERVALS: RangeInclusive<Duration> = Duration::from_secs(1)..=MONTH;

/// Who asks more often than this gets no news sooner, and is refused at times.
const OFTEN: Duration = Duration::from_secs(10);

/// Between what the interval adapts itself unless the source says otherwise.
const ADAPTIVE: Bounds = Bounds { min: MINUTE, max: Duration::from_secs(15 * 60) };

const OVERLAPS: RangeInclusive<Duration> = Duration::ZERO..=MONTH;

/// No provider keeps its events for ten years.
const BACKFILLS: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3_650 * DAY.as_secs());
const BACKFILL: Duration = MONTH;

const SCANS: RangeInclusive<Duration> = MINUTE..=MONTH;
const SCAN: Duration = DAY;

const MONTH: Duration = Duration::from_secs(30 * DAY.as_secs());

/// The keys under which adapters take the address of an API.
const URL_KEYS: [&str; 3] = ["url", "base_url", "list_url"];

/// What is wrong with a request that anybody on the way could read, and what to write.
pub(super) const IN_CLEAR: &str =
    "is not an https URL: the key and the events would cross the network in clear";
pub(super) const PRIVATE: &str = "use https; plain http is for a loopback address only";

/// Headers that say nothing of who asks.
const ANONYMOUS: [&str; 3] = ["accept", "content-type", "user-agent"];

/// A good `poll` table.
pub(super) struct Poll {
    settings: Settings,
    described: Option<Adapter>,
    feeds: Vec<Feed>,
    timing: Timing,
    trust_removals: bool,
}

/// When a source is asked, and for how long a time.
pub(super) struct Timing {
    every: Every,
    overlap: Option<Duration>,
    backfill: Duration,
    scan: Duration,
}

impl Poll {
    /// The provider's own settings.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The provider that the table describes, if it does.
    pub(super) fn described(&self) -> Option<Adapter> {
        self.described.clone()
    }

    pub(super) fn into_settings(
        self,
        source: SourceName,
        provider: Adapter,
        has_webhook: bool,
        push: Option<polls::PushSettings>,
    ) -> polls::Settings {
        let Poll { settings, feeds, timing, trust_removals, .. } = self;
        let Timing { every, overlap, backfill, scan } = timing;
        polls::Settings {
            source,
            provider,
            settings,
            feeds,
            every,
            overlap,
            backfill,
            scan,
            trust_removals,
            push,
            has_webhook,
        }
    }
}

/// The `poll` table of a source, whose `webhook` table has these settings. `None` where a problem
/// was noted.
pub(super) fn poll(
    section: Section<'_>,
    provider: &dyn Provider,
    webhook: Option<&Settings>,
) -> Option<Poll> {
    if provider.feeds().is_empty() && provider.poll_keys().is_empty() {
        let what = format!("{} has no feed that can be polled", provider.name());
        section.problem_here(what, "remove poll, and rely on the webhook");
        return None;
    }
    let timing = timing(&section);
    let trust_removals = section.take("trust_removals").and_then(|field| field.flag());
    let settings = settings(&section, provider.name(), &[provider.poll_keys()]);
    let described = described(&section, provider, webhook, Some(&settings));
    let provider = described.as_deref().unwrap_or(provider);
    let feeds = feeds(&section, provider, &settings);
    try_requests(&section, provider, &feeds, &settings);
    let good = !section.has_problems();
    section.finish();
    good.then(|| Poll {
        settings,
        described,
        feeds,
        timing,
        trust_removals: trust_removals.unwrap_or(false),
    })
}

/// The keys of a `poll` table that are the same for every provider.
pub(super) fn timing(section: &Section<'_>) -> Timing {
    let every = every(section);
    let overlap = section.take("overlap").and_then(|field| field.duration(OVERLAPS));
    let backfill = section.take("backfill").and_then(|field| field.duration(BACKFILLS));
    let scan = section.take("scan").and_then(|field| field.duration(SCANS));
    Timing {
        every: every.unwrap_or(Every::Adaptive(ADAPTIVE)),
        overlap,
        backfill: backfill.unwrap_or(BACKFILL),
        scan: scan.unwrap_or(SCAN),
    }
}

fn every(section: &Section<'_>) -> Option<Every> {
    let interval = section.take("every");
    let cron = section.take("cron");
    if let (Some(_), Some(cron)) = (&interval, &cron) {
        cron.problem("stands beside every", "keep one of the two");
    }
    let interval = interval.and_then(|field| interval_of(&field));
    cron.and_then(|field| expression(&field)).map(Every::Cron).or(interval)
}

/// One interval, or the two between which it adapts itself.
fn interval_of(field: &Field<'_>) -> Option<Every> {
    if !matches!(field.value, DeValue::Table(_)) {
        let interval = field.duration(INTERVALS)?;
        if interval < OFTEN {
            let hint = "a minute is often enough: providers limit how often they may be asked";
            field.warn(format!("asks every {}", show_duration(interval)), hint);
        }
        return Some(Every::Interval(interval));
    }
    let bounds = field.table()?;
    let min = bounds.take("min").and_then(|field| field.duration(INTERVALS));
    let max = bounds.take("max").and_then(|field| field.duration(INTERVALS));
    let (min, max) = (min.unwrap_or(ADAPTIVE.min), max.unwrap_or(ADAPTIVE.max));
    if min > max {
        bounds.problem("min", "is longer than max", "let min be the shorter of the two");
    }
    bounds.finish();
    Some(Every::Adaptive(Bounds { min, max }))
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
        Ok(cron) if fires(&cron) => {
            if is_each_second(&cron) {
                let hint = "to ask each minute, begin it with 0, as in \"0 * * * * *\"";
                field.warn(format!("{} fires each second", shown(text)), hint);
            }
            Some(text.to_owned())
        }
        Ok(_) => {
            let hint = "no such day comes; check the day and the month";
            field.problem(format!("{} never fires", shown(text)), hint);
            None
        }
        Err(error) => {
            field.problem(format!("{} is not a cron expression: {error}", shown(text)), hint);
            None
        }
    }
}

/// Whether a time is still to come that the expression names.
fn fires(cron: &Cron) -> bool {
    let now = DateTime::from_timestamp(clock::now().second(), 0).unwrap_or(DateTime::UNIX_EPOCH);
    cron.find_next_occurrence(&now, false).is_ok()
}

/// Whether two times that the expression names follow upon each other within a second.
fn is_each_second(cron: &Cron) -> bool {
    let now = DateTime::from_timestamp(clock::now().second(), 0).unwrap_or(DateTime::UNIX_EPOCH);
    let first = cron.find_next_occurrence(&now, false).ok();
    let second = first.as_ref().and_then(|first| cron.find_next_occurrence(first, false).ok());
    first.zip(second).is_some_and(|(first, second)| (second - first).num_seconds() <= 1)
}

/// The feeds to ask, in the provider's order; by default all that there are.
fn feeds(section: &Section<'_>, provider: &dyn Provider, settings: &Settings) -> Vec<Feed> {
    let known: Vec<&str> = provider.feeds().iter().map(|feed| &*feed.name).collect();
    let read = |text: &str| {
        let hint = || format!("{} has: {}", provider.name(), listed(known.iter().copied()));
        let feed = known.iter().find(|feed| **feed == text);
        feed.copied().ok_or_else(|| (format!("{} is not a feed", shown(text)), hint()))
    };
    let named = section.take("feeds").and_then(|field| field.list_of(read));
    let asked = |feed: &&Feed| match &named {
        Some(named) => named.contains(&&*feed.name),
        None => provider.has_feed(&feed.name, settings),
    };
    provider.feeds().iter().filter(asked).cloned().collect()
}

/// Builds the requests that the poller will, to learn now what the adapter has against the
/// settings.
fn try_requests(
    section: &Section<'_>,
    provider: &dyn Provider,
    feeds: &[Feed],
    settings: &Settings,
) {
    let until = Time::from_seconds(DAY.as_secs().cast_signed());
    let window = Window { since: Time::from_seconds(0), until };
    let mut bare = None;
    for feed in feeds {
        let query = Query { settings, feed: &feed.name, window, next: None, now: until };
        let request = match provider.page_request(&query) {
            Ok(request) => request,
            // One problem is enough: the other feeds would only say it again.
            Err(error) => return note(section, &error),
        };
        if let Some((key, what)) = odd_query(settings, &request.url) {
            let hint = "write the URL without it: the poll says by itself what it asks for";
            return section.problem(key, what, hint);
        }
        if !is_private(&request.url) {
            let exposed = |key: &&str| {
                let url = settings.text(key).and_then(|text| Url::parse(text).ok());
                url.is_some_and(|url| !is_private(&url))
            };
            let key = URL_KEYS.into_iter().find(exposed);
            return match key {
                Some(key) => section.problem(key, IN_CLEAR, PRIVATE),
                None => section.problem_here(IN_CLEAR, PRIVATE),
            };
        }
        bare = bare.or_else(|| shows_nothing(settings, &request).then_some(request.url));
    }
    let host = bare.as_ref().and_then(Url::host_str);
    if let (Some(host), false, false) = (host, section.has_problems(), section.has_unchecked()) {
        let what = format!("asks {host} without a credential: whoever asks there is told");
        let hint = match provider.poll_keys().iter().any(|key| key.name == "bearer") {
            true => "set bearer, unless it knows this host by something else",
            false => "set secret and auth, unless it knows this host by something else",
        };
        section.warn_here(what, hint);
    }
}

/// Whether a request to another host has nothing that proves who asks.
fn shows_nothing(settings: &Settings, request: &PageRequest) -> bool {
    let url = |key: &str| settings.text(key).and_then(|text| Url::parse(text).ok());
    let named = |name: &str| !ANONYMOUS.contains(&name.to_ascii_lowercase().as_str());
    settings.secret_lists().next().is_none()
        && !request.headers.iter().any(|(name, _)| named(name))
        && request.url.username().is_empty()
        && !URL_KEYS.into_iter().filter_map(url).any(|url| url.query().is_some())
        && !is_loopback(&request.url)
}

/// What is wrong with the query that an address was written with, of which a request is made, and
/// the key of the address.
fn odd_query(settings: &Settings, asked: &Url) -> Option<(&'static str, String)> {
    let times = |url: &Url, name: &str| url.query_pairs().filter(|(key, _)| key == name).count();
    URL_KEYS.into_iter().find_map(|key| {
        let written = settings.text(key).and_then(|text| Url::parse(text).ok())?;
        if key == "base_url" && written.query().is_some() {
            return Some((key, "has a query, which is never sent".to_owned()));
        }
        let mut names = written.query_pairs().map(|(name, _)| name.into_owned());
        let twice = names.find(|name| times(asked, name) > times(&written, name))?;
        Some((key, format!("has {twice}= in its query, which would be sent twice")))
    })
}

/// Whether nobody on the way can read or change what is asked.
pub(super) fn is_private(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url))
}

/// Whether a URL, of whatever scheme, leads to this host.
pub(super) fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost"
        || bare.ends_with(".localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
