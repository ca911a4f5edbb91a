//! Postfix with the maps that are changed in place, by the very lines that we print to paste: no
//! way out of the host is left open, and a running session sees a change.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::client::{event, notify};
use crate::support::daemon::{Daemon, Home, PATIENCE, source};
use crate::support::postfix::Postfix;
use crate::support::smtp::Session;
use crate::support::{available, wait_for};

/// Recipients that only other parts of Postfix make, and one whose mail waits in the queue.
const MORE: &str = "\
virtual_alias_domains = alias.example
virtual_alias_maps = inline:{ {staff@alias.example=aliased@example.com} }
sender_bcc_maps = inline:{ {boss@client.test=copied@example.com} }
";

/// A host whose two maps Postfix asks, without any command.
fn host(table: &str) -> Home {
    let home = Home::new("");
    open_to_all(&home.dir);
    let export = |name: &str, format: &str| {
        format!(
            "[[export]]\nname = \"{name}\"\nformat = \"{format}\"\ntable = \"{table}\"\n\
             path = \"{}/{name}.{table}\"\n",
            home.dir.display()
        )
    };
    let exports = [export("transport", "postfix-transport"), export("refusals", "postfix-access")];
    home.configure(&(crate::support::daemon::source() + &exports.concat()));
    home
}

