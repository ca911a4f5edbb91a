//! State directories that earlier releases have left, opened by this one.
//!
//! `tests/fixtures/formats/VERSION/` holds a small one and what that release said of it, in
//! `expected/`. `tests/fixtures/formats/make` makes the next one's.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use suppressd::clock;
use suppressd::ingest::{self, Settings};
use suppressd::journal;
use suppressd::model::{Element, Origin, SourceName, Submission};
use suppressd::rules::Rules;
use tokio::runtime::Handle;

use crate::support::client::{event, notify};
use crate::support::daemon::{Daemon, Home, PATIENCE, cli, source};
use crate::support::feed::{Feed, listed, row};
use crate::support::wait_for;

/// What is compared: the verb and the file that holds its rows.
const SHOWN: &[(&[&str], &str)] = &[
    (&["list"], "list.jsonl"),
    (&["events"], "events.jsonl"),
    (&["quarantine", "list"], "quarantine.jsonl"),
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats")
}

/// Packs or unpacks one file. sled's own is nearly all zeros.
type Put = fn(&Path, &Path);

fn pack(from: &Path, to: &Path) {
    if from.ends_with("sled/db") {
        let file = fs::File::create(to.with_extension("gz")).unwrap();
        let mut packer = flate2::write::GzEncoder::new(file, flate2::Compression::best());
        packer.write_all(&fs::read(from).unwrap()).unwrap();
        packer.finish().unwrap();
    } else {
        fs::copy(from, to).unwrap();
    }
}

fn unpack(from: &Path, to: &Path) {
    if from.extension().is_some_and(|ending| ending == "gz") {
        let mut bytes = Vec::new();
        let packed = fs::File::open(from).unwrap();
        flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
        fs::write(to.with_extension(""), bytes).unwrap();
    } else {
        fs::copy(from, to).unwrap();
    }
}

/// Puts what is in a folder into another.
fn copy(from: &Path, to: &Path, put: Put) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() { copy(&from, &to, put) } else { put(&from, &to) }
    }
}

/// A source that is polled and pushed to, as it was when the fixture was made.
fn acme(feed: &Feed) -> String {
    let (url, list) = (feed.url(), feed.list_url());
    format!(
        "{}[[source]]\nname = \"acme\"\nprovider = \"generic\"\n\
         poll = {{ url = \"{url}\", list_url = \"{list}\", cron = \"0 0 0 29 2 *\" }}\n\
         push = {{ reasons = [\"complaint\"] }}\n",
        source()
    )
}

/// The same sources as they are read again: nothing is asked, nothing is changed.
fn asleep() -> String {
    let acme = "[[source]]\nname = \"acme\"\nprovider = \"generic\"\n\
                webhook = { secret = \"asleep\" }\n";
    format!("{}{acme}", source())
}

fn ago(minutes: u64) -> String {
    clock::now().minus(Duration::from_secs(60 * minutes)).floor_second().to_string()
}

