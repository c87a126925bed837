//! The throw-away PKI behind `gnomon demo`: [`prepare`] makes it in a folder on the first start, uses it
//! again later and renews what has run out; [`banner`] says what there is and how to try it. Every file
//! is judged by what it holds, so a start that was cut short is completed by the next one.

mod crl;
mod folder;
mod pki;
mod text;
mod token;

use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::{
    io::{pkcs11::keys::VaultError, wall_clock::wall_clock},
    wire::{
        certificate::{Certificate, PublicKey},
        oid,
        time::Seconds,
    },
};

use crl::Crl;
use folder::Folder;
use pki::{Authority, DAY, Key, LEAVES, Leaf, PkiError};
pub use text::banner;
pub use token::DemoToken;

const CONFIG: &str = "gnomon.toml";
const CA: &str = "ca.pem";
const CA_KEY: &str = "ca.key";
const ISSUING: &str = "issuing.pem";
const ISSUING_KEY: &str = "issuing.key";
const CHAIN: &str = "chain.pem";
const CRL: &str = "issuing.crl";
const ISSUED: &str = "issued.txt";

/// What has less than this left is renewed.
const MARGIN: u64 = DAY;

/// Why the demo's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("{path}: cannot be {action}: {error}")]
    File {
        path: PathBuf,
        action: &'static str,
        error: io::Error,
    },
    #[error(
        "{dir}: holds `{found}`, which is not of a demo, and nothing is written beside it; name a new or empty folder"
    )]
    NotOurs { dir: PathBuf, found: String },
    #[error(
        "{0}: the CA's key is gone, so nothing can be issued or renewed; delete the folder and start again"
    )]
    CaKeyGone(PathBuf),
    #[error("{path}: {error}; delete the folder and start again")]
    Ca { path: PathBuf, error: PkiError },
    #[error("the demo's keys and certificates cannot be made: {0}")]
    Make(#[from] PkiError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("{0}")]
    Token(String),
}

/// A folder that the daemon can start from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The configuration file.
    pub config: PathBuf,
    /// What was made or renewed, one line each, for people. Empty where all was there already.
    pub made: Vec<String>,
}

/// `gnomon demo`: prepares `dir` and serves from it until it is told to stop.
pub fn run(
    dir: &Path,
    listen: SocketAddr,
    admin: SocketAddr,
    token: Option<&DemoToken>,
) -> ExitCode {
    let prepared = match prepare(dir, listen, admin, token, wall_clock()) {
        Ok(prepared) => prepared,
        Err(error) => {
            complain!("error: {error}\n");
            return ExitCode::FAILURE;
        }
    };
    super::serve::serve(&prepared.config, |addresses, _| {
        let listen = addresses.public.first().copied().unwrap_or(listen);
        crate::cli::out::say(format_args!(
            "{}",
            banner(dir, listen, addresses.admin, &prepared)
        ));
    })
}

/// Makes `dir` a complete demo at the time `now`: a root, an issuing CA, two TSUs, an OCSP responder, end
/// entities, a CRL and `gnomon.toml`. `listen` goes into the configuration and, unless its port is 0,
/// into the certificates as the place to ask for their status.
///
/// # Errors
/// A folder with files in it that are not a demo's, a CA without its key, and whatever the file system
/// refuses. Nothing is written before the first two are ruled out.
pub fn prepare(
    dir: &Path,
    listen: SocketAddr,
    admin: SocketAddr,
    token: Option<&DemoToken>,
    now: Seconds,
) -> Result<Prepared, DemoError> {
    let folder = Folder::open(dir)?;
    check_ours(&folder)?;
    let kept = authority(&folder, now)?;
    let mut made = Vec::new();
    // First, since it marks the folder as ours.
    write_config(&folder, &text::config(listen, admin, token)?, &mut made)?;
    let fresh = kept.is_none();
    let issuing = match kept {
        Some(issuing) => issuing,
        None => make_authority(&folder, now, &mut made)?,
    };
    let url = (listen.port() != 0).then(|| format!("http://{}/ocsp", text::reachable(listen)));
    let leaves = leaves(&folder, &issuing, url.as_deref(), token, now)?;
    // In this order a crash leaves at worst a serial that no certificate has.
    write_issued(&folder, &leaves, fresh)?;
    write_leaves(&folder, &leaves, &mut made)?;
    write_crl(&folder, &issuing, &leaves, now, &mut made)?;
    if let Some(url) = url
        && leaves.iter().any(|leaf| names_another(leaf, &url))
    {
        made.push(format!(
            "certificates still name the address of an earlier start for OCSP, not {url}; delete one, such as good.pem, to have it made again"
        ));
    }
    Ok(Prepared {
        config: folder.path(CONFIG),
        made,
    })
}

