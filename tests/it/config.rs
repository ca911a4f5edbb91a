//! Configurations as files: each bad one beside all that is said about it, and the good ones.
//!
//! `UPDATE_EXPECT=1` writes what is said into the expected files, to be read before it is kept.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use suppressd::config::{self, Config, Environment, Problems, Weight};
use suppressd::lookup::{Sender, Style};
use suppressd::model::{Reason, Scope};
use suppressd::poll::Every;

const FIXTURES: &str = "tests/fixtures/config";
const EXAMPLE: &str = "config.example.toml";

/// Every secret in the fixtures contains this word.
const MARK: &str = "hunter2";

fn environment() -> Environment {
    let variable = |name: &str| match name {
        "TOKEN" | "TOKEN_OLD" => Some(OsString::from("env-hunter2")),
        "EMPTY" => Some(OsString::new()),
        "BINARY" => Some(OsString::from_vec(b"hunter2\xff".to_vec())),
        _ => None,
    };
    Environment::new(variable, Some(Path::new(FIXTURES).join("credentials")))
}

/// The files in a folder of fixtures, by extension and in order.
fn fixtures(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(FIXTURES).join(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    paths.sort();
    paths
}

/// Compares with a file, or writes it. Says what differs.
fn compare(expected: &Path, actual: &str) -> Option<String> {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(expected, actual).unwrap();
    }
    let known = fs::read_to_string(expected).unwrap_or_default();
    let message = || format!("{}:\nexpected\n{known}\nfound\n{actual}", expected.display());
    (known != actual).then(message)
}

fn problems(path: &Path) -> Problems {
    match config::load(path, &environment()) {
        Ok(_) => panic!("{} has no problem", path.display()),
        Err(problems) => problems,
    }
}

/// Loads a text as if it were a file.
fn load_text(text: &str, environment: &Environment) -> Result<Config, Problems> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, text).unwrap();
    config::load(&path, environment)
}

#[test]
fn every_problem_is_told_with_its_place_and_its_remedy() {
    let files = fixtures("bad", "toml");
    assert!(files.len() >= 25, "only {} fixtures", files.len());
    let differ = |path: &PathBuf| {
        compare(&path.with_extension("problems"), &format!("{}\n", problems(path)))
    };
    let differing: Vec<String> = files.iter().filter_map(differ).collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn every_expectation_has_its_fixture() {
    for expected in fixtures("bad", "problems") {
        assert!(expected.with_extension("toml").exists(), "{}", expected.display());
    }
}

#[test]
fn no_problem_shows_a_secret() {
    for path in fixtures("bad", "toml") {
        let problems = problems(&path);
        for text in [problems.to_string(), problems.to_json().to_string(), format!("{problems:?}")]
        {
            assert!(!text.contains(MARK), "{}: {text}", path.display());
        }
    }
}

#[test]
fn a_file_that_is_cut_anywhere_is_survived_and_shows_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    for fixture in fixtures("good", "toml") {
        let text = fs::read_to_string(&fixture).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let without = |i: usize| [&lines[..i], &lines[i + 1..]].concat().join("\n");
        let cuts = text.char_indices().map(|(end, _)| text[..end].to_owned());
        for text in cuts.chain((0..lines.len()).map(without)) {
            fs::write(&path, &text).unwrap();
            if let Err(problems) = config::load(&path, &environment()) {
                assert!(!problems.problems.is_empty(), "{text}");
                assert!(!problems.to_string().contains(MARK), "{text}\n{problems}");
            }
        }
    }
}

#[test]
fn problems_as_json_hold_what_the_text_holds() {
    let problems = problems(&Path::new(FIXTURES).join("bad/exports.toml"));
    let json = problems.to_json();
    assert_eq!(json["file"], "tests/fixtures/config/bad/exports.toml");
    let listed = json["problems"].as_array().unwrap();
    let faults = problems.problems.iter().filter(|problem| problem.weight == Weight::Fault);
    let faults: Vec<_> = faults.collect();
    assert_eq!(listed.len(), faults.len());
    for (problem, json) in faults.into_iter().zip(listed) {
        assert_eq!(json["path"], problem.path.as_str());
        assert_eq!(json["line"], problem.line.unwrap());
        assert_eq!(json["what"], problem.what.as_str());
        assert_eq!(json["hint"], problem.hint.as_str());
    }
}

#[test]
fn an_unreadable_file_is_named() {
    let problems = problems(Path::new("/nonexistent/config.toml"));
    let text = problems.to_string();
    assert!(
        text.starts_with("/nonexistent/config.toml: cannot read the configuration: "),
        "{text}"
    );
    assert!(text.contains("\n  hint: "), "{text}");
}

#[test]
fn a_file_that_is_not_text_or_too_large_is_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, b"[store]\npath = \"\xff\"\n").unwrap();
    assert!(problems(&path).to_string().contains("line 2 is not UTF-8"));
    fs::write(&path, "#".repeat(1024 * 1024 + 1)).unwrap();
    assert!(problems(&path).to_string().contains("larger than 1 MiB"));
}

