//! Certificates that are had by ACME, from a CA that runs beside the daemon.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use data_encoding::{BASE64URL_NOPAD, HEXUPPER};
use suppressd::clock;

use crate::support::client::event;
use crate::support::daemon::{Daemon, Home, PATIENCE, source};
use crate::support::pebble::{self, Advising, Pebble, is_private};
use crate::support::{available, tls, wait_for};

const NAME: &str = "hooks.example.test";
const EXPIRY: &str = "suppressd_certificate_expiry_timestamp_seconds";

/// Long enough that no test sees the end of it, and so short that it is degraded once it cannot be
/// renewed.
const TEN_DAYS: u64 = 10 * 24 * 60 * 60;

/// A daemon's home, whose public listener is where the CA asks.
fn home(pebble: &Pebble, domains: &str) -> Home {
    let home = Home::bare("");
    configure(&home, pebble, domains);
    home
}

fn configure(home: &Home, pebble: &Pebble, domains: &str) {
    configure_by(home, pebble, &pebble.table(domains));
}

fn configure_by(home: &Home, pebble: &Pebble, table: &str) {
    home.configure_http(table, &source());
    let text = std::fs::read_to_string(home.config()).unwrap();
    let place = format!("listen = \"127.0.0.1:{}\"", pebble.asked);
    let text = text.replacen("listen = \"127.0.0.1:0\"", &place, 1);
    std::fs::write(home.config(), text).unwrap();
}

/// Whether a provider that trusts `root` alone delivers a notification to that name.
fn delivers(to: SocketAddr, name: &str, root: &Path) -> bool {
    let event = event("hard_bounce", "gone@example.com", name, 1);
    let answer = tls::trusting(to, name, root, b"http/1.1").and_then(|mut c| c.notify(&event));
    answer.is_ok_and(|answer| answer.status == 200)
}

fn until_delivered(daemon: &Daemon, name: &str, root: &Path) {
    wait_for(name, PATIENCE, || delivers(daemon.http, name, root).then_some(()));
}

/// The line of `/readyz` about the certificate.
fn certificate(daemon: &Daemon) -> String {
    let body = daemon.readyz().body;
    let line = body.lines().find(|line| line.contains("certificate"));
    line.unwrap_or_default().to_owned()
}

fn until_told(daemon: &Daemon, word: &str) -> String {
    wait_for(word, PATIENCE, || Some(certificate(daemon)).filter(|line| line.contains(word)))
}

#[test]
fn a_certificate_is_obtained_renewed_and_kept() {
    if !available("a_certificate_is_obtained_renewed_and_kept", pebble::missing()) {
        return;
    }
    let mut pebble = Pebble::new();
    pebble.start(pebble.asked, 15);
    let home = home(&pebble, &format!("[\"{NAME}\"]"));
    let daemon = home.start().ready();
    let root = pebble.root();
    until_delivered(&daemon, NAME, &root);
    // What is good for seconds is no reason to wake anybody, as long as it can be renewed.
    daemon.until_well();
    for file in ["", "certificate.pem", "account.json"] {
        assert!(is_private(&home.state().join("acme").join(file)), "{file}");
    }
    // Nobody but a CA with an order speaks that protocol.
    let mut other = tls::trusting(daemon.http, NAME, &root, b"acme-tls/1").unwrap();
    assert_eq!(other.notify("{}").unwrap_err().kind(), ErrorKind::InvalidData);

    let first = daemon.metric(EXPIRY).unwrap();
    let mut open = tls::trusting(daemon.http, NAME, &root, b"http/1.1").unwrap();
    open.notify(&event("hard_bounce", "a@example.com", "a", 1)).unwrap();
    wait_for("renewal", PATIENCE, || (daemon.metric(EXPIRY)? > first).then_some(()));
    assert!(delivers(daemon.http, NAME, &root), "by the new one");
    open.notify(&event("hard_bounce", "b@example.com", "b", 1)).unwrap();

    // Another name is another certificate, and the account stays.
    pebble.start(pebble.asked, TEN_DAYS);
    let root = pebble.root();
    configure(&home, &pebble, &format!("[\"{NAME}\", \"Mx1.Example.Test\"]"));
    assert!(daemon.cli(&["reload"]).status.success());
    until_delivered(&daemon, "mx1.example.test", &root);
    assert!(delivers(daemon.http, NAME, &root));
    assert!(daemon.log().contains("the CA does not know the account any more"), "it was made anew");

    // A start needs no CA while the certificate is good.
    let orders = |log: &str| log.matches("ordering a certificate").count();
    pebble.stop();
    daemon.stop();
    let daemon = home.start().ready();
    assert!(delivers(daemon.http, NAME, &root));
    daemon.until_well();
    assert_eq!(orders(&daemon.log()), 0);
    // A backup has no keys in it, and what it is restored beside stays.
    let (file, acme) = (home.dir.join("backup"), home.state().join("acme"));
    let file = file.to_str().unwrap();
    assert!(daemon.cli(&["backup", file]).status.success());
    assert!(daemon.cli(&["verify"]).status.success());
    daemon.stop();
    let kept = std::fs::read(acme.join("certificate.pem")).unwrap();
    std::fs::rename(&acme, home.dir.join("acme")).unwrap();
    std::fs::remove_dir_all(home.state()).unwrap();
    std::fs::create_dir(home.state()).unwrap();
    std::fs::rename(home.dir.join("acme"), &acme).unwrap();
    let restored = crate::support::daemon::cli(&home.config(), &["restore", file]);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    assert_eq!(std::fs::read(acme.join("certificate.pem")).unwrap(), kept);
}

