//! Keys in files: [`load`] reads an unencrypted PKCS #8 key and gives a [`Signer`]. Elliptic curves sign
//! in place, since 20 us are less than a hand-over costs under load; RSA, 2 ms and more, signs on threads
//! of its own, so that the network never waits for it.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    rsa,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaEncoding},
};
use zeroize::Zeroizing;

use super::{jobs::Jobs, places::Places};
use crate::{
    signing::{BoxFuture, Permit, Share, SignError, Signer},
    wire::{
        algorithm::SignatureAlgorithm,
        certificate::{CertificateError, PublicKey, pem_blocks},
    },
};

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SoftKeyError {
    #[error("{path}: the key file cannot be read: {error}")]
    Unreadable { path: PathBuf, error: io::Error },
    #[error(
        "{0}: the key is encrypted; write it without a passphrase in a file of mode 0600: openssl pkcs8 -topk8 -nocrypt"
    )]
    Encrypted(PathBuf),
    #[error(
        "{0}: no `-----BEGIN PRIVATE KEY-----` block and no DER; convert it: openssl pkcs8 -topk8 -nocrypt"
    )]
    NotPkcs8(PathBuf),
    #[error(
        "{0}: not a key of a supported kind; use P-256, P-384, RSA of 2048 bits and more, or Ed25519"
    )]
    Unsupported(PathBuf),
    #[error("{path}: a {kind} key cannot sign as {algorithm}")]
    WrongAlgorithm {
        path: PathBuf,
        kind: String,
        algorithm: SignatureAlgorithm,
    },
    #[error("{path}: {error}")]
    PublicKey {
        path: PathBuf,
        error: CertificateError,
    },
    #[error("{path}: the threads that sign cannot be started: {error}")]
    Threads { path: PathBuf, error: io::Error },
}

/// Reads the key in `path`. `algorithm` chooses where the key's kind leaves a choice (RSA: PKCS #1 v1.5
/// with SHA-256 unless it says otherwise). `threads` is how many sign at once with an RSA key.
pub fn load(
    path: &Path,
    algorithm: Option<SignatureAlgorithm>,
    threads: usize,
) -> Result<Arc<dyn Signer>, SoftKeyError> {
    let content =
        std::fs::read(path)
            .map(Zeroizing::new)
            .map_err(|error| SoftKeyError::Unreadable {
                path: path.to_owned(),
                error,
            })?;
    let der = pkcs8(&content, path)?;
    let public = |spki: &[u8]| {
        PublicKey::from_spki(spki).map_err(|error| SoftKeyError::PublicKey {
            path: path.to_owned(),
            error,
        })
    };
    let unsupported = || SoftKeyError::Unsupported(path.to_owned());
    let in_place = |key: InPlaceKey, own: SignatureAlgorithm, spki: &[u8]| {
        let key = InPlace {
            public: public(spki)?,
            algorithm: own,
            key,
        };
        match algorithm {
            Some(algorithm) if algorithm != own => Err(SoftKeyError::WrongAlgorithm {
                path: path.to_owned(),
                kind: key.public.kind().to_string(),
                algorithm,
            }),
            _ => Ok::<Arc<dyn Signer>, _>(Arc::new(key)),
        }
    };
    for (engine, own) in [
        (
            &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
            SignatureAlgorithm::EcdsaSha256,
        ),
        (
            &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
            SignatureAlgorithm::EcdsaSha384,
        ),
    ] {
        if let Ok(key) = EcdsaKeyPair::from_pkcs8(engine, &der) {
            let spki: PublicKeyX509Der<'_> =
                key.public_key().as_der().map_err(|_| unsupported())?;
            let spki = spki.as_ref().to_vec();
            return in_place(InPlaceKey::Ecdsa(key), own, &spki);
        }
    }
    if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der) {
        let spki: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(|_| unsupported())?;
        let spki = spki.as_ref().to_vec();
        return in_place(InPlaceKey::Ed25519(key), SignatureAlgorithm::Ed25519, &spki);
    }
    let key = rsa::KeyPair::from_pkcs8(&der).map_err(|_| unsupported())?;
    let spki: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(|_| unsupported())?;
    let public = public(spki.as_ref())?;
    let algorithm = algorithm.unwrap_or(SignatureAlgorithm::RsaSha256);
    let padding = padding(algorithm).ok_or_else(|| SoftKeyError::WrongAlgorithm {
        path: path.to_owned(),
        kind: public.kind().to_string(),
        algorithm,
    })?;
    match Threaded::start(key, padding, public, algorithm, threads.max(1)) {
        Ok(signer) => Ok(Arc::new(signer)),
        Err(error) => Err(SoftKeyError::Threads {
            path: path.to_owned(),
            error,
        }),
    }
}

