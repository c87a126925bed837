//! The configuration file as it is written: [`Spec`], with every default in one place.

mod access;
mod issuer;
mod lists;
mod log;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IntoDeserializer},
};

use super::{
    AnchorConfig, ClockConfig, Config, Http, JournalConfig, KeyConfig, KeyPlace, PinSource,
    RevocationConfig, SuccessorConfig, TlsConfig, TokenKeyConfig, TokenName, TsuConfig,
    units::{Size, Span},
};
use access::{AccessSpec, AdminSpec, Names, Range, ranges};
use issuer::IssuerSpec;
use log::LogSpec;

use crate::{
    clock::LeapPolicy,
    tsa::Accuracy,
    wire::{
        algorithm::{DigestAlgorithm, SignatureAlgorithm},
        oid::PolicyOid,
        time::Seconds,
        tst_info::Precision,
    },
};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    #[serde(deserialize_with = "lists::addresses")]
    listen: Vec<SocketAddr>,
    admin: Option<AdminSpec>,
    #[serde(default, deserialize_with = "rules")]
    access: Vec<AccessSpec>,
    #[serde(default, deserialize_with = "lists::names")]
    admin_names: Vec<String>,
    #[serde(default)]
    http: HttpSpec,
    tls: Option<TlsSpec>,
    #[serde(default)]
    clock: ClockSpec,
    journal: JournalSpec,
    #[serde(default)]
    ocsp: OcspSpec,
    #[serde(default)]
    revocation: RevocationSpec,
    #[serde(default)]
    log: LogSpec,
    #[serde(default, deserialize_with = "tsus")]
    tsu: Vec<TsuSpec>,
    #[serde(default, deserialize_with = "issuers")]
    issuer: Vec<IssuerSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpSpec {
    workers: Option<usize>,
    header_timeout: Option<Span>,
    body_timeout: Option<Span>,
    write_timeout: Option<Span>,
    body: Option<Size>,
    connections: Option<usize>,
    grace: Option<Span>,
    #[serde(default)]
    access: Names,
    #[serde(default, deserialize_with = "access::networks")]
    forwarded_from: Vec<Range>,
    #[serde(default, deserialize_with = "access::networks")]
    proxy_protocol_from: Vec<Range>,
}

