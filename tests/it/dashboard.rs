//! The dashboard: what it shows, what its forms do, whom they refuse; and all of it in a browser.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::available;
use crate::support::child::output;
use crate::support::client::{self, Answer, event, notify};
use crate::support::daemon::{Daemon, Home, PATIENCE};
use crate::support::wait_for;

const TOKEN: &str = "let-me-in";

/// A daemon with a token on its private listener, and a mass that is held back.
fn with_token(home: &Home) -> Daemon {
    let text = std::fs::read_to_string(home.config()).unwrap();
    let listen = "[admin]\nlisten = \"127.0.0.1:0\"\n";
    assert!(text.contains(listen));
    let text = text.replace(listen, &format!("{listen}token = \"{TOKEN}\"\n"));
    std::fs::write(home.config(), text).unwrap();
    home.start().ready()
}

/// What keeps new suppressions back above five an hour.
const HOLD: &str = "[hold]\nnew = { count = 5, within = \"1h\" }\nby = [\"source\"]\n";

fn get(daemon: &Daemon, path: &str) -> Answer {
    client::request(daemon.admin, "GET", path, &[], b"")
}

fn act(daemon: &Daemon, headers: &[(&str, &str)], form: &str) -> Answer {
    let form_type = ("content-type", "application/x-www-form-urlencoded");
    let headers = [&[form_type], headers].concat();
    client::request(daemon.admin, "POST", "/act", &headers, form.as_bytes())
}

/// Something of everything: suppressions, a mass, a refusal, and a payload in quarantine.
fn fill(daemon: &Daemon) {
    for number in 0..9 {
        let address = format!("gone{number}@example.org");
        let told = notify(daemon.http, &event("hard_bounce", &address, &address, number));
        assert_eq!(told.status, 200);
    }
    notify(daemon.http, "not an event");
    let forged = [("x-webhook-signature", "00")];
    let refused = client::request(daemon.http, "POST", "/hooks/test", &forged, b"{}");
    assert_eq!(refused.status, 400);
    client::request(daemon.http, "POST", "/hooks/%3Cscript%3E", &[], b"{}");
    daemon.until_suppressed("gone0@example.org");
    let shown = || {
        let page = get(daemon, "/").body;
        let all = ["Mass ", "not understood", "</span>hard_bounce"];
        all.iter().all(|part| page.contains(part)).then_some(())
    };
    wait_for("the mass and the quarantine", PATIENCE, shown);
}

#[test]
fn everything_is_on_the_first_page_and_nothing_of_it_can_do_harm() {
    let home = Home::new(HOLD);
    let daemon = with_token(&home);
    fill(&daemon);
    let answer = get(&daemon, "/");
    assert_eq!(answer.status, 200);
    let page = &answer.body;
    for shown in [
        "<h1>State: <span class=\"word warn\">degraded</span></h1>",
        "<b>quarantine</b>",
        "<th scope=\"row\">test</th><td>generic</td>",
        "aria-label=\"New events of test in the last day",
        "New events in ten minutes, by kind",
        "signature",
        "suppressd quarantine list",
        "postfix-access",
        "No lookup is configured.",
        "value=\"lift-held\"",
    ] {
        assert!(page.contains(shown), "{shown} is not in\n{page}");
    }
    for harm in ["style=", "<style", "onclick", "javascript:", "http://", "https://", "<script>"] {
        assert!(!page.contains(harm), "{harm} is in\n{page}");
    }
    let policy = answer.header("content-security-policy").unwrap();
    for part in ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    for (path, kind) in [("/dashboard.css", "text/css"), ("/dashboard.js", "text/javascript")] {
        let asset = get(&daemon, path);
        assert!(asset.header("content-type").unwrap().starts_with(kind), "{path}");
        assert!(page.contains(path), "{path}");
    }
}

#[test]
fn an_address_is_explained_lifted_and_suppressed_with_the_token_only() {
    let home = Home::new("");
    let daemon = with_token(&home);
    fill_one(&daemon);
    let page = wait_for("its event", PATIENCE, || {
        let page = get(&daemon, "/address?q=Gone%40example.org").body;
        page.contains("no such user").then_some(page)
    });
    for shown in ["<b>hard_bounce</b>", "no such user", "value=\"lift\"", "postfix"] {
        assert!(page.contains(shown), "{shown} is not in\n{page}");
    }
    let lift = "act=lift&address=gone%40example.org&note=they+called";
    for (headers, form, status) in [
        (&[][..], lift.to_owned(), 403),
        (&[], format!("{lift}&token=wrong"), 403),
        (&[], format!("{lift}&token=%0A"), 403),
        (&[("sec-fetch-site", "cross-site")], format!("{lift}&token={TOKEN}"), 403),
        (&[("sec-fetch-site", "same-site")], format!("{lift}&token={TOKEN}"), 403),
        (&[], format!("act=odd&token={TOKEN}"), 400),
        (&[], format!("act=lift&token={TOKEN}"), 400),
        (&[], format!("act=lift&address=nobody&token={TOKEN}"), 400),
    ] {
        let answer = act(&daemon, headers, &form);
        assert_eq!(answer.status, status, "{form}: {}", answer.body);
        assert_eq!(daemon.looked_up("gone@example.org"), 200, "{form}");
    }
    let own = [("sec-fetch-site", "same-origin")];
    let answer = act(&daemon, &own, &format!("{lift}&token={TOKEN}"));
    let then = "/address?q=gone%40example.org&done=lift";
    assert_eq!((answer.status, answer.header("location")), (303, Some(then)));
    assert_eq!(daemon.looked_up("gone@example.org"), 404);
    let page = get(&daemon, then).body;
    assert!(page.contains("Lifted.") && page.contains("value=\"add\""), "{page}");
    let add = format!("act=add&address=gone%40example.org&for=30d&token={TOKEN}");
    assert_eq!(act(&daemon, &[], &add).status, 303);
    assert_eq!(daemon.looked_up("gone@example.org"), 200);
    let bad = get(&daemon, "/address?q=%3Cb%3E");
    assert_eq!(bad.status, 400);
    assert!(bad.body.contains("&lt;b&gt;") && !bad.body.contains("<b>"), "{}", bad.body);
}

