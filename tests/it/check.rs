//! `suppressd check` as an administrator has it: a mistake in, a word and a remedy out.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::geteuid;
use serde_json::Value;

use suppressd::config::{self, Environment, Problem};

use crate::support::available;
use crate::support::daemon::PROGRAM;

/// A configuration without a fault; a case replaces a part of it, or adds to it.
const GOOD: &str = r#"[http]
listen = "127.0.0.1:8025"
public_url = "https://hooks.example.org"
[store]
path = "DIR/state"
[control]
socket = "DIR/control.sock"
[[source]]
name = "acme"
provider = "generic"
webhook = { secret = "a-good-one" }
"#;

const EXPORT: &str =
    "[[export]]\nname = \"x\"\nformat = \"plain\"\npath = \"DIR/state/export/x\"\n";

/// What is replaced, by what, the exit status, and what is said.
type Case = (&'static str, &'static str, i32, &'static str);

/// Mistakes that leave a valid file, or one whose fault is not where it shows.
const MISTAKES: &[Case] = &[
    ("https://hooks", "http://hooks", 0, "warning: http.public_url: is not an https URL"),
    ("example.org\"", "example.org/hooks/\"", 0, "has the path of a webhook already"),
    ("example.org\"", "example.org/hooks/acme\"", 0, "has the path of a webhook already"),
    ("a-good-one", "${MAILGUN_KEY}", 78, "names what is to be put there, and is no secret"),
    ("a-good-one", "$MAILGUN_KEY", 78, "write { env = \"NAME\" } for a variable"),
    ("a-good-one", "<your key>", 78, "names what is to be put there"),
    (
        "a-good-one",
        "changeme",
        0,
        "source[1].webhook.secret (\"acme\"): is what stands in examples",
    ),
    ("a-good-one", "change this secret", 0, "is what stands in examples"),
    ("a-good-one", " a-good-one", 0, "begins or ends with blanks"),
    ("127.0.0.1:8025", "localhost:8025", 78, "write \"127.0.0.1:8025\": names are not looked up"),
    ("127.0.0.1:8025", ":8025", 78, "or \"0.0.0.0:8025\" for other hosts too"),
    ("127.0.0.1:8025", "8025", 78, "write \"127.0.0.1:8025\""),
    ("127.0.0.1:8025", "/run/x.sock", 78, "write \"unix:/run/x.sock\""),
    ("127.0.0.1:8025", "127.0.0.1:9100", 0, "add SocketBindAllow=tcp:9100"),
    ("\"127.0.0.1:8025\"", "\u{201c}127.0.0.1:8025\u{201d}", 78, "these quotes are curly"),
    ("listen = ", "listen: ", 78, "this is YAML"),
    ("[http]", "{ \"http\":", 78, "this is JSON"),
    ("[http]", "[admin]\nlisten = \"0.0.0.0:9025\"\n[http]", 78, "is open to other hosts"),
    ("127.0.0.1:8025", "0.0.0.0:443", 0, "0.0.0.0:443 is open to other hosts without TLS"),
    ("[store]", "body_max = \"512MiB\"\n[store]", 0, "is 2048 MiB with a body_max of 512 MiB"),
    ("[store]", "memory = \"2GiB\"\n[store]", 0, "has MemoryHigh=2G for all\n"),
    ("[store]", "trusted_proxies = [\"0.0.0.0/0\"]\n[store]", 0, "whole parts of the Internet"),
    ("[store]", "trusted_proxies = [\"::/0\"]\n[store]", 0, "whole parts of the Internet"),
    ("[store]", BODIES, 78, "use at least 4 times http.body_max"),
    ("DIR/control", "/srv/control", 0, "control.socket: the unit"),
    ("DIR/state", "/home/suppressd", 0, "such as one in /var/lib/suppressd"),
    ("l.sock\"", "l.sock\"\nmode = \"0666\"", 0, "lets every user of this host use the socket"),
    ("[store]", OPEN_ADMIN, 0, "admin.mode: lets every user of this host use the socket"),
    ("DIR/state", "state", 0, "store.path: \"state\" is a relative path"),
    ("DIR/state", "/etc/passwd/x", 78, "store.path: \"/etc/passwd\" is a file, and no directory"),
    ("DIR/control", "/etc/passwd/x", 78, "\"/etc/passwd\" is a file, and no directory"),
    ("[store]", "[rules]\ncomplaint = \"never\"\n[store]", 78, "leave it out of `reasons`"),
    ("{ secret =", "{ signing_key =", 78, "did you mean \"secret\"?"),
    ("generic", "ses", 78, "did you mean \"amazon-ses\"?"),
    ("generic", "sendinblue", 78, "did you mean \"brevo\"?"),
    (
        "generic\"\nwebhook = {",
        "sendgrid\"\nwebhook = { verification_key = \"x\",",
        78,
        "\"public_key\"?",
    ),
    (
        "generic\"\nwebhook = { secret = \"a-good-one\" }",
        "postmark\"\npoll = { api_token = \"x\" }",
        78,
        "did you mean \"server_token\"?",
    ),
];

const BODIES: &str = "body_max = \"64MiB\"\nmemory = \"32MiB\"\n[store]";

const OPEN_ADMIN: &str = "[admin]\nlisten = \"unix:DIR/admin.sock\"\nmode = \"0666\"\n[store]";

/// The same, behind the whole file.
const ADDED: &[Case] = &[
    ("DIR/state/export/x\"", "DIR/exprot/x\"", 0, "DIR/exprot\" is no directory"),
    ("DIR/state/export/x\"", CODE_ALONE, 0, "rules.reply[1].code: alone calls every address dead"),
    ("DIR/state/export/x\"", ONE_LETTER, 0, "rules.reply[1].text: stands in nearly every reply"),
    ("DIR/state/export/x\"", "DIR/state/x\"", 0, "is among the store's own directories"),
    ("DIR/state/export/x\"", "/etc/passwd/x\"", 0, "\"/etc/passwd\" is a file"),
    ("DIR/state/export/x\"", "/tmp/x\"", 0, "has a /tmp of its own: no other program sees /tmp"),
    ("DIR/state/export/x\"", "/etc/x/x\"", 0, "add ReadWritePaths=/etc/x to it"),
    ("DIR/state/export/x\"", FILE_IN_A_HOME, 0, "forward[1].file (\"f\"): the unit"),
    ("DIR/state/export/x\"", OPEN_LOOKUP, 0, "config.toml:18: warning: lookup[1].listen: 0.0.0.0:"),
    ("DIR/state/export/x\"", "DIR/state/export/x\"\nmode = 0644", 78, "write the mode in quotes"),
    ("DIR/state/export/x\"", "DIR/state/journal/x\"", 78, "is in a directory of the store"),
    (
        "DIR/state/export/x\"",
        "DIR/state/export/x\"\ncommand = [\"/usr/sbin/no-such-thing\"]",
        0,
        "names no program that can be run here",
    ),
    (
        "DIR/state/export/x\"",
        "DIR/state/export/x\"\ncommand = [\"/usr/sbin/postmap lmdb:x\"]",
        78,
        "is one text with blanks",
    ),
];

const CODE_ALONE: &str =
    "DIR/state/export/x\"\n[[rules.reply]]\ncode = 550\nclass = \"no_mailbox\"";
const ONE_LETTER: &str = "DIR/state/export/x\"\n[[rules.reply]]\ntext = \"e\"\nclass = \"full\"";

const FILE_IN_A_HOME: &str =
    "DIR/state/export/x\"\n[[forward]]\nname = \"f\"\nfile = \"/home/f/events.jsonl\"";

const OPEN_LOOKUP: &str =
    "DIR/state/export/x\"\n[[lookup]]\nprotocol = \"socketmap\"\nlisten = \"0.0.0.0:10031\"";

const SOURCES: &[Case] = &[
    (
        "",
        "provider = \"amazon-ses\"\nwebhook = { topic_arns = [\"ses-events\"] }",
        78,
        "is not an ARN",
    ),
    ("", SES_REGION, 0, "did you mean \"eu-west-1\"?"),
    ("", SES_SWAPPED, 78, "are access_key (the id) and secret_key swapped?"),
    ("", MAILGUN_URL, 78, "write the domain alone"),
    ("", "provider = \"sendgird\"\npoll = { every = \"5 minutes\" }", 78, "is not a duration"),
    ("", "provider = \"pigeon\"\npoll = { every = \"5 minutes\" }", 78, "is not a duration"),
    ("", "provider = \"pigeon\"\nwebhook = { secret = 7 }", 78, "is an integer, not a secret"),
];

const SES_REGION: &str = "provider = \"amazon-ses\"\npoll = { region = \"eu-wst-1\", \
     access_key = \"AKIAIOSFODNN7EXAMPLE\", \
     secret_key = \"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\" }";

const SES_SWAPPED: &str = "provider = \"amazon-ses\"\npoll = { region = \"eu-west-1\", \
     access_key = \"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\", \
     secret_key = \"AKIAIOSFODNN7EXAMPLE\" }";

const MAILGUN_URL: &str = "provider = \"mailgun\"\npoll = { api_key = \"k\", \
     domains = [\"https://mg.example.org\"] }";

/// A directory that any user can enter, with a configuration.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new(text: &str) -> Place {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let place = Place { directory };
        place.write(text);
        place
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, text: &str) {
        let text = text.replace("DIR", self.path().to_str().unwrap());
        fs::write(self.config(), text).unwrap();
    }

    fn config(&self) -> PathBuf {
        self.path().join("config.toml")
    }

    /// The exit status, and all that is said, with `DIR` for the directory.
    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).arg("-c").arg(self.config());
        let output = command.env_remove("CREDENTIALS_DIRECTORY").output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        (output.status.code().unwrap(), said.replace(self.path().to_str().unwrap(), "DIR"))
    }

    fn check(&self) -> (i32, String) {
        self.run(&["check"])
    }
}

