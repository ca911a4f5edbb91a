//! Keeps each export's file current: one task per export, woken by changes, ends and operators.
//!
//! Decides when; `scan` says what and `publish` touches the file. A change is never lost: it is
//! written at once, or when the least interval has passed, or when a failure has been overcome.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::publish::{Guard, Outcome, Publication, PublishError, modified};
use super::scan::{Found, Scan};
use super::{Settings, command};
use crate::clock;
use crate::ingest::Changes;
use crate::model::Time;
use crate::rules::Rules;
use crate::stop::stopped;
use crate::store::{Reader, StandingRow, StoreError};
use crate::telemetry::export as telemetry;

/// Wait after a failure; it doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_secs(1);

/// Longest wait after a failure.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Wait for a store that is being opened, if no change comes before.
const READY_WAIT: Duration = Duration::from_secs(1);

/// Longest sleep towards an end, so that a wall clock that was set is noticed.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// Most operators' commands that wait for one export.
const COMMANDS_MAX: usize = 16;

/// Rows that one address can have: a lift can remove as many.
const ROWS_PER_ADDRESS: u64 = 2;

/// How an export stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Its format.
    pub format: &'static str,
    /// Its file.
    pub path: String,
    /// The rows in the file, as of `last_checked`.
    pub rows: u64,
    /// Suppressed addresses that the format cannot carry.
    pub unfit: u64,
    /// When this daemon last changed the file (RFC 3339).
    pub last_written: Option<String>,
    /// When the file was last found or made current (RFC 3339).
    pub last_checked: Option<String>,
    /// How often this daemon has changed the file.
    pub generation: u64,
    /// Why the guard keeps the file as it is, if it does.
    pub held_back: Option<String>,
    /// Why it could not be written, or why its command failed.
    pub error: Option<String>,
    /// Whether something is still to be written or run.
    pub pending: bool,
}

/// The running exports. Cheap to clone.
#[derive(Clone)]
pub struct Exports {
    list: Arc<[Entry]>,
}

struct Entry {
    name: String,
    status: watch::Receiver<Status>,
    commands: mpsc::Sender<Write>,
}

/// An operator's wish to have an export written now.
struct Write {
    force: bool,
    reply: oneshot::Sender<Status>,
}

/// Why an operator's wish could not even be tried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// There is no such export.
    #[error("there is no export named {0:?}")]
    Unknown(String),
    /// The daemon is stopping.
    #[error("stopping")]
    Stopping,
}

impl Exports {
    /// How each export stands, in the order of the configuration.
    pub fn statuses(&self) -> Vec<Status> {
        self.list.iter().map(|entry| entry.status.borrow().clone()).collect()
    }

    /// Writes one export, or all, now, and tells how they stand then. One that has `held_back`,
    /// `error` or `pending` set is not current.
    ///
    /// # Errors
    /// When no export has the name, or the daemon is stopping.
    pub async fn write(&self, name: Option<&str>, force: bool) -> Result<Vec<Status>, WriteError> {
        let wanted = |entry: &&Entry| name.is_none_or(|name| entry.name == name);
        let mut replies = Vec::new();
        for entry in self.list.iter().filter(wanted) {
            let (reply, answer) = oneshot::channel();
            let sent = entry.commands.send(Write { force, reply }).await;
            sent.map_err(|_| WriteError::Stopping)?;
            replies.push(answer);
        }
        if let (Some(name), true) = (name, replies.is_empty()) {
            return Err(WriteError::Unknown(name.to_owned()));
        }
        let mut statuses = Vec::new();
        for answer in replies {
            statuses.push(answer.await.map_err(|_| WriteError::Stopping)?);
        }
        Ok(statuses)
    }
}

/// Starts a task for each export. They end soon after `stop` holds `true` or has no sender any
/// more, with a last writing if one is pending; whoever awaits the handles limits the time.
pub fn start(
    settings: Vec<Settings>,
    rules: Arc<Rules>,
    reader: Reader,
    changes: watch::Receiver<Changes>,
    stop: watch::Receiver<bool>,
) -> (Exports, Vec<(String, JoinHandle<()>)>) {
    let standings: Standings = Arc::new(move || reader.standings());
    let world = World { rules, standings, now: Arc::new(clock::now) };
    start_in(&world, settings, &changes, &stop)
}

