//! TLS for the public side: [`Identity`] is the certificate and key in force, which a renewal replaces while
//! connections go on. [`handshake`] lets a client in, [`renewal`] looks whether the files have changed, [`staple`] keeps an
//! OCSP response at hand for the handshake.

pub mod clients;
pub mod handshake;
pub mod renewal;
pub mod staple;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use tokio_rustls::rustls::{
    self, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use zeroize::Zeroizing;

use clients::{ClientRoots, ShownCertificate};

use crate::{
    io::stamp::{Stamp, stamp},
    wire::{
        certificate::{Certificate, CertificateError},
        time::Seconds,
    },
};

/// Seconds that a certificate should have left, unless a fifth of its life is less. Programs renew those of 90 days when
/// 30 are left.
const ENDS_SOON: u64 = 14 * 86_400;

/// HTTP/2 by ALPN (RFC 9113 3.2).
pub const H2: &[u8] = b"h2";

/// What is spoken, by ALPN, the preferred first. Who asks for something else alone is told so (RFC 7301 3.2).
const PROTOCOLS: [&[u8]; 3] = [H2, b"http/1.1", b"http/1.0"];

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{path}: cannot be read: {error}")]
    CertificateUnreadable { path: PathBuf, error: io::Error },
    #[error("{path}: {error}")]
    NoCertificate {
        path: PathBuf,
        error: CertificateError,
    },
    #[error("{path}: the certificate of {subject} ended at {end}; renew it")]
    Expired {
        path: PathBuf,
        subject: String,
        end: Seconds,
    },
    #[error("{path}: the certificate of {subject} is not valid before {from}")]
    NotYetValid {
        path: PathBuf,
        subject: String,
        from: Seconds,
    },
    #[error(
        "{path}: the key in {key} does not belong to the first certificate; give the two that do"
    )]
    Mismatch { path: PathBuf, key: PathBuf },
    #[error("{path}: cannot be used for TLS: {error}")]
    Unusable { path: PathBuf, error: rustls::Error },
    #[error("{path}: the key file cannot be read: {error}")]
    KeyUnreadable { path: PathBuf, error: io::Error },
    #[error(
        "{0}: the key is encrypted; write it without a passphrase in a file of mode 0600: openssl pkcs8 -topk8 -nocrypt"
    )]
    EncryptedKey(PathBuf),
    #[error("{0}: no private key in PEM or DER; convert it: openssl pkcs8 -topk8 -nocrypt")]
    NoKey(PathBuf),
    #[error(
        "{path}: not a key that TLS can use ({error}); use P-256, P-384, RSA of 2048 bits and more, or Ed25519"
    )]
    UnsupportedKey { path: PathBuf, error: rustls::Error },
}

impl TlsError {
    /// Which of the two files it is about.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::CertificateUnreadable { .. }
            | Self::NoCertificate { .. }
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::Mismatch { .. }
            | Self::Unusable { .. } => "certificate",
            Self::KeyUnreadable { .. }
            | Self::EncryptedKey(_)
            | Self::NoKey(_)
            | Self::UnsupportedKey { .. } => "key",
        }
    }
}

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The server's certificate, and the intermediates above it, nearest first.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Files {
    fn stamps(&self) -> [Stamp; 2] {
        [stamp(&self.certificate), stamp(&self.key)]
    }
}

/// A certificate and key that belong together.
#[derive(Debug)]
struct Pair {
    config: Arc<ServerConfig>,
    shown: Arc<Shown>,
    /// What the file holds: our own, and what stands behind it. At least one.
    chain: Vec<Certificate>,
    subject: String,
    not_after: Seconds,
    /// Where they were read.
    files: Files,
    /// Whose certificates clients may show, if any.
    clients: Option<ClientRoots>,
    /// Of the files, taken before they were read: what changed in between is read again.
    stamps: [Stamp; 2],
}

/// What a handshake shows: the certificate with its key and, behind a swap, its staple.
#[derive(Debug)]
struct Shown(ArcSwap<CertifiedKey>);

impl Shown {
    fn staple(&self, response: Option<Vec<u8>>) {
        let mut certified = CertifiedKey::clone(&self.0.load());
        certified.ocsp = response;
        self.0.store(Arc::new(certified));
    }

