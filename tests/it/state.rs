//! The state directory: who may look into it, what a start that fails leaves there, and what
//! becomes of it under a running daemon.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use suppressd::ingest;
use suppressd::journal::OpenError;
use suppressd::model::Position;
use suppressd::store::{self, Checkpoints, Paths, StoreError, newest_checkpoint};

use super::rebuild::{copy, settings};
use super::support::child::output;
use super::support::client::{event, notify};
use super::support::daemon::{Daemon, Home, PATIENCE, cli};
use super::support::wait_for;

const DIRECTORIES: [&str; 6] = ["journal", "sled", "base", "index", "checkpoint", "quarantine"];

fn send(daemon: &Daemon, name: &str) -> u16 {
    notify(daemon.http, &event("hard_bounce", &format!("{name}@x.test"), "m", 1)).status
}

/// What others may do with a file or directory, and with all below it.
fn open_to_others(path: &Path) -> Vec<String> {
    let mode = fs::metadata(path).unwrap().permissions().mode();
    let mut found = Vec::new();
    if mode & 0o077 != 0 {
        found.push(format!("{} {mode:o}", path.display()));
    }
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            found.extend(open_to_others(&entry.unwrap().path()));
        }
    }
    found
}

#[test]
fn nobody_else_looks_into_the_state_whatever_was_there_before() {
    let home = Home::new("");
    for name in DIRECTORIES {
        let path = home.state().join(name);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }
    // MTAs go through it to the exports that may stand in it.
    fs::set_permissions(home.state(), Permissions::from_mode(0o751)).unwrap();
    let daemon = home.start().ready();
    assert_eq!(send(&daemon, "a"), 200);
    daemon.until_suppressed("a@x.test");
    daemon.stop();
    assert!(!home.dir.join("control.sock").exists(), "nobody is there any more");
    // As they were made; sled's own are in a directory that nobody else enters.
    let ours = DIRECTORIES.iter().filter(|name| **name != "sled");
    let found: Vec<String> =
        ours.flat_map(|name| open_to_others(&home.state().join(name))).collect();
    assert!(found.is_empty(), "{found:?}");
    let daemon = home.start().ready();
    let found: Vec<String> =
        DIRECTORIES.iter().flat_map(|name| open_to_others(&home.state().join(name))).collect();
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(fs::metadata(home.state()).unwrap().permissions().mode() & 0o777, 0o751);
    daemon.stop();
}

#[test]
fn a_state_directory_that_others_list_or_change_is_told() {
    let warns = |mode: u32| {
        let home = Home::new("");
        fs::create_dir(home.state()).unwrap();
        fs::set_permissions(home.state(), Permissions::from_mode(mode)).unwrap();
        let log = home.start().ready().stop();
        log.lines().any(|line| line.contains("WARN") && line.contains("`chmod 751` it"))
    };
    let modes = [0o700, 0o750, 0o751, 0o755, 0o770, 0o777];
    assert_eq!(modes.map(warns), [false, false, false, true, true, true]);
}

#[test]
fn a_first_start_without_its_listeners_leaves_nothing_half_made() {
    let home = Home::new("");
    // A directory stands where the socket should be.
    let socket = home.dir.join("control.sock");
    fs::create_dir(&socket).unwrap();
    let output = output(&mut home.run());
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && log.contains("control.socket"), "{log}");
    assert!(!home.state().join("sled").exists(), "nothing is made before it is needed");
    fs::remove_dir(&socket).unwrap();
    let log = home.start().ready().stop();
    assert_no_warning(&log);
}

/// But for what the tests' own configuration is warned of: any port serves.
fn assert_no_warning(log: &str) {
    let warned = |line: &&str| line.contains("WARN") && !line.contains("has port 0");
    assert_eq!(log.lines().find(warned), None, "{log}");
}

#[test]
fn a_store_in_which_nothing_was_written_yet_is_no_news() {
    let home = Home::new("");
    drop(sled::open(home.state().join("sled")).unwrap());
    fs::set_permissions(home.state(), Permissions::from_mode(0o700)).unwrap();
    let daemon = home.start().ready();
    assert_eq!(send(&daemon, "a"), 200);
    assert_no_warning(&daemon.stop());
}

