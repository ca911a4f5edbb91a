//! Reading the configuration again while everything goes on.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::scope;

use serde_json::Value;

use super::support::asker::Asker;
use super::support::child::output;
use super::support::client::{Client, SECRET, event, notify, sign, wire};
use super::support::daemon::{Daemon, Home, PATIENCE};
use super::support::{OnDrop, tls, wait_for};

/// How many reloads the load lasts for, half of them of files with a fault.
const RELOADS: usize = 100;

/// A lookup on a Unix socket of the home.
fn lookup(home: &Home, name: &str) -> String {
    let path = home.dir.join(name);
    format!("[[lookup]]\nprotocol = \"tcp-table\"\nlisten = \"unix:{}\"\n", path.display())
}

/// Another source.
fn source(name: &str) -> String {
    format!(
        "[[source]]\nname = \"{name}\"\nprovider = \"generic\"\n\
         webhook = {{ secret = \"{SECRET}\" }}\n"
    )
}

/// Another export.
fn export(home: &Home, name: &str) -> String {
    let path = home.dir.join(name);
    let path = path.display();
    format!("[[export]]\nname = \"{name}\"\nformat = \"postfix-access\"\npath = \"{path}\"\n")
}

/// Writes a configuration of which the source `test` is a part.
fn configure(home: &Home, more: &str) {
    home.configure(&(source("test") + more));
}

/// Reloads; the answer must say that it did.
#[track_caller]
fn reload(daemon: &Daemon) -> Value {
    let (status, mut rows) = daemon.answer(&["reload"]);
    let row = rows.remove(0);
    assert_eq!((status, &row["reloaded"]), (0, &Value::Bool(true)), "{row}");
    row
}

