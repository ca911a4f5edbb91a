//! The two HTTP listeners: the public one for webhooks, the private one for health and metrics.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use crate::listen::Listen;

/// The `[http]` table.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub listen: Listen,
    /// What providers call.
    pub public_url: Option<Url>,
    /// TLS, if it is ended here.
    pub tls: Option<Tls>,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Largest body, in bytes.
    pub body_max: usize,
    /// Most connections at once.
    pub connections_max: usize,
    /// Longest wait for a request's head, and for the next request on a connection.
    pub header_timeout: Duration,
    /// Longest wait for a body.
    pub body_timeout: Duration,
}

/// The files of a TLS identity, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}
