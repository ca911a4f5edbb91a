//! A real Haraka with the lines of `docs/mta/haraka.md`, and with the plugin of
//! `docs/mta/lookups.md`.

use crate::support::available;
use crate::support::daemon::{Home, PATIENCE};
use crate::support::host::{As, Host, free_port};
use crate::support::mta::Scene;
use crate::support::page::{block, lines, parts};
use crate::support::smtp::Session;
use crate::support::wait_for;

/// What the page has as the path.
const LIST: &str = "/etc/haraka/suppressd/suppressed";

/// A plugin that takes every recipient, as a relay's would.
const ACCEPT: &str = "exports.hook_rcpt = (next) => next(OK);\n";

/// What the plugin of the page has as the private listener.
const ADMIN: &str = "127.0.0.1:9025";

/// Starts it with plugins of its own before the one that accepts; gives its port.
fn haraka(host: &mut Host, plugins: &str) -> u16 {
    let port = free_port();
    let smtp = format!("listen = 127.0.0.1:{port}\nuser = haraka\ngroup = haraka\n");
    host.write("/etc/haraka/config/smtp.ini", &smtp);
    host.write("/etc/haraka/config/plugins", &format!("{plugins}accept\n"));
    host.write("/etc/haraka/plugins/accept.js", ACCEPT);
    host.start(&["/opt/haraka/node_modules/.bin/haraka", "-c", "/etc/haraka"]);
    wait_for("Haraka", PATIENCE, || Session::begin(port, ""));
    port
}

fn ask(port: u16, address: &str) -> (u16, String) {
    let parameters = if address.is_ascii() { "" } else { "SMTPUTF8" };
    Session::begin(port, parameters).unwrap().rcpt(address)
}

#[test]
fn a_webhook_makes_haraka_refuse_and_a_lift_makes_it_accept_again() {
    if !available("a_webhook_makes_haraka_refuse", Host::missing("haraka")) {
        return;
    }
    let mut host = Host::new("haraka", Home::new(&block("haraka", "toml")));
    host.shell("/opt/haraka/node_modules/.bin/haraka -i /etc/haraka");
    host.shell(&block("haraka", "sh"));
    let daemon = host.daemon(As::Suppressd);
    wait_for("the list", PATIENCE, || host.path(LIST).exists().then_some(()));
    let lines = parts(&lines("haraka", &host.home.config()));
    let [plugins, access, _] = lines.as_slice() else { panic!("{lines:?}") };
    host.write("/etc/haraka/config/access.ini", access);
    let port = haraka(&mut host, plugins);
    let scene = Scene {
        daemon: &daemon,
        export: "haraka",
        ask: &|address| ask(port, address),
        refusal: &|_| "5.7.1 suppressed".to_owned(),
        patience: PATIENCE,
    };
    scene.promise();
    scene.corpus();
    daemon.stop();
}

#[test]
fn the_plugin_that_asks_over_http_refuses_and_lets_through_while_nobody_answers() {
    if !available("the_plugin_that_asks_over_http", Host::missing("haraka")) {
        return;
    }
    let mut host = Host::new("haraka", Home::new(""));
    let daemon = host.daemon(As::Suppressd);
    host.shell("/opt/haraka/node_modules/.bin/haraka -i /etc/haraka");
    let plugin = block("lookups", "js");
    assert!(plugin.contains(ADMIN), "{plugin}");
    let plugin = plugin.replace(ADMIN, &daemon.admin.to_string());
    host.write("/etc/haraka/plugins/suppressed.js", &plugin);
    let port = haraka(&mut host, "suppressed\n");
    let scene = Scene {
        daemon: &daemon,
        export: "postfix",
        ask: &|address| ask(port, address),
        refusal: &|_| "5.7.1 suppressed".to_owned(),
        patience: PATIENCE,
    };
    scene.promise();
    scene.corpus();
    assert_eq!(failures(&host), 0);
    daemon.stop();
    assert_eq!(ask(port, "by-hand@example.com").0, 250);
    wait_for("the error in the log", PATIENCE, || (failures(&host) == 1).then_some(()));
    silent(&host, port, &plugin);
}

/// Who takes the question and says nothing keeps nobody waiting for long.
fn silent(host: &Host, port: u16, plugin: &str) {
    let admin = plugin.split("'http://").nth(1).unwrap().split('/').next().unwrap();
    let _silent = std::net::TcpListener::bind(admin).unwrap();
    assert_eq!(ask(port, "by-hand@example.com").0, 250);
    wait_for("the error in the log", PATIENCE, || (failures(host) == 2).then_some(()));
    assert!(host.read("/var/log/mta").contains("no answer in time"));
}

/// How often the plugin has told that it got no answer.
fn failures(host: &Host) -> usize {
    host.read("/var/log/mta").matches("cannot look up whether a recipient is suppressed").count()
}
