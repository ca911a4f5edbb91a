//! Starting and stopping: what systemd is told, who gets an answer, and what a start refuses.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::client::{Client, SECRET, event, notify, request, sign};
use crate::support::daemon::{Daemon, Home, PATIENCE, PROGRAM, cli, source};
use crate::support::{available, wait_for};

/// Longest stop without anything to wait for.
const QUICK: Duration = Duration::from_secs(8);

/// Longest stop with a request that never ends: ten seconds to drain, and a busy machine.
const DRAINED: Duration = Duration::from_secs(25);

fn run(home: &Home) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["run", "-c"]).arg(home.config());
    command
}

/// Changes a part of the configuration that must be there.
fn replace(home: &Home, from: &str, to: &str) {
    let text = fs::read_to_string(home.config()).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(home.config(), text.replacen(from, to, 1)).unwrap();
}

fn missing(program: &str) -> Option<String> {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).status();
    found.is_err().then(|| format!("{program} is not installed"))
}

/// A `POST` with only the first half of its body.
fn half_a_notification(daemon: &Daemon, body: &str) -> Client {
    let signature = sign(SECRET, body.as_bytes());
    let head = format!(
        "POST /hooks/test HTTP/1.1\r\nhost: x\r\nx-webhook-signature: {signature}\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    let mut client = Client::connect(daemon.http).unwrap();
    client.0.write_all(&[head.as_bytes(), &body.as_bytes()[..20]].concat()).unwrap();
    client
}

#[test]
fn systemd_is_told_when_it_is_ready_alive_and_stopping() {
    let home = Home::new("");
    let path = home.dir.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = || {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).trim().to_owned()
    };
    let mut command = run(&home);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    let daemon = home.start_by(command);
    while heard() != "READY=1" {}
    // Whoever is ready answers at once.
    assert_eq!(daemon.readyz().status, 200, "{}", daemon.readyz().body);
    let body = event("hard_bounce", "user@example.com", "m", 1);
    assert_eq!(notify(daemon.http, &body).status, 200);
    assert!(daemon.cli(&["status"]).status.success());
    for _ in 0..3 {
        assert_eq!(heard(), "WATCHDOG=1");
    }
    daemon.signal("TERM");
    let last = wait_for("STOPPING=1", PATIENCE, || Some(heard()).filter(|m| m != "WATCHDOG=1"));
    assert_eq!(last, "STOPPING=1");
    daemon.stop();
}

#[test]
fn a_stop_waits_for_requests_in_flight_and_cuts_what_never_ends() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let body = event("hard_bounce", "in-flight@example.com", "m", 1);
    let mut good = half_a_notification(&daemon, &body);
    let mut never = half_a_notification(&daemon, &body);
    let mut idle = Client::connect(daemon.http).unwrap();
    assert_eq!(idle.notify(&event("delivered", "idle@example.com", "i", 2)).unwrap().status, 200);
    let started = Instant::now();
    daemon.signal("TERM");
    daemon.until_logged("stopping signal=\"SIGTERM\"");
    wait_for("the closed port", PATIENCE, || Client::connect(daemon.http).err());
    assert_eq!(idle.0.read(&mut [0]).unwrap(), 0, "an idle connection is closed");
    good.0.write_all(&body.as_bytes()[20..]).unwrap();
    assert_eq!(good.answer().unwrap().status, 200);
    let (http, log) = (daemon.http, daemon.stop());
    let took = started.elapsed();
    assert!(took < DRAINED, "{took:?}\n{log}");
    assert!(never.answer().is_err());
    assert!(Client::connect(http).is_err());
    let cut = log.lines().find(|line| line.contains("did not end in time")).unwrap();
    assert!(cut.contains("ERROR") && cut.contains("name=\"http\""), "{cut}");
    assert_eq!(log.matches("did not end in time").count(), 1, "{log}");
    assert!(log.trim_end().ends_with("stopped"), "{log}");

    let daemon = home.start().ready();
    assert_eq!(daemon.rows(&["list"])[0]["address"], "in-flight@example.com");
    assert_eq!(daemon.rows(&["list"]).len(), 1);
    daemon.stop();
}

