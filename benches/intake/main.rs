//! Intake over HTTP: the daemon against the limit of what hyper and a group commit can do.
//!
//! `cargo bench --bench intake`; `SECONDS=120` measures longer. Rounds of the two alternate, so
//! that what else the machine does meets both; only the ratios count. `PEERS="NAME=ADDRESS …"` puts
//! other servers beside them, which run already: `benches/peers/run` does so. `BACKUP=1000000`
//! measures nothing but what backups cost intake, with that many suppressions.
#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

mod backup;
#[path = "../support/event.rs"]
mod event;
mod limit;
mod load;
#[path = "../support/log.rs"]
mod log;
#[path = "../support/measure.rs"]
#[expect(dead_code, reason = "other benches measure more")]
mod measure;
#[path = "../support/spawn.rs"]
mod spawn;
mod target;

use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::sync::Mutex;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use load::{Connection, Load};
use measure::{against, median, percentile, setting};
use target::Target;

/// Rounds of each kind, of which the median counts.
const ROUNDS: u32 = 3;
/// Requests a second of the steady load.
const STEADY: u64 = 1_000;
/// Of so many answers of the steady load one is looked up.
const LOOKED_UP: u64 = 8;
/// Connections that look.
const LOOKERS: usize = 16;
/// Longest wait until one is found.
const FOUND_MAX: Duration = Duration::from_secs(30);

/// One round's figures.
struct Round {
    rate: f64,
    p50: f64,
    p99: f64,
    cpu: f64,
    applier: f64,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(target::LIMIT) {
        return limit::serve(arguments.next().context("no directory")?.as_ref());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let time = Duration::from_secs(setting("SECONDS", 40));
    match setting("BACKUP", 0) {
        0 => runtime.block_on(report(time)),
        size => runtime.block_on(backup::cost(size, time / (2 * ROUNDS))),
    }
}

async fn report(time: Duration) -> Result<()> {
    let length = time / (4 * ROUNDS + 6);
    println!("intake: {} connections, median of {ROUNDS} rounds", load::CONNECTIONS);
    for (events, goal) in [(1, 0.7), (100, 0.7)] {
        let (limit, daemon) = saturate(Load { events, length, rate: None }).await?;
        println!("{events} event(s) a request");
        show("the limit", &limit);
        show("suppressd", &daemon);
        let rate = |rounds: &[Round]| median(rounds.iter().map(|round| round.rate));
        let pairs = limit.iter().zip(&daemon);
        let ratio = median(pairs.map(|(limit, daemon)| daemon.rate / limit.rate));
        println!("  of {:.0} and {:.0}:", rate(&limit), rate(&daemon));
        against("acknowledged requests/s against the limit (aim 0.85)", ratio, goal, true);
        if events == 1 {
            beside(rate(&daemon), Load { events, length, rate: None }).await?;
        }
    }
    steady(length * 3).await
}

/// The same of other servers, which run already.
async fn beside(daemon: f64, load: Load) -> Result<()> {
    let peers = std::env::var("PEERS").unwrap_or_default();
    for peer in peers.split_whitespace() {
        let (name, address) = peer.split_once('=').context("PEERS is NAME=ADDRESS …")?;
        let hooks = address.parse()?;
        load::run(hooks, Load { length: load.length / 8, ..load }, None).await?;
        let started = Instant::now();
        let mut times = load::run(hooks, load, None).await?;
        let rate = times.len() as f64 / started.elapsed().as_secs_f64();
        let [p50, p99] = [50, 99].map(|part| milliseconds(percentile(&mut times, part)));
        println!("  {name}: {rate:>7.0} requests/s, p50 {p50:.2} ms, p99 {p99:.2} ms");
        println!("    suppressd makes {:.1} times as many", daemon / rate);
    }
    Ok(())
}

/// As much as can be had, from the one and from the other.
async fn saturate(load: Load) -> Result<(Vec<Round>, Vec<Round>)> {
    let (mut limit, mut daemon) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        limit.push(round(&target::limit()?, load).await?);
        daemon.push(round(&target::daemon().await?, load).await?);
    }
    Ok((limit, daemon))
}

async fn round(target: &Target, load: Load) -> Result<Round> {
    load::run(target.hooks, Load { length: load.length / 8, ..load }, None).await?;
    let (started, before) = (Instant::now(), target.cpu());
    let mut times = load::run(target.hooks, load, None).await?;
    let (took, after) = (started.elapsed(), target.cpu());
    let each = |used: f64| used / times.len() as f64;
    let applier = each(after.applier - before.applier);
    Ok(Round {
        rate: times.len() as f64 / took.as_secs_f64(),
        cpu: each(after.all - before.all) - applier,
        applier,
        p50: milliseconds(percentile(&mut times, 50)),
        p99: milliseconds(percentile(&mut times, 99)),
    })
}

