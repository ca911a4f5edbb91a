//! The only owner of reqwest: bounded requests to providers, and one POST to our own listener.
//!
//! Follows no redirect, keeps no body past its cap, and never shows a URL in an error beyond its
//! host: a query can hold a token. Waiting and trying again are the caller's.

mod exchange;
mod local;
mod spool;
mod told;
mod waits;

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, Response};
use url::{Host, Url};

pub use local::{LocalAnswer, post_local};
pub use spool::Spool;
pub use waits::RETRY_AFTER_MAX;

use crate::clock;
use crate::provider::{Method, PageRequest};
use crate::resolve::Resolver;
use crate::secret::Secret;
use waits::{retry_after, spent, text};

/// Longest wait for a connection, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest silence within an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest time for one request and its whole answer, unless the caller has less.
pub const TOTAL_TIMEOUT: Duration = Duration::from_secs(60);

/// Largest body of an answer, in bytes: some lists come in one piece, at some 150 bytes a row.
pub const BODY_MAX: usize = 128 << 20;

/// A body is read in pieces of about so many bytes.
const PIECE_BYTES: usize = 1 << 20;

/// Largest body that is held in memory, in bytes, where there is a directory for longer ones.
const HELD_MAX: usize = 2 << 20;

/// Largest part of the body of an answer that is no 200, in bytes. It says why, and no more.
const REFUSAL_BODY_MAX: usize = 64 << 10;

const USER_AGENT: &str = concat!("suppressd/", env!("CARGO_PKG_VERSION"));

/// Why nothing, or nothing whole, was fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Credentials would go over the network in the clear.
    #[error("the URL is not https, and its host is not this one")]
    Insecure,
    /// A credential or header cannot be sent.
    #[error("the header {0} holds characters that no header can")]
    Header(String),
    /// No certificate authorities are installed, so that no server can be trusted.
    #[error("this system has no CA certificates; install its ca-certificates package")]
    NoRoots,
    /// No request can be made of what is to be asked: a URL may be too long.
    #[error("the request cannot be made: {0}")]
    Unsendable(String),
    /// It took too long.
    #[error("timed out")]
    Timeout,
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The server sends us elsewhere. Credentials do not follow.
    #[error("redirected to {host}; put the final URL into the configuration")]
    Redirect {
        /// The host it led to.
        host: String,
    },
    /// The answer is larger than its cap.
    #[error("the answer is larger than {} MiB", BODY_MAX >> 20)]
    TooLarge,
    /// The answer ended early, or is not HTTP.
    #[error("the answer was cut short: {0}")]
    Cut(String),
    /// It is too long for memory, and cannot be kept elsewhere while it is read.
    #[error("a long answer cannot be put into the state directory to be read: {0}")]
    Spool(String),
    /// The client could not be made, or cannot reach such a target.
    #[error("{0}")]
    Client(String),
}

/// An answer. Of one that is no 200 only the start of the body is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The status.
    pub status: u16,
    /// How long it asks us to wait, at most [`RETRY_AFTER_MAX`].
    pub retry_after: Option<Duration>,
    /// How long to wait before the next request, since this one was the last that a rate limit
    /// has room for; at most [`RETRY_AFTER_MAX`].
    pub spent: Option<Duration>,
    /// The media type, as sent.
    pub content_type: Option<String>,
    /// The `Link` headers, with commas between them; often empty.
    pub links: String,
    /// The body, or the start of a long one.
    pub body: Vec<u8>,
    /// All of a body that is too long for memory.
    pub long: Option<Spool>,
}

/// Asks providers. Cheap to clone; connections are shared.
#[derive(Clone, Debug)]
pub struct Fetcher {
    client: Client,
    /// For this host, which no proxy can reach for us.
    direct: Client,
    has_roots: bool,
    /// Where long bodies are put. `None`: they are held in memory.
    spools: Option<Arc<PathBuf>>,
    /// What a failure to connect says of the proxy, without its password.
    proxy: Option<String>,
    /// Whom the proxy of the environment is asked for.
    proxied: Option<Arc<Matcher>>,
}

/// A proxy that providers are asked through: `http://user:password@host:port`, or https.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyUrl(Secret);

