//! What operators read about exports: log lines and metrics.

use std::path::Path;

use metrics::{counter, gauge};

/// Rows were published: the file has changed.
pub fn written(export: &str, path: &Path, rows: u64, generation: u64) {
    tracing::info!(export, path = %path.display(), rows, generation, "export written");
    counter!("suppressd_export_writes_total", "export" => export.to_owned()).increment(1);
}

/// The file is as the store has it, whether or not it had to change, at this Unix time.
pub fn current(export: &str, rows: u64, seconds: i64) {
    let label = export.to_owned();
    gauge!("suppressd_export_rows", "export" => label.clone()).set(rows as f64);
    gauge!("suppressd_export_held_back", "export" => label.clone()).set(0.0);
    gauge!("suppressd_export_last_success_timestamp_seconds", "export" => label)
        .set(seconds as f64);
}

/// The guard has refused to write, with these numbers for the first time.
pub fn held_back(export: &str, path: &Path, old: u64, new: u64) {
    tracing::error!(
        export,
        path = %path.display(),
        old,
        new,
        "export held back: too many rows would vanish unexplained; \
         if that is right, run: suppressd export {export} --force"
    );
    gauge!("suppressd_export_held_back", "export" => export.to_owned()).set(1.0);
}

/// A writing has failed; `first` when it is not the same failure again.
pub fn failed(export: &str, path: &Path, error: &str, first: bool) {
    if first {
        tracing::error!(export, path = %path.display(), error, "export not written");
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

/// The export's command has failed.
pub fn command_failed(export: &str, path: &Path, program: &str, why: &str, stderr: &str) {
    tracing::error!(
        export,
        path = %path.display(),
        program,
        why,
        stderr,
        "the command of the export failed; it is tried again"
    );
    counter!("suppressd_export_errors_total", "export" => export.to_owned()).increment(1);
}

/// The export's command has succeeded after it had failed.
pub fn command_recovered(export: &str, path: &Path, program: &str) {
    tracing::info!(export, path = %path.display(), program, "the command of the export succeeded");
}
