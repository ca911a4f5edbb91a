//! The real daemon while its clock is wrong, and right again: hours and years, ahead and behind,
//! with a restart and without one. Whatever was told meanwhile or comes afterwards counts.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use suppressd::clock;

use crate::support::client::{event, notify};
use crate::support::daemon::{Daemon, Home, PATIENCE, PROGRAM, source};
use crate::support::feed::{Feed, listed, row};
use crate::support::{available, faketime, wait_for};

const HOUR: i64 = 3_600;
const YEAR: i64 = 365 * 24 * HOUR;

/// The wall clock of a daemon, which can be set while it runs.
struct Clock(PathBuf);

impl Clock {
    fn in_dir(dir: &Path) -> Clock {
        let clock = Clock(dir.join("clock"));
        clock.set(0);
        clock
    }

    /// Sets it wrong by so many seconds.
    fn set(&self, seconds: i64) {
        let draft = self.0.with_extension("draft");
        std::fs::write(&draft, format!("{seconds:+}")).unwrap();
        std::fs::rename(draft, &self.0).unwrap();
    }

    /// Starts the daemon by it. The monotonic clock is left alone, and so are the files' times.
    fn start(&self, home: &Home) -> Daemon {
        let mut command = Command::new(PROGRAM);
        command.args(["run", "-c"]).arg(home.config());
        faketime::set_wrong(&mut command);
        command.env("FAKETIME_TIMESTAMP_FILE", &self.0);
        home.start_by(command).ready()
    }

    /// Starts it so that setting the clock is time that passes.
    fn start_by_both(&self, home: &Home) -> Daemon {
        let mut command = Command::new(PROGRAM);
        command.args(["run", "-c"]).arg(home.config());
        faketime::set_wrong(&mut command);
        command.env_remove("DONT_FAKE_MONOTONIC").env_remove("FAKETIME_DONT_FAKE_MONOTONIC");
        command.env("FAKETIME_TIMESTAMP_FILE", &self.0);
        home.start_by(command).ready()
    }
}

/// A scene: a daemon whose clock is wrong by so much for a while.
struct Scene {
    home: Home,
    feed: Feed,
    clock: Clock,
    daemon: Option<Daemon>,
}

/// What of a scene is suppressed, or not.
fn address(name: &str) -> String {
    format!("{name}@x.test")
}

/// The present, by a clock that is right: to the nanosecond, as a lift covers what is dated before
/// it in the same second.
fn now() -> String {
    clock::now().to_string()
}

fn told(kind: &str, name: &str) -> Value {
    row(kind, &address(name), &now(), name)
}

impl Scene {
    fn new() -> Scene {
        Scene::wrong_by(0)
    }

