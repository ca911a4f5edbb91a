//! Checkpoints and their like that are not what this version wrote: each is told, none is lost, and
//! the journal stays for as long as it is needed.

use std::fs;
use std::path::{Path, PathBuf};

use super::oversize::{element, files, keep, make_old, runtime, start, stop, submission};
use super::support::client::event;
use super::support::daemon::{Daemon, Home, PATIENCE};
use super::support::wait_for;

/// A state directory with three segments and a checkpoint behind each of the first two.
fn home() -> (Home, Vec<PathBuf>) {
    let home = Home::new("");
    let state = home.state();
    for number in 0..2 {
        runtime().block_on(async {
            let running = start(&state);
            let told = event("hard_bounce", &format!("gone{number}@x.test"), "m", number);
            keep(&state, &running, &submission(vec![element(told)])).await;
            stop(running).await;
        });
    }
    let checkpoints = checkpoints(&state.join("checkpoint"));
    assert_eq!(checkpoints.len(), 2);
    (home, checkpoints)
}

fn checkpoints(folder: &Path) -> Vec<PathBuf> {
    let mut found = files(folder);
    found.retain(|path| path.extension().is_some_and(|ending| ending == "checkpoint"));
    found
}

/// Turns a bit in the middle of a file.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(path, bytes).unwrap();
}

/// Gives a file's form the next number.
fn renumber(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[7] += 1;
    fs::write(path, bytes).unwrap();
}

fn assert_has_both(daemon: &Daemon) {
    for address in ["gone0@x.test", "gone1@x.test"] {
        daemon.until_suppressed(address);
    }
}

