//! The demo's issuing CA as OpenSSL runs it: [`Ca`] revokes, and makes CRLs of any content.

use std::fs;

use super::{Folder, openssl_ca, run};

/// `openssl ca` over the demo's issuing CA, to make CRLs of any content.
pub struct Ca<'a> {
    dir: &'a Folder,
}

impl<'a> Ca<'a> {
    pub fn new(dir: &'a Folder) -> Self {
        openssl_ca(dir);
        Self { dir }
    }

    /// One that was made before, with what it has revoked.
    pub const fn open(dir: &'a Folder) -> Self {
        Self { dir }
    }

    pub fn revoke(&self, name: &str, reason: &str) {
        let (config, file) = (self.dir.path("ca.cnf"), self.dir.path(name));
        run(
            "openssl",
            &[
                "ca",
                "-config",
                &config,
                "-revoke",
                &file,
                "-crl_reason",
                reason,
            ],
        );
    }

    /// Writes a CRL with this number beside the one in force.
    pub fn crl(&self, number: &str, validity: &[&str]) -> String {
        fs::write(self.dir.join("number"), format!("{number}\n")).unwrap();
        let (config, out) = (self.dir.path("ca.cnf"), self.dir.path("next.crl"));
        run(
            "openssl",
            &[
                &["ca", "-config", &config, "-gencrl", "-out", &out],
                validity,
            ]
            .concat(),
        );
        out
    }

    /// Forgets every revocation, as where a hold is lifted.
    pub fn forgive(&self) {
        fs::write(self.dir.join("index.txt"), "").unwrap();
    }

    /// Puts a CRL in the place of the one in force.
    pub fn publish(&self, file: &str) {
        fs::rename(file, self.dir.join("issuing.crl")).unwrap();
    }

    /// Makes `NAME.key` and `NAME.pem`, a responder's certificate, with a key on this curve.
    pub fn responder(&self, name: &str, curve: &str) {
        let file = |kind: &str| self.dir.path(&format!("{name}.{kind}"));
        let (key, csr, pem, extensions) = (file("key"), file("csr"), file("pem"), file("ext"));
        fs::write(
            &extensions,
            "extendedKeyUsage=OCSPSigning\nnoCheck=ignored\n",
        )
        .unwrap();
        let (ca, ca_key) = (self.dir.path("issuing.pem"), self.dir.path("issuing.key"));
        let subject = format!("/CN={name}");
        let curve = format!("ec_paramgen_curve:{curve}");
        run(
            "openssl",
            &[
                "genpkey",
                "-algorithm",
                "EC",
                "-pkeyopt",
                &curve,
                "-out",
                &key,
            ],
        );
        run(
            "openssl",
            &["req", "-new", "-key", &key, "-subj", &subject, "-out", &csr],
        );
        run(
            "openssl",
            &[
                &["x509", "-req", "-in", &csr, "-CA", &ca, "-CAkey", &ca_key][..],
                &["-days", "30", "-extfile", &extensions, "-out", &pem],
            ]
            .concat(),
        );
    }
}
