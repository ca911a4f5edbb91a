//! The `fleet` table: several mail hosts that know the same.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use url::Url;

use super::Source;
use super::environment::secret;
use super::listeners::{certificates, tls};
use super::poll::is_loopback;
use super::section::{Field, Section, shown};
use super::source::Sources;
use crate::fleet::{Agreed, Login, Polling, Settings};
use crate::forward;
use crate::http::{Key, Tls};
use crate::model::SourceName;
use crate::secret::Secret;

/// Longest name of a host, or of a stream.
const NAME_MAX: usize = 32;
/// Most servers that are named.
const SERVERS_MAX: usize = 16;
/// The name of the stream unless the table says otherwise.
const STREAM: &str = "suppressd";
/// On how many servers it is kept unless the table says otherwise.
const REPLICAS: u64 = 3;

/// A host that reaches no server for so long goes on alone, unless the table says otherwise.
const ALONE_AFTER: Duration = Duration::from_secs(5 * 60);
/// Not before the turn of another has ended that was cut off just then.
const ALONE_AFTERS: RangeInclusive<Duration> =
    Duration::from_secs(20)..=Duration::from_secs(24 * 60 * 60);

const SERVER_HINT: &str = "write it as \"tls://host:4222\", without a user in it";

/// The `[fleet]` table.
///
/// `root` has the rules, which all hosts should have in common, as they should the sources.
pub(super) fn fleet(
    section: &Section<'_>,
    state: &Path,
    root: &Section<'_>,
    found: &Sources,
    forwards: &[forward::Settings],
) -> Option<Settings> {
    let hint = "name this host: 1 to 32 of a-z, 0-9 and -, another on each host";
    let host = section.need("host", hint).and_then(|field| name(&field, hint));
    let hint = "list the NATS servers, such as [\"tls://n1.example.org:4222\"]";
    let servers = section.need("nats", hint).and_then(|field| servers(&field));
    let login = login(section);
    let files = section.take("tls").and_then(|field| field.table()).map(files);
    let hint = "1 to 32 of a-z, 0-9 and -, the same on each host";
    let stream = section.take("stream").and_then(|field| name(&field, hint));
    let replicas = section.take("replicas").and_then(|field| field.integer(1..=5));
    let poll = section
        .take("poll")
        .and_then(|field| field.choice("a way to tell who polls", &["elected", "always", "never"]));
    let alone = section.take("alone_after").and_then(|field| field.duration(ALONE_AFTERS));
    section.finish();
    let (ca, certificate) = files.unwrap_or_default();
    let rules = root.tree_of("rules");
    let of = |source: &Source| (source.name.clone(), source.provider.name());
    let mut sources: Vec<_> = found.sources.iter().map(of).collect();
    sources.sort();
    Some(Settings {
        host: host?,
        servers: servers?,
        login: login?,
        ca,
        certificate,
        stream: stream.unwrap_or_else(|| STREAM.to_owned()),
        replicas: usize::try_from(replicas.unwrap_or(REPLICAS)).unwrap_or(1),
        poll: match poll {
            Some("always") => Polling::Always,
            Some("never") => Polling::Never,
            _ => Polling::Elected,
        },
        alone_after: alone.unwrap_or(ALONE_AFTER),
        agreed: Agreed { rules: hash(&rules.to_string()), sources: hash(&format!("{sources:?}")) },
        polled: found.polls.iter().map(|poll| poll.source.clone()).collect(),
        forwards: shared(forwards),
        state: state.to_owned(),
    })
}

/// Those whose receivers all hosts would tell the same.
fn shared(forwards: &[forward::Settings]) -> Vec<SourceName> {
    let shared = forwards.iter().filter(|forward| forward.is_shared());
    shared.filter_map(|forward| SourceName::parse(&forward.name).ok()).collect()
}

fn hash(text: &str) -> u64 {
    let digest = Sha256::digest(text.as_bytes());
    u64::from_be_bytes(*digest.first_chunk().unwrap_or(&[0; 8]))
}

