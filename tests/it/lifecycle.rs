//! Starting and stopping: what systemd is told, who gets an answer, and what a start refuses.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::child::Guarded;
use crate::support::client::{Client, SECRET, event, notify, request, sign};
use crate::support::daemon::{Daemon, Home, PATIENCE, PROGRAM, cli, source};
use crate::support::{tls, wait_for};

/// Longest stop without anything to wait for.
const QUICK: Duration = Duration::from_secs(8);

/// Longest stop with a request that never ends: ten seconds to drain, and a busy machine.
const DRAINED: Duration = Duration::from_secs(25);

/// Changes a part of the configuration that must be there.
fn replace(home: &Home, from: &str, to: &str) {
    let text = fs::read_to_string(home.config()).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(home.config(), text.replacen(from, to, 1)).unwrap();
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
    let mut command = home.run();
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
    follow.args(["events", "--follow", "-n", "1", "--json", "-c"]).arg(home.config());
    let mut follow = Guarded::spawn(follow.stdout(Stdio::piped()).stderr(Stdio::null()));
    follow.stdout.as_mut().unwrap().read_exact(&mut [0; 10]).unwrap();
    let before = Instant::now();
    daemon.signal("INT");
    assert!(daemon.ended().success());
    assert!(before.elapsed() < QUICK, "{:?}", before.elapsed());
    assert!(daemon.log().contains("stopping signal=\"SIGINT\""), "{}", daemon.log());
    assert!(!daemon.log().contains("did not end in time"), "{}", daemon.log());
    follow.ended();
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
    let mut child = Guarded::spawn(home.run().stderr(Stdio::piped()));
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    assert!(line.contains("starting"), "{line}");
    child.signal("TERM");
    let status = child.ended();
    // The runtime that hears signals may not be there yet: then the signal itself ends it.
    assert!(status.success() || status.signal() == Some(15), "{status}");
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

/// Listens on systemd's sockets.
fn activate(home: &Home, tables: &[&str]) {
    for table in tables {
        let line = |listen: &str| format!("[{table}]\nlisten = \"{listen}\"");
        replace(home, &line("127.0.0.1:0"), &line("systemd"));
    }
}

fn bound() -> (SocketAddr, OwnedFd) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    (socket.local_addr().unwrap(), socket.into())
}

#[test]
fn every_socket_that_systemd_passes_is_served_by_its_name_or_in_its_order() {
    let unnamed = "suppressd.socket";
    for (tables, names, public, private) in [
        (&["http"][..], [unnamed, unnamed], &[0, 1][..], None),
        (&["http", "admin"], [unnamed, unnamed], &[0], Some(1)),
        (&["http", "admin"], ["admin", "http"], &[1], Some(0)),
    ] {
        let home = Home::new("");
        activate(&home, tables);
        let sockets = names.map(|name| (name, bound()));
        let at = |number: usize| sockets[number].1.0;
        let passed =
            sockets.each_ref().map(|(name, socket)| (*name, socket.1.try_clone().unwrap()));
        let daemon = home.start_passing(&passed).ready();
        for (second, number) in public.iter().enumerate() {
            let to = format!("user{number}@example.com");
            let body = event("hard_bounce", &to, "m", u32::try_from(second).unwrap());
            assert_eq!(notify(at(*number), &body).status, 200);
        }
        if let Some(number) = private {
            assert_eq!(request(at(number), "GET", "/livez", &[], b"").status, 200);
        }
        assert!(daemon.cli(&["trigger", "test", "complaint", "b@example.com"]).status.success());
        let rows = public.len() + 1;
        wait_for("all", PATIENCE, || (daemon.rows(&["list"]).len() == rows).then_some(()));
        daemon.stop();
    }
}

#[test]
fn a_socket_too_many_or_too_few_is_a_fault_with_a_hint() {
    let home = Home::new("");
    let mut passed = home.run();
    passed.env("LISTEN_FDS", "1").env("LISTEN_FDS_FIRST_FD", "0").stdin(bound().1);
    let output = Guarded::spawn(passed.stderr(Stdio::piped())).output();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("http.listen = \"systemd\""), "{said}");
    activate(&home, &["http"]);
    let said = refused(&home, 78);
    assert!(said.contains("http.listen") && said.contains("suppressd.socket"), "{said}");
}

#[test]
fn the_command_line_comes_over_a_socket_of_systemds() {
    let home = Home::new("");
    let path = home.dir.join("control.sock");
    let bound = UnixListener::bind(&path).unwrap();
    let daemon = home.start_passing(&[("control", bound.into())]).ready();
    assert!(daemon.cli(&["status"]).status.success());
    daemon.stop();
    assert!(path.exists());
}

