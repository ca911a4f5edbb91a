//! A source's settings as its adapter sees them: resolved values under known keys.

use std::collections::BTreeMap;

use crate::secret::Secret;

/// A key that an adapter's table takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Whether it takes a secret, or a list of them.
    pub secret: bool,
    /// Whether it must be there.
    pub required: bool,
}

impl Key {
    /// A secret that must be there.
    pub const fn secret(name: &'static str) -> Key {
        Key { name, secret: true, required: true }
    }

    /// A secret that may be there.
    pub const fn optional_secret(name: &'static str) -> Key {
        Key { name, secret: true, required: false }
    }

    /// A text that must be there.
    pub const fn text(name: &'static str) -> Key {
        Key { name, secret: false, required: true }
    }

    /// A text that may be there.
    pub const fn optional_text(name: &'static str) -> Key {
        Key { name, secret: false, required: false }
    }
}

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// A text.
    Text(String),
    /// One secret or several, all of them good.
    Secrets(Vec<Secret>),
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

/// The settings of one table, `webhook` or `poll`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<String, Setting>);

impl Settings {
    /// Puts a value under a key.
    pub fn set(&mut self, key: &str, value: Setting) {
        self.0.insert(key.to_owned(), value);
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

    /// An error about a key of these settings.
    pub fn problem(&self, key: &str, problem: &str, hint: &str) -> SettingError {
        SettingError { key: key.to_owned(), problem: problem.to_owned(), hint: hint.to_owned() }
    }
}
