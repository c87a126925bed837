//! The clients of the soak: [`Crowd::send`] has all kinds of them ask at once, and says what became of it.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    Folder,
    stamps::{Stamp, post, query},
    text,
};

/// Well over `http.header_timeout` of the soak: after that no client without a request has a connection.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the daemon is, and what clients know.
pub struct Crowd {
    pub plain: SocketAddr,
    pub https: SocketAddr,
    pub admin: SocketAddr,
    /// Odd while the daemon is not there.
    epoch: AtomicUsize,
    dir: String,
    numbers: AtomicUsize,
}

/// What became of the requests.
#[derive(Default)]
pub struct Outcome {
    pub stamps: Vec<Stamp>,
    /// Done as wanted, by the kind of client.
    pub done: Vec<(&'static str, usize)>,
    /// Cut by a kill.
    pub cut: usize,
    pub failures: Vec<String>,
}

type Done = Result<(), String>;

impl Crowd {
    pub fn new(dir: &Folder, [plain, https, admin]: [SocketAddr; 3]) -> Arc<Self> {
        query(dir);
        let crowd = Self {
            plain,
            https,
            admin,
            epoch: AtomicUsize::new(0),
            dir: dir.path(""),
            numbers: AtomicUsize::new(1),
        };
        let (issuing, good, request) = (
            crowd.file("issuing.pem"),
            crowd.file("good.pem"),
            crowd.file("good.ocsp"),
        );
        let ask = ["ocsp", "-no_nonce", "-issuer", &issuing, "-cert", &good];
        run("openssl", &[&ask[..], &["-reqout", &request]].concat()).unwrap();
        Arc::new(crowd)
    }