impl HttpSpec {
    fn resolve(self) -> Http {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Http {
            workers: self.workers.unwrap_or(cores),
            header_timeout: span(self.header_timeout, Duration::from_secs(10)),
            body_timeout: span(self.body_timeout, Duration::from_secs(10)),
            write_timeout: span(self.write_timeout, Duration::from_secs(10)),
            body: self.body.map_or(64 << 10, |size| size.0),
            connections: self.connections.unwrap_or(10_000),
            grace: span(self.grace, Duration::from_secs(10)),
            access: self.access.resolve(),
            forwarded_from: ranges(self.forwarded_from),
            proxy_protocol_from: ranges(self.proxy_protocol_from),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsSpec {
    #[serde(deserialize_with = "lists::addresses")]
    listen: Vec<SocketAddr>,
    certificate: PathBuf,
    key: PathBuf,
    #[serde(default)]
    staple: StapleSpec,
    #[serde(default)]
    access: Names,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StapleSpec {
    /// Where a response can be had.
    #[default]
    Auto,
    Off,
}

impl TlsSpec {
    fn resolve(self, base: &Path) -> TlsConfig {
        TlsConfig {
            listen: self.listen,
            certificate: base.join(self.certificate),
            key: base.join(self.key),
            staple: self.staple == StapleSpec::Auto,
            access: self.access.resolve(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockSpec {
    #[serde(default)]
    source: ClockSource,
    socket: Option<PathBuf>,
    helper: Option<String>,
    kernel_gate: Option<bool>,
    sources: Option<u16>,
    usable_sources: Option<u16>,
    max_stratum: Option<u16>,
    silence: Option<Span>,
    settle: Option<Span>,
    leap: Option<LeapPolicy>,
    leap_table: Option<PathBuf>,
}

impl ClockSpec {
    fn resolve(self, base: &Path) -> ClockConfig {
        ClockConfig {
            source: self.source,
            socket: base.join(
                self.socket
                    .unwrap_or_else(|| PathBuf::from("/run/gnomon/clock.sock")),
            ),
            helper: self.helper.unwrap_or_else(|| "gnomon-clockwatch".into()),
            kernel_gate: self.kernel_gate.unwrap_or(true),
            sources: self.sources.unwrap_or(4),
            usable_sources: self.usable_sources.unwrap_or(3),
            max_stratum: self.max_stratum.unwrap_or(4),
            silence: span(self.silence, Duration::from_secs(300)),
            settle: span(self.settle, Duration::from_secs(60)),
            leap: self.leap.unwrap_or_default(),
            // Debian's; a leap second is announced half a year before.
            leap_table: base.join(
                self.leap_table
                    .unwrap_or_else(|| PathBuf::from("/usr/share/zoneinfo/leap-seconds.list")),
            ),
        }
    }
}

pub use log::{LogFormat, LogLevel};

/// Who vouches for the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockSource {
    /// chronyd, by the word of the helper beside it.
    Chrony,
    /// The kernel's discipline: an NTP daemon keeps the clock, and `adjtimex` says so.
    #[default]
    Kernel,
    /// Nobody: for TSUs marked demo.
    Unproven,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JournalSpec {
    dir: PathBuf,
    log_key: Option<PathBuf>,
    origin: Option<String>,
    checkpoint_interval: Option<Span>,
    segment_size: Option<Size>,
    #[serde(default)]
    keep_tokens: bool,
    warn_free: Option<Size>,
    stop_free: Option<Size>,
    #[serde(default)]
    publish: bool,
    anchor: Option<AnchorSpec>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnchorSpec {
    url: String,
    interval: Option<Span>,
    trust: PathBuf,
}

impl JournalSpec {
    fn resolve(self, base: &Path) -> JournalConfig {
        let dir = base.join(self.dir);
        let octets = |size: Option<Size>, default: u64| {
            size.map_or(default, |size| u64::try_from(size.0).unwrap_or(u64::MAX))
        };
        JournalConfig {
            log_key: match self.log_key {
                Some(path) => base.join(path),
                None => dir.join("log.key"),
            },
            origin: self.origin,
            // A proof is wanted seconds after the token, and a checkpoint costs a sync of all files.
            checkpoint_interval: span(self.checkpoint_interval, Duration::from_secs(5)),
            segment_size: octets(self.segment_size, 64 << 20),
            keep_tokens: self.keep_tokens,
            // At 40,000 tokens a second, the fastest measured, a GiB is a minute.
            warn_free: octets(self.warn_free, 1 << 30),
            stop_free: octets(self.stop_free, 64 << 20),
            publish: self.publish,
            anchor: self.anchor.map(|anchor| AnchorConfig {
                url: anchor.url,
                interval: span(anchor.interval, Duration::from_secs(3_600)),
                trust: base.join(anchor.trust),
            }),
            dir,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct OcspSpec {
    nonce: Option<bool>,
    sealed_answers: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RevocationSpec {
    dir: Option<PathBuf>,
    fetch_timeout: Option<Span>,
    largest_crl: Option<Size>,
}

impl RevocationSpec {
    /// Beside the journal, unless it says otherwise.
    fn resolve(self, base: &Path, journal: &Path) -> RevocationConfig {
        RevocationConfig {
            dir: match self.dir {
                Some(dir) => base.join(dir),
                None => base.join(journal.with_file_name("revocation")),
            },
            // Half a gigabyte at 2 MB/s.
            fetch_timeout: span(self.fetch_timeout, Duration::from_secs(300)),
            // Ten million entries of 50 octets.
            largest_crl: self
                .largest_crl
                .and_then(|size| u64::try_from(size.0).ok())
                .unwrap_or(512 << 20),
        }
    }
}

/// Sessions at a token: what small devices allow, and enough for two cores.
const DEFAULT_SESSIONS: usize = 4;

/// How many wait for each session.
const DEFAULT_QUEUE: usize = 128;

/// For one signature; network HSMs fail over within a few seconds.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a file name, or { module = \"...\", token = \"...\", label = \"...\", pin_file = \"...\" }; other fields: tokens, token_serial, slot, id, pin_credential, pin_env, sessions, queue, deadline, verify_signatures"
)]
enum KeySpec {
    File(PathBuf),
    Token(Box<TokenKeySpec>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenKeySpec {
    module: PathBuf,
    token: Option<String>,
    #[serde(default)]
    tokens: Vec<String>,
    #[serde(default, deserialize_with = "one_or_many")]
    token_serial: Vec<String>,
    #[serde(default, deserialize_with = "one_or_many")]
    slot: Vec<u64>,
    label: Option<String>,
    #[serde(default, deserialize_with = "hexadecimal")]
    id: Option<Vec<u8>>,
    pin_file: Option<PathBuf>,
    pin_credential: Option<String>,
    pin_env: Option<String>,
    sessions: Option<usize>,
    queue: Option<usize>,
    deadline: Option<Span>,
    verify_signatures: Option<bool>,
}

fn one_or_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given<T> {
        One(T),
        Many(Vec<T>),
    }
    Given::deserialize(deserializer).map(|given| match given {
        Given::One(one) => vec![one],
        Given::Many(many) => many,
    })
}

impl KeySpec {
    fn resolve(self, signature: Option<SignatureAlgorithm>, base: &Path) -> KeyConfig {
        let place = match self {
            Self::File(path) => KeyPlace::File(base.join(path)),
            Self::Token(token) => {
                let labels = token
                    .token
                    .into_iter()
                    .chain(token.tokens)
                    .map(TokenName::Label);
                let pin = match (token.pin_file, token.pin_credential, token.pin_env) {
                    (None, None, None) => PinSource::None,
                    (Some(file), None, None) => PinSource::File(base.join(file)),
                    (None, Some(name), None) => PinSource::Credential(name),
                    (None, None, Some(name)) => PinSource::Environment(name),
                    _ => PinSource::Several,
                };
                KeyPlace::Token(TokenKeyConfig {
                    module: base.join(token.module),
                    tokens: labels
                        .chain(token.token_serial.into_iter().map(TokenName::Serial))
                        .chain(token.slot.into_iter().map(TokenName::Slot))
                        .collect(),
                    label: token.label,
                    id: token.id,
                    pin,
                    sessions: token.sessions.unwrap_or(DEFAULT_SESSIONS),
                    queue: token.queue.unwrap_or(DEFAULT_QUEUE),
                    deadline: span(token.deadline, DEFAULT_DEADLINE),
                    verify_signatures: token.verify_signatures.unwrap_or(true),
                })
            }
        };
        KeyConfig { place, signature }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TsuSpec {
    name: String,
    #[serde(default)]
    default: bool,
    #[serde(default)]
    demo: bool,
    key: KeySpec,
    #[serde(default, deserialize_with = "signature")]
    signature: Option<SignatureAlgorithm>,
    certificate: PathBuf,
    chain: Option<PathBuf>,
    #[serde(deserialize_with = "lists::policies")]
    policies: Vec<PolicyOid>,
    #[serde(default, deserialize_with = "lists::digests")]
    digests: Option<Vec<DigestAlgorithm>>,
    #[serde(default)]
    precision: Precision,
    #[serde(default, deserialize_with = "accuracy")]
    accuracy: Option<Accuracy>,
    signing_delay: Option<Span>,
    #[serde(default)]
    tsa_field: bool,
    #[serde(default)]
    qualified: bool,
    #[serde(default)]
    code_signing: bool,
    #[serde(default)]
    access: Names,
    successor: Option<SuccessorSpec>,
}

impl TsuSpec {
    fn resolve(self, base: &Path) -> TsuConfig {
        let at = |path: PathBuf| base.join(path);
        TsuConfig {
            name: self.name,
            default: self.default,
            demo: self.demo,
            key: self.key.resolve(self.signature, base),
            certificate: at(self.certificate),
            chain: self.chain.map(at),
            policies: self.policies,
            digests: self.digests.unwrap_or_else(|| {
                let modern = |digest: &DigestAlgorithm| *digest != DigestAlgorithm::Sha1;
                DigestAlgorithm::ALL.into_iter().filter(modern).collect()
            }),
            precision: self.precision,
            accuracy: self.accuracy.unwrap_or(Accuracy::Fixed(ACCURACY)),
            signing_delay: span(self.signing_delay, Duration::from_millis(100)),
            tsa_field: self.tsa_field,
            qualified: self.qualified,
            code_signing: self.code_signing,
            access: self.access.resolve(),
            successor: self.successor.map(|successor| successor.resolve(base)),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SuccessorSpec {
    key: KeySpec,
    #[serde(default, deserialize_with = "signature")]
    signature: Option<SignatureAlgorithm>,
    certificate: Option<PathBuf>,
    chain: Option<PathBuf>,
    #[serde(deserialize_with = "instant")]
    from: Seconds,
}

impl SuccessorSpec {
    fn resolve(self, base: &Path) -> SuccessorConfig {
        SuccessorConfig {
            key: self.key.resolve(self.signature, base),
            certificate: self.certificate.map(|path| base.join(path)),
            chain: self.chain.map(|path| base.join(path)),
            from: self.from,
        }
    }
}

impl Spec {
    /// Fills in the defaults and makes paths relative to `base`, the file's folder.
    pub fn resolve(self, file: &Path, base: &Path, sha256: [u8; 32]) -> Config {
        let mut tsus: Vec<_> = self.tsu.into_iter().map(|tsu| tsu.resolve(base)).collect();
        if let [only] = tsus.as_mut_slice() {
            only.default = true;
        }
        let rules = self.access.into_iter().map(|rule| rule.resolve(base));
        let issuers = self.issuer.into_iter().map(|issuer| issuer.resolve(base));
        Config {
            file: file.to_owned(),
            sha256,
            listen: self.listen,
            admin: self.admin.map(|admin| admin.resolve(base)),
            admin_names: self.admin_names,
            access: rules.collect(),
            http: self.http.resolve(),
            tls: self.tls.map(|tls| tls.resolve(base)),
            clock: self.clock.resolve(base),
            revocation: self.revocation.resolve(base, &self.journal.dir),
            journal: self.journal.resolve(base),
            log: self.log.resolve(),
            nonce: self.ocsp.nonce.unwrap_or(true),
            sealed_answers: self.ocsp.sealed_answers.unwrap_or(100_000),
            tsus,
            issuers: issuers.collect(),
        }
    }
}

fn span(span: Option<Span>, default: Duration) -> Duration {
    span.map_or(default, |span| span.0)
}

fn tsus<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<TsuSpec>, D::Error> {
    lists::list(d, "a list of tables; write [[tsu]] above each")
}

fn issuers<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<IssuerSpec>, D::Error> {
    lists::list(d, "a list of tables; write [[issuer]] above each")
}

fn rules<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<AccessSpec>, D::Error> {
    lists::list(d, "a list of tables; write [[access]] above each")
}

/// What is declared, or the worst that may be, unless configured: what ETSI EN 319 421 asks for.
const ACCURACY: Duration = Duration::from_secs(1);

fn accuracy<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Accuracy>, D::Error> {
    let text = String::deserialize(d)?;
    if text == "measured" {
        return Ok(Some(Accuracy::Measured(ACCURACY)));
    }
    let read = Span::deserialize(text.into_deserializer());
    read.map(|span: Span| Some(Accuracy::Fixed(span.0)))
}

fn signature<'de, D: Deserializer<'de>>(d: D) -> Result<Option<SignatureAlgorithm>, D::Error> {
    let name = String::deserialize(d)?;
    let found = SignatureAlgorithm::ALL
        .into_iter()
        .find(|algorithm| algorithm.name() == name);
    found.map(Some).ok_or_else(|| {
        let names: Vec<_> = SignatureAlgorithm::ALL
            .map(|algorithm| algorithm.name())
            .into();
        D::Error::custom(format!(
            "`{name}` is no signature algorithm; use one of {}",
            names.join(", ")
        ))
    })
}

fn hexadecimal<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text = String::deserialize(d)?;
    let octets = hex::decode(text.replace([':', ' '], ""));
    octets
        .map(Some)
        .map_err(|_| D::Error::custom(format!("`{text}` is not hexadecimal")))
}

/// A TOML date-time in UTC, to the second.
fn instant<'de, D: Deserializer<'de>>(d: D) -> Result<Seconds, D::Error> {
    let written = toml::value::Datetime::deserialize(d)?;
    let wrong = || {
        D::Error::custom(format!(
            "`{written}` is no instant in UTC such as 2027-01-31T12:00:00Z"
        ))
    };
    let (Some(date), Some(time), Some(toml::value::Offset::Z)) =
        (written.date, written.time, written.offset)
    else {
        return Err(wrong());
    };
    let second = time.second.unwrap_or(0);
    der::DateTime::new(
        date.year,
        date.month,
        date.day,
        time.hour,
        time.minute,
        second,
    )
    .map(Seconds::from)
    .map_err(|_| wrong())
}
