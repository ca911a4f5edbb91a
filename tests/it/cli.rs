//! The command line as a user has it: the program is run against a stand-in for the daemon.
//!
//! A case is two files in `tests/fixtures/cli`: what is typed, sent and answered (`.json`), and
//! what is then read (`.txt`). With `BLESS=1` the latter are written anew.

use crate::support::child::Guarded;
use crate::support::client::SECRET;
use crate::support::daemon::{Home, PROGRAM};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::{Value, json};

const VERBS: &[&[&str]] = &[
    &["run"],
    &["check"],
    &["status"],
    &["lookup"],
    &["explain"],
    &["list"],
    &["add"],
    &["lift"],
    &["source"],
    &["source", "retire"],
    &["events"],
    &["providers"],
    &["poll"],
    &["export"],
    &["import"],
    &["trigger"],
    &["verify"],
    &["backup"],
    &["restore"],
    &["quarantine"],
    &["quarantine", "list"],
    &["quarantine", "show"],
    &["quarantine", "replay"],
    &["quarantine", "drop"],
    &["completions"],
    &["man"],
];

#[test]
fn who_watches_sees_the_daemon_go_and_come_back() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let mut command = Command::new(PROGRAM);
    command.args(["status", "--watch", "-c"]).arg(home.config()).stdout(Stdio::piped());
    let mut child = Guarded::spawn(&mut command);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut until = |text: &str| assert!(lines.any(|line| line.contains(text)), "{text}");
    until(": ready");
    daemon.stop();
    until("is not running");
    let _daemon = home.start().ready();
    until(": ready");
}

#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_suppressd"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str], stdin: &str) -> Ended {
    let mut child = Guarded::spawn(program(arguments).stdin(Stdio::piped()));
    // A program that does not read it may be gone already.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.output();
    Ended {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A folder with a configuration that names a control socket, and perhaps a daemon behind it.
struct Host {
    folder: tempfile::TempDir,
    config: String,
}

impl Host {
    fn new() -> Host {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.toml");
        let socket = folder.path().join("control.sock");
        fs::write(&config, format!("[control]\nsocket = {socket:?}\n")).unwrap();
        Host { config: config.to_str().unwrap().to_owned(), folder }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    fn run(&self, arguments: &[&str], stdin: &str) -> Ended {
        run(&[&["-c", &self.config], arguments].concat(), stdin)
    }

    /// Answers each connection with these lines; tells what each had sent.
    fn answer(&self, lines: String) -> Receiver<Value> {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let (tell, told) = channel();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut line = String::new();
                BufReader::new(&stream).read_line(&mut line).unwrap();
                if tell.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
                // A client that has seen enough closes early.
                let _ = stream.write_all(lines.as_bytes());
            }
        });
        told
    }
}

/// Answers so many connections at once, once all of them have asked, the last first.
fn answer_together(
    host: &Host,
    together: usize,
    answer: impl Fn(&Value) -> String + Send + 'static,
) {
    let listener = UnixListener::bind(host.socket()).unwrap();
    thread::spawn(move || {
        let mut clients = listener.incoming().map_while(Result::ok);
        loop {
            let mut asked = Vec::new();
            for stream in clients.by_ref().take(together) {
                let mut line = String::new();
                BufReader::new(&stream).read_line(&mut line).unwrap();
                asked.push((stream, serde_json::from_str::<Value>(&line).unwrap()));
            }
            for (mut stream, command) in asked.into_iter().rev() {
                stream.write_all(answer(&command).as_bytes()).unwrap();
            }
        }
    });
}

