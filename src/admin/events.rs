//! Showing events, and going on with them as they come.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::suppressions::{parse_address, parse_class, parse_source, parse_time};
use super::{
    Admin, EventQuery, Failure, Line, Replies, Reply, blocking, is_changed, rows, unheard,
};
use crate::model::EventKind;
use crate::store::{EventFilter, EventScan, Step};

/// Looks at once: each takes a thread, and a record of the journal.
static LOOKS: Semaphore = Semaphore::const_new(2);

/// Bytes of lines after which a look ends: a client that does not read has no more of them waiting.
const LOOK_BYTES: usize = 64 << 10;
/// Elements after which a look ends, whatever it has found: others wait for their turn.
const LOOK_ELEMENTS: usize = 20_000;

/// Most events that are kept until the last of them is known.
const LIMIT_MAX: u32 = 10_000;

/// What a look has found.
struct Found {
    scan: EventScan,
    lines: Vec<Line>,
    /// There is more already.
    more: bool,
}

impl Admin {
    pub(super) async fn events(
        self: &Arc<Self>,
        query: EventQuery,
        follow: bool,
        to: &Replies,
    ) -> Result<(), Failure> {
        let limit = query.limit.map(|limit| limit.min(LIMIT_MAX) as usize);
        let mut last = limit.map(|_| VecDeque::new());
        let filter = parse(query)?;
        self.check_sources(filter.source.as_slice())?;
        let mut progress = self.ingest.progress();
        let reader = self.reader.clone();
        let mut scan = blocking(move || Ok(reader.events(filter)?)).await?;
        loop {
            // Marked before the look: what comes during it wakes us again.
            progress.mark_unchanged();
            let Found { scan: after, lines, more } = {
                // It is never closed.
                let _turn = LOOKS.acquire().await;
                blocking(move || look(scan)).await?
            };
            scan = after;
            match &mut last {
                Some(kept) => {
                    kept.extend(lines);
                    let excess = kept.len().saturating_sub(limit.unwrap_or(kept.len()));
                    kept.drain(..excess);
                }
                None => send(lines, to).await?,
            }
            if more && !to.is_closed() {
                continue;
            }
            send(last.take().unwrap_or_default(), to).await?;
            if !follow || !is_changed(&mut progress, to).await? {
                return Ok(());
            }
        }
    }
}

async fn send(lines: impl IntoIterator<Item = Line>, to: &Replies) -> Result<(), Failure> {
    for line in lines {
        to.send_line(line).await.map_err(unheard)?;
    }
    Ok(())
}

/// Finds events, as far as there are any now.
fn look(mut scan: EventScan) -> Result<Found, Failure> {
    let (mut lines, mut bytes, mut passed) = (Vec::new(), 0, 0);
    while bytes < LOOK_BYTES && passed < LOOK_ELEMENTS {
        match scan.step()? {
            Step::Told(told) => {
                let line = Line::of(&Reply::Row { row: rows::event(&told) });
                bytes += line.text.len();
                lines.push(line);
            }
            Step::Passed(elements) => passed += elements,
            Step::End => return Ok(Found { scan, lines, more: false }),
        }
    }
    Ok(Found { scan, lines, more: true })
}

pub(super) fn parse(query: EventQuery) -> Result<EventFilter, Failure> {
    let kind = |text: &str| {
        let known = EventKind::ALL.map(EventKind::as_str).join(" ");
        let error = || Failure::usage(format!("{text:?} is no kind of event; they are: {known}"));
        EventKind::parse(text).ok_or_else(error)
    };
    Ok(EventFilter {
        address: query.address.as_deref().map(parse_address).transpose()?,
        message_id: query.message_id,
        kind: query.kind.as_deref().map(kind).transpose()?,
        class: query.class.as_deref().map(parse_class).transpose()?,
        source: query.source.as_deref().map(parse_source).transpose()?,
        since: query.since.as_deref().map(parse_time).transpose()?,
        until: query.until.as_deref().map(parse_time).transpose()?,
        or_told: false,
        judged: false,
    })
}
