//! How a source describes its provider's own list: what is asked to add to it and to take off it,
//! and what the answers mean.
//!
//! The tables are read anew for each address, and all that they can ask was tried at the start.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use url::Url;
use url::form_urlencoded::Serializer;

use super::super::push::{Outlet, Push, Pushing};
use super::super::{Key, KeyKind, Method, PageRequest, SettingError};
use super::event::Condition;
use super::poll::{Auth, headers};
use super::template::{Blanks, Texts};
use super::{HINT, tree};
use crate::model::{PushVerb, Reason};
use crate::secret::Secret;

/// What `push` takes beside its reasons.
pub(in crate::provider) const KEYS: &[Key] = &[
    Key::required("add", KeyKind::Tree),
    Key::required("remove", KeyKind::Tree),
    Key::optional("each", KeyKind::Texts),
    Key::optional("words", KeyKind::Tree),
];

const ADDRESS: &str = "{address}";
const REASON: &str = "{reason}";
const EACH: &str = "{each}";

/// What a problem with one of the two says, and what to write.
type Problem = (&'static str, &'static str);

const NO_URL: Problem =
    ("url is no URL", "write \"https://host/path\"; what is filled in is never empty, . or ..");

/// The table of one of the two.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table that describes a request")]
struct Knobs {
    method: Method,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    query: BTreeMap<String, Texts>,
    body: Option<Value>,
    form: Option<BTreeMap<String, Texts>>,
    #[serde(default)]
    answers: Vec<Answer>,
}

/// What an answer means: the first that fits counts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    /// Left out: any.
    status: Option<u16>,
    #[serde(default)]
    when: Vec<Condition>,
    means: Meaning,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Meaning {
    Done,
    Refused,
    Denied,
    Later,
}

/// What is asked: one request, or one for each of `each`.
pub(in crate::provider) fn requests(
    push: &Push<'_>,
    _: &Outlet,
) -> Result<Vec<PageRequest>, SettingError> {
    let knobs: Knobs = tree(push.settings, push.verb.as_str())?;
    let auth = Auth::of(push.settings)?;
    let reason = word(push)?;
    let each = push.settings.texts("each");
    let one = |each: Option<&String>| {
        let mut blanks = vec![(ADDRESS, Some(push.address.into()))];
        blanks.extend((push.verb == PushVerb::Add).then(|| (REASON, Some(reason.clone()))));
        blanks.extend(each.map(|each| (EACH, Some(each.as_str().into()))));
        knobs.request(push, &auth, &Blanks(blanks))
    };
    if each.is_empty() {
        Ok(vec![one(None)?])
    } else {
        each.iter().map(|each| one(Some(each))).collect()
    }
}

/// What an answer means; `None`: what its status says.
pub(in crate::provider) fn answer(
    push: &Push<'_>,
    _: &PageRequest,
    status: u16,
    body: &Value,
) -> Option<Pushing> {
    let knobs: Knobs = tree(push.settings, push.verb.as_str()).ok()?;
    let fits = |answer: &&Answer| {
        answer.status.is_none_or(|wanted| wanted == status)
            && answer.when.iter().all(|condition| condition.holds(body))
    };
    Some(match knobs.answers.iter().find(fits)?.means {
        Meaning::Done => Pushing::Done,
        Meaning::Refused => Pushing::Refused,
        Meaning::Denied => Pushing::Denied,
        Meaning::Later => Pushing::Later,
    })
}

/// The provider's word for the reason: ours, where `words` has no other.
fn word(push: &Push<'_>) -> Result<Value, SettingError> {
    let words: BTreeMap<String, String> = match push.settings.tree("words") {
        Some(_) => tree(push.settings, "words")?,
        None => BTreeMap::new(),
    };
    if let Some(odd) = words.keys().find(|word| Reason::parse(word).is_none()) {
        let hint = format!("the reasons are: {}", Reason::ALL.map(Reason::as_str).join(" "));
        return Err(push.settings.problem("words", &format!("{odd:?} is no reason"), &hint));
    }
    let reason = push.reason.map(Reason::as_str);
    let word = |reason: &str| words.get(reason).map_or(reason, String::as_str).into();
    Ok(reason.map_or(Value::Null, word))
}

