//! A full disk: nothing is accepted, nothing is lost, and it goes on by itself.
//!
//! The state directory is a small file system of its own, in a mount namespace that only the
//! daemon is in; the test reaches it through `/proc`.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::client::{Answer, event, notify, request};
use super::support::daemon::{Daemon, Home, PATIENCE, PROGRAM, source};
use super::support::{available, wait_for};

/// Whether a test may run.
fn possible(test: &str) -> bool {
    let script = "mount -t tmpfs -o size=1m tmpfs /mnt";
    let tried = Command::new("unshare").args(["-rm", "sh", "-c", script]).output();
    let missing = match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("unshare: {error}")),
    };
    available(test, missing)
}

/// Starts the daemon with 64 MiB for its state, after `prepare` has run in there.
fn start(home: &Home, prepare: &str) -> Daemon {
    fs::create_dir_all(home.state()).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=64m tmpfs {state} && cd {state} && {{ {prepare}; }} && \
         exec {PROGRAM} run -c {config}",
        state = home.state().display(),
        config = home.config().display()
    );
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", &script]);
    home.start_by(command)
}

/// The state directory as the daemon sees it.
fn inside(home: &Home, daemon: &Daemon) -> PathBuf {
    let state = home.state();
    Path::new("/proc")
        .join(daemon.pid().to_string())
        .join("root")
        .join(&state.to_str().unwrap()[1..])
}

/// Fills a file system to its last byte.
fn fill(dir: &Path) {
    let mut ballast = File::create(dir.join("ballast")).unwrap();
    for size in [1 << 20, 4 << 10, 1] {
        let bytes = vec![1; size];
        while ballast.write_all(&bytes).is_ok() {}
    }
}

fn send(daemon: &Daemon, name: &str) -> Answer {
    notify(daemon.http, &event("hard_bounce", &format!("{name}@x.test"), "m", 1))
}

/// A batch of notifications about addresses of their own.
fn batch(name: &str, count: u32) -> (String, Vec<String>) {
    let address = |number: u32| format!("{name}{number}@x.test");
    let addresses: Vec<String> = (0..count).map(address).collect();
    let events: Vec<String> =
        addresses.iter().map(|to| event("hard_bounce", to, "m", count)).collect();
    (format!("[{}]", events.join(",")), addresses)
}

#[track_caller]
fn check_refused(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.head);
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
}

fn wait_for_intake(daemon: &Daemon, name: &str) {
    let taken = || match send(daemon, name) {
        answer if answer.status == 200 => Some(()),
        answer => {
            check_refused(&answer);
            None
        }
    };
    wait_for("intake to go on", PATIENCE, taken);
}

/// Exactly these addresses have an event, and are suppressed.
#[track_caller]
fn check_kept(daemon: &Daemon, mut expected: Vec<String>) {
    expected.sort();
    for verb in ["events", "list"] {
        let same = || {
            let mut found: Vec<String> = daemon
                .rows(&[verb])
                .iter()
                .map(|row| row["address"].as_str().unwrap().to_owned())
                .collect();
            found.sort();
            (found == expected).then_some(())
        };
        wait_for(verb, PATIENCE, same);
    }
}

fn named(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("{name}@x.test")).collect()
}

#[test]
fn a_start_on_a_full_disk_says_so_at_once() {
    if !possible("disk::a_start_on_a_full_disk_says_so_at_once") {
        return;
    }
    let home = Home::new("");
    // So much is left that the store is made, and nothing accepted.
    let daemon = start(&home, "head -c 57M /dev/zero > ballast");
    let line =
        |answer: Answer| answer.body.lines().find(|l| l.contains("intake")).map(str::to_owned);
    let ready = daemon.readyz();
    assert_eq!(ready.status, 503);
    let intake = line(ready).unwrap();
    assert!(intake.contains("disk"), "{intake}");
    fs::remove_file(inside(&home, &daemon).join("ballast")).unwrap();
    // Without anybody sending.
    daemon.ready().stop();
}

