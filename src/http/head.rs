//! What the head of a request must be before anybody looks at what it asks for.
//!
//! RFC 9112 leaves it to the server to refuse what two readers could take for two things; hyper
//! takes some of it. Pure, save for the types.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use hyper::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, TRANSFER_ENCODING,
};
use hyper::{Request, StatusCode, Uri, Version};
use ipnet::IpNet;

use crate::accept::is_among;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Most entries of X-Forwarded-For that are looked at, from the last.
const PROXIES_MAX: usize = 32;

/// Whether the head can be understood in one way only. `raw` is what it was made of.
///
/// # Errors
/// The status to refuse it with.
pub(super) fn check<B>(request: &Request<B>, raw: &[u8]) -> Result<(), StatusCode> {
    let headers = request.headers();
    let must_have = request.version() >= Version::HTTP_11;
    match host(headers) {
        Ok(None) if must_have => return Err(StatusCode::BAD_REQUEST),
        Ok(_) => {}
        Err(Malformed) => return Err(StatusCode::BAD_REQUEST),
    }
    codings(headers)?;
    if headers.contains_key(TRANSFER_ENCODING) && names(raw, &CONTENT_LENGTH) {
        return Err(StatusCode::BAD_REQUEST);
    }
    Ok(())
}

/// A Host that is repeated, or none.
struct Malformed;

/// The host that the request is for, without its port (RFC 9112, section 3.2).
fn host(headers: &HeaderMap) -> Result<Option<&str>, Malformed> {
    let mut values = headers.get_all(HOST).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Malformed);
    }
    let text = value.to_str().map_err(|_| Malformed)?.trim();
    let (name, port) = match text.rfind(']') {
        Some(end) => text.split_at(end + 1),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let fits = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    if fits && is_host(name) { Ok(Some(name)) } else { Err(Malformed) }
}

/// Whether a text is an IP literal or a registered name (RFC 3986, section 3.2.2), and not empty.
fn is_host(name: &str) -> bool {
    if let Some(literal) = name.strip_prefix('[') {
        let address = literal.strip_suffix(']').unwrap_or("");
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(&byte);
    !name.is_empty() && name.bytes().all(plain)
}

/// Whether the request is for an IP address, for `localhost`, or for one of these names. A page in
/// a browser can make its own name lead here, but not one of those.
pub(super) fn is_for(uri: &Uri, headers: &HeaderMap, names: &[String]) -> bool {
    let Ok(Some(host)) = host(headers) else { return false };
    // A target that names a host outweighs the header (RFC 9112, section 3.2.2).
    [Some(host), uri.host()].into_iter().flatten().all(|host| is_ours(host, names))
}

fn is_ours(host: &str, names: &[String]) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok()
        || host.eq_ignore_ascii_case("localhost")
        || names.iter().any(|name| name.eq_ignore_ascii_case(host))
}

/// The transfer codings must be `chunked` alone (RFC 9112, section 6.1).
fn codings(headers: &HeaderMap) -> Result<(), StatusCode> {
    let lines = headers.get_all(TRANSFER_ENCODING).iter();
    let mut found = Vec::new();
    for line in lines {
        let text = line.to_str().map_err(|_| StatusCode::BAD_REQUEST)?;
        found.extend(text.split(',').map(str::trim).filter(|coding| !coding.is_empty()));
    }
    let is_chunked = |coding: &&str| coding.eq_ignore_ascii_case("chunked");
    match found.as_slice() {
        [] if !headers.contains_key(TRANSFER_ENCODING) => Ok(()),
        [only] if is_chunked(only) => Ok(()),
        [before @ .., last] if is_chunked(last) && !before.iter().any(is_chunked) => {
            Err(StatusCode::NOT_IMPLEMENTED)
        }
        _ => Err(StatusCode::BAD_REQUEST),
    }
}

/// Whether the head has a header of that name.
fn names(raw: &[u8], name: &HeaderName) -> bool {
    let lines = raw.split(|byte| *byte == b'\n').skip(1);
    let field = |line: &[u8]| line.split(|byte| *byte == b':').next().map(<[u8]>::to_vec);
    lines.filter_map(field).any(|field| field.eq_ignore_ascii_case(name.as_str().as_bytes()))
}

/// A path without needless escapes: of characters that mean the same without (RFC 3986, 6.2.2.2).
pub(super) fn plain(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let (mut plain, mut rest) = (String::with_capacity(path.len()), path);
    while let Some(at) = rest.find('%') {
        plain.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 3).and_then(|code| u8::from_str_radix(code, 16).ok());
        let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
        if let Some(byte) = code.filter(harmless) {
            plain.push(char::from(byte));
            rest = &rest[at + 3..];
        } else {
            plain.push('%');
            rest = &rest[at + 1..];
        }
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// Who sent a request that came through proxies we trust: the last entry of X-Forwarded-For that
/// is none of them, since only what they wrote is true. `None`: they do not say.
pub(super) fn forwarded(headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let lines: Vec<&str> =
        headers.get_all(FORWARDED_FOR).iter().map(|line| line.to_str().unwrap_or("")).collect();
    let entries = lines.iter().rev().flat_map(|line| line.rsplit(',')).map(str::trim);
    let mut sender = None;
    for entry in entries.take(PROXIES_MAX) {
        let Some(address) = address(entry) else { break };
        sender = Some(address.to_canonical());
        if !is_among(trusted, address) {
            break;
        }
    }
    sender
}

/// An entry's address; some proxies add the port.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.split(']').next());
    let whole = bare.unwrap_or(entry).parse().ok();
    whole.or_else(|| entry.parse().ok().map(|socket: std::net::SocketAddr| socket.ip()))
}

