//! The daemon with HTTPS beside plain HTTP: [`Server`] is asked by OpenSSL and curl, and [`s_client`] holds a connection.

use std::{
    fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use super::{
    Folder, Gnomon, free_port, gnomon, prepare, said, server_certificate::ServerCa, wait_for,
};

pub const P256: [&str; 4] = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
pub const P384: [&str; 4] = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
pub const RSA: [&str; 4] = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
pub const MONTH: i64 = 30 * 86_400;

/// The demo with HTTPS beside it.
pub struct Server {
    pub gnomon: Gnomon,
    pub https: SocketAddr,
}

/// A folder with a certificate `first` that ends in so many seconds.
pub fn folder(ends: i64) -> (Folder, SocketAddr, SocketAddr) {
    let dir = Folder::new();
    let (listen, admin) = prepare(&dir);
    ServerCa::new(&dir).issue("first", ends, &P256);
    (dir, listen, admin)
}

/// Puts a certificate and key where they are served from; one file after the other, as ACME clients do.
pub fn put(dir: &Folder, certificate: &str, key: &str) {
    for (from, to) in [(certificate, "tls.pem"), (key, "tls.key")] {
        fs::copy(dir.join(from), dir.join("new")).unwrap();
        fs::rename(dir.join("new"), dir.join(to)).unwrap();
    }
}

impl Server {
    /// Serves `first`, with `http` in the section of that name.
    pub fn start(ends: i64, http: &str) -> Self {
        let folder = folder(ends);
        put(&folder.0, "first.pem", "first.key");
        Self::serve(folder, http, "")
    }

    /// Serves what was [`put`] into a folder, with `http` and `tls` in the sections of those names.
    pub fn serve(folder: (Folder, SocketAddr, SocketAddr), http: &str, tls: &str) -> Self {
        let (dir, listen, admin) = folder;
        let https = free_port();
        let config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
        let ours = format!(
            "[http]\n{http}\n[tls]\nlisten = [\"{https}\"]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"\n{tls}\n\n[clock]"
        );
        fs::write(
            dir.join("gnomon.toml"),
            config.replacen("[clock]", &ours, 1),
        )
        .unwrap();
        let mut command = gnomon(&["serve", "--config", &dir.path("gnomon.toml")]);
        command.stderr(fs::File::create(dir.join("log")).unwrap());
        let gnomon = Gnomon::started(command, dir, listen, admin);
        assert!(
            gnomon
                .banner
                .contains(&format!("listening on https://{https}\n")),
            "{}",
            gnomon.banner
        );
        Self { gnomon, https }
    }

    pub fn dir(&self) -> &Folder {
        &self.gnomon.dir
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.https)
    }

    /// What `openssl s_client`, which verifies the chain, says of a connection.
    pub fn s_client(&self, options: &[&str]) -> String {
        let (address, ca) = (self.https.to_string(), self.dir().path("ca.pem"));
        let arguments = [
            "s_client",
            "-connect",
            &address,
            "-CAfile",
            &ca,
            "-verify_return_error",
        ];
        said("openssl", &[&arguments[..], options].concat())
    }

    /// What curl, which verifies the chain, prints of `/`, and behind it by which version of HTTP and TLS that came.
    pub fn curl(&self, options: &[&str]) -> String {
        let (url, ca) = (self.url("/"), self.dir().path("ca.pem"));
        let arguments = [
            "--silent",
            "--show-error",
            "--max-time",
            "20",
            "--cacert",
            &ca,
            "--write-out",
            "%{http_code} HTTP/%{http_version}",
            &url,
        ];
        said("curl", &[&arguments[..], options].concat())
    }

    /// The subject that is served.
    pub fn serves(&self, name: &str) -> bool {
        self.s_client(&[])
            .contains(&format!("subject=CN = {name}\n"))
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir().join("log")).unwrap()
    }

    pub fn log_says(&self, what: &str) {
        wait_for(what, || self.log().contains(what).then_some(()));
    }
}

/// A client whose input stays open.
pub fn s_client(options: &[&str]) -> Child {
    Command::new("openssl")
        .arg("s_client")
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