impl ProxyUrl {
    /// From the URL. `None`: it is none of a proxy.
    pub fn parse(secret: Secret) -> Option<ProxyUrl> {
        let url = Url::parse(secret.reveal_text()?).ok()?;
        let is_plain = matches!(url.path(), "" | "/") && url.query().is_none();
        let fits = matches!(url.scheme(), "http" | "https") && url.has_host() && is_plain;
        (fits && reqwest::Proxy::all(url).is_ok()).then_some(ProxyUrl(secret))
    }

    /// From a variable of the environment, which may lack the scheme.
    pub fn of_variable(text: &str) -> Option<ProxyUrl> {
        let scheme = if text.contains("://") { "" } else { "http://" };
        ProxyUrl::parse(Secret::new(format!("{scheme}{text}").into_bytes()))
    }

    /// It without its user and password.
    pub fn shown(&self) -> String {
        let url = self.0.reveal_text().and_then(|text| Url::parse(text).ok());
        let Some(mut url) = url else { return String::new() };
        // Of a URL with a host neither can fail.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.as_str().trim_end_matches('/').to_owned()
    }
}

impl Fetcher {
    /// Makes the client, with the system's certificate authorities. A system without any can still
    /// ask this host. Other hosts are asked through the proxy that the environment names, if any.
    ///
    /// # Errors
    /// When TLS cannot be set up at all.
    pub fn new() -> Result<Fetcher, FetchError> {
        Fetcher::through(None)
    }

    /// The same through a proxy; without one, through that of `HTTPS_PROXY`, but for the hosts of
    /// `NO_PROXY`. This host is always asked directly.
    ///
    /// # Errors
    /// When TLS cannot be set up at all.
    pub fn through(proxy: Option<&ProxyUrl>) -> Result<Fetcher, FetchError> {
        Fetcher::made(proxy, &builder)
    }

    /// The same with other certificate authorities than the system's: those in a PEM text.
    ///
    /// # Errors
    /// Also when there are none in it.
    pub fn trusting(proxy: Option<&ProxyUrl>, ca: &[u8]) -> Result<Fetcher, FetchError> {
        let roots = Certificate::from_pem_bundle(ca).map_err(|error| client_error(&error))?;
        if roots.is_empty() {
            return Err(FetchError::Client("there is no certificate in it".to_owned()));
        }
        Fetcher::made(proxy, &|| builder().tls_certs_only(roots.clone()))
    }

    fn made(
        proxy: Option<&ProxyUrl>,
        builder: &dyn Fn() -> ClientBuilder,
    ) -> Result<Fetcher, FetchError> {
        let proxied = || match proxy.and_then(|proxy| proxy.0.reveal_text()) {
            Some(url) => Ok(builder().proxy(reqwest::Proxy::all(url)?)),
            None => Ok(builder()),
        };
        let made = |error: reqwest::Error| client_error(&error);
        let (client, has_roots) = match proxied().map_err(made)?.build() {
            Ok(client) => (client, true),
            Err(_) => (proxied().map_err(made)?.tls_certs_only([]).build().map_err(made)?, false),
        };
        let direct = builder().no_proxy();
        let direct = if has_roots { direct } else { direct.tls_certs_only([]) };
        let proxy = proxy.map(|proxy| format!("through the proxy {}", proxy.shown()));
        let direct = direct.build().map_err(made)?;
        Ok(Fetcher { client, direct, has_roots, spools: None, proxy, proxied: None })
    }

    /// The same, where bodies that are too long for memory lie in a directory while they are read.
    #[must_use]
    pub fn spooling_in(self, dir: PathBuf) -> Fetcher {
        Fetcher { spools: Some(Arc::new(dir)), ..self }
    }

    /// The same, where failures tell of the proxy that the environment names.
    #[must_use]
    pub fn naming(mut self, environment: Option<&ProxyUrl>) -> Fetcher {
        if let (None, Some(proxy)) = (&self.proxy, environment) {
            self.proxy = Some(format!("HTTPS_PROXY is {}", proxy.shown()));
            self.proxied = Some(Arc::new(Matcher::from_env()));
        }
        self
    }

    /// The failure, with the proxy that it may be of.
    fn failure(&self, error: &reqwest::Error, url: &Url) -> FetchError {
        match (classify(error), &self.proxy) {
            (FetchError::Connect(cause), Some(proxy)) if self.is_proxied(url) => {
                FetchError::Connect(format!("{cause} ({proxy})"))
            }
            (failure, _) => failure,
        }
    }

