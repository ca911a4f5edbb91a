//! `suppressd forget`: nothing of the address is left, it stays suppressed, and nobody else is
//! touched, whenever the daemon dies.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use suppressd::clock;
use suppressd::forgotten::{HashRows, ToForget};
use suppressd::model::{
    Address, EventId, Fact, Latest, Peer, Reason, Scope, SourceName, Submission, Until,
};
use suppressd::provider::{OWN, Told, told_element};

use crate::retention;
use crate::support::client::{event, notify};
use crate::support::daemon::{Daemon, Home, PATIENCE, cli, source};
use crate::support::wait_for;

const ANN: &str = "Ann.Gone@one.test";
const BOB: &str = "bob@one.test";

/// What a reply says of her, in lower case.
const WORDS: &str = "mailbox of ann is closed";

/// A map, which keeps what it has removed, and hashes, both in the state directory.
const EXPORTS: &str = r#"
[[export]]
name = "map"
format = "postfix-access"
table = "lmdb"
path = "STATE/export/map.lmdb"
[[export]]
name = "hashes"
format = "hashed"
path = "STATE/export/hashes"
"#;

fn home() -> Home {
    let home = Home::new("");
    fs::create_dir_all(home.state().join("export")).unwrap();
    let exports = EXPORTS.replace("STATE", home.state().to_str().unwrap());
    home.configure(&format!("{}{exports}", source()));
    home
}

/// How the address may stand in bytes, in lower case; sled may part it from its domain.
fn spellings() -> Vec<String> {
    let plain = ["ann.gone", "ann\\u002egone", "ann%2egone", "\\u0061nn.gone", WORDS];
    let encoded = (0..3).flat_map(|before| {
        [ANN.to_owned(), ANN.to_lowercase(), ANN.to_uppercase()].map(|address| {
            let text = BASE64.encode(format!("{}{address}", "x".repeat(before)).as_bytes());
            text[4..text.len() - 4].to_lowercase()
        })
    });
    plain.into_iter().map(str::to_owned).chain(encoded).collect()
}

/// The files below a folder that have one of these texts, in any case.
fn files_with(dir: &Path, texts: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, texts));
        } else if path.is_file() {
            let bytes = fs::read(&path).unwrap_or_default().to_ascii_lowercase();
            let bytes = String::from_utf8_lossy(&bytes);
            let here = texts.iter().find(|text| bytes.contains(text.as_str()));
            found.extend(here.map(|text| format!("{}: {text}", path.display())));
        }
    }
    found
}

fn traces(home: &Home) -> Vec<String> {
    files_with(&home.state(), &spellings())
}

fn bounce(id: &str, address: &str) -> String {
    event("bounced", address, id, 5)
}

/// Ann in several spellings, Bob beside her in one notification, and something unreadable of her.
fn told(daemon: &Daemon) {
    let of_ann = bounce("1", ANN).replace("no such user", "Mailbox of Ann is closed");
    let escaped = bounce("2", ANN).replace('@', "\\u0040").replace("Ann", "\\u0041NN");
    let both = format!("[{},{}]", bounce("3", "ANN.GONE@ONE.TEST"), bounce("4", BOB));
    let strange = json!([{ "nonsense": ANN }]).to_string();
    for body in [of_ann, escaped, strange, both] {
        assert_eq!(notify(daemon.http, &body).status, 200);
    }
    daemon.until_suppressed(BOB);
    daemon.until_suppressed(ANN);
}

fn export<'a>(row: &'a Value, name: &str) -> &'a Value {
    let exports = row["exports"].as_array().unwrap();
    exports.iter().find(|export| export["name"] == name).unwrap()
}

#[track_caller]
fn assert_forgotten(home: &Home, daemon: &Daemon) {
    assert_eq!(traces(home), Vec::<String>::new());
    assert_eq!((daemon.looked_up(ANN), daemon.looked_up(BOB)), (200, 200));
    let (status, rows) = daemon.answer(&["lookup", ANN]);
    assert_eq!(status, 3);
    assert_eq!((&rows[0]["reason"], &rows[0]["forgotten"]), (&json!("hard_bounce"), &json!(true)));
    assert_eq!(rows[0]["note"], "forgotten, suppressed");
    let explained = &daemon.rows(&["explain", ANN])[0];
    assert_eq!(explained["forgotten"]["grounds"][0]["reason"], "hard_bounce", "{explained}");
    assert_eq!((&explained["events"], &explained["scopes"]), (&json!([]), &json!([])));
    let listed = daemon.rows(&["list"]);
    let listed: Vec<_> = listed.iter().map(|row| row["address"].as_str().unwrap()).collect();
    assert_eq!(listed, [BOB]);
    let events = daemon.rows(&["events"]);
    assert!(events.iter().all(|event| event["address"] == BOB), "{events:?}");
}

