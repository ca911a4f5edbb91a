//! `suppressd check`: loads the configuration as `run` would. Opens nothing; with `--deep`, tries
//! what `run` will need.

use clap::Args;
use serde_json::json;

use super::configuration;
use super::context::Context;
use super::failure::{Failure, Outcome};
use crate::clock;
use crate::config::{Problem, Problems, Weight, unheard};
use crate::probe::{self, UserError};

/// The arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Also try paths, commands, the certificate and ports; by root, as the unit's user
    #[arg(long)]
    deep: bool,
    /// Check as that user, which only root can
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Prints what the configuration makes, or every problem with it.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let user = self.become_user()?;
        let file = configuration::file(context.config.as_deref());
        let config = match configuration::load_for_a_look(&file) {
            Ok(config) => config,
            Err(problems) => return self.refuse(context, &problems, user.as_deref()),
        };
        let mut found = config.remarks.clone();
        found.extend(unheard(&config));
        found.extend(probe::by_unit(&config, &file));
        if self.deep {
            found.extend(probe::deep(&config, clock::now()));
        }
        if found.iter().any(|problem| problem.weight == Weight::Fault) {
            let problems = Problems { file, problems: found };
            return self.refuse(context, &problems, user.as_deref());
        }
        let (text, mut report) = configuration::report(&config);
        if self.json {
            let told = |problem: &&Problem| problem.weight == Weight::Warning;
            let warnings = found.iter().filter(told).map(|p| p.in_file(&file).into());
            if let Some(list) = report["warnings"].as_array_mut() {
                list.extend(warnings);
            }
            let rest = found.iter().filter(|p| p.weight == Weight::Unchecked);
            report["not_checked"] = rest.map(Problem::to_json).collect();
            report["checked_as"] = json!(user);
            context.out.json(&report)?;
        } else {
            context.out.line(text.trim_end())?;
            found.iter().try_for_each(|problem| context.out.line(&problem.in_file(&file)))?;
            say_user(user.as_deref(), |text| context.out.line(text))?;
        }
        Ok(0)
    }

    fn refuse(&self, context: &mut Context, problems: &Problems, user: Option<&str>) -> Outcome {
        if self.json {
            let mut json = problems.to_json();
            json["checked_as"] = json!(user);
            context.out.json(&json)?;
        }
        let mut text = problems.to_string();
        say_user(user, |line| {
            text.push_str(&format!("\n{line}"));
            Ok(())
        })?;
        Err(Failure::Configuration(text))
    }

    /// Becomes the user to check as, for good. `None`: as whoever we are, where nobody asks.
    fn become_user(&self) -> Result<Option<String>, Failure> {
        let became = match &self.user {
            Some(name) => probe::become_named(name).map(Some),
            None if self.deep => probe::become_units(),
            None => Ok(None),
        };
        became.map_err(|error| match error {
            UserError::Unknown(_) => Failure::Usage(error.to_string()),
            UserError::Refused(..) => Failure::Failed(error.to_string()),
        })
    }
}

fn say_user(
    user: Option<&str>,
    mut say: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    user.map_or(Ok(()), |user| say(&format!("checked as user {user}")))
}
