//! Changes of verdicts as server-sent events (WHATWG HTML, section 9.2).

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::timeout;

use super::{Content, reply};
use crate::admin::{Admin, VerdictChange};
use crate::current::Current;
use crate::stop::stopped;

/// Parts of a stream that wait for its reader; one part has the changes of one moment.
const PARTS_MAX: usize = 4;
/// How often a stream in which nothing happens says that it is still there.
const BEAT: Duration = Duration::from_secs(15);
/// Changes are gathered for so long: a follower is shown the last of each address.
const GATHER: Duration = Duration::from_millis(100);

/// Starts a stream behind the change with the id `seen`, or from now on. It ends with its reader,
/// with its turn, or with the stop.
pub(super) fn stream(
    admin: Arc<Current<Admin>>,
    seen: Option<&str>,
    turn: OwnedSemaphorePermit,
    stop: watch::Receiver<bool>,
) -> Response<Content> {
    let (parts, stream) = mpsc::channel(PARTS_MAX);
    let (seen, first) = begin(&admin.get(), seen);
    tokio::spawn(async move {
        let _turn = turn;
        follow(admin, seen, first, parts, stop).await;
    });
    let mut response = reply(StatusCode::OK, "");
    *response.body_mut() = Content::Stream(stream);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The number that a stream begins behind, and what is told at once, so that the client knows that
/// it is connected, and where it is also when it is cut off before the first change.
fn begin(admin: &Admin, seen: Option<&str>) -> (u64, String) {
    let last = admin.last_change();
    match seen.map(|id| admin.change_number(id)) {
        Some(None) => {
            let reset = VerdictChange::Reset.event(&admin.change_id(last));
            (last, format!("retry: 5000\n\n{reset}"))
        }
        Some(Some(seen)) => (seen, format!("retry: 5000\nid: {}\n\n", admin.change_id(seen))),
        None => (last, format!("retry: 5000\nid: {}\n\n", admin.change_id(last))),
    }
}

async fn follow(
    admin: Arc<Current<Admin>>,
    mut seen: u64,
    first: String,
    parts: mpsc::Sender<Bytes>,
    mut stop: watch::Receiver<bool>,
) {
    let mut part = Bytes::from(first);
    loop {
        if parts.send(part).await.is_err() {
            return;
        }
        let present = admin.get();
        let changed = tokio::select! {
            changed = timeout(BEAT, present.changed(seen)) => changed,
            () = parts.closed() => return,
            () = stopped(&mut stop) => return,
        };
        part = match changed {
            Err(_) => Bytes::from_static(b":\n\n"),
            Ok(None) => return,
            Ok(Some(_)) => {
                tokio::time::sleep(GATHER).await;
                // By the rules that there are now.
                let looks = admin.get();
                let from = seen;
                let changes = tokio::task::spawn_blocking(move || looks.changes_since(from)).await;
                let Ok(Ok((last, events))) = changes else { return };
                seen = last;
                events.into()
            }
        };
    }
}
