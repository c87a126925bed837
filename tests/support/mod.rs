//! What the integration tests share: [`Gnomon`] is the real daemon over a demo's PKI, [`run`] any other
//! program, [`http`] a plain exchange of octets. Every process started here is stopped here.
#![allow(dead_code)] // each test program uses its own part

pub mod access;
pub mod ca;
pub mod chrony;
pub mod crls;
pub mod hang;
pub mod https;
pub mod raw;
pub mod reloads;
pub mod server;
pub mod server_certificate;
pub mod small_disk;
pub mod stamps;
pub mod systemd;
pub mod token;

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    ops::Deref,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant, SystemTime},
};

use gnomon::{cli::demo, wire::time::Seconds};

/// A folder that is gone when its holder is.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("gnomon-test-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    /// A path in the folder as text, for command lines.
    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running gnomon with the demo's PKI in [`Gnomon::dir`].
pub struct Gnomon {
    pub dir: Folder,
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    /// What it has printed to standard output so far.
    pub banner: String,
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Gnomon {
    /// The demo as it is.
    pub fn demo() -> Self {
        Self::edited(|config| config)
    }

    /// The demo's PKI, served with `edit` applied to its gnomon.toml.
    pub fn edited(edit: impl FnOnce(String) -> String) -> Self {
        let dir = Folder::new();
        let (listen, admin) = prepare(&dir);
        let file = dir.join("gnomon.toml");
        let config = edit(fs::read_to_string(&file).unwrap());
        fs::write(&file, config).unwrap();
        Self::serve(dir, listen, admin)
    }

    /// Serves from a folder that [`prepare`] made, at the addresses it gave.
    pub fn serve(dir: Folder, listen: SocketAddr, admin: SocketAddr) -> Self {
        let command = gnomon(&["serve", "--config", &dir.path("gnomon.toml")]);
        Self::started(command, dir, listen, admin)
    }

    /// The same by a command that ends up as `gnomon serve`.
    pub fn started(
        mut command: Command,
        dir: Folder,
        listen: SocketAddr,
        admin: SocketAddr,
    ) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut banner = String::new();
        while !banner.contains("admin on ") {
            let read = stdout.read_line(&mut banner).unwrap();
            assert!(
                read > 0,
                "gnomon ended: {:?}; it said: {banner}",
                child.wait()
            );
        }
        Self {
            dir,
            listen,
            admin,
            banner,
            child,
            stdout,
        }
    }

    /// `http://ADDRESS` followed by `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.listen)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        run("kill", &[&format!("-{name}"), &self.child.id().to_string()]);
    }

    /// Waits for the end after a signal; gives the exit status and the folder.
    pub fn ended(mut self) -> (std::process::ExitStatus, Folder) {
        let status = wait_for("the daemon's end", || self.child.try_wait().unwrap());
        let dir = std::mem::replace(&mut self.dir, Folder(PathBuf::from("/nonexistent/gnomon")));
        (status, dir)
    }

    /// Stops it, which must not take as long as a call that hangs; gives the folder.
    pub fn stops_in_time(self) -> Folder {
        self.signal("TERM");
        let begun = Instant::now();
        let (status, dir) = self.ended();
        let took = begun.elapsed();
        assert!(
            status.success() && took < Duration::from_secs(8),
            "{status} after {took:?}"
        );
        dir
    }

    /// POSTs `body` and gives the response.
    pub fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Response {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        http(self.listen, &[head.as_bytes(), body].concat())
    }

    /// GETs `path` with further header lines, each ended by CR LF.
    pub fn get(&self, path: &str, headers: &str) -> Response {
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: test\r\n{headers}Connection: close\r\n\r\n");
        http(self.listen, head.as_bytes())
    }

    /// What `/readyz` answers.
    pub fn ready(&self) -> (u16, String) {
        let request = b"GET /readyz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        let ready = http(self.admin, request);
        (ready.status, String::from_utf8(ready.body).unwrap())
    }

    /// What `openssl ocsp` says of one of the demo's certificates; it verifies the answer by the chain.
    pub fn ask(&self, name: &str, options: &[&str]) -> String {
        let path = |name: &str| self.dir.path(name);
        let (issuer, certificate, chain) = (path("issuing.pem"), path(name), path("chain.pem"));
        let arguments = [
            "ocsp",
            "-issuer",
            &issuer,
            "-cert",
            &certificate,
            "-CAfile",
            &chain,
            "-url",
            &self.url("/ocsp"),
        ];
        said("openssl", &[&arguments[..], options].concat())
    }

    /// The sum of all series of a metric whose line contains every one of `parts`.
    pub fn metric(&self, parts: &[&str]) -> f64 {
        let request = b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        let text = String::from_utf8(http(self.admin, request).body).unwrap();
        text.lines()
            .filter(|line| !line.starts_with('#') && parts.iter().all(|part| line.contains(part)))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }
}

impl Drop for Gnomon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes the demo's PKI in `dir` for two free ports of this host.
pub fn prepare(dir: &Path) -> (SocketAddr, SocketAddr) {
    let (listen, admin) = (free_port(), free_port());
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    demo::prepare(dir, listen, admin, None, Seconds::new(now.as_secs())).unwrap();
    (listen, admin)
}

/// A TimeStampReq for SHA-256 and with certReq, as a file and as octets.
pub fn timestamp_query(dir: &Folder) -> (String, Vec<u8>) {
    let (file, digest) = (dir.path("q.tsq"), "00".repeat(32));
    run(
        "openssl",
        &[
            "ts", "-query", "-digest", &digest, "-sha256", "-cert", "-out", &file,
        ],
    );
    let octets = fs::read(&file).unwrap();
    (file, octets)
}

