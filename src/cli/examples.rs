//! An example of each verb, which its help ends with. They are data, so that none is missing and
//! each is a command line that is taken.

use clap::Command;

/// The verb, with the one below it where there is one; what it is good for; the command line.
pub(super) const EXAMPLES: &[(&str, &[(&str, &str)])] = &[
    ("run", &[("in the foreground, with all that is logged", "SUPPRESSD_LOG=debug suppressd run")]),
    (
        "check",
        &[
            ("before a reload", "suppressd check"),
            ("and what the daemon's user may do", "suppressd check --deep --user suppressd"),
        ],
    ),
    (
        "config",
        &[
            ("what is not as by default", "suppressd config"),
            ("what a key means", "suppressd config http.body_max"),
        ],
    ),
    ("reload", &[("after a change of the file", "suppressd check && suppressd reload")]),
    (
        "classify",
        &[
            ("one reply", "suppressd classify '550 5.1.1 User unknown'"),
            ("a reply a line", "suppressd classify - < replies.txt"),
        ],
    ),
    (
        "status",
        &[
            ("for monitoring: exit 4 if something needs a hand", "suppressd status --json"),
            ("while something is mended", "suppressd status --watch"),
        ],
    ),
    ("lookup", &[("before a mailing", "suppressd lookup - < recipients.txt")]),
    ("explain", &[("why somebody gets no mail", "suppressd explain user@example.com")]),
    (
        "list",
        &[
            ("complaints of this week", "suppressd list --reason complaint --since 7d"),
            ("the first ten of a domain", "suppressd list --domain example.com --limit 10"),
        ],
    ),
    ("add", &[("for a month", "suppressd add user@example.com --for 30d --note 'asked by phone'")]),
    (
        "lift",
        &[
            ("one address", "suppressd lift user@example.com --note 'mailbox is back'"),
            (
                "what a domain's outage has left",
                "suppressd lift --domain example.com --reason soft_bounces --dry-run",
            ),
        ],
    ),
    (
        "forget",
        &[
            ("what there is of a person", "suppressd forget user@example.com --dry-run"),
            ("who wants to be erased", "suppressd forget user@example.com --yes"),
        ],
    ),
    ("source retire", &[("after its account is closed", "suppressd source retire old-sendgrid")]),
    ("held", &[("what came as a mass", "suppressd held")]),
    ("release", &[("when it was right", "suppressd release 3")]),
    ("rejudge", &[("what other rules make of the past", "suppressd rejudge --dry-run")]),
    (
        "fleet",
        &[
            ("who is level, who polls, whether rules agree", "suppressd fleet"),
            ("for a script", "suppressd fleet --json"),
        ],
    ),
    ("fleet repair", &[("after a disk was replaced", "suppressd fleet repair")]),
    (
        "events",
        &[
            ("of a message", "suppressd events --message-id msg_8a7f3b2c"),
            ("the last ten, and those to come", "suppressd events -n 10 --follow"),
        ],
    ),
    (
        "refused",
        &[(
            "to debug a signature while the provider sends its test",
            "suppressd refused --source acme-sendgrid --follow",
        )],
    ),
    (
        "providers",
        &[
            ("what each can do", "suppressd providers"),
            ("a source to begin with", "suppressd providers lettermint >> config.toml"),
        ],
    ),
    ("poll", &[("after an outage", "suppressd poll acme-sendgrid --since 2d")]),
    (
        "drift",
        &[("what the provider's list has and ours has not", "suppressd drift acme-sendgrid")],
    ),
    (
        "export",
        &[
            ("the lines to paste into the MTA", "suppressd export --print-config postfix"),
            ("past the guards, when that is right", "suppressd export postfix --force"),
        ],
    ),
    (
        "forward replay",
        &[("after a receiver lost its data", "suppressd forward replay app --since 2d")],
    ),
    (
        "import",
        &[
            ("what would come of it", "suppressd import suppression_bounces.csv --dry-run"),
            ("a provider's zip", "suppressd import rejects.zip --source acme-mandrill"),
            (
                "what another program lists",
                "aws sesv2 list-suppressed-destinations | suppressd import -",
            ),
            ("what another host has", "suppressd list --json | ssh mx2 suppressd import -"),
        ],
    ),
    (
        "trigger",
        &[(
            "a bounce, as the provider signs it",
            "suppressd trigger test hard_bounce a@example.com",
        )],
    ),
    ("quarantine list", &[("what was not understood", "suppressd quarantine list")]),
    ("quarantine show", &[("one of them", "suppressd quarantine show 1-4096-0")]),
    ("quarantine replay", &[("all, after an upgrade", "suppressd quarantine replay --all")]),
    ("quarantine drop", &[("one of them", "suppressd quarantine drop 1-4096-0")]),
    (
        "backup",
        &[
            ("every night", "suppressd backup /var/backups/suppressd.backup"),
            ("onto another host", "suppressd backup - | ssh mx2 'cat > suppressd.backup'"),
        ],
    ),
    (
        "restore",
        &[("into an empty state directory", "suppressd restore /var/backups/suppressd.backup")],
    ),
    (
        "verify",
        &[
            ("the state directory", "suppressd verify"),
            ("a backup", "suppressd verify /var/backups/suppressd.backup"),
        ],
    ),
    (
        "completions",
        &[
            (
                "bash",
                "suppressd completions bash > /usr/share/bash-completion/completions/suppressd",
            ),
            ("zsh", "suppressd completions zsh > /usr/share/zsh/vendor-completions/_suppressd"),
            ("fish", "suppressd completions fish > ~/.config/fish/completions/suppressd.fish"),
        ],
    ),
    (
        "man",
        &[
            ("the program's page", "suppressd man | man -l -"),
            ("a verb's page", "suppressd man source retire | man -l -"),
            ("all of them", "suppressd man --directory /usr/local/share/man/man1"),
        ],
    ),
];

