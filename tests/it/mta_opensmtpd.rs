//! A real OpenSMTPD with the lines of `docs/mta/opensmtpd.md`.

use crate::support::available;
use crate::support::daemon::{Daemon, Home, PATIENCE};
use crate::support::host::{As, Host, free_port};
use crate::support::mta::Scene;
use crate::support::page::{block, lines, parts};
use crate::support::sink::Sink;
use crate::support::smtp::Session;
use crate::support::wait_for;

/// What the page has as the path.
const LIST: &str = "/etc/smtpd/suppressd/suppressed";

/// What `sendmail(1)` exits with when a recipient is refused: `EX_SOFTWARE`.
const REFUSED: i32 = 70;

#[test]
fn a_webhook_makes_opensmtpd_refuse_and_a_lift_makes_it_accept_again() {
    if !available("a_webhook_makes_opensmtpd_refuse", Host::missing("opensmtpd")) {
        return;
    }
    // Here it runs as root.
    let export = block("opensmtpd", "toml").replace("# command", "command");
    let mut host = Host::new("opensmtpd", Home::new(&export));
    host.shell(&block("opensmtpd", "sh"));
    // As root, since the page's command needs it.
    let daemon = host.daemon(As::Root);
    wait_for("the list", PATIENCE, || host.path(LIST).exists().then_some(()));
    let (port, sink) = (free_port(), Sink::start());
    host.write(
        "/etc/smtpd.conf",
        &config(&lines("opensmtpd", &host.home.config()), port, sink.port()),
    );
    host.write("/etc/aliases", "team: user@example.com, member@example.com\n");
    host.start(&["/usr/sbin/smtpd", "-d"]);
    wait_for("OpenSMTPD", PATIENCE, || Session::begin(port, ""));
    let scene = Scene {
        daemon: &daemon,
        export: "opensmtpd",
        ask: &|address| Session::begin(port, "").unwrap().rcpt(address),
        refusal: &|_| "example.com>".to_owned(),
        patience: PATIENCE,
    };
    scene.promise();
    other_ways(&host, &daemon, &scene, &sink);
    scene.several(port, &sink);
    scene.corpus();
    daemon.stop();
}

/// What does not come by SMTP is refused too, and an alias as a whole.
fn other_ways(host: &Host, daemon: &Daemon, scene: &Scene, sink: &Sink) {
    assert!(daemon.cli(&["add", "user@example.com"]).status.success());
    let text = scene.until("user@example.com", 550);
    assert_eq!(text, "Invalid recipient: <user@example.com>");
    assert_eq!((scene.ask)("team@mta.test").0, 550);
    for (to, status) in
        [("user@example.com", REFUSED), ("team@mta.test", REFUSED), ("other@example.com", 0)]
    {
        let sent = host.run(&["/usr/sbin/sendmail", to], "Subject: x\n\nx\n");
        assert_eq!(sent.status.code(), Some(status), "{to}: {sent:?}");
    }
    wait_for("the mail", PATIENCE, || sink.has("other@example.com").then_some(()));
    assert!(!sink.has("user@example.com") && !sink.has("member@example.com"));
}

fn config(lines: &str, port: u16, sink: u16) -> String {
    let lines = parts(lines);
    let [table, rule, _] = lines.as_slice() else { panic!("{lines:?}") };
    format!(
        "{table}
table aliases file:/etc/aliases
listen on 127.0.0.1 port {port}
action out relay host smtp://127.0.0.1:{sink}
action aliases expand-only alias <aliases>
{rule}
match from any for domain \"mta.test\" action aliases
match from any for any action out
"
    )
}
