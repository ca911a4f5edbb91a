//! `suppressd man`: manual pages, one for the program and one for each verb.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;

use super::context::Context;
use super::failure::{Failure, Outcome};

/// Where the examples of a verb's help begin.
const EXAMPLES: &str = "Examples:\n";

/// What verbs exit with: the status, of which verb alone, and what it means.
const STATUSES: &[(u8, Option<&str>, &str)] = &[
    (0, None, "Done."),
    (0, Some("lookup"), "No address is suppressed."),
    (0, Some("status"), "Ready."),
    (0, Some("verify"), "Nothing is wrong."),
    (1, None, "Failed, or not wholly done."),
    (1, Some("status"), "Not ready, or not running."),
    (1, Some("verify"), "There is a problem, or it cannot be looked."),
    (3, Some("lookup"), "Some address is suppressed."),
    (4, Some("status"), "Degraded: everything is served, and something needs a hand."),
    (64, None, "Wrong usage."),
    (78, None, "Wrong or unreadable configuration."),
];

/// The section of a verb's page; that of the program has those of all.
fn exit_status(verb: Option<&str>) -> String {
    let has_own = |code: u8| STATUSES.iter().any(|(c, of, _)| *c == code && *of == verb);
    let mut section = ".SH \"EXIT STATUS\"\n".to_owned();
    for (code, of, text) in STATUSES {
        let of_all = of.is_none() && (verb.is_none() || !has_own(*code));
        let of_it = of.is_some() && (verb.is_none() || *of == verb);
        if of_all || of_it {
            let whose = of.filter(|_| verb.is_none()).map(|of| format!("Of \\fB{of}\\fR: "));
            let whose = whose.unwrap_or_default();
            section.push_str(&format!(".TP\n\\fB{code}\\fR\n{whose}{text}\n"));
        }
    }
    section
}

/// The sections that every page ends with, as roff.
const COMMON: &str = r#".SH ENVIRONMENT
.TP
\fBSUPPRESSD_CONFIG\fR
The configuration file, unless --config names one.
.TP
\fBSUPPRESSD_LOG\fR
What the daemon logs: error, warn, info, debug, trace, or directives such as suppressd=debug.
.TP
\fBCREDENTIALS_DIRECTORY\fR
Where secrets written { credential = "NAME" } are; set by systemd.
.TP
\fBHTTPS_PROXY\fR, \fBNO_PROXY\fR
The proxy that providers are asked through, and the hosts that are asked directly, unless the
configuration names one.
.TP
\fBNO_COLOR\fR
If set, no output is coloured.
.SH FILES
.TP
\fI/etc/suppressd/config.toml\fR
The configuration.
.TP
\fI/var/lib/suppressd\fR
The state directory: journal, store, checkpoints, quarantine; and the exports of the packaged unit.
.TP
\fI/run/suppressd/control.sock\fR
The control socket. Members of the group suppressd may use it.
"#;

/// The arguments of `man`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A verb, such as `lift` or `source retire` [default: the program]
    verb: Vec<String>,
    /// Write all pages into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    directory: Option<PathBuf>,
}

impl Arguments {
    /// Prints a page, as roff, or writes all.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let mut program = super::command().disable_help_subcommand(true);
        program.build();
        if let Some(directory) = self.directory {
            write_all(&program, &directory)?;
            return Ok(0);
        }
        let mut command = &program;
        for verb in &self.verb {
            command = command.find_subcommand(verb).ok_or_else(|| {
                Failure::Usage(format!("no such verb: {verb}; see `suppressd --help`"))
            })?;
        }
        let page = page(&program, command).map_err(|error| Failure::Failed(error.to_string()))?;
        context.out.text(&page).map(|()| 0)
    }
}

fn write_all(program: &Command, directory: &Path) -> Result<(), Failure> {
    let failed = |path: &Path, error: io::Error| {
        Failure::Failed(format!("cannot write {}: {error}", path.display()))
    };
    std::fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
    for command in std::iter::once(program).chain(verbs(program)) {
        let path = directory.join(format!("{}.1", title(command)));
        page(program, command)
            .and_then(|page| std::fs::write(&path, page))
            .map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

/// Every verb, and the verbs below it.
fn verbs(command: &Command) -> Vec<&Command> {
    command.get_subcommands().flat_map(|verb| [vec![verb], verbs(verb)].concat()).collect()
}

/// The page's title: the words of the command, joined.
fn title(command: &Command) -> String {
    command.get_bin_name().unwrap_or(command.get_name()).replace(' ', "-")
}

fn page(program: &Command, command: &Command) -> io::Result<String> {
    let is_program = command.get_name() == program.get_name();
    // The examples have a section of their own.
    let mut shown = command.clone().disable_help_subcommand(true);
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (notes, examples) = help.split_once(EXAMPLES).unwrap_or((&help, ""));
    shown = shown.after_help(None::<&str>);
    let man = Man::new(shown).title(title(command)).section("1").manual("suppressd");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut page = String::from_utf8_lossy(&page).into_owned();
    if command.has_subcommands() {
        page.push_str(".SH VERBS\n");
        let below = if is_program { verbs(command) } else { command.get_subcommands().collect() };
        for verb in below {
            let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
            let name = title(verb).replacen("suppressd-", "", 1).replace('-', " ");
            page.push_str(&format!(".TP\n\\fB{}\\fR\n{}\n", literal(&name), literal(&about)));
        }
    }
    if !notes.trim().is_empty() {
        page.push_str(&format!(".SH NOTES\n.nf\n{}\n.fi\n", literal(notes.trim())));
    }
    page.push_str(&exit_status((!is_program).then(|| command.get_name())));
    page.push_str(COMMON);
    if !examples.is_empty() {
        page.push_str(&format!(".SH EXAMPLES\n.nf\n{}\n.fi\n", literal(examples)));
    }
    page.push_str(".SH \"SEE ALSO\"\n");
    let others = program.get_subcommands().filter(|verb| verb.get_name() != command.get_name());
    let others: Vec<_> = others.map(|verb| format!("\\fB{}\\fR(1)", title(verb))).collect();
    let first = if is_program { "" } else { "\\fBsuppressd\\fR(1), " };
    page.push_str(&format!("{first}{}\n", others.join(", ")));
    Ok(page)
}

/// Text as roff shows it: a backslash, and a dot or a quote that begins a line, stand for
/// themselves.
fn literal(text: &str) -> String {
    let line = |line: &str| {
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
