//! Requests of a protocol that has headers and methods of its own.

use std::time::Duration;

use http::{Request, Response};
use url::Url;

use super::{FetchError, Fetcher, read};

/// Largest body of an answer, in bytes. It holds an object, or a chain of certificates.
const BODY_MAX: usize = 1 << 20;

impl Fetcher {
    /// Makes one request as it is, all of it within `total`.
    ///
    /// # Errors
    /// When there is no whole answer, or a redirect. An answer of any other status is not an error.
    pub async fn exchange(
        &self,
        request: Request<Vec<u8>>,
        total: Duration,
    ) -> Result<Response<Vec<u8>>, FetchError> {
        let (head, body) = request.into_parts();
        let url = head.uri.to_string().parse::<Url>();
        let url = url.map_err(|error| FetchError::Unsendable(error.to_string()))?;
        self.admit(&url)?;
        let call = self.client_for(&url).request(head.method, url.clone()).headers(head.headers);
        let call = call.timeout(total).body(body);
        let answer = self.answer(call.send().await, &url)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut response = Response::new(read(answer, BODY_MAX).await?);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}
