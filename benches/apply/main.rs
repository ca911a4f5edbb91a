//! From intake to the store, in process: how fast events become suppressions, how fast a lost
//! store is made again from the journal, and what both take of memory and disk.
//!
//! `cargo bench --bench apply`; `EVENTS=1000000` measures more of them.
#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

#[path = "../support/event.rs"]
mod event;
#[path = "../support/log.rs"]
mod log;
#[path = "../support/measure.rs"]
#[expect(dead_code, reason = "other benches measure more")]
mod measure;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use suppressd::clock;
use suppressd::ingest::{self, Ingest, Receipt, Refused, Running, Settings};
use suppressd::model::{Element, Origin, SourceName, Submission};
use suppressd::rules::Rules;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use log::Log;
use measure::{against, disk_bytes, median, setting, status_kib};

/// Submissions that wait at once, as from as many connections.
const WAITING: u64 = 64;
/// How long the journal and the store may take to stop.
const STOP: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(report(setting("EVENTS", 100_000)))
}

async fn report(events: u64) -> Result<()> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let state = directory.path().join("state");
    println!("apply: {events} submissions of one event, {WAITING} at once");
    let before = limit(events, &directory.path().join("before")).await?;
    let resident = status_kib("VmRSS:");
    let (acknowledged, applied) = intake(events, &state).await?;
    let grown = status_kib("VmRSS:").saturating_sub(resident);
    let (journal, sled) = (disk_bytes(&state.join("journal")), disk_bytes(&state.join("sled")));
    let after = limit(events, &directory.path().join("after")).await?;
    std::fs::remove_dir_all(state.join("sled"))?;
    let replayed = replay(&state).await?;
    let limit = median([before, f64::midpoint(before, after), after]);
    let rate = |took: Duration| events as f64 / took.as_secs_f64();
    println!("  bare journal, before and after: {before:.0} and {after:.0} events/s");
    println!("  acknowledged: {:.0} events/s", rate(acknowledged));
    println!("  applied: {:.0} events/s", rate(applied));
    println!("  replayed without sled: {:.0} events/s", rate(replayed));
    against("intake to applied, against the bare journal", rate(applied) / limit, 0.25, true);
    let each = |bytes: u64| bytes as f64 / events as f64;
    println!("  disk, bytes an event: journal {:.0}, sled {:.0}", each(journal), each(sled));
    println!(
        "  resident memory grew by {} MiB; the peak of the whole bench is {} MiB",
        grown >> 10,
        status_kib("VmHWM:") >> 10
    );
    Ok(())
}

/// Events a second through the bare group commit.
async fn limit(events: u64, path: &Path) -> Result<f64> {
    let log = Log::start(path)?;
    let started = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let mut senders = JoinSet::new();
    for _ in 0..WAITING {
        let (log, next) = (log.clone(), Arc::clone(&next));
        senders.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= events {
                    return true;
                }
                if !log.append(submission(number).encode()).await {
                    return false;
                }
            }
        });
    }
    ensure!(senders.join_all().await.into_iter().all(|good| good), "the bare journal failed");
    Ok(events as f64 / started.elapsed().as_secs_f64())
}

/// How long until all is acknowledged, and until all is applied.
async fn intake(events: u64, state: &Path) -> Result<(Duration, Duration)> {
    let running = start(state)?;
    running.ingest.ready().await;
    let started = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let mut senders = JoinSet::new();
    for _ in 0..WAITING {
        senders.spawn(send(running.ingest.clone(), Arc::clone(&next), events));
    }
    let mut last = None;
    while let Some(receipt) = senders.join_next().await {
        last = receipt??.into_iter().chain(last).max_by_key(|receipt: &Receipt| receipt.end);
    }
    let acknowledged = started.elapsed();
    if let Some(receipt) = last {
        running.ingest.applied(receipt).await;
    }
    let applied = started.elapsed();
    ensure!(running.stop(STOP).await.is_empty(), "intake did not stop");
    Ok((acknowledged, applied))
}

/// Submits until there are no more; gives the last receipt.
async fn send(ingest: Ingest, next: Arc<AtomicU64>, events: u64) -> Result<Option<Receipt>> {
    let mut last = None;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= events {
            return Ok(last);
        }
        let submission = submission(number);
        last = Some(loop {
            match ingest.submit(&submission).await {
                // Too far behind: what is measured is then how fast it gets on.
                Err(Refused::Full { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
                answer => break answer?,
            }
        });
    }
}

/// How long the store takes to be made again from the journal.
async fn replay(state: &Path) -> Result<Duration> {
    let started = Instant::now();
    let running = start(state)?;
    running.ingest.ready().await;
    let took = started.elapsed();
    ensure!(running.stop(STOP).await.is_empty(), "intake did not stop");
    Ok(took)
}

fn start(state: &Path) -> Result<Running> {
    let retention = Duration::from_secs(90 * 24 * 60 * 60);
    let rules = Arc::new(Rules::default());
    let settings = Settings::new(state.to_owned(), retention, rules, Arc::default());
    Ok(ingest::start(settings, &Handle::current())?)
}

/// What the webhook makes of a request with that event.
fn submission(number: u64) -> Submission {
    let mut body = String::with_capacity(event::EVENT_BYTES);
    event::put(&mut body, number);
    Submission {
        source: SourceName::operator(),
        provider: "generic".into(),
        origin: Origin::Webhook,
        feed: "".into(),
        received_at: clock::now(),
        elements: vec![Element { context: String::new(), body: body.into_bytes() }],
        cursor: None,
        released: Vec::new(),
    }
}
