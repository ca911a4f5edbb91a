//! A table for KumoMTA's `kumo.json_load`: one JSON object from addresses to what to answer.

use super::field::json;
use super::key::each_spelling;
use super::{Entry, Format, Rows, Shape, Unfit};
use crate::model::reply::{self, Reply};

const SHAPE: Shape = Shape {
    head: "{",
    open: "\n",
    separator: ": ",
    close: "",
    joiner: ",",
    foot: "\n}\n",
    ..Shape::LINES
};

const CONFIG: &str = "\
-- The policy, such as /opt/kumomta/etc/policy/init.lua
local suppressed, loaded = {}, 0
local function refuse_if_suppressed(recipient)
  if os.time() - loaded >= 10 then
    suppressed, loaded = kumo.json_load '{path}', os.time()
  end
  local answer = suppressed[string.lower(tostring(recipient))]
  if answer then
    kumo.reject(550, answer)
  end
end
kumo.on('smtp_server_rcpt_to', function(recipient)
  refuse_if_suppressed(recipient)
end)
kumo.on('http_message_generated', function(message)
  refuse_if_suppressed(message:recipient())
end)
";

/// `kumomta`.
pub(super) struct KumoMta;

impl Format for KumoMta {
    fn name(&self) -> &'static str {
        "kumomta"
    }

    fn config(&self) -> &'static str {
        CONFIG
    }

    fn shape(&self) -> &'static Shape {
        &SHAPE
    }

    fn has_replies(&self) -> bool {
        true
    }

    fn check_reply(&self, reply: &str) -> Result<(), String> {
        reply::check_permanent(reply).map(|_| ())
    }

    /// The policy gives the SMTP code itself.
    fn answer(&self, reply: &str) -> String {
        let Some(parts) = Reply::parse(reply) else { return String::new() };
        json(&format!("{} {}", parts.status(), parts.text))
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        each_spelling(entry, |local, domain| {
            rows.add(&[&json(&[local, "@", domain].concat())], &[entry.answer()]);
        });
        Ok(())
    }
}