type Rows = Box<dyn Iterator<Item = Result<StandingRow, StoreError>> + Send>;
type Standings = Arc<dyn Fn() -> Rows + Send + Sync>;

/// What a runner needs of the rest.
#[derive(Clone)]
struct World {
    rules: Arc<Rules>,
    standings: Standings,
    now: Arc<dyn Fn() -> Time + Send + Sync>,
}

fn start_in(
    world: &World,
    settings: Vec<Settings>,
    changes: &watch::Receiver<Changes>,
    stop: &watch::Receiver<bool>,
) -> (Exports, Vec<(String, JoinHandle<()>)>) {
    let mut list = Vec::new();
    let mut tasks = Vec::new();
    for settings in settings {
        let name = settings.name.clone();
        let (send_status, status) = watch::channel(Status::new(&settings));
        let (commands, receive_commands) = mpsc::channel(COMMANDS_MAX);
        list.push(Entry { name: name.clone(), status, commands });
        let runner = Runner {
            settings: Arc::new(settings),
            world: world.clone(),
            seen: Changes::default(),
            changes: changes.clone(),
            changes_open: true,
            commands: receive_commands,
            stop: stop.clone(),
            status: send_status,
            due: Some(Instant::now()),
            free: Instant::now(),
            failure: Retry::default(),
            next_end: None,
            made: None,
            released: 0,
            held: None,
            program_due: None,
            program_failure: Retry::default(),
        };
        tasks.push((name, tokio::spawn(runner.run())));
    }
    (Exports { list: list.into() }, tasks)
}

impl Status {
    fn new(settings: &Settings) -> Status {
        Status {
            name: settings.name.clone(),
            format: settings.format.name(),
            path: settings.path.display().to_string(),
            rows: 0,
            unfit: 0,
            last_written: None,
            last_checked: None,
            generation: 0,
            held_back: None,
            error: None,
            pending: true,
        }
    }
}

/// A failure that is being retried.
#[derive(Default)]
struct Retry {
    error: Option<String>,
    wait: Duration,
}

impl Retry {
    /// Notes a failure; gives the wait, and whether it is another failure than the last.
    fn again(&mut self, error: String) -> (Duration, bool) {
        let first = self.error.as_ref() != Some(&error);
        self.error = Some(error);
        self.wait = (self.wait * 2).clamp(BACKOFF_MIN, BACKOFF_MAX);
        (self.wait, first)
    }
}

/// One export's task.
struct Runner {
    settings: Arc<Settings>,
    world: World,
    changes: watch::Receiver<Changes>,
    changes_open: bool,
    commands: mpsc::Receiver<Write>,
    stop: watch::Receiver<bool>,
    status: watch::Sender<Status>,
    /// The changes that the last scan has surely seen.
    seen: Changes,
    /// When to write next, if something is to be written.
    due: Option<Instant>,
    /// Before this, no change is written.
    free: Instant,
    failure: Retry,
    /// When the next suppression ends.
    next_end: Option<Time>,
    /// As of when the present file is; unknown before the first writing.
    made: Option<Time>,
    /// The intended removals that the present file has.
    released: u64,
    /// The rows that the guard has reported last, old and new.
    held: Option<(u64, u64)>,
    /// When to run the command next, if it is to be run.
    program_due: Option<Instant>,
    program_failure: Retry,
}

/// What a scan and a publication have found.
struct Written {
    result: Result<Outcome, PublishError>,
    found: Found,
}

impl Runner {
    async fn run(mut self) {
        loop {
            self.show();
            let wake = self.wake();
            tokio::select! {
                biased;
                () = stopped(&mut self.stop) => break,
                () = sleep_until(wake) => self.on_time().await,
                Some(write) = self.commands.recv() => self.on_command(write).await,
                changed = self.changes.changed(), if self.changes_open => match changed {
                    Ok(()) => self.on_change(),
                    Err(_) => self.changes_open = false,
                },
            }
        }
        if self.due.is_some() || *self.changes.borrow() != self.seen {
            self.write(false).await;
        }
        if self.program_due.is_some() {
            self.run_program().await;
        }
        self.show();
    }

