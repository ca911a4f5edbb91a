//! How the daemon grows: one process that is told of more and more hard bounces, with an LMDB
//! export and a socketmap beside it, and what it takes at each size.
//!
//! `cargo bench --bench grow -- 100000 1000000 10000000`; by default the first two. Every figure
//! stands beside a limit of the same run; the last size is killed, started, stopped and started.
//! `SVG=FILE` draws them. The limit is what intake's bench measures against, too: a bare server with
//! a group commit, that is sent one event a request.
#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

#[expect(dead_code, reason = "the soak asks for more")]
mod daemon;
#[path = "../support/event.rs"]
mod event;
#[path = "../intake/limit.rs"]
mod limit;
#[path = "../intake/load.rs"]
mod load;
#[path = "../support/log.rs"]
mod log;
#[path = "../support/measure.rs"]
#[expect(dead_code, reason = "other benches measure more")]
mod measure;
mod plot;
#[path = "../support/spawn.rs"]
mod spawn;
#[path = "../intake/target.rs"]
#[expect(dead_code, reason = "the daemon of this bench is started again")]
mod target;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use daemon::Daemon;
use load::{Connection, Load, put_request};
use measure::{against, disk_bytes, percentile};
use plot::Point;

/// Events in a request that fills, and connections that do.
const FILL: u64 = 1_000;
const FILLING: u64 = 8;
/// How long the limit is measured.
const LIMIT: Duration = Duration::from_secs(8);
/// The steady load, in requests a second, and how long.
const STEADY: u64 = 1_000;
const STEADY_LENGTH: Duration = Duration::from_secs(10);
/// One of so many answers of it is looked up.
const LOOKED_UP: u64 = 16;

/// The goals at a size: applied against the limit, resident MiB, and bytes an event.
fn goals(size: u64) -> (f64, f64, f64) {
    if size > 1_000_000 { (0.25, 512.0, 600.0) } else { (0.4, 160.0, 600.0) }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == target::LIMIT).is_some() {
        return limit::serve(arguments.next().context("no directory")?.as_ref());
    }
    let mut sizes: Vec<u64> = arguments.filter_map(|argument| argument.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![100_000, 1_000_000];
    }
    sizes.sort_unstable();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(report(&sizes))
}

async fn report(sizes: &[u64]) -> Result<()> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut daemon = Daemon::start(directory.path()).await?;
    let mut points = Vec::new();
    for size in sizes {
        let limit = limit().await?;
        let already = load::next(0, u64::MAX).unwrap_or_default();
        let took = fill(&daemon, *size).await?;
        let rate = size.saturating_sub(already) as f64 / took.as_secs_f64();
        println!("{size} suppressions (the bare group commit: {limit:.0} events/s)");
        let (applied, resident, disk) = goals(*size);
        against("applied events/s, against the bare group commit", rate / limit, applied, true);
        println!("    {rate:.0} events/s");
        daemon.until_quiet().await?;
        let memory = daemon.resident()?;
        against("resident MiB", memory.all, resident, false);
        println!("    of it files {:.0}, at most {:.0}", memory.files, memory.most);
        let each = |bytes: u64| bytes as f64 / *size as f64;
        let bytes = each(disk_bytes(&daemon.state));
        against("bytes of the state directory an event", bytes, disk, false);
        points.push(Point { size: *size, values: [rate / limit, memory.all, bytes] });
        for folder in ["journal", "index", "sled", "base", "checkpoint", "quarantine"] {
            println!("    {folder}: {:.0}", each(disk_bytes(&daemon.state.join(folder))));
        }
        println!("    (payload: {})", event::EVENT_BYTES);
        steady(&daemon).await?;
    }
    if let Some(file) = std::env::var_os("SVG") {
        std::fs::write(file, plot::svg(&points))?;
    }
    starts(&mut daemon).await
}

/// Events a second that the bare server acknowledges, one a request.
async fn limit() -> Result<f64> {
    let target = target::limit()?;
    let next = load::NEXT.load(Ordering::Relaxed);
    let load = Load { events: 1, length: LIMIT, rate: None };
    let answered = load::run(target.hooks, load, None).await?.len();
    // The daemon has not been told of them.
    load::NEXT.store(next, Ordering::Relaxed);
    Ok(answered as f64 / LIMIT.as_secs_f64())
}

/// Tells events until there are so many, and waits until all are applied.
async fn fill(daemon: &Daemon, size: u64) -> Result<Duration> {
    let started = Instant::now();
    let mut senders = JoinSet::new();
    for _ in 0..FILLING {
        let hooks = daemon.hooks;
        let mut connection = Connection::open(hooks).await?;
        senders.spawn(async move {
            let (mut request, mut body) = (String::new(), String::new());
            while let Some(first) = load::next(FILL, size) {
                put_request(&mut request, &mut body, &load::key()?, first, FILL.min(size - first))?;
                // Too far behind: what is measured is then how fast it gets on.
                while connection.ask(request.as_bytes()).await?.0 == 503 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    // It may have been closed with that answer.
                    connection = Connection::open(hooks).await?;
                }
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = senders.join_next().await {
        done??;
    }
    daemon.until_applied().await?;
    Ok(started.elapsed())
}

/// How long after its answer an event is found, with many answers a second.
async fn steady(daemon: &Daemon) -> Result<()> {
    let (seen, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let load = Load { events: 1, length: STEADY_LENGTH, rate: Some(STEADY) };
    let loading = tokio::spawn(load::run(daemon.hooks, load, Some(seen)));
    let mut connection = Connection::open(daemon.admin).await?;
    let mut times = Vec::new();
    while let Some((number, answered)) = answers.recv().await {
        if number % LOOKED_UP == 0 {
            daemon::find(&mut connection, &event::address(number)).await?;
            times.push(answered.elapsed());
        }
    }
    let mut asked = loading.await??;
    let milliseconds = |times: &mut [Duration], part| percentile(times, part).as_secs_f64() * 1e3;
    println!(
        "    {STEADY} requests/s: answered in {:.2} ms (p50), {:.2} (p99); found after {:.2} (p50)",
        milliseconds(&mut asked, 50),
        milliseconds(&mut asked, 99),
        milliseconds(&mut times, 50)
    );
    against(
        "ms from the answer to a lookup that sees it, p99",
        milliseconds(&mut times, 99),
        50.0,
        false,
    );
    Ok(())
}

/// How long it takes to be there again.
async fn starts(daemon: &mut Daemon) -> Result<()> {
    for (how, kill, accepts, ready) in [("kill -9", true, 1.0, 10.0), ("a stop", false, 1.0, 3.0)] {
        let begun = daemon.end(kill)?;
        println!("after {how} (which took {:.1} s)", begun.as_secs_f64());
        let (took, whole) = daemon.restart().await?;
        against("s until webhooks are accepted", took.as_secs_f64(), accepts, false);
        against("s until it is ready", whole.as_secs_f64(), ready, false);
        println!("    resident: {:.0} MiB", daemon.resident()?.all);
    }
    Ok(())
}