    fn stapled(&self) -> Option<Vec<u8>> {
        self.0.load().ocsp.clone()
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Who the public side is to TLS clients.
#[derive(Debug)]
pub struct Identity {
    pair: ArcSwap<Pair>,
}

impl Identity {
    /// Reads both files, and shows that they belong together and are valid at `now`.
    pub fn open(
        files: Files,
        clients: Option<ClientRoots>,
        now: Seconds,
    ) -> Result<Self, TlsError> {
        let pair = Pair::read(&files, clients, now)?;
        Ok(Self {
            pair: ArcSwap::from_pointee(pair),
        })
    }

    /// Takes up what `other` has read, and from where it is renewed from now on. Where it is the same nothing is changed,
    /// so that clients can resume their sessions.
    pub fn become_like(&self, other: &Self) {
        let new = other.pair.load_full();
        let old = self.pair.load();
        let ids = |pair: &Pair| pair.clients.as_ref().map(ClientRoots::ids);
        if (&new.files, new.stamps, ids(&new)) != (&old.files, old.stamps, ids(&old)) {
            self.pair.store(new);
        }
    }

    /// What is no error but should be known, with the field it is about.
    pub fn cautions(&self, section: &str, now: Seconds) -> Vec<String> {
        let pair = self.pair.load();
        let path = pair.files.certificate.display();
        let mut cautions = Vec::new();
        let above = pair.chain.iter().skip(1).map(Some).chain([None]);
        for (one, next) in pair.chain.iter().zip(above) {
            let (subject, issuer) = (one.subject_text(), one.issuer_text());
            match next {
                Some(next) if !one.is_issued_by(next) => cautions.push(format!(
                    "{section}.certificate: {path}: what stands behind the certificate of {subject} did not issue it; clients \
                     want the one of {issuer} there"
                )),
                None if pair.chain.len() == 1 && one.issuer() != one.subject() => cautions.push(format!(
                    "{section}.certificate: {path}: only the certificate itself; unless clients trust {issuer} as a root, add \
                     that CA's certificate behind it"
                )),
                _ => {}
            }
        }
        let life = pair.chain.first().map(Certificate::not_before);
        let life = pair.not_after.since(life.unwrap_or(Seconds::EPOCH));
        let left = pair.not_after.since(now);
        if left < ENDS_SOON.min(life / 5) {
            cautions.push(format!(
                "{section}.certificate: {path}: ends at {}, in {} hours; renew it",
                pair.not_after,
                left / 3600
            ));
        }
        cautions
    }

    /// Shows the certificate without a staple.
    pub fn show_bare(&self) {
        self.pair.load().shown.staple(None);
    }

    /// What is known of a client that has shown this chain.
    pub fn client(&self, chain: &[CertificateDer<'_>]) -> Option<ShownCertificate> {
        self.pair.load().clients.as_ref()?.shown(chain)
    }

    /// For the next handshake.
    fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.pair.load().config)
    }

    /// Reads both files again. What is in force stays so where they cannot be used.
    fn renew(&self, now: Seconds) -> Result<(), TlsError> {
        let old = self.pair.load_full();
        let new = Arc::new(Pair::read(&old.files, old.clients.clone(), now)?);
        // A reload may have put another in its place meanwhile.
        self.pair.compare_and_swap(&old, new);
        Ok(())
    }
}

impl Pair {
    fn read(files: &Files, clients: Option<ClientRoots>, now: Seconds) -> Result<Self, TlsError> {
        let stamps = files.stamps();
        let path = || files.certificate.clone();
        let content = std::fs::read(&files.certificate);
        let content = content.map_err(|error| TlsError::CertificateUnreadable {
            path: path(),
            error,
        })?;
        let chain = Certificate::read_all(&content).map_err(|error| TlsError::NoCertificate {
            path: path(),
            error,
        })?;
        let own = chain.first().ok_or_else(|| TlsError::NoCertificate {
            path: path(),
            error: CertificateError::NoPemBlock,
        })?;
        let (subject, not_after) = (own.subject_text(), own.not_after());
        if now > not_after {
            return Err(TlsError::Expired {
                path: path(),
                subject,
                end: not_after,
            });
        }
        if now < own.not_before() {
            return Err(TlsError::NotYetValid {
                path: path(),
                subject,
                from: own.not_before(),
            });
        }
        let key = read_key(&files.key)?;
        let shown = chain.iter().map(Certificate::der);
        let shown = shown
            .map(|der| CertificateDer::from(der.to_vec()))
            .collect();
        let (config, shown) = configuration(shown, key, files, clients.as_ref())?;
        Ok(Self {
            config: Arc::new(config),
            shown,
            chain,
            subject,
            not_after,
            files: files.clone(),
            clients,
            stamps,
        })
    }
}

/// PEM of the kinds that ACME clients write (PKCS #8, PKCS #1, SEC 1), or PKCS #8 in DER.
fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let content = std::fs::read(path).map(Zeroizing::new);
    let content = content.map_err(|error| TlsError::KeyUnreadable {
        path: path.to_owned(),
        error,
    })?;
    if content.first() == Some(&0x30) {
        return Ok(PrivatePkcs8KeyDer::from(content.to_vec()).into());
    }
    let encrypted = content.windows(9).any(|window| window == b"ENCRYPTED");
    PrivateKeyDer::from_pem_slice(&content).map_err(|_| {
        if encrypted {
            TlsError::EncryptedKey(path.to_owned())
        } else {
            TlsError::NoKey(path.to_owned())
        }
    })
}

fn configuration(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    files: &Files,
    clients: Option<&ClientRoots>,
) -> Result<(ServerConfig, Arc<Shown>), TlsError> {
    let unusable = |error| TlsError::Unusable {
        path: files.certificate.clone(),
        error,
    };
    let provider = aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|error| TlsError::UnsupportedKey {
        path: files.key.clone(),
        error,
    })?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch {
            path: files.certificate.clone(),
            key: files.key.clone(),
        },
        error => unusable(error),
    })?;
    let shown = Arc::new(Shown(ArcSwap::from_pointee(certified)));
    let builder = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(unusable)?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients.verifier()),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(shown.clone());
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    // Sessions are resumed by tickets, so that nothing is kept for a client that has gone. Their key is this
    // pair's own: after a renewal everybody sees the new certificate. There is no early data, which could be
    // replayed.
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
    config.send_tls13_tickets = 1;
    Ok((config, shown))
}