#[test]
fn good_configurations_load_and_report() {
    let mut differing = Vec::new();
    for path in fixtures("good", "toml") {
        let config =
            config::load(&path, &environment()).unwrap_or_else(|problems| panic!("{problems}"));
        let (text, json) = (config::report(&config), config::report_json(&config));
        let json = format!("{json:#}\n");
        assert!(!text.contains(MARK) && !json.contains(MARK));
        differing.extend(compare(&path.with_extension("report"), &text));
        differing.extend(compare(&path.with_extension("json"), &json));
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn a_file_without_a_source_is_a_fault() {
    let full = fs::read_to_string(EXAMPLE).unwrap();
    let cut = &full[..full.find("[[source]]").unwrap()];
    let other = "[[export]]\nname = \"a\"\nformat = \"postfix-access\"\npath = \"/x/a\"\n";
    for text in ["", "\n\n", "# all is a comment\n", cut, other, "source = []\n"] {
        let Err(problems) = load_text(text, &environment()) else { panic!("taken: {text}") };
        let said = problems.to_string();
        assert!(said.contains("source: is missing") && said.contains("[[source]]"), "{said}");
    }
}

#[test]
fn a_file_with_a_source_alone_takes_every_default() {
    let text = "[[source]]\nname = \"a\"\nprovider = \"generic\"\nwebhook.secret = \"hunter2\"\n";
    let config = load_text(text, &environment()).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.store.path, Path::new("/var/lib/suppressd"));
    assert_eq!(config.store.retention, Duration::from_secs(90 * 86_400));
    assert_eq!(config.http.listen[0].listen.to_string(), "127.0.0.1:8025");
    assert_eq!(config.http.body_max, 8 << 20);
    assert_eq!(config.http.connections_max, 1024);
    assert_eq!(config.http.header_timeout, Duration::from_secs(10));
    assert_eq!(config.http.body_timeout, Duration::from_secs(30));
    assert_eq!(config.admin.listen.listen.to_string(), "127.0.0.1:9025");
    assert_eq!(config.control.socket, Path::new("/run/suppressd/control.sock"));
    assert_eq!(config.rules, suppressd::rules::Rules::default());
    assert!(config.sources.len() == 1 && config.exports.is_empty());
}

#[test]
fn secrets_come_from_all_four_places_and_in_lists() {
    let path = Path::new(FIXTURES).join("good/secrets.toml");
    let config = config::load(&path, &environment()).unwrap_or_else(|p| panic!("{p}"));
    let secrets = |name: &str| -> Vec<String> {
        let poll = config.polls.iter().find(|poll| poll.source.as_str() == name).unwrap();
        let secrets = poll.settings.secrets("bearer").iter();
        secrets.map(|secret| secret.reveal_text().unwrap().to_owned()).collect()
    };
    assert_eq!(secrets("literal"), ["literal-hunter2"]);
    assert_eq!(secrets("file"), ["file-hunter2"]);
    assert_eq!(secrets("variable"), ["env-hunter2"]);
    assert_eq!(secrets("credential"), ["credential-hunter2"]);
    assert_eq!(secrets("list"), ["literal-hunter2", "file-hunter2", "env-hunter2"]);
}

#[test]
fn a_secret_file_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let text = format!(
        "[[source]]\nname = \"a\"\nprovider = \"generic\"\nwebhook.secret.file = {path:?}\n"
    );
    fs::write(&path, "x".repeat(64 * 1024)).unwrap();
    assert!(load_text(&text, &environment()).is_ok());
    fs::write(&path, "x".repeat(64 * 1024 + 1)).unwrap();
    let Err(problems) = load_text(&text, &environment()) else { panic!("it was taken") };
    assert!(problems.to_string().contains("is too large for a secret"), "{problems}");
}

#[test]
fn values_arrive_where_they_belong() {
    let path = Path::new(FIXTURES).join("good/full.toml");
    let config = config::load(&path, &environment()).unwrap_or_else(|p| panic!("{p}"));
    assert_eq!(config.http.trusted_proxies.len(), 3);
    assert_eq!(config.http.body_max, 64 << 10);
    assert_eq!(config.rules.blocked.map(|threshold| threshold.count), Some(20));
    let never = |key| config.rules.never.has(key);
    assert!(never("postmaster@example.com") && never("any@example.net"));
    assert!(!never("any@example.com"));
    let poll = &config.polls[0];
    assert!(poll.has_webhook);
    assert_eq!(poll.every, Every::Cron("0 */5 * * * *".to_owned()));
    assert!(!config.polls[1].has_webhook);
    assert_eq!(config.polls[1].every, Every::Interval(Duration::from_secs(90)));
    let export = &config.exports[0];
    assert_eq!((export.owner, export.group, export.mode), (Some(0), Some(0), Some(0o640)));
    assert_eq!(export.max_shrink, 0);
    assert_eq!(export.filter.sources.len(), 2);
    assert_eq!(export.filter.scopes.len(), 2);
    assert_eq!(export.command, ["/bin/true", ""]);
    assert_eq!(config.exports[1].max_shrink, 50);
    let lookup = &config.lookups[0];
    assert_eq!((lookup.mode, lookup.group, lookup.open_on_error), (0o600, Some(0), false));
    assert_eq!((lookup.filter.reasons.len(), lookup.filter.sources.len()), (1, 2));
    assert_eq!(lookup.scopes, [Scope::Stream("news".into())]);
    assert_eq!(lookup.recipient_delimiter, "+-");
    assert_eq!(lookup.replies.get(Style::Transport, Reason::Manual), "retry:4.7.1 manual");
    assert_eq!((lookup.style, lookup.connections_max), (Some(Style::Transport), 7));
    assert_eq!(lookup.idle_timeout, Duration::from_secs(90));
    let lookup = &config.lookups[1];
    assert_eq!((lookup.mode, lookup.group, lookup.open_on_error), (0o660, None, true));
    assert_eq!(lookup.scopes, [Scope::Global]);
    let senders: Vec<&Sender> = lookup.scopes_by_sender.iter().map(|(sender, _)| sender).collect();
    assert!(matches!(senders[0], Sender::Domain(domain) if domain == "example.com"));
    assert!(matches!(senders[1], Sender::Address(address) if address.local() == "a"));
}

