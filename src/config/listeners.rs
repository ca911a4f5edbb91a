//! The tables `http`, `admin` and `control`: who listens where, and within which limits.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use super::acme::acme;
use super::environment::{SecretPlace, secret_place, secrets};
use super::export::{group, mode};
use super::places::IN_THE_WAY;
use super::poll::is_private;
use super::section::{Field, Section, checked, obstacle, shown};
use super::suspect;
use super::{Control, HOUR};
use crate::acme;
use crate::http::{AdminSettings, Key, Settings, Tls};
use crate::ingest;
use crate::listen::{Entry, Listen};

pub(super) const HTTP_LISTEN: ([u8; 4], u16) = ([127, 0, 0, 1], 8025);
pub(super) const ADMIN_LISTEN: ([u8; 4], u16) = ([127, 0, 0, 1], 9025);
pub(super) const CONTROL_SOCKET: &str = "/run/suppressd/control.sock";

/// Permissions of a Unix socket: for those who share our group, as an MTA or a proxy.
pub(super) const SOCKET_MODE: u32 = 0o660;

/// The permission to connect, for everybody, and for anybody (unix(7)).
const OTHERS_WRITE: u32 = 0o002;
const WRITE: u32 = 0o222;

/// The largest blocks whose hosts can all be proxies, as the least lengths of their prefixes.
const PREFIX_MIN_V4: u8 = 8;
const PREFIX_MIN_V6: u8 = 7;

/// Bodies, in bytes: the least that holds one event, and what memory can bear.
const BODY_MAX: RangeInclusive<u64> = 1 << 10..=1 << 30;
pub(super) const BODY_MAX_DEFAULT: usize = 8 << 20;

/// Connections: no process has more file descriptors by default than this leaves room for.
pub(super) const CONNECTIONS_MAX: RangeInclusive<u64> = 1..=65_535;
pub(super) const CONNECTIONS_MAX_DEFAULT: usize = 1024;

/// What is received and not yet durable, in bytes: one half for what comes, and of that no more
/// than half for one sender; the other for reading it, which takes twice a body's size.
const MEMORY: RangeInclusive<u64> = 1 << 20..=64 << 30;
const MEMORY_BODIES: usize = 4;

/// The part of the connections that one address may have, as a divisor, unless it is set.
const ADDRESSES: usize = 4;

/// Longest name by which the private listener may be called (RFC 1035, section 2.3.4).
const HOST_MAX: usize = 253;

const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=HOUR;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest path of a Unix socket, in bytes (`sun_path` in unix(7), without the final null).
const SOCKET_PATH_MAX: usize = 107;

/// What is read of a file to see whether it was taken for another, in bytes.
const PEM_BYTES_MAX: u64 = 1 << 20;

const LISTEN_HINT: &str = "write \"127.0.0.1:8025\", \"[::1]:8025\", \"unix:/path\" or \"systemd\"";

/// The `[http]` table.
pub(super) fn http(section: Section<'_>) -> Settings {
    let whole = |number: u64| usize::try_from(number).ok();
    let listen = http_listen(&section);
    let public_url = section.take("public_url").and_then(|field| public_url(&field));
    let tls = section.take("tls").and_then(|field| field.table());
    let (tls, acme) = tls.map_or((None, None), |tls| identity(&tls, &listen, public_url.as_ref()));
    let proxies = section.take("trusted_proxies").map(|field| proxies(&field));
    let body_max = section.take("body_max").and_then(|field| field.size(BODY_MAX));
    let body_max = body_max.and_then(whole).unwrap_or(BODY_MAX_DEFAULT);
    let memory = section.take("memory").and_then(|field| memory(&field, body_max));
    let connections =
        section.take("connections_max").and_then(|field| field.integer(CONNECTIONS_MAX));
    let connections = connections.and_then(whole).unwrap_or(CONNECTIONS_MAX_DEFAULT);
    let each = section.take("connections_per_address");
    let each = each.and_then(|field| field.integer(CONNECTIONS_MAX)).and_then(whole);
    if each.is_some_and(|each| each > connections) {
        let hint = "use a smaller number, or a larger connections_max";
        section.problem("connections_per_address", "is more than connections_max", hint);
    }
    let header_timeout = section.take("header_timeout").and_then(|field| field.duration(TIMEOUTS));
    let body_timeout = section.take("body_timeout").and_then(|field| field.duration(TIMEOUTS));
    section.finish();
    Settings {
        listen,
        public_url,
        tls,
        acme,
        trusted_proxies: proxies.unwrap_or_default(),
        memory: memory.unwrap_or_else(|| usual_memory(body_max)),
        body_max,
        connections_max: connections,
        connections_per_address: each.unwrap_or_else(|| usual_connections_per_address(connections)),
        header_timeout: header_timeout.unwrap_or(HEADER_TIMEOUT),
        body_timeout: body_timeout.unwrap_or(BODY_TIMEOUT),
    }
}

