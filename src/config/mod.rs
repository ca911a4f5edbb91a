//! The configuration: one TOML file to the settings of every module, with all problems at once.
//!
//! Reads files and the environment, and opens nothing that it keeps. A configuration that loads
//! is one that `run` can start with, unless an address is taken or a disk is full.

mod acme;
mod dependent;
mod effective;
mod environment;
mod export;
mod fleet;
mod forward;
mod hold;
mod listeners;
mod lookup;
mod manual;
mod name;
mod near;
mod places;
mod poll;
mod problem;
mod push;
mod reply;
mod report;
mod rules;
mod section;
mod source;
mod suspect;
mod walk;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;
use url::Url;

pub use effective::{Setting, settings};
pub use environment::Environment;
pub use manual::{about, is_within, keys};
pub use problem::{Problem, Problems, Weight};
pub use report::{report, report_json, unheard};

use crate::fetch::ProxyUrl;
use crate::listen::{Entry, Listen};
use crate::model::{Hold, Scope, SourceName};
use crate::provider::{Adapter, Reading};
use crate::rules::Rules;
use crate::telemetry::log::{FORMS, Filter, Settings as Logging, VARIABLE};
use crate::{
    export as exports, fleet as fleets, forward as forwards, http, lookup as lookups,
    poll as polls, webhook,
};
use places::Places;
use section::{Field, Section, shown};
use source::Public;
use walk::{Walk, line_of};

/// Largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Most syntax errors that are reported: those behind an unclosed quote mean nothing.
const SYNTAX_ERRORS_MAX: usize = 10;

const SYNTAX_HINT: &str =
    "a text stands in quotes, a list in brackets; https://toml.io shows how the rest is written";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// A hundred years: longer makes no difference, and sums of times stay in range.
const EVER: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

/// Where the state lies unless the configuration says so.
pub const STORE_PATH: &str = "/var/lib/suppressd";

/// How long received payloads are kept unless the configuration says so.
const RETENTION: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Everything that the daemon is told.
#[derive(Clone)]
pub struct Config {
    /// Where state lies.
    pub store: Store,
    /// The public listener.
    pub http: http::Settings,
    /// The private listener.
    pub admin: http::AdminSettings,
    /// The control socket.
    pub control: Control,
    /// The proxy that providers are asked through. `None`: what the environment says.
    pub proxy: Option<ProxyUrl>,
    /// The proxy that the environment names, where that counts.
    pub environment_proxy: Option<ProxyUrl>,
    /// What is logged, and how.
    pub log: Logging,
    /// What suppresses for how long.
    pub rules: Rules,
    /// Whom the rules exempt, as it is written.
    pub never: Vec<Box<str>>,
    /// What a mass of new suppressions is that is held back. `None`: nothing is.
    pub hold: Option<Hold>,
    /// Every source, in the order of the file.
    pub sources: Vec<Source>,
    /// What reading events needs.
    pub reading: Reading,
    /// The webhooks of those sources that have one.
    pub webhooks: Vec<webhook::Settings>,
    /// The polls of those sources that are polled.
    pub polls: Vec<polls::Settings>,
    /// The exports.
    pub exports: Vec<exports::Settings>,
    /// The live lookups.
    pub lookups: Vec<lookups::Settings>,
    /// Who is told of events and suppressions.
    pub forwards: Vec<forwards::Settings>,
    /// The other hosts that know the same. `None`: there are none.
    pub fleet: Option<fleets::Settings>,
    /// What is no fault, and deserves a word.
    pub remarks: Vec<Problem>,
}

/// The `[control]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The Unix socket.
    pub socket: PathBuf,
    /// Its permissions.
    pub mode: u32,
    /// Its group, as a group id. `None`: ours.
    pub group: Option<u32>,
}

impl Control {
    /// What its listener is bound by.
    pub fn entry(&self) -> Entry {
        Entry { listen: Listen::Unix(self.socket.clone()), mode: self.mode, group: self.group }
    }
}

/// The `[store]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The state directory.
    pub path: PathBuf,
    /// How long received payloads and events are kept.
    pub retention: Duration,
}

/// One `[[source]]`.
#[derive(Clone)]
pub struct Source {
    /// Its name.
    pub name: SourceName,
    /// Its provider.
    pub provider: Adapter,
    /// How long it may say nothing. `None`: for ever.
    pub silent: Option<Duration>,
}

/// Loads a configuration file.
///
/// # Errors
/// All that is wrong with it, as far as it can be told in one run.
pub fn load(path: &Path, environment: &Environment) -> Result<Config, Problems> {
    parse(path, &read(path)?, environment)
}