#[test]
fn a_ca_that_is_down_or_refuses_holds_nothing_up() {
    if !available("a_ca_that_is_down_or_refuses_holds_nothing_up", pebble::missing()) {
        return;
    }
    let mut pebble = Pebble::new();
    let home = home(&pebble, &format!("[\"{NAME}\"]"));
    // Down: what was told is told again, and tried again by itself.
    let daemon = home.start().ready();
    let line = until_told(&daemon, "cannot connect");
    assert!(line.starts_with("degraded certificate: there is none yet"), "{line}");
    let (code, rows) = daemon.answer(&["status"]);
    assert_eq!((code, &rows[0]["checks"][0]["name"]), (4, &"certificate".into()));
    assert!(
        tls::trusting(daemon.http, NAME, &pebble.ca(), b"http/1.1").unwrap().notify("{}").is_err()
    );
    assert_eq!(daemon.metric(EXPIRY), None);

    // It asks where nobody listens: that is a refusal, and told with its reason.
    let elsewhere = 1;
    pebble.start(elsewhere, TEN_DAYS);
    let line = until_told(&daemon, "could not verify");
    assert!(line.contains(NAME) && line.contains("port 443 of each name"), "{line}");
    assert!(line.contains("tried again at"), "{line}");

    // Mended, a reload is enough. This CA knows nothing of the account that another has made.
    pebble.start(pebble.asked, TEN_DAYS);
    assert!(daemon.cli(&["reload"]).status.success());
    until_delivered(&daemon, NAME, &pebble.root());
    daemon.until_well();
    assert!(daemon.metric(EXPIRY).unwrap() > 0.0);

    // What is damaged is had again.
    let file = home.state().join("acme/certificate.pem");
    daemon.stop();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, &text[..text.len() / 2]).unwrap();
    let daemon = home.start().ready();
    daemon.until_logged("another is had from the CA");
    until_delivered(&daemon, NAME, &pebble.root());

    // Due, and not to be had: the one of before goes on, and its end is near enough to be told.
    pebble.start(pebble.asked, 9);
    std::fs::remove_file(&file).unwrap();
    assert!(daemon.cli(&["reload"]).status.success());
    let root = pebble.root();
    until_delivered(&daemon, NAME, &root);
    pebble.stop();
    let line = until_told(&daemon, "tried again at");
    assert!(line.starts_with("degraded certificate: it "), "{line}");
    drop(daemon.stop());
}

/// What `openssl` says of the certificate that is kept, in the form that a CA asks for.
fn id_of(certificate: &Path) -> String {
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-noout", "-serial", "-ext", "authorityKeyIdentifier", "-in"]);
    let said = String::from_utf8(openssl.arg(certificate).output().unwrap().stdout).unwrap();
    let hex = |text: &str| HEXUPPER.decode(text.replace(':', "").as_bytes()).unwrap();
    let serial = said.lines().find_map(|line| line.strip_prefix("serial=")).unwrap();
    let mut serial = hex(serial);
    if serial[0] >= 0x80 {
        serial.insert(0, 0);
    }
    let key = said.lines().map(str::trim).find(|line| line.contains(':') && !line.contains("X509"));
    let key = hex(key.unwrap().trim_start_matches("keyid:"));
    format!("{}.{}", BASE64URL_NOPAD.encode(&key), BASE64URL_NOPAD.encode(&serial))
}

#[test]
fn a_certificate_is_renewed_when_the_ca_suggests_it() {
    if !available("a_certificate_is_renewed_when_the_ca_suggests_it", pebble::missing()) {
        return;
    }
    let mut pebble = Pebble::new();
    pebble.start(pebble.asked, TEN_DAYS);
    let advising = Advising::before(&pebble);
    let day = Duration::from_secs(24 * 60 * 60);
    let [soon, later] = [1, 2].map(|days| clock::now().plus(days * day).to_string());
    advising.suggest(&soon, &later);
    let home = Home::bare("");
    let table = pebble.table_at(&format!("[\"{NAME}\"]"), advising.port);
    configure_by(&home, &pebble, &table);
    let daemon = home.start().ready();
    until_delivered(&daemon, NAME, &pebble.root());
    daemon.until_logged("the CA suggests when to renew");
    let file = home.state().join("acme/certificate.pem");
    let first = id_of(&file);
    assert_eq!(advising.asked(), std::slice::from_ref(&first));

    // The CA wants it back.
    advising.suggest("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    assert!(daemon.cli(&["reload"]).status.success());
    let renewed = || Some(id_of(&file)).filter(|id| *id != first);
    let second = wait_for("another certificate", PATIENCE, renewed);
    let asked = || (advising.asked() == [&*first, &first, &second]).then_some(());
    wait_for("a question about it", PATIENCE, asked);
    // One that never is content is not asked for ever more of them.
    assert!(daemon.cli(&["reload"]).status.success());
    wait_for("another question", PATIENCE, || (advising.asked().len() == 4).then_some(()));
    daemon.until_well();
    assert_eq!(id_of(&file), second);

    // What it says makes no sense: then it is as usual.
    advising.suggest("soon", "later");
    assert!(daemon.cli(&["reload"]).status.success());
    wait_for("another question", PATIENCE, || (advising.asked().len() == 5).then_some(()));
    daemon.until_well();
    assert_eq!(daemon.log().matches("ordering a certificate").count(), 2);
    drop(daemon.stop());
}