    /// Whether a URL is asked through the proxy: not where `NO_PROXY` has its host.
    fn is_proxied(&self, url: &Url) -> bool {
        let uri = url.as_str().parse();
        let by_environment = |proxied: &Arc<Matcher>| {
            uri.is_ok_and(|uri: http::Uri| proxied.intercept(&uri).is_some())
        };
        !is_loopback(url) && self.proxied.as_ref().is_none_or(by_environment)
    }

    /// Makes one request, all of it within `total`.
    ///
    /// # Errors
    /// When there is no whole answer. An answer of any status but a redirect is not an error.
    pub async fn send(
        &self,
        request: &PageRequest,
        total: Duration,
    ) -> Result<Fetched, FetchError> {
        let response = self.ask(request, total).await?;
        let status = response.status().as_u16();
        let (headers, now) = (response.headers(), clock::now());
        let retry_after = retry_after(headers, status, now);
        let spent = spent(headers, now);
        let content_type = text(headers, http::header::CONTENT_TYPE.as_str()).map(str::to_owned);
        let links =
            headers.get_all(http::header::LINK).iter().filter_map(|link| link.to_str().ok());
        let links = links.collect::<Vec<_>>().join(", ");
        let (body, long) = match status {
            200 => self.read_long(response).await?,
            // What cannot be read of a refusal changes nothing about it.
            _ => (read(response, REFUSAL_BODY_MAX).await.unwrap_or_default(), None),
        };
        Ok(Fetched { status, retry_after, spent, content_type, links, body, long })
    }

    /// The answer to a request, before its body.
    async fn ask(&self, request: &PageRequest, total: Duration) -> Result<Response, FetchError> {
        self.admit(&request.url)?;
        let method = match request.method {
            Method::Get => http::Method::GET,
            Method::Post => http::Method::POST,
            Method::Put => http::Method::PUT,
            Method::Patch => http::Method::PATCH,
            Method::Delete => http::Method::DELETE,
        };
        let mut call =
            self.client_for(&request.url).request(method, request.url.clone()).timeout(total);
        for (name, value) in &request.headers {
            call = call.header(&**name, sensitive(name, value)?);
        }
        if let Some((media, body)) = &request.body {
            call = call.header(http::header::CONTENT_TYPE, *media).body(body.reveal().to_vec());
        }
        self.answer(call.send().await, &request.url)
    }

    /// An answer that leads nowhere else.
    fn answer(&self, sent: reqwest::Result<Response>, url: &Url) -> Result<Response, FetchError> {
        let response = sent.map_err(|error| self.failure(&error, url))?;
        if response.status().is_redirection() {
            return Err(FetchError::Redirect { host: leads_to(&response) });
        }
        Ok(response)
    }

    /// A body; of one that is too long for memory its start, and all of it elsewhere.
    async fn read_long(&self, response: Response) -> Result<(Vec<u8>, Option<Spool>), FetchError> {
        let Some(dir) = &self.spools else { return Ok((read(response, BODY_MAX).await?, None)) };
        let mut body = Incoming::of(response, BODY_MAX)?;
        let mut start = Vec::new();
        while start.len() < HELD_MAX {
            match body.piece().await? {
                Some(piece) => start.extend_from_slice(&piece),
                None => return Ok((start, None)),
            }
        }
        let dir = Arc::clone(dir);
        let begin = move || {
            let mut spool = Spool::begin(&dir)?;
            spool.add(&start)?;
            start.truncate(PIECE_BYTES);
            Ok((spool, start))
        };
        let (mut spool, start) = on_disk(begin).await?;
        while let Some(piece) = body.piece().await? {
            spool = on_disk(move || spool.add(&piece).map(|()| spool)).await?;
        }
        Ok((start, Some(spool)))
    }

    fn client_for(&self, url: &Url) -> &Client {
        if is_loopback(url) { &self.direct } else { &self.client }
    }

    fn admit(&self, url: &Url) -> Result<(), FetchError> {
        match url.scheme() {
            "https" if self.has_roots => Ok(()),
            "https" => Err(FetchError::NoRoots),
            "http" if is_loopback(url) => Ok(()),
            _ => Err(FetchError::Insecure),
        }
    }
}

fn builder() -> ClientBuilder {
    // An error says that the process already has its provider, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .redirect(Policy::none())
        .dns_resolver(Names(Resolver::new()))
}