impl Knobs {
    fn request(
        &self,
        push: &Push<'_>,
        auth: &Auth,
        blanks: &Blanks,
    ) -> Result<PageRequest, SettingError> {
        let bad = |(what, hint): Problem| push.settings.problem(push.verb.as_str(), what, hint);
        self.check(auth, blanks).map_err(bad)?;
        let url = blanks.fill_url(&self.url).and_then(|url| Url::parse(&url).ok());
        let mut url = url.ok_or_else(|| bad(NO_URL))?;
        for (name, value) in filled(&self.query, blanks) {
            url.query_pairs_mut().append_pair(name, &value);
        }
        let mut request = PageRequest { method: self.method, ..PageRequest::get(url) };
        if let Some(form) = &self.form {
            let pairs = filled(form, blanks);
            let form = Serializer::new(String::new()).extend_pairs(pairs).finish();
            let media = "application/x-www-form-urlencoded";
            request.body = Some((media, Secret::new(form.into_bytes())));
        } else if self.body.is_some() || matches!(auth, Auth::Body(_)) {
            let body = auth.body(self.body.as_ref(), blanks, push.settings);
            request = request.with_json(self.method, &body);
        }
        let named = headers(&self.headers);
        let named = named.ok_or_else(|| bad(("headers has no header's name", HINT)))?;
        let request =
            named.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        Ok(auth.apply(request, push.settings))
    }

    /// What of its templates would ask for something else than is meant, and what to write.
    fn check(&self, auth: &Auth, blanks: &Blanks) -> Result<(), Problem> {
        let after_scheme = self.url.split_once("://").map(|(_, rest)| rest);
        match after_scheme.and_then(|rest| rest.split(['/', '?', '#']).next()) {
            None | Some("") => return Err(NO_URL),
            Some(host) if host.contains('{') => {
                return Err(("url has a blank before its path", "write the host in full"));
            }
            Some(_) => {}
        }
        if self.form.is_some() && self.body.is_some() {
            return Err(("form stands beside body", "keep one of the two"));
        }
        let is_object = self.form.is_none() && self.body.as_ref().is_none_or(Value::is_object);
        if matches!(auth, Auth::Body(_)) && !is_object {
            return Err(("the secret has no place", "auth = \"body:KEY\" needs a body = { … }"));
        }
        let used = self.blanks();
        let known = |blank: &str| blanks.0.iter().any(|(known, _)| *known == blank);
        if !used.iter().all(|blank| known(blank)) {
            let hint = "use {address}, {each} where push has each, and in add {reason}";
            return Err(("has a blank for which nothing stands", hint));
        }
        let lacks = |wanted: &str| !used.iter().any(|blank| blank == wanted);
        if lacks(ADDRESS) {
            return Err(("says nowhere which address", "put {address} where the API wants it"));
        }
        if known(EACH) && lacks(EACH) {
            return Err(("asks the same for each", "use {each}, or remove each from push"));
        }
        Ok(())
    }

    /// All blanks in its templates.
    fn blanks(&self) -> Vec<String> {
        let lists = self.query.values().chain(self.form.iter().flat_map(BTreeMap::values));
        let body = self.body.as_ref().map(Value::to_string);
        let texts = lists.flat_map(Texts::all).chain([&self.url]).chain(&body);
        let is_name =
            |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase());
        let names = texts.flat_map(|text| text.split('{').skip(1));
        let names = names.filter_map(|rest| rest.split_once('}')).map(|(name, _)| name);
        names.filter(is_name).map(|name| format!("{{{name}}}")).collect()
    }
}

/// The pairs of a query or form.
fn filled<'t>(table: &'t BTreeMap<String, Texts>, blanks: &Blanks) -> Vec<(&'t str, String)> {
    let of = |(name, texts): (&'t String, &'t Texts)| {
        let values = texts.all().iter().filter_map(|text| blanks.fill(text));
        values.map(|value| (name.as_str(), value)).collect::<Vec<_>>()
    };
    table.iter().flat_map(of).collect()
}
