//! Metrics from the first scrape on, and the alerts and the dashboard that are made of them.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use suppressd::telemetry::series::{Kind, all};

use crate::support::client::{self, event, notify};
use crate::support::daemon::{Daemon, Home, PATIENCE};
use crate::support::{available, wait_for};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs promtool in the checkout with a text as its input; what it says when it is not content.
fn promtool(arguments: &[&str], input: &str) -> Option<String> {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(root(""));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (!output.status.success()).then(|| String::from_utf8_lossy(&text).into_owned())
}

fn has_promtool(test: &str) -> bool {
    let missing = Command::new("promtool").arg("--version").output().is_err();
    available(test, missing.then(|| "promtool is not installed".to_owned()))
}

fn scrape(daemon: &Daemon) -> String {
    client::request(daemon.admin, "GET", "/metrics", &[], b"").body
}

/// One of each: a source by webhook alone, one that is polled too, and one that is only polled, by
/// an API that does not answer; and a lookup.
fn home() -> Home {
    let home = Home::new("");
    let poll =
        "poll = { every = \"1h\", url = \"http://127.0.0.1:9/e\", bearer = \"token-of-it\" }";
    let secret = "webhook = { secret = \"another-secret-0123456789\" }";
    let sources = format!(
        "[[source]]\nname = \"both\"\nprovider = \"generic\"\nsilent = \"1d\"\n{secret}\n{poll}\n\
         [[source]]\nname = \"polled\"\nprovider = \"generic\"\n{poll}\n\
         [[lookup]]\nprotocol = \"socketmap\"\nlisten = \"unix:{}/lookup.sock\"\n",
        home.dir.display()
    );
    home.configure(&(crate::support::daemon::source() + &sources));
    home
}