    fn wake(&self) -> Instant {
        let end = self.next_end.map(|end| {
            let wait = end.since((self.world.now)());
            Instant::now() + wait.min(LOOK_MAX)
        });
        let write = self.due.or(end);
        let far = Instant::now() + LOOK_MAX;
        [write, self.program_due].into_iter().flatten().min().unwrap_or(far)
    }

    async fn on_time(&mut self) {
        let now = Instant::now();
        let ended = |end: Time| end.nanos() <= (self.world.now)().nanos();
        if self.due.is_none() && self.next_end.is_some_and(ended) {
            self.due = Some(self.free.max(now));
        }
        if self.due.is_some_and(|due| due <= now) {
            self.write(false).await;
        }
        if self.program_due.is_some_and(|due| due <= Instant::now()) {
            self.run_program().await;
        }
    }

    async fn on_command(&mut self, write: Write) {
        let written = self.write(write.force).await;
        if written && write.force && !self.settings.command.is_empty() {
            self.program_due = Some(Instant::now());
        }
        if self.program_due.is_some() {
            self.run_program().await;
        }
        self.show();
        // An operator who has gone away needs no answer.
        let _ = write.reply.send(self.status.borrow().clone());
    }

    fn on_change(&mut self) {
        // While the file cannot be written, its retry is due, and no change hastens that.
        if self.failure.error.is_none() {
            let soon = self.free.max(Instant::now());
            self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
        }
    }

    /// Scans and publishes; says whether the file is current now.
    async fn write(&mut self, force: bool) -> bool {
        self.seen = *self.changes.borrow_and_update();
        let now = (self.world.now)();
        let job = self.job(now, force);
        let written = tokio::task::spawn_blocking(job).await;
        self.free = Instant::now() + self.settings.min_interval;
        let Written { result, found } = match written {
            Ok(written) => written,
            Err(panic) => {
                self.failed(&panic.to_string());
                return false;
            }
        };
        match result {
            Ok(outcome) => {
                self.next_end = found.next_end;
                self.current(now, outcome, found.unfit);
                true
            }
            Err(PublishError::Shrunk { old, new }) => {
                self.next_end = found.next_end;
                self.shrunk(old, new);
                false
            }
            Err(PublishError::Store(StoreError::NotReady)) => {
                // The change that makes the store ready is written at once.
                self.free = Instant::now();
                self.due = Some(Instant::now() + READY_WAIT);
                false
            }
            Err(error) => {
                self.failed(&error.to_string());
                false
            }
        }
    }

    /// The blocking part of a writing.
    fn job(&self, now: Time, force: bool) -> impl FnOnce() -> Written + Send + use<> {
        let (settings, world) = (Arc::clone(&self.settings), self.world.clone());
        let (changes, released, made) = (self.changes.clone(), self.released, self.made);
        move || {
            let before = made.or_else(|| modified(&settings.path));
            let scan = Scan { rules: &world.rules, settings: &settings, now, before };
            let written = Publication::begin(&settings).and_then(|mut publication| {
                let found = scan.run((world.standings)(), |row| publication.add(row))?;
                // Asked after the scan: it may have seen a lift that came meanwhile.
                let lifted = changes.borrow().released.saturating_sub(released);
                let explained =
                    found.expired.saturating_add(lifted.saturating_mul(ROWS_PER_ADDRESS));
                let guard = Guard { max_shrink: settings.max_shrink, force, explained };
                Ok((found, publication.finish(guard)))
            });
            match written {
                Ok((found, result)) => Written { result, found },
                Err(error) => Written { result: Err(error), found: Found::default() },
            }
        }
    }

