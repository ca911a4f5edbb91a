//! Draining a paged API on loopback: the poller, page by page into the journal, against a bare
//! client that only parses.
//!
//! `cargo bench --bench drain`; `EVENTS=100000` for fewer of them.
#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

#[path = "../support/event.rs"]
mod event;
#[path = "../support/measure.rs"]
#[expect(dead_code, reason = "other benches measure more")]
mod measure;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::value::RawValue;
use suppressd::fetch::Fetcher;
use suppressd::ingest;
use suppressd::model::SourceName;
use suppressd::poll::{self, Every, Polls, Settings};
use suppressd::provider::{self, PageRequest, Setting};
use suppressd::rules::Rules;
use suppressd::turns::Turns;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use measure::{against, median, setting, status_kib};

/// Events of a page.
const PAGE: u64 = 300;

/// Longest time for one request.
const SOON: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    next: Option<String>,
}

fn main() -> Result<()> {
    let events = setting("EVENTS", 1_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let address = serve(events)?;
    runtime.block_on(report(events, address))
}

async fn report(events: u64, address: SocketAddr) -> Result<()> {
    println!("drain: {events} events, {PAGE} a page");
    let before = bare(events, address).await?;
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let start = status_kib("VmRSS:");
    let (committed, applied, quarters) = drain(events, address, directory.path()).await?;
    let most = status_kib("VmHWM:").saturating_sub(start) >> 10;
    let after = bare(events, address).await?;
    let rate = |took: Duration| events as f64 / took.as_secs_f64();
    let limit = median([rate(before), rate(after), f64::midpoint(rate(before), rate(after))]);
    println!(
        "  bare client, before and after: {:.0} and {:.0} events/s",
        rate(before),
        rate(after)
    );
    println!(
        "  committed: {:.0} events/s; applied: {:.0} events/s",
        rate(committed),
        rate(applied)
    );
    against("drain of a paged API, against the bare client", rate(committed) / limit, 0.8, true);
    let grown: Vec<u64> = quarters.iter().map(|kib| kib.saturating_sub(start) >> 10).collect();
    println!("  resident memory grew by {grown:?} MiB at each quarter of the pages;");
    println!(
        "  by {most} MiB at most while the store applied them, which it does behind the poller"
    );
    Ok(())
}

/// How long a client takes that asks for each page and reads its rows.
async fn bare(events: u64, address: SocketAddr) -> Result<Duration> {
    let fetcher = Fetcher::new()?;
    let started = Instant::now();
    let mut next = Some(format!("http://{address}/events?from=0"));
    let mut rows = 0;
    while let Some(url) = next {
        let answer = fetcher.send(&PageRequest::get(url.parse()?), SOON).await?;
        let page: Page<'_> = serde_json::from_slice(&answer.body)?;
        rows += page.events.len() as u64;
        next = page.next.map(|next| format!("http://{address}{next}"));
    }
    ensure!(rows == events, "the bare client has {rows} rows");
    Ok(started.elapsed())
}

/// How long the poller takes until all is committed, and until all is applied; and the resident
/// memory, in KiB, each time that another quarter is committed.
async fn drain(
    events: u64,
    address: SocketAddr,
    state: &Path,
) -> Result<(Duration, Duration, Vec<u64>)> {
    let retention = Duration::from_secs(90 * 24 * 60 * 60);
    let rules = Arc::new(Rules::default());
    let settings =
        ingest::Settings::new(state.to_owned(), retention, rules.clone(), Arc::default());
    let running = ingest::start(settings, &Handle::current())?;
    running.ingest.ready().await;
    let fetcher = Fetcher::new()?;
    let (polls, mut parts) = poll::start(
        vec![source(address)?],
        fetcher,
        &running,
        rules,
        &Polls::default(),
        Turns::always(),
    )?;
    let started = Instant::now();
    let (progress, mut steps) = mpsc::channel::<poll::Progress>(64);
    let watching = tokio::spawn(async move {
        let (mut committed, mut quarters) = (Duration::ZERO, Vec::new());
        while let Some(step) = steps.recv().await {
            if step.rows == events && committed.is_zero() {
                committed = started.elapsed();
            }
            if step.rows * 4 / events > quarters.len() as u64 {
                quarters.push(status_kib("VmRSS:"));
            }
        }
        (committed, quarters)
    });
    let summary = polls.run_now(None, None, progress).await?.remove(0);
    let applied = started.elapsed();
    ensure!(summary.error.is_none(), "{:?}", summary.error);
    ensure!(summary.rows == events, "the poller has {} rows", summary.rows);
    for part in &mut parts {
        part.stop();
        part.ended().await?;
    }
    ensure!(running.stop(SOON).await.is_empty(), "intake did not stop");
    let (committed, quarters) = watching.await?;
    Ok((committed, applied, quarters))
}

fn source(address: SocketAddr) -> Result<Settings> {
    let provider = provider::by_name("generic").context("there is a generic provider")?;
    let mut settings = provider::Settings::default();
    settings.set("url", Setting::Text(format!("http://{address}/events")));
    Ok(Settings {
        source: SourceName::parse("bench")?,
        provider: provider.into(),
        settings,
        feeds: provider.feeds()[..1].to_vec(),
        // Never by itself: the order is what is measured.
        every: Every::Cron("0 0 0 29 2 *".to_owned()),
        overlap: None,
        backfill: Duration::from_secs(86_400),
        scan: Duration::from_secs(86_400),
        trust_removals: false,
        push: None,
        has_webhook: false,
    })
}

/// An API on loopback, a thread per connection.
fn serve(events: u64) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that is done hangs up.
            std::thread::spawn(move || drop(answer(stream, events)));
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream, events: u64) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut body = String::new();
    while let Some(line) = lines.next().transpose()? {
        let Some(target) = line.strip_prefix("GET ") else { continue };
        let from = target.split_once("from=").map_or("0", |(_, rest)| rest);
        let from: u64 = from.split(['&', ' ']).next().unwrap_or("0").parse()?;
        for line in lines.by_ref() {
            if line?.is_empty() {
                break;
            }
        }
        page(&mut body, from, events)?;
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        )?;
        stream.write_all(body.as_bytes())?;
    }
    Ok(())
}

fn page(body: &mut String, from: u64, events: u64) -> Result<()> {
    body.clear();
    body.push_str("{\"events\":[");
    let to = (from + PAGE).min(events);
    for number in from..to {
        if number > from {
            body.push(',');
        }
        event::put(body, number);
    }
    match to < events {
        true => write!(body, "],\"next\":\"/events?from={to}\"}}")?,
        false => body.push_str("],\"next\":null}"),
    }
    Ok(())
}
