//! What is wrong with a configuration, as the administrator reads it.
//!
//! A problem names its place, what is wrong and how to mend it. It never shows a secret.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
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

/// Everything that was found wrong with one configuration file. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file.
    pub file: PathBuf,
    /// The problems, in the order of their lines.
    pub problems: Vec<Problem>,
}

impl Problems {
    /// One problem with the file itself.
    pub(super) fn of_file(file: &Path, what: String, hint: &str) -> Problems {
        let problem =
            Problem { path: String::new(), name: None, line: None, what, hint: hint.to_owned() };
        Problems { file: file.to_owned(), problems: vec![problem] }
    }

    /// The same as one JSON object.
    pub fn to_json(&self) -> Value {
        let problem = |p: &Problem| {
            json!({
                "path": p.path, "name": p.name, "line": p.line, "what": p.what, "hint": p.hint,
            })
        };
        let problems: Vec<Value> = self.problems.iter().map(problem).collect();
        json!({ "file": self.file.display().to_string(), "problems": problems })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:", self.file.display())?;
            if let Some(line) = problem.line {
                write!(f, "{line}:")?;
            }
            write!(f, " {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