#[test]
fn the_example_loads_as_it_is() {
    let config = config::load(Path::new(EXAMPLE), &environment())
        .unwrap_or_else(|problems| panic!("{problems}"));
    assert!(config.http.is_local() && config.admin.listen.listen.is_local());
    assert_eq!(config.webhooks[0].source.as_str(), "example");
    assert_eq!(config.webhooks[0].checks.len(), 1);
    assert_eq!(config.exports[0].name, "postfix");
}

/// Whether a line of the example is a key or a header that is commented out.
fn is_commented_out(line: &str) -> bool {
    let Some(rest) = line.strip_prefix("# ") else { return false };
    let word = rest.split(" = ").next().unwrap_or_default();
    let is_key =
        |word: &str| word.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'_' | b'.'));
    rest.starts_with('[') || (rest.contains(" = ") && is_key(word))
}

/// The example once for each run of lines that are commented out, with that run in force.
fn examples_with_a_run_in_force() -> Vec<String> {
    let text = fs::read_to_string(EXAMPLE).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let starts = |i: &usize| is_commented_out(lines[*i]) && !is_commented_out(lines[*i - 1]);
    let with_run = |start: usize| {
        let end = (start..lines.len()).find(|i| !is_commented_out(lines[*i]));
        let run = start..end.unwrap_or(lines.len());
        let line = |(i, line): (usize, &&str)| match run.contains(&i) {
            true => line[2..].to_owned(),
            false => (*line).to_owned(),
        };
        lines.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
    };
    (1..lines.len()).filter(starts).map(with_run).collect()
}

#[test]
fn what_the_example_comments_out_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["fullchain.pem", "privkey.pem", "hook-key", "example-api", "admin"]
        .into_iter()
        .chain(["ses.access", "ses.secret", "sendgrid-api", "mandrill.key"])
    {
        fs::write(folder.path().join(name), "something\n").unwrap();
    }
    fs::write(folder.path().join("nats"), format!("SU{}\n", "A2".repeat(28))).unwrap();
    fs::write(folder.path().join("ca.pem"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    fs::write(folder.path().join("resend.secret"), "whsec_c29tZXRoaW5nLXRoYXQtaXMtbG9uZw==")
        .unwrap();
    fs::copy("tests/fixtures/sns/test_cert.pem", folder.path().join("sns.pem")).unwrap();
    fs::write(folder.path().join("proxy"), "http://user:password@proxy.test:3128\n").unwrap();
    let variable = |name: &str| {
        let value = if name == "SUPPRESSD_LOG" { "info" } else { "set" };
        Some(OsString::from(value))
    };
    let environment = Environment::new(variable, Some(folder.path().to_owned()));
    let texts = examples_with_a_run_in_force();
    assert!(texts.len() >= 10, "only {} runs", texts.len());
    for text in texts {
        let text = text.replace("/etc/suppressd", folder.path().to_str().unwrap());
        if let Err(problems) = load_text(&text, &environment) {
            panic!("{problems}\n{text}");
        }
    }
}

/// The keys of every table, as the hints about an unknown key in each of them list them.
fn known_keys() -> BTreeSet<String> {
    let problems = problems(&Path::new(FIXTURES).join("bad/unknown-everywhere.toml"));
    let lists = problems
        .problems
        .iter()
        .filter_map(|problem| problem.hint.strip_prefix("the keys here are: ").map(str::to_owned));
    lists.flat_map(|list| list.split(", ").map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn every_key_is_in_the_example() {
    let text = fs::read_to_string(EXAMPLE).unwrap();
    let keys = known_keys();
    assert!(keys.len() >= 50, "{keys:?}");
    for key in keys {
        let stands = [format!("{key} = "), format!("[{key}]"), format!(".{key}]")];
        assert!(stands.iter().any(|form| text.contains(form)), "{key} is not in {EXAMPLE}");
    }
}
