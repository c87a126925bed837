//! Certificates of clients: [`ClientRoots`] is whom they are taken from, [`ShownCertificate`] what is known of the one
//! that was shown. Showing none is no error here; what then may be asked is decided by request.

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use tokio_rustls::rustls::{
    RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, UnixTime},
    server::{VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
};

use crate::wire::{
    algorithm::sha256,
    certificate::{Certificate, CertificateError},
    name::ComparableName,
};

/// Tells one set of CAs from another: a digest over their certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaId([u8; 32]);

/// The CAs of one rule.
#[derive(Debug, Clone)]
pub struct ClientCas {
    pub id: CaId,
    verifier: Arc<dyn ClientCertVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

/// Why certificates are no CAs.
#[derive(Debug, thiserror::Error)]
pub enum ClientCasError {
    #[error("{0}")]
    Malformed(#[from] CertificateError),
    #[error("a certificate in it cannot be a CA: {0}")]
    Unusable(String),
}

impl From<VerifierBuilderError> for ClientCasError {
    fn from(error: VerifierBuilderError) -> Self {
        Self::Unusable(error.to_string())
    }
}

impl ClientCas {
    /// From a file's content, PEM or DER.
    pub fn read(content: &[u8]) -> Result<Self, ClientCasError> {
        let certificates: Vec<_> = Certificate::read_all(content)?
            .iter()
            .map(|certificate| CertificateDer::from(certificate.der().to_vec()))
            .collect();
        let parts: Vec<&[u8]> = certificates.iter().map(AsRef::as_ref).collect();
        Ok(Self {
            id: CaId(sha256(&parts)),
            verifier: verifier(certificates.iter())?,
            certificates,
        })
    }
}

fn verifier<'a>(
    certificates: impl Iterator<Item = &'a CertificateDer<'static>>,
) -> Result<Arc<dyn ClientCertVerifier>, ClientCasError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let added = roots.add(certificate.clone());
        added.map_err(|error| ClientCasError::Unusable(error.to_string()))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
    Ok(builder.allow_unauthenticated().build()?)
}

/// Every CA that may have issued a client's certificate.
#[derive(Clone)]
pub struct ClientRoots {
    each: Vec<ClientCas>,
    all: Arc<dyn ClientCertVerifier>,
}

impl ClientRoots {
    /// `None` where there is no CA.
    pub fn new(each: Vec<ClientCas>) -> Result<Option<Self>, ClientCasError> {
        if each.is_empty() {
            return Ok(None);
        }
        let all = each.iter().flat_map(|cas| &cas.certificates);
        Ok(Some(Self {
            all: verifier(all)?,
            each,
        }))
    }

    /// Which they are.
    pub fn ids(&self) -> Vec<CaId> {
        self.each.iter().map(|cas| cas.id).collect()
    }

    /// For handshakes.
    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.all)
    }

    /// What is known of a chain that was shown, the client's own certificate first. The handshake has shown that one
    /// of the CAs is above it; this says which ones.
    pub fn shown(&self, chain: &[CertificateDer<'_>]) -> Option<ShownCertificate> {
        let (own, intermediates) = chain.split_first()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let now = UnixTime::since_unix_epoch(now);
        let (subject, key) = Certificate::subject_and_key(own).ok()?;
        let trusts = |cas: &&ClientCas| {
            let verified = cas.verifier.verify_client_cert(own, intermediates, now);
            verified.is_ok()
        };
        Some(ShownCertificate {
            subject: ComparableName::from_der(subject).ok()?,
            key: sha256(&[key]),
            issued_by: self.each.iter().filter(trusts).map(|cas| cas.id).collect(),
        })
    }
}

impl fmt::Debug for ClientRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientRoots").finish_non_exhaustive()
    }
}

/// A client's certificate.
#[derive(Debug)]
pub struct ShownCertificate {
    pub subject: ComparableName,
    /// The SHA-256 of its subjectPublicKeyInfo.
    pub key: [u8; 32],
    /// The sets of CAs that one of is above it.
    pub issued_by: Vec<CaId>,
}
