//! `verify`: what is whole passes, what is damaged is named, and nothing is changed by looking.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::oversize::{element, files, keep, runtime, start, stop, submission};
use crate::rebuild::copy;
use crate::support::child::output;
use crate::support::client::{event, notify};
use crate::support::daemon::{Daemon, Home, PATIENCE, PROGRAM, source};
use crate::support::wait_for;

/// A state directory of everything that `verify` looks at, after a stop in good order.
fn home() -> Home {
    let home = told();
    runtime().block_on(async {
        // Made again, it has a base.
        fs::remove_dir_all(home.state().join("sled")).unwrap();
        let running = start(&home.state());
        running.ingest.ready().await;
        stop(running).await;
    });
    home
}

/// The same, with all standings in sled.
fn told() -> Home {
    let home = Home::new("");
    runtime().block_on(async {
        let running = start(&home.state());
        let bounce = |n: u32| event("hard_bounce", &format!("user{n}@x.test"), "m", n);
        let all = (0..200).map(|number| element(bounce(number))).collect();
        keep(&home.state(), &running, &submission(all)).await;
        keep(&home.state(), &running, &submission(vec![element("7")])).await;
        stop(running).await;
        // In which nothing is written.
        let running = start(&home.state());
        running.ingest.ready().await;
        stop(running).await;
    });
    // No daemon has run: this is what it would have exported.
    let row = |n: u32| format!("user{n}@x.test\t550 5.1.1 suppressed: hard bounce\n");
    fs::write(home.dir.join("access"), (0..200).map(row).collect::<String>()).unwrap();
    home
}

/// The exit status, and the rows.
fn verify(home: &Home, arguments: &[&str]) -> (i32, Vec<Value>) {
    let mut command = std::process::Command::new(PROGRAM);
    command.args(["verify", "--json"]).args(arguments).arg("-c").arg(home.config());
    let output = output(&mut command);
    let text = String::from_utf8(output.stdout).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap(), rows)
}

fn assert_clean(home: &Home, parts: &[&str]) {
    let (code, rows) = verify(home, &[]);
    assert!(code == 0 && rows.iter().all(|row| row["problem"].is_null()), "{rows:?}");
    for part in parts {
        assert!(rows.iter().any(|row| row["component"] == *part), "{part}: {rows:?}");
    }
}

/// The one problem, which must have a consequence and a hint, and be of that file.
fn assert_named(home: &Home, part: &str, file: &Path) {
    let (code, rows) = verify(home, &[]);
    let ill: Vec<&Value> = rows.iter().filter(|row| !row["problem"].is_null()).collect();
    let of_it: Vec<&&Value> = ill
        .iter()
        .filter(|row| row["component"] == part && row["file"] == file.to_str().unwrap())
        .collect();
    assert!(code == 1 && !of_it.is_empty(), "{part} {}: {ill:?}", file.display());
    for row in of_it {
        assert!(row["consequence"].is_string() && row["hint"].is_string(), "{row}");
    }
}

/// Turns a bit of a file where it is; a second time turns it back.
fn turn(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    byte[0] ^= 4;
    file.write_all_at(&byte, at).unwrap();
}

/// Every file below a folder, with what tells a change of it.
fn everything(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, i64, i64)> {
    let mut all = BTreeMap::new();
    for path in files(folder) {
        if path.is_dir() {
            all.insert(path.clone(), Default::default());
            all.extend(everything(&path));
        } else {
            let meta = fs::metadata(&path).unwrap();
            let stamp = (fs::read(&path).unwrap(), meta.mtime(), meta.mtime_nsec());
            all.insert(path, stamp);
        }
    }
    all
}

fn newest(state: &Path, folder: &str, ending: &str) -> PathBuf {
    let mut found = files(&state.join(folder));
    found.retain(|path| path.extension().is_some_and(|e| e == ending));
    found.pop().unwrap()
}