#[test]
fn a_long_list_of_addresses_goes_in_several_portions_at_once() {
    let addresses: Vec<String> = (0..8_000).map(|n| format!("u{n:04}@x.test")).collect();
    let answered = |command: &Value| -> String {
        let of = command["addresses"].as_array().unwrap();
        if of.contains(&json!("u1000@x.test")) && command["note"] == "no" {
            return json!({"reply": "failed", "error": "no room", "usage": false}).to_string()
                + "\n";
        }
        let rows: Vec<Value> = of.iter().map(|address| json!({ "address": address })).collect();
        done(&rows)
    };
    for (verb, note) in [("add", "yes"), ("lift", "yes"), ("add", "no")] {
        let host = Host::new();
        answer_together(&host, 4, answered);
        let ended = host.run(&[verb, "-", "--note", note, "--json"], &addresses.join("\n"));
        let row = |line: &str| serde_json::from_str::<Value>(line).unwrap()["address"].clone();
        let shown: Vec<Value> = ended.out.lines().map(row).collect();
        if note == "yes" {
            assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{verb}");
            assert_eq!(shown, addresses, "{verb}: in their order");
        } else {
            assert_eq!(ended.code, 1, "{}", ended.err);
            assert_eq!(shown, [&addresses[..1_000], &addresses[2_000..4_000]].concat());
            assert!(ended.err.contains("no room"), "{}", ended.err);
            assert!(ended.err.contains("ended after 3000 rows of 8000"), "{}", ended.err);
        }
    }
}

fn rows(rows: &[Value]) -> String {
    rows.iter().map(|row| json!({"reply": "row", "row": row}).to_string() + "\n").collect()
}

fn done(given: &[Value]) -> String {
    rows(given) + "{\"reply\":\"done\"}\n"
}

fn check(case: &Path) {
    let name = case.file_stem().unwrap().to_str().unwrap();
    let given: Value = serde_json::from_slice(&fs::read(case).unwrap()).unwrap();
    let list = |key: &str| given[key].as_array().cloned().unwrap_or_default();
    let arguments = list("args");
    let arguments: Vec<&str> = arguments.iter().map(|text| text.as_str().unwrap()).collect();
    let stdin = given["stdin"].as_str().unwrap_or_default();
    let mut answer: String = list("progress").iter().map(|reply| format!("{reply}\n")).collect();
    answer += &rows(&list("rows"));
    let mut end = json!({"reply": "done"});
    if let Some(failed) = given["failed"].as_object() {
        end = json!({"reply": "failed", "error": failed["error"], "usage": failed["usage"]});
    }
    answer += &format!("{end}\n");

    let host = Host::new();
    let told = host.answer(answer);
    let ended = host.run(&arguments, stdin);
    assert_eq!(told.try_iter().collect::<Vec<_>>(), list("sent"), "{name}: {ended:?}");
    assert_eq!(Some(i64::from(ended.code)), given["code"].as_i64(), "{name}: {ended:?}");
    let mut text = ended.out;
    if !ended.err.is_empty() {
        text += &format!("--- standard error\n{}", ended.err);
    }
    let expected = case.with_extension("txt");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&expected, &text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(&expected).unwrap(), "{name}");

    let ended = host.run(&[&arguments[..], &["--json"]].concat(), stdin);
    assert_eq!(told.try_iter().collect::<Vec<_>>(), list("sent"), "{name} --json");
    assert_eq!(Some(i64::from(ended.code)), given["code"].as_i64(), "{name} --json: {ended:?}");
    let expected: String = list("rows").iter().map(|row| format!("{row}\n")).collect();
    assert_eq!(ended.out, expected, "{name} --json");
}

#[test]
fn every_verb_sends_its_command_and_prints_its_rows() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cli");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases.iter().for_each(|case| check(case));
}

