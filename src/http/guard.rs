//! Who is answered on the private listener, and who may change anything there.

use hyper::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Response, StatusCode, Uri};

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
        let open = looks && (self.is_local || matches!(uri.path(), "/livez" | "/readyz"));
        let shown = || Check::Bearer(self.tokens.clone()).verify_head(headers, clock::now());
        if open || (!self.tokens.is_empty() && shown().is_ok()) {
            return None;
        }
        if self.tokens.is_empty() {
            let why = "Nothing can be changed here unless [admin] token is set.\n";
            return Some(reply(StatusCode::FORBIDDEN, why));
        }
        let why = "A token is needed: Authorization: Bearer, as [admin] token has it.\n";
        let mut response = reply(StatusCode::UNAUTHORIZED, why);
        let challenge = HeaderValue::from_static("Bearer realm=\"suppressd\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        Some(response)
    }
}