#[test]
fn every_mistake_gets_its_word() {
    assert_eq!(Place::new(GOOD).check().0, 0);
    let assert = |text: &str, (_, by, code, word): &Case| {
        let (found, said) = Place::new(text).check();
        assert_eq!(found, *code, "{by}: {said}");
        assert!(said.contains(word), "{by}: {word} is not in\n{said}");
    };
    for case in MISTAKES {
        let text = GOOD.replacen(case.0, case.1, 1);
        assert_ne!(text, GOOD, "{case:?}");
        assert(&text, case);
    }
    for case in ADDED {
        assert(&format!("{GOOD}{}", EXPORT.replacen(case.0, case.1, 1)), case);
    }
    for case in SOURCES {
        assert(&format!("{GOOD}[[source]]\nname = \"second\"\n{}\n", case.1), case);
    }
    for text in ["", "\n", "# nothing\n"] {
        let (code, said) = Place::new(text).check();
        assert_eq!(code, 78, "{said}");
        assert!(said.contains("source: is missing"), "{said}");
    }
}

#[test]
fn a_good_file_is_told_nothing() {
    let (code, said) = Place::new(&format!("{GOOD}{EXPORT}")).check();
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("warning") && !said.contains("hint"), "{said}");
}

/// Who asks another host for events proves itself in one way or another.
#[test]
fn a_poll_that_shows_no_credential_is_told() {
    let generic = |keys: &str| format!("provider = \"generic\"\npoll = {{ {keys} }}\n");
    let custom = |url: &str, keys: &str| {
        format!(
            "provider = \"custom\"\n[source.poll]\n{keys}\n\
             event = {{ type = \"/k\", recipient = \"/r\", map = [{{ kind = \"listed\" }}] }}\n\
             [[source.poll.feed]]\nname = \"events\"\nurl = \"{url}\"\nitems = \"/rows\"\n"
        )
    };
    let url = "https://a.example/events";
    for (source, told) in [
        (generic(&format!("url = \"{url}\"")), Some("hint: set bearer, unless")),
        (generic(&format!("url = \"{url}\", bearer = \"a-good-one\"")), None),
        (generic(&format!("url = \"{url}?token=a-good-one\"")), None),
        (generic(&format!("url = \"{url}\", bearer = {{ credential = \"x\" }}")), None),
        (generic("url = \"http://127.0.0.1:1/events\""), None),
        (custom(url, ""), Some("hint: set secret and auth, unless")),
        (custom(url, "auth = \"bearer\"\nsecret = \"a-good-one\""), None),
        (custom("https://[::1]/events", ""), None),
    ] {
        let (code, said) = Place::new(&format!("{GOOD}[[source]]\nname = \"b\"\n{source}")).check();
        let is_told = said.contains("source[2].poll (\"b\"): asks a.example without a credential");
        assert_eq!((code, is_told), (0, told.is_some()), "{source}: {said}");
        assert!(said.contains(told.unwrap_or_default()), "{source}: {said}");
    }
}

