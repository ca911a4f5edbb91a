//! Who is answered on the private listener, and who may change anything there.

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Response, StatusCode, Uri};

use super::dashboard::{ACT, Asset};
use super::server::Peer;
use super::{Content, head, reply};
use crate::clock;
use crate::provider::Check;
use crate::secret::Secret;

/// Who is answered.
pub struct Guard {
    /// Whether only programs on this host reach the listener: then they need no token to look.
    pub is_local: bool,
    /// The tokens, any of which is good.
    pub tokens: Vec<Secret>,
    /// Names by which we may be called.
    pub hosts: Vec<String>,
}

impl Guard {
    /// The answer to whom is not let in.
    pub(super) fn refuses(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        peer: Peer,
    ) -> Option<Response<Content>> {
        // A page in a browser on this host can call us by its own name, and read the answer. It
        // cannot reach a Unix socket.
        if peer != Peer::Local && !head::is_for(uri, headers, &self.hosts) {
            let why = "This host is not called so; name it by its address, or in [admin] hosts.\n";
            return Some(reply(StatusCode::MISDIRECTED_REQUEST, why));
        }
        let looks = method != Method::POST && method != Method::DELETE;
        let open = match uri.path() {
            "/livez" | "/readyz" => looks,
            // What it may do is for the token that stands in the form.
            ACT => self.is_local && (looks || !self.tokens.is_empty()),
            _ => looks && self.is_local,
        };
        if open || (!self.tokens.is_empty() && self.is_shown(looks, uri, headers)) {
            return None;
        }
        if self.tokens.is_empty() {
            let why = "Nothing can be changed here unless [admin] token is set.\n";
            return Some(reply(StatusCode::FORBIDDEN, why));
        }
        let why = "A token is needed: Authorization: Bearer, as [admin] token has it.\n";
        let mut response = reply(StatusCode::UNAUTHORIZED, why);
        let challenge = match is_page(uri) {
            true => "Basic realm=\"suppressd: user suppressd, the token as password\"",
            false => "Bearer realm=\"suppressd\"",
        };
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        Some(response)
    }

    /// Whether the token is shown. By a browser in its own way too, but only to look: it does so
    /// whichever site makes it ask, and what changes anything needs more.
    fn is_shown(&self, looks: bool, uri: &Uri, headers: &HeaderMap) -> bool {
        let now = clock::now();
        if Check::Bearer(self.tokens.clone()).verify_head(headers, "", now).is_ok() {
            return true;
        }
        let with_user = |token: &Secret| Secret::new([b"suppressd:", token.reveal()].concat());
        let basic = Check::Basic(self.tokens.iter().map(with_user).collect());
        (looks || uri.path() == ACT) && basic.verify_head(headers, "", now).is_ok()
    }

    /// Whether a text is one of the tokens.
    pub(super) fn is_token(&self, text: &str) -> bool {
        let mut headers = HeaderMap::new();
        let Ok(value) = HeaderValue::from_str(&format!("Bearer {text}")) else { return false };
        headers.insert(AUTHORIZATION, value);
        let check = Check::Bearer(self.tokens.clone());
        !self.tokens.is_empty() && check.verify_head(&headers, "", clock::now()).is_ok()
    }
}

/// Whether a browser asks for a page, or for what a page loads.
fn is_page(uri: &Uri) -> bool {
    matches!(uri.path(), "/" | "/address" | ACT | "/v1/changes") || Asset::of(uri.path()).is_some()
}