/// What is received and not yet durable, unless that is set.
pub(super) fn usual_memory(body_max: usize) -> usize {
    (2 * ingest::MEMORY).max(MEMORY_BODIES * body_max)
}

/// The connections that one address may have, unless that is set.
pub(super) fn usual_connections_per_address(connections: usize) -> usize {
    connections.div_ceil(ADDRESSES)
}

/// Where the public listener listens: at one place, or at each of a list.
fn http_listen(section: &Section<'_>) -> Vec<Entry> {
    let places = match section.take("listen") {
        Some(field) if field.value.is_array() => listens(&field),
        Some(field) => listen(&field).into_iter().collect(),
        None => vec![Listen::Tcp(SocketAddr::from(HTTP_LISTEN))],
    };
    let (mode, group) = admitted(section, &places);
    let bare = |listen: &&Listen| !listen.is_local() && **listen != Listen::Systemd;
    if let (Some(listen), false) = (places.iter().find(bare), section.has("tls")) {
        let hint = "set tls, or listen on a loopback address behind a proxy that speaks it";
        section.warn("listen", format!("{listen} is open to other hosts without TLS"), hint);
    }
    places.into_iter().map(|listen| Entry { listen, mode, group }).collect()
}

/// A list of places, none of which takes another's.
fn listens(field: &Field<'_>) -> Vec<Listen> {
    let items = field.list();
    if items.is_empty() {
        field.problem("is an empty list", "name at least one place, or remove the key");
    }
    let mut found: Vec<Listen> = Vec::new();
    for item in &items {
        let Some(listen) = listen(item) else { continue };
        if let Some(other) = found.iter().find(|other| **other == listen || clash(other, &listen)) {
            let hint = "name each place once; \"[::]:PORT\" has the port for IPv4 too";
            item.problem(format!("{listen} is taken by {other}, which is in the list"), hint);
            continue;
        }
        found.push(listen);
    }
    found
}

/// Who may reach the Unix sockets among some places, by `mode` and `group`. No places: they could
/// not be read, or are known to be sockets.
pub(super) fn admitted(section: &Section<'_>, places: &[Listen]) -> (u32, Option<u32>) {
    let on_unix = places.is_empty() || places.iter().any(|at| matches!(at, Listen::Unix(_)));
    let (mode_field, group_field) = (section.take("mode"), section.take("group"));
    for field in [&mode_field, &group_field].into_iter().flatten().filter(|_| !on_unix) {
        field.problem("is for a Unix socket only", "remove it, or listen on \"unix:/path\"");
    }
    let chosen = mode_field.and_then(|field| {
        let mode = mode(&field)?;
        if mode & WRITE == 0 {
            let hint = "let them write, which is to connect, such as \"0660\"";
            field.problem("lets nobody use the socket", hint);
        }
        Some(mode)
    });
    (chosen.unwrap_or(SOCKET_MODE), group_field.and_then(|field| group(&field)))
}

/// Says what is odd about a socket that every user may use, and that shows or changes all there is.
fn private(section: &Section<'_>, mode: u32) {
    if mode & OTHERS_WRITE != 0 {
        let hint = "use \"0660\", and set group to whoever may";
        section.warn("mode", "lets every user of this host use the socket", hint);
    }
}

/// The room for what is not yet durable; a body must fit.
fn memory(field: &Field<'_>, body_max: usize) -> Option<usize> {
    let size = usize::try_from(field.size(MEMORY)?).ok()?;
    if size >= MEMORY_BODIES * body_max {
        return Some(size);
    }
    let hint = format!("use at least {MEMORY_BODIES} times http.body_max, or a smaller body_max");
    field.problem("is too small for the largest body", hint);
    None
}

/// The `[admin]` table.
pub(super) fn admin(section: Section<'_>) -> AdminSettings {
    let usual = Listen::Tcp(SocketAddr::from(ADMIN_LISTEN));
    let listen = section.take("listen").map_or(Some(usual.clone()), |field| listen(&field));
    let (mode, group) = admitted(&section, listen.as_slice());
    private(&section, mode);
    let listen = listen.unwrap_or(usual);
    let token = section.take("token").map(|field| secrets(&field, true));
    let hosts = section.take("hosts").map(|field| hosts(&field));
    // What systemd passes is looked at when it is there.
    if token.is_none() && !listen.is_local() && listen != Listen::Systemd {
        let hint = "set [admin] token, or listen on a loopback address or a Unix socket";
        section.problem("listen", format!("{listen} is open to other hosts"), hint);
    }
    section.finish();
    AdminSettings {
        listen: Entry { listen, mode, group },
        tokens: token.flatten().unwrap_or_default(),
        hosts: hosts.unwrap_or_default(),
    }
}