#[test]
fn a_state_directory_that_was_replaced_takes_nothing() {
    let home = Home::new("");
    let daemon = home.start().ready();
    assert_eq!(send(&daemon, "a"), 200);
    let (state, away) = (home.state(), home.dir.join("away"));
    fs::rename(&state, &away).unwrap();
    copy(&away, &state);
    assert_eq!(send(&daemon, "b"), 503);
    // Who asks is told what is so, and what to do: no word of a full disk.
    let told = daemon.readyz();
    assert_eq!(told.status, 503);
    let moved = "it was moved, removed or replaced. Put back the one that was there, or restart";
    assert!(told.body.contains(moved), "{}", told.body);
    for text in ["intake: stopped", "webhook"] {
        daemon.until_logged(text);
        let log = daemon.log();
        let line = log.lines().find(|line| line.contains(text) && line.contains("moved"));
        assert!(line.is_some_and(|line| line.contains(moved)), "{text}: {log}");
    }
    assert!(!daemon.log().contains("disk"), "{}", daemon.log());
    // It comes back, without anybody sending.
    fs::rename(&state, home.dir.join("copy")).unwrap();
    fs::rename(&away, &state).unwrap();
    let daemon = daemon.ready();
    assert_eq!(send(&daemon, "c"), 200);
    daemon.until_suppressed("c@x.test");
    // And it is noticed without anybody sending.
    fs::rename(&state, &away).unwrap();
    wait_for("readiness to go down", PATIENCE, || (daemon.readyz().status == 503).then_some(()));
    let told = daemon.readyz().body;
    assert!(told.contains(moved) && told.contains("is not there: it was moved"), "{told}");
    fs::rename(&away, &state).unwrap();
    daemon.ready().stop();
    let daemon = home.start().ready();
    assert_eq!(daemon.rows(&["list"]).len(), 2, "what was refused is not there");
}

