//! Live lookups over a Unix socket, against a bare echo server on another of the same kind.
//!
//! `cargo bench --bench lookup`; `ROWS=1000000` measures the size that the goal names. Clients ask
//! one query after the other, as MTAs do: first one in twenty for suppressed addresses, which is
//! more than most senders have, then every second one. Rounds of the two servers alternate, so that
//! what else the machine does meets both; only the ratios count.
#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

mod echo;
#[path = "../support/event.rs"]
mod event;
#[path = "../support/fill.rs"]
mod fill;
#[path = "../support/measure.rs"]
#[expect(dead_code, reason = "other benches measure more")]
mod measure;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use suppressd::current::Current;
use suppressd::ingest::Running;
use suppressd::listen::{Entry, Listen, Listener, Passed};
use suppressd::lookup::{ALL, Judge, Replies, Settings, listener};
use suppressd::model::reply::Refusals;
use suppressd::model::{Filter, Scope};
use suppressd::rules::Rules;
use tokio::sync::watch;

use measure::{against, median, percentile, setting};

/// Clients at once: some smtpd processes.
const CLIENTS: u64 = 8;
/// One query in so many is for a suppressed address.
const SUPPRESSED: [u64; 2] = [20, 2];
/// Rounds of each server, of which the median counts.
const ROUNDS: usize = 5;
/// Notifications of which it is measured when a lookup knows them.
const NOTIFICATIONS: u64 = 500;
/// How long the listener, the journal and the store may take to stop.
const STOP: Duration = Duration::from_secs(60);

/// What a client found.
struct Round {
    rate: f64,
    p50: Duration,
    p99: Duration,
}

fn main() -> Result<()> {
    let (rows, time) = (setting("ROWS", 200_000), Duration::from_secs(setting("SECONDS", 40)));
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    // The path of a socket must be short.
    let sockets = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _entered = runtime.enter();
    let running = runtime.block_on(fill::fill(rows, directory.path()))?;
    let (bare, ours) = (sockets.path().join("echo"), sockets.path().join("lookup"));
    echo::start(&bare)?;
    let stop = watch::Sender::new(false);
    let serving = tokio::spawn(serve(&running, &ours, &stop)?);
    println!("lookup: {rows} suppressions, {CLIENTS} clients, median of {ROUNDS} rounds");
    let length = time / (2 * (ROUNDS * SUPPRESSED.len()) as u32);
    for one_in in SUPPRESSED {
        let (mut limit, mut found) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS as u64 {
            let asked = Asked { rows, round, one_in };
            limit.push(ask(&bare, &asked, length, false)?);
            found.push(ask(&ours, &asked, length, true)?);
        }
        println!("  one in {one_in} is suppressed:");
        show("echo", &limit);
        show("suppressd", &found);
        let ratios = limit.iter().zip(&found).map(|(limit, found)| found.rate / limit.rate);
        against("lookups/s against the echo server", median(ratios), 0.7, true);
    }
    known(&runtime, &running, &ours, rows)?;
    stop.send_replace(true);
    runtime.block_on(serving)?;
    let stragglers = runtime.block_on(running.stop(STOP));
    ensure!(stragglers.is_empty(), "intake did not stop");
    Ok(())
}

/// The listener, as the daemon starts it.
fn serve(
    running: &Running,
    path: &Path,
    stop: &watch::Sender<bool>,
) -> Result<impl Future<Output = usize> + use<>> {
    let protocol = ALL.iter().find(|protocol| protocol.name() == "socketmap");
    let settings = Settings {
        protocol: *protocol.context("no socketmap")?,
        listen: Listen::Unix(path.to_owned()),
        mode: 0o600,
        group: None,
        open_on_error: true,
        filter: Filter::default(),
        scopes: vec![Scope::Global],
        scopes_by_sender: Vec::new(),
        recipient_delimiter: String::new(),
        replies: Replies::new(&Refusals::default()),
        style: None,
        connections_max: 1024,
        idle_timeout: STOP,
    };
    let listener = {
        let mut passed = Passed::default();
        let (listen, mode) = (settings.listen.clone(), settings.mode);
        Listener::bind(&Entry { listen, mode, group: None }, &mut passed)?
    };
    let (reader, rules) = (running.reader.clone(), Arc::new(Rules::default()));
    let judge = Judge::new(settings, listener.shown().join(", "), reader, rules);
    let judge = Arc::new(Current::new(judge));
    Ok(listener::serve(listener, judge, stop.subscribe(), STOP))
}