#[test]
fn a_stopped_directory_is_looked_at_and_left_as_it_is() {
    let home = home();
    let state = home.state();
    let before = everything(&state);
    assert_clean(&home, &["journal", "checkpoint", "base", "index", "mark", "store"]);
    let (code, rows) = verify(&home, &[state.to_str().unwrap()]);
    assert!(code == 0 && rows.len() >= 6, "{rows:?}");
    assert_eq!(everything(&state), before);
    let segment = files(&state.join("journal")).remove(0);
    for (part, file, at) in [
        ("journal", segment.clone(), 500),
        ("journal", segment.clone(), 2),
        ("checkpoint", newest(&state, "checkpoint", "checkpoint"), 700),
        ("index", newest(&state, "index", "index"), 40),
        ("base", newest(&state, "base", "run"), 40),
        ("base", newest(&state, "base", "run"), 4_000),
    ] {
        let whole = fs::metadata(&file).unwrap().modified().unwrap();
        turn(&file, at);
        let damaged = everything(&state);
        assert_named(&home, part, &file);
        assert_eq!(everything(&state), damaged);
        turn(&file, at);
        fs::File::open(&file).unwrap().set_modified(whole).unwrap();
        assert_eq!(everything(&state), before);
    }
    let gone = fs::read(&segment).unwrap();
    fs::remove_file(&segment).unwrap();
    assert_eq!(verify(&home, &[]).0, 1, "a checkpoint stands for what is not there");
    fs::write(&segment, gone).unwrap();
    let (db, mark) = (state.join("sled/db"), state.join("checkpoint/clean"));
    // Much of sled's file is of the past; what counts may be anywhere.
    let used = fs::read(&db).unwrap().iter().rposition(|byte| *byte != 0).unwrap() as u64;
    (0..used).step_by(64).for_each(|at| turn(&db, at));
    assert_named(&home, "store", &state.join("sled"));
    let (_, rows) = verify(&home, &[]);
    let mark = rows.iter().find(|row| row["file"] == mark.to_str().unwrap()).unwrap();
    assert!(mark["detail"].as_str().unwrap().starts_with("not of this file"), "{mark}");
    fs::remove_dir_all(state.join("sled")).unwrap();
    assert_named(&home, "store", &state.join("sled"));
}

fn scrubbed(daemon: &Daemon) {
    daemon.until_logged("looked through what was applied before the start");
}

#[test]
fn a_running_daemon_looks_at_its_own() {
    let home = home();
    let state = home.state();
    let daemon = home.start().ready();
    assert_eq!(notify(daemon.http, &event("complaint", "new@x.test", "n", 1)).status, 200);
    daemon.until_suppressed("new@x.test");
    scrubbed(&daemon);
    assert_clean(&home, &["journal", "checkpoint", "base", "index", "store"]);
    for (part, file, at) in [
        ("journal", files(&state.join("journal")).remove(0), 500),
        ("checkpoint", newest(&state, "checkpoint", "checkpoint"), 700),
        ("index", newest(&state, "index", "index"), 40),
    ] {
        turn(&file, at);
        assert_named(&home, part, &file);
        turn(&file, at);
    }
    assert_clean(&home, &["journal", "checkpoint", "base", "index", "store"]);
    let (code, rows) = verify(&home, &[state.to_str().unwrap()]);
    assert!(code == 1 && rows.is_empty(), "another's directory is not looked at: {rows:?}");
    let table = String::from_utf8(daemon.cli(&["verify"]).stdout).unwrap();
    assert!(table.contains("whole") && table.contains("adds up"), "{table}");
    // What it has met itself it makes again.
    let run = newest(&state, "base", "run");
    turn(&run, 40);
    assert_named(&home, "base", &run);
    daemon.until_logged("store: made again");
    let daemon = daemon.ready();
    fs::remove_dir_all(state.join("quarantine/sled.damaged")).unwrap();
    assert_clean(&home, &["base", "store"]);
    daemon.until_suppressed("new@x.test");
    daemon.stop();
}

/// What goes on meanwhile is no damage.
#[test]
fn a_daemon_under_load_finds_nothing_wrong_with_itself() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2_u32 {
            let (is_over, http) = (&is_over, daemon.http);
            scope.spawn(move || {
                for number in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let address = format!("u{thread}-{number}@x.test");
                    assert_eq!(notify(http, &event("complaint", &address, "m", 1)).status, 200);
                }
            });
        }
        let found: Vec<_> = (0..5).map(|_| verify(&home, &[])).collect();
        is_over.store(true, Ordering::Relaxed);
        for (code, rows) in found {
            let ill: Vec<_> = rows.iter().filter(|row| !row["problem"].is_null()).collect();
            assert!(code == 0 && ill.is_empty(), "{ill:?}");
        }
    });
}

