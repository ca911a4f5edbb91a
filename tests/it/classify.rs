//! `suppressd classify`: what it takes, and that it says of an event what the event says.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use suppressd::provider::ALL;
use suppressd::verdict::{Reply, Rulebook};

use crate::providers::{fixture_rows, payloads};
use crate::support::daemon::{Home, PROGRAM};

fn classify(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("classify").args(arguments).env_remove("SUPPRESSD_CONFIG");
    let piped = || Stdio::piped();
    let mut child = command.stdin(piped()).stdout(piped()).stderr(piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn classes(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["class"].clone()).collect()
}

#[test]
fn a_line_that_cannot_be_read_as_it_is_ends_nothing() {
    let long = "x".repeat(70 << 10);
    let mut input = b"550 5.1.1 user unknown\n550 Benutzer unbekannt, Empf\xe4nger\n".to_vec();
    input.extend(format!("552 mailbox full {long}\n").into_bytes());
    input.extend(b"999\t5.7\tmailbox full\r\n550\t5.7\t552 mailbox full\n\n550 user unknown");
    let output = classify(&["-", "--json"], &input);
    assert_eq!(output.status.code(), Some(0));
    let expected =
        ["no_mailbox", "no_mailbox", "full", "full", "full", "unexplained", "no_mailbox"];
    assert_eq!(classes(&output), expected);
    let said = String::from_utf8(output.stderr).unwrap();
    let told = [
        "line 2: has bytes that are no UTF-8, and do not count",
        "line 3: is cut behind 65536 bytes",
        "line 4: \"999\" is no reply code, and does not count",
        "line 5: \"5.7\" is no enhanced code, and does not count",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), told);
}

/// Of a source that is named, the rows hold that are for it, and its provider is meant.
#[test]
fn a_source_has_its_rows_and_its_provider() {
    let rows = "[[rules.reply]]\ntext = \"user unknown\"\nsource = \"test\"\nclass = \"full\"\n\
                [[rules.reply]]\ntext = \"resting\"\nprovider = \"generic\"\nclass = \"rate\"\n";
    let home = Home::new(rows);
    let config = home.config();
    let file = ["-c", config.to_str().unwrap(), "classify", "--json"];
    let run = |more: &[&str]| Command::new(PROGRAM).args(file).args(more).output().unwrap();
    for (more, class) in [
        (&["--source", "test", "550 user unknown"][..], "full"),
        (&["550 user unknown"], "no_mailbox"),
        (&["--source", "test", "550 resting"], "rate"),
        (&["--source", "test", "--provider", "sendgrid", "550 resting"], "unexplained"),
    ] {
        assert_eq!(classes(&run(more)), [class], "{more:?}");
    }
    let refused = run(&["--source", "tset", "550 user unknown"]);
    assert_eq!(refused.status.code(), Some(64));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("no source named \"tset\"; there are: "), "{said}");
}

#[test]
fn what_is_known_of_a_failure_is_taken_and_what_is_none_is_refused() {
    for (arguments, class) in [
        (&["--provider", "sendgrid", "550 5.1.1 user unknown"][..], "no_mailbox"),
        (
            &["--provider", "amazon-ses", "--provider-kind", "Bounce/Permanent/NoEmail"],
            "no_mailbox",
        ),
        (&["--provider", "sendgrid", "--provider-kind", "bounce:blocked:Reputation"], "reputation"),
        (
            &["--provider", "resend", "--provider-kind", "email.bounced:Transient:MailboxFull"],
            "full",
        ),
        (&["--enhanced-code", "5.2.2"], "full"),
    ] {
        let output = classify(&[arguments, &["--json"]].concat(), b"");
        assert_eq!((output.status.code(), classes(&output)), (Some(0), vec![class.into()]));
    }
    for (arguments, hint) in [
        (&["--enhanced-code", "5.7", "refused"][..], "write three numbers"),
        (&["--enhanced-code", "9.1.1", "refused"], "write three numbers"),
        (&["--provider", "sendgird", "refused"], "there are: "),
        (&["--provider-kind", "bounce", "refused"], "--provider"),
        (&[], "nothing to judge"),
        (&["", " "], "nothing to judge"),
    ] {
        let output = classify(arguments, b"");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains(hint), "{said}");
    }
}

/// Where an adapter has more than an event shows: a code of the provider's own, its number for a
/// class, or a sentence of its own that it does not take for a reply.
const BEYOND: &[(&str, &str)] = &[
    ("mailgun", "failed_permanent_499"),
    ("mailgun", "failed_permanent_old_no_mx"),
    ("mandrill", "hard_bounce_general"),
    ("mandrill", "soft_bounce_spam_block"),
    ("postal", "failed_domain_gone"),
    ("postal", "failed_no_rcpt"),
    ("postal", "failed_raw_gone"),
    ("sendgrid", "blocked"),
    ("sparkpost", "delivery"),
];

/// Whoever gives `classify` what `events` shows gets the class that stands there.
#[test]
fn what_events_show_gets_their_class() {
    let book = Rulebook::built_in().unwrap();
    let mut wrong = Vec::new();
    for provider in ALL {
        let (provider, name) = (*provider, provider.name());
        for payload in payloads(provider) {
            let case = payload.file_stem().unwrap().to_string_lossy().into_owned();
            for row in fixture_rows(provider, &payload) {
                let Some(class) = row["class"].as_str() else { continue };
                let smtp = row["smtp_code"].as_u64().map(|code| u16::try_from(code).unwrap());
                let enhanced = row["enhanced_code"].as_str();
                let text = row["diagnostic"].as_str().unwrap_or("");
                let reply = Reply { smtp, enhanced, text };
                let kind = row["provider_kind"].as_str().unwrap();
                let judged = book.judge_shown(name, kind, &reply).0.class.as_str();
                if judged != class && !BEYOND.contains(&(name, &*case)) {
                    wrong.push(format!("{name} {case}: {kind}: {judged} in place of {class}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
