//! What is wrong with a configuration, as the administrator reads it.
//!
//! A problem names its place, what is wrong and how to mend it. It never shows a secret.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// How much a problem weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Nothing can be run with it.
    Fault,
    /// It can be meant as it is, and is wrong most times.
    Warning,
    /// It cannot be looked at here.
    Unchecked,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How much it weighs.
    pub weight: Weight,
    /// The TOML path, such as `source[2].webhook.secret`: members of an array count from 1.
    /// Empty when the file as a whole is meant.
    pub path: String,
    /// The `name` of the `[[source]]` or `[[export]]` it is in, if it has one.
    pub name: Option<String>,
    /// The line of the file, from 1. Where a key is missing: the line its table starts on.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub hint: String,
}

/// Everything that was found wrong with one configuration file, with at least one fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file.
    pub file: PathBuf,
    /// The problems, in the order of their lines.
    pub problems: Vec<Problem>,
}

impl Problem {
    /// A fault that is found at a place of the file once it is read.
    pub fn late(path: &str, name: Option<&str>, what: String, hint: &str) -> Problem {
        let (path, name, hint) = (path.to_owned(), name.map(str::to_owned), hint.to_owned());
        Problem { weight: Weight::Fault, path, name, line: None, what, hint }
    }

    /// The same as JSON.
    pub fn to_json(&self) -> Value {
        let Problem { path, name, line, what, hint, .. } = self;
        json!({ "path": path, "name": name, "line": line, "what": what, "hint": hint })
    }

    /// The block of two lines that tells it, with the file it is in.
    pub fn in_file(&self, file: &Path) -> String {
        let line = self.line.map_or(String::new(), |line| format!("{line}:"));
        format!("{}:{line} {self}", file.display())
    }
}

impl Problems {
    /// One problem with the file itself.
    pub(super) fn of_file(file: &Path, what: String, hint: &str) -> Problems {
        let problem = Problem::late("", None, what, hint);
        Problems { file: file.to_owned(), problems: vec![problem] }
    }

    /// The same as one JSON object.
    pub fn to_json(&self) -> Value {
        let of = |weight: Weight| -> Vec<Value> {
            self.problems.iter().filter(|p| p.weight == weight).map(Problem::to_json).collect()
        };
        json!({
            "file": self.file.display().to_string(),
            "problems": of(Weight::Fault),
            "warnings": of(Weight::Warning),
            "not_checked": of(Weight::Unchecked),
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.weight {
            Weight::Fault => "",
            Weight::Warning => "warning: ",
            Weight::Unchecked => "note: ",
        })?;
        if !self.path.is_empty() {
            write!(f, "{}", self.path)?;
            if let Some(name) = &self.name {
                write!(f, " (\"{name}\")")?;
            }
            f.write_str(": ")?;
        }
        write!(f, "{}\n  hint: {}", self.what, self.hint)
    }
}

impl fmt::Display for Problems {
    /// A block of two lines a problem.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blocks: Vec<String> = self.problems.iter().map(|p| p.in_file(&self.file)).collect();
        f.write_str(&blocks.join("\n"))
    }
}

impl std::error::Error for Problems {}
