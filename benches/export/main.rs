//! Exports: each table as a whole against a bare writing of the same rows, and one change of an
//! LMDB map against a bare transaction under the lock.
//!
//! `cargo bench --bench export`; `ROWS=1000000` and `ROWS=5000000` measure the sizes that the goals
//! name, `ROUNDS=1` in less time, `FORMAT=hashed` one format.
#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

mod bare;
#[path = "../support/event.rs"]
mod event;
#[path = "../support/fill.rs"]
mod fill;
#[path = "../support/measure.rs"]
#[expect(dead_code, reason = "other benches measure more")]
mod measure;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use suppressd::clock;
use suppressd::export::guard::Guard;
use suppressd::export::handle::Exports;
use suppressd::export::publish::Publication;
use suppressd::export::scan::Scan;
use suppressd::export::{ALL, Format, Hash, Settings, Style, Table};
use suppressd::forgotten::Forgotten;
use suppressd::ingest::Running;
use suppressd::model::Filter;
use suppressd::model::reply::Refusals;
use suppressd::rules::Rules;
use suppressd::store::Reader;
use tokio::runtime::{Handle, Runtime};

use measure::{against, median, setting};

/// Rounds, of which the median counts.
const ROUNDS: u64 = 5;
/// Single changes that are measured.
const CHANGES: u64 = 200;
/// The same, of a text, which is copied for each.
const TEXT_CHANGES: u64 = 10;
/// How long the journal and the store may take to stop.
const STOP: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    let rows = setting("ROWS", 200_000);
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let directory = directory.path();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let state = directory.join("state");
    let running = runtime.block_on(fill::fill(rows, &state))?;
    let rounds = setting("ROUNDS", ROUNDS);
    println!("export: {rows} rows, median of {rounds} rounds");
    let _inside = runtime.enter();
    let rows = changes(rows, directory, &running, (Table::Text, TEXT_CHANGES, 2.0))?;
    let rows = changes(rows, directory, &running, (Table::Lmdb, CHANGES, 1.5))?;
    // Whole exports are for starts.
    stop(&runtime, running)?;
    let running = runtime.block_on(fill::fill(0, &state))?;
    whole(rows, rounds, directory, &running.reader)?;
    stop(&runtime, running)
}

fn stop(runtime: &Runtime, running: Running) -> Result<()> {
    let stragglers = runtime.block_on(running.stop(STOP));
    ensure!(stragglers.is_empty(), "intake did not stop");
    Ok(())
}

/// Every table, from the store as it was opened.
fn whole(rows: u64, rounds: u64, directory: &Path, reader: &Reader) -> Result<()> {
    let wanted = std::env::var("FORMAT").ok();
    for format in ALL.iter().filter(|f| wanted.as_ref().is_none_or(|name| f.name() == name)) {
        for table in format.tables() {
            let what = format!("{} as {}", format.name(), table.as_str());
            let settings = settings(*format, *table, &directory.join("whole"));
            measured(&what, &settings, rows, rounds, reader)?;
        }
    }
    Ok(())
}

fn measured(
    what: &str,
    settings: &Settings,
    rows: u64,
    rounds: u64,
    reader: &Reader,
) -> Result<()> {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(export(settings, reader, rows)?);
        bare.push(bare::write(settings.style.table, &settings.path)?);
        fs::remove_file(&settings.path)?;
    }
    report(what, &ours, &bare);
    Ok(())
}

fn report(what: &str, ours: &[Duration], bare: &[Duration]) {
    let seconds = |times: &[Duration]| median(times.iter().map(Duration::as_secs_f64));
    let ratio = median(ours.iter().zip(bare).map(|(ours, bare)| ours.div_duration_f64(*bare)));
    let what = format!("{what}: {:.3} s, bare {:.3} s", seconds(ours), seconds(bare));
    against(&what, ratio, 2.0, false);
}

/// The whole way of an export.
fn export(settings: &Settings, reader: &Reader, rows: u64) -> Result<Duration> {
    let rules = &Rules::default();
    let started = Instant::now();
    let mut publication = Publication::begin(settings)?;
    let forgotten = &Forgotten::nobody();
    let now = clock::now();
    let scan = Scan { rules, settings, forgotten, now, before: None, past: None };
    scan.run(|each| reader.visit_standings(each), |row| publication.add(row))?;
    let outcome = publication.finish(&Guard::new(50))?;
    let took = started.elapsed();
    ensure!(outcome.rows == rows, "{} rows were written", outcome.rows);
    Ok(took)
}

/// Single suppressions: from when they are applied to when the file has them, and the least that
/// this can take.
fn changes(
    rows: u64,
    directory: &Path,
    running: &Running,
    (table, count, goal): (Table, u64, f64),
) -> Result<u64> {
    let format = *ALL.iter().find(|f| f.name() == "postfix-access").context("no such format")?;
    let path = directory.join(format!("live.{}", table.as_str()));
    let export = settings(format, table, &path);
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    Handle::current().block_on(async {
        let (exports, _parts) =
            Exports::none(running, "quarantine".into()).renewed(vec![export]).await;
        let until = async |count: u64| {
            while exports.statuses().iter().any(|status| status.rows != count || status.pending) {
                tokio::task::yield_now().await;
            }
        };
        until(rows).await;
        let mut change = bare::Change::new(table, &path)?;
        for number in 0..count {
            let receipt = {
                let number = rows + number;
                running.ingest.submit(&fill::submission(number..number + 1)).await?
            };
            running.ingest.applied(receipt).await;
            let started = Instant::now();
            until(rows + number + 1).await;
            ours.push(started.elapsed());
            bare.push(change.once()?);
        }
        anyhow::Ok(())
    })?;
    let millis = |times: &[Duration]| median(times.iter().map(|t| t.as_secs_f64() * 1e3));
    let (ours, bare) = (millis(&ours), millis(&bare));
    let what = format!("one change, {}: {ours:.2} ms, bare {bare:.2} ms", table.as_str());
    against(&what, ours / bare, goal, false);
    Ok(rows + count)
}

fn settings(format: &'static dyn Format, table: Table, path: &Path) -> Settings {
    Settings {
        name: "bench".to_owned(),
        format,
        style: Style::new(format, table, Hash::Sha256, &Refusals::default()),
        path: path.to_owned(),
        filter: Filter::default(),
        min_interval: Duration::ZERO,
        max_shrink: 50,
        command: Vec::new(),
        owner: None,
        group: None,
        mode: None,
    }
}
