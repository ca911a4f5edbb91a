//! How hosts show the servers who they are, with no more permissions than docs/fleet.md gives them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::child::output;
use crate::support::client::{event, notify};
use crate::support::daemon::Home;
use crate::support::fleet::LEVEL;
use crate::support::nats::{self, Nats};
use crate::support::{available, wait_for};

const HOSTS: [&str; 2] = ["mx1", "mx2"];

/// The seeds of users' NKEYs, each with the public key.
const NKEYS: [(&str, &str); 2] = [
    (
        "SUAMDVHN3FRVLPLY5BKN32X2OZDJEC57ENGPS5IUYPQOX3DDQFDPDBYH64",
        "UDFYELKG3BYD6SO7TIOGQAVM4JXTB7RD4TKY35TTBIGHMI6Q6VOQQGQY",
    ),
    (
        "SUAHGZRGCN7QBEOUAFADKHXZNKYZ6FBVDEFGKNGJ3HPTYVLFLLS4XCZGXY",
        "UBGUJ5S7QFNRAWAPGI5O2V2BXA672X4SGAKTSIDG3PRKAQEKZFRHPZYN",
    ),
];

/// An authority, and certificates of it.
struct Authority(tempfile::TempDir);

impl Authority {
    fn new() -> Authority {
        let authority = Authority(tempfile::tempdir().unwrap());
        authority.certify("ca", "basicConstraints = critical, CA:TRUE", None);
        let leaf = |name: &str, names: &str| {
            let text = format!("basicConstraints = CA:FALSE\nsubjectAltName = {names}");
            authority.certify(name, &text, Some("ca"));
        };
        leaf("server", "DNS:localhost, IP:127.0.0.1");
        HOSTS.iter().for_each(|host| leaf(host, &format!("DNS:{host}")));
        authority
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn certify(&self, name: &str, extensions: &str, by: Option<&str>) {
        let config = self.file(&format!("{name}.conf"));
        let text = format!("[req]\ndistinguished_name = dn\n[dn]\n[ext]\n{extensions}\n");
        std::fs::write(&config, text).unwrap();
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        openssl.args(["-nodes", "-days", "2", "-extensions", "ext", "-subj"]);
        openssl.arg(format!("/CN={name}")).arg("-config").arg(config);
        openssl.arg("-out").arg(self.file(&format!("{name}.pem")));
        openssl.arg("-keyout").arg(self.file(&format!("{name}.key")));
        if let Some(by) = by {
            openssl.arg("-CA").arg(self.file(&format!("{by}.pem")));
            openssl.arg("-CAkey").arg(self.file(&format!("{by}.key")));
        }
        let made = output(&mut openssl);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// The table `tls` of a server.
    fn of_server(&self) -> String {
        let [certificate, key, ca] = ["server.pem", "server.key", "ca.pem"].map(|f| self.file(f));
        format!(
            "tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {ca:?}, \
             verify_and_map: true }}\n"
        )
    }

    /// The setting `tls` of a host.
    fn of_host(&self, host: &str) -> String {
        let (certificate, key) = (format!("{host}.pem"), format!("{host}.key"));
        let [certificate, key, ca] = [certificate, key, "ca.pem".to_owned()].map(|f| self.file(&f));
        format!("tls = {{ ca = {ca:?}, certificate = {certificate:?}, key = {key:?} }}\n")
    }
}

/// The users of a server, each with who it is, and the permissions that docs/fleet.md shows.
fn accounts(who: impl Fn(usize) -> String) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fleet.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once("permissions: {").expect("docs/fleet.md shows permissions");
    let (permissions, _) = rest.split_once("} } }").expect("their end");
    let user = |(index, host): (usize, &&str)| {
        let permissions = permissions.replace("mx1", host);
        format!("{{ {}, permissions: {{{permissions}}} }} }}\n", who(index))
    };
    let users: String = HOSTS.iter().enumerate().map(user).collect();
    format!("accounts {{ MAIL {{ jetstream: enabled\nusers: [\n{users}] }} }}\n")
}

/// Two hosts that log in so know what either is told, and one of them polls.
fn works(nats: &Nats, login: impl Fn(usize) -> String) {
    let homes: Vec<Home> =
        (0..2).map(|index| Home::new(&fleet(nats, index, &login(index)))).collect();
    let hosts: Vec<_> = homes.iter().map(|home| home.start().ready()).collect();
    for (index, address) in ["one@example.com", "other@example.com"].into_iter().enumerate() {
        let body = event("hard_bounce", address, &format!("m{index}"), 1);
        assert_eq!(notify(hosts[index].http, &body).status, 200);
        let known = || (hosts[1 - index].looked_up(address) == 200).then_some(());
        wait_for("the other host's knowledge", LEVEL, known);
    }
    let row = |index: usize| hosts[index].rows(&["fleet"]).remove(0);
    let polls = |index: usize| !row(index)["hosts"][0]["polls"].as_array().unwrap().is_empty();
    wait_for("one that polls", LEVEL, || (polls(0) || polls(1)).then_some(()));
    let repaired = hosts[0].rows(&["fleet", "repair"]);
    assert_eq!(repaired, [json!({ "host": "mx2", "differs": 0 })]);
    for host in &hosts {
        assert_eq!(host.rows(&["fleet"])[0]["fleet"]["problems"], json!([]), "{}", host.log());
    }
}

fn fleet(nats: &Nats, index: usize, login: &str) -> String {
    let (host, urls) = (HOSTS[index], nats.urls());
    let polled = "[[source]]\nname = \"polled\"\nprovider = \"generic\"\n\
        poll = { url = \"http://127.0.0.1:9/e\", bearer = \"secret\", every = \"1h\" }\n";
    format!("{polled}[fleet]\nhost = \"{host}\"\nnats = {urls}\nreplicas = 1\n{login}")
}

#[test]
fn a_host_shows_a_client_certificate() {
    if !available("a_host_shows_a_client_certificate", nats::missing()) {
        return;
    }
    let authority = Authority::new();
    let users = accounts(|index| format!("user: {}", HOSTS[index]));
    let nats = Nats::with(1, "tls", &(authority.of_server() + &users));
    works(&nats, |index| authority.of_host(HOSTS[index]));
}

#[test]
fn a_host_shows_name_and_password_or_is_told_that_they_are_wrong() {
    let test = "a_host_shows_name_and_password_or_is_told_that_they_are_wrong";
    if !available(test, nats::missing()) {
        return;
    }
    let users = accounts(|index| format!("user: {}, password: \"pass-{index}\"", HOSTS[index]));
    let nats = Nats::with(1, "nats", &users);
    let login = |index: usize, password: &str| {
        format!("user = \"{}\"\npassword = \"{password}\"\n", HOSTS[index])
    };
    works(&nats, |index| login(index, &format!("pass-{index}")));
    let home = Home::new(&fleet(&nats, 0, &login(0, "not-this-one")));
    let daemon = home.start();
    let refused = || {
        let row = daemon.rows(&["fleet"]).remove(0);
        let problems = row["fleet"]["problems"].to_string().to_lowercase();
        (problems.contains("authorization") && row["fleet"]["connected"] == false).then_some(())
    };
    wait_for("the refusal", LEVEL, refused);
    assert!(!daemon.log().contains("not-this-one"));
}

#[test]
fn a_host_signs_with_an_nkey() {
    if !available("a_host_signs_with_an_nkey", nats::missing()) {
        return;
    }
    let users = accounts(|index| format!("nkey: {}", NKEYS[index].1));
    let nats = Nats::with(1, "nats", &users);
    works(&nats, |index| format!("credentials = \"{}\"\n", NKEYS[index].0));
}
