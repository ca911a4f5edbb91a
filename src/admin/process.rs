//! The metrics that every Prometheus client library has of its own process, as Linux tells them.
//!
//! They are written here, since the processor's time is a counter with a fraction.

use std::fmt::Write as _;
use std::fs;

use crate::model::Time;

/// Clock ticks of a second, as Linux shows them to every program.
const TICKS: f64 = 100.0;

/// The process, in the text format of Prometheus. What cannot be read is left out.
pub(super) fn text(started: Time) -> String {
    let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let (status, limits, stat) = (read("status"), read("limits"), read("stat"));
    let files = fs::read_dir("/proc/self/fd").map(Iterator::count);
    let kibibytes = |key: &str| number(&status, key).map(|number| number * 1_024.0);
    let mut text = String::new();
    for (name, kind, help, value) in [
        ("cpu_seconds_total", "counter", "User and system CPU time spent, in seconds.", cpu(&stat)),
        ("resident_memory_bytes", "gauge", "Resident memory, in bytes.", kibibytes("VmRSS:")),
        ("virtual_memory_bytes", "gauge", "Virtual memory, in bytes.", kibibytes("VmSize:")),
        ("open_fds", "gauge", "Open file descriptors.", files.ok().map(|files| files as f64)),
        ("max_fds", "gauge", "Most open file descriptors.", number(&limits, "Max open files")),
        ("threads", "gauge", "Threads.", number(&status, "Threads:")),
        (
            "start_time_seconds",
            "gauge",
            "When the process started, as Unix time.",
            Some(started.second() as f64),
        ),
    ] {
        let Some(value) = value else { continue };
        let name = format!("process_{name}");
        // Writing to a text does not fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n");
    }
    text
}

/// The first number behind a key at the start of a line.
fn number(text: &str, key: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The time of processors, of proc_pid_stat(5). The name of the program may hold anything.
fn cpu(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_measured() {
        let text = text(Time::from_seconds(1_700_000_000));
        for name in ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds", "threads"]
        {
            let value = number(&text, &format!("process_{name}"));
            assert!(value.is_some_and(|value| value >= 0.0), "{name}: {text}");
        }
        assert!(text.ends_with("process_start_time_seconds 1700000000\n\n"), "{text}");
    }

    #[test]
    fn a_program_may_be_called_anything() {
        let fields = "S 1 1 1 0 -1 4194560 1 0 0 0 250 50 0 0 20";
        assert_eq!(cpu(&format!("7 (a) b 9) {fields}")), Some(3.0));
        assert_eq!(cpu(""), None);
    }
}
