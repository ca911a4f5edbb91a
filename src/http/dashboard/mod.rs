//! The dashboard: pages for people, complete without JavaScript.
//!
//! Rendered here of the rows that `--json` shows. Nothing is fetched from elsewhere, and nothing is
//! kept in the browser: each change is a form that carries the token itself, so that no other site
//! can send one. Never decides anything.

mod act;
mod address;
mod chart;
mod overview;
mod parts;

use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use maud::Markup;

pub(super) use act::Act;

use super::{Content, reply};
use crate::admin::Overview;

/// Where forms go. They carry the token, instead of a header.
pub(super) const ACT: &str = "/act";

/// What a page may load, and where its forms may go.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
const ICON: &str = include_str!("icon.svg");
const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A file that pages load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asset {
    Style,
    Script,
    Icon,
}

impl Asset {
    /// By its path.
    pub(super) fn of(path: &str) -> Option<Asset> {
        match path {
            "/dashboard.css" => Some(Asset::Style),
            "/dashboard.js" => Some(Asset::Script),
            "/dashboard.svg" => Some(Asset::Icon),
            _ => None,
        }
    }

    pub(super) fn answer(self) -> Response<Content> {
        let (text, kind) = match self {
            Asset::Style => (STYLE, "text/css; charset=utf-8"),
            Asset::Script => (SCRIPT, "text/javascript; charset=utf-8"),
            Asset::Icon => (ICON, "image/svg+xml"),
        };
        let mut response = reply(StatusCode::OK, text);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

/// Whether a browser says that another site has sent this.
pub(super) fn is_foreign(headers: &HeaderMap) -> bool {
    let site = headers.get(FETCH_SITE).map(HeaderValue::as_bytes);
    site.is_some_and(|site| site != b"same-origin" && site != b"none")
}

/// The first page. `done`: what a form has just done.
pub(super) fn overview(view: &Overview, may_write: bool, done: Option<&str>) -> Response<Content> {
    page(StatusCode::OK, overview::page(view, may_write, done.and_then(act::said)))
}

/// What is known of an address: the row of `explain`, or why there is none.
pub(super) fn address(
    asked: &str,
    found: Result<serde_json::Value, String>,
    may_write: bool,
    done: Option<&str>,
) -> Response<Content> {
    let status = if found.is_ok() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    page(status, address::page(asked, found, may_write, done.and_then(act::said)))
}

/// Why a form did nothing.
pub(super) fn problem(status: StatusCode, why: &str) -> Response<Content> {
    page(status, parts::problem(why))
}

fn page(status: StatusCode, page: Markup) -> Response<Content> {
    let mut response = reply(status, page.into_string());
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (OPENER, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
