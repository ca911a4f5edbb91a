//! A CA of a test's own that speaks ACME: Debian's `pebble`, which is Let's Encrypt's test server.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::child::{Guarded, output};
use super::wait_for;

/// How long a server may take to start, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why there is none, if it cannot be run.
pub(crate) fn missing() -> Option<String> {
    let works = |program| Command::new(program).arg("-help").output().is_ok();
    let there = works("pebble") && works("pebble-challtestsrv") && works("openssl");
    (!there).then(|| "pebble and openssl are not installed: run .ci/run".to_owned())
}

/// The CA. It asks every name at one address: a port of this host.
pub(crate) struct Pebble {
    dir: tempfile::TempDir,
    port: u16,
    management: u16,
    names: u16,
    /// Where it asks.
    pub(crate) asked: u16,
    /// Those that serve, while it runs.
    children: Vec<Guarded>,
}

impl Pebble {
    /// One that does not run yet, with a certificate of its own.
    pub(crate) fn new() -> Pebble {
        let dir = tempfile::tempdir().unwrap();
        let [port, management, names, asked] = free_ports();
        let pebble = Pebble { dir, port, management, names, asked, children: Vec::new() };
        let file = |name: &str| pebble.dir.path().join(name).display().to_string();
        let [ca, ca_key, certificate, key] =
            ["ca.pem", "ca.key", "server.pem", "server.key"].map(file);
        let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
        openssl(&["req", "-x509", "-subj", "/CN=authority", "-keyout", &ca_key, "-out", &ca], &new);
        let signed = ["-CA", &ca, "-CAkey", &ca_key, "-addext", "subjectAltName=DNS:localhost"];
        let leaf = ["-addext", "basicConstraints=CA:FALSE", "-subj", "/CN=localhost"];
        let out = ["-keyout", &key, "-out", &certificate];
        openssl(&[&["req", "-x509"], &signed[..], &leaf, &out].concat(), &new);
        pebble
    }

    /// The root that vouches for its directory.
    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The table `[http.tls.acme]`, for these names.
    pub(crate) fn table(&self, domains: &str) -> String {
        self.table_at(domains, self.port)
    }

    /// The same with the directory at another port.
    pub(crate) fn table_at(&self, domains: &str, port: u16) -> String {
        format!(
            "[http.tls.acme]\ndomains = {domains}\ncontact = \"postmaster@example.test\"\n\
             directory = \"https://localhost:{port}/dir\"\nca = {:?}\n",
            self.ca()
        )
    }

    /// Starts it anew: it has forgotten all. It asks at `port`, and certificates are good for so
    /// many seconds.
    pub(crate) fn start(&mut self, port: u16, seconds: u64) {
        self.stop();
        let file = |name: &str| self.dir.path().join(name);
        let config = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{}", self.port),
            "managementListenAddress": format!("127.0.0.1:{}", self.management),
            "certificate": file("server.pem"),
            "privateKey": file("server.key"),
            "httpPort": 1,
            "tlsPort": port,
            "certificateValidityPeriod": seconds,
        }});
        std::fs::write(file("pebble.json"), config.to_string()).unwrap();
        let names = format!("127.0.0.1:{}", self.names);
        let mut resolver = Command::new("pebble-challtestsrv");
        resolver.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dns01", &names]);
        resolver.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-management", ""]);
        let mut server = Command::new("pebble");
        server.arg("-config").arg(file("pebble.json")).args(["-strict", "-dnsserver", &names]);
        server.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_AUTHZREUSE", "0");
        // A nonce that is refused now and then is part of the protocol.
        server.env("PEBBLE_WFE_NONCEREJECT", "10");
        self.children = [resolver, server].into_iter().map(run).collect();
        for port in [self.names, self.management, self.port] {
            let listens = || TcpStream::connect(("127.0.0.1", port)).ok().map(drop);
            wait_for("pebble", PATIENCE, listens);
        }
    }

    /// Ends it.
    pub(crate) fn stop(&mut self) {
        self.children.clear();
    }

    /// The root that vouches for what it issues, in PEM; another at every start.
    pub(crate) fn root(&self) -> PathBuf {
        let path = self.dir.path().join("issuer.pem");
        let fetched = fetch(&self.ca(), &format!("https://localhost:{}/roots/0", self.management));
        std::fs::write(&path, fetched).unwrap();
        path
    }
}

