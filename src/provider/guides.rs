//! The pages of the providers, built in: what a source of each looks like.
//!
//! A page whose provider no adapter has is a description: its block is a `custom` source, ready to
//! be pasted. So the page that people read, the block that is printed and the block that is tested
//! are one.

use super::ALL;

/// A page of `docs/providers/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guide {
    /// Its file's name without the ending: that of the provider, where it is built in.
    pub name: &'static str,
    text: &'static str,
}

macro_rules! pages {
    ($($name:literal)*) => {
        &[$(Guide {
            name: $name,
            text: include_str!(concat!("../../docs/providers/", $name, ".md")),
        }),*]
    };
}

/// All pages, in the order of their names.
pub static GUIDES: &[Guide] = pages![
    "ahasend"
    "amazon-ses"
    "azure-communication"
    "brevo"
    "custom"
    "customer-io"
    "elastic-email"
    "forward-email"
    "generic"
    "lettermint"
    "maildog"
    "maileroo"
    "mailersend"
    "mailgun"
    "mailjet"
    "mailpace"
    "mailtrap"
    "mandrill"
    "postal"
    "postmark"
    "resend"
    "scaleway-tem"
    "sendgrid"
    "smtp2go"
    "sparkpost"
    "standard-webhooks"
    "sweego"
    "unisender-go"
    "zeptomail"
];

impl Guide {
    /// The page of that name.
    pub fn named(name: &str) -> Option<&'static Guide> {
        GUIDES.iter().find(|page| page.name == name)
    }

    /// The service's own name.
    pub fn title(&self) -> &'static str {
        let first = self.text.lines().next().unwrap_or_default();
        first.trim_start_matches("# ")
    }

    /// Whether an adapter of this program has the provider; else the page describes it.
    pub fn is_built_in(&self) -> bool {
        ALL.iter().any(|provider| provider.name() == self.name)
    }

    /// A source of it as TOML, with its poll, where the page has one.
    pub fn block(&self) -> String {
        let mut blocks = blocks(self.text).into_iter();
        let mut block = blocks.next().unwrap_or_default();
        let is_poll =
            |more: &String| ["poll = ", "[source.poll]"].iter().any(|s| more.starts_with(s));
        if let Some(poll) = blocks.find(is_poll) {
            // A table stands apart; a line goes on.
            block.push_str(if poll.starts_with('[') { "\n" } else { "" });
            block.push_str(&poll);
        }
        block
    }
}

/// The fenced blocks of TOML of a page, without the indentation of a list that they stand in.
fn blocks(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(fence) = lines.by_ref().find(|line| line.trim_start() == "```toml") {
        let indent = fence.len() - fence.trim_start().len();
        let inside = lines.by_ref().take_while(|line| line.trim() != "```");
        blocks
            .push(inside.map(|line| line.get(indent..).unwrap_or("").to_owned() + "\n").collect());
    }
    blocks
}
