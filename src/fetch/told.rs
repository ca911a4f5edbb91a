//! Requests that are made for their effect, and whose answer says only whether it was had.

use std::time::Duration;

use super::waits::retry_after;
use super::{FetchError, Fetcher, REFUSAL_BODY_MAX, read};
use crate::clock;
use crate::provider::PageRequest;

impl Fetcher {
    /// Makes one request for its effect: gives the answer's status, and how long it asks us to
    /// wait. Of the body no more than a little is read.
    ///
    /// # Errors
    /// When there is no whole answer, or a redirect.
    pub async fn told(
        &self,
        request: &PageRequest,
        total: Duration,
    ) -> Result<(u16, Option<Duration>), FetchError> {
        let response = self.ask(request, total).await?;
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers(), status, clock::now());
        // Read for the connection, so that it can be used again.
        let _ = read(response, REFUSAL_BODY_MAX).await;
        Ok((status, retry_after))
    }
}
