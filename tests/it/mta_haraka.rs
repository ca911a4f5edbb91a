//! A real Haraka with the lines of `docs/mta/haraka.md`.

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
    let port = free_port();
    let smtp = format!("listen = 127.0.0.1:{port}\nuser = haraka\ngroup = haraka\n");
    host.write("/etc/haraka/config/smtp.ini", &smtp);
    let lines = parts(&lines("haraka", &host.home.config()));
    let [plugins, access, _] = lines.as_slice() else { panic!("{lines:?}") };
    host.write("/etc/haraka/config/plugins", &format!("{plugins}accept\n"));
    host.write("/etc/haraka/config/access.ini", access);
    host.write("/etc/haraka/plugins/accept.js", ACCEPT);
    host.start(&["/opt/haraka/node_modules/.bin/haraka", "-c", "/etc/haraka"]);
    wait_for("Haraka", PATIENCE, || Session::begin(port, ""));
    let scene = Scene {
        daemon: &daemon,
        export: "haraka",
        ask: &|address| {
            let parameters = if address.is_ascii() { "" } else { "SMTPUTF8" };
            Session::begin(port, parameters).unwrap().rcpt(address)
        },
        refusal: &|_| "5.7.1 suppressed".to_owned(),
        patience: PATIENCE,
    };
    scene.promise();
    scene.corpus();
    daemon.stop();
}
