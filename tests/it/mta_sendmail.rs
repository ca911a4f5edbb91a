//! A real Sendmail with the lines of `docs/mta/sendmail.md`: every way out of the host is closed.

use crate::support::available;
use crate::support::daemon::{Daemon, Home, PATIENCE};
use crate::support::host::{As, Host, free_port};
use crate::support::mta::Scene;
use crate::support::page::{block, lines};
use crate::support::sink::Sink;
use crate::support::smtp::Session;
use crate::support::wait_for;

/// What the page's command makes.
const TABLE: &str = "/etc/mail/suppressd/suppressed.db";

/// What `sendmail(1)` exits with when a recipient is refused with 5.7.1: `EX_DATAERR`.
const REFUSED: i32 = 65;

#[test]
fn a_webhook_makes_sendmail_refuse_and_a_lift_makes_it_accept_again() {
    if !available("a_webhook_makes_sendmail_refuse", Host::missing("sendmail")) {
        return;
    }
    let mut host = Host::new("sendmail", Home::new(&block("sendmail", "toml")));
    host.shell(&block("sendmail", "sh"));
    let daemon = host.daemon(As::Suppressd);
    wait_for("the table", PATIENCE, || host.path(TABLE).exists().then_some(()));
    let (port, sink) = (free_port(), Sink::start());
    host.write(
        "/etc/mail/sendmail.mc",
        &config(&lines("sendmail", &host.home.config()), port, sink.port()),
    );
    host.write("/etc/mail/aliases", "team: user@example.com, member@example.com\n");
    host.shell(
        "cd /etc/mail; m4 sendmail.mc >sendmail.cf; /usr/libexec/sendmail/newaliases
        install -d -m 700 /var/spool/mqueue",
    );
    host.start(&["/usr/libexec/sendmail/sendmail", "-bD"]);
    wait_for("Sendmail", PATIENCE, || Session::begin(port, ""));
    let scene = Scene {
        daemon: &daemon,
        export: "sendmail",
        ask: &|address| Session::begin(port, "").unwrap().rcpt(address),
        refusal: &|reason| format!("... suppressed: {reason}"),
        patience: PATIENCE,
    };
    scene.promise();
    other_ways(&host, &daemon, &scene, &sink);
    scene.several(port, &sink);
    scene.queued(port, &sink, &|| host.shell("/usr/libexec/sendmail/sendmail -q"));
    scene.corpus();
    daemon.stop();
}

/// What does not come by SMTP does not reach a suppressed address either.
fn other_ways(host: &Host, daemon: &Daemon, scene: &Scene, sink: &Sink) {
    assert!(daemon.cli(&["add", "user@example.com"]).status.success());
    let text = scene.until("user@example.com", 550);
    assert_eq!(text, "5.7.1 <user@example.com>... suppressed: manual");
    for (to, status) in
        [("user@example.com", REFUSED), ("team@mta.test", REFUSED), ("other@example.com", 0)]
    {
        let program = ["/usr/libexec/sendmail/sendmail", to];
        let sent = host.run(&program, "Subject: x\n\nx\n");
        assert_eq!(sent.status.code(), Some(status), "{to}: {sent:?}");
    }
    for passes in ["other@example.com", "member@example.com"] {
        wait_for(passes, PATIENCE, || sink.has(passes).then_some(()));
    }
    assert!(!sink.has("user@example.com"));
}

fn config(lines: &str, port: u16, sink: u16) -> String {
    format!(
        "include(`/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(`linux')dnl
define(`confDOMAIN_NAME', `mta.test')dnl
define(`confDELIVERY_MODE', `interactive')dnl
define(`confSERVICE_SWITCH_FILE', `/etc/mail/service.switch-nodns')dnl
define(`confBAD_RCPT_THROTTLE', `1000')dnl
define(`confQUEUE_LA', `1000')dnl
define(`confREFUSE_LA', `1000')dnl
define(`SMART_HOST', `relay:[127.0.0.1]')dnl
define(`RELAY_MAILER_ARGS', `TCP $h {sink}')dnl
define(`ALIAS_FILE', `/etc/mail/aliases')dnl
DAEMON_OPTIONS(`Name=MTA, Addr=127.0.0.1, Port={port}')dnl
FEATURE(`no_default_msa')dnl
FEATURE(`nocanonify')dnl
FEATURE(`accept_unresolvable_domains')dnl
MAILER(`local')dnl
MAILER(`smtp')dnl
{lines}"
    )
}