#[test]
fn a_secret_that_every_user_can_read_is_told() {
    let place = Place::new("");
    let (secret, inner) = (place.path().join("secret"), place.path().join("inner"));
    fs::create_dir(&inner).unwrap();
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    for (path, mode, above, told) in [
        (secret.clone(), 0o644, 0o755, true),
        (secret, 0o640, 0o755, false),
        (inner.join("secret"), 0o644, 0o750, false),
    ] {
        fs::write(&path, "a-good-one").unwrap();
        set(&path, mode);
        set(&inner, above);
        let file = format!("{{ file = \"{}\" }}", path.display());
        place.write(&GOOD.replace("\"a-good-one\"", &file));
        let (code, said) = place.check();
        assert_eq!((code, said.contains("every user of this host")), (0, told), "{said}");
    }
    // Where the unit has the configuration, and a file that is there for everybody.
    let environment = Environment::new(|_| None, None);
    let path = Path::new("/etc/passwd");
    let remarks = config::parse(path, GOOD, &environment).ok().unwrap().remarks;
    let is_told = |remark: &Problem| remark.what.contains("stands in a file that every user");
    assert!(remarks.iter().any(is_told), "{remarks:?}");
}

#[test]
fn what_nobody_hears_is_told() {
    let (code, said) = Place::new(GOOD).check();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("warning: export: there is none"), "{said}");
}

