//! What some services' rows say that no word in a column does.

use super::cells::{Cells, plain};
use super::words::{Said, word};
use crate::model::{Reason, Scope};

/// What a word says on a list on which everyone is suppressed.
pub(super) fn listed(text: &str) -> Said {
    match word(text) {
        Said::Reason(reason) => Said::Reason(reason),
        _ => Said::Reason(Reason::ProviderListed),
    }
}

pub(super) fn postmark(cells: &Cells) -> Said {
    let why = cells.get("suppressionreason");
    if plain(why) == "manualsuppression" && plain(cells.get("origin")) == "recipient" {
        return Said::Reason(Reason::Unsubscribe);
    }
    word(why)
}

pub(super) fn postal(cells: &Cells) -> Said {
    let is_soft = cells.get("reason").to_lowercase().contains("soft");
    if is_soft { Said::Soft("a soft bounce") } else { Said::Reason(Reason::HardBounce) }
}

/// Whether an entry at SparkPost keeps off campaigns only.
fn is_of_campaigns(cells: &Cells) -> bool {
    let kind = plain(cells.get("type"));
    if !kind.is_empty() {
        return kind.starts_with("non");
    }
    cells.is_on("nontransactional") && !cells.is_on("transactional")
}

/// What an entry keeps off, where nothing says why.
pub(super) fn sparkpost(cells: &Cells) -> Said {
    let (kind, source) = (cells.get("type"), cells.get("source"));
    let is_known = matches!(plain(kind).as_str(), "" | "transactional") || is_of_campaigns(cells);
    let is_off =
        !kind.is_empty() || ["transactional", "nontransactional"].iter().any(|c| cells.is_on(c));
    match source {
        _ if !is_known => Said::Unknown(kind.to_owned()),
        "" if !is_off => Said::Clear,
        "" if is_of_campaigns(cells) => Said::Reason(Reason::Unsubscribe),
        "" => Said::Reason(Reason::ProviderListed),
        source => word(source),
    }
}

pub(super) fn sparkpost_covers(cells: &Cells, reason: Reason) -> Vec<Scope> {
    // A dead address is dead for all, and a complaint counts for all.
    let is_of_person = matches!(reason, Reason::HardBounce | Reason::Complaint | Reason::Invalid);
    if is_of_person || !is_of_campaigns(cells) {
        return vec![Scope::Global];
    }
    stream("non_transactional")
}

pub(super) fn brevo(cells: &Cells, reason: Reason) -> Vec<Scope> {
    match (reason, cells.get("senderemail")) {
        (Reason::HardBounce | Reason::Complaint, _) | (_, "") => vec![Scope::Global],
        (_, sender) => stream(sender),
    }
}

pub(super) fn mailtrap(cells: &Cells, reason: Reason) -> Vec<Scope> {
    match (reason, cells.get("sendingstream")) {
        (Reason::Unsubscribe, name) if !matches!(name, "" | "any") => stream(name),
        _ => vec![Scope::Global],
    }
}

/// `*` stands for all mail of the domain; so does having no tag.
pub(super) fn mailgun_tags(cells: &Cells, _: Reason) -> Vec<Scope> {
    let (_, tags) = cells.first(&["tags", "tag"]).unwrap_or_default();
    let bare = tags.trim_matches(|c| matches!(c, '[' | ']'));
    let tags: Vec<&str> =
        bare.split(',').map(|tag| tag.trim().trim_matches('"')).filter(|t| !t.is_empty()).collect();
    if tags.is_empty() || tags.contains(&"*") {
        return vec![Scope::Global];
    }
    tags.into_iter().flat_map(stream).collect()
}

/// The scope of that stream; none if it can have no such name.
pub(super) fn stream(name: &str) -> Vec<Scope> {
    Scope::parse(&format!("stream:{name}")).into_iter().collect()
}