#[test]
fn what_makes_no_sense_is_a_usage_error_and_sends_nothing() {
    let host = Host::new();
    let told = host.answer(done(&[]));
    for (arguments, says) in [
        (&[][..], "Usage"),
        (&["explode"], "unrecognized subcommand"),
        (&["status", "--what"], "unexpected argument"),
        (&["lookup"], "required"),
        (&["lookup", "nobody"], "\"nobody\": the address does not have exactly one @"),
        (&["explain", "a@b@c.example"], "the address does not have"),
        (&["list", "--reason", "bounce"], "there are: complaint, hard_bounce,"),
        (&["list", "--source", "A b"], "a source's name is"),
        (&["list", "--scope", "news"], "a scope is `global` or `stream:NAME`"),
        (&["list", "--domain", "a@b.example"], "not a domain name"),
        (&["list", "--since", "yesterday"], "a time is 2026-06-15T10:32:11Z"),
        (&["list", "--since", "1h", "--until", "2h"], "is not before --until"),
        (&["add", "a@b.example", "--for", "0s"], "at least a second"),
        (&["add", "a@b.example", "--note", "a\nb"], "a note is one line"),
        (&["lift"], "lift needs an address, or a filter"),
        (&["lift", "--dry-run", "--note", "x"], "lift needs an address, or a filter"),
        (&["lift", "-"], "standard input has no addresses"),
        (&["lift", "-", "--domain", "b.example"], "standard input has no addresses"),
        (&["events", "--kind", "bounce"], "there are: accepted, delivered,"),
        (&["events", "--follow", "--until", "1h"], "cannot be used with"),
        (&["poll", "A"], "a source's name is"),
        (&["trigger", "acme", "bounce", "a@b.example"], "no such kind"),
        (&["trigger", "acme", "delivered", "b.example"], "the address does not have"),
        (&["quarantine", "drop"], "required"),
        (&["quarantine", "replay", "q1", "--all"], "cannot be used with"),
        (&["completions", "cmd"], "invalid value"),
    ] {
        let ended = host.run(arguments, "");
        assert_eq!(ended.code, 64, "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(says), "{arguments:?}: {}", ended.err);
        assert_eq!(ended.out, "", "{arguments:?}");
    }
    assert_eq!(told.try_iter().count(), 0);
}

#[test]
fn addresses_from_standard_input_are_all_checked_before_any_is_sent() {
    let host = Host::new();
    let told = host.answer(done(&[]));
    let ended = host.run(&["add", "-"], "a@b.example\nnobody\n\n@\n");
    assert_eq!(ended.code, 64);
    for line in ["line 2: \"nobody\"", "line 4: \"@\""] {
        assert!(ended.err.contains(line), "{}", ended.err);
    }
    assert_eq!(told.try_iter().count(), 0);

    // Many go out in portions that fit the socket's line, in whatever order these come.
    let many: String = (0..2_500).map(|n| format!("u{n}@b.example\n")).collect();
    assert_eq!(host.run(&["add", "-"], &many).code, 0);
    let sent: Vec<Value> = told.try_iter().collect();
    let count = |command: &Value| command["addresses"].as_array().unwrap().len();
    let mut counts: Vec<usize> = sent.iter().map(count).collect();
    counts.sort_unstable();
    assert_eq!(counts, [500, 1_000, 1_000]);
}

#[test]
fn a_daemon_that_is_not_there_is_said_plainly() {
    let host = Host::new();
    let socket = host.socket();
    let says = format!(
        "suppressd: suppressd is not running (no answer on {}); \
         start it with `systemctl start suppressd` or `suppressd run`\n",
        socket.display()
    );
    let absent = host.run(&["status"], "");
    assert_eq!((absent.code, &absent.err), (1, &says));
    // A socket that a dead process left behind.
    drop(UnixListener::bind(&socket).unwrap());
    let dead = host.run(&["list", "--json"], "");
    assert_eq!((dead.code, &dead.err, &*dead.out), (1, &says, ""));
}

#[test]
fn a_daemon_that_goes_away_or_talks_nonsense_is_a_failure() {
    for (answer, says) in [
        (
            "",
            concat!(
                "suppressd: suppressd closed the connection 4 times before it had heard the ",
                "command, and has done nothing: it is stopping, or has too many connections; ",
                "try again\n"
            ),
        ),
        (
            "{\"reply\":\"row\",\"row\":{}}\n",
            concat!(
                "suppressd: the connection ended before suppressd had answered: it has stopped, ",
                "or what it sent was not read for too long, or not while others needed the place\n"
            ),
        ),
        ("220 mail.example ESMTP\n", "answered something else than suppressd does"),
        ("{\"reply\":\"done\"}\n", "suppressd: suppressd gave no answer\n"),
    ] {
        let host = Host::new();
        let _told = host.answer(answer.to_owned());
        let ended = host.run(&["status"], "");
        assert_eq!(ended.code, 1, "{answer:?}");
        assert!(ended.err.contains(says), "{answer:?}: {}", ended.err);
    }
}

#[test]
fn no_permission_comes_with_a_hint() {
    let host = Host::new();
    let _told = host.answer(done(&[]));
    fs::set_permissions(host.socket(), fs::Permissions::from_mode(0o000)).unwrap();
    if std::os::unix::net::UnixStream::connect(host.socket()).is_ok() {
        return; // Root may do anything.
    }
    let ended = host.run(&["status"], "");
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("run this as root, or join the group"), "{}", ended.err);
}

