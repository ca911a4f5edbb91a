//! The systemd units: what they start is what the program takes, and it says how it goes.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use crate::support::client;
use crate::support::daemon::{Home, PATIENCE, PROGRAM};
use crate::support::wait_for;

const SERVICE: &str = include_str!("../../systemd/suppressd.service");
const CONFIG: &str = "/etc/suppressd/config.toml";

/// The value of a setting that stands once in the unit.
fn setting(key: &str) -> &'static str {
    let values: Vec<&str> =
        SERVICE.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect();
    assert_eq!(values.len(), 1, "{key}: {values:?}");
    values[0]
}

/// Waits until systemd, which is this socket, was told it.
fn hear(socket: &UnixDatagram, state: &str) {
    wait_for(state, PATIENCE, || {
        let mut message = [0; 256];
        let length = socket.recv(&mut message).ok()?;
        let message = std::str::from_utf8(&message[..length]).ok()?;
        message.lines().any(|line| line == state).then_some(())
    });
}

#[test]
fn the_service_starts_it_and_hears_of_it() {
    assert_eq!(setting("Type"), "notify");
    let home = Home::new("");
    let config = home.config().to_str().unwrap().to_owned();
    let words: Vec<&str> = setting("ExecStart").split(' ').collect();
    let (program, arguments) = words.split_first().unwrap();
    assert!(program.ends_with("/suppressd") && arguments.contains(&CONFIG), "{words:?}");
    let path = home.dir.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(arguments.iter().map(|word| word.replace(CONFIG, &config)));
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    let daemon = home.start_by(command);
    hear(&socket, "READY=1");
    assert_eq!(daemon.readyz().status, 200);
    let mode = std::fs::metadata(home.state()).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "addresses and payloads are for nobody else");
    hear(&socket, "WATCHDOG=1");
    daemon.signal("TERM");
    hear(&socket, "STOPPING=1");
    daemon.stop();
}

#[test]
fn a_socket_that_systemd_has_bound_outlives_the_daemon() {
    let home = Home::new("");
    let text = std::fs::read_to_string(home.config()).unwrap();
    let text = text.replacen("listen = \"127.0.0.1:0\"", "listen = \"systemd\"", 1);
    std::fs::write(home.config(), text).unwrap();
    let bound = TcpListener::bind("127.0.0.1:0").unwrap();
    let passed = [("suppressd.socket", bound.try_clone().unwrap().into())];
    let start = || home.start_passing(&passed);
    let first = start();
    assert_eq!(first.http, bound.local_addr().unwrap());
    assert_eq!(first.cli(&["trigger", "test", "complaint", "a@x.test"]).status.code(), Some(0));
    first.kill();
    let second = start().ready();
    assert_eq!(client::request(second.http, "GET", "/hooks/test", &[], b"").status, 200);
    wait_for("the export", PATIENCE, || home.export().starts_with("a@x.test\t").then_some(()));
    second.stop();
}
