//! Asking for a reload of the configuration, and how the last one went.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::{Admin, Failure, Replies, row};
use crate::current::Current;

/// Most operators who wait for a reload at once.
const WISHES_MAX: usize = 64;

/// How a reload went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reloaded {
    /// Whether the file is in force now. If not, all is as it was.
    pub reloaded: bool,
    /// When it ended (RFC 3339).
    pub at: String,
    /// The file.
    pub file: String,
    /// What is wrong with the file, as `check --json` tells it.
    pub problems: Vec<Value>,
    /// Why it is not in force, in words.
    pub error: Option<String>,
    /// What is no fault, and deserves a word.
    pub warnings: Vec<String>,
    /// The keys that have changed, and need a restart.
    pub restart: Vec<&'static str>,
}

/// A wish for a reload: whoever has it answers how that went.
pub type Wish = oneshot::Sender<Reloaded>;

/// The way to a reload. Cheap to clone.
#[derive(Clone)]
pub struct Reloads {
    file: Arc<Path>,
    wishes: mpsc::Sender<Wish>,
    last: Arc<Current<Option<Reloaded>>>,
}

impl Reloads {
    /// Of that file, with what hears of the wishes.
    pub fn new(file: &Path) -> (Reloads, mpsc::Receiver<Wish>) {
        let (wishes, heard) = mpsc::channel(WISHES_MAX);
        (Reloads { file: file.into(), wishes, last: Arc::default() }, heard)
    }

    /// Whether a caller who means that file means ours.
    fn is_of(&self, file: &Path) -> bool {
        let whole = |file: &Path| std::path::absolute(file).ok();
        whole(file) == whole(&self.file)
    }

    /// Notes how one went.
    pub fn note(&self, reloaded: Reloaded) {
        self.last.set(Some(reloaded));
    }

    /// How the last one went, if there was one.
    pub fn last(&self) -> Option<Reloaded> {
        Option::clone(&self.last.get())
    }

    async fn ask(&self) -> Option<Reloaded> {
        let (wish, answer) = oneshot::channel();
        self.wishes.send(wish).await.ok()?;
        answer.await.ok()
    }
}

impl Admin {
    /// Reads the configuration again, and tells how that went: one row, also of one that
    /// failed. `file`: the one that is meant, where the caller is not sure that it is ours.
    pub(super) async fn reload(&self, file: Option<&Path>, to: &Replies) -> Result<(), Failure> {
        if file.is_some_and(|file| !self.reloads.is_of(file)) {
            let ours = self.reloads.file.display();
            return Err(Failure::usage(format!("this suppressd was started with {ours}")));
        }
        let reloaded = self.reloads.ask().await;
        let reloaded = reloaded.ok_or_else(|| Failure::failed("suppressd is stopping"))?;
        row(to, serde_json::to_value(&reloaded).map_err(Failure::failed)?).await?;
        let failed = || Failure::failed(reloaded.error.clone().unwrap_or_default());
        if reloaded.reloaded { Ok(()) } else { Err(failed()) }
    }
}