#[test]
fn a_named_configuration_must_be_readable_and_nothing_more() {
    for verb in ["status", "check", "run"] {
        let ended = run(&["-c", "/nonexistent/config.toml", verb], "");
        assert_eq!(ended.code, 78, "{verb}: {ended:?}");
        assert!(ended.err.contains("/nonexistent/config.toml"), "{}", ended.err);
    }
    // What is wrong with the rest does not matter to a verb that only wants the socket.
    let host = Host::new();
    let broken = fs::read_to_string(&host.config).unwrap() + "[http]\nlisten = 7\nnonsense = [\n";
    fs::write(&host.config, broken).unwrap();
    let told = host.answer(done(&[json!({"state": "ready"})]));
    assert_eq!(host.run(&["status"], "").code, 0);
    assert_eq!(told.try_iter().count(), 1);
    for verb in [&["check"][..], &["check", "--json"], &["run"]] {
        let ended = host.run(verb, "");
        assert_eq!(ended.code, 78, "{verb:?}: {ended:?}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let host = Host::new();
    let row = json!({"address": "user@example.com", "reason": "manual"});
    let _told = host.answer(done(&vec![row; 20_000]));
    for form in [&["list"][..], &["list", "--json"], &["events", "--follow"]] {
        let mut command = program(&[&["-c", &host.config], form].concat());
        let mut child = Guarded::spawn(command.stdin(Stdio::null()));
        let mut head = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut head).unwrap();
        let output = child.output();
        assert_eq!(output.status.code(), Some(0), "{form:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{form:?}");
    }
}

#[test]
fn help_version_completions_and_the_manual_need_no_daemon() {
    for verb in VERBS {
        let ended = run(&[verb, &["--help"][..]].concat(), "");
        assert_eq!((ended.code, &*ended.err), (0, ""), "{verb:?}");
        assert!(ended.out.contains(&format!("Usage: suppressd {}", verb.join(" "))), "{verb:?}");
    }
    let help = run(&["--help"], "").out;
    let manual = run(&["man"], "").out;
    for verb in VERBS {
        assert!(help.contains(&format!("\n  {} ", verb[0])), "{verb:?}");
        assert!(manual.contains(&format!("\n\\fB{}\\fR\n", verb.join(" "))), "{verb:?}");
        let page = run(&[&["man"], *verb].concat(), "").out;
        for section in ["NAME", "SYNOPSIS", "\"EXIT STATUS\"", "ENVIRONMENT", "FILES"] {
            assert!(page.contains(&format!("\n.SH {section}\n")), "{verb:?}: {section}");
        }
    }
    // Each page has the statuses of its verb.
    for (verb, has, lacks) in [
        ("lookup", "\\fB3\\fR\nSome address", "\\fB4\\fR"),
        ("status", "\\fB4\\fR\nDegraded", "\\fB3\\fR"),
        ("add", "\\fB1\\fR\nFailed", "\\fB3\\fR"),
    ] {
        let page = run(&["man", verb], "").out;
        assert!(page.contains(has) && !page.contains(lacks), "{verb}: {page}");
    }
    assert!(manual.contains("\\fB3\\fR\nOf \\fBlookup\\fR: Some address"), "{manual}");
    assert_eq!(run(&["--version"], "").out, concat!("suppressd ", env!("CARGO_PKG_VERSION"), "\n"));
    for shell in ["bash", "zsh", "fish"] {
        let ended = run(&["completions", shell], "");
        assert!(ended.code == 0 && ended.out.contains("quarantine"), "{shell}");
    }
}

#[test]
fn providers_are_listed_and_each_shows_the_block_to_begin_with() {
    let rows = run(&["providers", "--json"], "").out;
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap();
    assert_eq!(row("zeptomail")["webhook"], "HMAC-SHA256 in header producer-signature");
    assert_eq!((&row("mailgun")["push"], &row("postal")["push"]), (&true.into(), &false.into()));
    let table = run(&["providers"], "");
    assert_eq!((table.code, table.out.lines().count()), (0, rows.len() + 1));
    for row in &rows {
        let name = row["name"].as_str().unwrap();
        let ended = run(&["providers", name], "");
        let says = format!("provider = {}", row["provider"]);
        assert!(ended.code == 0 && ended.out.contains(&says), "{name}: {}", ended.out);
        assert!(ended.out.contains("[[source]]"), "{name}: {}", ended.out);
    }
    let unknown = run(&["providers", "pigeon"], "");
    assert!(unknown.code == 64 && unknown.err.contains("sweego"), "{}", unknown.err);
}

#[test]
fn a_reload_that_finds_nobody_says_where_the_daemon_may_be() {
    let ended = Host::new().run(&["reload"], "");
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("it still listens on the old path"), "{}", ended.err);
}

