//! The `[[forward]]` tables: who is told of what.

use std::collections::BTreeSet;

use url::Url;

use super::environment::secrets;
use super::forwards::{Receiver, Settings, Subjects};
use super::places::Places;
use super::poll::is_private;
use super::section::{Field, Section, checked, shown};
use crate::model::EventKind;
use crate::provider::signing_key;
use crate::secret::Secret;

/// What is told unless the table says so.
const USUAL: [&str; 2] = [Subjects::ADDED, Subjects::LIFTED];

/// All `[[forward]]` tables.
pub(super) fn forwards(sections: Vec<Section<'_>>, places: &mut Places) -> Vec<Settings> {
    let mut names = BTreeSet::new();
    sections.into_iter().filter_map(|section| forward(&section, &mut names, places)).collect()
}

fn forward(
    section: &Section<'_>,
    names: &mut BTreeSet<String>,
    places: &mut Places,
) -> Option<Settings> {
    let name = section.need("name", "give the forward a name, such as \"app\"");
    let name = name.and_then(|field| name_of(&field, names));
    let url = section.take("url");
    let file = section.take("file");
    let keys = section.take("secret");
    let to = match (&url, &file) {
        (Some(_), Some(file)) => {
            file.problem("stands beside url", "keep one of them, and give each a [[forward]]");
            None
        }
        (Some(url), None) => to_url(section, url, keys.as_ref()),
        (None, Some(file)) => {
            if let Some(keys) = &keys {
                keys.problem("signs nothing: a file is not signed", "remove it");
            }
            to_file(file, name.as_deref(), places)
        }
        (None, None) => {
            section.missing("url", "write url = \"https://…\", or file = \"/path\"");
            None
        }
    };
    let subjects = match section.take("events") {
        Some(field) => subjects(&field),
        None => {
            let mut subjects = Subjects::default();
            USUAL.iter().try_for_each(|name| subjects.add(name)).map(|()| subjects)
        }
    };
    section.finish();
    Some(Settings { name: name?, to: to?, subjects: subjects? })
}

fn name_of(field: &Field<'_>, names: &mut BTreeSet<String>) -> Option<String> {
    let name = super::name::name(field)?.to_string();
    if !names.insert(name.clone()) {
        field.problem(format!("{name:?} is the name of an earlier forward"), "choose another");
        return None;
    }
    Some(name)
}

fn to_file(field: &Field<'_>, name: Option<&str>, places: &mut Places) -> Option<Receiver> {
    let path = field.place()?;
    let what = format!("the file of forward {:?}", name.unwrap_or("?"));
    if !places.take(field, &path, what, "added to") {
        return None;
    }
    if path.metadata().is_ok_and(|meta| !meta.is_file()) {
        let what = format!("{} is no file", shown(&path.to_string_lossy()));
        field.warn(what, "name a file of its own: each event is added to it as a line");
    }
    Some(Receiver::File(path))
}

fn to_url(section: &Section<'_>, field: &Field<'_>, keys: Option<&Field<'_>>) -> Option<Receiver> {
    let hint = "write \"https://app.example.com/hooks/suppressd\"";
    let url = field.text().and_then(|text| checked(field, Url::parse(text), hint));
    let url = url.filter(|url| {
        let fits = is_private(url) && url.has_host();
        if !fits {
            let hint = "use https; plain http is for a loopback address only";
            field.problem("is not an https URL: addresses would cross the network in clear", hint);
        }
        fits
    });
    let Some(keys) = keys else {
        section.missing("secret", "give the receiver and us the same \"whsec_…\"");
        return None;
    };
    let keys = secrets(keys, true).and_then(|secrets| {
        let decoded: Option<Vec<Secret>> = secrets.iter().map(signing_key).collect();
        if decoded.is_none() {
            let hint = "make one: echo whsec_$(openssl rand -base64 32)";
            keys.problem("is not a signing secret of Standard Webhooks", hint);
        }
        decoded
    });
    Some(Receiver::Url { url: url?, keys: keys? })
}

fn subjects(field: &Field<'_>) -> Option<Subjects> {
    let names = field.list_of(|text| {
        let kinds: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        let hint = format!(
            "write \"suppression.added\", \"suppression.lifted\", or \"event.\" and one of: {}",
            kinds.join(", ")
        );
        match Subjects::default().add(text) {
            Some(()) => Ok(text.to_owned()),
            None => Err((format!("{} is not told", shown(text)), hint)),
        }
    })?;
    if names.is_empty() {
        field.problem("is an empty list", "name what is to be told, or remove the forward");
        return None;
    }
    let mut subjects = Subjects::default();
    names.iter().try_for_each(|name| subjects.add(name)).map(|()| subjects)
}