    fn current(&mut self, now: Time, outcome: Outcome, unfit: u64) {
        let Settings { name, path, command, .. } = &*self.settings;
        let at = now.floor_second().to_string();
        let first = self.made.is_none();
        let known = self.status.borrow().unfit;
        self.status.send_modify(|status| {
            status.rows = outcome.rows;
            status.unfit = unfit;
            status.generation += u64::from(outcome.changed);
            if outcome.changed {
                status.last_written = Some(at.clone());
            }
            status.last_checked = Some(at);
        });
        telemetry::unfit(name, path, unfit, unfit != known);
        if outcome.changed {
            telemetry::written(name, path, outcome.rows, self.status.borrow().generation);
        }
        telemetry::current(name, outcome.rows, now.second());
        // At the first writing too: the last run may have ended between the two.
        if !command.is_empty() && (outcome.changed || first) {
            self.program_due = Some(Instant::now());
        }
        self.made = Some(now);
        self.released = self.seen.released;
        self.held = None;
        self.failure = Retry::default();
        self.due = None;
    }

    fn shrunk(&mut self, old: u64, new: u64) {
        self.failure = Retry::default();
        self.due = None;
        // If there are more lifts by now, the next writing may be able to explain it.
        let moved = self.changes.borrow().released != self.seen.released;
        if !moved && self.held != Some((old, new)) {
            telemetry::held_back(&self.settings.name, &self.settings.path, old, new);
            self.held = Some((old, new));
        }
    }

    fn failed(&mut self, error: &str) {
        let (wait, first) = self.failure.again(error.to_owned());
        self.due = Some(Instant::now() + wait);
        telemetry::failed(&self.settings.name, &self.settings.path, error, first);
    }

    async fn run_program(&mut self) {
        self.program_due = None;
        let Settings { name, path, command, .. } = &*self.settings;
        let Some((program, arguments)) = command.split_first() else { return };
        match command::run(program, arguments).await {
            Ok(()) => {
                if self.program_failure.error.is_some() {
                    telemetry::command_recovered(name, path, program);
                }
                self.program_failure = Retry::default();
            }
            Err(failure) => {
                telemetry::command_failed(name, path, program, &failure.why, &failure.stderr);
                let error = format!("{program} failed: {}", failure.why);
                let (wait, _) = self.program_failure.again(error);
                self.program_due = Some(Instant::now() + wait);
            }
        }
    }