fn fetch(ca: &Path, url: &str) -> Vec<u8> {
    let mut curl = Command::new("curl");
    let fetched = output(curl.args(["-sSf", "--cacert"]).arg(ca).arg(url));
    assert!(fetched.status.success(), "{fetched:?}");
    fetched.stdout
}

/// The CA's directory with what Debian 12's `pebble` has not: a place that suggests when to renew.
#[derive(Clone)]
pub(crate) struct Advising {
    /// Where the directory is.
    pub(crate) port: u16,
    state: Arc<Mutex<Advised>>,
}

#[derive(Default)]
struct Advised {
    window: [String; 2],
    asked: Vec<String>,
}

impl Advising {
    /// Before `pebble`, whose certificate it has too.
    pub(crate) fn before(pebble: &Pebble) -> Advising {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let file = |name: &str| pebble.dir.path().join(name);
        let chain = CertificateDer::pem_file_iter(file("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        let advising = Advising { port, state: Arc::default() };
        let (config, own, ca) = (Arc::new(config), advising.clone(), pebble.ca());
        let directory = format!("https://localhost:{}/dir", pebble.port);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let stream = StreamOwned::new(connection, stream.unwrap());
                // Who breaks off asks again.
                let _ = own.answer(stream, &ca, &directory);
            }
        });
        advising
    }

    /// Suggests this from now on.
    pub(crate) fn suggest(&self, start: &str, end: &str) {
        self.state.lock().unwrap().window = [start.to_owned(), end.to_owned()];
    }

    /// About which certificates it was asked.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }

    fn answer(
        &self,
        stream: StreamOwned<ServerConnection, TcpStream>,
        ca: &Path,
        directory: &str,
    ) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut header = String::new();
        while header != "\r\n" {
            header.clear();
            if reader.read_line(&mut header)? == 0 {
                break;
            }
        }
        let path = line.split(' ').nth(1).unwrap_or_default();
        let body = match path.strip_prefix("/advice/") {
            Some(id) => {
                let mut state = self.state.lock().unwrap();
                state.asked.push(id.to_owned());
                let [start, end] = &state.window;
                json!({ "suggestedWindow": { "start": start, "end": end } })
            }
            None => {
                let mut body: Value = serde_json::from_slice(&fetch(ca, directory)).unwrap();
                body["renewalInfo"] = format!("https://localhost:{}/advice", self.port).into();
                body
            }
        };
        let body = body.to_string();
        let head = "HTTP/1.1 200 OK\r\nRetry-After: 3600\r\nConnection: close\r\n";
        let mut stream = reader.into_inner();
        write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len())?;
        stream.conn.send_close_notify();
        stream.flush()
    }
}

fn run(mut command: Command) -> Guarded {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Guarded::spawn(&mut command)
}

fn openssl(arguments: &[&str], more: &[&str]) {
    let made = output(Command::new("openssl").args(arguments).args(more));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Ports that nobody has, for TCP and UDP.
fn free_ports() -> [u16; 4] {
    let held: [(TcpListener, UdpSocket); 4] = std::array::from_fn(|_| {
        std::iter::repeat_with(|| TcpListener::bind("127.0.0.1:0").unwrap())
            .find_map(|tcp| Some((UdpSocket::bind(tcp.local_addr().unwrap()).ok()?, tcp)))
            .map(|(udp, tcp)| (tcp, udp))
            .unwrap()
    });
    held.map(|(tcp, _)| tcp.local_addr().unwrap().port())
}

/// Whether a file is for its owner alone.
pub(crate) fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o077 == 0
}
