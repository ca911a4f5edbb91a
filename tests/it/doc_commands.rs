//! The commands in `docs/operations.md`, `docs/migrating.md` and `docs/security.md`: each is run as
//! it stands there, against a daemon in a directory of its own.
//!
//! Lines of blocks are run, and what stands in the text as `suppressd …`. A command that is neither
//! run nor listed here with a reason is a fault, and so is an entry here that no page needs.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use suppressd::clock;

use crate::support::client::notify;
use crate::support::daemon::{Daemon, Home, program, source};
use crate::support::feed::{Feed, row};

/// What is run instead of what has a blank, asks a person, or never ends.
const INSTEAD: &[(&str, &str)] = &[
    ("suppressd release ID", "suppressd release 1"),
    ("suppressd lift --held ID", "suppressd lift --held 2 --yes"),
    (
        "suppressd lift --domain example.com --reason hard_bounce --since 2h --note \
         \"outage at example.com\"",
        "suppressd lift --domain example.com --reason hard_bounce --since 2h --yes --note \
         \"outage at example.com\"",
    ),
    ("suppressd refused --follow", "suppressd refused"),
    (
        "suppressd trigger NAME hard_bounce test@example.com",
        "suppressd trigger test hard_bounce test@example.com",
    ),
    ("suppressd poll NAME --since 3d", "suppressd poll polled --since 3d"),
    ("suppressd export NAME --force", "suppressd export postfix --force"),
    ("suppressd import FILE", "suppressd import DIR/list.csv"),
    ("suppressd explain ADDRESS", "suppressd explain user@example.com"),
    ("suppressd add ADDRESS", "suppressd add user@example.com"),
    ("suppressd lift ADDRESS", "suppressd lift user@example.com"),
    ("suppressd backup FILE", "suppressd backup DIR/suppressd.backup"),
    ("suppressd restore FILE", "suppressd restore DIR/suppressd.backup"),
    ("suppressd restore /var/backups/suppressd.backup", "suppressd restore DIR/suppressd.backup"),
    (
        "suppressd backup /var/backups/suppressd-before.backup",
        "suppressd backup DIR/suppressd-before.backup",
    ),
    (
        "suppressd import --reason hard_bounce /root/aside/suppressed",
        "suppressd import --reason hard_bounce DIR/aside",
    ),
    ("suppressd source retire NAME", "suppressd source retire gone --yes"),
    // Whether it finds something depends on who runs the test, and on this host.
    ("suppressd check --deep", "suppressd check"),
];

/// Programs that are not ours, and who tries what is said of them.
const OTHERS: &[(&str, &str)] = &[
    ("journalctl", "needs a booted system; reads the journal, and nothing of ours"),
    ("systemctl", "needs a booted system; .ci/boot starts, stops and reloads the units"),
    ("install", "needs root and /usr/local; .ci/boot installs by README, and restores"),
    ("test", "needs root; .ci/boot uninstalls with the socket unit and without it"),
    ("rm", "needs root; .ci/boot uninstalls"),
    ("postmap", "Postfix's; what it would print is put in"),
];

/// Blocks in other languages, and what tries them.
const FENCES: &[(&str, &str)] = &[
    ("nginx", ".ci/proxies"),
    ("caddyfile", ".ci/proxies"),
    ("haproxy", ".ci/proxies"),
    ("apache", ".ci/proxies"),
];

