//! `suppressd completions`: a script that completes our verbs and options in a shell.

use clap::Args;
use clap_complete::Shell;

use super::context::Context;
use super::failure::Outcome;

/// The arguments of `completions`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

impl Arguments {
    /// Prints the script.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "suppressd", &mut script);
        context.out.bytes(&script).map(|()| 0)
    }
}
