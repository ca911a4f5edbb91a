//! A real Exim with the lines of `docs/mta/exim.md`: every way out of the host is closed.

use crate::support::available;
use crate::support::daemon::{Daemon, Home, PATIENCE};
use crate::support::host::{As, Host, free_port};
use crate::support::mta::{Scene, code_of};
use crate::support::page::{block, lines, parts};
use crate::support::sink::Sink;
use crate::support::smtp::Session;
use crate::support::wait_for;

/// A host with Exim and the daemon, by the page.
struct Exim {
    host: Host,
    port: u16,
    sink: Sink,
}

impl Exim {
    /// The daemon must be there first, with its table.
    fn start(host: Host) -> Exim {
        let (port, sink) = (free_port(), Sink::start());
        let mut exim = Exim { host, port, sink };
        let lines = parts(&lines("exim", &exim.host.home.config()));
        let [main, acl, router] = lines.as_slice() else { panic!("{lines:?}") };
        exim.host.write("/etc/exim4/exim4.conf", &exim.config(main, acl, router));
        exim.host.write("/etc/aliases", "team: user@example.com, member@example.com\n");
        exim.host.shell("install -d -o Debian-exim /var/spool/exim4 /var/log/exim4");
        exim.host.start(&["/usr/sbin/exim4", "-bdf"]);
        wait_for("Exim", PATIENCE, || Session::begin(port, ""));
        exim
    }

    fn rcpt(&self, address: &str) -> (u16, String) {
        let parameters = if address.is_ascii() { "" } else { "SMTPUTF8" };
        Session::begin(self.port, parameters).unwrap().rcpt(address)
    }

    fn config(&self, main: &str, acl: &str, router: &str) -> String {
        let (port, sink) = (self.port, self.sink.port());
        format!(
            "keep_environment =
primary_hostname = mta.test
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
smtputf8_advertise_hosts = *
tls_advertise_hosts =
acl_smtp_rcpt = acl_check_rcpt
{main}
begin acl
acl_check_rcpt:
{acl}
  accept
begin routers
{router}
aliases:
  driver = redirect
  domains = mta.test
  data = ${{lookup{{$local_part}}lsearch{{/etc/aliases}}}}
out:
  driver = manualroute
  domains = ! mta.test
  route_list = * 127.0.0.1::{sink}
  transport = out
  self = send
begin transports
out:
  driver = smtp
begin retry
* * F,1h,1m
"
        )
    }
}

/// A host with this export, until both sides run.
fn host_with(export: &str) -> (Daemon, Exim) {
    let host = Host::new("exim", Home::new(export));
    host.shell(&block("exim", "sh"));
    let daemon = host.daemon(As::Suppressd);
    let path = export.lines().find_map(|line| line.strip_prefix("path = ")).unwrap();
    let table = host.path(path.trim_matches('"'));
    wait_for("the table", PATIENCE, || table.exists().then_some(()));
    (daemon, Exim::start(host))
}

/// Tries what every MTA must do, and then `more`.
fn play(export: &str, more: impl FnOnce(&Scene, &Exim)) {
    let (daemon, exim) = host_with(export);
    let scene = Scene {
        daemon: &daemon,
        export: "exim",
        ask: &|address| exim.rcpt(address),
        refusal: &|reason| format!("{} suppressed: {reason}", code_of(reason)),
        patience: PATIENCE,
    };
    scene.promise();
    more(&scene, &exim);
    scene.corpus();
    daemon.stop();
}

#[test]
fn a_webhook_makes_exim_refuse_and_a_lift_makes_it_accept_again() {
    if !available("a_webhook_makes_exim_refuse", Host::missing("exim")) {
        return;
    }
    play(&block("exim", "toml"), |scene, exim| {
        exim.other_ways(scene.daemon);
        scene.several(exim.port, &exim.sink);
        scene.queued(exim.port, &exim.sink, &|| exim.host.shell("exim4 -qff"));
    });
}

#[test]
fn exim_reads_the_text_table_too() {
    if !available("exim_reads_the_text_table_too", Host::missing("exim")) {
        return;
    }
    let text = block("exim", "toml").replace("\"cdb\"", "\"text\"").replace(".cdb", "");
    play(&text, |_, _| ());
}

impl Exim {
    /// What does not come by SMTP does not reach a suppressed address either.
    fn other_ways(&self, daemon: &Daemon) {
        assert!(daemon.cli(&["add", "user@example.com"]).status.success());
        wait_for("the refusal", PATIENCE, || {
            (self.rcpt("user@example.com").0 == 550).then_some(())
        });
        for (to, passes) in [
            ("user@example.com", None),
            ("other@example.com", Some("other@example.com")),
            ("team@mta.test", Some("member@example.com")),
        ] {
            let sent = self.host.run(&["/usr/sbin/sendmail", "-odi", to], "Subject: x\n\nx\n");
            assert!(sent.status.success(), "{to}: {sent:?}");
            if let Some(passes) = passes {
                wait_for(passes, PATIENCE, || self.sink.has(passes).then_some(()));
            }
        }
        let log = self.host.read("/var/log/exim4/mainlog");
        let refused = "** user@example.com";
        assert_eq!(log.matches(refused).count(), 2, "{log}");
        assert!(log.contains("R=suppressed: 5.7.1 suppressed: manual"), "{log}");
        assert!(!self.sink.has("user@example.com"));
    }
}