/// The names of hosts, by a resolver that takes none of tokio's blocking threads.
struct Names(Resolver);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.0.clone();
        Box::pin(async move {
            let found = resolver.resolve(name.as_str().to_owned()).await;
            let found = found.map_err(|error| std::io::Error::other(&*error))?;
            let addresses: Addrs = Box::new(found.iter().copied().collect::<Vec<_>>().into_iter());
            Ok(addresses)
        })
    }
}

/// Whether the URL's host is this one, by its literal address or by the name `localhost`.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn sensitive(name: &str, value: &Secret) -> Result<HeaderValue, FetchError> {
    let bad = || FetchError::Header(name.to_owned());
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
    let mut value = HeaderValue::from_bytes(value.reveal()).map_err(|_| bad())?;
    value.set_sensitive(true);
    Ok(value)
}

/// A body on its way.
struct Incoming {
    response: Response,
    length: usize,
    max: usize,
}

impl Incoming {
    fn of(response: Response, max: usize) -> Result<Incoming, FetchError> {
        if response.content_length().is_some_and(|length| length > max as u64) {
            return Err(FetchError::TooLarge);
        }
        Ok(Incoming { response, length: 0, max })
    }

    /// The next piece of it, so that what is too large is never held. `None`: that was all.
    async fn piece(&mut self) -> Result<Option<Vec<u8>>, FetchError> {
        let mut piece = Vec::new();
        while piece.len() < PIECE_BYTES {
            let chunk = self.response.chunk().await.map_err(|error| classify(&error))?;
            let Some(chunk) = chunk else { break };
            piece.extend_from_slice(&chunk);
        }
        self.length += piece.len();
        match self.length {
            length if length > self.max => Err(FetchError::TooLarge),
            _ => Ok(Some(piece).filter(|piece| !piece.is_empty())),
        }
    }
}

/// Reads a body into memory.
async fn read(response: Response, max: usize) -> Result<Vec<u8>, FetchError> {
    let mut incoming = Incoming::of(response, max)?;
    let (mut body, mut pieces) = (Vec::new(), Vec::new());
    while let Some(piece) = incoming.piece().await? {
        pieces.push(piece);
    }
    // A long body that grew in one place would be there twice each time it moves.
    body.reserve_exact(incoming.length);
    // Each piece is freed as soon as it is copied.
    pieces.into_iter().for_each(|piece| body.extend_from_slice(&piece));
    Ok(body)
}

/// Reads or writes a long body, where nobody else waits for the disk.
///
/// # Errors
/// When the disk is full or fails.
pub async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, FetchError> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(io::Error::other).and_then(|done| done);
    done.map_err(|error| FetchError::Spool(error.to_string()))
}

fn leads_to(response: &Response) -> String {
    let location = text(response.headers(), http::header::LOCATION.as_str());
    let url = location.and_then(|location| response.url().join(location).ok());
    url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_else(|| "nowhere".to_owned())
}

fn classify(error: &reqwest::Error) -> FetchError {
    if error.is_timeout() {
        FetchError::Timeout
    } else if error.is_connect() {
        FetchError::Connect(cause(error))
    } else if error.is_builder() {
        FetchError::Unsendable(cause(error))
    } else {
        FetchError::Cut(cause(error))
    }
}

fn client_error(error: &reqwest::Error) -> FetchError {
    FetchError::Client(format!("the HTTP client cannot be made: {}", cause(error)))
}

/// The innermost cause. The outer ones show the URL.
fn cause(error: &reqwest::Error) -> String {
    let mut inner: &dyn Error = match error.source() {
        Some(source) => source,
        None => return "no further cause".to_owned(),
    };
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_is_asked_in_the_clear() {
        let fetcher = Fetcher::new().unwrap();
        let fetcher = Fetcher { has_roots: true, ..fetcher };
        for (url, admitted) in [
            ("https://api.example.org/", true),
            ("http://localhost:8000/", true),
            ("http://127.0.0.9/", true),
            ("http://[::1]:9/", true),
            ("http://api.example.org/", false),
            ("http://localhost.example.org/", false),
            ("http://10.0.0.1/", false),
            ("ftp://localhost/", false),
        ] {
            assert_eq!(fetcher.admit(&url.parse().unwrap()).is_ok(), admitted, "{url}");
        }
        let rootless = Fetcher { has_roots: false, ..fetcher };
        assert_eq!(rootless.admit(&"https://a.test/".parse().unwrap()), Err(FetchError::NoRoots));
    }
}