#[test]
fn a_full_disk_refuses_and_a_freed_one_goes_on() {
    if !possible("disk::a_full_disk_refuses_and_a_freed_one_goes_on") {
        return;
    }
    let home = Home::new("");
    let daemon = start(&home, "true").ready();
    let state = inside(&home, &daemon);
    for name in ["before1", "before2"] {
        assert_eq!(send(&daemon, name).status, 200);
    }
    for round in 0..3 {
        fill(&state);
        for number in 0..5 {
            check_refused(&send(&daemon, &format!("refused{round}-{number}")));
        }
        let ready = daemon.readyz();
        assert_eq!(ready.status, 503);
        let line = ready.body.lines().find(|line| line.contains("intake")).unwrap();
        assert!(line.contains("disk"), "{line}");
        // Who only looks is answered all the same.
        let path = "/v1/suppressions/before1@x.test";
        assert!(request(daemon.admin, "GET", path, &[], b"").status != 503);
        fs::remove_file(state.join("ballast")).unwrap();
        wait_for_intake(&daemon, &format!("after{round}"));
    }
    let daemon = daemon.ready();
    check_kept(&daemon, named(&["before1", "before2", "after0", "after1", "after2"]));
    let log = daemon.stop();
    assert_eq!(log.matches("intake: stopped").count(), 3, "once for each time");
    assert_eq!(log.matches("intake: goes on").count(), 3);
}

#[test]
fn a_store_without_room_loses_nothing() {
    if !possible("disk::a_store_without_room_loses_nothing") {
        return;
    }
    let home = Home::new("");
    let daemon = start(&home, "true").ready();
    let state = inside(&home, &daemon);
    let mut kept = Vec::new();
    for round in 0..3 {
        let (first, addresses) = batch(&format!("first{round}-"), 2_000);
        assert_eq!(notify(daemon.http, &first).status, 200);
        kept.extend(addresses);
        // The store is in the middle of it when there is no more room.
        fill(&state);
        check_refused(&send(&daemon, &format!("refused{round}")));
        if round == 2 {
            // Long enough for the store to want to sync.
            wait_for("the store's failure", PATIENCE, || {
                (daemon.log().contains("store: failed")).then_some(())
            });
        }
        fs::remove_file(state.join("ballast")).unwrap();
        wait_for_intake(&daemon, &format!("after{round}"));
        kept.push(format!("after{round}@x.test"));
    }
    let daemon = daemon.ready();
    let exported = || {
        let export = home.export();
        kept.iter().all(|address| export.contains(address.as_str())).then_some(())
    };
    wait_for("the export", PATIENCE, exported);
    check_kept(&daemon, kept);
    daemon.stop();
}

/// Intake is much faster than the store: what it takes must not be the room that the store needs.
#[test]
fn what_was_taken_as_the_disk_fills_is_applied() {
    if !possible("disk::what_was_taken_as_the_disk_fills_is_applied") {
        return;
    }
    let home = Home::new("");
    let daemon = start(&home, "true").ready();
    let reason = format!("no such user {}", "x".repeat(2_000));
    let mut taken = 0;
    let refused = loop {
        let (body, addresses) = batch(&format!("t{taken}-"), 1_000);
        let answer = notify(daemon.http, &body.replace("no such user", &reason));
        if answer.status != 200 {
            break answer;
        }
        taken += addresses.len();
    };
    check_refused(&refused);
    assert!(taken > 5_000, "{taken}");
    let rows = || (home.export().lines().count() >= taken).then_some(());
    wait_for("all of it, without any more room", 3 * PATIENCE, rows);
    assert!(!daemon.log().contains("store: failed"), "{}", daemon.log());
    daemon.stop();
}

