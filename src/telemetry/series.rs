//! Every metric: its kind, its labels and its help, in one table; and the recorder that has them.
//!
//! A series without labels is there from the start. Those of sources, exports and lookups are there
//! from the first scrape: whoever knows the configuration asks for them then.

use metrics::{Unit, counter, gauge, histogram, with_recorder};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts of observations up to each bound.
    Histogram,
}

use Kind::{Counter, Gauge, Histogram};

/// The bounds of what takes moments, in seconds.
const MOMENTS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// The bounds of what may take from moments to hours, in seconds.
const SPANS: &[f64] =
    &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0];
/// The bounds of how late events come, in seconds.
const AGES: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0, 604_800.0,
];

/// The histograms with bounds of their own.
const BOUNDS: &[(&str, &[f64])] = &[
    ("suppressd_event_age_seconds", AGES),
    ("suppressd_applied_seconds", SPANS),
    ("suppressd_exported_seconds", SPANS),
];

/// Without labels, and only there where it means something: what starts so.
const SOMETIMES: &[&str] = &["suppressd_certificate_expiry_timestamp_seconds", "suppressd_fleet_"];

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Series {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The names of its labels, between blanks.
    pub labels: &'static str,
    /// What it says, in one sentence.
    pub help: &'static str,
}

/// Every metric, a line each: name, kind, labels and help.
const TABLE: &str = include_str!("series.txt");

/// Every metric that is recorded.
pub fn all() -> impl Iterator<Item = Series> {
    TABLE.lines().filter_map(Series::parse)
}

/// Starts to record. Every metric has its help, and its series where it has no labels.
///
/// # Errors
/// When something else in the process records already.
pub fn record() -> Result<PrometheusHandle, BuildError> {
    let mut builder = PrometheusBuilder::new().set_buckets(MOMENTS)?;
    for (name, bounds) in BOUNDS {
        builder = builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), bounds)?;
    }
    let handle = builder.install_recorder()?;
    all().for_each(|series| series.begin());
    for direction in ["ahead", "back"] {
        counter!("suppressd_clock_steps_total", "direction" => direction).increment(0);
    }
    for outcome in ["done", "failed"] {
        counter!("suppressd_reloads_total", "outcome" => outcome).increment(0);
    }
    gauge!("suppressd_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

/// The gauge that tells of sources as the store has them, configured or not.
const STORED: &str = "suppressd_suppressions";
/// What [`without_gone`] asks of such a source, in place of its label's name.
pub const OF_STORE: &str = "source of the store";

/// What is scraped, without the gauges of what is configured no more: they would stand as they were
/// last, until a restart. `is_there` is asked with the name and the value of each label.
pub fn without_gone(text: &str, is_there: impl Fn(&str, &str) -> bool) -> String {
    let gauges: Vec<Series> = all().filter(|series| series.kind == Gauge).collect();
    let stays = |line: &&str| {
        let Some((name, labels)) = line.split_once('{') else { return true };
        let Some(gauge) = gauges.iter().find(|gauge| gauge.name == name) else { return true };
        // No name that is configured has quotes.
        let value = |label| labels.split_once(&format!("{label}=\""))?.1.split('"').next();
        let mut labels = gauge.labels.split(' ').filter(|label| !label.is_empty());
        let asked = |label| if (name, label) == (STORED, "source") { OF_STORE } else { label };
        labels.all(|label| value(label).is_none_or(|value| is_there(asked(label), value)))
    };
    text.split_inclusive('\n').filter(stays).collect()
}

impl Series {
    fn parse(line: &'static str) -> Option<Series> {
        let mut fields = line.splitn(4, '|');
        let name = fields.next()?;
        let kind = match fields.next()? {
            "counter" => Counter,
            "gauge" => Gauge,
            "histogram" => Histogram,
            _ => return None,
        };
        Some(Series { name, kind, labels: fields.next()?, help: fields.next()? })
    }

    fn begin(&self) {
        let (name, help) = (self.name.into(), self.help.into());
        with_recorder(|recorder| match self.kind {
            Counter => recorder.describe_counter(name, None::<Unit>, help),
            Gauge => recorder.describe_gauge(name, None::<Unit>, help),
            Histogram => recorder.describe_histogram(name, None::<Unit>, help),
        });
        let is_sometimes = SOMETIMES.iter().any(|start| self.name.starts_with(start));
        if !self.labels.is_empty() || is_sometimes {
            return;
        }
        match self.kind {
            Counter => counter!(self.name).increment(0),
            Gauge => gauge!(self.name).set(0.0),
            Histogram => drop(histogram!(self.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured_no_more_is_not_scraped() {
        let line = |name, label, value| format!("suppressd_{name}{{{label}=\"{value}\"}} 1\n");
        let stays = line("export_rows", "export", "a")
            + &line("suppressions", "source", "retired")
            + &line("export_failures_total", "export", "gone")
            + "suppressd_ready 1\n";
        let gone = line("export_rows", "export", "gone") + &line("suppressions", "source", "gone");
        let there = [("export", "a"), (OF_STORE, "retired")];
        let is_there = |label: &str, value: &str| there.contains(&(label, value));
        assert_eq!(without_gone(&(gone + &stays), is_there), stays);
    }

    #[test]
    fn names_and_kinds_follow_the_convention() {
        let mut names: Vec<_> = all().map(|series| series.name).collect();
        for Series { name, kind, help, .. } in all() {
            assert!(name.starts_with("suppressd_"), "{name}");
            assert_eq!(name.ends_with("_total"), kind == Counter, "{name}");
            assert!(kind != Histogram || name.ends_with("_seconds"), "{name}");
            assert!(help.ends_with('.') && !help.contains('\n'), "{name}: {help}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.lines().count(), "one stands there twice, or is not read");
        assert!(BOUNDS.iter().all(|(name, _)| names.contains(name)));
    }
}