/// Whether the body is packed, in a way that its provider's adapter does not undo.
pub(super) fn is_coded(headers: &HeaderMap, takes_gzip: bool) -> bool {
    let known = |coding: &[u8]| {
        let is = |name: &[u8]| coding.eq_ignore_ascii_case(name);
        coding.is_empty() || is(b"identity") || (takes_gzip && (is(b"gzip") || is(b"x-gzip")))
    };
    let lines = headers.get_all(CONTENT_ENCODING).iter();
    let mut codings = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    codings.any(|coding| !known(coding.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_host_is_one_name_or_address_with_or_without_a_port() {
        for good in ["x", "hooks.example.org:8025", "10.0.0.1", "[::1]:80", "a_b", "x:"] {
            assert!(matches!(host(&headers("host", &[good])), Ok(Some(_))), "{good}");
        }
        for bad in ["", "a b", "a/b", "x:y", "[::1", "[x]", "::1", "a@b", "x:80:90"] {
            assert!(host(&headers("host", &[bad])).is_err(), "{bad}");
        }
        assert!(host(&headers("host", &["x", "x"])).is_err());
        assert!(matches!(host(&HeaderMap::new()), Ok(None)));
    }

    #[test]
    fn only_names_that_no_page_can_have_are_ours() {
        let names = ["mx1.example".to_owned()];
        for ours in ["127.0.0.1:9025", "[::1]:9025", "localhost", "LocalHost:1", "MX1.example"] {
            assert!(is_for(&Uri::from_static("/"), &headers("host", &[ours]), &names), "{ours}");
        }
        for other in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example"] {
            assert!(!is_for(&Uri::from_static("/"), &headers("host", &[other]), &names), "{other}");
        }
        assert!(!is_for(&Uri::from_static("/"), &HeaderMap::new(), &names));
        for (target, is_ours) in [
            ("http://127.0.0.1:9025/", true),
            ("http://[::1]/", true),
            ("http://mx1.example/", true),
            ("http://evil.example/", false),
            ("http://localhost@evil.example/", false),
        ] {
            let found = is_for(&Uri::from_static(target), &headers("host", &["localhost"]), &names);
            assert_eq!(found, is_ours, "{target}");
        }
    }

    #[test]
    fn chunked_stands_alone() {
        for (lines, refused) in [
            (&[][..], None),
            (&["chunked"], None),
            (&["Chunked"], None),
            (&["gzip, chunked"], Some(501)),
            (&["gzip", "chunked"], Some(501)),
            (&["chunked, chunked"], Some(400)),
            (&["chunked", "chunked"], Some(400)),
            (&["chunked, gzip"], Some(400)),
            (&["gzip"], Some(400)),
            (&[""], Some(400)),
        ] {
            let found = codings(&headers("transfer-encoding", lines)).err();
            assert_eq!(found.map(|status| status.as_u16()), refused, "{lines:?}");
        }
        let raw = b"POST /content-length: HTTP/1.1\r\nTransfer-Encoding: chunked\r\n";
        assert!(!names(raw, &CONTENT_LENGTH));
        assert!(names(&[&raw[..], b"CONTENT-length: 5\r\n"].concat(), &CONTENT_LENGTH));
    }

    #[test]
    fn needless_escapes_are_undone_and_no_others() {
        for (path, text) in [
            ("/hooks/%61cme", "/hooks/acme"),
            ("/hooks/a%2Db", "/hooks/a-b"),
            ("/hooks%2facme", "/hooks%2facme"),
            ("/hooks/%2561", "/hooks/%2561"),
            ("/%", "/%"),
            ("/%é", "/%é"),
        ] {
            assert_eq!(plain(path), text);
        }
    }

    #[test]
    fn the_last_address_that_is_no_proxy_sent_it() {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        for (lines, sender) in [
            (&["192.0.2.9"][..], Some("192.0.2.9")),
            (&["192.0.2.1, 192.0.2.9"], Some("192.0.2.9")),
            (&["192.0.2.9, 10.1.1.1"], Some("192.0.2.9")),
            (&["192.0.2.1, 192.0.2.9", "10.1.1.1, 10.2.2.2"], Some("192.0.2.9")),
            (&["192.0.2.9, ::ffff:10.1.1.1"], Some("192.0.2.9")),
            (&["192.0.2.9:4711"], Some("192.0.2.9")),
            (&["[2001:db9::1]:80, 2001:db8::1"], Some("2001:db9::1")),
            (&["10.3.3.3, 10.1.1.1"], Some("10.3.3.3")),
            (&["192.0.2.1, garbage, 10.1.1.1"], Some("10.1.1.1")),
            (&["garbage"], None),
            (&[], None),
        ] {
            let found = forwarded(&headers("x-forwarded-for", lines), &trusted);
            assert_eq!(found.map(|ip| ip.to_string()).as_deref(), sender, "{lines:?}");
        }
    }
}
