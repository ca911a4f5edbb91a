//! Asking an API over real sockets, and calling our own listener.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use suppressd::fetch::{FetchError, Fetcher, post_local};
use suppressd::listen::Listen;
use suppressd::model::Time;
use suppressd::provider::{self, PageRequest, Query, Setting, Settings, Window};
use suppressd::secret::Secret;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::feed::{Fault, Feed, row};

/// More than any answer of these tests takes, but for the one that never comes.
const SOON: Duration = Duration::from_secs(20);

fn settings(feed: &Feed) -> Settings {
    let mut settings = Settings::default();
    settings.set("url", Setting::Text(feed.url()));
    settings.set("bearer", Setting::Secrets(vec![Secret::new("s3cret")]));
    settings
}

fn query<'a>(settings: &'a Settings, next: Option<&'a str>) -> Query<'a> {
    let window = Window {
        since: Time::parse("2026-06-15T10:00:00Z").unwrap(),
        until: Time::parse("2026-06-15T11:00:00Z").unwrap(),
    };
    Query { settings, feed: "events", window, next, now: window.until }
}

fn request(feed: &Feed, next: Option<&str>) -> PageRequest {
    let generic = provider::by_name("generic").unwrap();
    generic.page_request(&query(&settings(feed), next)).unwrap()
}

#[tokio::test]
async fn a_feed_is_paged_to_its_end() {
    for relative in [false, true] {
        let feed = Feed::start();
        feed.require_bearer("s3cret");
        feed.relative_next(relative);
        feed.page_rows(2);
        feed.push((0..60).step_by(10).map(|minute| {
            let at = format!("2026-06-15T10:{minute:02}:00Z");
            row("hard_bounce", "a@b.test", &at, &minute.to_string())
        }));
        feed.push([row("hard_bounce", "old@b.test", "2026-06-15T09:59:59Z", "old")]);
        let fetcher = Fetcher::new().unwrap();
        let generic = provider::by_name("generic").unwrap();
        let settings = settings(&feed);
        let (mut next, mut rows) = (None, 0);
        for page in 1.. {
            let request = request(&feed, next.as_deref());
            let fetched = fetcher.send(&request, SOON).await.unwrap();
            assert_eq!(fetched.status, 200);
            assert_eq!(fetched.content_type.as_deref(), Some("application/json"));
            let read = generic.page(&query(&settings, None), &request.url, &fetched.body).unwrap();
            rows += read.rows.len();
            next = read.next;
            if next.is_none() {
                assert_eq!(page, 3);
                break;
            }
        }
        assert_eq!(rows, 6);
        let asked = feed.requests();
        assert!(asked[0].target.contains("since=2026-06-15T10%3A00%3A00Z&limit=500"));
        let agent = format!("user-agent: suppressd/{}", env!("CARGO_PKG_VERSION"));
        assert!(asked.iter().all(|request| request.headers.contains(&agent)));
    }
}

#[tokio::test]
async fn every_fault_has_its_error() {
    let feed = Feed::start();
    let fetcher = Fetcher::new().unwrap();
    let location = |to: &str| vec![("location", to.to_owned())];
    let redirect = |host: &str| FetchError::Redirect { host: host.to_owned() };
    for (fault, error) in [
        (Fault::Status(302, location("https://evil.test/?token=1")), redirect("evil.test")),
        (Fault::Status(307, location("/elsewhere")), redirect("127.0.0.1")),
        (Fault::Status(301, Vec::new()), redirect("nowhere")),
        (Fault::Endless, FetchError::TooLarge),
    ] {
        feed.fault(fault.clone());
        assert_eq!(fetcher.send(&request(&feed, None), SOON).await, Err(error), "{fault:?}");
    }
    for fault in [Fault::Cut, Fault::Truncated] {
        feed.fault(fault.clone());
        let error = fetcher.send(&request(&feed, None), SOON).await.unwrap_err();
        assert!(matches!(error, FetchError::Cut(_)), "{fault:?}: {error}");
        assert!(!error.to_string().contains("since"), "{error}");
    }
    feed.fault(Fault::Stall);
    let total = Duration::from_millis(300);
    assert_eq!(fetcher.send(&request(&feed, None), total).await, Err(FetchError::Timeout));

    let wait = vec![("retry-after", "7".to_owned())];
    feed.fault(Fault::Status(503, wait));
    let busy = fetcher.send(&request(&feed, None), SOON).await.unwrap();
    assert_eq!((busy.status, busy.retry_after), (503, Some(Duration::from_secs(7))));
}