/// The hashes that the export has: Ann's goes on.
#[track_caller]
fn assert_hashed(home: &Home, addresses: &[&str]) {
    let hash = |address: &&str| HEXLOWER.encode(&Sha256::digest(address.to_lowercase())) + "\n";
    let mut hashes: Vec<String> = addresses.iter().map(hash).collect();
    hashes.sort();
    let text = || fs::read_to_string(home.state().join("export/hashes")).unwrap_or_default();
    wait_for("the hashes", PATIENCE, || (text() == hashes.concat()).then_some(()));
}

#[test]
fn a_person_is_forgotten_and_stays_suppressed() {
    let home = home();
    let daemon = home.start().ready();
    told(&daemon);
    assert!(!traces(&home).is_empty());
    let counted = daemon.rows(&["forget", ANN, "--dry-run"]);
    assert_eq!(counted[0]["forgotten"], false);
    assert_eq!((&counted[1]["elements"], &counted[1]["done"]), (&json!(4), &json!(false)));
    assert_eq!(daemon.answer(&["forget", ANN]).0, 64, "without a terminal it wants --yes");
    assert!(!traces(&home).is_empty(), "nothing was changed");

    let done = daemon.rows(&["forget", ANN, "--yes"]);
    assert_eq!((&done[0]["forgotten"], &done[0]["suppressed"]), (&json!(true), &json!(true)));
    for name in ["postfix", "map"] {
        assert_eq!(export(&done[0], name)["listed"], false, "{done:?}");
        assert!(export(&done[0], name)["detail"].as_str().unwrap().contains("forgotten"));
    }
    assert_eq!(export(&done[0], "hashes")["listed"], true, "{done:?}");
    assert_eq!(done[1]["done"], true);
    assert!(home.export().contains(BOB) && !home.export().to_lowercase().contains("ann"));
    assert_hashed(&home, &[ANN, BOB]);
    assert_forgotten(&home, &daemon);
    assert_eq!(daemon.answer(&["verify"]).0, 0, "{:?}", daemon.rows(&["verify"]));

    // What comes of her later counts, and is not kept; nor is it lost where it is not erased yet.
    let complaint = event("complained", ANN, "9", 99);
    assert_eq!(notify(daemon.http, &complaint).status, 200);
    let reason = |daemon: &Daemon| daemon.rows(&["lookup", ANN])[0]["reason"].clone();
    wait_for("the complaint", PATIENCE, || (reason(&daemon) == "complaint").then_some(()));
    let late = event("complained", ANN, "10", 100);
    assert_eq!(notify(daemon.http, &late).status, 200);
    wait_for("no trace", PATIENCE, || traces(&home).is_empty().then_some(()));
    assert_eq!(daemon.rows(&["explain", ANN])[0]["forgotten"]["told"], 2);
    daemon.stop();
    let verified = cli(&home.config(), &["verify"]);
    assert!(verified.status.success(), "{verified:?}");

    let daemon = home.start().ready();
    assert_eq!(reason(&daemon), "complaint");
    assert_eq!(traces(&home), Vec::<String>::new());
    assert_eq!(daemon.rows(&["list"]).len(), 1);
    // What is restored of a backup knows of her.
    let backup = home.dir.join("backup");
    assert!(daemon.cli(&["backup", backup.to_str().unwrap()]).status.success());
    daemon.stop();
    fs::remove_dir_all(home.state()).unwrap();
    let restored = cli(&home.config(), &["restore", backup.to_str().unwrap()]);
    assert!(restored.status.success(), "{restored:?}");
    fs::create_dir_all(home.state().join("export")).unwrap();
    let daemon = home.start().ready();
    assert_eq!((daemon.looked_up(ANN), daemon.looked_up(BOB)), (200, 200));
    assert_hashed(&home, &[ANN, BOB]);
    // A person may come back.
    assert_eq!(daemon.answer(&["lift", ANN]).0, 0);
    assert_eq!((daemon.looked_up(ANN), daemon.looked_up(BOB)), (404, 200));
    assert_hashed(&home, &[BOB]);
}