/// Refuses a folder in which files could be somebody else's: CA keys must not be overwritten by a demo.
fn check_ours(folder: &Folder) -> Result<(), DemoError> {
    let foreign = |found: String| DemoError::NotOurs {
        dir: folder.dir().to_owned(),
        found,
    };
    if let Some(ca) = folder.read(CA)? {
        let certificates = Certificate::read_all(&ca).unwrap_or_default();
        let ours = certificates.first().is_some_and(|certificate| {
            let organization = pki::ORGANIZATION.as_bytes();
            let mut windows = certificate.subject().windows(organization.len());
            windows.any(|window| window == organization)
        });
        return if ours {
            Ok(())
        } else {
            Err(foreign(CA.into()))
        };
    }
    let config = folder.read(CONFIG)?;
    if config.is_some_and(|config| config.starts_with(text::MARKER.as_bytes())) {
        return Ok(());
    }
    match folder.foreign()? {
        Some(found) => Err(foreign(found)),
        None => Ok(()),
    }
}

/// The issuing CA that is there; `None` where both CAs are to be made.
fn authority(folder: &Folder, now: Seconds) -> Result<Option<Authority>, DemoError> {
    let read = |name: &str| -> Result<Option<Certificate>, DemoError> {
        let Some(content) = folder.read(name)? else {
            return Ok(None);
        };
        let first = |all: Vec<Certificate>| all.into_iter().next();
        Certificate::read_all(&content)
            .map(first)
            .map_err(|error| DemoError::Ca {
                path: folder.path(name),
                error: error.into(),
            })
    };
    let (Some(root), Some(issuing)) = (read(CA)?, read(ISSUING)?) else {
        return Ok(None);
    };
    if !is_current(&root, now) || !is_current(&issuing, now) || !issuing.is_issued_by(&root) {
        return Ok(None);
    }
    for name in [CA_KEY, ISSUING_KEY] {
        if !folder.has(name) {
            return Err(DemoError::CaKeyGone(folder.path(name)));
        }
    }
    let chain = chain(&issuing, &root);
    if folder.read(CHAIN)?.as_deref() != Some(chain.as_bytes()) {
        folder.write(CHAIN, chain.as_bytes(), folder::PUBLIC)?;
    }
    let key = folder.read_key(ISSUING_KEY)?.ok_or(PkiError::NotPkcs8);
    key.and_then(|key| Authority::new(issuing, key))
        .map(Some)
        .map_err(|error| DemoError::Ca {
            path: folder.path(ISSUING_KEY),
            error,
        })
}

fn is_current(certificate: &Certificate, now: Seconds) -> bool {
    certificate.not_before() <= now && now.plus(MARGIN) < certificate.not_after()
}

fn chain(issuing: &Certificate, root: &Certificate) -> String {
    folder::pem("CERTIFICATE", issuing.der()) + &folder::pem("CERTIFICATE", root.der())
}

fn make_authority(
    folder: &Folder,
    now: Seconds,
    made: &mut Vec<String>,
) -> Result<Authority, DemoError> {
    let root = Authority::root(now)?;
    let issuing = root.issuing(now)?;
    // issuing.pem comes last: without it the next start makes all of them again.
    folder.write_key(CA_KEY, root.key())?;
    folder.write_key(ISSUING_KEY, issuing.key())?;
    folder.write_certificate(CA, root.certificate())?;
    let chain = chain(issuing.certificate(), root.certificate());
    folder.write(CHAIN, chain.as_bytes(), folder::PUBLIC)?;
    folder.write_certificate(ISSUING, issuing.certificate())?;
    made.push(line(
        &[CA, CA_KEY],
        "the root, P-384: trust it in this demo",
    ));
    made.push(line(
        &[ISSUING, ISSUING_KEY],
        "the CA that issues the others, P-256",
    ));
    made.push(line(&[CHAIN], "both CA certificates in one file"));
    Ok(issuing)
}

/// A certificate in force, and its key where both are new.
struct Current {
    leaf: &'static Leaf,
    certificate: Certificate,
    new: Option<NewKey>,
    /// An earlier certificate was there.
    renewed: bool,
}

/// The key of a new certificate.
enum NewKey {
    File(Key),
    OnToken(PublicKey),
}

impl NewKey {
    const fn public(&self) -> &PublicKey {
        match self {
            Self::File(key) => key.public(),
            Self::OnToken(public) => public,
        }
    }
}

fn leaves(
    folder: &Folder,
    issuing: &Authority,
    url: Option<&str>,
    token: Option<&DemoToken>,
    now: Seconds,
) -> Result<Vec<Current>, DemoError> {
    let mut all = Vec::new();
    for leaf in &LEAVES {
        let content = folder.read(&certificate_file(leaf))?.unwrap_or_default();
        let there = Certificate::read_all(&content).unwrap_or_default();
        let there = there.into_iter().next();
        let there = there.filter(|there| there.is_issued_by(issuing.certificate()));
        let renewed = there.is_some();
        let token = token.filter(|_| leaf.serves());
        let public = match token {
            Some(token) => Some(token.key(leaf)?),
            None => folder
                .read_key(&key_file(leaf))?
                .map(|key| key.public().clone()),
        };
        let usable = there
            .filter(|there| is_current(there, now) && public.as_ref() == Some(there.public_key()));
        all.push(match usable {
            Some(certificate) => Current {
                leaf,
                certificate,
                new: None,
                renewed: false,
            },
            None => {
                let new = match (token, public) {
                    (Some(_), Some(public)) => NewKey::OnToken(public),
                    _ => NewKey::File(Key::generate(leaf.kind)?),
                };
                Current {
                    leaf,
                    certificate: issuing.certify(leaf, new.public(), url, now)?,
                    new: Some(new),
                    renewed,
                }
            }
        });
    }
    Ok(all)
}