#[test]
fn reloads_under_load_fail_no_request() {
    let home = Home::new("");
    configure(&home, &lookup(&home, "lookup.sock"));
    let daemon = home.start().ready();
    let body = event("hard_bounce", "user@example.com", "m", 1);
    assert_eq!(notify(daemon.http, &body).status, 200);
    daemon.until_suppressed("user@example.com");
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let request = wire(&body);
    let goes_on = || !over.load(Ordering::Relaxed);
    let count = || answered.fetch_add(1, Ordering::Relaxed);
    scope(|scope| {
        // Ends the load also when the test fails.
        let _ending = OnDrop(&over);
        let mut clients = Vec::new();
        clients.push(scope.spawn(|| {
            while goes_on() {
                let mut client = Client::connect(daemon.http).unwrap();
                client.0.write_all(&request).unwrap();
                assert_eq!(client.answer().unwrap().status, 200);
                count();
            }
        }));
        clients.push(scope.spawn(|| {
            let mut client = Client::connect(daemon.http).unwrap();
            while goes_on() {
                client.0.write_all(&request).unwrap();
                let answer = client.answer().unwrap();
                assert!(answer.status == 200 && answer.header("connection").is_none());
                count();
            }
        }));
        clients.push(scope.spawn(|| {
            let mut asker = Asker::unix("tcp-table", &home.dir.join("lookup.sock"));
            while goes_on() {
                assert!(asker.ask("user@example.com").starts_with("200 "));
                count();
            }
        }));
        for number in 0..RELOADS {
            let more = match number % 4 {
                0 => "[rules]\nsoft_bounce = { count = 1, within = \"1d\", for = \"30d\" }\n",
                2 => "[log]\nlevel = \"info\"\n",
                _ => "[rules]\ncomplaint = 7\n",
            };
            configure(&home, &(lookup(&home, "lookup.sock") + more));
            let wanted = answered.load(Ordering::Relaxed) + 20;
            let applies = number % 2 == 0;
            assert_eq!(daemon.control("{\"verb\":\"reload\"}\n"), applies, "{more}");
            let enough = || (answered.load(Ordering::Relaxed) >= wanted).then_some(());
            wait_for("load", PATIENCE, enough);
        }
        over.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    let half = Some((RELOADS / 2) as f64);
    assert_eq!(daemon.metric("suppressd_reloads_total{outcome=\"done\"}"), half);
    assert_eq!(daemon.metric("suppressd_reloads_total{outcome=\"failed\"}"), half);
    daemon.stop();
}

#[test]
fn a_file_with_a_fault_changes_nothing_and_is_told() {
    let home = Home::new("");
    let daemon = home.start().ready();
    daemon.until_well();
    home.configure(&(source("other") + "[rules]\ncomplaint = 7\nnonsense = 1\n"));
    let refused = daemon.cli(&["reload"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(78), "{said}");
    assert!(said.contains("rules.complaint: ") && said.contains("rules.nonsense: "), "{said}");
    let (status, rows) = daemon.answer(&["reload"]);
    assert_eq!((status, rows[0]["problems"].as_array().unwrap().len()), (78, 2));
    let body = event("hard_bounce", "user@example.com", "m", 1);
    assert_eq!(notify(daemon.http, &body).status, 200, "the source is still there");
    assert!(daemon.log().contains("reload failed"), "{}", daemon.log());
    assert!(daemon.log().contains("rules.complaint"), "{}", daemon.log());
    assert_eq!(daemon.health(), "degraded");
    let shown = daemon.readyz().body;
    assert!(shown.contains("degraded configuration: the reload at "), "{shown}");
    // One that cannot be had is no fault of the file's form.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    configure(&home, "");
    let text = std::fs::read_to_string(home.config()).unwrap();
    let text = text.replacen("127.0.0.1:0", &at.to_string(), 1);
    std::fs::write(home.config(), text).unwrap();
    assert_eq!(daemon.answer(&["reload"]).0, 1);
    configure(&home, "");
    reload(&daemon);
    daemon.until_well();
    let counted = |outcome: &str| {
        let labels = format!("verb=\"reload\",outcome=\"{outcome}\"");
        daemon.metric(&format!("suppressd_control_commands_total{{{labels}}}"))
    };
    // It is counted once the client has its answer.
    wait_for("the count of each outcome", PATIENCE, || {
        ((counted("failed"), counted("done")) == (Some(3.0), Some(1.0))).then_some(())
    });
    assert!(daemon.log().contains("verb=\"reload\" "), "{}", daemon.log());
    daemon.stop();
}

#[test]
fn what_is_new_appears_and_what_is_gone_goes() {
    let home = Home::new("");
    let old = [lookup(&home, "old.sock"), export(&home, "old"), source("old")].concat();
    configure(&home, &old);
    let daemon = home.start().ready();
    let bounce = event("soft_bounce", "soft@example.com", "m", 1);
    assert_eq!(notify(daemon.http, &bounce).status, 200);
    assert!(
        Asker::unix("tcp-table", &home.dir.join("old.sock")).ask("x@y.test").starts_with("500")
    );
    let rules = "[rules]\nsoft_bounce = { count = 1, within = \"36500d\", for = \"forever\" }\n";
    let new = [&lookup(&home, "new.sock"), &export(&home, "new"), &source("new"), rules].concat();
    configure(&home, &new);
    reload(&daemon);
    let has = |file: &str| {
        let text = std::fs::read_to_string(home.dir.join(file)).unwrap_or_default();
        text.contains("soft@example.com").then_some(())
    };
    // By the new rules, also in the export that stays.
    wait_for("the new export", PATIENCE, || has("new"));
    wait_for("the export that stays", PATIENCE, || has("access"));
    let mut asker = Asker::unix("tcp-table", &home.dir.join("new.sock"));
    assert!(asker.ask("soft@example.com").starts_with("200 "));
    assert!(!home.dir.join("old.sock").exists());
    let hook = |source: &str| {
        let body = event("hard_bounce", "hard@example.com", "h", 1);
        let signature = sign(SECRET, body.as_bytes());
        let mut client = Client::connect(daemon.http).unwrap();
        let headers = [("x-webhook-signature", &*signature)];
        let path = format!("/hooks/{source}");
        client.send("POST", &path, &headers, body.as_bytes()).unwrap();
        client.answer().unwrap().status
    };
    assert_eq!((hook("new"), hook("old"), hook("test")), (200, 404, 200));
    let status = daemon.rows(&["status"]).remove(0);
    let names = |what: &str, key: &str| -> Vec<String> {
        let rows = status[what].as_array().unwrap().iter();
        rows.map(|row| row[key].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("exports", "name"), ["postfix", "new"]);
    assert_eq!(names("sources", "name"), ["test", "new"]);
    assert_eq!(names("lookups", "listen").len(), 1);
    let scraped = |export| daemon.metric(&format!("suppressd_export_rows{{export=\"{export}\"}}"));
    assert!(scraped("new").is_some());
    assert_eq!(scraped("old"), None);
    // The export that is gone stays as it was, and is written no more.
    wait_for("the hard bounce", PATIENCE, || {
        home.export().contains("hard@example.com").then_some(())
    });
    assert!(has("old").is_none());
    daemon.stop();
}

/// Neither among the rows of the new form, nor held back beside them.
#[test]
fn an_export_of_another_format_has_no_rows_of_the_one_before() {
    let home = Home::new("");
    configure(&home, &export(&home, "rows"));
    let daemon = home.start().ready();
    for number in 0..3 {
        let body = event("complaint", &format!("u{number}@x.test"), "m", number);
        assert_eq!(notify(daemon.http, &body).status, 200);
    }
    let is = |lines: Vec<String>| {
        let text = lines.concat();
        wait_for("the rows", PATIENCE, || {
            (std::fs::read_to_string(home.dir.join("rows")).ok()? == text).then_some(())
        });
    };
    let access = |n: &u32| format!("u{n}@x.test\t550 5.7.1 suppressed: complaint\n");
    let plain = |n: &u32| format!("u{n}@x.test\n");
    let all = [0, 1, 2];
    is(all.iter().map(access).collect());
    let formats = ["plain", "postfix-access", "hashed", "plain"];
    for format in formats {
        let text = export(&home, "rows").replace("postfix-access", format);
        configure(&home, &text);
        reload(&daemon);
        match format {
            "plain" => is(all.iter().map(plain).collect()),
            "postfix-access" => is(all.iter().map(access).collect()),
            _ => wait_for("the hashes", PATIENCE, || {
                let text = std::fs::read_to_string(home.dir.join("rows")).ok()?;
                (text.lines().count() == 3 && !text.contains('@')).then_some(())
            }),
        }
        assert!(daemon.readyz().body.starts_with("ready"), "{}", daemon.readyz().body);
    }
    daemon.stop();
}

#[test]
fn a_hangup_reloads_and_what_needs_a_restart_is_told() {
    let home = Home::new("");
    let daemon = home.start().ready();
    configure(&home, "[log]\nlevel = \"suppressd=debug\"\n");
    daemon.signal("HUP");
    daemon.until_logged("reloaded seconds=");
    let body = event("delivered", "user@example.com", "m", 1);
    assert_eq!(notify(daemon.http, &body).status, 200);
    daemon.until_logged("webhook: accepted");
    let text = std::fs::read_to_string(home.config()).unwrap();
    let text = text.replacen("/state\"", "/elsewhere\"", 1);
    std::fs::write(home.config(), text).unwrap();
    assert_eq!(reload(&daemon)["restart"], serde_json::json!(["store.path"]));
    assert!(daemon.log().contains("key=\"store.path\""), "{}", daemon.log());
    assert!(!home.dir.join("elsewhere").exists());
    // A stop ends a reload wherever it is.
    daemon.signal("HUP");
    assert!(daemon.stop().trim_end().ends_with("stopped"));
}

#[test]
fn the_private_listener_moves_and_an_open_session_goes_on() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let mut kept = Client::connect(daemon.admin).unwrap();
    let live = |client: &mut Client| {
        client.send("GET", "/livez", &[], b"").unwrap();
        client.answer().unwrap().status
    };
    assert_eq!(live(&mut kept), 200);
    let path = home.dir.join("admin.sock");
    let text = std::fs::read_to_string(home.config()).unwrap();
    let admin = format!("[admin]\nlisten = \"unix:{}\"", path.display());
    std::fs::write(home.config(), text.replacen("[admin]\nlisten = \"127.0.0.1:0\"", &admin, 1))
        .unwrap();
    reload(&daemon);
    assert_eq!(live(&mut kept), 200);
    assert!(path.exists());
    wait_for("the old port's end", PATIENCE, || {
        Client::connect(daemon.admin).is_err().then_some(())
    });
    daemon.stop();
    assert!(!path.exists());
}

/// A certificate of its own, and its key, in files of the home.
fn certificate(home: &Home, days: &str) {
    let (certificate, key) = (home.dir.join("chain.pem"), home.dir.join("key.pem"));
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    openssl.args(["-nodes", "-subj", "/CN=localhost", "-days", days, "-out"]);
    let made = output(openssl.arg(certificate).arg("-keyout").arg(key));
    assert!(made.status.success(), "{made:?}");
}

#[test]
fn a_certificate_is_read_again_when_it_changes() {
    let home = Home::new("");
    certificate(&home, "30");
    let (chain, key) = (home.dir.join("chain.pem"), home.dir.join("key.pem"));
    let keys = format!("tls = {{ certificate = {chain:?}, key = {{ file = {key:?} }} }}");
    home.configure_http(&keys, &source("test"));
    let daemon = home.start().ready();
    let ends = || daemon.metric("suppressd_certificate_expiry_timestamp_seconds").unwrap();
    let first = ends();
    certificate(&home, "3");
    wait_for("the new certificate", PATIENCE, || (ends() < first).then_some(()));
    let problem = || daemon.readyz().body;
    wait_for("a word", PATIENCE, || problem().contains("it ends at").then_some(()));
    // Half of a renewal: the one of before goes on.
    let (half, known) = (std::fs::read(tls::file("key.pem")).unwrap(), ends());
    std::fs::write(&key, half).unwrap();
    wait_for("a word", PATIENCE, || problem().contains("the one of before").then_some(()));
    assert_eq!(ends(), known);
    std::fs::copy(tls::file("certificate.pem"), &chain).unwrap();
    daemon.until_logged("the certificate was read again");
    wait_for("the pair", PATIENCE, || {
        let mut client = tls::connect(daemon.http).ok()?;
        client.send("GET", "/hooks/test", &[], b"").ok()?;
        Some(client.answer().ok()?.status)
    });
    daemon.stop();
}