fn hosts(field: &Field<'_>) -> Vec<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let one = |item: &Field<'_>| {
        let text = item.text()?;
        if text.len() <= HOST_MAX && text.chars().all(plain) {
            return Some(text.to_owned());
        }
        let hint = "write a name such as \"mx1.example.org\", without a port";
        item.problem(format!("{} is not a host's name", shown(text)), hint);
        None
    };
    field.list().iter().filter_map(one).collect()
}

/// The `[control]` table.
pub(super) fn control(section: Section<'_>) -> Control {
    let socket = section.take("socket").and_then(|field| bindable(&field, field.place()?));
    let (mode, group) = admitted(&section, &[]);
    private(&section, mode);
    section.finish();
    Control { socket: socket.unwrap_or_else(|| CONTROL_SOCKET.into()), mode, group }
}

/// Notes listeners that cannot both be bound.
pub(super) fn apart(root: &Section<'_>, http: &[Entry], admin: &Listen, control: &Path) {
    if http.iter().any(|http| clash(&http.listen, admin)) {
        let hint = "give the private listener an address or port of its own";
        root.problem_in("admin", "listen", format!("{admin} is taken by http.listen"), hint);
    }
    let all = http.iter().map(|http| ("http.listen", &http.listen));
    for (key, listen) in all.chain([("admin.listen", admin)]) {
        if matches!(listen, Listen::Unix(path) if path == control) {
            let what = format!("is the same socket as {key}");
            let hint = "give the control socket a path of its own";
            root.problem_in("control", "socket", what, hint);
        }
    }
}

/// Port 0 takes a free one each time; a wildcard address takes the port on every address.
pub(super) fn clash(a: &Listen, b: &Listen) -> bool {
    match (a, b) {
        (Listen::Tcp(a), Listen::Tcp(b)) => {
            let any = a.ip().is_unspecified() || b.ip().is_unspecified();
            a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || any)
        }
        (Listen::Unix(a), Listen::Unix(b)) => a == b,
        _ => false,
    }
}

pub(super) fn listen(field: &Field<'_>) -> Option<Listen> {
    listen_where(field, bindable)
}

/// The same, where a file may stand in the way of a socket: it is bound when that has gone.
pub(super) fn listen_in_time(field: &Field<'_>) -> Option<Listen> {
    listen_where(field, |field, path| {
        if let Some(what) = path.parent().and_then(obstacle) {
            field.warn(what, IN_THE_WAY);
        }
        addressable(field, path)
    })
}