#[test]
fn notifications_come_over_a_unix_socket() {
    let home = Home::new("");
    let socket = home.dir.join("http.sock");
    let listen = format!("listen = \"unix:{}\"", socket.display());
    replace(&home, "listen = \"127.0.0.1:0\"", &listen);
    // Twice: the second start finds the socket that the first has left.
    for n in 0..2 {
        let daemon = home.start().ready();
        let body = event("hard_bounce", &format!("user{n}@example.com"), "m", n);
        let mut client = Client(UnixStream::connect(&socket).unwrap());
        assert_eq!(client.notify(&body).unwrap().status, 200);
        client.send("POST", "/hooks/none", &[], body.as_bytes()).unwrap();
        assert_eq!(client.answer().unwrap().status, 404);
        let triggered = daemon.cli(&["trigger", "test", "complaint", "b@example.com"]);
        assert!(triggered.status.success(), "{triggered:?}");
        let rows = n as usize + 2;
        wait_for("all", PATIENCE, || (daemon.rows(&["list"]).len() == rows).then_some(()));
        assert!(daemon.log().contains(&format!("listener=\"http\" on=unix:{}", socket.display())));
        daemon.stop();
    }
}

/// The permissions and the group of a file.
fn owned(path: &Path) -> (u32, u32) {
    let meta = fs::metadata(path).unwrap();
    (meta.mode() & 0o777, meta.gid())
}

#[test]
fn every_place_of_a_list_is_served_and_every_socket_is_whose_it_is_to_be() {
    let home = Home::new("");
    let [one, two, admin] = ["one.sock", "two.sock", "admin.sock"].map(|name| home.dir.join(name));
    // A group that is surely ours.
    let group = fs::metadata(&home.dir).unwrap().gid();
    let list = format!(
        "listen = [\"127.0.0.1:0\", \"unix:{}\", \"unix:{}\"]\ngroup = {group}\nmode = \"0600\"",
        one.display(),
        two.display()
    );
    replace(&home, "listen = \"127.0.0.1:0\"\n", &format!("{list}\n"));
    let on = format!("listen = \"unix:{}\"\nmode = \"0666\"", admin.display());
    replace(&home, "[admin]\nlisten = \"127.0.0.1:0\"", &format!("[admin]\n{on}"));
    replace(&home, "control.sock\"", &format!("control.sock\"\ngroup = {group}\nmode = \"0620\""));
    let daemon = home.start();
    wait_for("readiness", PATIENCE, || daemon.cli(&["status"]).status.success().then_some(()));
    for (n, socket) in [&one, &two].into_iter().enumerate() {
        let body = event("hard_bounce", &format!("user{n}@example.com"), "m", n as u32);
        let mut client = Client(UnixStream::connect(socket).unwrap());
        assert_eq!(client.notify(&body).unwrap().status, 200);
        assert_eq!(owned(socket), (0o600, group));
    }
    assert_eq!(notify(daemon.http, &event("complaint", "c@example.com", "m", 3)).status, 200);
    wait_for("all", PATIENCE, || (daemon.rows(&["list"]).len() == 3).then_some(()));
    assert_eq!(owned(&admin).0, 0o666);
    assert_eq!(owned(&home.dir.join("control.sock")), (0o620, group));
    daemon.stop();
    assert!(!one.exists() && !two.exists() && !admin.exists());
}

#[test]
fn notifications_come_over_tls() {
    let home = Home::new("");
    let keys = format!("{}\nheader_timeout = \"500ms\"", tls::setting());
    home.configure_http(&keys, &source());
    let daemon = home.start().ready();
    let body = event("hard_bounce", "user@example.com", "m", 1);
    assert_eq!(tls::connect(daemon.http).unwrap().notify(&body).unwrap().status, 200);
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

#[test]
fn no_verb_waits_for_a_daemon_that_was_halted() {
    let home = Home::new("");
    let daemon = home.start().ready();
    daemon.signal("STOP");
    let verbs = [&["status"][..], &["add", "a@x.test"], &["poll"], &["events", "--follow"]];
    std::thread::scope(|scope| {
        let asked = verbs.map(|verb| scope.spawn(|| daemon.cli(verb)));
        for output in asked.map(|asked| asked.join().unwrap()) {
            let told = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{told}");
            assert!(told.contains("suppressd does not answer on"), "{told}");
        }
    });
    daemon.signal("CONT");
    daemon.rows(&["status"]);
    daemon.stop();
}