#[test]
fn every_series_of_what_is_configured_is_there_from_the_first_scrape() {
    let home = home();
    let daemon = home.start().ready();
    let text = scrape(&daemon);
    let lookup = text.lines().find(|line| line.starts_with("suppressd_lookup_connections{"));
    assert!(lookup.is_some_and(|line| line.contains("socketmap")), "{lookup:?}");
    let mut wanted: Vec<String> = Vec::new();
    for source in ["test", "both"] {
        for outcome in ["accepted", "not_authentic", "refused"] {
            let labels = format!("source=\"{source}\",outcome=\"{outcome}\"");
            wanted.push(format!("suppressd_webhooks_total{{{labels}}} 0"));
        }
        wanted.push(format!("suppressd_last_webhook_timestamp_seconds{{source=\"{source}\"}} 0"));
        wanted.push(format!("suppressd_missed_by_webhook{{source=\"{source}\"}} 0"));
        wanted.push(format!(
            "suppressd_events_total{{source=\"{source}\",origin=\"webhook\",kind=\"complaint\"}} 0"
        ));
    }
    for source in ["both", "polled"] {
        for outcome in ["success", "authentication", "interrupted"] {
            let labels = format!("source=\"{source}\",outcome=\"{outcome}\"");
            wanted.push(format!("suppressd_poll_runs_total{{{labels}}} 0"));
        }
        wanted.push(format!(
            "suppressd_poll_last_success_timestamp_seconds{{source=\"{source}\"}} 0"
        ));
        wanted.push(format!("suppressd_poll_interval_seconds{{source=\"{source}\"}} 3600"));
        wanted.push(format!("suppressd_poll_stopped{{source=\"{source}\"}} 0"));
        wanted.push(format!("suppressd_poll_rows_total{{source=\"{source}\"}} 0"));
        wanted.push(format!("suppressd_poll_lag_seconds{{source=\"{source}\"}} "));
        wanted.push(format!("suppressd_poll_failures{{source=\"{source}\"}} "));
    }
    for source in ["test", "both", "polled"] {
        wanted.push(format!("suppressd_durable_seconds_count{{source=\"{source}\"}} 0"));
        wanted.push(format!("suppressd_applied_seconds_count{{source=\"{source}\"}} 0"));
        wanted.push(format!("suppressd_quarantined_total{{source=\"{source}\"}} 0"));
        let labels = format!("reason=\"hard_bounce\",source=\"{source}\"");
        wanted.push(format!("suppressd_suppressions{{{labels}}} 0"));
    }
    wanted.extend(
        [
            "suppressd_silence_limit_seconds{source=\"both\"} 86400",
            "suppressd_silence_limit_seconds{source=\"test\"} 0",
            "suppressd_export_errors_total{export=\"postfix\"} 0",
            "suppressd_export_foreign_total{export=\"postfix\"} 0",
            "suppressd_export_held_back{export=\"postfix\"} 0",
            "suppressd_export_failing{export=\"postfix\"} 0",
            "suppressd_export_foreign{export=\"postfix\"} 0",
            "suppressd_export_pending_seconds{export=\"postfix\"} ",
            "suppressd_exported_seconds_count{export=\"postfix\"} ",
            "suppressd_connections{listener=\"public\"} 0",
            "suppressd_requests_refused_total{listener=\"public\",status=\"404\"} 0",
            "suppressd_clock_steps_total{direction=\"back\"} 0",
            "suppressd_reloads_total{outcome=\"done\"} 0",
            "suppressd_reloads_total{outcome=\"failed\"} 0",
            "suppressd_requests_refused_total{listener=\"admin\",status=\"401\"} 0",
            "suppressd_intake_stopped 0",
            "suppressd_journal_sync_seconds_count ",
            "process_open_fds ",
            concat!("suppressd_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ]
        .map(str::to_owned),
    );
    let lacking: Vec<_> = wanted
        .iter()
        .filter(|series| !text.lines().any(|line| line.starts_with(*series)))
        .collect();
    assert!(lacking.is_empty(), "{lacking:#?}\n{text}");
}

#[test]
fn every_metric_has_its_help_and_is_in_the_table_and_the_page() {
    let daemon = home().start().ready();
    let text = scrape(&daemon);
    let page = fs::read_to_string(root("docs/monitoring.md")).unwrap();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE suppressd_")) {
        let name = format!("suppressd_{}", line.split(' ').next().unwrap());
        assert!(all().any(|series| series.name == name), "{name} is not in the table");
        assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help");
    }
    for series in all() {
        let labels: String =
            series.labels.split_whitespace().map(|label| format!(" `{label}`")).collect();
        let row = format!("| `{}` |{labels} | {} |", series.name, series.help);
        assert!(page.contains(&row), "docs/monitoring.md lacks:\n{row}");
    }
    if has_promtool("the metrics") {
        assert_eq!(promtool(&["check", "metrics"], &text), None);
    }
}

#[test]
fn every_metric_that_is_recorded_is_in_the_table() {
    let literal = regex::Regex::new("\"(suppressd_[a-z_]*[a-z])\"").unwrap();
    let mut found = 0;
    for entry in fs::read_dir(root("src/telemetry")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for name in literal.captures_iter(&text).map(|found| found[1].to_owned()) {
            assert!(all().any(|series| series.name == name), "{name} is not in the table");
            found += 1;
        }
    }
    assert!(found > 50, "{found}");
}

#[test]
fn the_way_of_an_event_is_measured() {
    let home = home();
    let daemon = home.start().ready();
    notify(daemon.http, &event("hard_bounce", "gone@example.org", "m1", 1));
    daemon.until_suppressed("gone@example.org");
    for series in [
        "suppressd_event_age_seconds_count{source=\"test\",origin=\"webhook\"}",
        "suppressd_durable_seconds_count{source=\"test\"}",
        "suppressd_applied_seconds_count{source=\"test\"}",
        "suppressd_events_total{source=\"test\",origin=\"webhook\",kind=\"hard_bounce\"}",
        "suppressd_suppressions{reason=\"hard_bounce\",source=\"test\"}",
    ] {
        wait_for(series, PATIENCE, || (daemon.metric(series) == Some(1.0)).then_some(()));
    }
    let exported = "suppressd_exported_seconds_count{export=\"postfix\"}";
    wait_for(exported, PATIENCE, || (daemon.metric(exported)? >= 2.0).then_some(()));
    let last = "suppressd_last_webhook_timestamp_seconds{source=\"test\"}";
    let before = daemon.metric(last).unwrap();
    assert!(before > 1e9);
    daemon.stop();
    let daemon = home.start().ready();
    assert_eq!(daemon.metric(last), Some(before), "the store knows it over a restart");
}

#[test]
fn the_alerts_fire_and_stay_silent() {
    if has_promtool("the alerts") {
        assert_eq!(promtool(&["check", "rules", "docs/alerts.yml"], ""), None);
        assert_eq!(promtool(&["test", "rules", "tests/fixtures/alerts.yml"], ""), None);
    }
}

/// The metrics that a text names.
fn named(text: &str) -> BTreeSet<String> {
    let part = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    text.split(part).filter(|word| word.starts_with("suppressd_")).map(str::to_owned).collect()
}

#[test]
fn alerts_and_the_dashboard_name_metrics_that_exist() {
    let exists = |name: &str| {
        all().any(|series| match series.kind {
            Kind::Histogram => {
                let part = name.strip_prefix(series.name);
                matches!(part, Some("_bucket" | "_count" | "_sum"))
            }
            _ => series.name == name,
        })
    };
    let alerts = fs::read_to_string(root("docs/alerts.yml")).unwrap();
    let grafana = fs::read_to_string(root("docs/grafana.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&grafana).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let place = &panel["gridPos"];
        assert!(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24, "{panel}");
        let targets = panel["targets"].as_array();
        assert_eq!(targets.is_none(), panel["type"] == "row", "{panel}");
        for target in targets.into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            let names = named(expression);
            let process = expression.contains("process_");
            assert!(process || !names.is_empty(), "{expression}");
            assert!(names.iter().all(|name| exists(name)), "{expression}");
        }
    }
    let missing: Vec<_> = named(&alerts).into_iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
