//! Segment files: their names, and syncing what a name means.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

const SUFFIX: &str = "seg";

/// The file of segment `number`.
pub(super) fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:010}.{SUFFIX}"))
}

/// The numbers of the segments in a directory, ascending. Other files are none of ours.
pub(super) fn list(dir: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let Some((stem, SUFFIX)) = name.to_str().and_then(|name| name.rsplit_once('.')) else {
            continue;
        };
        numbers.extend(stem.parse::<u32>().ok());
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Makes the entries of a directory durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
