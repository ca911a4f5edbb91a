//! `suppressd providers`: what providers there are and what each can do; of one, the block of
//! configuration to begin with. Needs no daemon and no configuration.

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::completions;
use super::configuration;
use super::context::Context;
use super::failure::{Failure, Outcome};
use super::row;
use super::table::{Column, Table};
use crate::admin::there_are;
use crate::provider::{self, Feed, GUIDES, Guide, Provider, Rows};

/// The arguments of `providers`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print this provider's block of configuration
    #[arg(add = completions::pages())]
    name: Option<String>,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

const COLUMNS: &[Column] = &[
    Column::Field("NAME", "name"),
    Column::Field("PROVIDER", "provider"),
    Column::Field("POLL", "poll"),
    Column::Field("LISTS", "lists"),
    Column::Field("PUSH", "push"),
    Column::Field("WEBHOOK", "webhook"),
];

impl Arguments {
    /// Lists all, or shows one.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let out = &mut context.out;
        if let Some(name) = &self.name {
            let page = Guide::named(name).ok_or_else(|| {
                let names = there_are(GUIDES.iter().map(|page| page.name));
                Failure::Usage(format!("no provider {name:?}{names}"))
            })?;
            let mut answer = described(page)?;
            if self.json {
                answer["block"] = page.block().into();
                return out.json(&answer).map(|()| 0);
            }
            out.line(&format!(
                "# {}: docs/providers/{name}.md says what to enter there.",
                page.title()
            ))?;
            for (key, says) in [("webhook", "verified by"), ("poll", "polled"), ("tells", "tells")]
            {
                if let Some(text) = row::given(&answer, key) {
                    out.line(&format!("# {says}: {text}"))?;
                }
            }
            return out.text(&page.block()).map(|()| 0);
        }
        let mut table = Table::new(COLUMNS);
        for page in GUIDES {
            let row = described(page)?;
            if self.json { out.json(&row)? } else { table.row(out, &row)? }
        }
        table.end(out)?;
        Ok(0)
    }
}

/// What a provider can do.
fn described(page: &Guide) -> Result<Value, Failure> {
    if let Some(provider) = provider::ALL.iter().find(|provider| provider.name() == page.name) {
        return Ok(told(page, *provider));
    }
    // What the block describes is known when it is read, as a configuration is.
    let path = format!("docs/providers/{}.md", page.name);
    let config = configuration::load_block(Path::new(&path), &page.block());
    let config = config.map_err(|problems| Failure::Failed(problems.to_string()))?;
    let hooks = config.webhooks.iter().map(|hook| &hook.provider);
    let provider = hooks.chain(config.polls.iter().map(|poll| &poll.provider)).next();
    let provider =
        provider.ok_or_else(|| Failure::Failed(format!("{path} describes no source")))?;
    Ok(told(page, &**provider))
}

fn told(page: &Guide, provider: &dyn Provider) -> Value {
    let feeds = |rows: Rows| -> Vec<&str> {
        let of = |feed: &&Feed| feed.rows == rows;
        provider.feeds().iter().filter(of).map(|feed| &*feed.name).collect()
    };
    let (poll, lists) = (feeds(Rows::Events), feeds(Rows::Suppressions));
    let kinds = provider.kinds();
    let push = page.is_built_in() && provider::outlet(page.name).is_some();
    json!({
        "name": page.name,
        "title": page.title(),
        "provider": provider.name(),
        "webhook": provider.proven(),
        "poll": poll,
        "lists": lists,
        "push": push,
        "tells": kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_provider_says_what_it_can_do() {
        let row = |name: &str| described(Guide::named(name).unwrap()).unwrap();
        for page in GUIDES {
            let row = row(page.name);
            assert!(row["webhook"].as_str().is_some_and(|text| !text.is_empty()), "{row}");
            assert!(!row["tells"].as_array().unwrap().is_empty() || page.name == "custom", "{row}");
        }
        let sweego = row("sweego");
        assert_eq!(sweego["provider"], "custom");
        assert_eq!(sweego["webhook"], "HMAC-SHA256 in header webhook-signature");
        assert_eq!(row("mailpace")["webhook"], "Ed25519 signature in header X-MailPace-Signature");
        assert_eq!(sweego["push"], false);
        assert!(sweego["tells"].as_array().unwrap().contains(&"hard_bounce".into()));
        let sendgrid = row("sendgrid");
        assert_eq!((&sendgrid["provider"], &sendgrid["push"]), (&"sendgrid".into(), &true.into()));
        assert_eq!(sendgrid["poll"], json!(["events"]));
        assert!(sendgrid["lists"].as_array().unwrap().contains(&"bounces".into()));
    }
}
