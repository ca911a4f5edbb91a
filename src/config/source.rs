//! The `[[source]]` tables: an account at a provider, its webhook and its poll.
//!
//! What a provider's keys mean is the adapter's to say: here they are only read and resolved.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::environment::secrets;
use super::near::{listed, meant, nearest};
use super::poll::{Poll, poll, timing};
use super::section::{Field, Section};
use super::suspect;
use super::{EVER, Source, polls, push, webhook};
use crate::model::SourceName;
use crate::provider::{
    self, Adapter, CREDENTIAL_KEYS, Check, Guide, Key, KeyKind, Provider, Setting, SettingError,
    Settings, checks_of_credentials,
};

/// Secrets that go into a header as they are, and so must be text.
const TEXT_SECRETS: &[&str] = &["basic", "bearer", "header_value", "api_key", "server_token"];

/// Shortest and longest duration of an adapter's own keys.
const SPAN_MIN: Duration = Duration::from_secs(1);
const SPAN_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The shortest silence that can be told.
const SILENT_MIN: Duration = Duration::from_secs(1);

/// What the `[[source]]` tables hold.
#[derive(Default)]
pub(super) struct Sources {
    /// The names of all, also of those with other problems.
    pub(super) names: BTreeSet<SourceName>,
    pub(super) sources: Vec<Source>,
    pub(super) webhooks: Vec<webhook::Settings>,
    pub(super) described: HashMap<SourceName, Adapter>,
    pub(super) polls: Vec<polls::Settings>,
}

/// What webhooks must know of the public listener.
#[derive(Clone, Copy)]
pub(super) struct Public {
    /// Whether only this host reaches it.
    pub(super) is_local: bool,
    /// Whether `http.public_url` says what providers call.
    pub(super) has_url: bool,
}

/// All `[[source]]` tables.
pub(super) fn sources(sections: Vec<Section<'_>>, public: Public) -> Sources {
    let mut found = Sources::default();
    for section in sections {
        source(section, public, &mut found);
    }
    found
}

fn source(section: Section<'_>, public: Public, found: &mut Sources) {
    let name = name(&section, &found.names);
    found.names.extend(name.clone());
    let chosen = chosen_provider(&section);
    // One that is misspelt hides nothing else: the source is looked at as if it were the one meant.
    let provider = chosen.or_else(|| meant_provider(&section));
    let (webhook, poll_field) = (section.take("webhook"), section.take("poll"));
    let push_field = section.take("push");
    let silent = section.take("silent").and_then(|field| field.duration(SILENT_MIN..=EVER));
    let has_webhook = webhook.is_some();
    if webhook.is_none() && poll_field.is_none() {
        let hint = "add webhook = { … }, poll = { … }, or both";
        section.problem_here("has neither a webhook nor a poll", hint);
    }
    let pushes = provider.is_some_and(|provider| provider::outlet(provider.name()).is_some());
    if let (Some(field), None, true) = (&push_field, &poll_field, pushes) {
        field.problem("stands without poll, whose settings it uses", "add poll = { … }");
    }
    section.finish();
    let Some(provider) = provider else {
        return of_no_provider(webhook, poll_field);
    };
    let webhook = webhook.and_then(|f| f.table()).map(|s| checks(s, provider, public));
    let (told, webhook) = webhook.unzip();
    let poll = poll_field.and_then(|f| f.table()).and_then(|s| poll(s, provider, told.as_ref()));
    let push = push_field.and_then(|field| field.table());
    let push = push.and_then(|section| push::push(&section, provider, poll.as_ref()));
    let (Some(name), Some(_)) = (name, chosen) else { return };
    found.sources.push(Source { name: name.clone(), provider: provider.into(), silent });
    let webhook = webhook.flatten();
    let by_webhook = webhook.as_ref().and_then(|(_, described)| described.clone());
    let described = poll.as_ref().and_then(Poll::described).or(by_webhook);
    let provider = described.clone().unwrap_or_else(|| provider.into());
    found.described.extend(described.map(|described| (name.clone(), described)));
    if let (Some((checks, _)), Some(settings)) = (webhook, told) {
        found.webhooks.push(webhook::Settings {
            source: name.clone(),
            provider: provider.clone(),
            checks,
            url: settings.text("url").map(str::to_owned),
            confirm: settings.flag("confirm").unwrap_or(true),
        });
    }
    found.polls.extend(poll.map(|poll| poll.into_settings(name, provider, has_webhook, push)));
}