#[test]
fn the_only_row_of_an_export_goes_without_being_held_back() {
    let home = home();
    let daemon = home.start().ready();
    assert_eq!(notify(daemon.http, &bounce("1", ANN)).status, 200);
    daemon.until_suppressed(ANN);
    let told = daemon.rows(&["forget", ANN, BOB, "--yes"]);
    // Nobody mails again who was never suppressed.
    assert!(export(&told[0], "map")["detail"].as_str().unwrap().contains("has no hashes"));
    assert_eq!(export(&told[1], "map")["detail"], "not in the file");
    assert!(told[2]["hint"].as_str().unwrap().contains("mails who was forgotten again"));
    wait_for("an empty export", PATIENCE, || home.export().is_empty().then_some(()));
    let ready = daemon.readyz();
    assert!(ready.body.starts_with("ready"), "{ready:?}");
    assert_eq!(daemon.looked_up(ANN), 200);
    assert_hashed(&home, &[ANN]);
    daemon.rows(&["lift", ANN]);
    assert_hashed(&home, &[]);
    let ready = daemon.readyz();
    assert!(ready.body.starts_with("ready"), "{ready:?}");
    let said = String::from_utf8(daemon.cli(&["explain", ANN]).stdout).unwrap();
    assert!(said.contains("it was forgotten, and nothing suppresses it any more"), "{said}");
    assert!(!said.contains("nothing is known") && !said.contains("has no hashes"), "{said}");
    daemon.stop();
}

#[test]
fn the_hash_of_who_was_forgotten_goes_when_its_term_ends() {
    let home = home();
    let daemon = home.start().ready();
    assert!(daemon.cli(&["add", ANN, "--for", "8s"]).status.success());
    assert!(daemon.cli(&["add", BOB]).status.success());
    daemon.rows(&["forget", ANN, "--yes"]);
    assert_hashed(&home, &[ANN, BOB]);
    // Nothing changes meanwhile.
    assert_hashed(&home, &[BOB]);
    assert_eq!(daemon.looked_up(ANN), 404);
    daemon.stop();
}

#[test]
fn what_a_source_has_told_of_the_forgotten_ends_when_it_is_retired() {
    let home = home();
    let daemon = home.start().ready();
    assert_eq!(notify(daemon.http, &bounce("1", ANN)).status, 200);
    daemon.until_suppressed(ANN);
    daemon.rows(&["forget", ANN, "--yes"]);
    assert_hashed(&home, &[ANN]);
    daemon.stop();
    let text = fs::read_to_string(home.config()).unwrap();
    fs::write(home.config(), text.replace("\"test\"", "\"other\"")).unwrap();
    let daemon = home.start().ready();
    let counted = daemon.rows(&["source", "retire", "test", "--dry-run"]).remove(0);
    assert_eq!((&counted["forgotten"], &counted["freed"]), (&json!(1), &json!(1)));
    assert_eq!(daemon.looked_up(ANN), 200);
    let retired = daemon.rows(&["source", "retire", "test", "--yes"]).remove(0);
    assert_eq!((&retired["ended"], &retired["done"]), (&json!(1), &json!(true)));
    assert_eq!(daemon.looked_up(ANN), 404);
    assert_hashed(&home, &[]);
    daemon.stop();
}

#[test]
fn readers_and_senders_notice_nothing_of_it() {
    let home = home();
    let daemon = home.start().ready();
    told(&daemon);
    let many = |part: usize| {
        let of =
            (0..1_000).map(|n| bounce(&format!("m{part}-{n}"), &format!("p{part}.{n}@m.test")));
        format!("[{}]", of.collect::<Vec<_>>().join(","))
    };
    (0..2).for_each(|part| assert_eq!(notify(daemon.http, &many(part)).status, 200));
    daemon.until_suppressed("p1.999@m.test");
    let config = home.config();
    let asking = std::thread::spawn(move || cli(&config, &["forget", ANN, "--yes"]));
    let (mut looks, mut slowest) = (0, Duration::ZERO);
    while !asking.is_finished() || looks < 20 {
        let begun = Instant::now();
        assert_eq!((daemon.looked_up(BOB), daemon.looked_up(ANN)), (200, 200));
        assert_eq!(daemon.looked_up("nobody@m.test"), 404);
        assert_eq!(daemon.readyz().status, 200);
        let during = format!("during.{looks}@m.test");
        assert_eq!(notify(daemon.http, &bounce(&during, &during)).status, 200);
        slowest = slowest.max(begun.elapsed());
        looks += 1;
    }
    assert!(asking.join().unwrap().status.success());
    assert!(slowest < PATIENCE, "{slowest:?}");
    daemon.until_suppressed(&format!("during.{}@m.test", looks - 1));
    assert_eq!(traces(&home), Vec::<String>::new());
    assert_eq!(daemon.rows(&["list"]).len(), 2_001 + looks);
    assert_eq!(daemon.answer(&["verify"]).0, 0, "{:?}", daemon.rows(&["verify"]));
}

