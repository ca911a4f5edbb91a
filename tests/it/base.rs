//! The base through crashes: whatever has become a run or ceased to be one when the process ends,
//! what was applied is there.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use suppressd::journal;
use suppressd::model::{
    Cuts, EventId, Fact, Latest, Origin, Position, QuarantineId, Reason, Scope, SourceName,
    Standing, Telling, Time, Until,
};
use suppressd::store::{self, Batch, Checkpoints, Made, Opened, Pair, Paths, Reader};

use super::rebuild::{
    assert_same, change, copy, element, everything, fed, runs, runtime, start, stop, submission,
};
use super::support::child::Guarded;
use super::support::client::event;
use super::support::daemon::PATIENCE;
use super::support::random::Random;

/// Keys that make a run.
const KEYS: usize = 100;
const STEPS: u32 = 30;
/// Lives that end in a kill, and after how many answers at most.
const KILLS: u64 = 12;
const ANSWERS_MAX: u64 = 80;

/// Opens a store beside no journal.
pub(crate) fn open(state: &Path) -> Opened {
    let paths = Paths::of(state);
    store::open(
        &paths,
        &Checkpoints::new(&paths),
        (Position::default(), QuarantineId::LAST.record),
        false,
    )
    .unwrap()
}

fn all(opened: &Opened, state: &Path) -> Vec<Pair> {
    let paths = Paths::of(state);
    let journal = journal::open(&state.join("journal"), &paths.quarantine).unwrap();
    let reader = Reader::new(journal.reader.clone(), Arc::default());
    reader.attach(&opened.view);
    reader.everything().unwrap()
}

fn bounced(at: Time) -> Standing {
    let mut standing = Standing::default();
    let (evidence, class) = (EventId::from_bytes([7; 16]), None);
    let latest = Latest { at, until: Until::Forever, evidence, class, note: None };
    let source = SourceName::operator();
    let fact = Fact::Ground { reason: Reason::HardBounce, source, latest };
    standing.merge("User@x.test", fact, &Telling::BY_DATE);
    standing
}

/// A store whose every state is known.
struct Known {
    state: tempfile::TempDir,
    opened: Opened,
    /// What it had at each position.
    states: BTreeMap<Position, Vec<Pair>>,
    /// sled's files as they were synced last.
    synced: PathBuf,
    step: u32,
    copies: tempfile::TempDir,
    checked: usize,
}

