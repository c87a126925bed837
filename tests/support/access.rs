//! An appliance that not everybody may ask: [`Setup`] is its configuration in the making, [`curl`] a client.

use std::{
    fs,
    io::Write,
    net::SocketAddr,
    process::{Command, Stdio},
};

use super::{
    Folder, Gnomon, Response, free_port, gnomon, https::P256, prepare, run,
    server_certificate::ServerCa, text, timestamp_query,
};

/// The demo, with what is added.
pub struct Setup {
    pub dir: Folder,
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    pub https: SocketAddr,
    config: String,
}

impl Setup {
    /// With a time-stamp request in `q.tsq`.
    pub fn new() -> Self {
        let dir = Folder::new();
        let (listen, admin) = prepare(&dir);
        timestamp_query(&dir);
        Self {
            config: fs::read_to_string(dir.join("gnomon.toml")).unwrap(),
            dir,
            listen,
            admin,
            https: free_port(),
        }
    }

    /// Puts `new` in the place of `old`.
    pub fn with(mut self, old: &str, new: &str) -> Self {
        assert!(self.config.contains(old), "{old}");
        self.config = self.config.replacen(old, new, 1);
        self
    }

    /// The lines of `[http]`.
    pub fn http(self, lines: &str) -> Self {
        self.with("[clock]", &format!("[http]\n{lines}\n[clock]"))
    }

    /// HTTPS beside plain HTTP, with these lines in `[tls]`.
    pub fn tls(self, lines: &str) -> Self {
        ServerCa::new(&self.dir).issue("server", 86_400, &P256);
        let ours = format!(
            "[tls]\nlisten = [\"{}\"]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n{lines}\n[clock]",
            self.https
        );
        self.with("[clock]", &ours)
    }

    /// `access` at a TSU.
    pub fn tsu(self, name: &str, access: &str) -> Self {
        let line = format!("name = \"{name}\"\n");
        let new = format!("{line}access = {access}\n");
        self.with(&line, &new)
    }

    /// One `[[access]]`.
    pub fn rule(mut self, name: &str, lines: &str) -> Self {
        self.config += &format!("\n[[access]]\nname = \"{name}\"\n{lines}\n");
        self
    }

    /// A file of users: each has its name with `!` behind it for a password.
    pub fn users(self, file: &str, names: &[&str]) -> Self {
        let lines: Vec<_> = names
            .iter()
            .map(|name| password_line(name, &format!("{name}!")))
            .collect();
        self.file(file, &lines.concat())
    }

    /// A file with one token, which is left in `FILE.secret`.
    pub fn token(self, file: &str, name: &str) -> Self {
        let made = gnomon(&["access", "token", name]).output().unwrap();
        assert!(made.status.success(), "{}", text(&made));
        fs::write(self.dir.join(format!("{file}.secret")), made.stderr).unwrap();
        self.file(file, &String::from_utf8(made.stdout).unwrap())
    }

    pub fn file(self, file: &str, text: &str) -> Self {
        fs::write(self.dir.join(file), text).unwrap();
        run("chmod", &["600", &self.dir.path(file)]);
        self
    }

    /// What `gnomon check` says, and whether it is content.
    pub fn check(&self) -> (bool, String) {
        fs::write(self.dir.join("gnomon.toml"), &self.config).unwrap();
        let config = self.dir.path("gnomon.toml");
        let output = gnomon(&["check", "--config", &config]).output().unwrap();
        (output.status.success(), text(&output))
    }

    /// Serves it; the log is in `log`.
    pub fn serve(self) -> Gnomon {
        fs::write(self.dir.join("gnomon.toml"), &self.config).unwrap();
        let mut command = gnomon(&["serve", "--config", &self.dir.path("gnomon.toml")]);
        command.stderr(fs::File::create(self.dir.join("log")).unwrap());
        Gnomon::started(command, self.dir, self.listen, self.admin)
    }
}

/// What `gnomon access password` makes of it.
pub fn password_line(name: &str, password: &str) -> String {
    let mut child = gnomon(&["access", "password", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{password}").unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// What curl gets. It trusts the demo's CA.
pub fn curl(dir: &Folder, options: &[&str]) -> Response {
    let ca = dir.path("ca.pem");
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--include", "--max-time", "20"])
        .args(["--cacert", &ca])
        .args(options)
        .output()
        .unwrap();
    assert!(output.status.success(), "{options:?}: {}", text(&output));
    Response::parse(&output.stdout)
}

/// What curl gets for the time-stamp request.
pub fn stamp(dir: &Folder, url: &str, options: &[&str]) -> Response {
    let data = format!("@{}", dir.path("q.tsq"));
    let request = [
        "--data-binary",
        &data,
        "--header",
        "Content-Type: application/timestamp-query",
        url,
    ];
    curl(dir, &[&request[..], options].concat())
}

/// Whether this is a token, by OpenSSL.
pub fn is_token(dir: &Folder, answer: &Response) -> bool {
    fs::write(dir.join("r.tsr"), &answer.body).unwrap();
    let path = |name: &str| dir.path(name);
    let arguments = [
        "ts",
        "-verify",
        "-in",
        &path("r.tsr"),
        "-queryfile",
        &path("q.tsq"),
        "-CAfile",
        &path("chain.pem"),
    ];
    let verified = Command::new("openssl").args(arguments).output().unwrap();
    answer.status == 200 && verified.status.success()
}

/// A CA for clients in `NAME.pem`.
pub fn client_ca(dir: &Folder, name: &str) {
    let (key, pem) = (
        dir.path(&format!("{name}.key")),
        dir.path(&format!("{name}.pem")),
    );
    let subject = format!("/CN={name}");
    run(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
            "-subj",
            &subject,
            "-addext",
            "keyUsage=critical,keyCertSign",
            "-keyout",
            &key,
            "-out",
            &pem,
        ],
    );
}

/// A client's certificate and key by that CA, together in `NAME.pem`.
pub fn client_certificate(dir: &Folder, ca: &str, name: &str, subject: &str) {
    let path = |name: &str, ending: &str| dir.path(&format!("{name}.{ending}"));
    let (key, csr, pem) = (path(name, "key"), path(name, "csr"), path(name, "pem"));
    let request = [
        "req",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        subject,
        "-keyout",
        &key,
        "-out",
        &csr,
    ];
    run("openssl", &request);
    let extensions = path(name, "ext");
    fs::write(&extensions, "extendedKeyUsage=clientAuth\n").unwrap();
    let (ca_pem, ca_key) = (path(ca, "pem"), path(ca, "key"));
    let issue = [
        "x509",
        "-req",
        "-in",
        &csr,
        "-CA",
        &ca_pem,
        "-CAkey",
        &ca_key,
        "-days",
        "30",
        "-extfile",
        &extensions,
        "-out",
        &pem,
    ];
    run("openssl", &issue);
    let both = fs::read_to_string(&pem).unwrap() + &fs::read_to_string(&key).unwrap();
    fs::write(&pem, both).unwrap();
}
