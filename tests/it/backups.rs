//! `suppressd backup`, `restore` and `verify FILE`: what is in a backup, and what is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::Value;
use suppressd::backup;

use crate::support::client::{event, notify};
use crate::support::daemon::{Daemon, Home, PROGRAM};

/// Runs a verb that needs no daemon.
fn verb(home: &Home, arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).arg("-c").arg(home.config()).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn done(output: Output) {
    assert!(output.status.success(), "{output:?}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What must be the same on the other side.
fn shown(daemon: &Daemon) -> Vec<Vec<Value>> {
    [&["list"][..], &["events"], &["quarantine", "list"]].map(|verb| daemon.rows(verb)).to_vec()
}

/// A state of two checkpoints and three segments, which a release has left.
fn left(home: &Home) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats/0.1.0/state");
    for folder in ["journal", "checkpoint"] {
        fs::create_dir_all(home.state().join(folder)).unwrap();
        for entry in fs::read_dir(from.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, home.state().join(folder).join(path.file_name().unwrap())).unwrap();
        }
    }
}

#[test]
fn what_was_acknowledged_before_a_backup_is_in_it_whatever_comes_meanwhile() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let (told, is_over) = (AtomicU32::new(0), AtomicBool::new(false));
    let file = home.dir.join("b.backup");
    let before = std::thread::scope(|scope| {
        for thread in 0..2 {
            let (told, is_over, http) = (&told, &is_over, daemon.http);
            scope.spawn(move || {
                for number in (thread..).step_by(2).take_while(|_| !is_over.load(Ordering::Relaxed))
                {
                    let body =
                        event("hard_bounce", &format!("u{number}@x.test"), "m", number % 900);
                    assert_eq!(notify(http, &body).status, 200);
                    told.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        crate::support::wait_for("events", crate::support::daemon::PATIENCE, || {
            (told.load(Ordering::SeqCst) > 200).then_some(())
        });
        // Each thread may have one more under way than is counted.
        let before = told.load(Ordering::SeqCst);
        done(daemon.cli(&["backup", text(&file)]));
        is_over.store(true, Ordering::Relaxed);
        before
    });
    daemon.kill();
    let other = Home::new("");
    done(verb(&other, &["restore", text(&file)]));
    let restored = other.start().ready();
    let list = restored.rows(&["list"]);
    assert!(list.len() >= before as usize, "{} of {before}", list.len());
    let whole = verb(&other, &["verify", "--json"]);
    assert!(whole.status.success(), "{whole:?}");
}

#[test]
fn a_restored_state_shows_the_same_and_goes_on() {
    let home = Home::new("");
    left(&home);
    let daemon = home.start().ready();
    let expected = shown(&daemon);
    assert!(!expected[0].is_empty() && !expected[1].is_empty());
    let (running, stopped) = (home.dir.join("running.backup"), home.dir.join("stopped.backup"));
    done(daemon.cli(&["backup", text(&running)]));
    daemon.stop();
    done(verb(&home, &["backup", text(&stopped)]));
    for file in [running, stopped] {
        let other = Home::new("");
        done(verb(&other, &["verify", text(&file)]));
        done(verb(&other, &["restore", text(&file)]));
        let restored = other.start().ready();
        assert_eq!(shown(&restored), expected, "{}", file.display());
        let body = event("hard_bounce", "later@x.test", "m", 1);
        assert_eq!(notify(restored.http, &body).status, 200);
        restored.until_suppressed("later@x.test");
        restored.stop();
        done(verb(&other, &["verify"]));
    }
}

/// A backup of a small state, as bytes.
fn small(home: &Home) -> (PathBuf, Vec<u8>) {
    left(home);
    let file = home.dir.join("small.backup");
    done(verb(home, &["backup", text(&file)]));
    let bytes = fs::read(&file).unwrap();
    (file, bytes)
}

#[test]
fn every_damage_is_found_and_nothing_is_restored_of_it() {
    let home = Home::new("");
    let (file, whole) = small(&home);
    assert!(backup::verify(&whole[..]).is_ok());
    let step = (whole.len() / 500).max(1);
    for at in (0..whole.len()).step_by(step).chain(whole.len() - 20..whole.len()) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        assert!(backup::verify(&bytes[..]).is_err(), "changed at {at}");
        assert!(backup::verify(&whole[..at]).is_err(), "cut at {at}");
    }
    let other = Home::new("");
    for bytes in [&whole[..whole.len() - 1], &[&whole[..], b"x"].concat()] {
        fs::write(&file, bytes).unwrap();
        assert_eq!(verb(&other, &["verify", text(&file)]).status.code(), Some(1));
        let output = verb(&other, &["restore", text(&file)]);
        assert!(output.status.code() == Some(1) && said(&output).contains("nothing was restored"));
        assert_eq!(fs::read_dir(other.state()).unwrap().count(), 0);
    }
    let mut newer = whole;
    newer[7] = b'9';
    fs::write(&file, newer).unwrap();
    assert!(said(&verb(&other, &["verify", text(&file)])).contains("newer version"));
}

#[test]
fn a_state_that_is_there_is_never_written_over() {
    let home = Home::new("");
    let (file, whole) = small(&home);
    let before = fs::read(home.state().join("journal/0000000001.seg")).unwrap();
    let output = verb(&home, &["restore", text(&file)]);
    assert!(output.status.code() == Some(1) && said(&output).contains("not empty"), "{output:?}");
    assert_eq!(fs::read(home.state().join("journal/0000000001.seg")).unwrap(), before);
    let daemon = home.start().ready();
    let output = daemon.cli(&["restore", text(&file)]);
    assert!(output.status.code() == Some(1) && said(&output).contains("stop that first"));
    // Nor is a backup, by one that cannot be made.
    let missing = home.dir.join("missing/b.backup");
    let output = daemon.cli(&["backup", text(&missing)]);
    let named = format!("{}: ", home.dir.join("missing").display());
    assert!(output.status.code() == Some(1) && said(&output).contains(&named), "{output:?}");
    assert_eq!(fs::read(&file).unwrap(), whole);
}

#[test]
fn a_backup_goes_through_a_pipe_and_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new("");
    let (file, _) = small(&home);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let made = verb(&home, &["backup", "-"]);
    assert!(made.status.success() && said(&made).contains("Made a backup"), "{made:?}");
    assert!(backup::verify(&made.stdout[..]).is_ok());
    let other = Home::new("");
    let mut child = Command::new(PROGRAM)
        .args(["restore", "-", "-c"])
        .arg(other.config())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &made.stdout).unwrap();
    assert!(child.wait().unwrap().success());
    let path = other.state().join("journal/0000000001.seg");
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn one_that_is_killed_leaves_the_old_file_and_an_empty_state() {
    let home = Home::new("");
    let (file, whole) = small(&home);
    for _ in 0..20 {
        let start = |arguments: &[&str], home: &Home| {
            let mut child = Command::new(PROGRAM)
                .args(arguments)
                .arg("-c")
                .arg(home.config())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let _ = child.kill();
            child.wait().unwrap();
        };
        start(&["backup", text(&file)], &home);
        let now = fs::read(&file).unwrap();
        assert!(now == whole || backup::verify(&now[..]).is_ok());
        let other = Home::new("");
        start(&["restore", text(&file)], &other);
        let has = |folder: &str| other.state().join(folder).exists();
        // What is left of it is no state, and in the way of no other try.
        let again = verb(&other, &["restore", text(&file)]);
        let is_there = ["in place now", "not empty"].iter().any(|why| said(&again).contains(why));
        assert!(again.status.success() || is_there, "{again:?}");
        assert!(has("journal") && has("checkpoint") && !has(".restore") && !has(".restored"));
    }
}

#[test]
fn a_restore_that_broke_off_is_no_empty_state() {
    let home = Home::new("");
    let (file, _) = small(&home);
    let other = Home::new("");
    fs::create_dir_all(other.state().join(".restore/journal")).unwrap();
    let refused = verb(&other, &["run"]);
    assert!(refused.status.code() == Some(1) && said(&refused).contains("a restore broke off"));
    assert!(!other.state().join("journal").exists());
    done(verb(&other, &["restore", text(&file)]));
    // As nothing was made of it yet, nothing is missing.
    done(verb(&other, &["verify"]));
    let expected = shown(&other.start().ready());
    // When all was there, the next start ends it, however far it came.
    let parts = ["checkpoint", "journal"];
    for placed in 0..=parts.len() {
        let half = Home::new("");
        done(verb(&half, &["restore", text(&file)]));
        fs::create_dir(half.state().join(".restored")).unwrap();
        for part in &parts[placed..] {
            let whole = half.state().join(".restored").join(part);
            fs::rename(half.state().join(part), whole).unwrap();
        }
        assert_eq!(shown(&half.start().ready()), expected, "{placed}");
        assert!(!half.state().join(".restored").exists());
    }
}

#[test]
fn a_backup_replaces_files_and_nothing_else() {
    let home = Home::new("");
    let (file, _) = small(&home);
    let is_refused = |path: &Path, why: &str| {
        let made = verb(&home, &["backup", text(path)]);
        assert!(made.status.code() == Some(1) && said(&made).contains(why), "{made:?}");
    };
    // A device or FIFO takes it as it comes.
    let fifo = home.dir.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let reader = std::thread::spawn({
        let fifo = fifo.clone();
        move || fs::read(fifo).unwrap()
    });
    done(verb(&home, &["backup", text(&fifo)]));
    assert!(backup::verify(&reader.join().unwrap()[..]).is_ok());
    assert!(!fs::metadata(&fifo).unwrap().is_file());
    is_refused(Path::new("/dev/full"), "/dev/full: No space left");
    is_refused(&home.dir, "name a file in it");
    // Behind a link, the file is; and what leads nowhere is a slip.
    let (link, astray) = (home.dir.join("link"), home.dir.join("astray"));
    std::os::unix::fs::symlink(&file, &link).unwrap();
    std::os::unix::fs::symlink(home.dir.join("nowhere/file"), &astray).unwrap();
    fs::write(&file, "old").unwrap();
    done(verb(&home, &["backup", text(&link)]));
    assert!(link.is_symlink() && backup::verify(fs::File::open(&file).unwrap()).is_ok());
    is_refused(&astray, "leads to no file");
    // What one that was killed has left goes with the next.
    let left = home.dir.join(".small.backup.suppressd-new");
    fs::write(&left, "half").unwrap();
    done(verb(&home, &["backup", text(&file)]));
    assert!(!left.exists() && backup::verify(fs::File::open(&file).unwrap()).is_ok());
}