#[test]
fn a_start_on_a_full_disk_waits_for_room() {
    if !possible("disk::a_start_on_a_full_disk_waits_for_room") {
        return;
    }
    let home = Home::new("");
    let daemon = home.start().ready();
    assert_eq!(send(&daemon, "before").status, 200);
    check_kept(&daemon, named(&["before"]));
    let seed = home.dir.join("seed");
    let fill = "cat /dev/zero > ballast 2>/dev/null || true";
    // After a kill there is a segment to complete and a store to look through; a sled that was
    // never there must be made.
    daemon.kill();
    fs::rename(home.state(), &seed).unwrap();
    let seed = seed.display();
    let whole = format!("cp -r --sparse=always {seed}/* . && {fill}");
    let overwrite = "dd of=journal/0000000001.seg bs=1 seek=4096 conv=notrunc 2>/dev/null";
    let torn = format!("cp -r --sparse=always {seed}/* . && printf torn | {overwrite} && {fill}");
    let no_sled = format!("cp -r --sparse=always {seed}/* . && rm -r sled && {fill}");
    let cases = [("whole", whole), ("torn", torn), ("no sled", no_sled), ("new", fill.to_owned())];
    for (case, prepare) in cases {
        let daemon = start(&home, &prepare);
        check_refused(&send(&daemon, "refused"));
        assert_eq!(daemon.readyz().status, 503, "{case}");
        fs::remove_file(inside(&home, &daemon).join("ballast")).unwrap();
        wait_for_intake(&daemon, "after");
        let daemon = daemon.ready();
        let old: &[&str] = if case == "new" { &[] } else { &["before"] };
        check_kept(&daemon, named(&[old, &["after"]].concat()));
        let log = daemon.stop();
        assert_eq!(log.contains("cut off an unfinished write"), case == "torn", "{log}");
        let made_again = log.contains("store: made again");
        assert!(!made_again || matches!(case, "no sled" | "new"), "{case}: {log}");
    }
}

/// What a full disk leaves of a change of our own is ours, and not somebody else's.
#[test]
fn a_full_disk_of_a_map_is_told_as_such_and_goes_on() {
    if !possible("disk::a_full_disk_of_a_map_is_told_as_such_and_goes_on") {
        return;
    }
    let home = Home::new("");
    let maps = home.dir.join("maps");
    fs::create_dir(&maps).unwrap();
    let export = format!(
        "[[export]]\nname = \"map\"\nformat = \"postfix-transport\"\ntable = \"lmdb\"\n\
         path = \"{}/x.lmdb\"\n",
        maps.display()
    );
    home.configure(&(source() + &export));
    let script = format!(
        "mount -t tmpfs -o size=1m tmpfs {} && exec {PROGRAM} run -c {}",
        maps.display(),
        home.config().display()
    );
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", &script]);
    let daemon = home.start_by(command).ready();
    let seen = Path::new("/proc").join(daemon.pid().to_string()).join("root");
    let seen = seen.join(maps.strip_prefix("/").unwrap());
    let map = || {
        let rows = daemon.rows(&["status"]);
        let exports = rows[0]["exports"].as_array().unwrap().clone();
        exports.into_iter().find(|export| export["name"] == "map").unwrap()
    };
    let (body, addresses) = batch("first", 100);
    assert_eq!(notify(daemon.http, &body).status, 200);
    let rows = |count: usize| (map()["rows"] == count).then_some(());
    wait_for("the map", PATIENCE, || rows(addresses.len()));
    fill(&seen);
    let (body, _) = batch("second", 900);
    assert_eq!(notify(daemon.http, &body).status, 200);
    let said = |text: &str| map()["error"].as_str().is_some_and(|e| e.contains(text)).then_some(());
    wait_for("a word", PATIENCE, || said("free some space"));
    assert!(map()["foreign"].is_null(), "{}", map());
    fs::remove_file(seen.join("ballast")).unwrap();
    wait_for("the map", PATIENCE, || rows(1000));
    assert!(map()["foreign"].is_null() && map()["error"].is_null(), "{}", map());
    daemon.stop();
}

/// A file system that an error has made read-only may be mended: systemd must try again.
#[test]
fn a_start_on_a_read_only_disk_can_be_tried_again() {
    if !possible("disk::a_start_on_a_read_only_disk_can_be_tried_again") {
        return;
    }
    let home = Home::new("");
    fs::create_dir_all(home.state()).unwrap();
    let script = format!(
        "mount -t tmpfs -o ro tmpfs {} && exec {PROGRAM} run -c {}",
        home.state().display(),
        home.config().display()
    );
    let output = Command::new("unshare").args(["-rm", "sh", "-c", &script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("store.path") && said.contains("mount the file system"), "{said}");
}