fn certificate_file(leaf: &Leaf) -> String {
    format!("{}.pem", leaf.stem)
}

fn key_file(leaf: &Leaf) -> String {
    format!("{}.key", leaf.stem)
}

fn write_leaves(
    folder: &Folder,
    leaves: &[Current],
    made: &mut Vec<String>,
) -> Result<(), DemoError> {
    for current in leaves {
        let Some(key) = &current.new else { continue };
        let (certificate, key_name) = (certificate_file(current.leaf), key_file(current.leaf));
        let mut files = vec![certificate.as_str()];
        if let NewKey::File(key) = key {
            folder.write_key(&key_name, key)?;
            files.push(&key_name);
        }
        folder.write_certificate(&certificate, &current.certificate)?;
        let renewed = if current.renewed { " (renewed)" } else { "" };
        made.push(line(&files, &format!("{}{renewed}", current.leaf.meaning)));
    }
    Ok(())
}

/// Adds what the list lacks; serials of earlier certificates stay, unless the CA is new.
fn write_issued(folder: &Folder, leaves: &[Current], fresh: bool) -> Result<(), DemoError> {
    let before = match folder.read(ISSUED)? {
        Some(content) if !fresh => String::from_utf8_lossy(&content).into_owned(),
        _ => "# Serials the demo's issuing CA has given out, hexadecimal, one a line.\n".into(),
    };
    let known: BTreeSet<&str> = before.lines().map(str::trim).collect();
    let mut after = before.clone();
    if !after.ends_with('\n') {
        after.push('\n');
    }
    for current in leaves {
        let serial = hex::encode(current.certificate.serial());
        if !known.contains(serial.as_str()) {
            after.push_str(&serial);
            after.push('\n');
        }
    }
    if after == before {
        return Ok(());
    }
    folder.write(ISSUED, after.as_bytes(), folder::PUBLIC)
}

fn write_crl(
    folder: &Folder,
    issuing: &Authority,
    leaves: &[Current],
    now: Seconds,
    made: &mut Vec<String>,
) -> Result<(), DemoError> {
    let before = folder.read(CRL)?.and_then(|content| Crl::read(&content));
    // The number goes on even where the CA is another; its clock part serves where no CRL is left.
    let number = before.as_ref().map_or(0, |crl| crl.number);
    let number = number.saturating_add(1).max(now.get());
    let before = before.filter(|crl| crl.is_signed_by(issuing.certificate()));
    let listed = |certificate| before.as_ref().is_some_and(|crl| crl.lists(certificate));
    let mut added = Vec::new();
    for current in leaves {
        if let Some(reason) = current.leaf.revoked
            && !listed(&current.certificate)
        {
            added.push(crl::revoked(&current.certificate, reason));
        }
    }
    let current = before
        .as_ref()
        .is_some_and(|crl| crl.this_update <= now && now.plus(MARGIN) < crl.next_update);
    if current && added.is_empty() {
        return Ok(());
    }
    let renewed = if before.is_some() { " (renewed)" } else { "" };
    let kept = before.into_iter().flat_map(|crl| crl.entries);
    let entries: Vec<_> = kept.map(|(_, entry)| entry).chain(added).collect();
    let crl = issuing.crl(number, &entries, now)?;
    folder.write(CRL, &crl, folder::PUBLIC)?;
    let until = now.plus(pki::CRL_LIFE);
    made.push(line(
        &[CRL, ISSUED],
        &format!("what is revoked, until {until}; all serials{renewed}"),
    ));
    Ok(())
}

fn write_config(folder: &Folder, wanted: &str, made: &mut Vec<String>) -> Result<(), DemoError> {
    let meaning = match folder.read(CONFIG)? {
        None => "the configuration, with comments",
        Some(there) if there == wanted.as_bytes() => return Ok(()),
        Some(there) if there.starts_with(text::MARKER.as_bytes()) => {
            "the configuration, rewritten for other addresses or keys"
        }
        Some(_) => {
            made.push(line(
                &[CONFIG],
                "edited by you and left alone: --listen and --admin are not applied",
            ));
            return Ok(());
        }
    };
    folder.write(CONFIG, wanted.as_bytes(), folder::PUBLIC)?;
    made.push(line(&[CONFIG], meaning));
    Ok(())
}

/// Whether the certificate names an OCSP address that is not `url`.
fn names_another(current: &Current, url: &str) -> bool {
    let access = current.certificate.extension(oid::AUTHORITY_INFO_ACCESS);
    access.is_some_and(|(_, value)| !value.windows(url.len()).any(|part| part == url.as_bytes()))
}

fn line(files: &[&str], meaning: &str) -> String {
    format!("{:<30} {meaning}", files.join(", "))
}
