//! Certificates for HTTPS: [`ServerCa`] issues them by the demo's CA, with any end.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use gnomon::wire::time::Seconds;

use super::{Folder, run};

/// `openssl ca` over the demo's issuing CA, which unlike `openssl x509` takes an end to the second.
pub struct ServerCa<'a> {
    dir: &'a Folder,
}

impl<'a> ServerCa<'a> {
    pub fn new(dir: &'a Folder) -> Self {
        Self::naming(dir, "")
    }

    /// With `access` in the certificates' authorityInfoAccess, such as `OCSP;URI:http://...`.
    pub fn naming(dir: &'a Folder, access: &str) -> Self {
        let access = match access {
            "" => String::new(),
            access => format!("authorityInfoAccess={access}\n"),
        };
        let root = dir.path("");
        let config = format!(
            "[ca]\ndefault_ca=d\n[d]\ndatabase={root}servers.txt\nnew_certs_dir={root}\nrand_serial=yes\n\
             certificate={root}issuing.pem\nprivate_key={root}issuing.key\ndefault_md=sha256\npolicy=p\n\
             x509_extensions=e\n[p]\ncommonName=supplied\n[e]\nsubjectAltName=IP:127.0.0.1\n\
             extendedKeyUsage=serverAuth\nauthorityKeyIdentifier=keyid\n{access}"
        );
        fs::write(dir.join("servers.cnf"), config).unwrap();
        fs::write(dir.join("servers.txt"), "").unwrap();
        fs::write(dir.join("servers.txt.attr"), "unique_subject=no\n").unwrap();
        Self { dir }
    }

    /// Makes `NAME.key` and `NAME.pem`, a chain, for a certificate that ends in so many seconds.
    pub fn issue(&self, name: &str, ends: i64, algorithm: &[&str]) {
        let file = |ending: &str| self.dir.path(&format!("{name}.{ending}"));
        let (key, csr, pem) = (file("key"), file("csr"), file("pem"));
        run(
            "openssl",
            &[&["genpkey", "-out", &key][..], algorithm].concat(),
        );
        let subject = format!("/CN={name}");
        run(
            "openssl",
            &["req", "-new", "-key", &key, "-subj", &subject, "-out", &csr],
        );
        let (config, start, end) = (self.dir.path("servers.cnf"), date(-86_400), date(ends));
        run(
            "openssl",
            &[
                "ca",
                "-batch",
                "-notext",
                "-config",
                &config,
                "-startdate",
                &start,
                "-enddate",
                &end,
                "-in",
                &csr,
                "-out",
                &pem,
            ],
        );
        let chain = fs::read_to_string(&pem).unwrap()
            + &fs::read_to_string(self.dir.join("issuing.pem")).unwrap();
        fs::write(&pem, chain).unwrap();
    }
}

/// GeneralizedTime, so many seconds from now.
fn date(from_now: i64) -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let when = Seconds::new(now.as_secs().saturating_add_signed(from_now));
    String::from_utf8(when.generalized().to_vec()).unwrap()
}