/// Readiness says what was refused until the file is gone.
fn assert_told(daemon: &Daemon, refused: &Path) {
    daemon.until_logged("refused a checkpoint");
    let name = refused.display().to_string();
    let told = || {
        let ready = daemon.readyz();
        (ready.status == 200 && ready.body.contains(&name)).then_some(())
    };
    wait_for("it is told", PATIENCE, told);
    let status = daemon.rows(&["status"]).remove(0);
    let checks = status["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == "checkpoints").unwrap();
    assert_eq!(check["ok"], false, "{check}");
    assert!(daemon.log().contains("ERROR"), "{}", daemon.log());
    assert_eq!(daemon.health(), "degraded");
    fs::remove_file(refused).unwrap();
    daemon.until_well();
}

#[test]
fn a_damaged_checkpoint_is_told_and_set_aside_and_the_one_before_it_counts() {
    let (home, checkpoints) = home();
    let state = home.state();
    damage(&checkpoints[1]);
    fs::remove_dir_all(state.join("sled")).unwrap();
    make_old(&state);
    let daemon = home.start();
    assert_has_both(&daemon);
    let name = checkpoints[1].file_name().unwrap();
    let aside = state.join("quarantine").join(name);
    assert!(aside.exists() && !checkpoints[1].exists());
    let from = checkpoints[0].file_stem().unwrap().to_str().unwrap();
    let (segment, offset) = from.split_once('-').unwrap();
    let number = |text: &str| text.trim_start_matches('0').to_owned();
    daemon.until_logged(&format!("the checkpoint at {}:{}", number(segment), number(offset)));
    assert_told(&daemon, &aside);
    daemon.stop();
}

#[test]
fn no_journal_is_trimmed_on_the_word_of_a_checkpoint_that_cannot_be_read() {
    for damaged in [0, 1] {
        let (home, checkpoints) = home();
        let state = home.state();
        damage(&checkpoints[damaged]);
        let segments = make_old(&state);
        let daemon = home.start();
        let aside = state.join("quarantine").join(checkpoints[damaged].file_name().unwrap());
        assert_told(&daemon, &aside);
        daemon.stop();
        assert!(segments.iter().all(|segment| segment.exists()), "{damaged}");
        // The one that is left and another one are two again.
        runtime().block_on(async {
            let running = start(&state);
            let told = event("hard_bounce", "more@x.test", "m", 9);
            keep(&state, &running, &submission(vec![element(told)])).await;
            stop(running).await;
        });
        let left = self::checkpoints(&state.join("checkpoint"));
        assert!(left.len() == 2 && left.contains(&checkpoints[1 - damaged]), "{left:?}");
    }
}

#[test]
fn what_a_newer_version_wrote_is_told_and_left_as_it_is() {
    let (home, checkpoints) = home();
    let state = home.state();
    renumber(&checkpoints[1]);
    let newer = fs::read(&checkpoints[1]).unwrap();
    fs::remove_dir_all(state.join("sled")).unwrap();
    let daemon = home.start();
    assert_has_both(&daemon);
    assert_eq!(fs::read(&checkpoints[1]).unwrap(), newer);
    assert_told(&daemon, &checkpoints[1]);
    daemon.stop();
}

#[test]
fn where_a_newer_version_wrote_all_of_them_the_journal_is_enough_if_it_is_whole() {
    let (home, checkpoints) = home();
    let state = home.state();
    checkpoints.iter().for_each(|checkpoint| renumber(checkpoint));
    fs::remove_dir_all(state.join("sled")).unwrap();
    let daemon = home.start();
    assert_has_both(&daemon);
    daemon.until_logged("the journal alone");
    wait_for("it is told", PATIENCE, || (daemon.health() == "degraded").then_some(()));
    assert_eq!(daemon.readyz().status, 200);
    assert!(checkpoints.iter().all(|checkpoint| checkpoint.exists()), "for that version");
    daemon.stop();
}

#[test]
fn where_a_newer_version_wrote_all_of_them_none_is_made_of_half_a_journal() {
    let (home, checkpoints) = home();
    let state = home.state();
    checkpoints.iter().for_each(|checkpoint| renumber(checkpoint));
    fs::remove_dir_all(state.join("sled")).unwrap();
    fs::remove_file(&files(&state.join("journal"))[0]).unwrap();
    let daemon = home.start();
    daemon.until_logged("was written by a newer version of suppressd: start that version again");
    // It is tried again, which begins with removing what is half written.
    for _ in 0..2 {
        let draft = state.join("checkpoint/1-9.draft");
        fs::write(&draft, "half").unwrap();
        wait_for("another try", PATIENCE, || (!draft.exists()).then_some(()));
    }
    assert_eq!(daemon.readyz().status, 503);
    assert!(checkpoints[0].exists() && !state.join("sled").exists());
    // What fails again and again is told once.
    let log = daemon.stop();
    for (told, times) in [("store: refused a checkpoint", 2), ("store: failed", 1)] {
        assert_eq!(log.matches(told).count(), times, "{log}");
    }
}

#[test]
fn a_mark_of_a_newer_version_is_set_aside() {
    let (home, _) = home();
    let mark = home.state().join("checkpoint/clean");
    let text = fs::read_to_string(&mark).unwrap();
    fs::write(&mark, text.replacen('2', "3", 1)).unwrap();
    let before = fs::read(&mark).unwrap();
    let daemon = home.start().ready();
    assert_has_both(&daemon);
    assert_eq!(fs::read(home.state().join("quarantine/clean")).unwrap(), before);
    let log = daemon.stop();
    assert!(log.contains("a newer version of suppressd has left this"), "{log}");
    assert!(!log.contains("made again"), "{log}");
}

#[test]
fn a_segment_of_a_newer_version_is_no_damage() {
    let (home, _) = home();
    let segment = files(&home.state().join("journal")).remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    bytes[7] = b'3';
    let crc = crc32fast::hash(&bytes[..12]).to_le_bytes();
    bytes[12..16].copy_from_slice(&crc);
    fs::write(&segment, &bytes).unwrap();
    let mut command = std::process::Command::new(super::support::daemon::PROGRAM);
    let output = command.args(["run", "-c"]).arg(home.config()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let name = segment.display().to_string();
    assert!(error.contains(&name) && error.contains("start that version again"), "{error}");
    assert_eq!(fs::read(&segment).unwrap(), bytes);
}
