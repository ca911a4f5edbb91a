//! `suppressd man`: the manual page, all verbs in one.

use std::io;

use clap::{Arg, Args, Command};
use clap_mangen::Man;

use super::context::Context;
use super::failure::{Failure, Outcome};

/// The arguments of `man`: none.
#[derive(Debug, Args)]
pub(super) struct Arguments {}

impl Arguments {
    /// Prints the page, as roff.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let page = page().map_err(|error| Failure::Failed(error.to_string()))?;
        context.out.text(&page).map(|()| 0)
    }
}

fn page() -> io::Result<String> {
    let mut command = super::command().disable_help_subcommand(true);
    command.build();
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut page = String::from_utf8_lossy(&page).into_owned();
    page.push_str(".SH VERBS\n");
    for verb in command.get_subcommands() {
        verb_section(verb, &mut page)?;
    }
    let mut rest = Vec::new();
    man.render_extra_section(&mut rest)?;
    page.push_str(&String::from_utf8_lossy(&rest));
    Ok(page)
}

/// A verb, and the verbs below it, as subsections.
fn verb_section(verb: &Command, page: &mut String) -> io::Result<()> {
    // What every verb takes is told once, above.
    let own = |arg: Arg| {
        let shared = ["config", "help"].contains(&arg.get_id().as_str());
        arg.hide(shared)
    };
    let man = Man::new(verb.clone().mut_args(own));
    let mut section = Vec::new();
    man.render_synopsis_section(&mut section)?;
    man.render_description_section(&mut section)?;
    man.render_options_section(&mut section)?;
    let name = verb.get_bin_name().unwrap_or(verb.get_name());
    page.push_str(&format!(".SS \"{name}\"\n"));
    // A page of its own has sections here; in this one they are only paragraphs.
    for line in String::from_utf8_lossy(&section).lines() {
        page.push_str(if line.starts_with(".SH") { ".PP" } else { line });
        page.push('\n');
    }
    verb.get_subcommands().try_for_each(|verb| verb_section(verb, page))
}