fn fill_one(daemon: &Daemon) {
    notify(daemon.http, &event("hard_bounce", "gone@example.org", "m", 1));
    daemon.until_suppressed("gone@example.org");
}

#[test]
fn what_a_sender_wrote_does_no_harm_and_fills_no_page() {
    let home = Home::new("");
    let daemon = with_token(&home);
    let address = "ann@example.org";
    let reply = format!(
        "550 5.1.1 no such user <img src=x onerror=alert(1)>\u{202e}{}",
        "x".repeat(100_000)
    );
    for number in 0..20 {
        let told = event("hard_bounce", address, &format!("m{number}"), number);
        let told = told.replace("550 5.1.1 no such user", &reply);
        assert_eq!(notify(daemon.http, &told).status, 200);
    }
    let page = wait_for("its events", PATIENCE, || {
        let page = get(&daemon, "/address?q=ann%40example.org").body;
        (page.matches("no such user").count() >= 5).then_some(page)
    });
    assert!(
        page.contains("no such user &lt;img src=x onerror=alert(1)&gt;\u{fffd}xxx"),
        "{page:.4000}"
    );
    assert!(!page.contains('\u{202e}') && !page.contains("<img"), "{page:.4000}");
    assert!(page.len() < 40_000, "{} bytes", page.len());
    // What explains it is bounded, too.
    let explained = &daemon.rows(&["explain", address])[0];
    let (shown, left) =
        (explained["events"].as_array().unwrap().len(), &explained["events_left_out"]);
    assert!(explained.to_string().len() < 1_300_000, "{shown}");
    assert_eq!(shown as u64 + left.as_u64().unwrap(), 20);
}

#[test]
fn a_mass_and_a_quarantined_payload_are_dealt_with() {
    let home = Home::new(HOLD);
    let daemon = with_token(&home);
    fill(&daemon);
    let mass = daemon.rows(&["held"])[0]["id"].clone();
    assert_eq!(daemon.looked_up("gone8@example.org"), 404);
    assert_eq!(act(&daemon, &[], &format!("act=release&id={mass}&token={TOKEN}")).status, 303);
    assert_eq!(daemon.looked_up("gone8@example.org"), 200);
    let id = daemon.rows(&["quarantine", "list"])[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(act(&daemon, &[], &format!("act=drop&id={id}&token={TOKEN}")).status, 303);
    let page = get(&daemon, "/?done=drop").body;
    assert!(page.contains("Dropped.") && page.contains("Nothing is held back."), "{page}");
}

#[test]
fn without_a_token_it_only_shows() {
    let daemon = Home::new("").start().ready();
    let page = get(&daemon, "/").body;
    assert!(page.contains("[admin] token") && !page.contains("<form method=\"post\""), "{page}");
    let answer = act(&daemon, &[], "act=add&address=a%40example.org&token=");
    assert_eq!(answer.status, 403);
    assert_eq!(daemon.looked_up("a@example.org"), 404);
    assert_eq!(get(&daemon, "/act").status, 405);
}

/// Where `.ci/run` puts what drives the browser.
fn modules() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_suppressd"))
        .ancestors()
        .nth(2)
        .unwrap()
        .join("browser/node_modules")
}

#[test]
fn it_is_usable_in_a_browser() {
    let missing = [Path::new("/usr/bin/chromium"), &modules().join("playwright-core")]
        .into_iter()
        .find(|path| !path.exists())
        .map(|path| format!("{} is not there", path.display()));
    if !available("the dashboard in a browser", missing) {
        return;
    }
    let home = Home::new(HOLD);
    let daemon = with_token(&home);
    fill(&daemon);
    let mut command = Command::new("node");
    command
        .env("NODE_PATH", modules())
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/dashboard.cjs"));
    command.args([&format!("http://{}", daemon.admin), TOKEN, "gone0@example.org"]);
    // SUPPRESSD_SCREENSHOTS=docs makes the pictures of the documentation.
    command.args(std::env::var("SUPPRESSD_SCREENSHOTS"));
    let output = output(&mut command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", get(&daemon, "/").body);
}