#[tokio::test]
async fn no_server_is_no_connection() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/?token=s3cret", listener.local_addr().unwrap());
    drop(listener);
    let request = PageRequest::get(url.parse().unwrap());
    let error = Fetcher::new().unwrap().send(&request, SOON).await.unwrap_err();
    assert!(matches!(error, FetchError::Connect(_)), "{error}");
    assert!(!error.to_string().contains("s3cret"));
    let clear = PageRequest::get("http://a.test/".parse().unwrap());
    let refused = Fetcher::new().unwrap().send(&clear, SOON).await;
    assert_eq!(refused, Err(FetchError::Insecure));
}

/// Reads a request with a body of two bytes, and answers 503 with it.
fn echo(stream: impl Read + Write) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).unwrap();
    }
    assert!(head.starts_with("POST /hooks/acme HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("x-webhook-signature: abc\r\n"), "{head}");
    let mut body = [0; 2];
    reader.read_exact(&mut body).unwrap();
    let answer = b"HTTP/1.1 503 S\r\ncontent-length: 2\r\n\r\n";
    reader.get_mut().write_all(&[answer.as_slice(), &body].concat()).unwrap();
}

async fn post(target: &Listen, tls: bool) -> (u16, String) {
    let headers = [("x-webhook-signature".to_owned(), Secret::new("abc"))];
    let answer = post_local(target, tls, "/hooks/acme", &headers, b"{}".to_vec()).await.unwrap();
    (answer.status, String::from_utf8(answer.body).unwrap())
}

#[tokio::test]
async fn our_own_listener_is_reached_by_tcp_and_by_a_unix_socket() {
    let expected = (503, "{}".to_owned());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || echo(listener.accept().unwrap().0));
    // A listener on every address is reached by loopback.
    let everywhere = Listen::Tcp(([0, 0, 0, 0], port).into());
    assert_eq!(post(&everywhere, false).await, expected);
    server.join().unwrap();

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || echo(listener.accept().unwrap().0));
    assert_eq!(post(&Listen::Unix(path), false).await, expected);
    server.join().unwrap();

    assert!(post_local(&Listen::Systemd, false, "/", &[], Vec::new()).await.is_err());
}

/// Ends TLS with a certificate that nobody vouches for.
fn acceptor() -> TlsAcceptor {
    // An error says that the process already has its provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls");
    let certificate = CertificateDer::from_pem_file(format!("{folder}/certificate.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(format!("{folder}/key.pem")).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate], key).unwrap()))
}

#[tokio::test]
async fn our_own_certificate_is_taken_unseen() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = tokio::io::BufReader::new(acceptor().accept(stream).await.unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            stream.read_line(&mut head).await.unwrap();
        }
        stream.read_exact(&mut [0; 2]).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 S\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        stream.flush().await.unwrap();
    });
    assert_eq!(post(&Listen::Tcp(address), true).await, (200, "ok".to_owned()));
    server.await.unwrap();
}

#[tokio::test]
async fn a_providers_certificate_is_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor().accept(stream).await.is_err()
    });
    let request = PageRequest::get(url.parse().unwrap());
    match Fetcher::new().unwrap().send(&request, SOON).await {
        Err(FetchError::Connect(_)) => assert!(server.await.unwrap()),
        // A system without authorities does not even connect.
        other => assert_eq!(other, Err(FetchError::NoRoots)),
    }
}
