//! The connection to the servers, and the stream on them.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType, Stream};
use async_nats::jetstream::{self, Context, ErrorCode};
use async_nats::{Client, ConnectOptions, Event};

use super::{Fleet, Login, PAUSE};
use crate::units::show_duration;
use crate::{clock, telemetry};

/// How often the servers are asked whether they are there. Three answers must be missed.
const PING_EVERY: Duration = Duration::from_secs(2);
/// How long a connection, and an answer, may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Most commands that wait in the client. More would only wait longer.
const WAITING_MAX: usize = 256;
/// What comes outside the stream may wait for us so long.
const MESSAGES_MAX: usize = 4_096;

/// What the seed of a user's NKEY begins with.
const SEED: &str = "SU";

/// How a stream was made is told of beside what it does.
const SHAPE: &str = "stream's settings";

/// How long the stream keeps what nobody has asked for any more.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Most bytes that the stream keeps on each server; less where a server has no room for it.
const STREAM_BYTES: [i64; 4] = [4 << 30, 1 << 30, 256 << 20, 64 << 20];
/// Largest message.
pub(super) const MESSAGE_BYTES_MAX: i32 = 1_000_000;
/// How long the servers remember ids.
const IDS_KEPT: Duration = Duration::from_secs(120);

/// How long a host waits before it looks whether servers that are too old are new by now.
const OLD_PAUSE: Duration = Duration::from_secs(10);

/// The oldest servers that do what is needed, and the oldest that are recommended.
const NEEDED: (i64, i64, i64) = (2, 10, 23);
const SUPPORTED: (i64, i64, i64) = (2, 12, 0);

