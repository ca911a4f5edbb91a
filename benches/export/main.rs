//! Exports: from standings to a file, against a bare write of the same bytes.
//!
//! `cargo bench --bench export`; `ROWS=1000000` measures the size that the goal names.
#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

#[path = "../support/event.rs"]
mod event;
#[path = "../support/fill.rs"]
mod fill;
#[path = "../support/measure.rs"]
#[expect(dead_code, reason = "other benches measure more")]
mod measure;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use suppressd::clock;
use suppressd::export::publish::{Guard, Publication};
use suppressd::export::scan::Scan;
use suppressd::export::{ALL, Hash, Settings, Style, Table};
use suppressd::model::{
    EventId, Fact, Filter, Latest, Reason, Scope, SourceName, Standing, Time, Until,
};
use suppressd::rules::Rules;
use suppressd::store::{StandingRow, StoreError};

use measure::{against, median, setting};

/// Rounds, of which the median counts.
const ROUNDS: usize = 5;
/// How long the journal and the store may take to stop.
const STOP: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    let rows = setting("ROWS", 200_000);
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let running = runtime.block_on(fill::fill(rows, &directory.path().join("state")))?;
    let mut keys: Vec<String> = (0..rows).map(event::address).collect();
    keys.sort_unstable();
    let standings: Vec<StandingRow> = keys.into_iter().map(standing).collect();
    println!("export: {rows} rows of text, median of {ROUNDS} rounds");
    let (mut memory, mut store, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let path = directory.path().join(format!("export-{round}"));
        let copies = standings.clone();
        memory.push(export(&path, copies.into_iter().map(Ok), rows)?);
        bare.push(write_bare(&path)?);
        fs::remove_file(&path)?;
        store.push(export(&path, running.reader.standings(), rows)?);
        fs::remove_file(&path)?;
    }
    let stragglers = runtime.block_on(running.stop(STOP));
    ensure!(stragglers.is_empty(), "intake did not stop");
    let ratio =
        |times: &[Duration]| median(times.iter().zip(&bare).map(|(t, b)| t.div_duration_f64(*b)));
    let seconds = |times: &[Duration]| median(times.iter().map(Duration::as_secs_f64));
    println!(
        "  bare {:.3} s, from memory {:.3} s, from the store {:.3} s",
        seconds(&bare),
        seconds(&memory),
        seconds(&store)
    );
    against("from standings in memory, against the bare write", ratio(&memory), 2.0, false);
    against("from the store, against the bare write", ratio(&store), 2.0, false);
    Ok(())
}

/// The whole way of an export.
fn export(
    path: &Path,
    standings: impl Iterator<Item = Result<StandingRow, StoreError>>,
    rows: u64,
) -> Result<Duration> {
    let (settings, rules) = (&settings(path), &Rules::default());
    let started = Instant::now();
    let mut publication = Publication::begin(settings)?;
    let scan = Scan { rules, settings, now: clock::now(), before: None };
    scan.run(standings, |row| publication.add(row))?;
    let outcome = publication.finish(Guard { max_shrink: 50, force: false, explained: 0 })?;
    let took = started.elapsed();
    ensure!(outcome.rows == rows, "{} rows were written", outcome.rows);
    Ok(took)
}

/// The least that the same file can take: its sorted lines are there, and are written, synced and
/// put in place.
fn write_bare(like: &Path) -> Result<Duration> {
    let text = fs::read_to_string(like)?;
    let lines: Vec<&str> = text.lines().collect();
    let (draft, target) = (like.with_extension("draft"), like.with_extension("bare"));
    let started = Instant::now();
    let mut out = BufWriter::with_capacity(64 << 10, File::create_new(&draft)?);
    for line in &lines {
        out.write_all(line.as_bytes())?;
        out.write_all(b"\n")?;
    }
    out.into_inner()?.sync_all()?;
    fs::rename(&draft, &target)?;
    File::open(like.parent().context("no directory")?)?.sync_all()?;
    let took = started.elapsed();
    fs::remove_file(&target)?;
    Ok(took)
}

fn settings(path: &Path) -> Settings {
    let format = ALL[0];
    let reply = format.default_reply().unwrap_or_default();
    Settings {
        name: "bench".to_owned(),
        format,
        style: Style::new(format, Table::Text, Hash::Sha256, reply),
        path: path.to_owned(),
        filter: Filter::default(),
        min_interval: Duration::from_secs(1),
        max_shrink: 50,
        command: Vec::new(),
        owner: None,
        group: None,
        mode: None,
    }
}

/// What the store would hold of an address that bounced once.
fn standing(address: String) -> StandingRow {
    let mut standing = Standing::default();
    let (at, until) = (Time::from_seconds(1_780_000_000), Until::Forever);
    let latest = Latest { at, until, evidence: EventId::from_bytes([7; 16]), note: None };
    let (reason, source) = (Reason::HardBounce, SourceName::operator());
    standing.merge(&address, Fact::Ground { reason, source, latest });
    (address, Scope::Global, standing)
}
