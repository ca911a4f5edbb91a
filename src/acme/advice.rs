//! When a CA suggests that its certificate be renewed (RFC 9773): it is asked now and then, since
//! it may come to want one back early. Whatever it does not tell is decided without it.

use std::time::Duration;

use http::{HeaderMap, Request, StatusCode};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use url::Url;

use super::kept::Kept;
use crate::fetch::Fetcher;
use crate::model::Time;
use crate::telemetry;

/// Longest time for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How soon, and how late, it is asked again, whatever it wishes; and where it has no wish.
const AGAIN: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(24 * 60 * 60));
const AGAIN_USUAL: Duration = Duration::from_secs(6 * 60 * 60);
/// The wait after a CA that could not be asked.
const AGAIN_AFTER_FAILURE: Duration = Duration::from_secs(60 * 60);

/// After a renewal for its wish alone, there is no other for so long.
const REST: Duration = Duration::from_secs(60 * 60);

/// What a CA has said of one certificate.
#[derive(Debug, Default)]
pub(super) struct Advice {
    /// Which certificate.
    id: Option<String>,
    /// When it is to be renewed.
    renewal: Option<Time>,
    /// When it is asked again.
    again: Option<Instant>,
    /// When one was last renewed because it said so.
    followed: Option<Instant>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Directory {
    renewal_info: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    suggested_window: Window,
}

#[derive(Deserialize)]
struct Window {
    start: String,
    end: String,
}

impl Advice {
    /// Asks at the next look, whatever was wished.
    pub(super) fn ask_again(&mut self) {
        self.again = None;
    }

    /// How long nobody is asked.
    pub(super) fn left(&self) -> Duration {
        self.again.map_or(Duration::MAX, |again| again.duration_since(Instant::now()))
    }

    /// When a certificate is to be renewed: when the CA suggests it, as long as that is in time,
    /// else after the usual part of its term.
    pub(super) async fn renewal(
        &mut self,
        kept: &Kept,
        fetcher: &Fetcher,
        directory: &Url,
    ) -> Time {
        let Some(id) = &kept.id else { return kept.renewal() };
        if self.id.as_ref() != Some(id) {
            *self = Advice { id: Some(id.clone()), followed: self.followed, ..Advice::default() };
        }
        if self.again.is_none_or(|again| again <= Instant::now()) {
            let (renewal, wait) = match ask(fetcher, directory, id).await {
                Ok(told) => told,
                Err(why) => {
                    telemetry::acme::no_advice(directory, &why);
                    (self.renewal, AGAIN_AFTER_FAILURE)
                }
            };
            if renewal != self.renewal {
                telemetry::acme::advice(directory, renewal);
            }
            (self.renewal, self.again) = (renewal, Some(Instant::now() + wait));
        }
        let Some(renewal) = self.renewal else { return kept.renewal() };
        let is_resting = self.followed.is_some_and(|followed| followed.elapsed() < REST);
        match is_resting && renewal < kept.renewal() {
            true => kept.renewal(),
            false => renewal.min(kept.latest_renewal()),
        }
    }

    /// Which certificate an order replaces, if the CA has to do with that.
    pub(super) fn replaced(&self, kept: Option<&Kept>) -> Option<String> {
        kept?.id.clone().filter(|id| self.renewal.is_some() && self.id.as_ref() == Some(id))
    }

    /// What it suggested was done, before it was due otherwise.
    pub(super) fn is_followed(&mut self) {
        self.followed = Some(Instant::now());
    }
}

/// What the CA suggests, and when it is to be asked again.
async fn ask(
    fetcher: &Fetcher,
    directory: &Url,
    id: &str,
) -> Result<(Option<Time>, Duration), String> {
    let (of, _) = get::<Directory>(fetcher, directory.as_str()).await?;
    let Some(place) = of.renewal_info else { return Ok((None, AGAIN_USUAL)) };
    let url = format!("{}/{id}", place.trim_end_matches('/'));
    let (Info { suggested_window: Window { start, end } }, headers) = get(fetcher, &url).await?;
    let times = Time::parse(&start).zip(Time::parse(&end)).filter(|(start, end)| start <= end);
    let (start, end) = times.ok_or_else(|| format!("it suggests from {start:?} to {end:?}"))?;
    Ok((Some(within(start, end, id)), wait(&headers)))
}

async fn get<T: for<'a> Deserialize<'a>>(
    fetcher: &Fetcher,
    url: &str,
) -> Result<(T, HeaderMap), String> {
    let request = Request::get(url).body(Vec::new()).map_err(|error| error.to_string())?;
    let answer = fetcher.exchange(request, REQUEST_TIMEOUT).await;
    let (head, body) = answer.map_err(|error| error.to_string())?.into_parts();
    if head.status != StatusCode::OK {
        return Err(format!("it answers {}", head.status));
    }
    let read = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    Ok((read, head.headers))
}

/// The same instant for the same certificate, and others for others: so not all hosts come at once.
fn within(start: Time, end: Time, id: &str) -> Time {
    let digest = Sha256::digest(id);
    let part = u32::from_be_bytes(*digest.first_chunk().unwrap_or(&[0; 4]));
    start.plus(end.since(start).mul_f64(f64::from(part) / f64::from(u32::MAX)))
}

fn wait(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let seconds = seconds.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let (least, most) = AGAIN;
    seconds.unwrap_or(AGAIN_USUAL).clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_renewed_all_over_the_window() {
        let (start, end) = (Time::from_seconds(1_000), Time::from_seconds(2_000));
        let all: Vec<Time> = (0..100).map(|n| within(start, end, &n.to_string())).collect();
        assert!(all.iter().all(|at| *at >= start && *at <= end));
        let early = all.iter().filter(|at| at.second() < 1_500).count();
        assert!((30..70).contains(&early), "{early}");
        assert_eq!(within(start, end, "a"), within(start, end, "a"));
        assert_eq!(within(start, start, "a"), start);
    }

    #[test]
    fn a_wish_to_be_asked_is_bounded() {
        let asked = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", value.parse().unwrap());
            wait(&headers).as_secs()
        };
        assert_eq!(["0", "600", "99999999", "soon"].map(asked), [60, 600, 86_400, 21_600]);
    }
}