    /// Brings the public status up to date.
    fn show(&self) {
        let held_back = self.held.map(|(old, new)| {
            let name = &self.settings.name;
            format!(
                "{new} rows would replace {old}; if that is right, run: \
                 suppressd export {name} --force"
            )
        });
        let error = self.failure.error.as_ref().or(self.program_failure.error.as_ref()).cloned();
        let pending = self.due.is_some() || self.program_due.is_some();
        self.status.send_if_modified(|status| {
            let same =
                (&status.held_back, &status.error, status.pending) == (&held_back, &error, pending);
            (status.held_back, status.error, status.pending) = (held_back, error, pending);
            !same
        });
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::super::test;
    use super::*;
    use crate::model::{Reason, Scope, Until};

    /// When the test's wall clock starts: in the past, so that no file is from before.
    const START: i64 = 1_000_000;

    /// A store, a clock and the handles of one export over them.
    struct Bench {
        directory: tempfile::TempDir,
        rows: Arc<Mutex<Result<Vec<StandingRow>, StoreError>>>,
        scans: Arc<AtomicU64>,
        changes: watch::Sender<Changes>,
        stop: watch::Sender<bool>,
        exports: Exports,
        task: Option<JoinHandle<()>>,
        started: Instant,
    }

    fn row(key: &str, until: Until) -> StandingRow {
        test::standing(key, Scope::Global, Reason::Manual, until)
    }

    fn keys(keys: &[&str]) -> Result<Vec<StandingRow>, StoreError> {
        Ok(keys.iter().map(|key| row(&format!("{key}@x.test"), Until::Forever)).collect())
    }

    impl Bench {
        fn start(
            rows: Result<Vec<StandingRow>, StoreError>,
            adapt: impl FnOnce(&mut Settings),
        ) -> Bench {
            let directory = tempfile::tempdir().unwrap();
            let mut settings = test::settings(&directory.path().join("f"));
            adapt(&mut settings);
            let rows = Arc::new(Mutex::new(rows));
            let scans = Arc::new(AtomicU64::new(0));
            let (given, counter) = (Arc::clone(&rows), Arc::clone(&scans));
            let standings: Standings = Arc::new(move || {
                counter.fetch_add(1, Ordering::Relaxed);
                match given.lock().unwrap().clone() {
                    Ok(rows) => Box::new(rows.into_iter().map(Ok)),
                    Err(error) => Box::new(std::iter::once(Err(error))),
                }
            });
            let started = Instant::now();
            let now = Arc::new(move || Time::from_seconds(START).plus(started.elapsed()));
            let world = World { rules: Arc::default(), standings, now };
            let (changes, changed) = watch::channel(Changes::default());
            let (stop, stopping) = watch::channel(false);
            let (exports, tasks) = start_in(&world, vec![settings], &changed, &stopping);
            let task = tasks.into_iter().next().map(|(_, task)| task);
            Bench { directory, rows, scans, changes, stop, exports, task, started }
        }

        fn set(&self, rows: Result<Vec<StandingRow>, StoreError>, released: u64) {
            *self.rows.lock().unwrap() = rows;
            self.changes.send_modify(|changes| {
                changes.verdicts += 1;
                changes.released += released;
            });
        }

        async fn until(&self, holds: impl FnMut(&Status) -> bool) -> Status {
            self.exports.list[0].status.clone().wait_for(holds).await.unwrap().clone()
        }

        async fn generation(&self, number: u64) -> Status {
            self.until(|status| status.generation == number && !status.pending).await
        }

        fn path(&self) -> PathBuf {
            self.directory.path().join("f")
        }

        fn lines(&self) -> usize {
            fs::read_to_string(self.path()).unwrap().lines().count()
        }

        fn scans(&self) -> u64 {
            self.scans.load(Ordering::Relaxed)
        }

        async fn stop(mut self) -> Bench {
            self.stop.send_replace(true);
            self.task.take().unwrap().await.unwrap();
            self
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_without_rows_is_there_from_the_start() {
        let bench = Bench::start(keys(&[]), |_| ());
        let status = bench.generation(1).await;
        assert_eq!((bench.lines(), status.rows, status.error), (0, 0, None));
        assert_eq!(status.last_checked.as_deref(), Some("1970-01-12T13:46:40Z"));
        assert_eq!(status.last_written, status.last_checked);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_written_at_once_and_a_burst_at_intervals() {
        let bench = Bench::start(keys(&[]), |s| s.min_interval = Duration::from_secs(10));
        bench.generation(1).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(bench.scans(), 1, "nothing to do, nothing done");
        let before = Instant::now();
        bench.set(keys(&["a"]), 0);
        bench.generation(2).await;
        assert!(before.elapsed() < Duration::from_millis(10));
        for _ in 0..250 {
            bench.set(keys(&["a"]), 0);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bench.set(keys(&["a", "b"]), 0);
        assert_eq!(bench.generation(3).await.rows, 2, "the last change is not lost");
        assert_eq!(bench.scans(), 5, "the first, a, and one in each of three intervals");
    }

    #[tokio::test(start_paused = true)]
    async fn an_ended_row_leaves_within_a_second_and_needs_no_force() {
        let end = |seconds| Until::At(Time::from_nanos(START * 1_000_000_000 + seconds, 9));
        let rows = vec![
            row("a@x.test", end(25_500_000_000)),
            row("b@xn--bcher-kva.test", end(30_000_000_000)),
        ];
        let bench = Bench::start(Ok(rows), |_| ());
        assert_eq!(bench.generation(1).await.rows, 3);
        assert_eq!(bench.generation(2).await.rows, 2);
        let late = |seconds| bench.started.elapsed() - Duration::from_secs_f64(seconds);
        assert!(late(25.5) < Duration::from_millis(10), "{:?}", late(25.5));
        let status = bench.generation(3).await;
        assert_eq!((status.rows, status.held_back), (0, None));
        assert!(late(30.0) < Duration::from_millis(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_not_ready_is_waited_for() {
        let bench = Bench::start(Err(StoreError::NotReady), |_| ());
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert!(!bench.path().exists());
        let status = bench.until(|status| status.pending).await;
        assert_eq!((status.error, status.generation), (None, 0));
        *bench.rows.lock().unwrap() = keys(&["a"]);
        assert_eq!(bench.generation(1).await.rows, 1);
        bench.set(Err(StoreError::NotReady), 0);
        bench.until(|status| status.pending).await;
        assert_eq!(bench.lines(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loss_is_held_back_until_it_is_explained_or_forced() {
        let bench = Bench::start(keys(&["a", "b", "c", "d", "e"]), |_| ());
        bench.generation(1).await;
        bench.set(keys(&["a"]), 0);
        let status = bench.until(|status| status.held_back.is_some()).await;
        assert!(status.held_back.unwrap().contains("suppressd export postfix --force"));
        assert_eq!(bench.lines(), 5);
        let status = bench.exports.write(None, false).await.unwrap().remove(0);
        assert!(status.held_back.is_some());
        bench.set(keys(&["a"]), 4);
        let status = bench.generation(2).await;
        assert_eq!((status.held_back, status.rows), (None, 1));
        bench.set(keys(&[]), 0);
        bench.until(|status| status.held_back.is_some()).await;
        let status = bench.exports.write(Some("postfix"), true).await.unwrap().remove(0);
        assert_eq!((status.held_back, status.rows, status.generation), (None, 0, 3));
        assert_eq!(
            bench.exports.write(Some("other"), true).await,
            Err(WriteError::Unknown("other".to_owned()))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_retried_ever_more_slowly() {
        let bench = Bench::start(keys(&[]), |s| s.path = s.path.join("below"));
        fs::write(bench.path(), "in the way").unwrap();
        let status = bench.until(|status| status.error.is_some()).await;
        assert!(status.pending);
        bench.set(keys(&["a"]), 0);
        tokio::time::sleep(Duration::from_secs(64)).await;
        let scans = bench.scans();
        fs::remove_file(bench.path()).unwrap();
        let status = bench.generation(1).await;
        assert_eq!((status.rows, status.error), (1, None));
        assert!(scans <= 7, "{scans}");
        assert!(bench.started.elapsed() < Duration::from_secs(130));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_writes_what_is_pending() {
        let bench = Bench::start(keys(&[]), |s| s.min_interval = Duration::from_secs(3600));
        bench.generation(1).await;
        bench.set(keys(&["a"]), 0);
        let bench = bench.stop().await;
        assert_eq!(bench.lines(), 1);
        assert!(bench.started.elapsed() < Duration::from_secs(1));
        assert_eq!(bench.exports.write(None, false).await, Err(WriteError::Stopping));
    }

    #[tokio::test]
    async fn a_failed_command_is_retried_though_the_file_is_the_same() {
        let bench = Bench::start(keys(&["a"]), |s| {
            let copy = s.path.with_file_name("later").join("copy");
            let text = |path: &Path| path.to_str().unwrap().to_owned();
            s.command = vec!["cp".to_owned(), text(&s.path), text(&copy)];
        });
        let status = bench.until(|status| status.error.is_some()).await;
        assert_eq!(status.error.as_deref(), Some("cp failed: exit status: 1"));
        let copy = bench.directory.path().join("later/copy");
        fs::create_dir(copy.parent().unwrap()).unwrap();
        let status = bench.until(|status| !status.pending).await;
        assert_eq!((status.error, status.generation), (None, 1));
        assert_eq!(fs::read(&copy).unwrap(), fs::read(bench.path()).unwrap());
        bench.set(keys(&["a", "b"]), 0);
        bench.generation(2).await;
        assert_eq!(fs::read(&copy).unwrap(), fs::read(bench.path()).unwrap());
    }
}
