//! From a TOML file to meaning. [`Config::read`] gives every setting resolved and typed, or every
//! [`Problem`] at once, by [`rules`]; [`advice`] names what is legal but unwise, [`reload`] what a running appliance can
//! take up. The file's own shape is [`v1`].
#![allow(clippy::disallowed_methods)] // reads the one file it is for

pub mod access;
pub mod advice;
pub mod chrony;
mod exposure;
pub mod reload;
mod rules;
mod units;
mod v1;

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;

use crate::{
    clock::LeapPolicy,
    ocsp::issuer::Unlisted,
    tsa::Accuracy,
    wire::{
        algorithm::{DigestAlgorithm, SignatureAlgorithm, sha256},
        oid::PolicyOid,
        time::Seconds,
        tst_info::Precision,
    },
};

pub use access::{AccessConfig, AdminConfig, Rate};
pub use v1::{ClockSource, LogFormat, LogLevel};

/// One thing that is wrong: where, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file it is in.
    pub file: PathBuf,
    /// The field, dotted; empty where the whole file is meant.
    pub field: String,
    /// What is wrong and what to do, lower case.
    pub what: String,
    /// Whether the next start may go well although nobody has mended anything.
    pub may_pass: bool,
}

impl Problem {
    pub fn new(file: &Path, field: impl Into<String>, what: impl fmt::Display) -> Self {
        Self {
            file: file.to_owned(),
            field: field.into(),
            what: what.to_string(),
            may_pass: false,
        }
    }

    /// The same, where it hangs on something beside the appliance that comes and goes.
    #[must_use]
    pub fn that_may_pass(self) -> Self {
        Self {
            may_pass: true,
            ..self
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.what)
    }
}

/// All settings in force. Paths are absolute or relative to the working directory, never to the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file this came from.
    pub file: PathBuf,
    /// Of the text in it.
    pub sha256: [u8; 32],
    /// Where clients connect.
    pub listen: Vec<SocketAddr>,
    /// Where the operator and Prometheus connect.
    pub admin: Option<AdminConfig>,
    /// What browsers may call that, beside its address, `localhost` and the host's own name.
    pub admin_names: Vec<String>,
    /// The rules that `access` names.
    pub access: Vec<AccessConfig>,
    pub http: Http,
    /// HTTPS beside plain HTTP.
    pub tls: Option<TlsConfig>,
    pub clock: ClockConfig,
    pub journal: JournalConfig,
    /// Whether nonces are echoed; off, answers go without one (RFC 9654 2.1).
    pub nonce: bool,
    pub revocation: RevocationConfig,
    /// Sealed answers kept in memory.
    pub sealed_answers: usize,
    pub log: LogConfig,
    pub tsus: Vec<TsuConfig>,
    pub issuers: Vec<IssuerConfig>,
}

/// Who vouches for the clock, and what is asked of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockConfig {
    pub source: ClockSource,
    /// Of the helper beside chronyd.
    pub socket: PathBuf,
    /// The user that the helper runs as, by name or number.
    pub helper: String,
    /// Whether the kernel must say too that the clock is kept.
    pub kernel_gate: bool,
    /// How many sources chronyd must have at least, and how many of them must be usable.
    pub sources: u16,
    pub usable_sources: u16,
    pub max_stratum: u16,
    /// How long all sources may be silent, unless eight of chronyd's polls are longer.
    pub silence: Duration,
    /// How long the clock is watched after a step, a suspend or a restart of chronyd before tokens are signed.
    pub settle: Duration,
    pub leap: LeapPolicy,
    /// The table of leap seconds whose expiry is watched.
    pub leap_table: PathBuf,
}

/// How the journal is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalConfig {
    pub dir: PathBuf,
    /// The Ed25519 key that signs the log's checkpoints.
    pub log_key: PathBuf,
    /// The log's name; made of the key where none is given.
    pub origin: Option<String>,
    pub checkpoint_interval: Duration,
    /// Octets.
    pub segment_size: u64,
    /// Whether records hold whole tokens.
    pub keep_tokens: bool,
    /// Octets of free space at which the operator is warned, and at which no token is issued.
    pub warn_free: u64,
    pub stop_free: u64,
    /// Whether the log is served under `/log/`.
    pub publish: bool,
    pub anchor: Option<AnchorConfig>,
}

/// Another TSA that time-stamps the log's checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchorConfig {
    pub url: String,
    pub interval: Duration,
    /// CA certificates (PEM) that the other TSA's certificate must lead to.
    pub trust: PathBuf,
}

/// What is said while the appliance runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    pub format: LogFormat,
    /// The least; the environment variable `GNOMON_LOG` overrides it.
    pub level: LogLevel,
    /// Whether there is a line for each request.
    pub requests: bool,
    /// Of those, how many in a second at most.
    pub request_lines: u32,
}