/// Makes a FIFO in the place of what is there. Whoever opened it to read would wait for ever.
fn put_fifo(path: &Path) {
    let _ = fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn what_is_no_regular_file_is_told_and_holds_nobody_up() {
    let home = Home::new("");
    let daemon = home.start().ready();
    assert_eq!(send(&daemon, "a"), 200);
    daemon.until_suppressed("a@x.test");
    daemon.stop();
    let checkpoint = home.state().join("checkpoint");
    let verify = || cli(&home.config(), &["verify"]);
    for name in ["clean", "clock", "attempt"] {
        put_fifo(&checkpoint.join(name));
        verify();
        let daemon = home.start();
        let refused = matches!(name, "attempt");
        if refused {
            daemon.until_logged("no regular file");
            fs::remove_file(checkpoint.join(name)).unwrap();
        }
        let daemon = daemon.ready();
        assert_eq!(daemon.rows(&["list"]).len(), 1, "{name}");
        daemon.stop();
        let _ = fs::remove_file(checkpoint.join(name));
    }
    let segment = home.state().join("journal/0000000001.seg");
    let away = home.dir.join("away.seg");
    fs::rename(&segment, &away).unwrap();
    for link in [false, true] {
        if link {
            fs::remove_file(&segment).unwrap();
            std::os::unix::fs::symlink(&away, &segment).unwrap();
        } else {
            put_fifo(&segment);
        }
        let looked = verify();
        let said = String::from_utf8_lossy(&looked.stdout).into_owned();
        assert!(looked.status.code() == Some(1) && said.contains("no regular file"), "{said}");
        let started = cli(&home.config(), &["run"]);
        let log = String::from_utf8_lossy(&started.stderr);
        assert!(!started.status.success() && log.contains("no regular file"), "{log}");
    }
    fs::rename(&away, &segment).unwrap();
    home.start().ready().stop();
}

#[test]
fn nothing_is_told_behind_the_end() {
    let home = Home::new("");
    let daemon = home.start().ready();
    (0..40).for_each(|number| assert_eq!(send(&daemon, &format!("u{number}")), 200));
    daemon.stop();
    for _ in 0..5 {
        let log = home.start().ready().stop();
        assert!(log.trim_end().lines().last().unwrap().contains("stopped"), "{log}");
    }
}

/// A way of taking something away of a store that is open.
type Harm = (&'static str, fn(&Path));

const HARMS: [Harm; 8] = [
    ("sled", |path| fs::remove_dir_all(path).unwrap()),
    ("sled", |path| fs::rename(path, path.with_extension("away")).unwrap()),
    ("sled", |path| {
        let away = path.with_extension("away");
        fs::rename(path, &away).unwrap();
        copy(&away, path);
    }),
    ("sled/db", |path| fs::remove_file(path).unwrap()),
    ("sled/db", |path| File::options().write(true).open(path).unwrap().set_len(0).unwrap()),
    ("sled/db", |path| File::options().write(true).open(path).unwrap().set_len(100).unwrap()),
    ("base", |path| fs::remove_dir_all(path).unwrap()),
    ("index", |path| fs::remove_dir_all(path).unwrap()),
];

#[test]
fn what_is_taken_away_under_a_running_store_is_told_and_made_again() {
    let moved = "was moved, removed, replaced or cut while it was open";
    for (part, harm) in HARMS {
        let home = Home::new("");
        let daemon = home.start().ready();
        assert_eq!(send(&daemon, "a"), 200);
        daemon.until_suppressed("a@x.test");
        daemon.stop();
        // Nothing is being written that could hide a cut.
        let daemon = home.start().ready();
        harm(&home.state().join(part));
        let told = wait_for(part, PATIENCE, || {
            let answer = daemon.readyz();
            (answer.status == 503 && answer.body.contains(moved)).then_some(answer.body)
        });
        assert!(told.contains("it is made again by itself"), "{told}");
        let daemon = daemon.ready();
        let log = daemon.log();
        let lines: Vec<_> = log.lines().filter(|line| line.contains(moved)).collect();
        assert!(lines.len() == 1 && lines[0].contains("ERROR"), "{part}: {log}");
        assert!(lines[0].contains(home.state().join(part).to_str().unwrap()), "{log}");
        assert_eq!(daemon.looked_up("a@x.test"), 200, "{part}");
        assert_eq!(send(&daemon, "b"), 200, "{part}");
        daemon.until_suppressed("b@x.test");
        daemon.stop();
        let daemon = home.start().ready();
        assert_eq!(daemon.rows(&["list"]).len(), 2, "{part}");
        assert!(!daemon.stop().contains("made again"), "{part}");
    }
}

#[test]
fn a_start_that_finds_no_store_where_there_was_one_says_so() {
    let home = Home::new("");
    let daemon = home.start().ready();
    assert_eq!(send(&daemon, "a"), 200);
    daemon.until_suppressed("a@x.test");
    let log = daemon.stop();
    assert!(!log.contains("made again"), "a first start is no news: {log}");
    let sled = home.state().join("sled");
    for (why, empty) in [("it was missing", false), ("it was empty", true)] {
        fs::remove_dir_all(&sled).unwrap();
        if empty {
            fs::create_dir(&sled).unwrap();
        }
        let daemon = home.start().ready();
        assert_eq!(daemon.looked_up("a@x.test"), 200);
        let log = daemon.stop();
        let told = |line: &str| ["WARN", "made again", why].iter().all(|it| line.contains(it));
        assert!(log.lines().any(told), "{why}: {log}");
    }
}

/// A body of many bounces, and who is in the last.
fn many(name: &str) -> (String, String) {
    let address = |row: u32| format!("u{row}@{name}.test");
    let rows: Vec<_> =
        (0..3_000).map(|row| event("hard_bounce", &address(row), &address(row), 1)).collect();
    (format!("[{}]", rows.join(",")), address(2_999))
}

/// What becomes of the journal.
#[derive(Clone, Copy, Debug)]
enum Away {
    Moved,
    Removed,
    WithAllElse,
}

#[test]
fn nothing_is_lost_or_taken_while_the_journal_is_away() {
    let ways = [Away::Moved, Away::Removed, Away::WithAllElse];
    for (way, is_killed) in ways.into_iter().flat_map(|way| [(way, true), (way, false)]) {
        let home = Home::new("");
        let daemon = home.start().ready();
        let (body, last) = many("first");
        assert_eq!(notify(daemon.http, &body).status, 200);
        let journal = home.state().join("journal");
        match way {
            Away::Moved => fs::rename(&journal, home.dir.join("away")).unwrap(),
            Away::Removed => fs::remove_dir_all(&journal).unwrap(),
            Away::WithAllElse => DIRECTORIES
                .iter()
                .for_each(|name| fs::remove_dir_all(home.state().join(name)).unwrap()),
        }
        assert_eq!(send(&daemon, "refused"), 503);
        let told = daemon.readyz();
        assert!(told.status == 503 && told.body.contains("it was moved, removed"), "{told:?}");
        // What was acknowledged before is applied all the same, and kept otherwise.
        daemon.until_suppressed(&last);
        if is_killed {
            wait_for("a checkpoint of it", PATIENCE, || {
                let position = daemon.rows(&["status"])[0]["store"]["applied"].clone();
                let newest = newest_checkpoint(&home.state().join("checkpoint")).unwrap();
                newest.filter(|newest| newest.to_string() == position)
            });
            daemon.kill();
        } else {
            daemon.stop();
        }
        let daemon = home.start().ready();
        assert_eq!(daemon.rows(&["list"]).len(), 3_000, "{way:?} {is_killed}");
        assert_eq!(send(&daemon, "later"), 200);
        daemon.until_suppressed("later@x.test");
        daemon.kill();
        fs::remove_dir_all(home.state().join("sled")).unwrap();
        let daemon = home.start().ready();
        assert_eq!(daemon.rows(&["list"]).len(), 3_001, "{way:?} {is_killed}");
        daemon.stop();
    }
}

#[test]
fn a_journal_that_comes_back_is_gone_on_with() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let (journal, away) = (home.state().join("journal"), home.dir.join("away"));
    for name in ["a", "b"] {
        assert_eq!(send(&daemon, name), 200);
        fs::rename(&journal, &away).unwrap();
        daemon.until_suppressed(&format!("{name}@x.test"));
        wait_for("intake to stop", PATIENCE, || (daemon.readyz().status == 503).then_some(()));
        assert_eq!(send(&daemon, "refused"), 503);
        fs::rename(&away, &journal).unwrap();
        wait_for("intake to go on", PATIENCE, || (daemon.readyz().status == 200).then_some(()));
    }
    assert!(!daemon.log().contains("store: failed"), "{}", daemon.log());
    daemon.kill();
    let daemon = home.start().ready();
    assert_eq!(daemon.rows(&["list"]).len(), 2);
    daemon.stop();
}

#[test]
fn no_second_daemon_starts_whatever_of_the_state_was_moved() {
    let home = Home::new("");
    let daemon = home.start().ready();
    assert_eq!(send(&daemon, "a"), 200);
    daemon.until_suppressed("a@x.test");
    let (journal, away) = (home.state().join("journal"), home.dir.join("away"));
    fs::rename(&journal, &away).unwrap();
    let second = ingest::open(settings(&home.state()));
    assert!(matches!(second, Err(OpenError::InUse(path)) if path == home.state()));
    assert!(!journal.exists(), "nothing is touched");
    fs::rename(&away, &journal).unwrap();
    let daemon = daemon.ready();
    assert_eq!(send(&daemon, "b"), 200);
    daemon.until_suppressed("b@x.test");
    daemon.stop();
}

#[test]
fn a_sled_that_somebody_has_open_is_left_as_it_is() {
    let state = tempfile::tempdir().unwrap();
    let paths = Paths::of(state.path());
    let open = || {
        store::open(
            &paths,
            &Checkpoints::new(&paths),
            (Position::default(), Position::default()),
            false,
        )
    };
    // As an earlier version has it, whose journal was moved.
    let other = sled::open(&paths.sled).unwrap();
    let start = || ingest::open(settings(state.path())).map(drop);
    assert!(matches!(start(), Err(OpenError::InUse(path)) if path == paths.sled.join("db")));
    assert!(!state.path().join("journal").exists(), "nothing is touched");
    assert!(matches!(open(), Err(StoreError::InUse(_))));
    assert_eq!(store::set_aside_stores(&paths.quarantine), [None, None]);
    drop(other);
    assert_eq!(open().unwrap().rebuilt, None);
    start().unwrap();
}

#[test]
fn a_running_daemon_waits_for_a_sled_that_somebody_has_open() {
    let home = Home::new("");
    let daemon = home.start().ready();
    assert_eq!(send(&daemon, "a"), 200);
    daemon.until_suppressed("a@x.test");
    let (sled, other) = (home.state().join("sled"), home.dir.join("other"));
    copy(&sled, &other);
    let lock = File::open(other.join("db")).unwrap();
    lock.lock().unwrap();
    fs::rename(&sled, home.dir.join("away")).unwrap();
    fs::rename(&other, &sled).unwrap();
    daemon.until_logged("the store is in use");
    assert_eq!(store::set_aside_stores(&home.state().join("quarantine")), [None, None]);
    drop(lock);
    let daemon = daemon.ready();
    daemon.until_suppressed("a@x.test");
    daemon.stop();
}

#[test]
fn a_segment_that_is_cut_while_it_is_written_is_told_and_takes_nothing_that_was_applied() {
    // As long as before again, it still lacks what was cut.
    for is_grown in [true, false] {
        let home = Home::new("");
        let daemon = home.start().ready();
        let (body, last) = many("first");
        assert_eq!(notify(daemon.http, &body).status, 200);
        daemon.until_suppressed(&last);
        let segment = home.state().join("journal/0000000001.seg");
        let segment = File::options().write(true).open(segment).unwrap();
        let length = segment.metadata().unwrap().len();
        segment.set_len(5_000).unwrap();
        wait_for("intake to stop", PATIENCE, || (daemon.readyz().status == 503).then_some(()));
        let told = daemon.readyz().body;
        assert!(told.contains("was cut while it was open"), "{told}");
        if is_grown {
            segment.set_len(length).unwrap();
        }
        assert_eq!(send(&daemon, "refused"), 503);
        daemon.stop();
        let daemon = home.start().ready();
        assert_eq!(daemon.rows(&["list"]).len(), 3_000, "{is_grown}");
        assert_eq!(send(&daemon, "later"), 200);
        daemon.until_suppressed("later@x.test");
        daemon.kill();
        fs::remove_dir_all(home.state().join("sled")).unwrap();
        let daemon = home.start().ready();
        assert_eq!(daemon.rows(&["list"]).len(), 3_001, "{is_grown}");
        daemon.stop();
    }
}
