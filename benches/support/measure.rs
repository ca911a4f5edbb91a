//! Figures that several benches need: percentiles, medians, and what `/proc` knows of a process.
//!
//! Nothing here is exact beyond a clock tick of the kernel (10 ms); rounds are long enough for it.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// A number from the environment, such as `SECONDS`.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The value below which `percent` of a hundred lie.
pub(crate) fn percentile(values: &mut [Duration], percent: usize) -> Duration {
    values.sort_unstable();
    let index = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    values.get(index).copied().unwrap_or_default()
}

/// The middle of several rounds.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// One line of the report: a ratio, and the goal beside it.
pub(crate) fn against(what: &str, ratio: f64, goal: f64, at_least: bool) {
    let met = if at_least { ratio >= goal } else { ratio <= goal };
    let (sign, word) = (if at_least { ">=" } else { "<=" }, if met { "met" } else { "MISSED" });
    println!("  {what:<62} {ratio:>8.2}   goal {sign} {goal} {word}");
}

/// A field of `/proc/self/status`, in KiB.
pub(crate) fn status_kib(field: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.split_whitespace().find_map(|word| word.parse().ok()).unwrap_or(0)
}

/// The bytes that a directory takes on disk, with all below it.
pub(crate) fn disk_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => disk_bytes(&entry.path()),
        Ok(meta) => meta.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}
