//! `suppressd config`: what the configuration sets that is not so by default; what a key means.

use std::fs;

use clap::Args;
use serde_json::{Value, json};

use super::completions;
use super::configuration;
use super::context::Context;
use super::failure::{Failure, Outcome};
use super::table::{Column, Table};
use crate::config::{self, Environment};

/// The arguments of `config`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A key, or a table, such as `http.body_max` or `export`: tells what it means
    #[arg(add = completions::keys())]
    key: Option<String>,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

const COLUMNS: &[Column] = &[
    Column::Field("KEY", "key"),
    Column::Field("NAME", "name"),
    Column::Field("VALUE", "value"),
    Column::Field("DEFAULT", "default"),
    Column::Field("FROM", "from"),
];

impl Arguments {
    /// Prints what is set, or what a key means.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let file = configuration::file(context.config.as_deref());
        let text = fs::read_to_string(&file);
        if let Some(key) = &self.key {
            // A file that cannot be read says nothing of the key.
            let set = set(&text.unwrap_or_default());
            return self.explain(context, key, &set);
        }
        let faulty = |problems: config::Problems| Failure::Configuration(problems.to_string());
        configuration::load_for_a_look(&file).map_err(faulty)?;
        let set = set(&text.unwrap_or_default());
        if self.json {
            return set.iter().try_for_each(|row| context.out.json(row)).map(|()| 0);
        }
        let mut table = Table::new(COLUMNS);
        set.iter().try_for_each(|row| table.row(&mut context.out, row))?;
        table.end(&mut context.out)?;
        context.out.note(&format!(
            "So says {}; all else is as by default. `suppressd config KEY` tells what a key means.",
            file.display()
        ));
        Ok(0)
    }

    fn explain(&self, context: &mut Context, key: &str, set: &[Value]) -> Outcome {
        let found = config::about(key);
        if found.is_empty() {
            let hint = "`suppressd config` shows those that are set; docs/providers/ has those of \
                        single providers";
            return Err(Failure::Usage(format!(
                "{key:?} is no key of config.example.toml ({hint})"
            )));
        }
        for entry in found {
            let is_it = |row: &&Value| {
                let path = row["key"].as_str().unwrap_or_default();
                config::is_within(path, &entry.key)
            };
            let here: Vec<&Value> = set.iter().filter(is_it).collect();
            if self.json {
                context.out.json(&json!({ "key": entry.key, "text": entry.text, "set": here }))?;
                continue;
            }
            context.out.line(&entry.key)?;
            for line in entry.text.lines() {
                context.out.line(&format!("    {line}"))?;
            }
            for row in here {
                let [path, value, from] =
                    ["key", "value", "from"].map(|key| row[key].as_str().unwrap_or_default());
                context.out.line(&format!("  here: {path} = {value}  ({from})"))?;
            }
        }
        Ok(0)
    }
}

/// What a file and the environment set.
fn set(text: &str) -> Vec<Value> {
    let set = config::settings(text, &Environment::of_process());
    set.iter().map(config::Setting::to_json).collect()
}