/// Limits of the public listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    pub workers: usize,
    pub header_timeout: Duration,
    pub body_timeout: Duration,
    /// How long an answer may wait for a client that reads nothing.
    pub write_timeout: Duration,
    /// Octets.
    pub body: usize,
    pub connections: usize,
    /// How long a stop waits for requests under way.
    pub grace: Duration,
    /// Rules of which one must match on the plain listeners; empty: everybody may ask.
    pub access: Vec<String>,
    /// Proxies whose X-Forwarded-For is believed.
    pub forwarded_from: Vec<IpNet>,
    /// Proxies whose connections must begin with the PROXY protocol.
    pub proxy_protocol_from: Vec<IpNet>,
}

/// Where HTTPS is spoken, and by what certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    pub listen: Vec<SocketAddr>,
    /// The server's own first, then the intermediates above it.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Whether an OCSP response about it goes into the handshake, where one can be had.
    pub staple: bool,
    /// As [`Http::access`].
    pub access: Vec<String>,
}

/// One time-stamping unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TsuConfig {
    pub name: String,
    pub default: bool,
    pub demo: bool,
    pub key: KeyConfig,
    pub certificate: PathBuf,
    pub chain: Option<PathBuf>,
    pub policies: Vec<PolicyOid>,
    pub digests: Vec<DigestAlgorithm>,
    pub precision: Precision,
    pub accuracy: Accuracy,
    pub signing_delay: Duration,
    pub tsa_field: bool,
    pub qualified: bool,
    /// CA/B Forum code-signing profile: a key signs for 15 months.
    pub code_signing: bool,
    /// Rules of which one must match beside the listener's.
    pub access: Vec<String>,
    pub successor: Option<SuccessorConfig>,
}

/// The key and certificate that take over at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuccessorConfig {
    pub key: KeyConfig,
    /// None: for a responder that is the CA itself.
    pub certificate: Option<PathBuf>,
    pub chain: Option<PathBuf>,
    pub from: Seconds,
}

/// A key and how it signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyConfig {
    pub place: KeyPlace,
    /// Where the key's kind leaves a choice.
    pub signature: Option<SignatureAlgorithm>,
}

/// Where a key lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPlace {
    /// PKCS #8 in a file.
    File(PathBuf),
    Token(TokenKeyConfig),
}

/// A key on a PKCS #11 token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenKeyConfig {
    pub module: PathBuf,
    /// At least one; every one holds the key.
    pub tokens: Vec<TokenName>,
    /// CKA_LABEL and CKA_ID; at least one of them.
    pub label: Option<String>,
    pub id: Option<Vec<u8>>,
    pub pin: PinSource,
    /// Sessions on each token.
    pub sessions: usize,
    /// How many wait for each session before the next is refused.
    pub queue: usize,
    pub deadline: Duration,
    pub verify_signatures: bool,
}

/// What a token is found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenName {
    Label(String),
    Serial(String),
    Slot(u64),
}

/// Where the PIN comes from; never the configuration itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinSource {
    /// None is needed.
    None,
    /// It is not known which of them is meant; refused.
    Several,
    /// The first line of a file that only its owner can read.
    File(PathBuf),
    /// A systemd credential (LoadCredential=).
    Credential(String),
    Environment(String),
}

/// One CA whose certificates' status is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerConfig {
    pub name: String,
    pub certificate: PathBuf,
    pub crls: Vec<CrlConfig>,
    pub issued: Vec<PathBuf>,
    /// Whether serials may be pushed, and by whom.
    pub issued_push: Option<PushConfig>,
    pub unlisted: Unlisted,
    pub validity: Duration,
    pub archive_cutoff: ArchiveCutoffConfig,
    /// The CA has issued its last CRL, which has no end.
    pub retired: bool,
    /// Since when nothing that the CA issued is good.
    pub compromised: Option<Seconds>,
    pub responders: Vec<ResponderConfig>,
}

/// From when on a revocation is still known after its certificate ended (RFC 6960 4.4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ArchiveCutoffConfig {
    /// Nothing is said of it.
    #[default]
    None,
    /// The CA certificate's notBefore.
    NotBefore,
    /// So long before each answer.
    Period(Duration),
}

/// Who may push serials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushConfig {
    /// Holds the bearer token to be shown.
    pub token_file: PathBuf,
}

/// Where accepted CRLs are kept, and how they are fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationConfig {
    pub dir: PathBuf,
    /// For one CRL, from the connection to the last octet.
    pub fetch_timeout: Duration,
    /// Octets, packed and unpacked.
    pub largest_crl: u64,
}

/// Where a CRL comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CrlPlace {
    File(PathBuf),
    Url(String),
}

/// One CRL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrlConfig {
    /// Where it is, and its mirrors.
    pub places: Vec<CrlPlace>,
    pub delta: DeltaConfig,
    /// A name that its issuing distribution point must have.
    pub distribution_point: Option<String>,
}

