//! The limit: what hyper, an HMAC, typed JSON and a bare group commit do together.
//!
//! A process of its own, as the daemon is, with the same runtime. It checks what must be checked
//! and keeps what must be kept, and does nothing else.

use std::convert::Infallible;
use std::path::Path;

use anyhow::Result;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use sha2::Sha256;
use tokio::net::TcpListener;

use crate::load::SECRET;
use crate::log::Log;

/// What a reader of the format needs.
#[derive(Deserialize)]
struct Event<'a> {
    event: &'a str,
    timestamp: &'a str,
    recipient: &'a str,
    message_id: &'a str,
    reason: &'a str,
    smtp_code: u16,
}

/// Serves until it is killed; says its port on standard output.
pub(crate) fn serve(directory: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let log = Log::start(&directory.join("log"))?;
        let key = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (log, key) = (log.clone(), key.clone());
            let service = service_fn(move |request| answer(request, log.clone(), key.clone()));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    })
}

async fn answer(
    request: Request<Incoming>,
    log: Log,
    key: Hmac<Sha256>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let status = match body.collect().await {
        Ok(body) => keep(&head.headers, &body.to_bytes(), &log, key).await,
        Err(_) => StatusCode::BAD_REQUEST,
    };
    let mut response = Response::new(Full::from("Accepted.\n"));
    *response.status_mut() = status;
    Ok(response)
}

async fn keep(
    headers: &hyper::HeaderMap,
    body: &[u8],
    log: &Log,
    mut key: Hmac<Sha256>,
) -> StatusCode {
    key.update(body);
    let tag = headers.get("x-webhook-signature").map(|tag| HEXLOWER.decode(tag.as_bytes()));
    let authentic = matches!(tag, Some(Ok(tag)) if key.verify_slice(&tag).is_ok());
    if !authentic || !readable(body) {
        return StatusCode::BAD_REQUEST;
    }
    let kept = log.append(body.to_vec()).await;
    if kept { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn readable(body: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(body) else { return false };
    let events: Result<Vec<Event<'_>>, _> = if text.starts_with('[') {
        serde_json::from_str(text)
    } else {
        serde_json::from_str(text).map(|event| vec![event])
    };
    events.is_ok_and(|events| events.iter().all(is_whole))
}

fn is_whole(event: &Event<'_>) -> bool {
    let texts = [event.event, event.timestamp, event.recipient, event.message_id, event.reason];
    texts.iter().all(|text| !text.is_empty()) && event.smtp_code > 0
}