#[test]
fn files_that_are_told_apart_by_spelling_alone_are_one() {
    let place = Place::new("");
    fs::create_dir(place.path().join("maps")).unwrap();
    symlink(place.path().join("maps"), place.path().join("other")).unwrap();
    for spelling in ["DIR/maps/../maps/x", "DIR//maps/./x", "DIR/other/x"] {
        let export = |name: &str, path: &str| {
            EXPORT.replace("\"x\"", &format!("\"{name}\"")).replace("DIR/state/export/x", path)
        };
        place.write(&[GOOD, &export("a", "DIR/maps/x"), &export("b", spelling)].concat());
        let (code, said) = place.check();
        assert_eq!(code, 78, "{spelling}: {said}");
        assert!(said.contains("is written by export \"a\" already"), "{spelling}: {said}");
    }
}

#[test]
fn credentials_are_left_to_the_unit() {
    let secret = "{ credential = \"acme\" }";
    let sources = [
        ("generic", "secret", ""),
        ("sendgrid", "public_key", "api_key"),
        ("postal", "public_key", ""),
        ("resend", "secret", "api_key"),
        ("standard-webhooks", "secret", ""),
        ("brevo", "basic", "api_key"),
        ("postmark", "bearer", "server_token"),
    ];
    let mut text = GOOD.replace("\"a-good-one\"", secret);
    text.push_str("[admin]\ntoken = { credential = \"admin\" }\n");
    text.push_str("[fetch]\nproxy = { credential = \"proxy\" }\n");
    let mut count = 3;
    for (provider, key, api) in sources {
        text.push_str(&format!("[[source]]\nname = \"{provider}\"\nprovider = \"{provider}\"\n"));
        text.push_str(&format!("webhook = {{ {key} = {secret} }}\n"));
        count += 1;
        if !api.is_empty() {
            text.push_str(&format!("poll = {{ {api} = {secret} }}\n"));
            count += 1;
        }
    }
    let place = Place::new(&format!("{text}{EXPORT}"));
    let (code, said) = place.check();
    assert_eq!(code, 0, "{said}");
    assert_eq!(said.matches("is not checked here: only the unit has it").count(), count, "{said}");
    assert!(said.contains("/hooks/sendgrid") && !said.contains("not authenticated"), "{said}");
    let (code, said) = place.run(&["check", "--json"]);
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, report["not_checked"].as_array().unwrap().len()), (0, count), "{said}");
    assert_eq!(place.run(&["export", "x", "--print-config"]).0, 0);
    // All else is checked, and the daemon itself does without nothing.
    place.write(&text.replace("https://hooks.example.org", "hooks.example.org"));
    let (code, said) = place.check();
    assert_eq!((code, said.matches("public_url").count()), (78, 1), "{said}");
    place.write(&text);
    let (code, said) = place.run(&["run"]);
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("CREDENTIALS_DIRECTORY is not set"), "{said}");
}

/// A text is read as it is, unless a command makes another table of it; from wherever Postfix runs.
#[test]
fn what_is_printed_to_paste_is_what_postfix_reads() {
    for (keys, printed) in [
        ("", "texthash:"),
        ("command = [\"/bin/true\"]\n", "lmdb:"),
        ("table = \"text\"\n", "texthash:"),
    ] {
        let export = "[[export]]\nname = \"x\"\nformat = \"postfix-access\"\npath = \"./x\"\n";
        let place = Place::new(&format!("{GOOD}{export}{keys}"));
        let (code, said) = place.run(&["export", "x", "--print-config"]);
        let whole = std::path::absolute("x").unwrap();
        let expected = format!("check_recipient_access {printed}{},", whole.display());
        assert!(code == 0 && said.contains(&expected), "{said}");
    }
}

