//! Damage in an old part of the journal is found at the next start, and readiness says so.

use std::fs;
use std::path::PathBuf;

use suppressd::journal::{self, Entry};
use suppressd::model::{Position, QuarantineId};
use suppressd::store::{self, Batch, Checkpoints, Paths};

use super::rebuild::copy;
use super::support::client::{event, notify};
use super::support::daemon::{Daemon, Home, PATIENCE};
use super::support::wait_for;

fn bounce(daemon: &Daemon, number: u32) {
    let body = event("hard_bounce", &format!("user{number}@x.test"), "m", number);
    assert_eq!(notify(daemon.http, &body).status, 200);
}

/// So many complete segments, of four bounces each.
fn write_segments(home: &Home, segments: u32) {
    for segment in 0..segments {
        let daemon = home.start().ready();
        (0..4).for_each(|number| bounce(&daemon, segment * 4 + number));
        daemon.stop();
    }
}

fn messages(daemon: &Daemon) -> Vec<String> {
    let rows = daemon.rows(&["events"]);
    let mut addresses: Vec<String> =
        rows.iter().map(|row| row["address"].as_str().unwrap().to_owned()).collect();
    addresses.sort();
    addresses
}

fn damaged(home: &Home) -> Vec<PathBuf> {
    let files = fs::read_dir(home.state().join("quarantine")).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|ending| ending == "damaged")).collect()
}

#[test]
fn damage_in_an_old_segment_is_found_at_the_next_start() {
    let home = Home::new("");
    write_segments(&home, 3);
    let oldest = home.state().join("journal/0000000001.seg");
    let mut bytes = fs::read(&oldest).unwrap();
    let victim = bytes.windows(5).position(|window| window == b"user2").unwrap();
    bytes[victim] ^= 1;
    fs::write(&oldest, &bytes).unwrap();
    let daemon = home.start();
    let answer = wait_for("it to be told", PATIENCE, || {
        let answer = daemon.readyz();
        answer.body.contains(".damaged").then_some(answer)
    });
    assert_eq!(answer.status, 200, "it serves");
    assert_eq!(daemon.health(), "degraded");
    let aside = damaged(&home);
    assert_eq!(aside.len(), 1);
    assert!(answer.body.contains(aside[0].to_str().unwrap()), "{}", answer.body);
    assert!(fs::read(&aside[0]).unwrap() == bytes, "the copy is the segment as it was");
    wait_for("the log", PATIENCE, || daemon.log().contains("a part cannot be read").then_some(()));
    bounce(&daemon, 12);
    let mut others: Vec<String> =
        (0..13).filter(|n| *n != 2).map(|number| format!("user{number}@x.test")).collect();
    others.sort();
    wait_for("the other events", PATIENCE, || (messages(&daemon) == others).then_some(()));
    assert_eq!(daemon.rows(&["list"]).len(), 13, "what was concluded stays");
    fs::rename(&aside[0], home.dir.join("seen")).unwrap();
    daemon.until_well();
    assert_eq!(daemon.log().matches("a part cannot be read").count(), 1);
    daemon.stop();
    let daemon = home.start().ready();
    wait_for("the second look", PATIENCE, || daemon.log().contains("looked through").then_some(()));
    assert_eq!(daemon.health(), "ready", "it was mended");
    assert_eq!(messages(&daemon), others);
}

