//! Telling other programs: signed and in order, each once and again after a crash, whoever is away.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::support::child::Guarded;
use crate::support::client::{event, notify};
use crate::support::daemon::{Home, PATIENCE};
use crate::support::{available, wait_for};

const OLD: &str = "whsec_b2xkLXNlY3JldC1vZi10aGUtcmVjZWl2ZXItMDEyMw==";
pub(crate) const NEW: &str = "whsec_bmV3LXNlY3JldC1vZi10aGUtcmVjZWl2ZXItMDEyMw==";

/// What a receiver was told: the id, and the body.
pub(crate) type Told = (String, Value);

/// A receiver on loopback that verifies each request by one secret.
pub(crate) struct Program {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    told: Vec<Told>,
    problems: Vec<String>,
    /// The status that it answers; 0 for 200.
    status: u16,
    refused: usize,
    ended: bool,
}

impl Drop for Program {
    fn drop(&mut self) {
        self.state.lock().unwrap().ended = true;
        // The accepting thread looks when somebody connects.
        let _ = TcpStream::connect(self.address);
    }
}

impl Program {
    pub(crate) fn start(secret: &'static str) -> Program {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.lock().unwrap().ended {
                    break;
                }
                let (stream, state) = (stream.unwrap(), Arc::clone(&shared));
                std::thread::spawn(move || while serve(&stream, secret, &state).is_some() {});
            }
        });
        Program { address, state }
    }

    fn answers(&self, status: u16) {
        self.state.lock().unwrap().status = status;
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        let state = self.state.lock().unwrap();
        assert_eq!(state.problems, Vec::<String>::new());
        state.told.clone()
    }

    /// Waits until it was told so many different things.
    fn until_told(&self, number: usize) -> BTreeMap<String, Value> {
        wait_for("the messages", PATIENCE, || {
            let told: BTreeMap<String, Value> = self.told().into_iter().collect();
            (told.len() >= number).then_some(told)
        })
    }
}