impl Known {
    fn new() -> Known {
        let (state, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let opened = open(state.path());
        let synced = copies.path().join("synced");
        let mut known =
            Known { state, opened, states: BTreeMap::new(), synced, step: 0, copies, checked: 0 };
        known.note();
        known.sync();
        known
    }

    fn note(&mut self) {
        let pairs = all(&self.opened, self.state.path());
        self.states.insert(self.opened.writer.applied(), pairs);
    }

    fn sync(&mut self) {
        self.opened.writer.sync().unwrap();
        let _ = fs::remove_dir_all(&self.synced);
        copy(&self.state.path().join("sled"), &self.synced);
    }

    /// Changes standings; some that only a delivery is known of become more.
    fn apply(&mut self) {
        self.step += 1;
        let step = self.step;
        let (writer, mut batch) = (&mut self.opened.writer, Batch::default());
        for number in 0..40 {
            let at = Time::from_seconds(i64::from(1_000 * step + number));
            let address = format!("user{}@x.test", (step * 31 + number * 7) % 400);
            let before = writer.standing(&mut batch, &address, &Scope::Global).unwrap();
            let is_quiet = number % 3 == 0 && before == Standing::default();
            let standing = if is_quiet { Standing::quiet(Cuts::of(at)) } else { bounced(at) };
            writer.put_standing(&mut batch, &address, &Scope::Global, &standing).unwrap();
        }
        writer.commit(batch, Position { segment: 1, offset: 16 + 8 * step }).unwrap();
        self.note();
    }

    /// As the next start finds it after a kill, and after a power cut that leaves of sled what was
    /// synced: neither has to be made again.
    fn check(&mut self) {
        for power_cut in [false, true] {
            let there = self.copies.path().join(format!("{}", self.checked));
            self.checked += 1;
            copy(self.state.path(), &there);
            if power_cut {
                fs::remove_dir_all(there.join("sled")).unwrap();
                copy(&self.synced, &there.join("sled"));
            }
            let opened = open(&there);
            assert_eq!(opened.rebuilt, None);
            let applied = opened.writer.applied();
            assert_same(&format!("{applied}"), &all(&opened, &there), &self.states[&applied]);
            drop(opened);
            fs::remove_dir_all(&there).unwrap();
        }
    }

    fn adopt(&mut self, made: &Made, is_merge: bool) {
        self.check();
        self.opened.writer.adopt(made).unwrap();
        if is_merge {
            // Which it has done, before it removed those that it took in.
            self.sync();
        }
        self.check();
    }
}

#[test]
fn whatever_was_made_a_run_when_the_process_ends_nothing_is_missing() {
    let mut known = Known::new();
    let mut merges = 0;
    for step in 1..=STEPS {
        known.apply();
        if step % 8 == 0 {
            known.sync();
        }
        if let Some(next) = known.opened.writer.next_run(KEYS) {
            let made = next.write().unwrap();
            known.apply();
            known.adopt(&made, false);
            known.opened.writer.settle().unwrap();
            known.check();
            known.apply();
            while known.opened.writer.settle().unwrap() {}
            known.check();
        }
        if let Some(next) = known.opened.writer.next_merge(KEYS) {
            let made = next.write().unwrap();
            known.adopt(&made, true);
            merges += 1;
        }
    }
    assert!(merges > 1 && known.checked > 40, "{merges} merges, {} checks", known.checked);
    known.check();
}

/// Tells hard bounces until it is killed, and says which are acknowledged.
#[test]
#[ignore = "run by a_kill_while_runs_are_made_loses_nothing"]
fn tells_until_it_is_killed() {
    let Some(state) = std::env::var_os("SUPPRESSD_STATE") else { return };
    let life = std::env::var("SUPPRESSD_LIFE").unwrap();
    runtime().block_on(async {
        let running = start(Path::new(&state));
        for number in 0_u32.. {
            let name = |index| format!("k{life}-{number}-{index}@x.test");
            let all = (0..8).map(|index| element(&event("hard_bounce", &name(index), "m", number)));
            let told = submission(Origin::Webhook, number, all.collect());
            running.ingest.submit(&told).await.unwrap();
            println!("acknowledged k{life}-{number}");
        }
    });
}

#[test]
fn a_kill_while_runs_are_made_loses_nothing() {
    let mut random = Random::new();
    let state = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for life in 0..KILLS {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "--nocapture", "base::tells_until_it_is_killed"]);
        command.env("SUPPRESSD_STATE", state.path()).env("SUPPRESSD_LIFE", life.to_string());
        let mut child = Guarded::spawn(command.stdout(Stdio::piped()).stderr(Stdio::null()));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let told = lines.filter_map(|line| Some(line.split_once("acknowledged ")?.1.to_owned()));
        acknowledged.extend(told.take(1 + random.below(ANSWERS_MAX) as usize));
        child.signal("KILL");
        child.ended();
    }
    let mut pairs = runtime().block_on(everything(state.path()));
    pairs.sort();
    let has = |name: &str| {
        let key = format!("s{name}@x.test\0").into_bytes();
        pairs.binary_search_by(|(found, _)| found.cmp(&key)).is_ok()
    };
    let all = || acknowledged.iter().flat_map(|name| (0..8).map(move |i| format!("{name}-{i}")));
    let lost: Vec<String> = all().filter(|name| !has(name)).collect();
    assert!(lost.is_empty() && acknowledged.len() > 50, "{lost:?} of {}", acknowledged.len());
    let runs = runs(state.path());
    assert!((1..20).contains(&runs.len()), "{runs:?}");
}

/// Damage that opening does not see shows as soon as it is met, and is mended while all goes on.
#[test]
fn a_base_that_rots_in_silence_is_not_believed() {
    let runtime = runtime();
    let (state, expected) = fed(&runtime);
    assert!(runs(state.path()).len() > 1, "{:?}", runs(state.path()));
    for run in 0..2 {
        let copied = tempfile::tempdir().unwrap();
        copy(state.path(), copied.path());
        change(&runs(copied.path())[run], |b| b[200] ^= 1);
        runtime.block_on(async {
            let running = start(copied.path());
            tokio::time::timeout(PATIENCE, running.ingest.ready()).await.expect("ready in time");
            assert!(running.reader.everything().is_err(), "wrong answers");
            let aside = copied.path().join("quarantine/sled.damaged/base");
            let mending = async {
                while running.reader.everything().is_err() || !aside.is_dir() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(PATIENCE, mending).await.expect("whole in time");
            stop(running).await;
            assert!(aside.is_dir());
        });
        let found = runtime.block_on(everything(copied.path()));
        assert_same("rot", &found, &expected);
    }
}
