//! What operators read about exports: log lines and metrics.

use std::path::Path;
use std::time::Duration;

use metrics::{Histogram, counter, gauge, histogram};
use tracing::Level;

use super::fold;

const WRITTEN: &str = "export written";
const FOREIGN: &str = "somebody else has changed or removed the file of the export";
const MENDED: &str =
    "somebody else has changed or removed the file of the export; it was made anew";
/// The same of a file that Postfix reads: a process that met it missing goes on to fail.
const MENDED_FOR_POSTFIX: &str = "somebody else has changed or removed the file of the export; \
    it was made anew; run `postfix reload` if Postfix still defers";
const RECOMPILED: &str =
    "somebody else has changed or removed what the command of the export made; it is run again";
const NOT_WRITTEN: &str = "export not written";
const COMMAND_FAILS: &str = "the command of the export failed; it is tried again until it succeeds";
const COMMAND_WORKS: &str = "the command of the export succeeded";
const ANEW: &str = "the file of the export could not be changed in part; all of it is tried";

/// Rows were published: the file has changed.
pub fn written(export: &str, path: &Path, rows: u64, generation: u64) {
    if fold::first(Level::INFO, WRITTEN, export, "") {
        tracing::info!(export, path = %path.display(), rows, generation, "{WRITTEN}");
    }
    counter!("suppressd_export_writes_total", "export" => export.to_owned()).increment(1);
}

/// The file is as the store has it, but for removals that are held back.
pub fn current(export: &str, rows: u64) {
    gauge!("suppressd_export_rows", "export" => export.to_owned()).set(rows as f64);
}

/// The file is current and its command has done its work, at this Unix time.
pub fn succeeded(export: &str, seconds: i64) {
    let name = "suppressd_export_last_success_timestamp_seconds";
    gauge!(name, "export" => export.to_owned()).set(seconds as f64);
}

/// What the file lacked is in it, and its command is done.
pub fn exported(export: &str, took: Duration) {
    exported_of(export).record(took.as_secs_f64());
}

fn exported_of(export: &str) -> Histogram {
    histogram!("suppressd_exported_seconds", "export" => export.to_owned())
}

/// An export is there, and has lacked a change for so long.
pub fn known(export: &str, pending: Duration) {
    let label = || export.to_owned();
    for name in [
        "suppressd_export_writes_total",
        "suppressd_export_errors_total",
        "suppressd_export_foreign_total",
    ] {
        counter!(name, "export" => label()).increment(0);
    }
    for name in [
        "suppressd_export_rows",
        "suppressd_export_unfit",
        "suppressd_export_held_back",
        "suppressd_export_last_success_timestamp_seconds",
    ] {
        gauge!(name, "export" => label()).increment(0.0);
    }
    gauge!("suppressd_export_pending_seconds", "export" => label()).set(pending.as_secs_f64());
    drop(exported_of(export));
}

/// Whether an export fails, and whether somebody else has changed its file of late.
pub fn stands(export: &str, failing: bool, foreign: bool) {
    let set = |name: &'static str, holds: bool| {
        gauge!(name, "export" => export.to_owned()).set(f64::from(holds));
    };
    set("suppressd_export_failing", failing);
    set("suppressd_export_foreign", foreign);
}

/// Whether the guard holds removals back.
pub fn holds(export: &str, held: bool) {
    gauge!("suppressd_export_held_back", "export" => export.to_owned()).set(f64::from(held));
}

/// The guard has begun to hold removals back, or holds back others.
pub fn held_back(export: &str, path: &Path, why: &str) {
    tracing::error!(
        export,
        path = %path.display(),
        why,
        "export held back: what would go stays; \
         if it is right that it goes, run: suppressd export {export} --force"
    );
}

/// Somebody else has written, emptied or removed the file; `mended`: it is as it should be again;
/// `for_postfix`: Postfix reads it.
pub fn foreign(export: &str, path: &Path, mended: bool, for_postfix: bool) {
    let told = match (mended, for_postfix) {
        (false, _) => FOREIGN,
        (true, false) => MENDED,
        (true, true) => MENDED_FOR_POSTFIX,
    };
    if fold::first(Level::WARN, told, export, "") {
        tracing::warn!(export, path = %path.display(), "{told}");
    }
    counter!("suppressd_export_foreign_total", "export" => export.to_owned()).increment(1);
}

/// Somebody else has written, emptied or removed what the command makes of the file.
pub fn foreign_table(export: &str, table: &Path) {
    if fold::first(Level::WARN, RECOMPILED, export, "") {
        tracing::warn!(export, path = %table.display(), "{RECOMPILED}");
    }
    counter!("suppressd_export_foreign_total", "export" => export.to_owned()).increment(1);
}

/// A part of the file could not be changed, so all of it is to be made anew.
pub fn not_in_place(export: &str, path: &Path, error: &str) {
    if fold::first(Level::WARN, ANEW, export, error) {
        tracing::warn!(export, path = %path.display(), error, "{ANEW}");
    }
}

/// A writing has failed; `first` when it is not the same failure again.
pub fn failed(export: &str, path: &Path, error: &str, first: bool) {
    if first && fold::first(Level::ERROR, NOT_WRITTEN, export, error) {
        tracing::error!(export, path = %path.display(), error, "{NOT_WRITTEN}");
    }
    counter!("suppressd_export_errors_total", "export" => export.to_owned()).increment(1);
}

/// Some addresses cannot be carried by the format; `changed` when there were more or fewer.
pub fn unfit(export: &str, path: &Path, count: u64, changed: bool) {
    if changed && count > 0 {
        tracing::warn!(
            export,
            path = %path.display(),
            count,
            "suppressed addresses that the format cannot carry are left out"
        );
    }
    gauge!("suppressd_export_unfit", "export" => export.to_owned()).set(count as f64);
}

/// The export's command has failed; `first`: not so since it last succeeded.
pub fn command_failed(
    export: &str,
    path: &Path,
    program: &str,
    (why, stderr): (&str, &str),
    first: bool,
) {
    counter!("suppressd_export_errors_total", "export" => export.to_owned()).increment(1);
    let path = path.display();
    if first && fold::first(Level::ERROR, COMMAND_FAILS, export, why) {
        tracing::error!(export, %path, program, why, stderr, "{COMMAND_FAILS}");
    } else if !first {
        tracing::debug!(export, %path, program, why, stderr, "the export's command failed again");
    }
}

/// The export's command has succeeded after it had failed.
pub fn command_recovered(export: &str, path: &Path, program: &str) {
    if fold::first(Level::INFO, COMMAND_WORKS, export, program) {
        tracing::info!(export, path = %path.display(), program, "{COMMAND_WORKS}");
    }
}
