//! The suppression list of an account in a region, by the API of SES version 2.
//!
//! There is no list of events. Source: Amazon SES API v2 Reference, `ListSuppressedDestinations`.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::AmazonSes;
use super::sigv4::{Signer, encode};
use crate::model::{Element, Event, Reason};
use crate::provider::wire::{self, Text, Told, When};
use crate::provider::{
    Feed, Key, Page, PageError, PageRequest, Provider, Query, Rate, SettingError, Stamp, Unreadable,
};

pub(super) const POLL_KEYS: &[Key] = &[
    Key::text("region"),
    Key::secret("access_key"),
    Key::secret("secret_key"),
    Key::optional_secret("session_token"),
    Key::optional_text("base_url"),
];

pub(super) const FEEDS: &[Feed] =
    &[Feed::suppressions("suppressions").overlap(Duration::from_secs(3_600))];

/// No number is documented; more than this is answered with 429 at times.
pub(super) const RATE: Rate = Rate { requests: 1, per: Duration::from_secs(1) };

/// The service's name in signatures.
const SERVICE: &str = "ses";

/// Most rows of a page.
const PAGE_ROWS: &str = "1000";

/// Why an address is on the list.
const REASONS: &[(&str, Reason)] =
    &[("BOUNCE", Reason::HardBounce), ("COMPLAINT", Reason::Complaint)];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WirePage {
    suppressed_destination_summaries: Vec<Box<RawValue>>,
    next_token: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Summary {
    email_address: Told,
    reason: Text,
    last_update_time: When,
}

pub(super) fn page_request(query: &Query<'_>) -> Result<PageRequest, SettingError> {
    let settings = query.settings;
    let region = settings.text("region").unwrap_or("");
    if !is_region(region) {
        let hint = "name the region that you send from, as in \"eu-west-1\"";
        return Err(settings.problem("region", "is no region of AWS", hint));
    }
    let end = if region.starts_with("cn-") { "com.cn" } else { "com" };
    let base = format!("https://email.{region}.amazonaws.{end}");
    let mut url = query.api(&base, "v2/email/suppression/addresses")?;
    let mut pairs = vec![
        ("EndDate", query.window.until.ceil_second().to_string()),
        ("PageSize", PAGE_ROWS.to_owned()),
        ("StartDate", query.window.since.floor_second().to_string()),
    ];
    pairs.extend(query.next.map(|next| ("NextToken", next.to_owned())));
    let pair = |(name, value): &(&str, String)| format!("{name}={}", encode(value));
    url.set_query(Some(&pairs.iter().map(pair).collect::<Vec<String>>().join("&")));
    sign(query, PageRequest::get(url))
}

/// A request to this API with what authenticates it.
pub(in crate::provider) fn sign(
    query: &Query<'_>,
    request: PageRequest,
) -> Result<PageRequest, SettingError> {
    let signer = Signer {
        access_key: query.secret("access_key")?,
        secret_key: query.secret("secret_key")?,
        session_token: query.settings.secrets("session_token").first(),
        region: query.settings.text("region").unwrap_or(""),
        service: SERVICE,
        now: query.now,
    };
    Ok(signer.sign(request))
}

/// Whether a text can be the name of a region: it becomes a part of the host's name.
fn is_region(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    text.split('-').count() >= 3 && text.split('-').all(part)
}

pub(super) fn page(query: &Query<'_>, body: &[u8]) -> Result<Page, PageError> {
    let page: WirePage = wire::page(body, query.feed)?;
    let rows = wire::rows(&page.suppressed_destination_summaries);
    Ok(Page::new(rows, wire::filled(page.next_token)))
}

pub(super) fn read(element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
    let row: Summary = wire::object(&element.body)
        .map_err(|error| Unreadable(format!("not an entry of the suppression list: {error}")))?;
    let address = wire::listed(row.email_address.need("EmailAddress")?)?;
    // Seconds since the epoch, which AWS writes with an exponent at times.
    let at = row.last_update_time.at("LastUpdateTime", stamp.received_at)?;
    let word = row.reason.clone().unwrap_or_default();
    let reason = REASONS.iter().find(|(name, _)| *name == word).map(|(_, reason)| *reason);
    let listed = stamp.listed(AmazonSes.name(), reason, address, Some((&at.to_string(), at)));
    Ok(vec![Event { provider_kind: word, ..listed }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Time;

    #[test]
    fn times_are_read_in_every_form() {
        let now = Time::from_seconds(1_781_600_000);
        for (text, shown) in [
            ("1781519531", "2026-06-15T10:32:11Z"),
            ("1781519531.0", "2026-06-15T10:32:11.0Z"),
            ("1781519531.126", "2026-06-15T10:32:11.126Z"),
            ("1.781519531126E9", "2026-06-15T10:32:11.126Z"),
        ] {
            let when: When = wire::parse(text).unwrap();
            let read = when.at("LastUpdateTime", now).map(|time| time.to_string());
            assert_eq!(read.as_deref(), Ok(shown), "{text}");
        }
        for bad in ["null", "\"soon\"", "1e99", "-1.0"] {
            let when: When = wire::parse(bad).unwrap();
            assert!(when.at("LastUpdateTime", now).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_region_is_no_other_part_of_a_url() {
        for good in ["eu-west-1", "us-gov-west-1", "cn-north-1", "ap-southeast-2"] {
            assert!(is_region(good), "{good}");
        }
        for bad in ["", "eu", "eu-west", "EU-WEST-1", "a.test/eu-west-1", "eu--1", "eu-west-1:1"] {
            assert!(!is_region(bad), "{bad}");
        }
    }
}