/// Loads the text of a configuration file. `path` is what problems call it.
///
/// # Errors
/// All that is wrong with it, as far as it can be told in one run.
pub fn parse(path: &Path, text: &str, environment: &Environment) -> Result<Config, Problems> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(Problems { file: path.to_owned(), problems: syntax(text, &errors) });
    }
    let walk = Walk::new(path, text, environment);
    let config = whole(walk.root(table.get_ref()));
    let problems = walk.into_problems();
    match config {
        Some(config) if problems.iter().all(|problem| problem.weight != Weight::Fault) => {
            Ok(Config { remarks: problems, ..config })
        }
        _ => Err(Problems { file: path.to_owned(), problems }),
    }
}

fn read(path: &Path) -> Result<String, Problems> {
    let hint = "name the configuration file with --config FILE";
    let unreadable = |what: String| Problems::of_file(path, what, hint);
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(format!("cannot read the configuration: {error}")))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let size = FILE_BYTES_MAX / 1024 / 1024;
        return Err(unreadable(format!("the file is larger than {size} MiB")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..good].iter().filter(|byte| **byte == b'\n').count();
        let what = format!("line {line} is not UTF-8");
        Problems::of_file(path, what, "save the file as UTF-8")
    })
}

/// The problems of a file that is not TOML. What follows from them is not looked at.
fn syntax(text: &str, errors: &[toml::de::Error]) -> Vec<Problem> {
    let problem = |error: &toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start).min(text.len());
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let column = 1 + text[line_start..start].chars().count();
        let what =
            format!("column {column}: not TOML: {}{}", error.message(), doubled(text, error));
        let hint = suspect::syntax(text, start).unwrap_or(SYNTAX_HINT);
        Problem { line: Some(line_of(text, start)), ..Problem::late("", None, what, hint) }
    };
    errors.iter().take(SYNTAX_ERRORS_MAX).map(problem).collect()
}

/// Which key stands there twice, if that is what is wrong.
fn doubled(text: &str, error: &toml::de::Error) -> String {
    let word = error.span().and_then(|span| text.get(span));
    let word = word.filter(|_| error.message().contains("duplicate key"));
    // A value is no key, and may be a secret.
    let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '[' | ']');
    let word = word.filter(|word| !word.is_empty() && word.chars().all(is_key));
    word.map_or(String::new(), |word| format!(" {}", shown(word)))
}

/// `None` only where a problem was noted.
fn whole(root: Section<'_>) -> Option<Config> {
    let store = root.table_or_empty("store").map(store);
    let http = root.table_or_empty("http").map(listeners::http);
    let admin = root.table_or_empty("admin").map(listeners::admin);
    let control = root.table_or_empty("control").map(listeners::control);
    let proxy = root.table_or_empty("fetch").map(|section| proxy(&section));
    let environment_proxy = match &proxy {
        Some(None) => environment_proxy(&root),
        _ => None,
    };
    let log = root.table_or_empty("log").map(|section| log(&root, &section));
    let hold = root.take("hold").and_then(|field| field.table()).map(hold::hold);
    let public = Public {
        is_local: http.as_ref().is_none_or(http::Settings::is_local),
        has_url: http.as_ref().is_none_or(|http| http.public_url.is_some()),
    };
    let sources = root.tables("source");
    if sources.is_empty() && !root.is_bad("source") {
        let hint = "add a [[source]]; if there were some, the file was cut, perhaps by a full disk";
        root.problem("source", "is missing, so that nothing would be received or polled", hint);
    }
    let mut found = source::sources(sources, public);
    let rules = root.table_or_empty("rules").map(|section| rules::rules(section, &found.names));
    let public_url = http.as_ref().and_then(|http| http.public_url.as_ref());
    for hook in &mut found.webhooks {
        let usual = |base: &Url| public_hook(base, &hook.source);
        hook.url = hook.url.take().or(public_url.map(usual));
    }
    let mut taken = Vec::new();
    if let (Some(http), Some(admin), Some(control)) = (&http, &admin, &control) {
        let public = http.listen.iter().map(|entry| ("http.listen", entry.listen.clone()));
        let admin = &admin.listen.listen;
        let socket = Listen::Unix(control.socket.clone());
        let others = [("admin.listen", admin.clone()), ("control.socket", socket)];
        taken.extend(public.chain(others).map(|(key, listen)| (key.to_owned(), listen)));
        listeners::apart(&root, &http.listen, admin, &control.socket);
    }
    let lookups = lookup::lookups(root.tables("lookup"), &found.names, &mut taken);
    let store_path = store.as_ref().map(|store: &Store| &*store.path);
    let mut places = Places::new(store_path, reserved(&root, store_path, &taken));
    let forwards = forward::forwards(root.tables("forward"), &mut places);
    let exports = export::exports(root.tables("export"), &found.names, &mut places);
    let fleet = root.take("fleet").and_then(|field| field.table()).and_then(|section| {
        let state = store.as_ref().map_or(Path::new(""), |store| &store.path);
        fleet::fleet(&section, state, &root, &found, &forwards)
    });
    root.finish();
    let (rules, judge, never) = rules?;
    Some(Config {
        store: store?,
        http: http?,
        admin: admin?,
        control: control?,
        proxy: proxy?,
        environment_proxy,
        log: log?,
        rules,
        never,
        hold,
        sources: found.sources,
        reading: Reading { judge, described: found.described },
        webhooks: found.webhooks,
        polls: found.polls,
        exports,
        lookups,
        forwards,
        fleet,
        remarks: Vec::new(),
    })
}