#[test]
fn a_store_that_lacks_a_part_of_the_journal_takes_no_row_from_a_file() {
    let home = Home::new("");
    write_segments(&home, 3);
    let rows = || home.export().lines().count();
    assert_eq!(rows(), 12);
    let segment = home.state().join("journal/0000000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    let victim = bytes.windows(5).position(|window| window == b"user2").unwrap();
    bytes[victim] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    fs::remove_file(home.state().join("journal/0000000002.seg")).unwrap();
    for made in ["sled", "base", "checkpoint"] {
        fs::remove_dir_all(home.state().join(made)).unwrap();
    }
    let daemon = home.start();
    wait_for("the store", PATIENCE, || (daemon.readyz().status == 200).then_some(()));
    bounce(&daemon, 12);
    wait_for("what is new", PATIENCE, || (rows() == 13).then_some(()));
    let export = wait_for("the export's own word", PATIENCE, || {
        Some(daemon.exported()).filter(|export| export["rows"] == 13)
    });
    assert_eq!(export["held_rows"], 5, "{export}");
    assert!(daemon.readyz().body.contains("removals are held back"), "{}", daemon.readyz().body);
    daemon.rows(&["export", "postfix", "--force"]);
    wait_for("what is known", PATIENCE, || (rows() == 8).then_some(()));
    daemon.stop();
}

/// The segment that was written last is not known by what follows it: an empty one there looks like
/// one that a crash left before anything was written.
#[test]
fn a_newest_segment_that_was_emptied_is_missed() {
    for (how, made) in [
        ("zeroed", &[][..]),
        ("cut", &[][..]),
        ("removed", &["sled"][..]),
        ("cut", &["sled", "base", "checkpoint"]),
    ] {
        let home = Home::new("");
        write_segments(&home, 2);
        let rows = || home.export().lines().count();
        assert_eq!(rows(), 8);
        let segment = home.state().join("journal/0000000002.seg");
        match how {
            "removed" => fs::remove_file(&segment).unwrap(),
            "cut" => fs::write(&segment, []).unwrap(),
            _ => fs::write(&segment, vec![0; fs::read(&segment).unwrap().len()]).unwrap(),
        }
        for made in made {
            fs::remove_dir_all(home.state().join(made)).unwrap();
        }
        let daemon = home.start();
        wait_for("the store", PATIENCE, || (daemon.readyz().status == 200).then_some(()));
        let aside = damaged(&home);
        assert_eq!(aside.len(), 1, "{how} {made:?}: {}", daemon.log());
        assert_eq!(daemon.health(), "degraded", "{how} {made:?}");
        bounce(&daemon, 8);
        wait_for("what is new", PATIENCE, || (rows() == 9).then_some(()));
        fs::remove_file(&aside[0]).unwrap();
        daemon.stop();
        let daemon = home.start().ready();
        assert!(damaged(&home).is_empty(), "{how} {made:?}: it is told once");
        daemon.stop();
    }
}

/// Nothing reads an old segment again until the store is made anew.
#[test]
fn a_complete_segment_that_is_cut_replaced_or_removed_is_told_at_once() {
    for how in ["cut", "replaced", "removed"] {
        let home = Home::new("");
        write_segments(&home, 3);
        let daemon = home.start().ready();
        daemon.until_logged("looked through");
        // That was the last look at all of it.
        let segment = home.state().join("journal/0000000002.seg");
        let bytes = fs::read(&segment).unwrap();
        match how {
            "cut" => fs::write(&segment, &bytes[..bytes.len() - 100]).unwrap(),
            "replaced" => {
                fs::write(home.dir.join("other"), &bytes[..bytes.len() - 100]).unwrap();
                fs::rename(home.dir.join("other"), &segment).unwrap();
            }
            _ => fs::remove_file(&segment).unwrap(),
        }
        wait_for(how, PATIENCE, || (damaged(&home).len() == 1).then_some(()));
        assert_eq!(daemon.health(), "degraded", "{how}");
        bounce(&daemon, 12);
        daemon.until_suppressed("user12@x.test");
        // A store that is made again, of a checkpoint, has what only it had.
        daemon.stop();
        fs::remove_dir_all(home.state().join("sled")).unwrap();
        let daemon = home.start().ready();
        assert_eq!(daemon.rows(&["list"]).len(), 13, "{how}");
        daemon.stop();
        assert_eq!(damaged(&home).len(), 1, "{how}: it is told once");
    }
}

/// What a start makes the store of.
const STORE: [&str; 3] = ["sled", "base", "checkpoint"];

/// The last record of a segment.
fn last_record(home: &Home, segment: u32) -> Position {
    let quarantine = home.state().join("quarantine");
    let reader = journal::open(&home.state().join("journal"), &quarantine).unwrap().reader;
    let mut tail = reader.tail(Position { segment, offset: 16 });
    let end = Position { segment: segment + 1, offset: 16 };
    let records = std::iter::from_fn(|| tail.next(end).unwrap());
    let positions = records.map(|entry| match entry {
        Entry::Record { position, .. } => position,
        other => panic!("{other:?}"),
    });
    positions.last().unwrap()
}

/// Has the store stand within a record, as a kill leaves it between two batches of one: the index
/// has nothing of that record then.
fn stand_within(home: &Home, record: Position, part: u32) {
    let state = home.state();
    let reach = (Position::default(), QuarantineId::LAST.record);
    let paths = Paths::of(&state);
    let opened = store::open(&paths, &Checkpoints::new(&paths), reach, false);
    let mut writer = opened.unwrap().writer;
    writer.go_back(record);
    writer.commit_within(Batch::default(), record, part).unwrap();
    writer.sync().unwrap();
    drop(writer);
    fs::remove_dir_all(state.join("index")).unwrap();
}

/// The store may know of a record alone that it has applied a part of.
#[test]
fn a_record_that_was_applied_in_part_and_is_no_more_is_missed() {
    for (how, is_followed) in
        [("cut", false), ("torn", false), ("zeroed", false), ("cut", true), ("torn", true)]
    {
        let case = format!("{how}, followed: {is_followed}");
        let home = Home::new("");
        write_segments(&home, 1);
        let daemon = home.start().ready();
        let bounces = [4, 5, 6].map(|n| event("hard_bounce", &format!("user{n}@x.test"), "m", n));
        assert_eq!(notify(daemon.http, &format!("[{}]", bounces.join(","))).status, 200);
        daemon.stop();
        let kept = tempfile::tempdir().unwrap();
        STORE.iter().for_each(|it| copy(&home.state().join(it), &kept.path().join(it)));
        if is_followed {
            let daemon = home.start().ready();
            bounce(&daemon, 7);
            daemon.stop();
        }
        for made in STORE {
            fs::remove_dir_all(home.state().join(made)).unwrap();
            copy(&kept.path().join(made), &home.state().join(made));
        }
        let record = last_record(&home, 2);
        stand_within(&home, record, 2);
        let segment = home.state().join("journal/0000000002.seg");
        let mut bytes = fs::read(&segment).unwrap();
        match how {
            "cut" => bytes.truncate(record.offset as usize),
            "torn" => bytes.truncate(record.offset as usize + 60),
            _ => bytes[record.offset as usize..].fill(0),
        }
        fs::write(&segment, &bytes).unwrap();
        let daemon = home.start();
        wait_for("the store", PATIENCE, || (daemon.readyz().status == 200).then_some(()));
        assert_eq!(daemon.health(), "degraded", "{case}");
        daemon.until_logged("looked through");
        let (log, aside) = (daemon.log(), damaged(&home));
        let by_store = log.contains(&format!("had taken it up to {record}"));
        let by_journal = log.contains(&format!("ends at byte {}", record.offset));
        assert!(by_store || by_journal, "{case}: {log}");
        // What is told is kept, each by itself.
        assert_eq!(log.matches("ERROR journal").count(), aside.len(), "{case}: {aside:?} {log}");
        bounce(&daemon, 8);
        let rows = if is_followed { 9 } else { 8 };
        wait_for(&case, PATIENCE, || (daemon.rows(&["list"]).len() == rows).then_some(()));
        aside.iter().for_each(|path| fs::remove_file(path).unwrap());
        daemon.stop();
        let daemon = home.start().ready();
        assert!(damaged(&home).is_empty(), "{case}: it is told once");
        assert_eq!(daemon.rows(&["list"]).len(), rows, "{case}");
        daemon.stop();
    }
}