fn show(name: &str, rounds: &[Round]) {
    let of = |field: fn(&Round) -> f64| median(rounds.iter().map(field));
    println!(
        "  {name}: {:>7.0} requests/s, p50 {:.2} ms, p99 {:.2} ms, CPU {:.1} µs a request \
         (the applier, beside it: {:.1})",
        of(|r| r.rate),
        of(|r| r.p50),
        of(|r| r.p99),
        of(|r| r.cpu),
        of(|r| r.applier)
    );
}

/// A load that leaves time: how long an answer takes, and until a lookup sees what was told.
async fn steady(length: Duration) -> Result<()> {
    println!("{STEADY} requests/s of one event");
    let load = Load { events: 1, length, rate: Some(STEADY) };
    let limit = target::limit()?;
    let mut syncs = syncs()?;
    let mut least = load::run(limit.hooks, load, None).await?;
    drop(limit);
    let daemon = target::daemon().await?;
    let (seen, answers) = tokio::sync::mpsc::unbounded_channel();
    let admin = daemon.admin.context("the daemon is asked")?;
    let looking = tokio::spawn(look(admin, answers));
    let mut times = load::run(daemon.hooks, load, Some(seen)).await?;
    let mut visible = looking.await??;
    drop(daemon);
    syncs.extend(self::syncs()?);
    let sync = percentile(&mut syncs, 50);
    println!(
        "  fdatasync p50 {:.3} ms; answers of the limit p50 {:.3} p99 {:.3} ms; of suppressd \
         p50 {:.3} p99 {:.3} ms",
        milliseconds(sync),
        milliseconds(percentile(&mut least, 50)),
        milliseconds(percentile(&mut least, 99)),
        milliseconds(percentile(&mut times, 50)),
        milliseconds(percentile(&mut times, 99))
    );
    let ratio = |times: &mut [Duration]| percentile(times, 99).div_duration_f64(sync);
    against("p99 of an answer against p50 of fdatasync", ratio(&mut times), 4.0, false);
    println!("  (the limit's own: {:.2})", ratio(&mut least));
    let late = milliseconds(percentile(&mut visible, 99));
    println!("  {} looked up, p50 {:.2} ms", visible.len(), {
        milliseconds(percentile(&mut visible, 50))
    });
    against("ms from the answer to a lookup that sees it, p99", late, 50.0, false);
    Ok(())
}

/// Looks up some of the addresses, each until it is found; gives the time that each took from
/// its answer. Several look, so that one that is late does not hide that others are late, too.
async fn look(
    admin: SocketAddr,
    answers: UnboundedReceiver<(u64, Instant)>,
) -> Result<Vec<Duration>> {
    let answers = Arc::new(Mutex::new(answers));
    let mut lookers = JoinSet::new();
    for _ in 0..LOOKERS {
        let (mut connection, answers) = (Connection::open(admin).await?, Arc::clone(&answers));
        lookers.spawn(async move {
            let mut times = Vec::new();
            loop {
                let next = answers.lock().await.recv().await;
                let Some((number, answered)) = next else { return anyhow::Ok(times) };
                if number % LOOKED_UP == 0 {
                    find(&mut connection, number).await?;
                    times.push(answered.elapsed());
                }
            }
        });
    }
    let mut times = Vec::new();
    while let Some(done) = lookers.join_next().await {
        times.extend(done??);
    }
    Ok(times)
}

/// Asks for an address until it is suppressed.
async fn find(connection: &mut Connection, number: u64) -> Result<()> {
    let path = format!("/v1/suppressions/{}", event::address(number));
    let request = spawn::get(&path);
    let started = Instant::now();
    while connection.ask(&request).await?.0 != 200 {
        ensure!(started.elapsed() < FOUND_MAX, "what was answered is not found");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// How long the disk takes to sync a record, with nothing else going on.
fn syncs() -> Result<Vec<Duration>> {
    let directory = target::directory()?;
    let file = log::prepared(&directory.path().join("syncs"))?;
    let bytes = [1; event::EVENT_BYTES];
    let sync = |number: u64| {
        let started = Instant::now();
        file.write_all_at(&bytes, number * bytes.len() as u64)?;
        file.sync_data()?;
        Ok(started.elapsed())
    };
    (0..500).map(sync).collect()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