/// The paths that no file of ours may have, because something else has, and what that is.
fn reserved(
    root: &Section<'_>,
    store: Option<&Path>,
    listeners: &[(String, Listen)],
) -> Vec<(PathBuf, String)> {
    let sockets = listeners.iter().filter_map(|(key, listen)| match listen {
        Listen::Unix(path) => Some((path.clone(), key.clone())),
        Listen::Tcp(_) | Listen::Systemd => None,
    });
    let file = (root.walk.file.to_owned(), "the configuration file".to_owned());
    let store = store.map(|path| (path.to_owned(), "store.path".to_owned()));
    sockets.chain([file]).chain(store).collect()
}

/// The URL to enter at a provider.
fn public_hook(base: &Url, source: &SourceName) -> String {
    format!("{}/hooks/{source}", base.as_str().trim_end_matches('/'))
}

fn store(section: Section<'_>) -> Store {
    let path = section
        .take("path")
        .and_then(|field| field.directory().filter(|path| !places::is_kernels(&field, path)));
    let retention = section.take("retention").and_then(|field| {
        let retention = field.duration(MINUTE..=EVER)?;
        if retention < DAY {
            let hint = "providers tell again for days what they told: then it counts as new";
            field.warn("is shorter than a day", hint);
        }
        Some(retention)
    });
    section.finish();
    Store {
        path: path.unwrap_or_else(|| STORE_PATH.into()),
        retention: retention.unwrap_or(RETENTION),
    }
}

/// The variables that name a proxy for https, the first that is set first.
const PROXY_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// The proxy that the environment names.
fn environment_proxy(root: &Section<'_>) -> Option<ProxyUrl> {
    let given = |name| root.variable(name).filter(|text| !text.is_empty()).map(|text| (name, text));
    let (name, text) = PROXY_VARIABLES.into_iter().find_map(given)?;
    let proxy = ProxyUrl::of_variable(&text);
    if proxy.is_none() {
        let hint = "set it to \"http://user:password@host:port\", unset it, or set [fetch] proxy";
        root.problem(name, "is not the URL of a proxy (it is set in the environment)", hint);
    }
    proxy
}

/// The `[log]` table.
fn log(root: &Section<'_>, section: &Section<'_>) -> Logging {
    let level = section.take("level");
    let format = section.take("format");
    section.finish();
    let format = format.and_then(|field| field.choice("a form of lines", &["text", "json"]));
    Logging { filter: filter(root, level), json: format == Some("json") }
}

/// What is logged: what the table says, else the environment.
fn filter(root: &Section<'_>, field: Option<Field<'_>>) -> Option<Filter> {
    let hint = format!("write {FORMS}");
    if let Some(field) = field {
        let text = field.text()?;
        let filter = Filter::parse(text);
        if filter.is_none() {
            field.problem(format!("{} is not a level", shown(text)), hint);
        }
        return filter;
    }
    let text = root.variable(VARIABLE)?;
    let filter = Filter::parse(&text);
    if filter.is_none() {
        let what = format!("{} is not a level (it is set in the environment)", shown(&text));
        root.problem(VARIABLE, what, hint);
    }
    filter
}

/// The `[fetch]` table.
fn proxy(section: &Section<'_>) -> Option<ProxyUrl> {
    let field = section.take("proxy");
    section.finish();
    let field = field?;
    let proxy = ProxyUrl::parse(environment::secret(&field, true)?);
    if proxy.is_none() && !section.is_bad("proxy") {
        let hint = "write \"http://user:password@host:port\", or name a secret that holds it";
        field.problem("is not the URL of a proxy", hint);
    }
    proxy
}

/// A scope, from its name in a list.
fn scope(text: &str) -> Result<Scope, (String, String)> {
    let hint = "write \"global\" or \"stream:NAME\"".to_owned();
    Scope::parse(text).ok_or_else(|| (format!("{} is not a scope", shown(text)), hint))
}
