//! The log as an operator finds it: folded, with priorities, and after signals that mean nothing.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::support::child::{Guarded, output};
use crate::support::client::{Client, SECRET, event, notify, sign};
use crate::support::daemon::{Home, PATIENCE, PROGRAM, source};
use crate::support::wait_for;

/// How many occurrences the lines with a text stand for, and how many lines they are.
fn told(log: &str, text: &str) -> (u64, usize) {
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(text)).collect();
    let count = |line: &&str| match line.split_once("… and ") {
        Some((_, rest)) => rest.split(' ').next().unwrap().replace(',', "").parse().unwrap(),
        None => 1,
    };
    (lines.iter().map(count).sum(), lines.len())
}

#[test]
fn a_storm_of_refused_requests_is_a_line_a_second_and_all_of_it_is_told() {
    const STORM: u64 = 3_000;
    let home = Home::new("");
    let daemon = home.start_by({
        let mut command = Command::new(PROGRAM);
        command.args(["run", "-c"]).arg(home.config());
        command
    });
    let daemon = daemon.ready();
    let body = event("hard_bounce", "user@example.com", "m", 1);
    let forged = sign("another-secret", body.as_bytes());
    let mut client = Client::connect(daemon.http).unwrap();
    let started = Instant::now();
    for number in 0..STORM {
        let headers = [("x-webhook-signature", forged.as_str())];
        client.send("POST", "/hooks/test", &headers, body.as_bytes()).unwrap();
        assert_eq!(client.answer().unwrap().status, 400);
        client.send("POST", &format!("/hooks/user{number}@x.test"), &[], b"").unwrap();
        let answer = client.answer().unwrap();
        assert_eq!((answer.status, answer.header("connection")), (404, Some("close")));
        client = Client::connect(daemon.http).unwrap();
    }
    let seconds = started.elapsed().as_secs() as usize;
    // The storm is over: what is left of it is told without another request.
    let all = || Some(told(&daemon.log(), "not authentic")).filter(|(told, _)| *told == STORM);
    let (_, lines) = wait_for("the whole storm", PATIENCE, all);
    assert!((2..=seconds + 3).contains(&lines), "{lines} lines in {seconds} s\n{}", daemon.log());
    assert!(daemon.log().contains("more in the last second"), "{}", daemon.log());
    daemon.stop();
}

#[test]
fn why_a_notification_did_not_arrive_is_told_without_quoting_strangers() {
    let home = Home::new("");
    home.configure_http("body_max = \"1KiB\"\nheader_timeout = \"500ms\"\n", &source());
    let daemon = home.start().ready();
    let ask = |path: &str, headers: &[(&str, &str)], body: &[u8]| {
        let mut client = Client::connect(daemon.http).unwrap();
        client.send("POST", path, headers, body).unwrap();
        client.answer().unwrap().status
    };
    let long = "x".repeat(100);
    let many: Vec<(String, &str)> = (0..150).map(|n| (format!("x-{n}"), "1")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, *value)).collect();
    assert_eq!(ask("/hooks/nope", &[], b"{}"), 404);
    assert_eq!(ask("/hooks/test", &[], &[b' '; 5_000]), 413);
    assert_eq!(ask("/hooks/test", &many, b""), 431);
    let mut slow = TcpStream::connect(daemon.http).unwrap();
    slow.write_all(b"POST /hooks/test HTTP/1.1\r\n").unwrap();
    for told in ["status=404 hook=\"nope\"", "status=413 hook=\"test\"", "status=431", "status=408"]
    {
        daemon.until_logged(told);
    }
    for path in ["/hooks/user@x.test", "/%0ahooks", &format!("/hooks/{long}")] {
        assert_eq!(ask(path, &[], b"{}"), 404);
    }
    let log = daemon.stop();
    assert!(log.lines().filter(|line| line.contains("request refused")).all(|l| l.len() < 200));
    assert!(!log.contains("user@x.test") && !log.contains(&long), "{log}");
    assert!(!log.contains("not authentic"), "what is too large is told as that alone: {log}");
}