fn listen_where(
    field: &Field<'_>,
    fits: impl Fn(&Field<'_>, PathBuf) -> Option<PathBuf>,
) -> Option<Listen> {
    let text = field.text()?;
    match checked(field, Listen::parse(text), &listen_hint(text))? {
        Listen::Unix(path) => {
            field.told_if_relative(&path);
            fits(field, path).map(Listen::Unix)
        }
        listen => {
            if matches!(listen, Listen::Tcp(address) if address.port() == 0) {
                let hint = "write the port that clients are to call";
                field.warn("has port 0, which is another port at each start", hint);
            }
            Some(listen)
        }
    }
}

/// How to write what was meant.
fn listen_hint(text: &str) -> String {
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let is_port = port.parse::<u16>().is_ok();
    match host {
        "" | "*" if is_port => {
            format!("write \"127.0.0.1:{port}\", or \"0.0.0.0:{port}\" for other hosts too")
        }
        "localhost" if is_port => format!("write \"127.0.0.1:{port}\": names are not looked up"),
        _ if text.starts_with('/') => format!("write \"unix:{text}\""),
        _ => LISTEN_HINT.to_owned(),
    }
}

fn bindable(field: &Field<'_>, path: PathBuf) -> Option<PathBuf> {
    if !path.parent().is_none_or(|directory| field.is_open_to(directory)) {
        return None;
    }
    addressable(field, path)
}

fn addressable(field: &Field<'_>, path: PathBuf) -> Option<PathBuf> {
    if path.as_os_str().len() <= SOCKET_PATH_MAX {
        return Some(path);
    }
    let hint = format!("use a path of at most {SOCKET_PATH_MAX} bytes");
    field.problem("is too long a path for a Unix socket", hint);
    None
}

fn public_url(field: &Field<'_>) -> Option<Url> {
    let hint = "write it as \"https://hooks.example.org\", as the providers call it";
    let url = checked(field, Url::parse(field.text()?).map_err(|_| "is not a URL"), hint)?;
    let bad = if !matches!(url.scheme(), "http" | "https") {
        "is not an http or https URL"
    } else if !url.username().is_empty() || url.password().is_some() {
        "contains a user or a password"
    } else if url.query().is_some() || url.fragment().is_some() {
        "has more than a path behind the host"
    } else {
        doubtful(field, &url);
        return Some(url);
    };
    field.problem(bad, hint);
    None
}

/// What providers would call in vain, or in clear.
fn doubtful(field: &Field<'_>, url: &Url) {
    if !is_private(url) {
        let hint = "use https; in clear, anyone on the way reads credentials and addresses";
        field.warn("is not an https URL", hint);
    }
    let mut segments = url.path().split('/').filter(|segment| !segment.is_empty());
    if segments.any(|segment| segment == "hooks") {
        let hint = "/hooks/ and the source's name are put behind it; leave them out";
        field.warn("has the path of a webhook already", hint);
    }
}

/// The `tls` table: the files of a certificate, or how one is had.
fn identity(
    section: &Section<'_>,
    listen: &[Entry],
    public_url: Option<&Url>,
) -> (Option<Tls>, Option<acme::Settings>) {
    let Some(field) = section.take("acme") else { return (tls(section), None) };
    if [section.take("certificate"), section.take("key")].iter().any(Option::is_some) {
        let hint = "keep acme, which obtains both, or certificate and key";
        section.problem("acme", "stands beside a certificate or a key", hint);
    }
    section.finish();
    (None, field.table().and_then(|section| acme(&section, listen, public_url)))
}

pub(super) fn tls(section: &Section<'_>) -> Option<Tls> {
    let hint = "tls takes the files of a certificate chain and its key, both PEM";
    let certificate = section.need("certificate", hint).and_then(|field| readable(&field));
    let key = section.need("key", hint).and_then(|field| key(&field));
    section.finish();
    let (certificate, key) = (certificate?, key?);
    if holds(&certificate, "PRIVATE KEY") == Some(true)
        && holds(&certificate, "CERTIFICATE") == Some(false)
        && matches!(&key, Key::File(key) if holds(key, "CERTIFICATE") == Some(true))
    {
        section.problem_here("has the two files swapped", "exchange certificate and key");
    }
    Some(Tls { certificate, key })
}

/// The private key: a text is a path, unless it is the key itself.
fn key(field: &Field<'_>) -> Option<Key> {
    if field.value.is_str() && !field.text()?.trim_start().starts_with("-----BEGIN") {
        let path = readable(field)?;
        suspect::secret_file(field, &path);
        return Some(Key::File(path));
    }
    match secret_place(field)? {
        SecretPlace::File(path) => Some(Key::File(path)),
        SecretPlace::Known(secret) => Some(Key::Secret(secret)),
    }
}

/// A file with the certificates of an authority.
pub(super) fn certificates(field: &Field<'_>) -> Option<PathBuf> {
    let path = readable(field)?;
    if holds(&path, "CERTIFICATE") == Some(false) {
        let hint = "name a PEM file with the root certificate that vouches for the server";
        field.problem("holds no certificate", hint);
    }
    Some(path)
}

/// Whether a PEM file has a block of that kind, as far as it can be read.
fn holds(path: &Path, kind: &str) -> Option<bool> {
    let mut text = String::new();
    File::open(path).ok()?.take(PEM_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text.lines().any(|line| line.starts_with("-----BEGIN") && line.contains(kind)))
}

pub(super) fn readable(field: &Field<'_>) -> Option<PathBuf> {
    let path = field.path()?;
    let shown = shown(&path.to_string_lossy());
    let hint = "name a file that suppressd's user can read";
    // Opening a pipe could wait for ever.
    let opened = std::fs::metadata(&path).and_then(|meta| match meta.is_file() {
        true => File::open(&path).map(|_| true),
        false => Ok(false),
    });
    match opened {
        Ok(true) => return Some(path),
        Ok(false) => field.problem(format!("{shown} is not a regular file"), hint),
        Err(error) => field.problem(format!("cannot read {shown}: {error}"), hint),
    }
    None
}

fn proxies(field: &Field<'_>) -> Vec<IpNet> {
    let hint = "write addresses such as \"10.0.0.1\" or blocks such as \"10.0.0.0/8\"";
    let one = |item: &Field<'_>| {
        let text = item.text()?;
        let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let wrong = format!("{} is not an IP address or a CIDR block", shown(text));
        let net = checked(item, net.map_err(|_| wrong), hint)?;
        let least = if net.addr().is_ipv4() { PREFIX_MIN_V4 } else { PREFIX_MIN_V6 };
        if net.prefix_len() < least {
            let hint = "name the proxies alone: whoever is believed can call from any address";
            item.warn(format!("{net} has whole parts of the Internet in it"), hint);
        }
        Some(net)
    };
    field.list().iter().filter_map(one).collect()
}