    /// Has them all ask until `meanwhile` is over.
    pub fn send(self: &Arc<Self>, meanwhile: impl FnOnce()) -> Outcome {
        let stop = Arc::new(AtomicBool::new(false));
        let outcome = Arc::new(Mutex::new(Outcome::default()));
        let kinds: [(&'static str, usize, Client); 9] = [
            ("openssl ts, curl, HTTP/1.1", 2, Self::stamp),
            ("openssl ts, curl, HTTP/2", 1, Self::stamp_over_h2),
            ("openssl ocsp", 1, Self::ask),
            ("curl GET /ocsp", 1, Self::fetch),
            ("h2load", 1, Self::load),
            ("openssl s_client", 1, Self::shake_hands),
            ("curl to the admin listener", 1, Self::look),
            ("slow", 8, Self::dawdle),
            ("aborted", 1, Self::abort),
        ];
        let mut threads = Vec::new();
        for (kind, count, client) in kinds {
            outcome.lock().unwrap().done.push((kind, 0));
            for _ in 0..count {
                let (crowd, stop, outcome) = (self.clone(), stop.clone(), outcome.clone());
                threads.push(thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        crowd.once(kind, client, &outcome);
                    }
                }));
            }
        }
        meanwhile();
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().unwrap();
        }
        std::mem::take(&mut outcome.lock().unwrap())
    }

    /// The daemon is about to be killed.
    pub fn left(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// It is there again.
    pub fn back(&self) {
        self.left();
    }

    fn once(&self, kind: &'static str, client: Client, outcome: &Mutex<Outcome>) {
        let before = self.epoch.load(Ordering::SeqCst);
        let mut stamps = Vec::new();
        let done = client(self, &mut stamps);
        let whole = before.is_multiple_of(2) && self.epoch.load(Ordering::SeqCst) == before;
        let mut outcome = outcome.lock().unwrap();
        outcome.stamps.extend(stamps);
        match done {
            Ok(()) => {
                let (_, count) = outcome.done.iter_mut().find(|(of, _)| *of == kind).unwrap();
                *count += 1;
            }
            Err(error) if whole => outcome.failures.push(format!("{kind}: {error}")),
            Err(_) => {
                outcome.cut += 1;
                drop(outcome);
                thread::sleep(Duration::from_millis(50));
            }
        }
    }

    fn file(&self, name: &str) -> String {
        format!("{}{name}", self.dir)
    }

    fn stamp(&self, stamps: &mut Vec<Stamp>) -> Done {
        let url = format!("http://{}/tsa", self.plain);
        self.stamped(&url, "--http1.1", stamps)
    }

    fn stamp_over_h2(&self, stamps: &mut Vec<Stamp>) -> Done {
        let url = format!("https://{}/tsa/rsa", self.https);
        self.stamped(&url, "--http2", stamps)
    }

    /// A time-stamp as people ask for it, verified.
    fn stamped(&self, url: &str, version: &str, stamps: &mut Vec<Stamp>) -> Done {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (query, reply) = (
            self.file(&format!("{number}.tsq")),
            self.file(&format!("{number}.tsr")),
        );
        let digest = format!("{number:064x}");
        let make = ["ts", "-query", "-sha256", "-cert", "-digest", &digest];
        run("openssl", &[&make[..], &["-out", &query]].concat())?;
        let (body, media_type) = (
            format!("@{query}"),
            "Content-Type: application/timestamp-query",
        );
        let sent = self.curl(&[
            version,
            "--data-binary",
            &body,
            "-H",
            media_type,
            "--output",
            &reply,
            url,
        ]);
        let verified = sent.and_then(|()| {
            let trust = ["-CAfile", &self.file("ca.pem")];
            let verify = ["ts", "-verify", "-in", &reply, "-queryfile", &query];
            let said = run("openssl", &[&verify[..], &trust].concat())?;
            stamps.extend(Stamp::granted(&fs::read(&reply).unwrap()));
            said.contains("Verification: OK").then_some(()).ok_or(said)
        });
        let _ = fs::remove_file(query);
        let _ = fs::remove_file(reply);
        verified
    }

    fn curl(&self, options: &[&str]) -> Done {
        let ca = self.file("ca.pem");
        let always = [
            "--silent",
            "--show-error",
            "--fail",
            "--max-time",
            "60",
            "--cacert",
            &ca,
        ];
        run("curl", &[&always[..], options].concat()).map(drop)
    }

    fn ask(&self, _: &mut Vec<Stamp>) -> Done {
        let url = format!("http://{}/ocsp", self.plain);
        for (name, status) in [("good", "good"), ("revoked", "revoked")] {
            let said = self.status(name, &["-url", &url])?;
            if !said.contains(&format!("{name}.pem: {status}")) {
                return Err(said);
            }
        }
        Ok(())
    }

    /// What `openssl ocsp` says of a certificate.
    pub fn status(&self, name: &str, options: &[&str]) -> Result<String, String> {
        let (issuing, certificate, chain) = (
            self.file("issuing.pem"),
            self.file(&format!("{name}.pem")),
            self.file("chain.pem"),
        );
        let ask = ["ocsp", "-issuer", &issuing, "-cert", &certificate];
        let trust = ["-CAfile", &chain];
        run("openssl", &[&ask[..], &trust, options].concat())
    }

    /// By GET and over TLS, which is kept, so that nonces play no part.
    fn fetch(&self, _: &mut Vec<Stamp>) -> Done {
        let base64 = run("openssl", &["base64", "-A", "-in", &self.file("good.ocsp")])?;
        let answer = self.file("fetched");
        let path = base64.trim().replace('+', "%2B");
        let url = format!("https://{}/ocsp/{path}", self.https);
        self.curl(&["--http1.1", "--output", &answer, &url])?;
        let said = self.status("good", &["-respin", &answer, "-no_nonce"])?;
        match said.contains("good.pem: good") {
            true => Ok(()),
            false => Err(said),
        }
    }

    /// Many at once on few connections, by each version of HTTP.
    fn load(&self, _: &mut Vec<Stamp>) -> Done {
        let [status, stamp] = ["application/ocsp-request", "application/timestamp-query"]
            .map(|media_type| format!("content-type: {media_type}"));
        let (good, query) = (self.file("good.ocsp"), self.file("load.tsq"));
        let (https, plain) = (self.https, self.plain);
        for (options, count, body, header, url) in [
            (
                ["-m", "20"],
                "500",
                &good,
                &status,
                format!("https://{https}/ocsp"),
            ),
            (
                ["--h1", "-m1"],
                "500",
                &good,
                &status,
                format!("http://{plain}/ocsp"),
            ),
            (
                ["-m", "20"],
                "100",
                &query,
                &stamp,
                format!("https://{https}/tsa"),
            ),
        ] {
            let load = ["-n", count, "-c", "5", "-t", "1"];
            let request = ["-d", body.as_str(), "-H", header, &url];
            let said = run("h2load", &[&load[..], &options, &request].concat())?;
            if !said.contains(&format!("status codes: {count} 2xx")) {
                return Err(said);
            }
        }
        Ok(())
    }

    fn shake_hands(&self, _: &mut Vec<Stamp>) -> Done {
        let (address, ca) = (self.https.to_string(), self.file("ca.pem"));
        let options = ["s_client", "-brief", "-connect", &address, "-CAfile", &ca];
        let said = run(
            "openssl",
            &[&options[..], &["-verify_return_error"]].concat(),
        )?;
        match said.contains("Verification: OK") {
            true => Ok(()),
            false => Err(said),
        }
    }

    fn look(&self, _: &mut Vec<Stamp>) -> Done {
        for path in ["metrics", "status", "console", "livez"] {
            let url = format!("http://{}/{path}", self.admin);
            self.curl(&["--output", "/dev/null", &url])?;
        }
        Ok(())
    }

    /// A header that never ends must be cut, over either listener.
    fn dawdle(&self, _: &mut Vec<Stamp>) -> Done {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let address = [self.plain, self.https][number % 2];
        let since = Instant::now();
        let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
        stream
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let first: &[u8] = if number.is_multiple_of(2) {
            b"GET /"
        } else {
            &[22, 3, 1]
        };
        let _ = stream.write_all(first);
        while since.elapsed() < PATIENCE {
            match stream.read(&mut [0; 512]) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    let _ = stream.write_all(b"a");
                }
                Err(_) => return Ok(()),
            }
        }
        Err("the server kept a connection without a request".to_owned())
    }

    /// Connections that end in the middle of whatever there is a middle of.
    fn abort(&self, _: &mut Vec<Stamp>) -> Done {
        let whole = post("/tsa", &fs::read(self.file("load.tsq")).unwrap());
        let hello = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
        for (number, (address, sent)) in [
            (self.plain, &[][..]),
            (self.plain, &whole[..20]),
            (self.plain, &whole[..whole.len() - 10]),
            (self.plain, &whole),
            (self.https, &[]),
            (self.https, &hello),
            (self.https, &whole),
        ]
        .into_iter()
        .enumerate()
        {
            let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
            let _ = stream.write_all(sent);
            if number.is_multiple_of(2) {
                let _ = stream.shutdown(Shutdown::Write);
            }
        }
        thread::sleep(Duration::from_millis(20));
        Ok(())
    }
}

type Client = fn(&Crowd, &mut Vec<Stamp>) -> Done;

/// What a program that succeeds printed.
fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output();
    let output = output.map_err(|error| format!("{program} cannot be run: {error}"))?;
    match output.status.success() {
        true => Ok(text(&output)),
        false => Err(format!("{program}: {}", text(&output))),
    }
}
