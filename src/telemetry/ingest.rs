//! What the journal, the store and the intake between them have to say.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use metrics::{Histogram, counter, gauge, histogram};
use tracing::{Level, debug, error, info, warn};

use super::fold;

/// An unfinished write was cut off at the journal's end.
pub fn journal_torn(bytes: u64) {
    warn!(
        bytes,
        "journal: cut off an unfinished write, as a crash leaves one; it is kept in quarantine/"
    );
}

/// People who were forgotten are erased.
pub fn erased(people: usize, segments: u64, elements: u64, quarantined: u64, keys: u64) {
    info!(
        people,
        segments,
        elements,
        quarantined,
        keys,
        "forget: erased what was told of those who were forgotten"
    );
}

/// People who were forgotten are not erased yet.
pub fn erase_failed(error: impl Display) {
    error!(%error, "forget: not all is erased yet; it is tried again, and at the next start");
}

/// A directory of the state belongs to somebody else, and others than we may look into it.
pub fn open_to_others(dir: &std::path::Path) {
    let dir = dir.display();
    warn!(
        %dir,
        "store: others can read this directory; `chown` it to suppressd, or `chmod 700` it"
    );
}

/// Others may do more with the state directory than go through it.
pub fn state_open_to_others(dir: &std::path::Path) {
    let dir = dir.display();
    warn!(%dir, "store: others can list this directory, or change what is in it; `chmod 751` it");
}

/// A part of the journal cannot be read.
pub fn journal_damaged(at: impl Display, bytes: u64, aside: Option<&std::path::Path>) {
    counter!("suppressd_journal_damaged_total").increment(1);
    let aside = shown(aside);
    error!(
        %at, bytes, aside,
        "journal: a part cannot be read; what follows it was kept. Look at the copy, then \
         move it away: health is degraded until then"
    );
}

fn shown(aside: Option<&std::path::Path>) -> String {
    aside.map_or_else(|| "nowhere".to_owned(), |path| path.display().to_string())
}

/// A part of the journal is not there, though it was acknowledged.
pub fn journal_lost(at: impl Display, what: &str, aside: Option<&std::path::Path>) {
    counter!("suppressd_journal_damaged_total").increment(1);
    let noted = shown(aside);
    error!(
        %at, what, noted,
        "journal: a segment is missing, or a part of one, which was acknowledged. Put it back from \
         a copy if there is one; move the note away: health is degraded until then"
    );
}

/// The old part of the journal was looked through.
pub fn journal_scrubbed(bytes: u64, damaged: u64, seconds: f64) {
    info!(bytes, damaged, seconds, "journal: looked through what was applied before the start");
}

/// The old part of the journal could not be looked through.
pub fn journal_scrub_failed(error: impl Display) {
    error!(%error, "journal: could not be looked through; the next start tries again");
}

/// The journal goes on with a record that only a newer version reads.
pub fn halted(at: impl Display, form: u8) {
    error!(
        %at, form,
        "journal: a newer suppressd has written this record and what follows. Nothing further is \
         applied, and intake goes on: start the newer version again"
    );
}

/// The process died as it applied this, and tries it once more.
pub fn suspected(record: impl Display, pause: std::time::Duration) {
    let seconds = pause.as_secs_f64();
    warn!(
        %record, seconds,
        "store: the process ended as it applied this; it is tried again, alone, after a pause"
    );
}

/// An element or a record could not be applied.
pub fn set_aside(id: impl Display, why: &str) {
    counter!("suppressd_set_aside_total").increment(1);
    error!(
        %id, why,
        "store: could not apply this and went on behind it; see `suppressd quarantine list`, and \
         `suppressd quarantine replay` after an upgrade"
    );
}

/// The store had to be made again.
pub fn store_rebuilt(why: &str, checkpoint: Option<impl Display>, aside: Option<&std::path::Path>) {
    counter!("suppressd_store_rebuilds_total").increment(1);
    let from = checkpoint.map_or_else(
        || "the journal alone".to_owned(),
        |at| format!("the checkpoint at {at} and the journal"),
    );
    let aside = aside.map(|path| path.display().to_string());
    warn!(why, from, aside, "store: made again");
}