/// An export of each kind of table, and what a hand adds to the text and takes from it.
#[test]
fn exports_are_held_against_the_store_running_and_stopped() {
    let map = |table: &str| {
        let (home, ending) = ("{HOME}", table);
        format!(
            "[[export]]\nname = \"{table}\"\nformat = \"postfix-transport\"\n\
             table = \"{table}\"\npath = \"{home}/transport.{ending}\"\n"
        )
    };
    let home = Home::new("");
    let maps = [map("lmdb"), map("cdb")].concat();
    home.configure(&format!("{}{}", source(), maps.replace("{HOME}", home.dir.to_str().unwrap())));
    let daemon = home.start().ready();
    for name in ["a", "b", "c"] {
        let body = event("complaint", &format!("{name}@x.test"), "n", 1);
        assert_eq!(notify(daemon.http, &body).status, 200);
        daemon.until_suppressed(&format!("{name}@x.test"));
    }
    wait_for("the exports", PATIENCE, || {
        let status = daemon.rows(&["status"]).remove(0);
        let exports = status["exports"].as_array().unwrap().clone();
        exports.iter().all(|export| export["rows"] == 3).then_some(())
    });
    assert_clean(&home, &["export"]);
    assert_eq!(exports(&home), ["cdb", "lmdb", "postfix"]);
    daemon.stop();
    assert_clean(&home, &["export"]);
    assert_eq!(exports(&home), ["cdb", "lmdb", "postfix"]);
    let access = home.dir.join("access");
    let whole = fs::read_to_string(&access).unwrap();
    let (first, rest) = whole.split_once('\n').unwrap();
    for (text, more, missing) in [
        (format!("{whole}z@x.test\t550 5.1.1 by hand\n"), 1, 0),
        (rest.to_owned(), 0, 1),
        (format!("{rest}z@x.test\t550 5.1.1 by hand\n"), 1, 1),
    ] {
        fs::write(&access, &text).unwrap();
        assert_named(&home, "export", &access);
        let [problem] = &problems(&home, "export")[..] else { panic!("one is wrong: {text}") };
        let expected = format!("does not justify {more} of its rows, {missing} are missing");
        assert!(problem.contains(&expected), "{problem}");
    }
    for table in ["lmdb", "cdb"] {
        let map = home.dir.join(format!("transport.{table}"));
        let bytes = fs::read(&map).unwrap();
        let written = fs::metadata(&map).unwrap().modified().unwrap();
        fs::remove_file(&map).unwrap();
        assert_named(&home, "export", &map);
        // A head, a row, and what leads to the rows.
        let places = if table == "cdb" { vec![1, 2_050, bytes.len() - 20] } else { vec![18] };
        for at in places {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            fs::write(&map, damaged).unwrap();
            fs::File::open(&map).unwrap().set_modified(written).unwrap();
            assert_named(&home, "export", &map);
        }
    }
    fs::remove_file(&access).unwrap();
    assert_named(&home, "export", &access);
    assert!(!first.is_empty());
    // A start writes it, also in the place of one that is damaged.
    let daemon = home.start().ready();
    wait_for("the file", PATIENCE, || (home.export() == whole).then_some(()));
    wait_for("the maps", PATIENCE, || (verify(&home, &[]).0 == 0).then_some(()));
    assert_clean(&home, &["export"]);
    daemon.stop();
}

/// Starts it, waits for a line of its log, and for a check that is degraded for a file and says
/// what to do.
fn told_at_the_start(home: &Home, line: &str, check: &str, file: &Path) -> Daemon {
    let daemon = home.start();
    daemon.until_logged(line);
    let daemon = daemon.ready();
    wait_for("degraded", PATIENCE, || (daemon.health() == "degraded").then_some(()));
    let status = daemon.rows(&["status"]).remove(0);
    let checks = status["checks"].as_array().unwrap();
    let ill: Vec<&Value> = checks.iter().filter(|check| check["ok"] == false).collect();
    let [ill] = &ill[..] else { panic!("{ill:?}") };
    let detail = ill["detail"].as_str().unwrap();
    assert_eq!(ill["name"], check, "{ill}");
    assert!(
        detail.contains(file.to_str().unwrap()) && detail.contains("look at the disk"),
        "{ill}"
    );
    assert!(daemon.readyz().body.contains(detail), "{detail}");
    daemon
}

/// Changes a file as a disk does it: its dates know nothing of it.
fn rot(path: &Path, change: impl Fn(&fs::File)) {
    let dated = fs::metadata(path).unwrap().modified().unwrap();
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    change(&file);
    file.set_modified(dated).unwrap();
}

