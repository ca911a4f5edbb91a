//! A real Rspamd with the lines of `docs/mta/rspamd.md`, and with those of `docs/mta/lookups.md`,
//! asked as an MTA's filter asks it.

use serde_json::Value;

use crate::support::available;
use crate::support::client::{Answer, Client};
use crate::support::daemon::{Home, PATIENCE};
use crate::support::host::{As, Host, free_port};
use crate::support::mta::Scene;
use crate::support::page::{block, lines, parts};
use crate::support::wait_for;

/// What the page has as the path.
const MAP: &str = "/etc/rspamd/suppressd/suppressed.map";

/// What the Lua has as the private listener.
const ADMIN: &str = "127.0.0.1:9025";

#[test]
fn a_webhook_makes_rspamd_reject_and_a_lift_makes_it_pass_again() {
    if !available("a_webhook_makes_rspamd_reject", Host::missing("rspamd")) {
        return;
    }
    let mut host = Host::new("rspamd", Home::new(&block("rspamd", "toml")));
    host.shell(&block("rspamd", "sh"));
    let daemon = host.daemon(As::Suppressd);
    wait_for("the map", PATIENCE, || host.path(MAP).exists().then_some(()));
    let port = free_port();
    configure(&host, &lines("rspamd", &host.home.config()), port);
    host.start(&["/usr/bin/rspamd", "-f", "-u", "_rspamd", "-g", "_rspamd"]);
    wait_for("Rspamd", PATIENCE, || check(port, &["user@example.com"]));
    let scene = Scene {
        daemon: &daemon,
        export: "rspamd",
        ask: &|address| verdict(port, &[address]),
        refusal: &|_| "suppressed recipient".to_owned(),
        patience: PATIENCE,
    };
    scene.promise();
    // It decides messages, not recipients.
    assert_eq!(verdict(port, &["other@example.com", "by-hand@example.com"]).0, 550);
    assert_eq!(verdict(port, &["other@example.com", "another@example.com"]).0, 250);
    scene.corpus();
    daemon.stop();
}

#[test]
fn the_lua_that_asks_over_http_rejects_with_one_code() {
    if !available("the_lua_that_asks_over_http", Host::missing("rspamd")) {
        return;
    }
    let mut host = Host::new("rspamd", Home::new(""));
    let daemon = host.daemon(As::Suppressd);
    let lua = block("lookups", "lua rspamd");
    assert!(lua.contains(ADMIN), "{lua}");
    let lua = lua.replace(ADMIN, &daemon.admin.to_string());
    host.write("/etc/rspamd/rspamd.local.lua", &lua);
    let port = free_port();
    bare(&host, port);
    host.start(&["/usr/bin/rspamd", "-f", "-u", "_rspamd", "-g", "_rspamd"]);
    wait_for("Rspamd", PATIENCE, || check(port, &["user@example.com"]));
    let scene = Scene {
        daemon: &daemon,
        export: "postfix",
        ask: &|address| verdict(port, &[address]),
        // The milter puts the code before it.
        refusal: &|_| "suppressed".to_owned(),
        patience: PATIENCE,
    };
    scene.promise();
    let both = ["other@example.com", "by-hand@example.com"];
    assert_eq!(verdict(port, &both), (550, "suppressed".to_owned()));
    daemon.stop();
    assert_eq!(verdict(port, &both).0, 250);
}

/// The page's lines among the packaged ones. No name server is asked, and nothing is compiled that
/// no map needs.
fn configure(host: &Host, lines: &str, port: u16) {
    let lines = parts(lines);
    let [multimap, options] = lines.as_slice() else { panic!("{lines:?}") };
    host.write("/etc/rspamd/local.d/multimap.conf", multimap);
    host.write("/etc/rspamd/local.d/options.inc", options);
    bare(host, port);
}

/// What it needs to run here.
fn bare(host: &Host, port: u16) {
    host.write("/etc/rspamd/tld", "com\n");
    host.write(
        "/etc/rspamd/override.d/options.inc",
        "url_tld = \"/etc/rspamd/tld\"; filters = \"\"; disable_hyperscan = true;
        dns { nameserver = [\"127.0.0.1:9\"]; timeout = 0.01s; retransmits = 1; }\n",
    );
    let normal = format!("bind_socket = \"127.0.0.1:{port}\";\n");
    host.write("/etc/rspamd/override.d/worker-normal.inc", &normal);
    for other in ["controller", "proxy"] {
        host.write(&format!("/etc/rspamd/override.d/worker-{other}.inc"), "count = -1;\n");
    }
    host.shell("install -d -o _rspamd -m 755 /var/lib/rspamd /var/log/rspamd /run/rspamd");
}

/// What it answers about a message to these recipients, as an SMTP server would say it.
fn verdict(port: u16, recipients: &[&str]) -> (u16, String) {
    let answer = check(port, recipients).unwrap();
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    let text = answer["messages"]["smtp_message"].as_str().unwrap_or_default().to_owned();
    (if answer["action"] == "reject" { 550 } else { 250 }, text)
}

/// Gives it a message; `None` if it is not there yet.
fn check(port: u16, recipients: &[&str]) -> Option<Answer> {
    let mut client = Client::connect(([127, 0, 0, 1], port).into()).ok()?;
    let mut headers = vec![("From", "sender@client.test")];
    headers.extend(recipients.iter().map(|recipient| ("Rcpt", *recipient)));
    let message = "From: sender@client.test\r\nSubject: test\r\n\r\ntest\r\n";
    client.send("POST", "/checkv2", &headers, message.as_bytes()).ok()?;
    client.answer().ok()
}
