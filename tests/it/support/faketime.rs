//! Debian's `libfaketime`: a process whose clock is wrong.

use std::path::Path;
use std::process::Command;

/// For programs with threads.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// Why there is no such clock, if there is none.
pub(crate) fn missing() -> Option<String> {
    (!Path::new(LIBRARY).exists()).then(|| "libfaketime is not installed".to_owned())
}

/// Has a command run by another clock. The monotonic one and the times of files are left alone.
pub(crate) fn set_wrong(command: &mut Command) {
    command.env("LD_PRELOAD", LIBRARY).env("FAKETIME_NO_CACHE", "1").env("NO_FAKE_STAT", "1");
    command.env("DONT_FAKE_MONOTONIC", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
}