#[test]
fn damage_at_the_head_of_a_file_is_told_at_the_start() {
    let home = home();
    // What is no event is in quarantine, and a reason of its own to be degraded.
    let daemon = home.start().ready();
    daemon.rows(&["quarantine", "drop", "--all"]);
    daemon.stop();
    let (journal, quarantine) = (home.state().join("journal"), home.state().join("quarantine"));
    let first = files(&journal).remove(0);
    rot(&first, |file| file.write_all_at(b"\0\0", 6).unwrap());
    let copy = quarantine.join("journal-1-0.damaged");
    let daemon = told_at_the_start(&home, "ERROR journal: a part cannot be read", "journal", &copy);
    fs::remove_file(copy).unwrap();
    assert_eq!(daemon.health(), "ready");
    daemon.stop();
    assert_eq!(verify(&home, &[]).0, 0);

    let db = home.state().join("sled/db");
    rot(&db, |file| file.write_all_at(&[0; 4_096], 0).unwrap());
    let aside = quarantine.join("sled.damaged");
    let daemon = told_at_the_start(&home, "ERROR store: the disk has changed", "store", &aside);
    daemon.until_suppressed("user7@x.test");
    fs::remove_dir_all(aside).unwrap();
    assert_eq!(daemon.health(), "ready");
    daemon.stop();
    assert_eq!(verify(&home, &[]).0, 0);
}

/// Somewhere in the middle it is not looked at before the start, but soon after.
#[test]
fn a_store_that_was_believed_and_cannot_be_read_is_made_again() {
    for (home, folder, ending) in [(told(), "sled", None), (home(), "base", Some("run"))] {
        let folder = home.state().join(folder);
        let file = ending.map_or(folder.join("db"), |ending| newest(&folder, "", ending));
        let used = fs::read(&file).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
        // Of a run the blocks alone: its end is read as it is opened.
        let places = if ending.is_some() { 4_096..8_192 } else { 0..used };
        rot(&file, |file| {
            let mut places = places.clone().step_by(512);
            places.all(|at| file.write_all_at(&[7; 64], at as u64).is_ok());
        });
        let daemon = home.start();
        daemon.until_logged("ERROR store: the disk has changed");
        let daemon = daemon.ready();
        daemon.until_suppressed("user7@x.test");
        assert_eq!(daemon.health(), "degraded");
        daemon.stop();
    }
}

/// The end of the journal that the store has taken, and others were told that we have.
#[test]
fn a_cut_that_costs_what_was_acknowledged_is_told_so() {
    for (cut, told) in [(600, "ends at byte"), (0, "The store had taken it up to")] {
        let home = Home::new("");
        let daemon = home.start().ready();
        let mut ends = Vec::new();
        let segment = home.state().join("journal/0000000001.seg");
        for number in 0..4 {
            let body = event("complaint", &format!("late{number}@x.test"), "n", number);
            assert_eq!(notify(daemon.http, &body).status, 200);
            daemon.until_suppressed(&format!("late{number}@x.test"));
            let used = fs::read(&segment).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
            ends.push(used as u64 + 1);
        }
        if cut == 0 {
            drop(daemon.stop())
        } else {
            daemon.kill()
        };
        let length = if cut == 0 { ends[1].next_multiple_of(8) } else { ends[3] - 40 };
        let file = fs::File::options().write(true).open(&segment).unwrap();
        file.set_len(length).unwrap();
        let daemon = home.start();
        daemon.until_logged(told);
        let daemon = daemon.ready();
        assert_eq!(daemon.health(), "degraded");
        let log = daemon.log();
        assert!(log.contains("ERROR journal: a segment is missing, or a part of one"), "{log}");
        assert!(!log.contains("unfinished write"), "{log}");
        daemon.until_suppressed("late1@x.test");
        // What is told from now on is kept.
        assert_eq!(notify(daemon.http, &event("complaint", "new@x.test", "n", 9)).status, 200);
        daemon.until_suppressed("new@x.test");
        // What the file has of the lost part stays there until somebody says otherwise.
        daemon.rows(&["export", "--force"]);
        daemon.stop();
        for damaged in files(&home.state().join("quarantine")) {
            fs::remove_file(damaged).unwrap();
        }
        let daemon = home.start().ready();
        assert_eq!(daemon.health(), "ready", "it is told once");
        daemon.stop();
    }
}

/// The names of the exports that were looked at, in order.
fn exports(home: &Home) -> Vec<String> {
    let (_, rows) = verify(home, &[]);
    let of_it = rows.iter().filter(|row| row["component"] == "export");
    let mut names: Vec<String> =
        of_it.filter_map(|row| row["place"].as_str().map(str::to_owned)).collect();
    names.sort();
    names
}