/// A word of the servers' subjects.
fn name(field: &Field<'_>, hint: &str) -> Option<String> {
    let text = field.text()?;
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if text.is_empty() || text.len() > NAME_MAX || !text.bytes().all(is_plain) {
        field.problem(format!("{} is not such a name", shown(text)), hint);
        return None;
    }
    Some(text.to_owned())
}

fn servers(field: &Field<'_>) -> Option<Vec<String>> {
    let servers = field.list_of(|text| {
        let problem = |what: &str| (format!("{} {what}", shown(text)), SERVER_HINT.to_owned());
        let url = Url::parse(text).map_err(|_| problem("is no URL of a server"))?;
        if !matches!(url.scheme(), "tls" | "nats") || url.host_str().is_none_or(str::is_empty) {
            return Err(problem("is no URL of a server"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            let what = "a server's URL names a user".to_owned();
            return Err((what, "use user and password, or credentials".to_owned()));
        }
        Ok(text.to_owned())
    })?;
    let in_clear = |server: &&String| {
        Url::parse(server).is_ok_and(|url| url.scheme() == "nats" && !is_loopback(&url))
    };
    if let Some(server) = servers.iter().find(in_clear) {
        let hint = "write tls://: in clear, anyone on the way reads addresses";
        field.warn(format!("{} may go in clear", shown(server)), hint);
    }
    if servers.is_empty() || servers.len() > SERVERS_MAX {
        field.problem("does not list 1 to 16 servers", SERVER_HINT);
        return None;
    }
    Some(servers)
}

/// Who we are to the servers.
fn login(section: &Section<'_>) -> Option<Login> {
    let credentials = section.take("credentials");
    let user = section.take("user");
    let password = section.take("password");
    match (credentials, user, password) {
        (None, None, None) => Some(Login::None),
        (Some(field), None, None) => credentials_of(section, &field).map(Login::Credentials),
        (None, Some(user), Some(password)) => {
            let user = user.text().map(str::to_owned);
            let password = secret(&password, true);
            Some(Login::Password { user: user?, password: password? })
        }
        (Some(_), ..) => {
            let hint = "keep credentials, or user and password";
            section.problem("credentials", "stand beside a user or a password", hint);
            None
        }
        _ => {
            section.problem_here("has a user or a password alone", "set both, or neither");
            None
        }
    }
}

/// The seed of an NKEY, or the text of a `.creds` file.
fn credentials_of(section: &Section<'_>, field: &Field<'_>) -> Option<Secret> {
    let secret = secret(field, false)?;
    let text = secret.reveal_text().map(str::trim);
    // What only the unit has cannot be looked at here.
    let fits = section.has_unchecked() || text.is_some_and(|text| is_seed(text) || is_creds(text));
    if !fits {
        let hint = "it holds what `nsc generate creds` writes, or the seed of an NKEY: SU…";
        field.problem("is neither the text of a .creds file nor a seed", hint);
    }
    fits.then_some(secret)
}

/// Whether a text is the seed of a user's NKEY, as far as its form goes: 36 bytes in base32.
fn is_seed(text: &str) -> bool {
    let is_base32 = |b: u8| matches!(b, b'A'..=b'Z' | b'2'..=b'7');
    text.starts_with("SU") && text.len() == 58 && text.bytes().all(is_base32)
}

/// Whether a text has the two parts of a `.creds` file.
fn is_creds(text: &str) -> bool {
    ["BEGIN NATS USER JWT", "BEGIN USER NKEY SEED"].iter().all(|part| text.contains(part))
}

/// The files of the `tls` table: the authority's certificates, and ours with its key.
fn files(section: Section<'_>) -> (Option<PathBuf>, Option<(PathBuf, PathBuf)>) {
    let ca = section.take("ca").and_then(|field| certificates(&field));
    let has_own = section.has("certificate") || section.has("key");
    if !has_own {
        // So that both are known keys here.
        let _ = (section.take("certificate"), section.take("key"));
        section.finish();
        return (ca, None);
    }
    let own = tls(&section).and_then(|Tls { certificate, key }| match key {
        Key::File(key) => Some((certificate, key)),
        Key::Secret(_) => {
            section.problem("key", "is the key itself", "keep it in a file, and name that");
            None
        }
    });
    (ca, own)
}
