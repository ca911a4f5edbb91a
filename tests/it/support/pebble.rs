//! A CA of a test's own that speaks ACME: Debian's `pebble`, which is Let's Encrypt's test server.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

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
        format!(
            "[http.tls.acme]\ndomains = {domains}\ncontact = \"postmaster@example.test\"\n\
             directory = \"https://localhost:{}/dir\"\nca = {:?}\n",
            self.port,
            self.ca()
        )
    }

    /// Starts it anew: it has forgotten all. It asks at `port`, and certificates are good for so
    /// many seconds.
    pub(crate) fn start(&mut self, port: u16, seconds: u64) {
        self.stop();
        let file = |name: &str| self.dir.path().join(name);
        let config = serde_json::json!({ "pebble": {
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
        let url = format!("https://localhost:{}/roots/0", self.management);
        let mut curl = Command::new("curl");
        let fetched = output(curl.args(["-sSf", "--cacert"]).arg(self.ca()).arg(url));
        assert!(fetched.status.success(), "{fetched:?}");
        std::fs::write(&path, fetched.stdout).unwrap();
        path
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
