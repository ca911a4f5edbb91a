//! Keeps each export's file current: one task per export, woken by changes, ends and operators.
//!
//! `due` decides when, `whole` and `partial` write. A change is never lost: it is written at once,
//! or when the least interval has passed, or when a failure has been overcome.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinError;
use tokio::time::{Instant, sleep_until};

use super::command::Program;
use super::due::{Due, MANY};
use super::file::{Stamp, modified};
use super::handle::{Entry, Exports, Status, Write, is_for_postfix};
use super::note;
use super::place::Places;
use super::publish::{Outcome, PublishError, make_if_missing};
use super::scan::Found;
use super::table::Kept;
use super::write::{Job, Left, World, Written};
use super::{Rows, Settings};
use crate::clock::{Step, Steps};
use crate::model::Time;
use crate::rules::Rules;
use crate::stop::{Part, stopped};
use crate::store::StoreError;
use crate::telemetry::export as telemetry;

/// Most operators' commands that wait for one export.
const COMMANDS_MAX: usize = 16;

/// How often to look whether somebody else has changed the file.
const WATCH: Duration = Duration::from_secs(2);

/// The kind of the note that tells how often the file was changed.
const GENERATION: &str = "generation";

/// How long it is shown that somebody has.
const FOREIGN_SHOWN: Duration = Duration::from_secs(600);

impl Exports {
    /// The exports of these settings: those that stay, and others that are started, each with a
    /// file from the start, if an empty one. One that is stopped writes once more if something is
    /// pending; whoever awaits its end limits the time.
    pub async fn renewed(&self, settings: Vec<Settings>) -> (Exports, Vec<Part>) {
        let (mut list, mut parts) = (Vec::new(), Vec::new());
        let place = |of: &Settings| (of.name.clone(), of.path.clone());
        self.world.places.set(settings.iter().map(place).collect::<Places>());
        for settings in settings {
            if let Some(entry) = self.list.iter().find(|entry| *entry.settings == settings) {
                list.push(Arc::clone(entry));
                continue;
            }
            let export = settings.clone();
            // What cannot be made now is tried again by its task, which shows the error.
            let _ = tokio::task::spawn_blocking(move || make_if_missing(&export)).await;
            let (entry, part) = start(&self.world, settings);
            list.push(Arc::new(entry));
            parts.push(part);
        }
        (Exports { list: list.into(), world: self.world.clone() }, parts)
    }
}

fn start(world: &World, settings: Settings) -> (Entry, Part) {
    let settings = Arc::new(settings);
    let (send_status, status) = watch::channel(Status::new(&settings));
    let (commands, receive_commands) = mpsc::channel(COMMANDS_MAX);
    let entry =
        Entry { settings: Arc::clone(&settings), now: Arc::clone(&world.now), status, commands };
    let runner = |stop| Runner {
        due: Due::now(settings.min_interval),
        settings: Arc::clone(&settings),
        world: world.clone(),
        seen: 0,
        changes: world.changes.follow(),
        commands: receive_commands,
        stop,
        status: send_status,
        steps: Steps::new((world.now)(), std::time::Instant::now()),
        base: None,
        made: None,
        by: None,
        held: None,
        kept: Arc::default(),
        lost: 0,
        stamp: None,
        watch: Instant::now() + WATCH,
        foreign: None,
        program: Program::default(),
        asked: Vec::new(),
    };
    let part = Part::start(&settings.name, |stop| runner(stop).run());
    (entry, part)
}

/// Waits; not at all for what is due. A timer alone would take until the next millisecond.
async fn until(wake: Instant) {
    if wake > Instant::now() {
        sleep_until(wake).await;
    }
}

/// What to write.
#[derive(Clone, Copy)]
enum What {
    /// What has changed, or all of it where that cannot be told.
    Changes,
    /// All of it.
    Whole {
        /// Whatever is lost.
        force: bool,
    },
}

/// Removals that the guard holds back.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    since: String,
    why: String,
    rows: u64,
    /// Whether additions wait too: the file is not ours.
    frozen: bool,
}

/// One export's task.
struct Runner {
    settings: Arc<Settings>,
    world: World,
    changes: watch::Receiver<u64>,
    commands: mpsc::Receiver<Write>,
    stop: watch::Receiver<bool>,
    status: watch::Sender<Status>,
    /// The number of the last change that the last scan has surely seen.
    seen: u64,
    due: Due,
    steps: Steps,
    /// The file of which a part can be changed. `None`: all of it has to be written.
    base: Option<Box<dyn Kept>>,
    /// As of when the present file is; unknown before the first writing.
    made: Option<Time>,
    /// By which rules it is, but for rows that are held back; unknown before the first writing.
    by: Option<Arc<Rules>>,
    held: Option<Held>,
    /// The rows whose removal is held back: another hand may take them from the file.
    kept: Arc<Rows>,
    /// How many of such it has taken before this start.
    lost: u64,
    /// Which version of the file the last writing has left; unknown before the first.
    stamp: Option<Stamp>,
    /// When to look next whether it is still there.
    watch: Instant,
    /// When somebody else was last seen to have changed it.
    foreign: Option<(Instant, String)>,
    program: Program,
    /// Who waits for a writing that was asked for.
    asked: Vec<oneshot::Sender<Status>>,
}