#[test]
fn a_name_that_is_no_export_is_told_with_those_there_are() {
    let export = "[[export]]\nname = \"x\"\nformat = \"exim\"\npath = \"./x\"\n";
    let lookup = "[[lookup]]\nprotocol = \"socketmap\"\nlisten = \"unix:./l\"\n";
    for (more, told) in [
        ("".to_owned(), "no export named \"lookup\"; there is none\n"),
        (export.to_owned(), "no export named \"lookup\"; there are: x\n"),
        (format!("{export}{lookup}"), "there are: x; docs/mta/lookups.md has the lines for a [["),
    ] {
        let place = Place::new(&format!("{GOOD}{more}"));
        let (code, said) = place.run(&["export", "lookup", "--print-config"]);
        assert!(code == 64 && said.contains(told), "{code} {said}");
    }
}

/// Where the daemon is not found, the fault of the file says more.
#[test]
fn a_file_that_is_no_toml_is_told_by_every_verb() {
    let place = Place::new(&GOOD.replace("[control]", "[control"));
    for verb in ["status", "reload"] {
        let (code, said) = place.run(&[verb]);
        assert!(code == 78 && said.contains("not TOML"), "{code} {said}");
    }
}

/// A certificate for a time, and its key, in files of the directory.
fn certificate(place: &Path, name: &str, days: &str) {
    let command = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-subj", "/CN=hooks.example.org", "-days", days])
        .args(["-addext", "subjectAltName=DNS:hooks.example.org"])
        .arg("-keyout")
        .arg(place.join(format!("{name}.key")))
        .arg("-out")
        .arg(place.join(format!("{name}.pem")))
        .output();
    assert!(command.is_ok_and(|output| output.status.success()), "openssl");
    let readable = fs::Permissions::from_mode(0o644);
    fs::set_permissions(place.join(format!("{name}.key")), readable).unwrap();
}

/// With a key that belongs to another certificate.
const FLEET: &str = "[fleet]\nhost = \"mx1\"\nnats = [\"tls://127.0.0.1:4222\"]\n\
    tls = { certificate = \"DIR/good.pem\", key = \"DIR/other.key\" }\n";

