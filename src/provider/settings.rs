//! A source's settings as its adapter sees them: resolved values under known keys.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::secret::Secret;

/// A key that an adapter's table takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: KeyKind,
    /// Whether it must be there.
    pub required: bool,
}

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// A secret, or a list of them.
    Secret,
    /// A line of text.
    Text,
    /// A list of texts.
    Texts,
    /// Yes or no.
    Flag,
    /// A duration.
    Span,
    /// Any value, nested as deep as it likes.
    Tree,
}

impl Key {
    /// A key that must be there.
    pub const fn required(name: &'static str, kind: KeyKind) -> Key {
        Key { name, kind, required: true }
    }

    /// A key that may be there.
    pub const fn optional(name: &'static str, kind: KeyKind) -> Key {
        Key { name, kind, required: false }
    }

    /// A secret that must be there.
    pub const fn secret(name: &'static str) -> Key {
        Key::required(name, KeyKind::Secret)
    }

    /// A secret that may be there.
    pub const fn optional_secret(name: &'static str) -> Key {
        Key::optional(name, KeyKind::Secret)
    }

    /// A text that must be there.
    pub const fn text(name: &'static str) -> Key {
        Key::required(name, KeyKind::Text)
    }

    /// A text that may be there.
    pub const fn optional_text(name: &'static str) -> Key {
        Key::optional(name, KeyKind::Text)
    }
}

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// A text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// One secret or several, all of them good.
    Secrets(Vec<Secret>),
    /// Yes or no.
    Flag(bool),
    /// A duration.
    Span(Duration),
    /// Any value.
    Tree(serde_json::Value),
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem} ({hint})")]
pub struct SettingError {
    /// The key.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// How to mend it.
    pub hint: String,
}

/// All that is wrong with some settings, so that it can be told at once.
#[derive(Debug, Default)]
pub struct SettingErrors(pub Vec<SettingError>);

impl SettingErrors {
    /// What could be used; what could not is noted.
    pub fn take<T>(&mut self, result: Result<T, SettingError>) -> Option<T> {
        result.map_err(|error| self.0.push(error)).ok()
    }
}

/// The settings of one table, `webhook` or `poll`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<String, Setting>);

impl Settings {
    /// Puts a value under a key.
    pub fn set(&mut self, key: &str, value: Setting) {
        self.0.insert(key.to_owned(), value);
    }

    /// The same with what `more` has.
    #[must_use]
    pub fn with(&self, more: Settings) -> Settings {
        let mut all = self.clone();
        all.0.extend(more.0);
        all
    }

    /// The text under a key.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.0.get(key) {
            Some(Setting::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The secrets under a key; none if the key is absent.
    pub fn secrets(&self, key: &str) -> &[Secret] {
        match self.0.get(key) {
            Some(Setting::Secrets(secrets)) => secrets,
            _ => &[],
        }
    }

    /// The texts under a key; none if the key is absent.
    pub fn texts(&self, key: &str) -> &[String] {
        match self.0.get(key) {
            Some(Setting::Texts(texts)) => texts,
            _ => &[],
        }
    }

    /// Yes or no under a key.
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.0.get(key) {
            Some(Setting::Flag(flag)) => Some(*flag),
            _ => None,
        }
    }

    /// The duration under a key.
    pub fn span(&self, key: &str) -> Option<Duration> {
        match self.0.get(key) {
            Some(Setting::Span(span)) => Some(*span),
            _ => None,
        }
    }

    /// The value under a key.
    pub fn tree(&self, key: &str) -> Option<&serde_json::Value> {
        match self.0.get(key) {
            Some(Setting::Tree(tree)) => Some(tree),
            _ => None,
        }
    }

    /// How many sets of secrets there are: the longest list of them, and one at least.
    pub fn secret_sets(&self) -> usize {
        self.secret_lists().map(|(_, secrets)| secrets.len()).max().unwrap_or(1).max(1)
    }

    /// The same with one secret of each list: that of the set, or the last of a shorter list. So
    /// the two halves of a pair go together.
    #[must_use]
    pub fn with_secret_set(&self, set: usize) -> Settings {
        let mut one = self.clone();
        for (key, secrets) in self.secret_lists() {
            let secret = secrets.get(set).or(secrets.last());
            one.set(key, Setting::Secrets(secret.cloned().into_iter().collect()));
        }
        one
    }

    /// The keys that take secrets, each with its list.
    pub fn secret_lists(&self) -> impl Iterator<Item = (&str, &[Secret])> {
        self.0.iter().filter_map(|(key, setting)| match setting {
            Setting::Secrets(secrets) => Some((key.as_str(), &secrets[..])),
            _ => None,
        })
    }

    /// An error about a key of these settings.
    pub fn problem(&self, key: &str, problem: &str, hint: &str) -> SettingError {
        SettingError { key: key.to_owned(), problem: problem.to_owned(), hint: hint.to_owned() }
    }
}