/// One request and its answer. `None`: the connection has ended.
fn serve(mut stream: &TcpStream, secret: &str, state: &Mutex<State>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut headers, mut line) = (BTreeMap::new(), String::new());
    while reader.read_line(&mut line).ok()? > 0 && line != "\r\n" {
        if let Some((name, value)) = line.trim_end().split_once(": ") {
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        line.clear();
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
    let (id, time) = (header("webhook-id"), header("webhook-timestamp"));
    let key = BASE64.decode(secret.strip_prefix("whsec_").unwrap().as_bytes()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(&[format!("{id}.{time}.").as_bytes(), &body].concat());
    let right = format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()));
    let mut state = state.lock().unwrap();
    if !header("webhook-signature").split(' ').any(|signature| signature == right) {
        state.problems.push(format!("{id} is not signed by us"));
    }
    let status = if state.status == 0 { 200 } else { state.status };
    if status == 200 {
        state.told.push((id, serde_json::from_slice(&body).unwrap()));
    } else {
        state.refused += 1;
    }
    drop(state);
    let answer = format!("HTTP/1.1 {status} X\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes()).ok()
}

pub(crate) fn forward(program: &Program, secret: &str, events: &str) -> String {
    let url = format!("http://{}/hooks", program.address);
    format!(
        "[[forward]]\nname = \"app\"\nurl = \"{url}\"\nsecret = {secret}\nevents = [{events}]\n"
    )
}

const TURNS: &str = "\"suppression.added\", \"suppression.lifted\"";

#[test]
fn a_program_is_told_of_suppressions_and_events_in_their_order() {
    let program = Program::start(OLD);
    let events = format!("{TURNS}, \"event.hard_bounce\"");
    // The receiver knows the old secret alone: each request is signed by both.
    let home = Home::new(&forward(&program, &format!("[\"{NEW}\", \"{OLD}\"]"), &events));
    let daemon = home.start();
    // What comes before the store is open is not before the forward.
    notify(daemon.http, &event("hard_bounce", "User@example.org", "m1", 1));
    let daemon = daemon.ready();
    notify(daemon.http, &event("delivered", "fine@example.org", "m2", 2));
    daemon.until_suppressed("user@example.org");
    daemon.rows(&["lift", "user@example.org"]);
    program.until_told(3);
    let told = program.told();
    let kinds: Vec<&str> = told.iter().map(|(_, body)| body["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["event.hard_bounce", "suppression.added", "suppression.lifted"]);
    assert_eq!(told[0].1["data"]["diagnostic"], "550 5.1.1 no such user");
    let added = &told[1].1["data"];
    assert_eq!(added["address"], "User@example.org");
    assert_eq!((&added["reason"], &added["sources"][0]), (&"hard_bounce".into(), &"test".into()));
    assert_eq!(told[2].1["data"]["reason"], "hard_bounce");
    let status = daemon.rows(&["status"]).remove(0);
    let forward = &status["forwards"][0];
    assert_eq!((&forward["name"], &forward["sent"]), (&"app".into(), &3.into()));
    assert_eq!(daemon.metric("suppressd_forward_sent_total{forward=\"app\"}"), Some(3.0));
    let (code, _) = daemon.answer(&["forward", "replay", "app", "--since", "1h"]);
    assert_eq!(code, 0);
    wait_for("all of it again", PATIENCE, || (program.told().len() == 6).then_some(()));
    let again: Vec<Told> = program.told().split_off(3);
    assert_eq!(again, told, "with the same ids");
    assert_eq!(daemon.answer(&["forward", "replay", "none", "--since", "1h"]).0, 64);
    assert_eq!(daemon.answer(&["forward", "replay", "app", "--since", "2199-01-01"]).0, 64);
}

#[test]
fn no_crash_and_no_absence_of_a_receiver_loses_anything() {
    let program = Program::start(OLD);
    program.answers(503);
    let home = Home::new(&forward(&program, &format!("\"{OLD}\""), TURNS));
    let mut daemon = home.start().ready();
    let failing = "suppressd_forward_failures_total{forward=\"app\"}";
    for round in 0..3 {
        for number in 0..20 {
            let address = format!("r{round}n{number}@example.org");
            notify(daemon.http, &event("hard_bounce", &address, &address, number));
        }
        wait_for("a failure", PATIENCE, || (daemon.metric(failing)? > 0.0).then_some(()));
        assert!(daemon.rows(&["status"])[0]["forwards"][0]["error"].is_string());
        daemon.kill();
        daemon = home.start().ready();
    }
    program.answers(200);
    let told = program.until_told(60);
    let mut addresses: Vec<&str> =
        told.values().map(|body| body["data"]["address"].as_str().unwrap()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), 60);
    let well = || (daemon.rows(&["status"])[0]["forwards"][0]["lag_seconds"] == 0).then_some(());
    wait_for("nothing waits", PATIENCE, well);
    let before = program.told().len();
    daemon.stop();
    let daemon = home.start().ready();
    notify(daemon.http, &event("complaint", "last@example.org", "m", 1));
    wait_for("the last", PATIENCE, || (program.told().len() > before).then_some(()));
    let (_, last) = program.told().pop().unwrap();
    assert_eq!(last["data"]["address"], "last@example.org", "what was taken is not told again");
}

#[test]
fn a_file_has_a_line_for_each_and_may_be_moved() {
    let home = Home::new("");
    let path = home.dir.join("events.jsonl");
    let forward = format!(
        "[[forward]]\nname = \"lines\"\nfile = \"{}\"\nevents = [\"event.delivered\"]\n",
        path.display()
    );
    home.configure(&(crate::support::daemon::source() + &forward));
    let daemon = home.start().ready();
    let lines = |number: usize| {
        wait_for("the lines", PATIENCE, || {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<Value> =
                text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            (lines.len() == number).then_some(lines)
        })
    };
    for number in 0..5 {
        let message = format!("m{number}");
        notify(daemon.http, &event("delivered", "a@example.org", &message, number));
    }
    let told = lines(5);
    let messages: Vec<&str> =
        told.iter().map(|line| line["data"]["message_id"].as_str().unwrap()).collect();
    assert_eq!(messages, ["m0", "m1", "m2", "m3", "m4"]);
    assert!(told[0]["id"].as_str().unwrap().starts_with("evt_"));
    std::fs::rename(&path, home.dir.join("events.jsonl.1")).unwrap();
    notify(daemon.http, &event("delivered", "a@example.org", "m5", 9));
    assert_eq!(lines(1)[0]["data"]["message_id"], "m5");
}

#[test]
fn a_forward_that_cannot_be_is_told_with_its_remedy() {
    for (text, problem) in [
        ("name = \"a\"", "forward[1].url"),
        ("name = \"a\"\nurl = \"http://app.example.com/\"\nsecret = \"x\"", "https"),
        ("name = \"a\"\nurl = \"https://app.example.com/\"", "forward[1].secret"),
        ("name = \"a\"\nfile = \"/x\"\nevents = [\"suppression.gone\"]", "suppression.added"),
        ("name = \"a\"\nfile = \"/x\"\nevents = []", "empty list"),
        ("name = \"A b\"\nfile = \"/x\"", "is not a name"),
    ] {
        let home = Home::new(&format!("[[forward]]\n{text}\n"));
        let output = crate::support::daemon::cli(&home.config(), &["check"]);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(problem), "{problem} is not in\n{said}");
    }
}

/// Where `.ci/run` puts modules of Node.js.
fn modules() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_suppressd")).ancestors().nth(2).unwrap();
    target.join("browser/node_modules")
}

#[test]
fn the_library_of_the_standard_finds_what_is_told_authentic() {
    let missing = (!modules().join("standardwebhooks").exists())
        .then(|| "the module standardwebhooks is not installed".to_owned());
    if !available("what a library of Standard Webhooks says", missing) {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/receiver.cjs");
    let mut command = Command::new("node");
    command.env("NODE_PATH", modules()).arg(script).arg(OLD);
    let mut receiver = Guarded::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
    let lines = BufReader::new(receiver.stdout.take().unwrap()).lines().map_while(Result::ok);
    let (send, said) = mpsc::channel();
    std::thread::spawn(move || lines.map(|line| send.send(line)).for_each(drop));
    let line = || said.recv_timeout(PATIENCE).unwrap();
    let port: u16 = line().parse().unwrap();
    let forward = |secret: &str| {
        format!(
            "[[forward]]\nname = \"app\"\nurl = \"http://127.0.0.1:{port}/\"\nsecret = {secret}\n"
        )
    };
    let home = Home::new(&forward(&format!("\"{NEW}\"")));
    let daemon = home.start().ready();
    notify(daemon.http, &event("complaint", "J\u{f6}rg@example.org", "m1", 1));
    assert!(line().starts_with("forged "), "another secret is none of the receiver's");
    // The old secret goes on, and the new one is known already.
    let both = forward(&format!("[\"{NEW}\", \"{OLD}\"]"));
    home.configure(&(crate::support::daemon::source() + &both));
    assert_eq!(daemon.answer(&["reload"]).0, 0);
    let told = wait_for("what is authentic", PATIENCE, || {
        Some(line()).filter(|line| !line.starts_with("forged "))
    });
    assert!(told.ends_with(" suppression.added J\u{f6}rg@example.org"), "{told}");
}