impl Runner {
    async fn run(mut self) {
        self.remember().await;
        loop {
            self.show();
            self.answer();
            let wake = self.wake();
            tokio::select! {
                biased;
                () = stopped(&mut self.stop) => break,
                () = self.program.ended(&self.settings) => {}
                () = until(wake) => self.on_time().await,
                Some(write) = self.commands.recv() => self.on_command(write).await,
                Ok(()) = self.changes.changed() => self.due.changed(),
            }
        }
        if self.due.is_pending() || *self.changes.borrow() != self.seen {
            self.write(What::Changes).await;
        }
        self.program.finish(&self.settings, self.world.places.get()).await;
        if let Some(base) = self.base.take() {
            let _ = tokio::task::spawn_blocking(move || base.leave()).await;
        }
        self.show();
        self.answer();
    }

    /// How often the file was changed before this start, and when last.
    async fn remember(&mut self) {
        let path = self.settings.path.clone();
        let look = move || (note::read(&path, GENERATION), modified(&path));
        let Ok((noted, changed)) = tokio::task::spawn_blocking(look).await else { return };
        let noted = noted.and_then(|number| number.parse().ok());
        self.status.send_modify(|status| {
            status.generation = noted.unwrap_or(0);
            status.last_written =
                noted.and(changed).map(|changed| changed.floor_second().to_string());
        });
    }

    /// Notes that the file was changed once more. All that a crash takes of that is a number.
    async fn note(&mut self) {
        let (path, number) = (self.settings.path.clone(), self.status.borrow().generation + 1);
        let jot = move || note::jot(&path, GENERATION, &number.to_string());
        let _ = tokio::task::spawn_blocking(jot).await;
    }

    fn wake(&self) -> Instant {
        let write = self.due.wake((self.world.now)()).min(self.watch);
        self.program.due().map_or(write, |program| program.min(write))
    }

    async fn on_time(&mut self) {
        let step = self.steps.look((self.world.now)(), std::time::Instant::now());
        if matches!(step, Some(Step::Back(_))) {
            // What has ended by the old clock may be live by the new one.
            self.due.clock_stepped();
        }
        if self.watch <= Instant::now() {
            self.look().await;
        }
        if self.due.has_come((self.world.now)()) {
            self.write(What::Changes).await;
        }
        if self.program.due().is_some_and(|due| due <= Instant::now()) {
            self.program.begin(&self.settings, self.world.places.get());
        }
    }

    /// Looks whether the file is still the one that the last writing has left.
    async fn look(&mut self) {
        self.watch = Instant::now() + WATCH;
        if self.stamp.is_none() && self.made.is_none() {
            return;
        }
        let path = self.settings.path.clone();
        let now = tokio::task::spawn_blocking(move || Stamp::of(&path).ok()).await;
        // A path that leads nowhere is a file that was removed.
        if now.is_ok_and(|now| now.is_none() || now != self.stamp) {
            self.due.is_foreign();
        }
        if self.program.look(&self.settings, self.world.places.get()).await {
            self.foreign = Some((Instant::now(), (self.world.now)().floor_second().to_string()));
        }
    }

    fn was_foreign(&mut self, mended: bool) {
        let Settings { name, path, format, .. } = &*self.settings;
        telemetry::foreign(name, path, mended, is_for_postfix(format.name()));
        let at = (self.world.now)().floor_second().to_string();
        self.foreign = Some((Instant::now(), at));
    }

    async fn on_command(&mut self, write: Write) {
        let written = self.write(What::Whole { force: write.force }).await;
        // The table that it makes may be wrong though the file is right.
        if written {
            self.program.wanted(&self.settings);
        }
        self.program.hasten();
        self.asked.push(write.reply);
    }

    /// Answers those who asked for a writing, once its command has run.
    fn answer(&mut self) {
        if self.program.is_busy() {
            return;
        }
        for reply in self.asked.drain(..) {
            // An operator who has gone away needs no answer.
            let _ = reply.send(self.status.borrow().clone());
        }
    }

    /// Scans and publishes; says whether the file is current now.
    async fn write(&mut self, what: What) -> bool {
        let known = self.seen;
        self.seen = *self.changes.borrow_and_update();
        let now = (self.world.now)();
        let rules = self.world.source.rules.get();
        let whole = self.due.take_whole() || self.base.is_none();
        let changed = match what {
            What::Changes if !whole => self.changed(known, now),
            _ => None,
        };
        let force = matches!(what, What::Whole { force: true });
        // Whoever finds the new file must not take the command's work for done.
        let has_command = !self.settings.command.is_empty();
        self.status.send_if_modified(|status| {
            has_command && !std::mem::replace(&mut status.uncompiled, true)
        });
        let (begun, many) = (Instant::now(), changed.as_ref().is_some_and(|it| it.len() >= MANY));
        let written = match changed {
            Some(keys) => match self.job(now, &rules, force, move |job| job.changes(&keys)).await {
                Ok(Ok(written)) => Ok(written),
                Ok(Err(left)) => {
                    self.stamp = left.or(self.stamp);
                    self.job(now, &rules, force, Job::whole).await
                }
                Err(panic) => Err(panic),
            },
            None => self.job(now, &rules, force, Job::whole).await,
        };
        self.due.tried(begun, many);
        let Written { result, found, held, base, stamp, foreign } = match written {
            Ok(written) => written,
            Err(panic) => {
                self.failed(&panic.to_string());
                return false;
            }
        };
        (self.base, self.stamp) = (base, stamp);
        if foreign {
            self.was_foreign(result.is_ok());
        }
        match result {
            Ok(outcome) => {
                self.kept = held;
                if outcome.changed {
                    self.note().await;
                }
                // A part may have been written by rules of which the rest has not heard.
                if !outcome.partial && outcome.held == 0 {
                    self.by = Some(rules);
                }
                self.current(now, outcome, found);
                true
            }
            Err(PublishError::Shrunk { old, new }) => {
                self.due.held(found.ends);
                let why = format!("{new} rows would replace {old} lines that are not ours");
                self.hold(now, why, old, true);
                false
            }
            Err(PublishError::Store(StoreError::NotReady)) => {
                self.due.not_ready();
                false
            }
            Err(error) => {
                self.failed(&error.to_string());
                false
            }
        }
    }

