//! A long run at a steady rate, with polls, an export, lookups, ends of suppressions and retention
//! turned down to minutes: memory, open files, the disk and the time of an answer have to stay flat.
//!
//! `cargo bench --bench soak`; `MINUTES=5` for a short one, `RATE=1000` requests of one event a
//! second, `SVG=FILE` draws what was sampled.
#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

#[path = "../grow/daemon.rs"]
#[expect(dead_code, reason = "the daemon is not started again here")]
mod daemon;
mod event;
mod feed;
#[path = "../intake/load.rs"]
mod load;
#[path = "../support/measure.rs"]
#[expect(dead_code, reason = "other benches measure more")]
mod measure;
mod plot;
#[path = "../support/spawn.rs"]
mod spawn;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

use daemon::{Daemon, readers};
use load::Load;
use measure::{disk_bytes, median, percentile, setting};
use plot::{PANELS, Sample};
use spawn::configure;

/// How long a sample takes.
const SLICE: Duration = Duration::from_secs(10);
/// How much the last third may be above the one before it.
const FLAT: f64 = 1.2;

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let length = Duration::from_secs(60 * setting("MINUTES", 60));
    runtime.block_on(soak(length, setting("RATE", 10_000)))
}

async fn soak(length: Duration, rate: u64) -> Result<()> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let daemon =
        Daemon::of(configured(directory.path(), feed::serve()?)?, directory.path()).await?;
    println!("{} minutes at {rate} requests/s of one event", length.as_secs() / 60);
    let (started, mut samples) = (Instant::now(), Vec::new());
    while started.elapsed() < length {
        let load = Load { events: 1, length: SLICE, rate: Some(rate) };
        let mut times = load::run(daemon.hooks, load, None).await?;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let values = [
            daemon.resident()?.all,
            mib(disk_bytes(&daemon.state)),
            daemon.open_files()? as f64,
            percentile(&mut times, 99).as_secs_f64() * 1e3,
            mib(daemon.lag().await?),
        ];
        samples.push(Sample { minutes: started.elapsed().as_secs_f64() / 60.0, values });
        if let Some(file) = std::env::var_os("SVG") {
            fs::write(file, plot::svg(&samples))?;
        }
    }
    report(&samples);
    Ok(())
}

/// The configuration: all that usually takes days happens within minutes.
fn configured(directory: &Path, feed: SocketAddr) -> Result<PathBuf> {
    let beside = format!(
        "[[source]]\nname = \"feed\"\nprovider = \"generic\"\n\
         poll = {{ url = \"http://{feed}/events\", every = \"10s\" }}\n\
         [rules]\nhard_bounce = {{ for = \"2m\" }}\n\
         soft_bounce = {{ count = 2, within = \"3m\", for = \"1m\" }}\n{}",
        readers(directory)
    );
    let config = configure(directory, &beside)?;
    let text = fs::read_to_string(&config)?;
    fs::write(&config, text.replacen("[http]", "retention = \"5m\"\n[http]", 1))?;
    Ok(config)
}

/// The medians of the thirds: what is flat is so by the second.
fn report(samples: &[Sample]) {
    for (panel, title) in PANELS.iter().enumerate() {
        let third = |number: usize| {
            let part = samples.len() / 3;
            let samples = &samples[number * part..(number + 1) * part];
            median(samples.iter().map(|sample| sample.values[panel]))
        };
        let [first, second, last] = [0, 1, 2].map(third);
        let word = if last <= second * FLAT { "flat" } else { "GROWS" };
        println!("  {title:<28} {first:>8.1} {second:>8.1} {last:>8.1}   {word}");
    }
}