    /// One whose clock is wrong by so many seconds from the first start on.
    fn wrong_by(seconds: i64) -> Scene {
        let feed = Feed::start();
        let (url, list) = (feed.url(), feed.list_url());
        let poll = format!(
            "[[source]]\nname = \"acme\"\nprovider = \"generic\"\n\
             poll = {{ url = \"{url}\", list_url = \"{list}\", every = \"1s\", scan = \"1h\" }}\n"
        );
        let home = Home::bare(&format!("{}{poll}", source()));
        let clock = Clock::in_dir(&home.dir);
        clock.set(seconds);
        let daemon = Some(clock.start(&home));
        Scene { home, feed, clock, daemon }
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    fn restart(&mut self) {
        self.daemon.take().unwrap().stop();
        self.daemon = Some(self.clock.start(&self.home));
    }

    /// A webhook tells something now.
    fn hook(&self, kind: &str, name: &str, message: &str) {
        let body = event(kind, &address(name), message, 0).replace("2026-06-15T00:00:00Z", &now());
        assert_eq!(notify(self.daemon().http, &body).status, 200);
    }

    fn verb(&self, arguments: &[&str]) -> Value {
        let (status, mut rows) = self.daemon().answer(arguments);
        assert_eq!(status, 0, "{arguments:?}: {rows:?}");
        rows.remove(0)
    }

    fn lift(&self, name: &str) {
        assert_eq!(self.verb(&["lift", &address(name)])["done"], true, "{name}");
        self.until(name, false);
    }

    /// Waits until the lookup and the export both say so.
    #[track_caller]
    fn until(&self, name: &str, suppressed: bool) {
        let status = if suppressed { 200 } else { 404 };
        let what = format!("{name} suppressed: {suppressed}");
        wait_for(&what, PATIENCE, || {
            let looked_up = self.daemon().looked_up(&address(name)) == status;
            let exported = self.home.export().contains(&address(name)) == suppressed;
            (looked_up && exported).then_some(())
        });
    }
}

fn faketime(test: &str) -> bool {
    available(test, faketime::missing())
}

/// The clock is set wrong by so many seconds, things happen, and it is set right.
fn a_wrong_clock(wrong: i64, restarts: bool) {
    eprintln!("wrong by {wrong} s, with a restart: {restarts}");
    let mut scene = Scene::new();
    scene.hook("complaint", "lifted-then-complained", "m1");
    scene.hook("complaint", "lifted-then-added", "m1");
    scene.hook("complaint", "lifted", "m1");
    scene.hook("complaint", "lifted-and-told", "m1");
    scene.verb(&["add", "--for", "1h", &address("ends-meanwhile")]);
    scene.feed.push([told("hard_bounce", "polled-before")]);
    for name in ["lifted-then-complained", "lifted-then-added", "lifted", "lifted-and-told"] {
        scene.until(name, true);
    }
    scene.until("ends-meanwhile", true);
    scene.until("polled-before", true);

    scene.clock.set(wrong);
    if restarts {
        scene.restart();
    }
    for name in ["lifted-then-complained", "lifted-then-added", "lifted", "lifted-and-told"] {
        scene.lift(name);
    }
    scene.hook("complaint", "lifted-and-told", "m2");
    scene.hook("complaint", "complained-meanwhile", "m2");
    scene.verb(&["add", &address("added-meanwhile")]);
    scene.verb(&["add", "--for", "30d", &address("added-for-a-month")]);
    scene.verb(&["add", "--for", "30d", &address("added-and-lifted")]);
    scene.lift("added-and-lifted");
    (0..6).for_each(|n| scene.hook("soft_bounce", "bounced-softly", &format!("s{n}")));
    scene.feed.push([told("hard_bounce", "polled-meanwhile")]);
    for name in ["complained-meanwhile", "added-meanwhile", "added-for-a-month"] {
        scene.until(name, true);
    }
    scene.until("ends-meanwhile", wrong < HOUR);
    scene.verb(&["poll", "acme"]);
    // The list was just read, by the clock that is wrong.
    scene.feed.set_list([listed(&address("listed-after"), "complaint", &now())]);

    scene.clock.set(0);
    if restarts {
        scene.restart();
    }
    // What was told while it was wrong holds, and what had ended by it has not.
    for name in ["complained-meanwhile", "added-meanwhile", "ends-meanwhile", "polled-before"] {
        scene.until(name, true);
    }
    scene.until("polled-meanwhile", true);
    // No lift covers what was recorded after it, once it is seen that the clock was ahead: that it
    // was set beside a restart may not be.
    let is_seen = wrong < 0 || !restarts;
    if is_seen {
        scene.until("lifted-and-told", true);
    }
    // What is dated a year ago, as the clock was behind, is dated anew: terms end when they shall.
    scene.until("added-for-a-month", true);
    scene.until("bounced-softly", true);
    scene.until("lifted", false);
    scene.until("added-and-lifted", false);
    // No lift covers what is told from now on.
    scene.hook("complaint", "lifted-then-complained", "m3");
    scene.until("lifted-then-complained", true);
    let added = scene.verb(&["add", &address("lifted-then-added")]);
    assert_eq!((&added["done"], &added["problem"]), (&Value::Bool(true), &Value::Null), "{added}");
    scene.until("lifted-then-added", true);
    // Lifting works as ever, and so does what comes after it.
    scene.lift("complained-meanwhile");
    scene.hook("complaint", "complained-meanwhile", "m4");
    scene.until("complained-meanwhile", true);
    // Feeds and lists are read on, by themselves.
    scene.feed.push([told("hard_bounce", "polled-after")]);
    scene.until("polled-after", true);
    scene.until("listed-after", true);
    let lag = scene.daemon().source("acme")["lag_seconds"].as_u64();
    assert!(lag.is_some_and(|lag| lag < 3_600), "{lag:?}");
    // A store that is made again says the same.
    scene.daemon.take().unwrap().kill();
    std::fs::remove_dir_all(scene.home.state().join("sled")).unwrap();
    scene.daemon = Some(scene.clock.start(&scene.home));
    for name in ["complained-meanwhile", "added-for-a-month", "bounced-softly", "listed-after"] {
        scene.until(name, true);
    }
    if is_seen {
        scene.until("lifted-and-told", true);
    }
    for name in ["lifted", "added-and-lifted"] {
        scene.until(name, false);
    }
    scene.daemon.take().unwrap().stop();
}

#[test]
fn a_clock_that_was_hours_ahead() {
    if faketime("a_clock_that_was_hours_ahead") {
        for restarts in [false, true] {
            a_wrong_clock(2 * HOUR, restarts);
        }
    }
}

#[test]
fn a_clock_that_was_a_year_ahead() {
    if faketime("a_clock_that_was_a_year_ahead") {
        for restarts in [false, true] {
            a_wrong_clock(YEAR, restarts);
        }
    }
}

#[test]
fn a_clock_that_was_hours_behind() {
    if faketime("a_clock_that_was_hours_behind") {
        for restarts in [false, true] {
            a_wrong_clock(-2 * HOUR, restarts);
        }
    }
}

#[test]
fn a_clock_that_was_a_year_behind() {
    if faketime("a_clock_that_was_a_year_behind") {
        for restarts in [false, true] {
            a_wrong_clock(-YEAR, restarts);
        }
    }
}

/// A lift is dated ahead, and the clock is set right while the daemon is stopped.
#[test]
fn a_clock_that_was_ahead_until_a_stop() {
    if !faketime("a_clock_that_was_ahead_until_a_stop") {
        return;
    }
    let mut scene = Scene::new();
    scene.hook("complaint", "lifted-and-told", "m1");
    scene.until("lifted-and-told", true);
    let term = ["add", "--for", "1d", &address("for-a-day")];
    assert!(scene.verb(&term)["hint"].is_null());
    scene.clock.set(2 * HOUR);
    // Whoever asks is told by which clock it is dated.
    let told = |answer: Value| {
        let hint = answer["hint"].as_str().unwrap_or_default().to_owned();
        assert!(hint.starts_with("the clock went ahead by 2 h"), "{answer}");
    };
    told(scene.verb(&["lift", &address("lifted-and-told")]));
    told(scene.verb(&term));
    scene.until("lifted-and-told", false);
    scene.hook("complaint", "lifted-and-told", "m2");
    scene.daemon.take().unwrap().stop();
    scene.clock.set(0);
    scene.daemon = Some(scene.clock.start(&scene.home));
    scene.until("lifted-and-told", true);
}

impl Scene {
    /// A lift is dated ahead, and covers by that what is told after it.
    fn lifts_ahead(&self) {
        for name in ["lifted", "lifted-and-told"] {
            self.hook("complaint", name, "m1");
            self.until(name, true);
            self.lift(name);
        }
        self.hook("complaint", "lifted-and-told", "m2");
        self.hook("complaint", "told", "m2");
        self.until("told", true);
        self.until("lifted-and-told", false);
    }