fn name(section: &Section<'_>, taken: &BTreeSet<SourceName>) -> Option<SourceName> {
    let hint = "give the source a name, such as \"acme-sendgrid\"";
    let field = section.need("name", hint)?;
    let name = super::name::name(&field)?;
    let hint = "the name is part of the webhook's path: choose another";
    let ours = [
        (SourceName::operator(), "the operator's own commands"),
        (SourceName::import(), "what is imported without a source"),
    ];
    if let Some((name, what)) = ours.iter().find(|(ours, _)| name == *ours) {
        field.problem(format!("{:?} is the name of {what}", name.as_str()), hint);
        return None;
    }
    if taken.contains(&name) {
        let what = format!("{:?} is the name of an earlier source", name.as_str());
        field.problem(what, hint);
        return None;
    }
    Some(name)
}

fn chosen_provider(section: &Section<'_>) -> Option<&'static dyn Provider> {
    let names: Vec<&'static str> = provider::ALL.iter().map(|provider| provider.name()).collect();
    let hint = format!("this version has: {}", listed(names.iter().copied()));
    let field = section.need("provider", &hint)?;
    let described = field.value.as_str().and_then(Guide::named).filter(|page| !page.is_built_in());
    if let Some(Guide { name, .. }) = described {
        let hint = format!("it is described: begin with what `suppressd providers {name}` prints");
        field.problem(format!("{name:?} is no provider that is built in"), hint);
        return None;
    }
    let chosen = field.choice("a provider", &names)?;
    provider::ALL.iter().copied().find(|provider| provider.name() == chosen)
}

/// The provider that a misspelt one is nearest to.
fn meant_provider(section: &Section<'_>) -> Option<&'static dyn Provider> {
    let names: Vec<&'static str> = provider::ALL.iter().map(|provider| provider.name()).collect();
    let word = section.table.get("provider")?.get_ref().as_str()?;
    let near = nearest(word, names.iter().copied()).or_else(|| meant(word, &names))?;
    provider::by_name(near)
}

/// Looks at what can be said of a source whoever its provider is.
fn of_no_provider(webhook: Option<Field<'_>>, poll: Option<Field<'_>>) {
    if let Some(section) = webhook.and_then(|field| field.table()) {
        settings(&section, "", &[CREDENTIAL_KEYS, &[Key::optional_secret("secret")]]);
    }
    if let Some(section) = poll.and_then(|field| field.table()) {
        timing(&section);
        settings(&section, "", &[&[Key::optional_secret("api_key")]]);
    }
}

/// The checks of a `webhook` table, and the provider that it describes, if it does.
type Webhook = (Vec<Check>, Option<Adapter>);

/// The settings of a `webhook` table, and what it makes: nothing where a problem was noted.
fn checks(
    section: Section<'_>,
    provider: &dyn Provider,
    public: Public,
) -> (Settings, Option<Webhook>) {
    let settings = settings(&section, provider.name(), &[provider.webhook_keys(), CREDENTIAL_KEYS]);
    let auth = section.take("auth");
    let is_open = auth.is_some();
    if let Some(field) = auth {
        open_allowed(&field, public.is_local);
    }
    if section.has("basic") && section.has("bearer") {
        let hint = "keep one of the two: both would be in the Authorization header";
        section.problem("bearer", "stands beside basic: no request can carry both", hint);
    }
    let mut checks = Vec::new();
    for result in [provider.checks(&settings), checks_of_credentials(&settings)] {
        match result {
            Ok(more) => checks.extend(more),
            Err(error) => note(&section, &error),
        }
    }
    if settings.text("url").is_none() && !public.has_url && checks.iter().any(Check::signs_url) {
        let what = "is missing, as http.public_url is: every notification would be refused, since \
                    the provider signs the URL that it calls";
        section.warn("url", what, "write the URL as it was entered there, or set http.public_url");
    }
    let described = described(&section, provider, Some(&settings), None);
    section.finish();
    if !section.has_problems() && !section.has_unchecked() {
        credentials_wanted(&section, provider, &checks, is_open, public.is_local);
    }
    if checks.is_empty() && section.has_unchecked() {
        checks.push(Check::Bearer(Vec::new()));
    }
    let good = !section.has_problems();
    (settings, good.then_some((checks, described)))
}

/// The provider that the tables describe, if they do.
pub(super) fn described(
    section: &Section<'_>,
    provider: &dyn Provider,
    webhook: Option<&Settings>,
    poll: Option<&Settings>,
) -> Option<Adapter> {
    match provider.configured(webhook, poll) {
        Ok(described) => {
            for SettingError { key, problem, hint } in provider.doubts(webhook, poll) {
                section.warn(&key, problem, hint);
            }
            described.map(|provider| Adapter::Described(provider.into()))
        }
        Err(errors) => {
            // Several may be of one key.
            let known = |error: &&SettingError| section.is_bad(&error.key);
            let new: Vec<_> = errors.0.iter().filter(|error| !known(error)).collect();
            new.into_iter().for_each(|error| tell(section, error));
            None
        }
    }
}

fn open_allowed(auth: &Field<'_>, is_local: bool) {
    if auth.value.as_str() != Some("none") {
        let hint = "remove it: the credentials say how the sender proves itself";
        auth.problem("can only be \"none\"", hint);
    } else if !is_local {
        let hint = "name a credential, or let http.listen be a loopback address";
        auth.problem("only a local listener can go without authentication", hint);
    }
}

/// Every webhook is authenticated, or says that it is not.
fn credentials_wanted(
    section: &Section<'_>,
    provider: &dyn Provider,
    checks: &[Check],
    is_open: bool,
    is_local: bool,
) {
    if is_open && !checks.is_empty() {
        let hint = "remove auth, or the credentials";
        section.problem("auth", "says \"none\", but there are credentials", hint);
    }
    if !is_open && checks.is_empty() {
        let secret = |key: &&Key| key.kind == KeyKind::Secret;
        let keys = [provider.webhook_keys(), CREDENTIAL_KEYS].concat();
        let mut hint = format!("set {}", listed(keys.iter().filter(secret).map(|key| key.name)));
        if is_local {
            hint.push_str("; or auth = \"none\", since the listener is local");
        }
        section.problem_here("names no credential: anyone could write to it", hint);
    }
}

/// The settings of a table under an adapter's keys, resolved.
pub(super) fn settings(section: &Section<'_>, provider: &str, keys: &[&[Key]]) -> Settings {
    let mut settings = Settings::default();
    for key in keys.iter().copied().flatten() {
        let Some(field) = section.take(key.name) else {
            if key.required {
                section.missing(key.name, "this provider cannot do without it");
            }
            continue;
        };
        let value = setting(provider, key, &field);
        if let Some(value) = value {
            settings.set(key.name, value);
        }
    }
    settings
}

fn setting(provider: &str, key: &Key, field: &Field<'_>) -> Option<Setting> {
    let owned = |text: &str| text.to_owned();
    let fits = |field: &Field<'_>, text: &&str| suspect::text_of(provider, key.name, field, text);
    match key.kind {
        KeyKind::Secret => {
            let secrets = secrets(field, TEXT_SECRETS.contains(&key.name))?;
            suspect::secrets_of(provider, key.name, field, &secrets);
            Some(Setting::Secrets(secrets))
        }
        KeyKind::Text => {
            field.lines().filter(|text| fits(field, text)).map(|text| Setting::Text(owned(text)))
        }
        KeyKind::Texts => {
            let one = |item: &Field<'_>| item.text().filter(|text| fits(item, text)).map(owned);
            Some(Setting::Texts(field.list().iter().filter_map(one).collect()))
        }
        KeyKind::Flag => field.flag().map(Setting::Flag),
        KeyKind::Span => field.duration(SPAN_MIN..=SPAN_MAX).map(Setting::Span),
        KeyKind::Tree => Some(Setting::Tree(field.tree())),
    }
}

/// Notes what an adapter has against its settings, unless the key is known to be bad already.
pub(super) fn note(section: &Section<'_>, error: &SettingError) {
    if !section.is_bad(&error.key) {
        tell(section, error);
    }
}

fn tell(section: &Section<'_>, error: &SettingError) {
    section.problem(&error.key, error.problem.as_str(), error.hint.as_str());
}