/// What bash offers for a line, by the script that is printed for it.
fn completed(home: &Path, line: &[&str]) -> Vec<String> {
    let script = run(&["completions", "bash"], "").out;
    let words = line.join(" ");
    let text = format!(
        "{script}\nset -- $(complete -p suppressd)\nwhile [ \"$1\" != -F ]; do shift; done\n\
         COMP_WORDS=({words} '') COMP_CWORD={} COMP_LINE='{words} '\n\
         $2 suppressd '' ''\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
        line.len()
    );
    let mut bash = Command::new("bash");
    bash.args(["-c", &text]).current_dir(home).env("SUPPRESSD_CONFIG", "of-environment.toml");
    let bash = bash.output();
    let output = bash.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn a_shell_completes_the_values_of_options_and_the_names_of_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let text = "[[source]]\nname = \"acme\"\n[[export]]\nname = \"transport\"\n";
    std::fs::write(directory.path().join("config.toml"), text).unwrap();
    let text = "[[source]]\nname = \"of-environment\"\n";
    std::fs::write(directory.path().join("of-environment.toml"), text).unwrap();
    for (line, offered) in [
        (&["suppressd", "list", "--reason"][..], "soft_bounces"),
        (&["suppressd", "events", "--kind"], "hard_bounce"),
        (&["suppressd", "events", "--class"], "no_mailbox"),
        (&["suppressd", "lift", "--class"], "no_mailbox"),
        (&["suppressd", "list", "--scope"], "global"),
        (&["suppressd", "list", "--source"], "operator"),
        (&["suppressd", "config"], "http.body_max"),
        (&["suppressd", "classify", "--provider"], "sendgrid"),
        (&["suppressd", "-c", "config.toml", "list", "--source"], "acme"),
        (&["suppressd", "-c", "config.toml", "export"], "transport"),
        (&["suppressd", "--config=config.toml", "list", "--source"], "acme"),
        (&["suppressd", "list", "--source"], "of-environment"),
        (&["suppressd", "providers"], "lettermint"),
        (&["suppressd", "quarantine"], "replay"),
    ] {
        let all = completed(directory.path(), line);
        assert!(all.iter().any(|value| value == offered), "{line:?}: {all:?}");
    }
}

#[test]
fn what_is_set_and_what_a_key_means_is_told_without_secrets() {
    let home = Home::new("");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.arg("config").args(arguments).arg("-c").arg(home.config());
        let output = command.env("SUPPRESSD_LOG", "debug").output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (code, said) = run(&[]);
    assert_eq!(code, Some(0), "{said}");
    for word in
        ["http.listen", "127.0.0.1:0", "line 4", "source[1].webhook.secret", "SUPPRESSD_LOG"]
    {
        assert!(said.contains(word), "{word}: {said}");
    }
    let (_, json) = run(&["--json"]);
    for told in [&said, &json] {
        assert!(!told.contains(SECRET), "{told}");
    }
    let rows: Vec<Value> = json.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    assert!(rows[0]["key"].is_string() && rows[0]["line"].is_u64(), "{rows:?}");
    for (key, default) in [
        ("store.path", "\"/var/lib/suppressd\""),
        ("http.listen", "\"127.0.0.1:8025\""),
        ("control.socket", "\"/run/suppressd/control.sock\""),
        ("log.level", "\"info\""),
    ] {
        let row = rows.iter().find(|row| row["key"] == key).unwrap();
        assert_eq!(row["default"], default, "{key}");
    }
    let (code, said) = run(&["http.listen"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("\"systemd\"") && said.contains("here: http.listen"), "{said}");
    let (code, said) = run(&["no_such_key"]);
    assert_eq!(code, Some(64), "{said}");
}
