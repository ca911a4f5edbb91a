//! One POST to our own listener.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{FetchError, READ_TIMEOUT, builder, classify, client_error, read, sensitive};
use crate::listen::Listen;
use crate::secret::Secret;

/// Largest body of our own listener's answer, in bytes.
const LOCAL_BODY_MAX: usize = 64 << 10;

/// Our own listener's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalAnswer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Posts to our own public listener, bound at `target`. With `tls` its certificate is taken
/// unseen: it names the public host, and the target is this very process.
///
/// # Errors
/// When the listener cannot be reached, or does not answer in time.
pub async fn post_local(
    target: &Listen,
    tls: bool,
    path: &str,
    headers: &[(String, Secret)],
    body: Vec<u8>,
) -> Result<LocalAnswer, FetchError> {
    let mut builder = builder().no_proxy().tls_danger_accept_invalid_certs(true);
    let authority = match target {
        Listen::Tcp(address) => reachable(*address).to_string(),
        Listen::Unix(socket) => {
            builder = builder.unix_socket(socket.as_path());
            "localhost".to_owned()
        }
        Listen::Systemd => {
            let error = "a socket passed by systemd has no address that is known here";
            return Err(FetchError::Client(error.to_owned()));
        }
    };
    let client = builder.build().map_err(|error| client_error(&error))?;
    let scheme = if tls { "https" } else { "http" };
    let url = format!("{scheme}://{authority}{path}");
    let mut call = client.post(url).timeout(READ_TIMEOUT).body(body);
    for (name, value) in headers {
        call = call.header(name, sensitive(name, value)?);
    }
    let response = call.send().await.map_err(|error| classify(&error))?;
    let status = response.status().as_u16();
    let body = read(response, LOCAL_BODY_MAX).await?;
    Ok(LocalAnswer { status, body })
}

/// Where to connect for a listener on that address: one on every address is reached by loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