fn done(daemon: &Daemon, arguments: &[&str]) {
    let output = daemon.cli(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// One of everything that the store keeps.
fn fill(daemon: &Daemon, feed: &Feed) {
    for (kind, address, message, second) in [
        ("hard_bounce", "Gone@one.test", "m1", 1),
        ("soft_bounce", "full@one.test", "m2", 2),
        ("soft_bounce", "full@one.test", "m3", 3),
        ("delivered", "well@one.test", "m4", 4),
        ("opened", "well@one.test", "m4", 5),
        ("unsubscribed", "away@one.test", "m5", 6),
        ("hard_bounce", "back@one.test", "m6", 7),
    ] {
        assert_eq!(notify(daemon.http, &event(kind, address, message, second)).status, 200);
    }
    // So many that the segment is worth packing.
    for number in 20..60 {
        let body = event("delivered", "well@one.test", &format!("m{number}"), number);
        assert_eq!(notify(daemon.http, &body).status, 200);
    }
    assert_eq!(notify(daemon.http, "7").status, 200, "kept, and put into quarantine");
    assert_eq!(
        notify(daemon.http, &row("complaint", "spam@one.test", &ago(1), "m7").to_string()).status,
        200
    );
    let pushed = || (daemon.source("acme")["push"]["pushed"] == 1).then_some(());
    wait_for("the push", PATIENCE, pushed);
    feed.set_list([listed("theirs@one.test", "hard_bounce", &ago(600))]);
    done(daemon, &["poll", "acme"]);
    done(daemon, &["add", "by-hand@one.test", "--note", "asked by post"]);
    done(daemon, &["add", "letter@one.test", "--scope", "stream:news"]);
    done(daemon, &["lift", "back@one.test", "--note", "the mailbox is back"]);
}

fn rows(daemon: &Daemon, arguments: &[&str]) -> Vec<Value> {
    let mut rows = daemon.rows(arguments);
    rows.sort_by_key(|row| (row["address"].to_string(), row["id"].to_string()));
    rows
}

/// Has two checkpoints written, which takes the settings of a test.
async fn write_checkpoints(state: &Path) {
    let usual = Settings::new(
        state.to_owned(),
        Duration::from_secs(90 * 86_400),
        Arc::new(Rules::default()),
        Arc::default(),
    );
    let running =
        ingest::start(Settings { checkpoint_bytes: 1, ..usual }, &Handle::current()).unwrap();
    for (number, address) in [(8, "last-but-one@one.test"), (9, "last@one.test")] {
        let body = event("hard_bounce", address, &format!("m{number}"), number);
        let submission = Submission {
            source: SourceName::parse("test").unwrap(),
            provider: "generic".into(),
            origin: Origin::Webhook,
            feed: "".into(),
            received_at: clock::now(),
            elements: vec![Element { context: String::new(), body: body.into_bytes() }],
            cursor: None,
            released: Vec::new(),
        };
        let receipt = running.ingest.submit(&submission).await.unwrap();
        running.ingest.applied(receipt).await;
        let name = format!("{:010}-{:010}.checkpoint", receipt.end.segment, receipt.end.offset);
        let path = state.join("checkpoint").join(name);
        let written = async {
            while !path.exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, written).await.expect("a checkpoint in time");
    }
    assert_eq!(running.stop(PATIENCE).await, Vec::<&str>::new());
}

/// Has those segments packed that a daemon would, if it has not come to it.
fn pack_segments(state: &Path) {
    let folder = state.join("journal");
    let opened = journal::open(&folder, &state.join("quarantine")).unwrap();
    opened.reader.pack((0, opened.writer.end().segment), &|| true).unwrap();
    let first = fs::read(folder.join("0000000001.seg")).unwrap();
    assert!(first.starts_with(b"SUPJRNL2"), "it was not worth it");
}

/// What becomes of the state directory before this release opens it.
type Change = fn(&Path);

/// With the mark that a stop in good order left: it tells the file apart from a copy of it.
fn keep_clean_mark(state: &Path) {
    let meta = fs::metadata(state.join("sled/db")).unwrap();
    let mark = state.join("checkpoint/clean");
    let text = fs::read_to_string(&mark).unwrap();
    let (ino, len) = (meta.ino(), meta.len());
    assert_eq!(text.split(' ').nth(1), Some(len.to_string().as_str()));
    let text = format!("{ino} {len} {}.{}", meta.mtime(), meta.mtime_nsec());
    fs::write(mark, text).unwrap();
}

fn remove_sled(state: &Path) {
    fs::remove_dir_all(state.join("sled")).unwrap();
}

fn remove_checkpoints(state: &Path) {
    fs::remove_dir_all(state.join("checkpoint")).unwrap();
}

fn remove_all_but_the_journal(state: &Path) {
    remove_sled(state);
    remove_checkpoints(state);
}

/// Each change, and the line in the log that tells from what the store was made again.
const CHANGES: &[(Change, Option<&str>)] = &[
    (|_| {}, None),
    (keep_clean_mark, None),
    (remove_checkpoints, None),
    (remove_sled, Some("the checkpoint at")),
    (remove_all_but_the_journal, Some("the journal alone")),
];

/// What an earlier release said, and what this one says of the same: this one may say more.
fn assert_tells(before: &str, now: &[Value], what: &str) {
    let before: Vec<Value> = before.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(before.len(), now.len(), "{what}: {now:?}");
    for (before, now) in before.iter().zip(now) {
        for (key, value) in before.as_object().unwrap() {
            // Why an element is not understood is said in the words of whoever reads it.
            let same = &now[key] == value || key == "problem";
            assert!(same, "{what}: {key} was {value}, is {}: {now}", now[key]);
        }
    }
}

/// Starts with the state that is there, which must be told as the release told it. Gives the log.
fn tells_the_same(version: &Path, home: &Home) -> String {
    let daemon = home.start().ready();
    for (arguments, file) in SHOWN {
        let before = fs::read_to_string(version.join("expected").join(file)).unwrap();
        assert_tells(&before, &rows(&daemon, arguments), file);
    }
    daemon.stop()
}

/// The folder of each release.
fn versions() -> Vec<PathBuf> {
    let all = fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path());
    let versions: Vec<PathBuf> = all.filter(|path| path.is_dir()).collect();
    assert!(!versions.is_empty());
    versions
}

fn opens(version: &Path, change: Change, rebuilt: Option<&str>) {
    let home = Home::bare(&asleep());
    copy(&version.join("state"), &home.state(), unpack);
    change(&home.state());
    let log = tells_the_same(version, &home);
    match rebuilt {
        Some(from) => assert!(log.contains("made again") && log.contains(from), "{log}"),
        None => assert!(!log.contains("made again"), "no need to: {log}"),
    }
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn every_release_left_what_this_one_opens() {
    for version in versions() {
        for (change, rebuilt) in CHANGES {
            opens(&version, *change, *rebuilt);
        }
    }
}

#[test]
fn every_release_left_a_backup_that_this_one_restores() {
    for version in versions() {
        let home = Home::bare(&asleep());
        let backup = version.join("backup");
        let restored = cli(&home.config(), &["restore", backup.to_str().unwrap()]);
        assert!(restored.status.success(), "{restored:?}");
        let log = tells_the_same(&version, &home);
        assert!(!log.contains("ERROR"), "{log}");
    }
}

/// Run by `tests/fixtures/formats/make`, with the folder to fill in `SUPPRESSD_FIXTURE`.
#[test]
#[ignore = "makes the fixture of a release"]
fn makes_a_state_directory_of_this_release() {
    let target = PathBuf::from(std::env::var_os("SUPPRESSD_FIXTURE").expect("a folder to fill"));
    let feed = Feed::start();
    feed.push([row("hard_bounce", "polled@one.test", &ago(60), "m20")]);
    let home = Home::bare(&acme(&feed));
    let daemon = home.start().ready();
    fill(&daemon, &feed);
    daemon.stop();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(write_checkpoints(&home.state()));
    drop(runtime);
    home.configure(&asleep());
    let daemon = home.start().ready();
    let after = event("hard_bounce", "behind@one.test", "m10", 10);
    assert_eq!(notify(daemon.http, &after).status, 200);
    daemon.until_suppressed("behind@one.test");
    fs::create_dir_all(target.join("expected")).unwrap();
    for (arguments, file) in SHOWN {
        let lines =
            rows(&daemon, arguments).iter().map(|row| format!("{row}\n")).collect::<String>();
        fs::write(target.join("expected").join(file), lines).unwrap();
    }
    daemon.stop();
    pack_segments(&home.state());
    copy(&home.state(), &target.join("state"), pack);
    let backup = target.join("backup");
    let made = cli(&home.config(), &["backup", backup.to_str().unwrap()]);
    assert!(made.status.success(), "{made:?}");
}
