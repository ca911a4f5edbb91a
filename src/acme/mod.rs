//! The certificate of the public listener, had from a CA by ACME (RFC 8555) and renewed in time.
//!
//! A task orders it, and puts it into a file that the listener reads as it would any other. A CA
//! asks by TLS-ALPN-01 (RFC 8737) whether the names lead here. Nothing waits for any of it.

mod advice;
mod challenges;
mod kept;
mod order;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use url::Url;

pub use challenges::{Challenges, PROTOCOL};

use crate::clock;
use crate::current::Current;
use crate::fetch::{FetchError, Fetcher, ProxyUrl};
use crate::model::Time;
use crate::stop::stopped;
use crate::telemetry;
use advice::Advice;
use kept::{Folder, Kept};
use order::Failure;

/// Longest time for an order, from the account to the certificate.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The first and the longest wait after a CA that could not be asked. Each is twice the one before.
const UNREACHED: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60 * 60));
/// The same after one that refused: Let's Encrypt takes five refused proofs of a name in an hour.
const REFUSED: (Duration, Duration) =
    (Duration::from_secs(5 * 60), Duration::from_secs(6 * 60 * 60));

/// Longest time without a look at the clock and the file, while nothing is due.
const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);

/// The `[http.tls.acme]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The names that the certificate is for, in lower case and A-labels. Not empty.
    pub domains: Vec<String>,
    /// Whom the CA may write to: addresses.
    pub contact: Vec<String>,
    /// Where the CA tells how it is asked.
    pub directory: Url,
    /// The PEM file of those alone that the directory is believed by. `None`: the system's.
    pub ca: Option<PathBuf>,
}

impl Settings {
    /// Who asks the CA.
    ///
    /// # Errors
    /// When the authority's file cannot be used.
    pub fn fetcher(&self, proxy: Option<&ProxyUrl>) -> Result<Fetcher, FetchError> {
        let Some(ca) = &self.ca else { return Fetcher::through(proxy) };
        let unusable = |why: String| FetchError::Client(format!("{}: {why}", ca.display()));
        let pem = kept::read(ca).map_err(|error| unusable(error.to_string()))?;
        Fetcher::trusting(proxy, &pem).map_err(|error| unusable(error.to_string()))
    }
}

/// Where the certificate of a state directory lies, with its key in the same file.
pub fn certificate(state: &Path) -> PathBuf {
    Folder::of(state).certificate()
}

/// What is wrong with an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Why there is no newer certificate.
    pub why: String,
    /// When the next try is.
    pub next: Time,
    /// Whether the certificate that there is, if any, is not the one that is wanted.
    pub is_urgent: bool,
}

/// Keeps the certificate that the settings ask for.
pub struct Keeper {
    settings: Settings,
    folder: Folder,
    challenges: Arc<Challenges>,
    fetcher: Current<Fetcher>,
    trouble: Current<Option<Trouble>>,
    woken: Notify,
}

impl Keeper {
    /// One that does nothing yet.
    pub fn new(settings: Settings, state: &Path, fetcher: Fetcher) -> Arc<Keeper> {
        Arc::new(Keeper {
            settings,
            folder: Folder::of(state),
            challenges: Arc::default(),
            fetcher: Current::new(fetcher),
            trouble: Current::new(None),
            woken: Notify::new(),
        })
    }

    /// Whether it does what these settings ask for.
    pub fn keeps(&self, settings: &Settings) -> bool {
        self.settings == *settings
    }

    /// What answers a CA that asks.
    pub fn challenges(&self) -> Arc<Challenges> {
        Arc::clone(&self.challenges)
    }

    /// What is wrong with the last order, if something is.
    pub fn trouble(&self) -> Option<Trouble> {
        (*self.trouble.get()).clone()
    }

    /// Asks in that way from now on, and at once if it waits for its next try.
    pub fn ask_by(&self, fetcher: Fetcher) {
        self.fetcher.set(fetcher);
        self.woken.notify_one();
    }