/// What stands in a page.
#[derive(Debug)]
enum Part {
    /// A line of a block of commands.
    Line(String),
    /// A command in the text.
    Span(String),
    /// A block in another language.
    Block { language: String, text: String },
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What stands in a page, in its order.
fn parts(page: &str) -> Vec<Part> {
    let text = fs::read_to_string(root().join("docs").join(page)).unwrap();
    let (mut parts, mut fence, mut block, mut prose) = (vec![], None, String::new(), String::new());
    for line in text.lines() {
        let bare = line.trim_start();
        match (bare.strip_prefix("```"), &fence) {
            (Some(language), None) => {
                spans(&std::mem::take(&mut prose), &mut parts);
                fence = Some(language.to_owned());
            }
            (Some(_), Some(language)) => {
                let text = std::mem::take(&mut block);
                if ["", "sh"].contains(&language.as_str()) {
                    let lines = text.lines().map(|line| line.split(" #").next().unwrap().trim());
                    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
                    parts.extend(lines.map(|line| Part::Line(line.to_owned())));
                } else {
                    parts.push(Part::Block { language: language.clone(), text });
                }
                fence = None;
            }
            (None, Some(_)) => block.push_str(&format!("{line}\n")),
            (None, None) => prose.push_str(&format!("{bare} ")),
        }
    }
    spans(&prose, &mut parts);
    parts
}

fn spans(prose: &str, parts: &mut Vec<Part>) {
    let ours = prose.split('`').skip(1).step_by(2).filter(|span| span.starts_with("suppressd "));
    parts.extend(ours.map(|span| Part::Span(span.to_owned())));
}

/// The words of a command, as a shell would split them.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    for c in command.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A page while its commands are run.
struct Scene {
    home: Home,
    daemon: Option<Daemon>,
    /// Where commands are run.
    at: PathBuf,
    /// The entries of the tables that were needed.
    used: BTreeSet<&'static str>,
}

impl Scene {
    fn new(more: &str, at: PathBuf) -> Scene {
        let home = Home::new(more);
        let daemon = Some(home.start().ready());
        Scene { home, daemon, at, used: BTreeSet::new() }
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    /// What was just told of an address.
    fn tell(&self, kind: &str, address: &str) {
        let body = format!(
            "{{\"event\":\"{kind}\",\"timestamp\":\"{}\",\"message_id\":\"{address}\",\
             \"recipient\":\"{address}\"}}",
            clock::now()
        );
        assert_eq!(notify(self.daemon().http, &body).status, 200);
    }

    fn play(&mut self, page: &str) {
        for part in parts(page) {
            match part {
                Part::Span(span) if words(&span).len() == 2 => {
                    self.run(&format!("{span} --help"), "")
                }
                Part::Span(command) => self.run(&command, ""),
                Part::Line(line) => self.line(&line),
                Part::Block { language, text } if language == "toml" => self.check(&text),
                Part::Block { language, .. } => {
                    let known = FENCES.iter().find(|(fence, _)| *fence == language);
                    let (fence, script) = known.unwrap_or_else(|| panic!("{page}: {language}"));
                    let script = fs::read_to_string(root().join(script)).unwrap();
                    assert!(script.contains(fence), "{fence}");
                    self.used.insert(fence);
                }
            }
        }
    }

    /// A line of a block, with a pipe at most.
    fn line(&mut self, line: &str) {
        let (first, second) = line.split_once(" | ").map_or((line, None), |(a, b)| (a, Some(b)));
        if first.starts_with("suppressd ") {
            return self.run(first, "");
        }
        let name = first.split(' ').next().unwrap();
        let known = OTHERS.iter().find(|(other, _)| *other == name);
        self.used.insert(known.unwrap_or_else(|| panic!("nothing tries: {line}")).0);
        if let Some(second) = second {
            let text = self.home.export();
            self.run(second, &text);
        }
    }

    /// Runs one of our commands, which must end well.
    fn run(&mut self, said: &str, input: &str) {
        let instead = INSTEAD.iter().find(|(command, _)| *command == said);
        self.used.extend(instead.map(|(command, _)| command));
        let dir = self.home.dir.to_str().unwrap().to_owned();
        let command = instead.map_or(said, |(_, instead)| instead).replace("DIR", &dir);
        let words = words(&command);
        self.prepare(&words);
        let mut child = Command::new(program())
            .args(&words[1..])
            .env("SUPPRESSD_CONFIG", self.home.config())
            .current_dir(&self.at)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One that does not read it has ended.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{said}: {command}: {output:?}");
        if self.daemon.is_none() {
            self.daemon = Some(self.home.start().ready());
        }
    }

    /// Brings about what a command is for.
    fn prepare(&mut self, words: &[String]) {
        let dir = &self.home.dir;
        match words[1].as_str() {
            _ if words[2..] == ["--help"] => {}
            "backup" => drop(fs::remove_file(&words[2])),
            "restore" => {
                self.daemon.take().unwrap().stop();
                fs::remove_dir_all(self.home.state()).unwrap();
            }
            "import" => drop(fs::copy(dir.join("access"), dir.join("aside")).unwrap()),
            "forget" => {
                self.tell("spam_complaint", "user@example.com");
                self.daemon().until_suppressed("user@example.com");
            }
            _ => {}
        }
    }

    /// A part of a configuration, which must be good.
    fn check(&self, text: &str) {
        let whole = fs::read_to_string(self.home.config()).unwrap();
        let (head, rest) = whole.split_once("[http]\n").unwrap();
        let rest = &rest[rest.find('[').unwrap()..];
        let other = self.home.dir.join("other.toml");
        fs::write(&other, format!("{head}{rest}{text}")).unwrap();
        let mut check = Command::new(program());
        let output = check.arg("check").arg("-c").arg(&other).output().unwrap();
        assert!(output.status.success(), "{text}: {output:?}");
    }
}

#[test]
fn every_command_of_the_pages_does_what_it_is_for() {
    let feed = Feed::start();
    feed.push([row("hard_bounce", "polled@example.com", &clock::now().to_string(), "p1")]);
    let hold = "[hold]\nnew = { count = 3, within = \"1h\" }\n";
    let polled = format!(
        "[[source]]\nname = \"polled\"\nprovider = \"generic\"\npoll = {{ url = \"{}\" }}\n",
        feed.url()
    );
    let mut scene = Scene::new(&format!("{polled}{hold}"), root().to_owned());
    let list = "email,reason\ngone1@example.net,bounce\n";
    fs::write(scene.home.dir.join("list.csv"), list).unwrap();
    let list = scene.home.dir.join("list.csv");
    let import = ["import", list.to_str().unwrap(), "--source", "gone", "--new-source"];
    assert!(scene.daemon().cli(&import).status.success());
    scene.tell("hard_bounce", "dead@example.com");
    for domain in ["one.example", "two.example"] {
        for number in 0..6 {
            scene.tell("hard_bounce", &format!("u{number}@{domain}"));
        }
    }
    scene.daemon().until_suppressed("u2@two.example");
    scene.play("operations.md");
    scene.play("security.md");
    let mut used = std::mem::take(&mut scene.used);
    scene.daemon.take().unwrap().stop();

    let sources = ["sendgrid", "mailgun"]
        .map(|name| source().replace("\"test\"", &format!("\"acme-{name}\"")));
    let mut scene = Scene::new(&sources.concat(), root().join("tests/fixtures/import"));
    fs::write(scene.home.dir.join("list.csv"), "email,reason\na@example.net,bounce\n").unwrap();
    scene.play("migrating.md");
    used.append(&mut scene.used);
    scene.daemon.take().unwrap().stop();

    let all = INSTEAD.iter().chain(OTHERS).chain(FENCES).map(|(entry, _)| *entry);
    let stale: Vec<&str> = all.filter(|entry| !used.contains(entry)).collect();
    assert_eq!(stale, [""; 0], "no page has them");
}