#[test]
fn an_interrupt_stops_it_too_and_followers_do_not_hold_it_up() {
    let home = Home::new("");
    let mut daemon = home.start().ready();
    let body = event("delivered", "user@example.com", "m", 1);
    assert_eq!(notify(daemon.http, &body).status, 200);
    let mut follow = Command::new(PROGRAM);
    follow.args(["events", "--follow", "--json", "-c"]).arg(home.config());
    let mut follow = follow.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    follow.stdout.as_mut().unwrap().read_exact(&mut [0; 10]).unwrap();
    let before = Instant::now();
    daemon.signal("INT");
    assert!(daemon.ended().success());
    assert!(before.elapsed() < QUICK, "{:?}", before.elapsed());
    assert!(daemon.log().contains("stopping signal=\"SIGINT\""), "{}", daemon.log());
    assert!(!daemon.log().contains("did not end in time"), "{}", daemon.log());
    wait_for("the follower's end", PATIENCE, || follow.try_wait().unwrap());
}

#[test]
fn a_stop_in_the_middle_of_the_start_is_in_order() {
    let home = Home::new("");
    for _ in 0..5 {
        // Bound, and perhaps not yet ready.
        let log = home.start().stop();
        assert!(log.trim_end().ends_with("stopped"), "{log}");
    }
    // Before anything is bound.
    let mut child = run(&home).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    assert!(line.contains("starting"), "{line}");
    kill(&child);
    let status = wait_for("the end", PATIENCE, || child.try_wait().unwrap());
    // The runtime that hears signals may not be there yet: then the signal itself ends it.
    assert!(status.success() || status.signal() == Some(15), "{status}");
}

fn kill(child: &Child) {
    let sent = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(sent.success());
}

/// What a start that must fail says.
fn refused(home: &Home, code: i32) -> String {
    let Output { status, stderr, .. } = cli(&home.config(), &["run"]);
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(code), "{said}");
    said
}

#[test]
fn what_another_daemon_has_is_refused_and_named() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let said = refused(&home, 1);
    assert!(said.contains(home.state().to_str().unwrap()), "{said}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _listener = TcpListener::bind(taken).unwrap();
    for (table, key) in [("http", "http.listen"), ("admin", "admin.listen")] {
        let other = Home::new("");
        let line = |port| format!("[{table}]\nlisten = \"127.0.0.1:{port}\"");
        replace(&other, &line(0), &line(taken.port()));
        let said = refused(&other, 1);
        assert!(said.contains(key) && said.contains(&taken.to_string()), "{said}");
    }
    let other = Home::new("");
    let socket = |home: &Home| format!("{}/control.sock", home.dir.display());
    replace(&other, &socket(&other), &socket(&home));
    let said = refused(&other, 1);
    assert!(said.contains("control.socket") && said.contains(&socket(&home)), "{said}");
    // The first one is none the worse for all of it.
    assert!(daemon.cli(&["status"]).status.success());
    assert_eq!(notify(daemon.http, &event("delivered", "a@x.test", "m", 1)).status, 200);
    daemon.stop();
}

#[test]
fn a_configuration_with_errors_is_refused_with_all_of_them() {
    let home = Home::new("[rules]\nhard_bounce = { for = \"never\" }\n[nonsense]\nkey = 1\n");
    replace(&home, "listen = \"127.0.0.1:0\"", "listen = \"nowhere\"\nbody_max = 5");
    replace(&home, "provider = \"generic\"", "provider = \"sendgird\"");
    let said = refused(&home, 78);
    for path in ["http.listen", "http.body_max", "rules.hard_bounce", "nonsense", "provider"] {
        assert!(said.contains(path), "{path}:\n{said}");
    }
    assert!(!home.state().exists(), "nothing was begun");
    assert!(!said.contains(SECRET), "{said}");
}

/// Binds as many sockets as its first argument says, and becomes the rest of its arguments.
const ACTIVATE: &str = "\
import os, socket, sys
count = int(sys.argv[1])
sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(count)]
high = [os.dup2(s.fileno(), 100 + n) for n, s in enumerate(sockets)]
for n, fd in enumerate(high):
    os.dup2(fd, 3 + n, inheritable=True)