/// A request without a nonce about the certificate of this name in `dir`, made by openssl: its file and its octets.
pub fn ocsp_query(dir: &Folder, certificate: &str) -> (String, Vec<u8>) {
    let (file, issuer) = (dir.path("q.ocsp"), dir.path("issuing.pem"));
    let certificate = dir.path(certificate);
    let about = ["-issuer", &issuer, "-cert", &certificate];
    run(
        "openssl",
        &[&["ocsp", "-no_nonce", "-reqout", &file], &about[..]].concat(),
    );
    let octets = fs::read(&file).unwrap();
    (file, octets)
}

/// The path that asks about it by GET.
pub fn ocsp_path(dir: &Folder, certificate: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let base64 = STANDARD.encode(ocsp_query(dir, certificate).1);
    let escaped = base64.replace('+', "%2B").replace('/', "%2F");
    format!("/ocsp/{}", escaped.replace('=', "%3D"))
}

/// A port that the kernel says is free.
pub fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// The gnomon of this build.
pub fn gnomon(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gnomon"));
    command.args(arguments);
    command
}

/// A program of the virtual environment that tests/run makes.
pub fn python_tool(name: &str) -> String {
    let python = std::env::var("GNOMON_TEST_PYTHON").map_or_else(
        |_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python"),
        PathBuf::from,
    );
    python.with_file_name(name).to_str().unwrap().to_owned()
}

/// One of the scripts in tests/python.
pub fn python_script(name: &str) -> String {
    format!("{}/tests/python/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Runs a program that must succeed; gives what it printed on standard output, then standard error.
pub fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> String {
    let output = output(program, arguments);
    let text = text(&output);
    assert!(
        output.status.success(),
        "{program} failed ({}):\n{text}",
        output.status
    );
    text
}

/// Runs a program that must fail; gives what it printed.
pub fn fails<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> String {
    let output = output(program, arguments);
    let text = text(&output);
    assert!(
        !output.status.success(),
        "{program} should have failed:\n{text}"
    );
    text
}

/// Runs a program that may well fail; gives what it printed.
pub fn said<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> String {
    text(&output(program, arguments))
}

fn output<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Output {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program} cannot be run: {error}; tests/run installs it"))
}

/// What a finished program printed.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Asks again until there is an answer; gives up after 30 seconds.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// An HTTP response.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The one value of a header, if it stands exactly once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(other, _)| other == name);
        let value = values.next()?.1.as_str();
        assert!(values.next().is_none(), "{name} stands twice");
        Some(value)
    }

    /// Reads one response from octets that end with it.
    pub fn parse(octets: &[u8]) -> Self {
        let end = octets
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap_or_else(|| panic!("no header in {:?}", String::from_utf8_lossy(octets)));
        let head = String::from_utf8(octets[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let headers = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Self {
            status,
            headers,
            body: octets[end + 4..].to_vec(),
        }
    }
}

/// Sends octets and reads all that comes back until the server closes.
pub fn http(address: SocketAddr, request: &[u8]) -> Response {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream.write_all(request).unwrap();
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets).unwrap();
    Response::parse(&octets)
}

/// Makes `NAME.key` and `NAME.pem`, a TSU's certificate by the demo's CA, with this `openssl genpkey`
/// algorithm.
pub fn issue_tsu(dir: &Folder, name: &str, algorithm: &[&str]) {
    let extensions = "keyUsage=critical,digitalSignature\n\
        extendedKeyUsage=critical,timeStamping\nauthorityKeyIdentifier=keyid\n";
    issue(dir, name, algorithm, extensions);
}

/// The same for a responder.
pub fn issue_responder(dir: &Folder, name: &str, algorithm: &[&str]) {
    let extensions = "extendedKeyUsage=OCSPSigning\nnoCheck=ignored\n";
    issue(dir, name, algorithm, extensions);
}

fn issue(dir: &Folder, name: &str, algorithm: &[&str], extensions: &str) {
    let (key, csr, pem) = (
        dir.path(&format!("{name}.key")),
        dir.path(&format!("{name}.csr")),
        dir.path(&format!("{name}.pem")),
    );
    let (issuing, issuing_key) = (dir.path("issuing.pem"), dir.path("issuing.key"));
    let file = dir.path(&format!("{name}.ext"));
    fs::write(&file, extensions).unwrap();
    run(
        "openssl",
        &[&["genpkey", "-out", &key][..], algorithm].concat(),
    );
    let subject = format!("/CN={name}");
    run(
        "openssl",
        &["req", "-new", "-key", &key, "-subj", &subject, "-out", &csr],
    );
    run(
        "openssl",
        &[
            "x509",
            "-req",
            "-in",
            &csr,
            "-CA",
            &issuing,
            "-CAkey",
            &issuing_key,
            "-days",
            "30",
            "-extfile",
            &file,
            "-out",
            &pem,
        ],
    );
}

/// Makes `ca.cnf` in the demo's folder, with which `openssl ca` is its issuing CA, and an empty database.
pub fn openssl_ca(dir: &Folder) {
    let root = dir.path("");
    let config = format!(
        "[ca]\ndefault_ca=d\n[d]\ndatabase={root}index.txt\ncrlnumber={root}number\n\
         certificate={root}issuing.pem\nprivate_key={root}issuing.key\ndefault_md=sha256\n\
         default_crl_days=7\ncrl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n"
    );
    std::fs::write(dir.join("ca.cnf"), config).unwrap();
    std::fs::write(dir.join("index.txt"), "").unwrap();
    std::fs::write(dir.join("index.txt.attr"), "unique_subject=no\n").unwrap();
}
