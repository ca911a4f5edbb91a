//! What a form asks for, as the command that the command line would send.

use crate::admin::{Command, ListFilter};
use crate::units;

/// A form that was sent.
pub(super) struct Form(Vec<(String, String)>);

/// What a form asks for.
pub(in crate::http) struct Act {
    /// In a word, for the log.
    pub(in crate::http) what: &'static str,
    /// Of which mass, or of which payload in quarantine; nothing that a stranger has written.
    pub(in crate::http) id: Option<String>,
    /// The token that it shows.
    pub(in crate::http) token: String,
    /// What is to be done.
    pub(in crate::http) command: Command,
    /// The page that shows what came of it.
    pub(in crate::http) then: String,
}

/// What a form has done, in words, by the word that stands in the page's address.
pub(super) fn said(done: &str) -> Option<&'static str> {
    Some(match done {
        "add" => "Suppressed. The exports follow by themselves.",
        "lift" => "Lifted. The exports follow by themselves.",
        "release" => "The mass was let go: what it held suppresses from now on.",
        "lift-held" => "The mass has ended: what it held was lifted.",
        "replay" => "Told again. What could still not be read stays here.",
        "drop" => "Dropped.",
        _ => return None,
    })
}

impl Form {
    fn take(&self, name: &str) -> Option<String> {
        let mut found = self.0.iter().filter(|(known, _)| known == name);
        let (_, value) = found.next()?;
        let value = value.trim();
        (found.next().is_none() && !value.is_empty()).then(|| value.to_owned())
    }

    fn need(&self, name: &str) -> Result<String, String> {
        self.take(name).ok_or_else(|| format!("{name} is missing"))
    }

    fn id(&self) -> Result<u64, String> {
        self.need("id")?.parse().map_err(|_| "id is not a number".to_owned())
    }
}

impl Act {
    /// By the fields of a form.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub(in crate::http) fn parse(fields: Vec<(String, String)>) -> Result<Act, String> {
        let form = Form(fields);
        let (act, token) = (form.need("act")?, form.take("token").unwrap_or_default());
        let note = form.take("note");
        let (what, command) = match &*act {
            "add" => (
                "suppress",
                Command::Add {
                    addresses: vec![form.need("address")?],
                    scope: form.take("scope"),
                    seconds: form.take("for").as_deref().map(seconds).transpose()?,
                    note,
                },
            ),
            "lift" => (
                "lift",
                Command::Lift {
                    addresses: vec![form.need("address")?],
                    filter: ListFilter { scope: form.take("scope"), ..ListFilter::default() },
                    note,
                    dry_run: false,
                },
            ),
            "release" => ("release", Command::Release { id: form.id()? }),
            "lift-held" => {
                ("lift --held", Command::LiftHeld { id: form.id()?, note, dry_run: false })
            }
            "replay" => {
                ("quarantine replay", Command::QuarantineReplay { ids: vec![form.need("id")?] })
            }
            "drop" => ("quarantine drop", Command::QuarantineDrop { ids: vec![form.need("id")?] }),
            _ => return Err("there is no such form".to_owned()),
        };
        let is_ours = |id: &String| id.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let id = form.take("id").filter(is_ours);
        let mut then = url::form_urlencoded::Serializer::new(String::new());
        let path = match form.take("address") {
            Some(address) => {
                then.append_pair("q", &address);
                "/address"
            }
            None => "/",
        };
        then.append_pair("done", &act);
        Ok(Act { what, id, token, command, then: format!("{path}?{}", then.finish()) })
    }
}

fn seconds(text: &str) -> Result<u64, String> {
    let span = units::duration(text).filter(|span| span.as_secs() > 0);
    let hint = "a term is a number with s, m, h or d, such as 30d";
    span.map(|span| span.as_secs()).ok_or_else(|| hint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Vec<(String, String)> {
        url::form_urlencoded::parse(text.as_bytes()).into_owned().collect()
    }

    #[test]
    fn a_form_is_the_command_of_a_verb() {
        let act = Act::parse(fields("act=add&token=t&address=a%40x.test&for=1d&note=+&scope="));
        let act = act.ok().unwrap();
        let add = Command::Add {
            addresses: vec!["a@x.test".to_owned()],
            scope: None,
            seconds: Some(86_400),
            note: None,
        };
        assert_eq!((act.command, &*act.then), (add, "/address?q=a%40x.test&done=add"));
        let act = Act::parse(fields("act=release&id=7&token=t")).ok().unwrap();
        assert_eq!((act.what, act.id.as_deref()), ("release", Some("7")));
        assert_eq!((act.command, &*act.then), (Command::Release { id: 7 }, "/?done=release"));
        let act = Act::parse(fields("act=drop&id=a%40x.test&token=t")).ok().unwrap();
        assert_eq!((act.what, act.id), ("quarantine drop", None), "no log has an address");
        for bad in ["", "act=add", "act=lift&address=", "act=release&id=x", "act=run&id=1"] {
            assert!(Act::parse(fields(bad)).is_err(), "{bad}");
        }
        let twice = "act=lift&address=a%40x.test&address=b%40x.test";
        assert!(Act::parse(fields(twice)).is_err(), "nobody knows which is meant");
    }
}
