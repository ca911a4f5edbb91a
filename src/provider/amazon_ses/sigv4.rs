//! Signature Version 4 of AWS, as all its services but S3 want it.
//!
//! Source: AWS, "Create a signed AWS API request". The time is an argument, as everywhere.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use url::Url;

use crate::model::Time;
use crate::provider::{Hash, PageRequest};
use crate::secret::Secret;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What signs a request.
pub(super) struct Signer<'a> {
    /// The id of the access key.
    pub(super) access_key: &'a Secret,
    /// The secret access key.
    pub(super) secret_key: &'a Secret,
    /// Of temporary credentials, their session.
    pub(super) session_token: Option<&'a Secret>,
    /// The region of the service.
    pub(super) region: &'a str,
    /// The service's name in signatures.
    pub(super) service: &'a str,
    /// The present.
    pub(super) now: Time,
}

impl Signer<'_> {
    /// The request with what authenticates it.
    pub(super) fn sign(&self, request: PageRequest) -> PageRequest {
        let time = self.now.floor_second().to_string().replace(['-', ':'], "");
        let date = &time[..8];
        let host = host(&request.url);
        let mut headers: Vec<(&str, &[u8])> =
            vec![("host", host.as_bytes()), ("x-amz-date", time.as_bytes())];
        headers.extend(request.body.as_ref().map(|(media, _)| ("content-type", media.as_bytes())));
        headers.extend(self.session_token.map(|token| ("x-amz-security-token", token.reveal())));
        headers.sort_unstable();
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<&str>>().join(";");
        let canonical = canonical(&request, &headers, &names);
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let digest = HEXLOWER.encode(&Sha256::digest(canonical));
        let message = format!("{ALGORITHM}\n{time}\n{scope}\n{digest}");
        let tag = Hash::Sha256.tag(&self.key(date), message.as_bytes());
        let authorization = [
            format!("{ALGORITHM} Credential=").as_bytes(),
            self.access_key.reveal(),
            format!("/{scope}, SignedHeaders={names}, Signature={}", HEXLOWER.encode(&tag))
                .as_bytes(),
        ]
        .concat();
        let signed = request
            .header("x-amz-date", Secret::new(time))
            .header("authorization", Secret::new(authorization));
        match self.session_token {
            Some(token) => signed.header("x-amz-security-token", token.clone()),
            None => signed,
        }
    }

    /// The key of a day, a region and a service.
    fn key(&self, date: &str) -> Secret {
        let first = Secret::new([b"AWS4", self.secret_key.reveal()].concat());
        let parts = [date, self.region, self.service, "aws4_request"];
        parts.iter().fold(first, |key, part| Secret::new(Hash::Sha256.tag(&key, part.as_bytes())))
    }
}

/// The text of a request that is signed.
fn canonical(request: &PageRequest, headers: &[(&str, &[u8])], names: &str) -> Vec<u8> {
    let method = request.method.as_str();
    let path: Vec<String> = request.url.path().split('/').map(encode).collect();
    let mut pairs: Vec<(String, String)> =
        request.url.query_pairs().map(|(name, value)| (encode(&name), encode(&value))).collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut text = format!("{method}\n{}\n{}\n", path.join("/"), pairs.join("&")).into_bytes();
    for (name, value) in headers {
        text.extend([name.as_bytes(), b":", value.trim_ascii(), b"\n"].concat());
    }
    let body = request.body.as_ref().map_or(&b""[..], |(_, body)| body.reveal());
    let digest = HEXLOWER.encode(&Sha256::digest(body));
    text.extend(format!("\n{names}\n{digest}").into_bytes());
    text
}

/// The `Host` header of a request to that URL.
fn host(url: &Url) -> String {
    let name = url.host_str().unwrap_or("");
    url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

/// A text with all but RFC 3986's unreserved characters as `%XX`. The path of a URL is encoded
/// once more than it stands there.
pub(in crate::provider) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::provider::Method;

    /// Made by another program, and checked against AWS's own library.
    const VECTORS: &[(Method, &str, Option<&str>, &str, &str)] = &[
        (
            Method::Get,
            concat!(
                "?EndDate=2026-06-15T10%3A00%3A00Z&PageSize=1000&Reason=BOUNCE&Reason=COMPLAINT",
                "&StartDate=2026-06-14T00%3A00%3A00Z"
            ),
            None,
            "host;x-amz-date",
            "d13b0bf2f0f3b78325f50dbd6e9b4cf4876b29d85a0b5aef981d64626d38ef2d",
        ),
        (
            Method::Get,
            "/a%2Bb%40example.com",
            None,
            "host;x-amz-date",
            "999580a9640d44ade9d8dce6736d9fbf29b1adba9a8db037bb7040dd02e778c5",
        ),
        (
            Method::Put,
            "",
            Some(r#"{"EmailAddress": "a+b@example.com", "Reason": "BOUNCE"}"#),
            "content-type;host;x-amz-date",
            "c8603e54600e802c8ecb0108759ca15427e0a0702b9810a2af1109f666a721e9",
        ),
    ];

    fn signed(
        request: PageRequest,
        session_token: Option<&Secret>,
    ) -> Vec<(Cow<'static, str>, String)> {
        let signer = Signer {
            access_key: &Secret::new("AKIDEXAMPLE"),
            secret_key: &Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token,
            region: "us-east-1",
            service: "ses",
            now: Time::parse("2026-06-15T10:32:11.5Z").unwrap(),
        };
        let headers = signer.sign(request).headers.into_iter();
        headers.map(|(name, value)| (name, value.reveal_text().unwrap().to_owned())).collect()
    }

    #[test]
    fn known_requests_get_their_signatures() {
        let base = "https://email.us-east-1.amazonaws.com/v2/email/suppression/addresses";
        for (method, rest, body, names, signature) in VECTORS {
            let url = Url::parse(&format!("{base}{rest}")).unwrap();
            let body = body.map(|body| ("application/json", Secret::new(body)));
            let request = PageRequest { method: *method, body, ..PageRequest::get(url) };
            let scope = "20260615/us-east-1/ses/aws4_request";
            let wanted = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}, SignedHeaders={names}, \
                 Signature={signature}"
            );
            let headers = signed(request, None);
            assert_eq!(
                headers,
                [
                    ("x-amz-date".into(), "20260615T103211Z".to_owned()),
                    ("authorization".into(), wanted)
                ],
                "{rest}"
            );
        }
    }

    #[test]
    fn a_session_and_a_port_are_signed_too() {
        let url = Url::parse("http://127.0.0.1:8080/v2").unwrap();
        let token = Secret::new("session");
        let headers = signed(PageRequest::get(url.clone()), Some(&token));
        assert!(headers[1].1.contains("SignedHeaders=host;x-amz-date;x-amz-security-token,"));
        assert_eq!(headers[2], ("x-amz-security-token".into(), "session".to_owned()));
        assert_eq!(host(&url), "127.0.0.1:8080");
        assert_eq!(host(&Url::parse("https://a.test:443/").unwrap()), "a.test");
    }
}
