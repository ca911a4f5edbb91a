//! The clockwork: a heartbeat each second, and a call for each cron expression, in UTC.
//!
//! The heartbeat is the monotonic clock's: no setting of the wall clock, in whichever direction,
//! keeps a source from being polled. What a tick means is the runner's to decide.

use std::time::Duration;

use chrono::DateTime;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::Every;
use crate::clock;
use crate::model::Time;
use crate::stop::{Part, stopped};

/// Time between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// So many calls in a row are looked at for the longest wait between two.
const LOOKS: usize = 100;
const HOUR: Duration = Duration::from_secs(60 * 60);

/// The clockwork cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TriggerError {
    /// A cron expression is not one.
    #[error("{0:?} is not a cron expression of six fields, seconds first")]
    Cron(String),
}

/// Whether a text is a cron expression that a source can have.
///
/// # Errors
/// Says what is expected when it is not.
pub fn check_cron(expression: &str) -> Result<(), TriggerError> {
    cron(expression).map(|_| ())
}

fn cron(expression: &str) -> Result<Cron, TriggerError> {
    let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Optional).build();
    parser.parse(expression).map_err(|_| TriggerError::Cron(expression.to_owned()))
}

/// Starts the clockwork. It sends to every receiver of `beats` each second, and to the receiver of
/// each call when its expression says so;
pub(super) fn start(
    beats: Vec<mpsc::Sender<()>>,
    calls: Vec<(String, mpsc::Sender<()>)>,
) -> Result<Part, TriggerError> {
    let now = clock::now();
    let call = |(expression, sender): (String, _)| Ok((Call::new(cron(&expression)?, now), sender));
    let mut calls: Vec<(Call, mpsc::Sender<()>)> =
        calls.into_iter().map(call).collect::<Result<_, _>>()?;
    Ok(Part::start("poll trigger", |mut stop| async move {
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => return,
                _ = heartbeat.tick() => {}
            }
            let now = clock::now();
            let called = calls.iter_mut().filter_map(|(call, to)| call.is_due(now).then_some(&*to));
            for tick in beats.iter().chain(called) {
                // A full channel holds a tick already, and two are worth no more than one.
                let _ = tick.try_send(());
            }
        }
    }))
}

/// A cron expression, and where it was looked at last.
struct Call {
    cron: Cron,
    looked: Time,
    /// When it calls next; `None`: never again.
    next: Option<Time>,
}

impl Call {
    fn new(cron: Cron, now: Time) -> Call {
        let next = after(&cron, now);
        Call { cron, looked: now, next }
    }

    /// Whether it calls. Once, however far the clock has gone since the last look; and one that
    /// was set back counts from where it is now.
    fn is_due(&mut self, now: Time) -> bool {
        let is_back = now.nanos() < self.looked.nanos();
        self.looked = now;
        let is_due = !is_back && self.next.is_some_and(|next| next.nanos() <= now.nanos());
        if is_due || is_back {
            self.next = after(&self.cron, now);
        }
        is_due
    }
}

/// When an expression calls after a time.
fn after(cron: &Cron, time: Time) -> Option<Time> {
    let time = DateTime::from_timestamp(time.second(), 0)?;
    let next = cron.find_next_occurrence(&time, false).ok()?;
    Some(Time::from_seconds(next.timestamp()))
}

/// The longest time that a schedule leaves between two runs.
///
/// # Errors
/// When a cron expression is not one.
pub(super) fn longest_wait(every: &Every) -> Result<Duration, TriggerError> {
    match every {
        Every::Interval(span) => Ok(*span),
        Every::Adaptive(bounds) => Ok(bounds.max),
        Every::Cron(expression) => longest_gap(expression),
    }
}

/// The longest time from one call of an expression to the next, as its calls show it from now on.
fn longest_gap(expression: &str) -> Result<Duration, TriggerError> {
    let (cron, now) = (cron(expression)?, clock::now());
    // Gaps of nights and weekends, of which frequent calls in a row show nothing.
    let hours = (0..35 * 24).map(|hour| now.plus(HOUR * hour));
    let gaps = hours.filter_map(|time| after(&cron, time).map(|next| next.since(time)));
    let mut longest = gaps.max().unwrap_or_default();
    let mut last = after(&cron, now);
    for _ in 0..LOOKS {
        let Some(time) = last else { break };
        last = after(&cron, time);
        longest = longest.max(last.map_or(Duration::ZERO, |next| next.since(time)));
    }
    Ok(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wait_spans_nights_and_weekends() {
        const DAY: Duration = Duration::from_secs(86_400);
        for (expression, least, most) in [
            ("0 */5 * * * *", HOUR / 12, HOUR / 12),
            ("0 0 3 * * *", DAY, DAY),
            ("*/10 * 8-17 * * 1-5", 2 * DAY + 13 * HOUR, 2 * DAY + 15 * HOUR),
            ("0 0 0 1 * *", 31 * DAY, 31 * DAY),
        ] {
            let wait = longest_gap(expression).unwrap();
            assert!(least <= wait && wait <= most, "{expression}: {wait:?}");
        }
    }

    #[test]
    fn cron_expressions_have_six_fields() {
        for good in ["0 */5 * * * *", "30 0 3 * * 1-5", "* * * * * *", "0 0 0 1 1,7 *"] {
            assert_eq!(check_cron(good), Ok(()), "{good}");
        }
        for bad in ["", "*/5 * * * *", "61 * * * * *", "every five minutes", "0 0 0 32 * *"] {
            assert_eq!(check_cron(bad), Err(TriggerError::Cron(bad.to_owned())), "{bad}");
        }
    }

    #[test]
    fn an_expression_calls_wherever_the_clock_is_set() {
        let time = |text| Time::parse(text).unwrap();
        let mut call = Call::new(cron("0 0 * * * *").unwrap(), time("2026-06-15T10:30:00Z"));
        for (now, is_due) in [
            ("2026-06-15T10:59:59.9Z", false),
            ("2026-06-15T11:00:00.9Z", true),
            ("2026-06-15T11:00:01.9Z", false),
            // Ahead by a year: one call for all that was passed over.
            ("2027-06-15T11:00:02Z", true),
            ("2027-06-15T11:00:03Z", false),
            // Right again.
            ("2026-06-15T11:00:04Z", false),
            ("2026-06-15T12:00:00Z", true),
            // Behind by hours.
            ("2026-06-15T09:10:00Z", false),
            ("2026-06-15T10:00:01Z", true),
        ] {
            assert_eq!(call.is_due(time(now)), is_due, "{now}");
        }
    }

    #[tokio::test]
    async fn it_beats_and_calls_until_it_is_stopped() {
        let (beat, mut beats) = mpsc::channel(1);
        let (call, mut calls) = mpsc::channel(1);
        let called = vec![("* * * * * *".to_owned(), call)];
        let mut part = start(vec![beat], called).unwrap();
        assert_eq!(beats.recv().await, Some(()));
        assert_eq!(calls.recv().await, Some(()));
        assert_eq!(beats.recv().await, Some(()));
        part.stop();
        part.ended().await.unwrap();
    }
}