fn open_to_all(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// What `--print-config` prints for both, with a table behind ours that defers one domain.
fn pasted(daemon: &Daemon) -> String {
    let print = |name: &str| {
        let output = daemon.cli(&["export", "--print-config", name]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let later = "inline:{queued.example=retry:4.4.1_later}";
    let transport = print("transport").trim_end().to_owned();
    assert!(transport.contains("\ntransport_maps = lmdb:"), "{transport}");
    format!("{transport}, {later}\n{}{MORE}", print("refusals"))
}

fn bounce(daemon: &Daemon, address: &str, second: u32) {
    let body = event("hard_bounce", address, &format!("m{second}"), second);
    assert_eq!(notify(daemon.http, &body).status, 200);
}

/// Asks in a session until it has that answer; gives the time that it took.
fn until(session: &mut Session, address: &str, code: u16) -> Duration {
    let started = Instant::now();
    let what = format!("{code} for {address}");
    wait_for(&what, PATIENCE, || (session.rcpt(address).0 == code).then_some(()));
    started.elapsed()
}

#[test]
fn a_running_session_sees_what_has_changed() {
    if !available("a_running_session_sees_what_has_changed", Postfix::missing()) {
        return;
    }
    let home = host("lmdb");
    let daemon = home.start();
    // The listeners are bound behind the making of the files.
    assert!(home.dir.join("transport.lmdb").exists() && home.dir.join("refusals.lmdb").exists());
    let daemon = daemon.ready();
    let postfix = Postfix::start_with(&pasted(&daemon));
    let mut session = postfix.session();
    assert_eq!(session.rcpt("user@example.com").0, 250);
    let mut slowest = Duration::ZERO;
    for n in 0..20 {
        let address = format!("user{n}@b\u{fc}cher.example");
        assert_eq!(session.rcpt(&address).0, 250);
        bounce(&daemon, &address, n);
        slowest = slowest.max(until(&mut session, &address, 550));
        let (_, text) = session.rcpt(&address);
        assert!(text.ends_with(": suppressed: hard bounce"), "{text}");
    }
    eprintln!("from the webhook's answer to the refusal in the same session: {slowest:?} at most");
    // The promise is 250 ms on a machine of one's own.
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    assert!(daemon.cli(&["lift", "user0@b\u{fc}cher.example"]).status.success());
    until(&mut session, "user0@b\u{fc}cher.example", 250);
    assert_eq!(session.rcpt("user1@xn--bcher-kva.example").0, 550);
    assert!(!postfix.log().contains("fatal"), "{}", postfix.log());
    daemon.stop();
}

#[test]
fn every_way_out_is_closed() {
    if !available("every_way_out_is_closed", Postfix::missing()) {
        return;
    }
    let home = host("lmdb");
    let daemon = home.start().ready();
    let postfix = Postfix::start_with(&pasted(&daemon));
    postfix.sendmail("me@client.test", "waiting@queued.example");
    postfix.until_delivered("waiting@queued.example", "status=deferred");
    postfix.sendmail("me@client.test", "other@example.com");
    postfix.until_delivered("other@example.com", "status=sent");

    let dead = [
        "waiting@queued.example",
        "direct@example.com",
        "aliased@example.com",
        "copied@example.com",
    ];
    for (address, second) in dead.into_iter().zip(0..) {
        bounce(&daemon, address, second);
    }
    let mut session = postfix.session();
    dead.iter().for_each(|address| _ = until(&mut session, address, 550));
    let (code, text) = postfix.submission().rcpt("direct@example.com");
    assert_eq!(code, 550, "{text}");
    assert!(text.ends_with("suppressed: hard bounce"), "{text}");
    assert_eq!(
        postfix.submission().rcpt("staff@alias.example").0,
        250,
        "its alias is looked at later"
    );

    postfix.sendmail("me@client.test", "direct@example.com");
    postfix.sendmail("me@client.test", "staff@alias.example");
    postfix.sendmail("boss@client.test", "other@example.com");
    postfix.flush();
    for address in dead {
        let line = postfix.until_delivered(address, "status=bounced");
        assert!(line.contains("dsn=5.1.1") && line.contains("(suppressed: hard bounce)"), "{line}");
    }
    let log = postfix.log();
    for address in dead {
        let sent =
            |line: &&str| line.contains(&format!("to=<{address}>")) && line.contains("=sent");
        assert_eq!(log.lines().find(sent), None, "{address}");
    }
    assert!(!log.contains("fatal"), "{log}");
    daemon.stop();
}

#[test]
fn a_map_survives_kills_in_the_middle_of_changes() {
    if !available("a_map_survives_kills", Postfix::missing()) {
        return;
    }
    let home = host("lmdb");
    let map = format!("lmdb:{}/refusals", home.dir.display());
    let mut sent = String::new();
    for round in 0..6 {
        let daemon = home.start().ready();
        for n in 0..15 {
            let address = format!("user{n}@r{round}.example");
            bounce(&daemon, &address, round * 15 + n);
            sent += &format!("{address}\n");
        }
        // Some of them are on their way into the map.
        daemon.kill();
        let found = Postfix::query(&map, &sent).lines().count();
        assert!(found <= sent.lines().count(), "{found}");
    }
    let daemon = home.start().ready();
    wait_for("all rows", PATIENCE, || {
        (Postfix::query(&map, &sent).lines().count() == sent.lines().count()).then_some(())
    });
    daemon.stop();
}

#[test]
fn a_constant_map_is_read_by_postfix() {
    if !available("a_constant_map_is_read_by_postfix", Postfix::missing_with("cdb")) {
        return;
    }
    let home = host("cdb");
    let daemon = home.start().ready();
    let map = format!("cdb:{}/refusals", home.dir.display());
    assert_eq!(Postfix::query(&map, "user@example.com\n"), "");
    bounce(&daemon, "User@example.com", 1);
    let found = wait_for("the row", PATIENCE, || {
        Some(Postfix::query(&map, "USER@example.com\n")).filter(|found| !found.is_empty())
    });
    assert_eq!(found, "USER@example.com\t550 5.1.1 suppressed: hard bounce\n");
    assert_eq!(Postfix::query(&map, "user@example.org\nexample.com\nuser@\n"), "");
    daemon.stop();
}

/// What administrators read is what the tests above paste.
#[test]
fn the_page_shows_the_lines_that_are_printed() {
    let page = include_str!("../../docs/mta/postfix.md");
    let home = Home::new("");
    let text = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    home.configure(&format!("{}{text}", source()));
    for name in ["transport", "access"] {
        let mut command = std::process::Command::new(crate::support::daemon::PROGRAM);
        command.args(["export", "--print-config", name, "-c"]).arg(home.config());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let lines = String::from_utf8(output.stdout).unwrap();
        assert!(page.contains(&format!("```main.cf\n{lines}```")), "{lines}");
    }
}