/// The PKCS #8 structure in a file of PEM or DER.
pub fn pkcs8(content: &[u8], path: &Path) -> Result<Zeroizing<Vec<u8>>, SoftKeyError> {
    if content.first() == Some(&0x30) {
        return Ok(Zeroizing::new(content.to_vec()));
    }
    let blocks = pem_blocks(content, "PRIVATE KEY").unwrap_or_default();
    if let Some(der) = blocks.into_iter().next() {
        return Ok(Zeroizing::new(der));
    }
    let encrypted = content.windows(9).any(|window| window == b"ENCRYPTED");
    Err(if encrypted {
        SoftKeyError::Encrypted(path.to_owned())
    } else {
        SoftKeyError::NotPkcs8(path.to_owned())
    })
}

fn padding(algorithm: SignatureAlgorithm) -> Option<&'static dyn RsaEncoding> {
    Some(match algorithm {
        SignatureAlgorithm::RsaSha256 => &signature::RSA_PKCS1_SHA256,
        SignatureAlgorithm::RsaSha384 => &signature::RSA_PKCS1_SHA384,
        SignatureAlgorithm::RsaSha512 => &signature::RSA_PKCS1_SHA512,
        SignatureAlgorithm::PssSha256 => &signature::RSA_PSS_SHA256,
        SignatureAlgorithm::PssSha384 => &signature::RSA_PSS_SHA384,
        SignatureAlgorithm::PssSha512 => &signature::RSA_PSS_SHA512,
        _ => return None,
    })
}

enum InPlaceKey {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A key that signs where it is called.
struct InPlace {
    public: PublicKey,
    algorithm: SignatureAlgorithm,
    key: InPlaceKey,
}

impl fmt::Debug for InPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InPlace({})", self.algorithm)
    }
}

impl Signer for InPlace {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    fn permit(&self, _: Share) -> BoxFuture<'_, Result<Permit, SignError>> {
        Box::pin(std::future::ready(Ok(Permit::in_place())))
    }

    fn sign<'a>(
        &'a self,
        _: Permit,
        message: &'a [u8],
    ) -> BoxFuture<'a, Result<Vec<u8>, SignError>> {
        let signature = match &self.key {
            InPlaceKey::Ecdsa(key) => key.sign(&SystemRandom::new(), message),
            InPlaceKey::Ed25519(key) => key.try_sign(message),
        };
        let signature = signature.map(|signature| signature.as_ref().to_vec());
        Box::pin(std::future::ready(signature.map_err(|_| SignError::Failed)))
    }
}

/// How many may wait for a place, for each thread.
const QUEUE: usize = 128;

/// A key that signs on threads of its own. Dropping it closes the queue, and with it the threads.
struct Threaded {
    public: PublicKey,
    algorithm: SignatureAlgorithm,
    jobs: Arc<Jobs>,
    places: Places,
}

impl Threaded {
    fn start(
        key: rsa::KeyPair,
        padding: &'static dyn RsaEncoding,
        public: PublicKey,
        algorithm: SignatureAlgorithm,
        threads: usize,
    ) -> io::Result<Self> {
        let (jobs, key) = (Arc::new(Jobs::default()), Arc::new(key));
        for number in 0..threads {
            let (jobs, key) = (Arc::clone(&jobs), Arc::clone(&key));
            std::thread::Builder::new()
                .name(format!("sign-{number}"))
                .spawn(move || {
                    while let Some(job) = jobs.take(&mut Vec::new()) {
                        let mut signature = vec![0; key.public_modulus_len()];
                        let random = SystemRandom::new();
                        let signed = key.sign(padding, &random, &job.message, &mut signature);
                        job.finish(signed.map(|()| signature).map_err(|_| SignError::Failed));
                    }
                })?;
        }
        Ok(Self {
            public,
            algorithm,
            jobs,
            places: Places::new(threads, QUEUE),
        })
    }
}

impl Drop for Threaded {
    fn drop(&mut self) {
        self.jobs.close();
    }
}

impl fmt::Debug for Threaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Threaded({})", self.algorithm)
    }
}

impl Signer for Threaded {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    fn permit(&self, share: Share) -> BoxFuture<'_, Result<Permit, SignError>> {
        Box::pin(self.places.permit(share, false))
    }

    fn sign<'a>(
        &'a self,
        permit: Permit,
        message: &'a [u8],
    ) -> BoxFuture<'a, Result<Vec<u8>, SignError>> {
        let mut pending = self.jobs.push(message, permit);
        Box::pin(async move { pending.signature().await })
    }
}