/// The store had to be made again, because the disk has changed what was whole.
pub fn store_rotten(why: &str, aside: Option<&Path>) {
    let aside = shown(aside);
    error!(
        why,
        aside,
        "store: the disk has changed what was whole; it is made again. Look at the disk, then \
         delete what was set aside: health is degraded until then"
    );
}

/// The store cannot be read through.
pub fn store_unread(error: impl Display) {
    error!(%error, "store: a part of it cannot be read; it is made again");
}

/// It is time to stop, and the store is not current yet.
pub fn rebuild_left(at: impl Display) {
    info!(%at, "store: stopped before it was current; the next start goes on");
}

/// The store is open and has everything that was committed before the start.
pub fn store_ready(seconds: f64) {
    info!(seconds, "store: ready");
}

/// The store failed; it is opened again. That is told where it is `news`.
pub fn store_failed(error: impl Display, news: bool) {
    counter!("suppressd_store_failures_total").increment(1);
    if !news {
        return;
    }
    error!(%error, "store: failed; intake goes on, and the store is opened again");
}

/// A checkpoint was written.
pub fn checkpoint_written(at: impl Display, took: Duration) {
    counter!("suppressd_checkpoints_total").increment(1);
    info!(%at, seconds = took.as_secs_f64(), "store: wrote a checkpoint");
}

/// A checkpoint could not be written.
pub fn checkpoint_failed(error: impl Display) {
    error!(%error, "store: no checkpoint could be written; the journal is kept until one is");
}

/// A checkpoint is not used, whether it is newer or damaged.
pub fn checkpoint_refused(file: &Path, why: impl Display, now: &Path) {
    counter!("suppressd_checkpoints_refused_total").increment(1);
    error!(
        file = %file.display(), %why, now = %now.display(),
        "store: refused a checkpoint; the journal is kept until there are two good ones. \
         Look at the file, then move it away: health is degraded until then"
    );
}

/// What a newer version has left for its next start was moved out of our way.
pub fn newer_set_aside(file: &Path, aside: &Path) {
    warn!(
        file = %file.display(), aside = %aside.display(),
        "store: a newer version of suppressd has left this; it was set aside"
    );
}

/// The checkpoints could not be read.
pub fn checkpoints_unread(error: impl Display) {
    error!(%error, "store: the checkpoints could not be read; the journal is kept until they are");
}

/// A run of the index cannot be used. It is removed, and made again of the journal.
pub fn index_damaged(path: &Path, error: &str) {
    let hint = "it is made again of the journal, and the daemon is not ready until then";
    warn!(path = %path.display(), error, hint, "store: a part of the index cannot be used");
}

/// A run of the index could not be written.
pub fn index_failed(error: impl Display) {
    let hint = "look at the disk, and make room; it is tried again, and stays in memory meanwhile";
    warn!(%error, hint, "store: a part of the index could not be written");
}

/// A run of the base cannot be read. It is taken away, and the store is made again.
pub fn base_damaged(path: &Path, error: &str) {
    let hint = "look at the disk; the store is made again of a checkpoint and the journal";
    error!(path = %path.display(), error, hint, "store: a part of its base cannot be read");
}

/// A run of the base could not be written.
pub fn base_failed(error: impl Display) {
    let hint = "look at the disk, and make room; it is tried again, and stays as it is meanwhile";
    warn!(%error, hint, "store: a part of its base could not be written");
}

/// Segments were packed.
pub fn journal_packed(segments: u64, before: u64, after: u64) {
    if segments > 0 {
        debug!(segments, before, after, "journal: packed segments that are complete");
    }
}

/// Segments could not be packed.
pub fn packing_failed(error: impl Display) {
    let hint = "look at the disk, and make room; it is tried again, and they stay as they are";
    warn!(%error, hint, "journal: segments could not be packed");
}

/// Segments were removed, being older than the retention.
pub fn journal_trimmed(segments: usize) {
    info!(segments, "journal: removed segments beyond store.retention");
}

