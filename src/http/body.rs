//! Taking a body, within the limits of its size, of its time, and of what all bodies may hold.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};

use crate::room::Share;

/// The first bytes that a body takes; most are smaller.
const FIRST: usize = 4 << 10;

/// The whole body. It holds what it takes of `share`, which never runs ahead of what has come,
/// whatever was announced, by more than half.
///
/// # Errors
/// The status to refuse it with.
pub(super) async fn collect(
    mut body: Incoming,
    max: usize,
    limit: Duration,
    share: &mut Share,
) -> Result<Vec<u8>, StatusCode> {
    let announced = body.size_hint().exact().and_then(|size| usize::try_from(size).ok());
    let largest = announced.unwrap_or(max).min(max);
    let reading = async {
        let mut whole = Vec::new();
        loop {
            let frame = tokio::select! {
                biased;
                frame = body.frame() => frame,
                () = share.unwanted() => return Err(StatusCode::SERVICE_UNAVAILABLE),
            };
            let Some(frame) = frame else { return Ok(whole) };
            let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
            let Ok(data) = frame.into_data() else { continue };
            let needed = whole.len() + data.len();
            if needed > max {
                return Err(StatusCode::PAYLOAD_TOO_LARGE);
            }
            if needed > whole.capacity() {
                let size = (whole.capacity() * 3 / 2).max(FIRST).min(largest).max(needed);
                let full = |_| StatusCode::SERVICE_UNAVAILABLE;
                share.demand(size - share.bytes()).await.map_err(full)?;
                whole.reserve_exact(size - whole.len());
            }
            whole.extend_from_slice(&data);
        }
    };
    let whole = tokio::time::timeout(limit, reading).await;
    whole.map_err(|_| StatusCode::REQUEST_TIMEOUT)?
}