#[test]
fn writes_over_http_say_what_was_done_and_many_are_a_line_a_second() {
    const WRITES: u64 = 300;
    let home = Home::new("");
    let text = fs::read_to_string(home.config()).unwrap();
    let listen = "[admin]\nlisten = \"127.0.0.1:0\"\n";
    fs::write(home.config(), text.replace(listen, &format!("{listen}token = \"let-me-in\"\n")))
        .unwrap();
    let daemon = home.start().ready();
    let mut client = Client::connect(daemon.admin).unwrap();
    let mut ask = |path: &str, body: &str| {
        let bearer = [("authorization", "Bearer let-me-in")];
        client.send("POST", path, &bearer, body.as_bytes()).unwrap();
        client.answer().unwrap().status
    };
    for (form, status, told) in [
        ("act=add&address=user%40x.test", 303, "what=\"suppress\" peer=127.0.0.1 status=303"),
        ("act=lift&address=user%40x.test", 303, "what=\"lift\" peer=127.0.0.1 status=303"),
        ("act=release&id=7", 400, "what=\"release\" id=\"7\" peer=127.0.0.1 status=400"),
        ("act=lift-held&id=7", 400, "what=\"lift --held\" id=\"7\""),
        ("act=drop&id=1.2.3", 400, "what=\"quarantine drop\" id=\"1.2.3\""),
        (
            "act=replay&id=user%40x.test",
            400,
            "what=\"quarantine replay\" peer=127.0.0.1 status=400",
        ),
        ("act=nothing", 400, "what=\"form\" peer=127.0.0.1 status=400"),
    ] {
        assert_eq!(ask("/act", &format!("{form}&token=let-me-in")), status, "{form}");
        daemon.until_logged(told);
    }
    let started = Instant::now();
    for number in 0..WRITES {
        let body = format!("{{\"address\":\"user{number}@x.test\"}}");
        assert_eq!(ask("/v1/suppressions", &body), 200);
    }
    let seconds = started.elapsed().as_secs() as usize;
    let all = || {
        let (count, lines) = told(&daemon.log(), "write on the private listener");
        (count == WRITES + 7).then_some(lines)
    };
    let lines = wait_for("all writes", PATIENCE, all);
    assert!((7..=7 + seconds + 3).contains(&lines), "{lines} lines in {seconds} s");
    let log = daemon.stop();
    assert!(!log.contains("@x.test"), "{log}");
}

#[test]
fn a_level_that_is_none_stops_the_start_and_warning_is_warn() {
    let home = Home::new("");
    let run = |value: &str, verb: &str| {
        let mut command = Command::new(PROGRAM);
        command.args([verb, "-c"]).arg(home.config()).env("SUPPRESSD_LOG", value);
        let output = output(&mut command);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for value in ["silly", "", "suppressd=silly"] {
        for verb in ["run", "check"] {
            let (code, said) = run(value, verb);
            assert_eq!(code, Some(78), "{value}: {said}");
            assert!(said.contains("SUPPRESSD_LOG") && said.contains("error, warn, info"), "{said}");
        }
    }
    assert_eq!(run("warning", "check").0, Some(0));
    home.configure(&format!("[log]\nlevel = \"warn\"\n{}", source()));
    assert_eq!(run("silly", "check").0, Some(0), "the configuration goes first");
}

#[test]
fn what_was_counted_is_told_at_a_stop() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let mut client = Client::connect(daemon.http).unwrap();
    for _ in 0..20 {
        client.send("POST", "/hooks/test", &[("x-webhook-signature", "00")], b"{}").unwrap();
        assert_eq!(client.answer().unwrap().status, 400);
    }
    let log = daemon.stop();
    assert_eq!(told(&log, "not authentic").0, 20, "{log}");
}

/// What a start that must fail says to the journal, line by line.
fn refused(home: &Home, code: i32) -> Vec<String> {
    let mut command = Command::new(PROGRAM);
    command.args(["run", "-c"]).arg(home.config()).env("JOURNAL_STREAM", "8:1");
    let output = output(&mut command);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said.lines().map(str::to_owned).collect()
}