os.environ.update(LISTEN_FDS=str(count), LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
";

#[test]
fn sockets_from_systemd_are_taken_in_their_order() {
    if !available("sockets_from_systemd", missing("python3")) {
        return;
    }
    for count in [1, 2] {
        let home = Home::new("");
        for table in ["http", "admin"].iter().take(count) {
            let line = |listen: &str| format!("[{table}]\nlisten = \"{listen}\"");
            replace(&home, &line("127.0.0.1:0"), &line("systemd"));
        }
        let mut command = Command::new("python3");
        command.args(["-c", ACTIVATE, &count.to_string(), PROGRAM, "run", "-c"]);
        let daemon = home
            .start_by({
                command.arg(home.config());
                command
            })
            .ready();
        let body = event("hard_bounce", "user@example.com", "m", 1);
        assert_eq!(notify(daemon.http, &body).status, 200);
        assert!(daemon.cli(&["trigger", "test", "complaint", "b@example.com"]).status.success());
        wait_for("both", PATIENCE, || (daemon.rows(&["list"]).len() == 2).then_some(()));
        daemon.stop();
    }
    let home = Home::new("");
    replace(&home, "[http]\nlisten = \"127.0.0.1:0\"", "[http]\nlisten = \"systemd\"");
    assert!(refused(&home, 1).contains("http.listen"), "nothing was passed");
}

/// A signed notification by curl; gives what it prints: the answer's status.
fn curl(arguments: &[&str], url: &str, body: &str) -> String {
    let signature = format!("x-webhook-signature: {}", sign(SECRET, body.as_bytes()));
    let mut command = Command::new("curl");
    command.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "20"]);
    command.args(["-H", &signature, "--data-binary", body]).args(arguments).arg(url);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn notifications_come_over_a_unix_socket() {
    if !available("notifications_come_over_a_unix_socket", missing("curl")) {
        return;
    }
    let home = Home::new("");
    let socket = home.dir.join("http.sock");
    let listen = format!("listen = \"unix:{}\"", socket.display());
    replace(&home, "listen = \"127.0.0.1:0\"", &listen);
    // Twice: the second start finds the socket that the first has left.
    for n in 0..2 {
        let daemon = home.start().ready();
        let arguments = ["--unix-socket", socket.to_str().unwrap()];
        let body = event("hard_bounce", &format!("user{n}@example.com"), "m", n);
        assert_eq!(curl(&arguments, "http://localhost/hooks/test", &body), "200");
        assert_eq!(curl(&arguments, "http://localhost/hooks/none", &body), "404");
        let triggered = daemon.cli(&["trigger", "test", "complaint", "b@example.com"]);
        assert!(triggered.status.success(), "{triggered:?}");
        let rows = n as usize + 2;
        wait_for("all", PATIENCE, || (daemon.rows(&["list"]).len() == rows).then_some(()));
        assert!(daemon.log().contains(&format!("listener=\"http\" on=unix:{}", socket.display())));
        daemon.stop();
    }
}

#[test]
fn notifications_come_over_tls() {
    if !available("notifications_come_over_tls", missing("curl")) {
        return;
    }
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls");
    let (certificate, key) = (files.join("certificate.pem"), files.join("key.pem"));
    let home = Home::new("");
    let tls = format!("tls = {{ certificate = {certificate:?}, key = {key:?} }}");
    home.configure_http(&format!("{tls}\nheader_timeout = \"500ms\""), &source());
    let daemon = home.start().ready();
    let url = format!("https://localhost:{}/hooks/test", daemon.http.port());
    let name = format!("localhost:{}:127.0.0.1", daemon.http.port());
    let body = event("hard_bounce", "user@example.com", "m", 1);
    let trust = ["--cacert", certificate.to_str().unwrap(), "--resolve", &name];
    assert_eq!(curl(&trust, &url, &body), "200");
    assert_eq!(curl(&["-k", "--tlsv1.3", "--http2"], &url, &body), "200");
    let triggered = daemon.cli(&["trigger", "test", "complaint", "b@example.com"]);
    assert!(triggered.status.success(), "{triggered:?}");
    wait_for("both", PATIENCE, || (daemon.rows(&["list"]).len() == 2).then_some(()));
    // Neither plain HTTP nor silence gets anywhere.
    let mut plain = Client::connect(daemon.http).unwrap();
    plain.send("GET", "/hooks/test", &[], b"").unwrap();
    assert!(plain.answer().is_err());
    let mut silent = Client::connect(daemon.http).unwrap();
    assert_eq!(silent.0.read(&mut [0]).unwrap(), 0);
    assert_eq!(request(daemon.admin, "GET", "/livez", &[], b"").body, "ok\n");
    daemon.stop();
}
