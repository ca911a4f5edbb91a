//! Showing events, and going on with them as they come.

use std::sync::Arc;

use super::suppressions::{parse_address, parse_class, parse_source, parse_time};
use super::{Admin, EventQuery, Failure, Replies, Reply, blocking, rows, unheard};
use crate::model::EventKind;
use crate::store::{EventFilter, EventScan};

impl Admin {
    pub(super) async fn events(
        self: &Arc<Self>,
        query: EventQuery,
        follow: bool,
        to: &Replies,
    ) -> Result<(), Failure> {
        let filter = parse(query)?;
        self.check_sources(filter.source.as_slice())?;
        let mut progress = self.ingest.progress();
        let reader = self.reader.clone();
        let mut scan = blocking(move || Ok(reader.events(filter)?)).await?;
        loop {
            // Marked before the look: what comes during it wakes us again.
            progress.mark_unchanged();
            let heard = to.clone();
            scan = blocking(move || show(scan, &heard)).await?;
            if !follow {
                return Ok(());
            }
            tokio::select! {
                changed = progress.changed() => changed.map_err(|_| {
                    Failure::failed("suppressd is stopping")
                })?,
                () = to.closed() => return Ok(()),
            }
        }
    }
}

/// Sends all the events that there are now.
fn show(mut scan: EventScan, to: &Replies) -> Result<EventScan, Failure> {
    while let Some(told) = scan.advance()? {
        to.blocking_send(Reply::Row { row: rows::event(&told) }).map_err(unheard)?;
    }
    Ok(scan)
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
        judged: false,
    })
}
