//! Asking before much is changed at once.

use std::io::{self, BufRead, IsTerminal};

use super::context::Context;
use super::failure::Failure;

impl Context {
    /// Asks whether to go on; `yes` is the answer that the command line gave. Without a terminal
    /// nobody can be asked, and nothing is done.
    ///
    /// # Errors
    /// When the answer is not yes.
    pub(super) fn confirm(&mut self, what: &str, yes: bool) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(Failure::Usage(format!("{what}: nothing was done; --yes does it")));
        }
        self.out.flush()?;
        self.out.ask(&format!("{what}. Go on? [y/N] "));
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer);
        read.map_err(|error| Failure::Failed(format!("standard input: {error}")))?;
        if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
            return Ok(());
        }
        Err(Failure::Failed("nothing was done".to_owned()))
    }
}