    /// Now it is known that it was dated so; and a store that is made again says the same.
    fn knows_what_it_covered(&mut self) {
        self.until("lifted-and-told", true);
        self.until("lifted", false);
        self.daemon.take().unwrap().kill();
        std::fs::remove_dir_all(self.home.state().join("sled")).unwrap();
        self.daemon = Some(self.clock.start(&self.home));
        self.until("lifted-and-told", true);
        self.until("lifted", false);
    }
}

/// Nobody saw the clock go ahead: it was so from the first start on, or since a later one.
#[test]
fn a_clock_that_was_ahead_at_a_start() {
    if !faketime("a_clock_that_was_ahead_at_a_start") {
        return;
    }
    for (wrong, later) in [(YEAR, false), (2 * HOUR, true), (YEAR, true), (240, false)] {
        eprintln!("wrong by {wrong} s, since a later start: {later}");
        let mut scene = if later { Scene::new() } else { Scene::wrong_by(wrong) };
        if later {
            scene.hook("complaint", "told-before", "m1");
            scene.until("told-before", true);
            scene.clock.set(wrong);
            scene.restart();
        }
        scene.lifts_ahead();
        // It was so for longer than one life.
        scene.restart();
        scene.until("lifted-and-told", false);
        scene.clock.set(0);
        scene.knows_what_it_covered();
    }
}

/// Nobody saw it go ahead, nor fall. That it does not go ahead again soon says that it is right.
#[test]
fn a_clock_that_was_ahead_at_a_start_until_a_stop() {
    if !faketime("a_clock_that_was_ahead_at_a_start_until_a_stop") {
        return;
    }
    let mut scene = Scene::wrong_by(2 * HOUR);
    scene.lifts_ahead();
    scene.daemon.take().unwrap().stop();
    scene.clock.set(0);
    scene.daemon = Some(scene.clock.start_by_both(&scene.home));
    scene.until("lifted-and-told", false);
    scene.clock.set(11 * 60);
    scene.knows_what_it_covered();
}

/// Whatever the clock was before: a term that began while it was behind ends when it shall.
#[test]
fn a_clock_that_was_ahead_and_then_behind() {
    if !faketime("a_clock_that_was_ahead_and_then_behind") {
        return;
    }
    for course in [&[YEAR, 0, -2 * HOUR][..], &[YEAR, -2 * HOUR]] {
        let scene = Scene::new();
        for wrong in course {
            scene.clock.set(*wrong);
            // It is looked at as something is told, and so each step is seen.
            scene.hook("complaint", &format!("told-at{wrong}"), "m1");
            scene.until(&format!("told-at{wrong}"), true);
        }
        scene.verb(&["add", "--for", "10m", &address("for-a-while")]);
        scene.until("for-a-while", true);
        scene.clock.set(0);
        scene.daemon().until_logged("clock was behind");
        scene.until("for-a-while", true);
    }
}