#[test]
fn only_a_state_directory_is_looked_at() {
    let home = Home::new("");
    let config = home.config();
    assert_eq!(verify(&home, &[config.to_str().unwrap()]).0, 1, "a file is no backup");
    assert_eq!(verify(&home, &["/nonexistent"]).0, 1);
    assert_eq!(verify(&home, &[]).0, 1, "there is none yet");
    assert!(!home.state().exists(), "and none is made");
}

#[test]
fn a_copy_of_a_stopped_directory_is_whole() {
    let home = home();
    let there = home.dir.join("copy");
    copy(&home.state(), &there);
    let (code, rows) = verify(&home, &[there.to_str().unwrap()]);
    assert!(code == 0 && rows.iter().any(|row| row["component"] == "mark"), "{rows:?}");
}

#[test]
fn what_is_kept_of_damage_is_a_problem_until_it_is_moved_away() {
    let home = home();
    let quarantine = home.state().join("quarantine");
    fs::write(quarantine.join("journal-1-16.torn"), "never acknowledged").unwrap();
    assert_clean(&home, &["quarantine"]);
    for name in
        ["journal-1-16.damaged", "0000000001-0000000016.checkpoint", "sled.broken", "sled.damaged"]
    {
        let file = quarantine.join(name);
        fs::write(&file, "x").unwrap();
        assert_named(&home, "quarantine", &file);
        fs::remove_file(&file).unwrap();
    }
    assert_clean(&home, &["quarantine"]);
}

/// The rows' problems with a part.
fn problems(home: &Home, part: &str) -> Vec<String> {
    let (code, rows) = verify(home, &[]);
    let of_it = rows.iter().filter(|row| row["component"] == part);
    let found: Vec<String> =
        of_it.filter_map(|row| row["problem"].as_str().map(str::to_owned)).collect();
    assert_eq!(code == 1, rows.iter().any(|row| !row["problem"].is_null()));
    found
}

#[test]
fn a_segment_that_is_gone_is_told_before_and_after_the_start() {
    let home = home();
    let state = home.state();
    // Each start begins a segment: three in all.
    for number in 0..2 {
        let daemon = home.start().ready();
        let body = event("complaint", &format!("late{number}@x.test"), "n", number);
        assert_eq!(notify(daemon.http, &body).status, 200);
        daemon.until_suppressed(&format!("late{number}@x.test"));
        daemon.stop();
    }
    files(&state.join("checkpoint")).iter().for_each(|path| fs::remove_file(path).unwrap());
    assert_eq!(verify(&home, &[]).0, 0);
    let segments = files(&state.join("journal"));
    assert!(segments.len() >= 3, "{segments:?}");
    let middle = fs::read(&segments[1]).unwrap();
    fs::remove_file(&segments[1]).unwrap();
    assert_eq!(problems(&home, "journal"), ["the segments from 2 to 2 are missing"]);
    fs::write(&segments[1], middle).unwrap();
    let last = segments.last().unwrap();
    let end = fs::read(last).unwrap();
    fs::remove_file(last).unwrap();
    let [problem] = &problems(&home, "store")[..] else { panic!("the end is missing") };
    assert!(problem.starts_with("it has taken the journal up to"), "{problem}");
    fs::write(last, end).unwrap();
    fs::remove_file(&segments[0]).unwrap();
    let begins = "the journal begins at segment 2 and no checkpoint covers what is before";
    assert_eq!(problems(&home, "journal"), [begins]);
    let daemon = home.start();
    daemon.until_logged("journal: a segment is missing");
    let note = state.join("quarantine/journal-1-0-lost.damaged");
    wait_for("a note", PATIENCE, || note.exists().then_some(()));
    let daemon = daemon.ready();
    assert_eq!(daemon.health(), "degraded");
    let status = daemon.rows(&["status"]).remove(0);
    let check = status["checks"].as_array().unwrap().iter().find(|c| c["name"] == "journal");
    assert_eq!(check.unwrap()["ok"], false, "{check:?}");
    fs::remove_file(&note).unwrap();
    assert!(daemon.readyz().body.contains("ok journal: whole"));
    // The journal alone does not give the store any more: a checkpoint makes it good.
    wait_for("a checkpoint", PATIENCE, || problems(&home, "journal").is_empty().then_some(()));
    daemon.stop();
    assert_eq!(verify(&home, &[]).0, 0);
    let again = home.start().ready();
    assert!(!again.log().contains("a segment is missing"));
    again.stop();
}