    /// The addresses that have changed or ended. `None`: nobody knows all of them.
    fn changed(&mut self, known: u64, now: Time) -> Option<Vec<Box<str>>> {
        let mut keys = self.world.changes.addresses_since(known)?;
        keys.extend(self.due.take_ended(now)?);
        Some(keys)
    }

    /// Does the blocking part of a writing.
    async fn job<T: Send + 'static>(
        &mut self,
        now: Time,
        rules: &Arc<Rules>,
        force: bool,
        work: impl FnOnce(Job) -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let (settings, source) = (Arc::clone(&self.settings), self.world.source.clone());
        let (made, base) = (self.made, self.base.take());
        let (held, kept, lost) = (self.held.is_some(), Arc::clone(&self.kept), self.lost);
        let Status { rows, generation, .. } = *self.status.borrow();
        let left = Left { stamp: self.stamp, rows, known: generation > 0 };
        let past = self.by.clone().filter(|by| *by != *rules);
        let (rules, places) = (Arc::clone(rules), self.world.places.get());
        let job = Job {
            rules,
            past,
            settings,
            source,
            places,
            now,
            made,
            force,
            held,
            kept,
            lost,
            left,
            base,
        };
        tokio::task::spawn_blocking(move || work(job)).await
    }

    fn current(&mut self, now: Time, outcome: Outcome, found: Found) {
        let Settings { name, path, .. } = &*self.settings;
        let at = now.floor_second().to_string();
        let first = self.made.is_none();
        let known = self.status.borrow().unfit;
        // A change of a part knows of its own ends only, and of no address that is unfit.
        let unfit = if outcome.partial { known } else { found.unfit };
        self.due.current(found.ends, outcome.partial);
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
        telemetry::current(name, outcome.rows);
        // At the first writing too: the last run may have ended between the two.
        if outcome.changed || first {
            self.program.wanted(&self.settings);
        }
        self.made = Some(now);
        self.lost = outcome.lost;
        let why: Vec<String> = [
            (outcome.held, "rows would go that nobody can explain"),
            (outcome.lost, "held rows were lost with the file, import them from a backup"),
        ]
        .into_iter()
        .filter(|(rows, _)| *rows > 0)
        .map(|(rows, what)| format!("{what}: {rows}"))
        .collect();
        match why.is_empty() {
            true => self.held = None,
            false => self.hold(now, why.join("; "), outcome.held, false),
        }
    }

    /// Removals wait for a reason, or for an operator.
    fn hold(&mut self, now: Time, why: String, rows: u64, frozen: bool) {
        let Settings { name, path, .. } = &*self.settings;
        let known = self.held.as_ref();
        // Not for each row less.
        if known.is_none_or(|held| held.rows < rows || held.frozen != frozen) {
            telemetry::held_back(name, path, &why);
        }
        let since = known.map_or_else(|| now.floor_second().to_string(), |held| held.since.clone());
        self.held = Some(Held { since, why, rows, frozen });
    }

    fn failed(&mut self, error: &str) {
        let first = self.due.failed(error);
        telemetry::failed(&self.settings.name, &self.settings.path, error, first);
    }

    /// Brings the public status up to date.
    fn show(&self) {
        let name = &self.settings.name;
        let held_back = self.held.as_ref().map(|Held { since, why, frozen, .. }| {
            let what = match frozen {
                true => format!("the file is left as it is since {since}"),
                false => format!("removals are held back since {since}, additions go on"),
            };
            format!("{what}: {why}; if that is right, run: suppressd export {name} --force")
        });
        let held_since = self.held.as_ref().map(|held| held.since.clone());
        let held_rows = self.held.as_ref().map_or(0, |held| held.rows);
        let shown = |(at, _): &&(Instant, String)| at.elapsed() < FOREIGN_SHOWN;
        let foreign = self.foreign.as_ref().filter(shown).map(|(_, at)| at.clone());
        let error = self.due.error().or(self.program.error()).cloned();
        let due = [self.due.at(), self.program.due()].into_iter().flatten().min();
        let pending = due.is_some() || self.program.is_busy();
        let never = self.made.is_none() && !self.settings.command.is_empty();
        let uncompiled = never || self.program.is_wanted();
        let known = self.status.borrow().pending_since;
        let pending_since = pending.then(|| known.unwrap_or_else(|| (self.world.now)()));
        telemetry::holds(name, self.held.is_some());
        if self.made.is_some() && !pending && error.is_none() {
            let now = (self.world.now)();
            telemetry::succeeded(name, now.second());
            if let Some(since) = known {
                telemetry::exported(name, now.since(since));
            }
        }
        self.status.send_if_modified(|status| {
            let before = status.clone();
            *status = Status {
                held_back,
                held_since,
                held_rows,
                lost_rows: self.lost,
                foreign,
                known_rows: self.made.map(|_| status.rows),
                error,
                pending,
                pending_since,
                due,
                uncompiled,
                ..std::mem::take(status)
            };
            *status != before
        });
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::path::{Path, PathBuf};
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::super::handle::WriteError;
    use super::super::write::Source;
    use super::super::{Table, test};
    use super::*;
    use crate::forgotten::Forgotten;
    use crate::ingest::{Change, Changes};
    use crate::model::{Position, Reason, Scope, Term, Until};
    use crate::store::{StandingRow, Visit};

    /// When the test's wall clock starts: in the past, so that no file is from before.
    const START: i64 = 1_000_000;

    /// A store, a clock and the handles of one export over them.
    struct Bench {
        directory: tempfile::TempDir,
        rows: Arc<Mutex<Result<Vec<StandingRow>, StoreError>>>,
        scans: Arc<AtomicU64>,
        changes: Changes,
        exports: Exports,
        part: Part,
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
            Bench::start_at(tempfile::tempdir().unwrap(), rows, adapt)
        }

        fn start_at(
            directory: tempfile::TempDir,
            rows: Result<Vec<StandingRow>, StoreError>,
            adapt: impl FnOnce(&mut Settings),
        ) -> Bench {
            let mut settings = test::settings(&directory.path().join("f"));
            adapt(&mut settings);
            let rows = Arc::new(Mutex::new(rows));
            let scans = Arc::new(AtomicU64::new(0));
            let (given, counter) = (Arc::clone(&rows), Arc::clone(&scans));
            let one = Arc::clone(&rows);
            let of = move |key: &str| {
                let rows = one.lock().unwrap().clone()?;
                let of = rows.into_iter().filter(|(address, _, _)| address == key);
                Ok(of.map(|(_, scope, standing)| (scope, standing)).collect())
            };
            let source = Source {
                rules: Arc::default(),
                standings: Arc::new(move |each: Visit<'_>| {
                    counter.fetch_add(1, Ordering::Relaxed);
                    test::visit(&given.lock().unwrap().clone()?, each)
                }),
                of: Arc::new(of),
                lacks: Arc::new(|| false),
                forgotten: Arc::new(Forgotten::nobody()),
            };
            let changes = Changes::default();
            let started = Instant::now();
            let now = Arc::new(move || Time::from_seconds(START).plus(started.elapsed()));
            let places = Arc::default();
            let world = World { source, changes: changes.clone(), now, places };
            let (entry, part) = super::start(&world, settings);
            let exports = Exports { list: [Arc::new(entry)].into(), world };
            Bench { directory, rows, scans, changes, exports, part, started }
        }

        fn set(&self, rows: Result<Vec<StandingRow>, StoreError>) {
            self.set_of(rows, &[]);
        }

        /// Changes what is known of these addresses; without any, of nobody knows whom.
        fn set_of(&self, rows: Result<Vec<StandingRow>, StoreError>, of: &[&str]) {
            *self.rows.lock().unwrap() = rows;
            let change = |key: &&str| Change {
                address: format!("{key}@x.test").into(),
                scope: Scope::Global,
                before: None,
                after: None,
                position: Position::default(),
                by_order: false,
            };
            match of {
                [] => self.changes.tell_all(),
                of => self.changes.tell(of.iter().map(change).collect()),
            }
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
            self.part.stop();
            self.part.ended().await.unwrap();
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
        bench.set(keys(&["a"]));
        bench.generation(2).await;
        assert!(before.elapsed() < Duration::from_millis(10));
        for _ in 0..250 {
            bench.set(keys(&["a"]));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bench.set(keys(&["a", "b"]));
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
        assert_eq!((status.error, status.generation, status.known_rows), (None, 0, None));
        *bench.rows.lock().unwrap() = keys(&["a"]);
        assert_eq!(bench.generation(1).await.known_rows, Some(1));
        bench.set(Err(StoreError::NotReady));
        bench.until(|status| status.pending).await;
        assert_eq!(bench.lines(), 1);
    }

    /// Standings under these keys, and lifted ones.
    fn and_lifted(live: &[&str], lifted: &[&str]) -> Result<Vec<StandingRow>, StoreError> {
        let lifted = lifted.iter().map(|key| test::lifted(&format!("{key}@x.test")));
        let mut rows: Vec<StandingRow> = keys(live)?.into_iter().chain(lifted).collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(rows)
    }

    #[tokio::test(start_paused = true)]
    async fn a_loss_is_held_back_until_it_is_explained_or_forced() {
        let bench = Bench::start(keys(&["a", "b", "c", "d", "e"]), |_| ());
        bench.generation(1).await;
        bench.set(keys(&["a"]));
        let status = bench.until(|status| status.held_back.is_some()).await;
        assert!(status.held_back.unwrap().contains("suppressd export postfix --force"));
        assert_eq!((bench.lines(), status.held_rows), (5, 4));
        let status = bench.exports.write(None, false).await.unwrap().remove(0);
        assert!(status.held_back.is_some());
        bench.set(and_lifted(&["a"], &["b", "c", "d", "e"]));
        let status = bench.generation(2).await;
        assert_eq!((status.held_back, status.held_rows, status.rows), (None, 0, 1));
        bench.set(keys(&[]));
        bench.until(|status| status.held_back.is_some()).await;
        let status = bench.exports.write(Some("postfix"), true).await.unwrap().remove(0);
        assert_eq!((status.held_back, status.rows, status.generation), (None, 0, 3));
        assert_eq!(
            bench.exports.write(Some("other"), true).await,
            Err(WriteError::Unknown("other".to_owned()))
        );
    }

    /// Rules that an operator has changed are a reason, and a loss beside them is none.
    #[tokio::test(start_paused = true)]
    async fn what_other_rules_let_go_is_not_held_back() {
        let bench = Bench::start(keys(&["a", "b", "c", "d", "e"]), |_| ());
        bench.generation(1).await;
        let complaints = ["a", "b", "c", "d"].map(|key| {
            let (key, scope) = (format!("{key}@x.test"), Scope::Global);
            test::standing(&key, scope, Reason::Complaint, Until::Forever)
        });
        let mut rows = Vec::from(complaints);
        rows.push(row("e@x.test", Until::Forever));
        bench.set(Ok(rows.clone()));
        bench.until(|status| !status.pending).await;
        let rules = Rules { complaint: Term::For(Duration::from_secs(1)), ..Rules::default() };
        bench.exports.world.source.rules.set(rules);
        tokio::time::sleep(Duration::from_secs(5)).await;
        bench.set(Ok(rows));
        let status = bench.until(|status| status.rows == 1).await;
        assert_eq!((status.held_back, status.held_rows), (None, 0));
        bench.exports.world.source.rules.set(Rules::default());
        bench.set(keys(&[]));
        let status = bench.until(|status| status.held_back.is_some()).await;
        assert_eq!((status.rows, status.held_rows), (1, 1), "nobody knows of e any more");
    }

    /// Whoever is added while removals are held back is in the file, told alone or among all;
    /// whoever is lifted by name is not.
    #[tokio::test(start_paused = true)]
    async fn what_is_held_back_still_grows() {
        for in_map in [false, true] {
            let adapt = at_once(in_map);
            let bench = Bench::start(keys(&["a", "b", "c", "d"]), adapt);
            bench.generation(1).await;
            bench.set(keys(&["e"]));
            let status = bench.until(|status| status.held_back.is_some()).await;
            assert_eq!((status.rows, status.held_rows), (5, 4));
            let scans = bench.scans();
            bench.set_of(keys(&["e", "f"]), &["f"]);
            assert_eq!(bench.generation(3).await.rows, 6, "one is told of");
            assert_eq!(
                bench.scans(),
                scans,
                "all is looked at where nobody knows, and then no more"
            );
            bench.set_of(and_lifted(&["e", "f"], &["a"]), &["a"]);
            assert_eq!(bench.generation(4).await.rows, 5, "one is lifted");
            assert_eq!(
                bench.scans(),
                scans,
                "all is looked at where nobody knows, and then no more"
            );
            bench.set_of(and_lifted(&["e", "f"], &["a"]), &["b"]);
            tokio::time::sleep(Duration::from_millis(10)).await;
            let status = bench.until(|status| !status.pending).await;
            assert_eq!((status.rows, bench.scans()), (5, scans), "nobody knows why b would go");
            let many: Vec<String> = (0..99).map(|n| format!("n{n:02}")).collect();
            let many: Vec<&str> = many.iter().map(String::as_str).collect();
            bench.set(keys(&many));
            let status = bench.until(|status| status.rows > 99).await;
            assert_eq!((status.rows, status.held_rows), (104, 5), "however many come meanwhile");
            let Bench { directory, .. } = bench.stop().await;
            let again = Bench::start_at(directory, keys(&many), adapt);
            let status = again.until(|status| status.last_checked.is_some()).await;
            assert_eq!((status.rows, status.held_rows), (104, 5), "and after a restart");
            let status = again.exports.write(None, true).await.unwrap().remove(0);
            assert_eq!((status.rows, status.held_back, status.held_rows), (99, None, 0));
        }
    }

    /// A row that the store tells again is held back no longer, and a hold without rows is none.
    #[tokio::test(start_paused = true)]
    async fn what_is_told_again_is_held_back_no_longer() {
        for in_map in [false, true] {
            let adapt = at_once(in_map);
            let bench = Bench::start(keys(&["a", "b", "c"]), adapt);
            bench.generation(1).await;
            bench.set(keys(&[]));
            bench.until(|status| status.held_rows == 3).await;
            let scans = bench.scans();
            bench.set_of(keys(&["a"]), &["a"]);
            let status = bench.until(|status| status.held_rows == 2).await;
            assert!(status.held_back.unwrap().contains(": 2; "), "as many as are held back");
            bench.set_of(and_lifted(&["a", "b"], &["c"]), &["b", "c"]);
            let status = bench.until(|status| status.held_back.is_none()).await;
            assert_eq!((status.rows, status.held_rows, bench.scans()), (2, 0, scans));
            let Bench { directory, .. } = bench.stop().await;
            let names = fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name());
            assert!(!names.into_iter().any(|name| name.to_string_lossy().contains("-held")));
        }
    }

    /// Whatever another hand does to the file, the rows that are held back come back.
    #[tokio::test(start_paused = true)]
    async fn what_is_held_back_outlives_the_file() {
        for in_map in [false, true] {
            let adapt = at_once(in_map);
            let bench = Bench::start(keys(&["a", "b", "c", "d"]), adapt);
            bench.generation(1).await;
            bench.set(keys(&["e"]));
            bench.until(|status| status.held_rows == 4).await;
            let path = bench.path().with_file_name(if in_map { "f.lmdb" } else { "f" });
            let good = fs::read(&path).unwrap();
            let harms: &[&dyn Fn()] = &[
                &|| fs::remove_file(&path).unwrap(),
                &|| fs::write(&path, "").unwrap(),
                &|| fs::write(&path, "somebody else's\n").unwrap(),
                &|| fs::File::options().write(true).open(&path).unwrap().set_len(20).unwrap(),
            ];
            for (index, harm) in harms.iter().enumerate() {
                harm();
                let status = bench.generation(index as u64 + 3).await;
                assert_eq!((status.rows, status.held_rows), (5, 4));
                assert!(status.foreign.is_some());
                assert_eq!(fs::read(&path).unwrap().len(), good.len());
            }
            fs::remove_file(&path).unwrap();
            bench.set(and_lifted(&["b", "e"], &["a"]));
            let status = bench.generation(7).await;
            assert_eq!((status.rows, status.held_rows), (4, 2), "c and d");
            let Bench { directory, .. } = bench.stop().await;
            let again = Bench::start_at(directory, keys(&["b", "e"]), adapt);
            let status = again.until(|status| status.last_checked.is_some()).await;
            assert_eq!((status.rows, status.held_rows), (4, 2), "after a restart too");
            let status = again.exports.write(None, true).await.unwrap().remove(0);
            assert_eq!((status.rows, status.held_back, status.held_rows), (2, None, 0));
            fs::remove_file(&path).unwrap();
            again.until(|status| status.foreign.is_some()).await;
            let status = again.until(|status| !status.pending).await;
            assert_eq!((status.rows, status.held_rows), (2, 0), "and no longer than they are held");
        }
    }

    /// What another hand takes while nobody runs is told until an operator accepts it.
    #[tokio::test(start_paused = true)]
    async fn held_rows_that_are_lost_in_a_stop_are_told_until_that_is_accepted() {
        for in_map in [false, true] {
            let adapt = at_once(in_map);
            let bench = Bench::start(keys(&["a", "b", "c"]), adapt);
            bench.generation(1).await;
            bench.set(keys(&["d"]));
            bench.until(|status| status.held_rows == 3).await;
            let Bench { directory, .. } = bench.stop().await;
            let path = directory.path().join(if in_map { "f.lmdb" } else { "f" });
            fs::remove_file(&path).unwrap();
            let bench = Bench::start_at(directory, keys(&["d"]), adapt);
            let status = bench.until(|status| status.last_checked.is_some()).await;
            assert_eq!((status.rows, status.held_rows), (1, 0));
            assert!(status.held_back.unwrap().contains("from a backup: 3; if that is right"));
            bench.set_of(keys(&["d", "e"]), &["e"]);
            let status = bench.until(|status| status.rows == 2).await;
            assert!(status.held_back.is_some(), "additions go on");
            let Bench { directory, .. } = bench.stop().await;
            let bench = Bench::start_at(directory, keys(&["d", "e"]), adapt);
            let status = bench.until(|status| status.last_checked.is_some()).await;
            assert!(status.held_back.unwrap().contains("from a backup: 3; if that is right"));
            let status = bench.exports.write(None, true).await.unwrap().remove(0);
            assert_eq!((status.rows, status.held_back), (2, None));
            let Bench { directory, .. } = bench.stop().await;
            let bench = Bench::start_at(directory, keys(&["d", "e"]), adapt);
            let status = bench.until(|status| status.last_checked.is_some()).await;
            assert_eq!((status.rows, status.held_back), (2, None));
        }
    }

    /// Another's lines stay, few or many, and ours are beside them, until an operator lets them go.
    #[tokio::test(start_paused = true)]
    async fn a_file_that_another_hand_wrote_in_a_stop_keeps_its_lines_and_takes_ours() {
        for count in [3, 300] {
            let adapt = at_once(false);
            let bench = Bench::start(keys(&["a", "b", "c", "d"]), adapt);
            bench.generation(1).await;
            let Bench { directory, .. } = bench.stop().await;
            let path = directory.path().join("f");
            let other = |number| format!("h{number}@y.test REJECT\n");
            let lines: String = (1..count).map(other).collect();
            let theirs = format!("# mine\n{lines}");
            fs::write(&path, &theirs).unwrap();
            let bench = Bench::start_at(directory, keys(&["a", "b", "c", "d"]), adapt);
            let status = bench.generation(2).await;
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("a@x.test\t") && text.ends_with(&theirs), "{text}");
            assert_eq!((status.rows, status.held_rows), (count + 4, count));
            assert!(status.held_back.unwrap().contains("additions go on"));
            bench.set_of(keys(&["a", "b", "c", "d", "e"]), &["e"]);
            assert_eq!(bench.generation(3).await.held_rows, count);
            assert!(fs::read_to_string(&path).unwrap().contains("\ne@x.test\t"));
            let Bench { directory, .. } = bench.stop().await;
            let bench = Bench::start_at(directory, keys(&["a", "b", "c", "d", "f"]), adapt);
            let status = bench.generation(4).await;
            assert_eq!((status.held_rows, status.lost_rows), (count + 1, 0), "e waits too");
            assert!(fs::read_to_string(&path).unwrap().ends_with(&theirs));
            let status = bench.exports.write(None, true).await.unwrap().remove(0);
            assert_eq!((status.rows, status.held_back, bench.lines()), (5, None, 5));
        }
    }

    /// It may be anything: an MTA's own configuration, by a mistake.
    #[tokio::test(start_paused = true)]
    async fn a_file_that_we_never_wrote_is_left_as_it_is() {
        for text in ["# mine\nexample.test smtp:[10.0.0.1]\n", "no\n row\n"] {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join("f"), text).unwrap();
            let bench = Bench::start_at(directory, keys(&["a", "b", "c", "d", "e"]), |_| ());
            let status = bench.until(|status| status.held_back.is_some()).await;
            assert!(status.held_back.unwrap().contains("the file is left as it is"));
            assert_eq!(fs::read_to_string(bench.path()).unwrap(), text);
        }
    }

    /// Whatever another hand does to the file, it is seen within seconds and mended.
    #[tokio::test(start_paused = true)]
    async fn what_another_hand_does_to_the_file_is_seen_and_mended() {
        for in_map in [false, true] {
            let adapt = at_once(in_map);
            let bench = Bench::start(keys(&["a", "b"]), adapt);
            bench.generation(1).await;
            let path = bench.path().with_file_name(if in_map { "f.lmdb" } else { "f" });
            let good = fs::read(&path).unwrap();
            let harms: &[&dyn Fn()] = &[
                &|| fs::remove_file(&path).unwrap(),
                &|| fs::write(&path, "").unwrap(),
                &|| fs::write(&path, "somebody else's\n").unwrap(),
                &|| fs::File::options().write(true).open(&path).unwrap().set_len(20).unwrap(),
            ];
            for (index, harm) in harms.iter().enumerate() {
                harm();
                let before = Instant::now();
                let status = bench.generation(index as u64 + 2).await;
                assert!(before.elapsed() < 2 * WATCH, "{:?}", before.elapsed());
                assert_eq!((status.rows, status.held_back), (2, None));
                assert!(status.foreign.is_some());
                assert_eq!(fs::read(&path).unwrap().len(), good.len());
            }
            bench.until(|status| status.foreign.is_none()).await;
        }
    }

    /// A link that is removed, led elsewhere or replaced by a file, while what it led to stays. It
    /// is seen within seconds, or by the first change.
    #[tokio::test(start_paused = true)]
    async fn what_another_hand_does_to_a_link_is_seen_and_mended() {
        use std::os::unix::fs::symlink;
        for (in_map, waits) in [(false, true), (false, false), (true, true), (true, false)] {
            let directory = tempfile::tempdir().unwrap();
            let at = |name: &str| directory.path().join(name);
            let path = at(if in_map { "f.lmdb" } else { "f" });
            ["a", "b"].iter().for_each(|folder| fs::create_dir(at(folder)).unwrap());
            let [a, b, next] = ["a/t", "b/t", "next"].map(at);
            symlink(&a, &path).unwrap();
            let harms: &[&dyn Fn()] = &[
                &|| fs::remove_file(&path).unwrap(),
                &|| {
                    symlink(&b, &next).unwrap();
                    fs::rename(&next, &path).unwrap();
                },
                &|| {
                    fs::copy(&b, &a).unwrap();
                    symlink(&a, &next).unwrap();
                    fs::rename(&next, &path).unwrap();
                },
                &|| {
                    fs::copy(&a, &next).unwrap();
                    fs::rename(&next, &path).unwrap();
                },
            ];
            let there = || match in_map {
                true => super::super::table::rows_of_map(&path).len(),
                false => fs::read_to_string(&path).unwrap().lines().count(),
            };
            let mut known = vec!["a", "b"];
            let home = tempfile::TempDir::with_prefix_in("home", directory.path()).unwrap();
            let bench = Bench::start_at(home, keys(&known), |settings| {
                at_once(in_map)(settings);
                settings.path = path.clone();
            });
            bench.generation(1).await;
            for (harm, more) in harms.iter().zip(["c", "d", "e", "f"]) {
                harm();
                if waits {
                    tokio::time::sleep(2 * WATCH).await;
                    assert_eq!(there(), known.len(), "map: {in_map}, before {more}");
                }
                known.push(more);
                bench.set_of(keys(&known), &[more]);
                let rows = known.len();
                bench.until(|status| status.rows == rows as u64 && !status.pending).await;
                assert_eq!(there(), rows, "map: {in_map}, waits: {waits}, {more}");
            }
            assert!(!fs::symlink_metadata(&path).unwrap().is_symlink());
            bench.stop().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_retried_ever_more_slowly() {
        let bench = Bench::start(keys(&[]), |s| s.path = s.path.join("below"));
        fs::write(bench.path(), "in the way").unwrap();
        let status = bench.until(|status| status.error.is_some()).await;
        assert!(status.pending);
        bench.set(keys(&["a"]));
        tokio::time::sleep(Duration::from_secs(64)).await;
        let scans = bench.scans();
        fs::remove_file(bench.path()).unwrap();
        let status = bench.generation(1).await;
        assert_eq!((status.rows, status.error), (1, None));
        assert!(scans <= 7, "{scans}");
        assert!(bench.started.elapsed() < Duration::from_secs(130));
    }

    /// A text or a map, written as soon as anything changes.
    fn at_once(in_map: bool) -> impl Fn(&mut Settings) + Copy {
        move |settings| {
            settings.min_interval = Duration::ZERO;
            if in_map {
                map(settings);
            }
        }
    }

    fn map(settings: &mut Settings) {
        settings.path = settings.path.with_file_name("f.lmdb");
        settings.style = test::style_in(settings.format, Table::Lmdb);
        settings.min_interval = Duration::ZERO;
    }

    impl Bench {
        /// The keys in the map, and the number of the file.
        fn mapped(&self) -> (Vec<String>, u64) {
            let path = self.directory.path().join("f.lmdb");
            let rows = super::super::table::rows_of_map(&path);
            assert!(rows.iter().all(|(_, value)| value.starts_with("550 5.7.1 ")), "{rows:?}");
            (rows.into_iter().map(|(key, _)| key).collect(), fs::metadata(&path).unwrap().ino())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_map_is_changed_in_place_by_what_has_changed() {
        let bench = Bench::start(keys(&["a", "c"]), map);
        bench.generation(1).await;
        let (rows, inode) = bench.mapped();
        assert_eq!(rows, ["a@x.test", "c@x.test"]);
        bench.set_of(keys(&["a", "b", "c", "not told of"]), &["b"]);
        assert_eq!(bench.generation(2).await.rows, 3);
        assert_eq!(
            bench.mapped(),
            (vec!["a@x.test".into(), "b@x.test".into(), "c@x.test".into()], inode)
        );
        bench.set_of(keys(&["b"]), &["a", "c", "d"]);
        let status = bench.generation(3).await;
        assert_eq!((status.rows, status.held_back), (1, None));
        assert_eq!(bench.mapped(), (vec!["b@x.test".into()], inode));
        assert_eq!(bench.scans(), 1, "only what has changed was looked at");
        bench.set(keys(&["b", "e"]));
        assert_eq!(bench.generation(4).await.rows, 2, "all is looked at where nobody knows");
        assert_eq!(bench.mapped().0, ["b@x.test", "e@x.test"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_text_is_copied_with_what_has_changed() {
        let bench = Bench::start(keys(&["a", "c"]), |s| s.min_interval = Duration::ZERO);
        bench.generation(1).await;
        let text = || fs::read_to_string(bench.path()).unwrap();
        let lines = |keys: &[&str]| -> String {
            keys.iter().map(|k| format!("{k}@x.test\t550 5.7.1 suppressed: manual\n")).collect()
        };
        bench.set_of(keys(&["a", "b", "c", "not told of"]), &["b"]);
        assert_eq!(bench.generation(2).await.rows, 3);
        assert_eq!(text(), lines(&["a", "b", "c"]));
        bench.set_of(keys(&["b", "d"]), &["a", "c", "d", "e"]);
        let status = bench.generation(3).await;
        assert_eq!((status.rows, status.held_back), (2, None));
        assert_eq!((text(), bench.scans()), (lines(&["b", "d"]), 1));
        bench.set_of(keys(&["b", "d"]), &["b"]);
        bench.until(|status| !status.pending).await;
        fs::write(bench.path(), "somebody else's\n").unwrap();
        bench.set_of(keys(&["b"]), &["d"]);
        bench.generation(4).await;
        assert_eq!((text(), bench.scans()), (lines(&["b"]), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_map_loses_what_has_ended_without_a_look_at_the_rest() {
        let end = |seconds| Until::At(Time::from_seconds(START + seconds));
        let rows =
            vec![row("a@x.test", end(20)), row("b@x.test", end(30)), row("c@x.test", end(40))];
        let bench = Bench::start(Ok(rows), map);
        assert_eq!(bench.generation(1).await.rows, 3);
        assert_eq!(bench.generation(2).await.rows, 2);
        assert!(bench.started.elapsed() < Duration::from_millis(20_100));
        assert_eq!(bench.generation(4).await.rows, 0);
        assert!(bench.started.elapsed() < Duration::from_millis(40_100));
        assert_eq!((bench.mapped().0, bench.scans()), (vec![], 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_map_that_somebody_else_has_written_is_made_anew() {
        let bench = Bench::start(keys(&["a"]), map);
        bench.generation(1).await;
        let inode = bench.mapped().1;
        fs::write(bench.directory.path().join("f.lmdb"), "no map").unwrap();
        bench.set_of(keys(&["a", "b"]), &["b"]);
        assert_eq!(bench.generation(2).await.rows, 2);
        assert_eq!(bench.mapped().0, ["a@x.test", "b@x.test"]);
        assert_ne!(bench.mapped().1, inode);
    }

    #[tokio::test(start_paused = true)]
    async fn a_map_is_kept_over_a_stop_and_made_anew_after_a_crash() {
        let bench = Bench::start(keys(&["a"]), map);
        bench.generation(1).await;
        bench.set_of(keys(&["a", "b"]), &["b"]);
        bench.generation(2).await;
        let before = bench.mapped();
        let Bench { directory, .. } = bench.stop().await;
        let again = Bench::start_at(directory, keys(&["a", "b"]), map);
        let status = again.until(|status| status.last_checked.is_some()).await;
        assert_eq!((status.rows, status.generation), (2, 2));
        assert!(status.last_written.is_some(), "as the file says");
        assert_eq!(again.mapped(), before);
        again.set_of(keys(&["a", "b", "c"]), &["c"]);
        assert_eq!(again.generation(3).await.rows, 3);
        assert_eq!(again.mapped().1, before.1);
        again.part.abort();
        let Bench { directory, .. } = again;
        let crashed = Bench::start_at(directory, keys(&["a", "b", "c"]), map);
        assert_eq!(crashed.generation(4).await.rows, 3);
        assert_ne!(crashed.mapped().1, before.1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loss_of_a_map_is_held_back_like_any_other() {
        let bench = Bench::start(keys(&["a", "b", "c"]), map);
        bench.generation(1).await;
        bench.set(keys(&[]));
        bench.until(|status| status.held_back.is_some()).await;
        assert_eq!(bench.mapped().0.len(), 3);
        bench.exports.write(None, true).await.unwrap();
        assert_eq!(bench.mapped().0.len(), 0);
        bench.set_of(keys(&["d"]), &["d"]);
        bench.until(|status| status.rows == 1).await;
        assert_eq!(bench.mapped().0, ["d@x.test"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_writes_what_is_pending() {
        let bench = Bench::start(keys(&[]), |s| s.min_interval = Duration::from_secs(3600));
        bench.generation(1).await;
        bench.set(keys(&["a"]));
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
        bench.set(keys(&["a", "b"]));
        bench.generation(2).await;
        assert_eq!(fs::read(&copy).unwrap(), fs::read(bench.path()).unwrap());
    }
    #[tokio::test]
    async fn the_file_follows_while_its_command_runs() {
        let wait = "while [ ! -e go ]; do sleep 0.01; done; echo >>runs";
        let bench = Bench::start(keys(&["a"]), |s| {
            let directory = s.path.parent().unwrap().to_str().unwrap();
            let script = format!("cd {directory}; {wait}");
            s.command = ["/bin/sh", "-c", &script].map(str::to_owned).to_vec();
        });
        bench.until(|status| status.rows == 1).await;
        bench.set(keys(&["a", "b"]));
        let status = bench.until(|status| status.rows == 2).await;
        assert!(status.pending, "the command has not ended");
        fs::write(bench.directory.path().join("go"), "").unwrap();
        bench.until(|status| !status.pending).await;
        let runs = fs::read_to_string(bench.directory.path().join("runs")).unwrap();
        assert_eq!(runs.lines().count(), 2, "once for each of the two");
    }
}