/// Intake stopped: nothing can be made durable.
pub fn intake_stopped(reason: impl Display) {
    gauge!("suppressd_intake_stopped").set(1.0);
    error!(%reason, "intake: stopped; senders are told to try again. It goes on once mended");
}

/// Intake goes on.
pub fn intake_resumed() {
    gauge!("suppressd_intake_stopped").set(0.0);
    info!("intake: goes on");
}

/// A group was synced.
pub fn group_committed(records: usize, bytes: usize, took: Duration) {
    counter!("suppressd_journal_records_total").increment(records as u64);
    counter!("suppressd_journal_bytes_total").increment(bytes as u64);
    histogram!("suppressd_journal_sync_seconds").record(took.as_secs_f64());
}

/// How far the store is behind the journal, in bytes.
pub fn lag(bytes: u64) {
    gauge!("suppressd_store_lag_bytes").set(bytes as f64);
}

/// The same at this moment: bytes, records, and for how long the oldest of those waits.
pub fn lags(bytes: u64, records: u64, age: Duration) {
    lag(bytes);
    gauge!("suppressd_store_lag_records").set(records as f64);
    gauge!("suppressd_store_lag_seconds").set(age.as_secs_f64());
}

/// Elements of a source went to quarantine.
pub fn quarantined(source: &str, elements: u64) {
    counter!("suppressd_quarantined_total", "source" => source.to_owned()).increment(elements);
    const MESSAGE: &str =
        "quarantine: could not understand a part of a payload; see `suppressd quarantine list`";
    if fold::first(Level::WARN, MESSAGE, source, "") {
        warn!(source, elements, "{MESSAGE}");
    }
}

/// How old an event was when it came.
pub fn aged(source: &str, origin: &'static str, age: Duration) {
    age_of(source, origin).record(age.as_secs_f64());
}

fn age_of(source: &str, origin: &'static str) -> Histogram {
    let name = "suppressd_event_age_seconds";
    histogram!(name, "source" => source.to_owned(), "origin" => origin)
}

/// A submission is durable.
pub fn durable(source: &str, took: Duration) {
    durable_of(source).record(took.as_secs_f64());
}

fn durable_of(source: &str) -> Histogram {
    histogram!("suppressd_durable_seconds", "source" => source.to_owned())
}

/// A submission is applied.
pub fn applied(source: &str, took: Duration) {
    applied_of(source).record(took.as_secs_f64());
}

fn applied_of(source: &str) -> Histogram {
    histogram!("suppressd_applied_seconds", "source" => source.to_owned())
}

/// A source is there, whether it has said anything or not.
pub fn known(source: &str) {
    drop((durable_of(source), applied_of(source)));
    counter!("suppressd_quarantined_total", "source" => source.to_owned()).increment(0);
}

/// How many events of each kind have come by one way since the start.
pub fn told(source: &str, origin: &'static str, new: &[(&'static str, u64)], again: u64) {
    for (kind, events) in new {
        counter!(
            "suppressd_events_total",
            "source" => source.to_owned(), "origin" => origin, "kind" => *kind
        )
        .absolute(*events);
    }
    counter!("suppressd_repeated_total", "source" => source.to_owned(), "origin" => origin)
        .absolute(again);
    drop(age_of(source, origin));
}

/// A mass is let go whose release had been broken off.
pub fn mass_released(id: impl Display, released: u64) {
    info!(mass = %id, released, "the release of a mass was broken off, and is done");
}

/// That did not work, and is tried again.
pub fn mass_not_released(error: impl Display) {
    warn!(%error, "the release of a mass was broken off, and cannot go on yet");
}

/// A mass of new suppressions has begun, which is held back.
pub fn mass_held(id: impl Display, source: &str, domain: &str, class: &str) {
    warn!(
        mass = %id,
        source,
        domain,
        class,
        hint = "look at `suppressd held`; `release` lets it go, `lift --held` ends it",
        "unusually many new suppressions: what is above the rate is held back"
    );
}
