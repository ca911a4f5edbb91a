//! Reading the configuration again: at SIGHUP, or when an operator asks for it.
//!
//! A file with a fault changes nothing. What asks for a reload while one is under way gets another
//! behind it, and all that wait then get the same.

use std::path::{Path, PathBuf};
use std::time::Instant;

use tokio::signal::unix::Signal;
use tokio::sync::mpsc;

use super::Misconfigured;
use super::edges::{Edges, prepare};
use crate::admin::{Reloaded, Reloads, Wish};
use crate::clock;
use crate::config::{self, Config, Environment, Problem, Problems, Weight};
use crate::listen::Passed;
use crate::{systemd, telemetry};

/// What asks for reloads, and what they need.
pub(super) struct Reload {
    file: PathBuf,
    /// What cannot be exchanged, as it was at the start.
    store: PathBuf,
    control: PathBuf,
    reloads: Reloads,
    wishes: mpsc::Receiver<Wish>,
    hangups: Signal,
}

/// Why a file is not in force.
struct Fault {
    /// As `check --json` tells it; none where it may pass.
    problems: Vec<Problem>,
    text: String,
}

/// Tells what a configuration may say and most times does not mean.
pub(super) fn remark(config: &Config) {
    for remark in &config.remarks {
        telemetry::health::doubtful(&remark.path, &remark.what, &remark.hint);
    }
}

impl Reload {
    pub(super) fn new(
        config: &Config,
        file: PathBuf,
        reloads: Reloads,
        wishes: mpsc::Receiver<Wish>,
        hangups: Signal,
    ) -> Reload {
        let (store, control) = (config.store.path.clone(), config.control.socket.clone());
        Reload { file, store, control, reloads, wishes, hangups }
    }

    /// Waits until a reload is wanted. Gives who waits for its outcome: nobody, at a signal.
    pub(super) async fn wanted(&mut self) -> Vec<Wish> {
        tokio::select! {
            Some(()) = self.hangups.recv() => Vec::new(),
            Some(wish) = self.wishes.recv() => {
                let mut wishes = vec![wish];
                while let Ok(wish) = self.wishes.try_recv() {
                    wishes.push(wish);
                }
                wishes
            }
            else => std::future::pending().await,
        }
    }

    /// Reads the file, puts what it says in force, and tells everyone how that went. Dropping the
    /// future leaves what can only be stopped.
    pub(super) async fn carry_out(&self, wishes: Vec<Wish>, edges: &mut Edges, is_ready: bool) {
        let started = Instant::now();
        telemetry::health::reloading(self.file.display());
        if is_ready {
            systemd::reloading();
        }
        let outcome = self.exchange(edges).await;
        match &outcome {
            Ok(_) => telemetry::health::reloaded(started.elapsed().as_secs_f64()),
            Err(fault) => {
                telemetry::health::reload_failed();
                fault.lines(&self.file).iter().for_each(|why| telemetry::health::fault(why));
            }
        }
        let reloaded = self.told(outcome);
        reloaded.restart.iter().for_each(|key| telemetry::health::needs_restart(key));
        self.reloads.note(reloaded.clone());
        if is_ready {
            let first = |error: &String| {
                let line = error.lines().next().unwrap_or_default();
                format!("reload failed: {line}; the settings of before are in force")
            };
            let status = reloaded.error.as_ref().map_or_else(|| "reloaded".to_owned(), first);
            systemd::reloaded(&status);
        }
        for wish in wishes {
            // An operator who has gone needs no answer.
            let _ = wish.send(reloaded.clone());
        }
    }

    /// Gives what deserves a word, and the keys that need a restart.
    async fn exchange(&self, edges: &mut Edges) -> Result<(Vec<String>, Vec<&'static str>), Fault> {
        let file = self.file.clone();
        let load = move || config::load(&file, &Environment::of_process());
        let loaded = tokio::task::spawn_blocking(load).await.map_err(Fault::passing)?;
        let mut config = loaded?;
        let fixed = [("store.path", self.store != config.store.path)];
        let fixed =
            fixed.into_iter().chain([("control.socket", self.control != config.control.socket)]);
        let restart = fixed.filter(|(_, differs)| *differs).map(|(key, _)| key).collect();
        let warnings = config.remarks.iter().map(|remark| remark.in_file(&self.file)).collect();
        remark(&config);
        // Where things lie is as at the start.
        config.store.path.clone_from(&self.store);
        let (listeners, keeper) = (&edges.listeners, edges.keeper.as_ref());
        let prepared = prepare(config, listeners, keeper, &mut Passed::default())?;
        edges.exchange(prepared).await?;
        Ok((warnings, restart))
    }

    fn told(&self, outcome: Result<(Vec<String>, Vec<&'static str>), Fault>) -> Reloaded {
        let (at, file) = (clock::now().floor_second().to_string(), self.file.display().to_string());
        let (problems, error, warnings, restart) = match outcome {
            Ok((warnings, restart)) => (Vec::new(), None, warnings, restart),
            Err(Fault { problems, text }) => {
                let faults = problems.iter().filter(|problem| problem.weight == Weight::Fault);
                (faults.map(Problem::to_json).collect(), Some(text), Vec::new(), Vec::new())
            }
        };
        Reloaded { reloaded: error.is_none(), at, file, problems, error, warnings, restart }
    }
}

impl Fault {
    /// What is wrong, one by one.
    fn lines(&self, file: &Path) -> Vec<String> {
        match &self.problems[..] {
            [] => vec![self.text.clone()],
            problems => problems.iter().map(|problem| problem.in_file(file)).collect(),
        }
    }

    /// One that may be gone at the next try.
    fn passing(error: impl ToString) -> Fault {
        Fault { problems: Vec::new(), text: error.to_string() }
    }
}

impl From<Problems> for Fault {
    /// What keeps the file from being in force comes first: some show no more.
    fn from(mut found: Problems) -> Fault {
        found.problems.sort_by_key(|problem| problem.weight != Weight::Fault);
        Fault { text: found.to_string(), problems: found.problems }
    }
}

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Fault {
        let text = format!("{error:#}");
        if !error.is::<Misconfigured>() {
            return Fault::passing(text);
        }
        let (path, what) = text.split_once(": ").unwrap_or(("", &text));
        let problem = Problem::late(path, None, what.to_owned(), "mend it, and reload again");
        Fault { problems: vec![problem], text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_is_the_fault_and_no_warning() {
        let fault = Problem::late("http.listen", None, "is no address".into(), "mend it");
        let warning = Problem { weight: Weight::Warning, line: Some(1), ..fault.clone() };
        let problems = vec![warning, fault];
        let told = Fault::from(Problems { file: "f".into(), problems }).text;
        assert!(told.starts_with("f: http.listen: is no address\n"), "{told}");
        assert!(told.contains("warning: "), "{told}");
    }
}