#[test]
fn a_kill_at_any_point_is_made_up_for_by_the_next_start() {
    for wait in [0_u64, 5, 20, 60, 150, 400] {
        let home = home();
        let daemon = home.start().ready();
        told(&daemon);
        let config = home.config();
        let asking = std::thread::spawn(move || cli(&config, &["forget", ANN, "--yes"]));
        let (pending, hashes) = (home.state().join("forgetting"), home.state().join("forgotten"));
        wait_for("the hash", PATIENCE, || hashes.exists().then_some(()));
        let since = Instant::now();
        wait_for("the moment", PATIENCE, || {
            (since.elapsed().as_millis() as u64 >= wait).then_some(())
        });
        daemon.kill();
        let _ = asking.join().unwrap();
        let daemon = home.start().ready();
        wait_for("the end of it", PATIENCE, || (!pending.exists()).then_some(()));
        wait_for("no trace", PATIENCE, || traces(&home).is_empty().then_some(()));
        assert_forgotten(&home, &daemon);
        assert_hashed(&home, &[ANN, BOB]);
    }
}

#[test]
fn who_is_forgotten_on_a_quiet_host_is_erased_from_the_notes_of_others_too() {
    let home = home();
    let daemon = home.start().ready();
    daemon.rows(&["add", BOB, "--note", &format!("see {ANN}")]);
    // Each completes a segment of the journal, the second one without a record.
    for address in ["nobody@one.test", ANN, ANN, "somebody@one.test"] {
        let summary = daemon.rows(&["forget", address, "--yes"]).pop().unwrap();
        assert_eq!(summary["done"], json!(true), "{summary}");
    }
    assert_eq!(traces(&home), Vec::<String>::new());
    daemon.stop();
    let daemon = home.start().ready();
    assert_eq!(traces(&home), Vec::<String>::new());
    assert_eq!(daemon.looked_up(BOB), 200);
    daemon.stop();
}

/// A host of the fleet that was away has them still, and tells what it knows as standings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_host_tells_that_has_not_forgotten_counts_and_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let running = retention::start(folder.path());
    tokio::time::timeout(PATIENCE, running.ingest.ready()).await.unwrap();
    let address = Address::parse(ANN).unwrap();
    let person = ToForget { address: address.clone(), grounds: vec![], rows: HashRows::new() };
    running.ingest.forgotten().forget(vec![person], clock::now()).unwrap();
    let latest = Latest {
        at: clock::now().minus(Duration::from_secs(60)),
        until: Until::Forever,
        evidence: EventId::from_bytes([7; 16]),
        class: None,
        note: None,
    };
    let source = SourceName::parse("test").unwrap();
    let told = Told {
        address: address.key().into(),
        spelling: ANN.into(),
        scope: Scope::Global,
        told: vec![Fact::Ground { reason: Reason::HardBounce, source, latest }],
    };
    let operator = SourceName::operator();
    let said = Submission::ours(operator.clone(), OWN, vec![told_element(&told)], clock::receipt());
    let copy = Submission::encode_copy(&Peer::of_no_record("mx2"), &said.encode()).unwrap();
    let share = running.ingest.room().take(copy.len()).unwrap();
    let handed = running.ingest.hand_in(&operator, copy, share).unwrap();
    let receipt = handed.durable().await.unwrap();
    running.ingest.applied(receipt).await;
    assert!(running.reader.standings_of(&address).unwrap().is_empty());
    let grounds = running.ingest.forgotten().person(address.key()).unwrap().grounds;
    assert_eq!(grounds.iter().map(|it| it.reason).collect::<Vec<_>>(), [Reason::HardBounce]);
    running.stop(PATIENCE).await;
}