/// What is asked for.
struct Asked {
    rows: u64,
    round: u64,
    one_in: u64,
}

/// Asks from every client for that long.
fn ask(path: &Path, asked: &Asked, length: Duration, verdicts: bool) -> Result<Round> {
    let Asked { rows, round, one_in } = *asked;
    let client = |client: u64| {
        let mut stream = UnixStream::connect(path)?;
        let (mut times, started) = (Vec::new(), Instant::now());
        let mut number = (round * CLIENTS + client).wrapping_mul(0x9e37_79b9);
        while started.elapsed() < length {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // The others are of people who were never heard of.
            let suppressed = (number >> 24).is_multiple_of(one_in);
            let request =
                request(&event::address((number >> 33) % rows + if suppressed { 0 } else { rows }));
            let begun = Instant::now();
            let answer = exchange(&mut stream, &request)?;
            times.push(begun.elapsed());
            ensure!(!verdicts || answer.contains(&b'5') == suppressed, "a wrong verdict");
        }
        Ok(times)
    };
    let times: Vec<Vec<Duration>> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|one| scope.spawn(move || client(one))).collect();
        let join = |client: thread::ScopedJoinHandle<'_, Result<_>>| {
            client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?
        };
        clients.into_iter().map(join).collect::<Result<_>>()
    })?;
    let mut times = times.concat();
    let rate = times.len() as f64 / length.as_secs_f64();
    Ok(Round { rate, p50: percentile(&mut times, 50), p99: percentile(&mut times, 99) })
}

fn request(address: &str) -> Vec<u8> {
    format!("{}:access {address},", "access ".len() + address.len()).into_bytes()
}

/// Sends a netstring and waits for one. Neither holds a comma.
fn exchange(stream: &mut UnixStream, request: &[u8]) -> Result<Vec<u8>> {
    stream.write_all(request)?;
    let (mut answer, mut part) = (Vec::new(), [0; 256]);
    while !answer.ends_with(b",") {
        let length = stream.read(&mut part)?;
        ensure!(length > 0, "the server hung up");
        answer.extend_from_slice(&part[..length]);
    }
    Ok(answer)
}

/// How long after its acknowledgement an event is known to a lookup.
fn known(
    runtime: &tokio::runtime::Runtime,
    running: &Running,
    path: &Path,
    rows: u64,
) -> Result<()> {
    let mut stream = UnixStream::connect(path)?;
    let mut times = Vec::new();
    for number in 2 * rows..2 * rows + NOTIFICATIONS {
        let submission = fill::submission(number..number + 1);
        let request = request(&event::address(number));
        runtime.block_on(running.ingest.submit(&submission))?;
        let acknowledged = Instant::now();
        while !exchange(&mut stream, &request)?.contains(&b'5') {
            ensure!(acknowledged.elapsed() < STOP, "it never came to be known");
        }
        times.push(acknowledged.elapsed());
    }
    let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
    println!("  from acknowledged to refused: p50 {p50:.1?}, p99 {p99:.1?}");
    against("p99 from acknowledged to refused, of 50 ms", p99.as_secs_f64() / 0.05, 1.0, false);
    Ok(())
}

fn show(what: &str, rounds: &[Round]) {
    let rate = median(rounds.iter().map(|round| round.rate));
    let middle = |of: fn(&Round) -> Duration| {
        Duration::from_secs_f64(median(rounds.iter().map(|round| of(round).as_secs_f64())))
    };
    let (p50, p99) = (middle(|round| round.p50), middle(|round| round.p99));
    println!("  {what:<10} {rate:>8.0} lookups/s, p50 {p50:.1?}, p99 {p99:.1?}");
}