const TITLE: &str = "Examples:";

/// Ends the help of each verb with its examples.
pub(super) fn add(command: Command) -> Command {
    EXAMPLES.iter().fold(command, |command, (path, examples)| add_to(command, path, examples))
}

fn add_to(command: Command, path: &str, examples: &[(&str, &str)]) -> Command {
    let (verb, below) = path.split_once(' ').unwrap_or((path, ""));
    command.mut_subcommand(verb, |command| {
        // What has others below it shows the examples of them all.
        let command = match below.is_empty() {
            true => command,
            false => add_to(command, below, examples),
        };
        let told = examples.iter().map(|(what, line)| format!("\n  # {what}\n  {line}"));
        let mut text = command.get_after_help().map_or(String::new(), |text| text.to_string());
        if !text.contains(TITLE) {
            text.push_str(if text.is_empty() { TITLE } else { "\n\nExamples:" });
        }
        text.extend(told);
        command.after_help(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verbs without others below them, each by its path.
    fn verbs(command: &Command, path: &str, found: &mut Vec<String>) {
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            let path = format!("{path} {}", verb.get_name());
            if verb.has_subcommands() {
                verbs(verb, &path, found);
            }
            if !verb.has_subcommands() || !verb.is_subcommand_required_set() {
                found.push(path.trim_start().to_owned());
            }
        }
    }

    #[test]
    fn every_verb_has_an_example_that_is_taken() {
        let mut found = Vec::new();
        verbs(&super::super::command(), "", &mut found);
        let shown: Vec<&str> = EXAMPLES.iter().map(|(verb, _)| *verb).collect();
        found.sort();
        let mut sorted = shown.clone();
        sorted.sort_unstable();
        assert_eq!(found, sorted);
        for (verb, examples) in EXAMPLES {
            for (_, line) in *examples {
                let last = line.rsplit("suppressd ").find(|part| part.starts_with(verb));
                let words = last.unwrap_or_else(|| panic!("{verb}: {line}"));
                let words = words.split([';', '|', '<', '>']).next().unwrap();
                let words = words.split("&&").next().unwrap();
                // What stands in quotes is one word.
                let words: Vec<String> = words
                    .split('\'')
                    .enumerate()
                    .flat_map(|(place, text)| match place % 2 {
                        0 => text.split_whitespace().map(str::to_owned).collect(),
                        _ => vec![text.to_owned()],
                    })
                    .collect();
                let taken = super::super::command()
                    .try_get_matches_from([vec!["suppressd".to_owned()], words].concat());
                assert!(taken.is_ok(), "{line}: {}", taken.unwrap_err());
            }
        }
    }
}
