//! The table `http.tls.acme`: a certificate that is had from a CA.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use url::Url;

use super::listeners::certificates;
use super::section::{Field, Section, checked, shown};
use crate::acme::Settings;
use crate::listen::{Entry, Listen};
use crate::model::Address;

/// Let's Encrypt.
const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Most names of one certificate: what Let's Encrypt takes.
const DOMAINS_MAX: usize = 100;

/// Longest name (RFC 1035, section 2.3.4), and longest label, without dots.
const DOMAIN_MAX: usize = 253;
const LABEL_MAX: usize = 63;

/// Where a CA asks (RFC 8737, section 3).
const PORT: u16 = 443;

const DOMAINS_HINT: &str = "list the names that providers call, such as [\"hooks.example.org\"]";

/// The settings, for a listener that listens there.
pub(super) fn acme(
    section: &Section<'_>,
    listen: &[Entry],
    public_url: Option<&Url>,
) -> Option<Settings> {
    let domains = section.need("domains", DOMAINS_HINT).and_then(|field| domains(&field));
    let contact = section.take("contact").map(|field| contact(&field));
    let field = section.take("directory");
    let own = field.as_ref().map(directory);
    let ca = section.take("ca").and_then(|field| certificates(&field));
    section.finish();
    reachable(section, listen);
    let called = public_url.and_then(Url::host_str);
    if let (Some(domains), Some(called)) = (&domains, called)
        && !domains.iter().any(|domain| domain == called)
    {
        let what = format!("do not have {}, which is in http.public_url", shown(called));
        section.warn("domains", what, "add it, or providers will not trust the certificate");
    }
    let directory = own.unwrap_or_else(|| Url::parse(DIRECTORY).ok())?;
    let domains = domains?;
    if field.is_none()
        && let Some(bare) = domains.iter().find(|domain| !domain.contains('.'))
    {
        let hint = "write the whole name, as it stands in the DNS";
        section.problem("domains", format!("{bare:?} is no name of the public DNS"), hint);
    }
    Some(Settings { domains, contact: contact.unwrap_or_default(), directory, ca })
}

/// The names, in the form that certificates have.
fn domains(field: &Field<'_>) -> Option<Vec<String>> {
    let domains = field.list_of(domain)?;
    if domains.len() > DOMAINS_MAX {
        let hint = format!("list at most {DOMAINS_MAX}");
        field.problem(format!("lists {} names", domains.len()), hint);
    }
    for (index, domain) in domains.iter().enumerate() {
        if domains[..index].contains(domain) {
            field.problem(format!("has {domain} twice"), "list each name once");
        }
    }
    Some(domains)
}

fn domain(text: &str) -> Result<String, (String, String)> {
    let bad = |what: &str, hint: &str| Err((format!("{} {what}", shown(text)), hint.to_owned()));
    if text.contains('*') {
        let hint = "name each host: what proves a name here (TLS-ALPN-01) proves no wildcard";
        return bad("has a wildcard", hint);
    }
    if IpAddr::from_str(text.trim_matches(['[', ']'])).is_ok() || SocketAddr::from_str(text).is_ok()
    {
        return bad("is an IP address", "name the host, as it stands in the DNS");
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let is_label = |label: &str| {
        let ends = label.starts_with('-') || label.ends_with('-');
        !label.is_empty() && label.len() <= LABEL_MAX && !ends && label.chars().all(plain)
    };
    match idna::domain_to_ascii(text) {
        Ok(name) if name.len() <= DOMAIN_MAX && name.split('.').all(is_label) => Ok(name),
        _ => bad("is no host's name", "write a name such as \"hooks.example.org\", and no more"),
    }
}

/// Whom the CA may write to: one address, or a list of them.
fn contact(field: &Field<'_>) -> Vec<String> {
    let one = |item: &Field<'_>| {
        let text = item.text()?;
        let address = text.strip_prefix("mailto:").unwrap_or(text);
        let what = format!("{} is no e-mail address", shown(text));
        let hint = "write an address such as \"postmaster@example.org\"";
        checked(item, Address::parse(address).map_err(|_| what), hint)?;
        Some(address.to_owned())
    };
    match field.value.is_array() {
        true => field.list().iter().filter_map(one).collect(),
        false => one(field).into_iter().collect(),
    }
}

fn directory(field: &Field<'_>) -> Option<Url> {
    let hint = "write the URL of the CA's directory, such as \"https://ca.example.org/directory\"";
    let url = checked(field, Url::parse(field.text()?).map_err(|_| "is not a URL"), hint)?;
    if url.scheme() == "https" && url.has_host() {
        return Some(url);
    }
    field.problem("is not an https URL", hint);
    None
}

/// Says what keeps a CA from reaching the listener.
fn reachable(section: &Section<'_>, listen: &[Entry]) {
    if listen.iter().all(|entry| matches!(entry.listen, Listen::Unix(_))) {
        let hint = "listen on an address too, or have the proxy obtain the certificate";
        section.problem_here("needs an address that a CA reaches, and http.listen has none", hint);
        return;
    }
    let is_asked = |entry: &Entry| match &entry.listen {
        Listen::Tcp(address) => address.port() == PORT && !address.ip().is_loopback(),
        Listen::Unix(_) => false,
        Listen::Systemd => true,
    };
    if !listen.iter().any(is_asked) {
        let what = format!("needs a listener that the CA reaches at port {PORT} of each name");
        let hint = "listen on \"0.0.0.0:443\" or \"systemd\", or forward that port to http.listen";
        section.warn_here(what, hint);
    }
}
