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
}