/// Connects, as soon as a server is there that can be used. What the settings name is read again at
/// each try.
pub(super) async fn connect(fleet: &Arc<Fleet>) -> Client {
    loop {
        match try_to_connect(fleet).await {
            Ok(client) => {
                super::connected(&client).await;
                let version = client.server_info().version;
                fleet.sight().server = version.clone();
                let (major, minor, patch) = NEEDED;
                if client.is_server_compatible(major, minor, patch) {
                    let (major, minor, patch) = SUPPORTED;
                    if !client.is_server_compatible(major, minor, patch) {
                        telemetry::fleet::old_server(&version);
                    }
                    fleet.sight().works("servers");
                    return client;
                }
                let hint = "suppressd needs 2.12 or later, and works with 2.10.23";
                let problem = format!("the servers are nats-server {version}: {hint}");
                fleet.sight().fails("servers", problem);
            }
            Err(problem) => {
                fleet.sight().fails("servers", problem);
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        }
        tokio::time::sleep(OLD_PAUSE).await;
    }
}

async fn try_to_connect(fleet: &Arc<Fleet>) -> Result<Client, String> {
    let settings = &fleet.settings;
    // Two providers are linked; without a choice the client could not make one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let told = Arc::downgrade(fleet);
    let mut options = ConnectOptions::new()
        .name(format!("suppressd {}", settings.host))
        .ping_interval(PING_EVERY)
        .connection_timeout(TIMEOUT)
        .request_timeout(Some(TIMEOUT))
        .client_capacity(WAITING_MAX)
        .subscription_capacity(MESSAGES_MAX)
        .custom_inbox_prefix(format!("_INBOX_{}", settings.host))
        .event_callback(move |event| {
            let fleet = told.upgrade();
            async move {
                if let Some(fleet) = fleet {
                    fleet.note_event(&event);
                }
            }
        });
    options = match &settings.login {
        Login::None => options,
        Login::Password { user, password } => {
            let password = password.reveal_text().unwrap_or_default().to_owned();
            options.user_and_password(user.clone(), password)
        }
        Login::Credentials(text) => {
            let text = text.reveal_text().unwrap_or_default().trim();
            match text.starts_with(SEED) {
                true => options.nkey(text.to_owned()),
                false => {
                    options.credentials(text).map_err(|_| "fleet.credentials are no .creds file")?
                }
            }
        }
    };
    if let Some(file) = &settings.ca {
        options = options.add_root_certificates(file.clone());
    }
    if let Some((certificate, key)) = &settings.certificate {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    let connected = options.connect(settings.servers.clone()).await;
    connected.map_err(|error| format!("{}: {}", settings.servers.join(", "), causes(&error)))
}

/// An error with all that it came of: the client's own words say only that it was one of I/O.
fn causes(error: &dyn Error) -> String {
    let (mut said, mut next) = (error.to_string(), error.source());
    while let Some(cause) = next {
        let cause_said = cause.to_string();
        if !said.contains(&cause_said) {
            said = format!("{said}: {cause_said}");
        }
        next = cause.source();
    }
    said
}

impl Fleet {
    fn note_event(&self, event: &Event) {
        telemetry::fleet::event(event);
        let mut sight = self.sight();
        match event {
            Event::Connected => {
                sight.cut_off = None;
                sight.works("client");
                sight.works("server");
            }
            Event::Disconnected | Event::Closed => {
                sight.cut_off.get_or_insert_with(clock::now);
            }
            Event::ServerError(error) => sight.fails("server", error.to_string()),
            Event::ClientError(error) => sight.fails("client", error.to_string()),
            _ => {}
        }
        telemetry::fleet::connected(sight.cut_off.is_none());
    }

    /// The stream, made if there is none.
    pub(super) async fn stream(&self, context: &Context) -> Result<Stream, String> {
        let name = &self.settings.stream;
        match context.get_stream(name).await {
            Ok(stream) => {
                self.check_stream(&stream.cached_info().config);
                return Ok(stream);
            }
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {}
                _ => return Err(error.to_string()),
            },
        }
        let mut problem = String::new();
        for bytes in STREAM_BYTES {
            match context.create_stream(self.config(bytes)).await {
                Ok(stream) => {
                    telemetry::fleet::stream_made(name, bytes);
                    return Ok(stream);
                }
                Err(error) => {
                    problem = format!("cannot make the stream {name}: {error}");
                    if !matches!(error.kind(), CreateStreamErrorKind::JetStream(_)) {
                        break;
                    }
                }
            }
        }
        Err(problem)
    }

    fn config(&self, max_bytes: i64) -> Config {
        let settings = &self.settings;
        Config {
            name: settings.stream.clone(),
            subjects: vec![self.subject("facts", "*")],
            storage: StorageType::File,
            num_replicas: settings.replicas,
            max_age: KEPT,
            max_bytes,
            max_message_size: MESSAGE_BYTES_MAX,
            duplicate_window: IDS_KEPT,
            discard: DiscardPolicy::Old,
            allow_direct: true,
            deny_delete: true,
            deny_purge: true,
            ..Config::default()
        }
    }

    /// Tells what of a stream that was there is not as it would have been made.
    fn check_stream(&self, config: &Config) {
        let ours = self.config(config.max_bytes);
        let problem = if config.subjects != ours.subjects {
            Some(format!("it takes the subjects {:?}, not {:?}", config.subjects, ours.subjects))
        } else if config.num_replicas != ours.num_replicas {
            let (has, wanted) = (config.num_replicas, ours.num_replicas);
            Some(format!("it is kept on {has} servers; fleet.replicas says {wanted}"))
        } else if config.max_message_size >= 0 && config.max_message_size < MESSAGE_BYTES_MAX {
            Some(format!("its messages are at most {} bytes", config.max_message_size))
        } else if config.storage != ours.storage {
            Some("it is kept in memory".to_owned())
        } else if !config.max_age.is_zero() && config.max_age < ours.max_age {
            Some(format!("it keeps what is told for {} only", show_duration(config.max_age)))
        } else {
            None
        };
        let name = &self.settings.stream;
        let hint = "mend it with `nats stream edit`, or delete it: it is made again";
        match problem {
            Some(problem) => self.sight().fails(SHAPE, format!("{name}: {problem}: {hint}")),
            None => self.sight().works(SHAPE),
        }
    }
}

/// What the stream is used through.
pub(super) fn context(client: &Client) -> Context {
    let timeout = TIMEOUT;
    jetstream::ContextBuilder::new().timeout(timeout).ack_timeout(timeout).build(client.clone())
}

/// Whether the client is connected now.
pub(super) fn is_connected(client: &Client) -> bool {
    client.connection_state() == State::Connected
}
