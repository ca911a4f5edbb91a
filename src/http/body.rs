//! Taking a body, within the limits of its size, of its time, and of what all bodies may hold.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};

use crate::room::{NoRoom, Share};

/// The least and the most that a piece of a body is. All but the first pieces of a body are alike,
/// so that what one gives back is of use to the next.
const PIECE_MIN: usize = 4 << 10;
const PIECE_MAX: usize = 64 << 10;

/// The whole body. What it takes of `share` never runs ahead of what has come, whatever was
/// announced, by more than a piece.
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
    if body.size_hint().lower() > max as u64 {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let largest = announced.unwrap_or(max).min(max);
    let reading = async {
        let (mut pieces, mut length) = (Vec::new(), 0);
        loop {
            let frame = tokio::select! {
                biased;
                frame = body.frame() => frame,
                () = share.unwanted() => return Err(StatusCode::SERVICE_UNAVAILABLE),
            };
            let Some(frame) = frame else { return Ok(join(pieces, length)) };
            let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
            let Ok(data) = frame.into_data() else { continue };
            if length + data.len() > max {
                return Err(StatusCode::PAYLOAD_TOO_LARGE);
            }
            add(&mut pieces, &data, (length, largest), share).await?;
            length += data.len();
        }
    };
    let whole = tokio::time::timeout(limit, reading).await;
    whole.map_err(|_| StatusCode::REQUEST_TIMEOUT)?
}

/// Adds what has come, in new pieces where the last is full.
async fn add(
    pieces: &mut Vec<Vec<u8>>,
    mut data: &[u8],
    (mut length, largest): (usize, usize),
    share: &mut Share,
) -> Result<(), StatusCode> {
    while !data.is_empty() {
        let room = pieces.last().map_or(0, |piece| piece.capacity() - piece.len());
        if room == 0 {
            let left = largest.saturating_sub(length).max(1);
            let size = length.clamp(PIECE_MIN, PIECE_MAX).min(left);
            share.demand(size).await.map_err(full)?;
            pieces.push(Vec::with_capacity(size));
        }
        if let Some(piece) = pieces.last_mut() {
            let fits = (piece.capacity() - piece.len()).min(data.len());
            let (now, later) = data.split_at(fits);
            piece.extend_from_slice(now);
            (data, length) = (later, length + fits);
        }
    }
    Ok(())
}

/// The body in one piece. Each of its pieces is freed as soon as it is copied.
fn join(mut pieces: Vec<Vec<u8>>, length: usize) -> Vec<u8> {
    if pieces.len() < 2 {
        return pieces.pop().unwrap_or_default();
    }
    let mut whole = Vec::with_capacity(length);
    for piece in pieces {
        whole.extend_from_slice(&piece);
    }
    whole
}

fn full(_: NoRoom) -> StatusCode {
    StatusCode::SERVICE_UNAVAILABLE
}