/// Where the delta to a CRL is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeltaConfig {
    None,
    /// In one place, and its mirrors.
    At(Vec<CrlPlace>),
    /// Where the complete CRL says.
    Freshest,
}

/// One key that signs status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponderConfig {
    pub key: KeyConfig,
    /// None: the key is the CA's own.
    pub certificate: Option<PathBuf>,
    pub successor: Option<SuccessorConfig>,
}

impl Config {
    /// Reads and resolves `file`; otherwise every problem there is.
    pub fn read(file: &Path) -> Result<Self, Vec<Problem>> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            vec![Problem::new(
                file,
                "",
                format!("cannot be read: {error}; name a readable file with --config"),
            )]
        })?;
        Self::parse(&text, file)
    }

    /// The same from text; `file` is what problems name, and what paths are relative to.
    pub fn parse(text: &str, file: &Path) -> Result<Self, Vec<Problem>> {
        let spec: v1::Spec = toml::from_str(text)
            .map_err(|error| vec![Problem::new(file, "", error.to_string().trim_end())])?;
        let base = file.parent().unwrap_or(Path::new(""));
        let config = spec.resolve(file, base, sha256(&[text.as_bytes()]));
        let problems = rules::problems(&config);
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(problems)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_told_at_once() {
        let text = r#"
            listen = []
            [journal]
            dir = "journal"
            [[issuer]]
            name = "a b"
            certificate = "ca.pem"
            crl = []
            responder = []
            validity = "1h"
        "#;
        let problems = Config::parse(text, Path::new("dir/gnomon.toml")).unwrap_err();
        let fields: Vec<_> = problems
            .iter()
            .map(|problem| problem.field.as_str())
            .collect();
        assert_eq!(
            fields,
            [
                "listen",
                "issuer[0].name",
                "issuer[0].crl",
                "issuer[0].responder",
                "issuer[0].validity"
            ]
        );
    }

    #[test]
    fn every_key_is_held_against_the_rules() {
        // Neither label nor id.
        let key = "key = { module = \"m.so\", token = \"t\" }";
        let successor =
            format!("successor = {{ {key}, certificate = \"c\", from = 2027-01-31T12:00:00Z }}");
        let text = format!(
            "listen = [\"127.0.0.1:1\"]\n[journal]\ndir = \"j\"\n\
             [[tsu]]\nname = \"a\"\npolicies = [\"1.2.3\"]\n{key}\ncertificate = \"c\"\n{successor}\n\
             [[issuer]]\nname = \"i\"\ncertificate = \"c\"\ncrl = [\"c.crl\"]\n\
             responder = {{ {key}, certificate = \"c\", {successor} }}\n"
        );
        let problems = Config::parse(&text, Path::new("g.toml")).unwrap_err();
        let fields: Vec<_> = problems.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "tsu[0].key",
                "tsu[0].successor.key",
                "issuer[0].responder[0].key",
                "issuer[0].responder[0].successor.key"
            ],
            "{problems:?}"
        );
    }

    #[test]
    fn what_should_be_a_list_and_is_none_is_told_what_to_write() {
        let rest = "[journal]\ndir = \"j\"\n";
        let tsu = "name = \"a\"\nkey = \"k\"\ncertificate = \"c\"\n";
        let listen = "listen = [\"127.0.0.1:1\"]\n";
        for (text, expected) in [
            (
                "listen = \"127.0.0.1:1\"\n".to_owned() + rest,
                "expected a list of addresses, such as [\"0.0.0.0:3180\"]",
            ),
            (
                format!("{listen}{rest}[[tsu]]\n{tsu}policies = \"1.2.3\"\n"),
                "expected a list of OIDs, such as [\"1.2.3.4\"]",
            ),
            (
                format!("{listen}{rest}[tsu]\n{tsu}policies = [\"1.2.3\"]\n"),
                "expected a list of tables; write [[tsu]] above each",
            ),
            (
                format!(
                    "{listen}{rest}[[issuer]]\nname = \"a\"\ncertificate = \"c\"\ncrl = \"a.crl\"\n"
                ),
                "expected a list of CRLs, such as [\"ca.crl\"]",
            ),
            (
                format!("{listen}{rest}[http]\nforwarded_from = \"10.0.0.5\"\n"),
                "expected a list of networks, such as [\"10.0.0.0/8\", \"192.0.2.1\"]",
            ),
        ] {
            let problems = Config::parse(&text, Path::new("g.toml")).unwrap_err();
            assert!(problems[0].what.contains(expected), "{}", problems[0]);
        }
    }

    #[test]
    fn a_typo_names_the_line_and_what_there_is() {
        let problems = Config::parse("lisen = []", Path::new("g.toml")).unwrap_err();
        assert!(problems[0].what.contains("lisen") && problems[0].what.contains("listen"));
    }
}