#[test]
fn a_deep_check_tries_what_a_start_will_need() {
    let place = Place::new("");
    let directory = place.path();
    certificate(directory, "good", "30");
    certificate(directory, "other", "30");
    let ended = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls");
    fs::write(directory.join("file"), "").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let tls = |certificate: &str, key: &str| {
        let tls = format!("tls = {{ certificate = \"{certificate}\", key = \"{key}\" }}\n[store]");
        GOOD.replace("[store]", &tls)
    };
    let free = |text: String| text.replace("127.0.0.1:8025", "127.0.0.1:0");
    let deep = |text: String| {
        place.write(&text.replace("[control]", "[admin]\nlisten = \"127.0.0.1:0\"\n[control]"));
        place.run(&["check", "--deep", "--user", "root"])
    };
    if !available("a_deep_check", (!geteuid().is_root()).then(|| "not root".to_owned())) {
        return;
    }
    let (code, said) = deep(free(tls("DIR/good.pem", "DIR/good.key")));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("checked as user root") && !said.contains("ends at"), "{said}");
    certificate(directory, "soon", "3");
    let (code, said) = deep(free(tls("DIR/soon.pem", "DIR/soon.key")));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("warning: http.tls: the certificate: it ends at "), "{said}");
    for (host, is_told) in [("hooks.example.org", false), ("mx.example.org", true)] {
        let text = free(tls("DIR/good.pem", "DIR/good.key"));
        let (code, said) = deep(text.replace("hooks.example.org", host));
        let words = "warning: http.tls: the certificate is not of mx.example.org";
        assert_eq!((code, said.contains(words)), (0, is_told), "{said}");
    }
    for (mode, is_told) in [(0o751, false), (0o755, true)] {
        fs::create_dir_all(directory.join("state")).unwrap();
        fs::set_permissions(directory.join("state"), fs::Permissions::from_mode(mode)).unwrap();
        let (code, said) = deep(free(GOOD.to_owned()));
        assert_eq!((code, said.contains("`chmod 751` it")), (0, is_told), "{mode:o}: {said}");
    }
    let (pem, key) = (ended.join("ended.pem"), ended.join("key.pem"));
    for (text, word) in [
        (free(tls("DIR/good.pem", "DIR/other.key")), "http.tls"),
        (free(tls("DIR/good.key", "DIR/good.pem")), "has the two files swapped"),
        (free(format!("{GOOD}{FLEET}")), "fleet.tls: "),
        (
            free(tls(pem.to_str().unwrap(), key.to_str().unwrap())),
            "the certificate: it has ended at ",
        ),
        (
            free(GOOD.replace("DIR/state", "DIR/file/state")),
            "\"DIR/file\" is a file, and no directory",
        ),
        (
            free(GOOD.replace("DIR/control", "DIR/file/control")),
            "control.socket: \"DIR/file\" is a file",
        ),
        (free(format!("{GOOD}{EXPORT}command = [\"/no/such\"]\n")), "export[1].command (\"x\")"),
        (GOOD.replace("8025", &port.to_string()), "another program has it"),
        (GOOD.replace("127.0.0.1:8025", "unix:DIR/file"), "what is there is no socket"),
        (GOOD.replace("127.0.0.1:8025", "192.0.2.1:8025"), "this host has no such address"),
    ] {
        let (code, said) = deep(text);
        assert_eq!(code, 78, "{word}: {said}");
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn another_user_sees_what_root_does_not() {
    let root = (!geteuid().is_root()).then(|| "only root becomes another user".to_owned());
    if !available("another_user_sees_what_root_does_not", root) {
        return;
    }
    let place = Place::new("");
    let closed = fs::Permissions::from_mode(0o600);
    fs::write(place.path().join("secret"), "s3cret-of-root").unwrap();
    fs::set_permissions(place.path().join("secret"), closed).unwrap();
    let secret = GOOD.replace("\"a-good-one\"", "{ file = \"DIR/secret\" }");
    for (text, word) in [
        (secret, "cannot read \"DIR/secret\": Permission denied"),
        (GOOD.to_owned(), "store.path: cannot make files in DIR"),
        (GOOD.replace("127.0.0.1:8025", "127.0.0.1:25"), "a port below 1024 is not for every user"),
        (format!("{GOOD}{EXPORT}owner = \"root\"\n"), "export[1].owner (\"x\"): user 65534"),
        (format!("{GOOD}{EXPORT}group = \"root\"\n"), "export[1].group (\"x\"): user 65534"),
    ] {
        place.write(&text);
        let (code, said) = place.run(&["check", "--deep", "--user", "nobody"]);
        assert_eq!(code, 78, "{word}: {said}");
        assert!(said.contains(word) && said.contains("checked as user nobody"), "{word}: {said}");
        assert_eq!(place.run(&["check"]).0, 0, "root sees none of it");
    }
    assert_eq!(place.run(&["check", "--user", "no-such-user"]).0, 64);
}

#[test]
fn a_fault_that_is_found_late_is_one_of_the_configuration() {
    let place = Place::new("");
    certificate(place.path(), "good", "30");
    certificate(place.path(), "other", "30");
    fs::write(place.path().join("file"), "").unwrap();
    let good = GOOD.replace("127.0.0.1:8025", "127.0.0.1:0");
    let good = good.replace("[control]", "[admin]\nlisten = \"127.0.0.1:0\"\n[control]");
    let tls = "tls = { certificate = \"DIR/good.pem\", key = \"DIR/other.key\" }\n[store]";
    for (text, word) in [
        (good.replace("[store]", tls), "http.tls: "),
        (good.replace("DIR/state", "DIR/file/state"), "store.path: "),
        (good.replace("DIR/control", "DIR/file/control"), "control.socket: "),
        (good.replace("127.0.0.1:0\"\npublic", "unix:/proc/x\"\npublic"), "http.listen: cannot"),
        (good.replace("127.0.0.1:0\"\npublic", "unix:DIR/file\"\npublic"), "move the file away"),
    ] {
        place.write(&text);
        let (code, said) = place.run(&["run"]);
        assert_eq!(code, 78, "{word}: {said}");
        assert!(said.contains(word), "{word}: {said}");
    }
    // A port that is taken may be free again soon.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    place.write(&good.replacen("127.0.0.1:0", &address, 1));
    let (code, said) = place.run(&["run"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("another program has it"), "{said}");
}