    /// Orders whenever it is due, until the stop.
    pub async fn keep(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let (mut failures, mut advice) = (0, Advice::default());
        loop {
            let wait = tokio::select! {
                wait = self.look(&mut failures, &mut advice) => wait,
                () = stopped(&mut stop) => return,
            };
            // A pause is one of so long, whatever the clock is set to meanwhile.
            let wait = if failures > 0 { wait } else { wait.min(LOOK_EVERY) };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.woken.notified() => {
                    failures = 0;
                    advice.ask_again();
                }
                () = stopped(&mut stop) => return,
            }
        }
    }

    /// Orders if it is due. Gives how long nothing else is.
    async fn look(&self, failures: &mut u32, advice: &mut Advice) -> Duration {
        let folder = self.folder.clone();
        let kept = spawn_blocking(move || folder.load()).await.ok().flatten();
        let kept = kept.filter(|kept| kept.fits(&self.settings));
        let renewal = match &kept {
            Some(kept) => Some(self.renewal(kept, advice).await),
            None => None,
        };
        let now = clock::now();
        if let Some(renewal) = renewal.filter(|renewal| *renewal > now) {
            self.trouble.set(None);
            return renewal.since(now).min(advice.left());
        }
        let replaced = advice.replaced(kept.as_ref());
        let is_early = kept.is_some_and(|kept| kept.renewal() > now);
        let (names, directory) = (self.settings.domains.join(", "), &self.settings.directory);
        telemetry::acme::ordering(&names, directory);
        let ordered = timeout(ORDER_TIMEOUT, self.order(replaced)).await;
        // Whatever has become of it, nobody asks any more.
        self.challenges.clear();
        match ordered.unwrap_or_else(|_| Err(Failure::unreached("the order took too long"))) {
            Ok(kept) => {
                *failures = 0;
                self.trouble.set(None);
                if is_early {
                    advice.is_followed();
                }
                let renewal = self.renewal(&kept, advice).await;
                telemetry::acme::issued(&names, kept.end, renewal);
                // By a clock that is ahead it would be ordered again without a pause.
                renewal.since(clock::now()).max(kept.term() / 3).min(advice.left())
            }
            Err(Failure { why, is_refusal }) => {
                let wait = pause(if is_refusal { REFUSED } else { UNREACHED }, *failures);
                *failures = failures.saturating_add(1);
                let next = clock::now().plus(wait);
                telemetry::acme::failed(&names, directory, &why, next);
                let why = format!("{directory}: {why}");
                self.trouble.set(Some(Trouble { why, next, is_urgent: renewal.is_none() }));
                wait
            }
        }
    }

    async fn renewal(&self, kept: &Kept, advice: &mut Advice) -> Time {
        let fetcher = (*self.fetcher.get()).clone();
        advice.renewal(kept, &fetcher, &self.settings.directory).await
    }

    /// Orders in the place of a certificate that the CA knows, and keeps what comes.
    async fn order(&self, replaced: Option<String>) -> Result<Kept, Failure> {
        let fetcher = (*self.fetcher.get()).clone();
        let asking = order::Asking { settings: &self.settings, folder: &self.folder, fetcher };
        let pem = asking.certificate(&self.challenges, replaced.as_deref()).await?;
        let (folder, settings) = (self.folder.clone(), self.settings.clone());
        let stored = spawn_blocking(move || folder.store(&settings, &pem)).await;
        let kept = stored.map_err(std::io::Error::other).and_then(|stored| stored);
        // A CA counts the certificates that it has issued: the next one is not for soon.
        kept.map_err(|error| Failure::refused(format!("what it issued cannot be kept: {error}")))
    }
}

/// The wait after so many failures before this one.
fn pause((first, longest): (Duration, Duration), failures: u32) -> Duration {
    first.saturating_mul(1 << failures.min(16)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_that_refuses_is_asked_less_often() {
        let seconds = |bounds, failures| pause(bounds, failures).as_secs();
        assert_eq!([0, 1, 8, 9, 40].map(|n| seconds(UNREACHED, n)), [10, 20, 2_560, 3_600, 3_600]);
        assert_eq!(
            [0, 1, 6, 7, 40].map(|n| seconds(REFUSED, n)),
            [300, 600, 19_200, 21_600, 21_600]
        );
    }
}