#[test]
fn what_ends_a_start_is_an_error_to_the_journal() {
    let home = Home::new("[rules]\nhard_bounce = { for = \"never\" }\n[nonsense]\nkey = 1\n");
    let said = refused(&home, 78);
    assert!(said.len() > 1, "each problem has its line: {said:?}");
    assert!(said.iter().all(|line| line.starts_with("<3>")), "{said:?}");
    fs::remove_file(home.config()).unwrap();
    let said = refused(&home, 78);
    assert!(said[0].starts_with("<3>suppressd: "), "{said:?}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let home = Home::new("");
    let text = fs::read_to_string(home.config()).unwrap();
    let listen = format!("listen = \"{}\"", taken.local_addr().unwrap());
    fs::write(home.config(), text.replacen("listen = \"127.0.0.1:0\"", &listen, 1)).unwrap();
    let last = |said: Vec<String>| said.into_iter().next_back().unwrap();
    let said = last(refused(&home, 1));
    assert!(said.starts_with("<3>suppressd: http.listen"), "{said}");

    let home = Home::new("");
    fs::write(home.state(), "a file, and no directory").unwrap();
    let said = refused(&home, 78);
    assert!(said[0].starts_with("<3>suppressd: "), "{said:?}");

    let output = output(Command::new(PROGRAM).arg("runn").env("JOURNAL_STREAM", "8:1"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("<3>error: "), "{said}");
    // A verb whose output a script reads is no part of the daemon's log.
    let mut verb = Command::new(PROGRAM);
    verb.args(["status", "-c"]).arg(home.config()).env("JOURNAL_STREAM", "8:1");
    let said = String::from_utf8(super::support::child::output(&mut verb).stderr).unwrap();
    assert!(said.starts_with("suppressd: "), "{said}");
}

#[test]
fn a_hangup_never_kills() {
    let home = Home::new("");
    let mut daemon = home.start();
    daemon.signal("HUP");
    daemon.until_logged("reloading configuration=");
    let daemon = {
        daemon = daemon.ready();
        daemon.signal("HUP");
        let body = event("hard_bounce", "user@example.com", "m", 1);
        assert_eq!(notify(daemon.http, &body).status, 200);
        daemon
    };
    // In the middle of a stop that waits for half a request.
    let mut half = Client::connect(daemon.http).unwrap();
    let body = event("hard_bounce", "half@example.com", "h", 1);
    // Once answered it is accepted: one that still waits for that would end with the port.
    assert_eq!(half.notify(&body).unwrap().status, 200);
    let signature = sign(SECRET, body.as_bytes());
    let head = format!(
        "POST /hooks/test HTTP/1.1\r\nhost: x\r\nx-webhook-signature: {signature}\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    std::io::Write::write_all(&mut half.0, head.as_bytes()).unwrap();
    daemon.signal("TERM");
    daemon.until_logged("stopping signal=\"SIGTERM\"");
    daemon.signal("HUP");
    std::io::Write::write_all(&mut half.0, body.as_bytes()).unwrap();
    assert_eq!(half.answer().unwrap().status, 200);
    let log = daemon.stop();
    assert!(log.trim_end().ends_with("stopped"), "{log}");
}

/// A file with no end yet, so that the start waits where it reads its configuration.
#[test]
fn a_hangup_while_the_configuration_is_read_does_not_kill() {
    let home = Home::new("");
    let text = fs::read(home.config()).unwrap();
    fs::remove_file(home.config()).unwrap();
    nix::unistd::mkfifo(&home.config(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["run", "-c"]).arg(home.config());
    let mut child = Guarded::spawn(command.stderr(std::process::Stdio::piped()));
    // Opens when the program opens it for reading.
    let mut pipe = fs::OpenOptions::new().write(true).open(home.config()).unwrap();
    child.signal("HUP");
    std::io::Write::write_all(&mut pipe, &text).unwrap();
    drop(pipe);
    let mut log = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut whole = String::new();
    while !whole.contains("reloading configuration=") {
        let read = std::io::BufRead::read_line(&mut log, &mut whole).unwrap();
        assert!(read > 0, "it ended: {:?}\n{whole}", child.wait());
    }
    child.signal("TERM");
    child.ended();
}

#[test]
fn a_line_is_an_object_where_that_is_wanted() {
    let home = Home::new("[log]\nformat = \"text\"\n");
    let daemon = home.start().ready();
    let text = fs::read_to_string(home.config()).unwrap();
    fs::write(home.config(), text.replace("\"text\"", "\"json\"")).unwrap();
    assert!(daemon.cli(&["reload"]).status.success());
    assert!(daemon.cli(&["add", "a@x.test"]).status.success());
    let log = daemon.stop();
    let objects: Vec<Value> =
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let said = |message: &str| objects.iter().any(|object| object["message"] == message);
    assert!(said("command from the control socket"), "{log}");
    for object in &objects {
        assert!(object["time"].as_str().unwrap().ends_with('Z'), "{object}");
        assert!(["info", "warn"].contains(&object["level"].as_str().unwrap()), "{object}");
    }
    let last = log.lines().last().unwrap();
    assert!(serde_json::from_str::<Value>(last).is_ok(), "{last}");
}
