//! From the configuration to parts that are ready to serve: [`assemble`] reads every key, certificate and
//! CRL, and gives all [`Parts`] or every problem there is.

use std::{
    fmt::Display,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::token_key::key_on_token;

use crate::{
    audit::{event::Event, tree::sha256},
    clock::{Clock, Limits},
    config::{
        ArchiveCutoffConfig, ClockSource, Config, CrlPlace, DeltaConfig, IssuerConfig, KeyConfig,
        KeyPlace, Problem, ResponderConfig, SuccessorConfig, TsuConfig,
    },
    io::{
        anchor,
        clock_report::{self, ChronyClock, Helper},
        feed::{Delta, Feed, FeedSettings, IssuedSources, Place, Wanted, kept::Kept},
        http::{
            issued::BearerToken,
            tls::{Files as TlsFiles, Identity, TlsError},
        },
        http_client,
        kernel_clock::{DemoClock, KernelClock},
        pkcs11::{self, Modules},
        softkey,
    },
    ocsp::{
        Responder,
        issuer::{ArchiveCutoff, Issuer, Issuers},
    },
    signing::{
        Signer,
        credential::{Credential, Role},
    },
    tsa::{Tsu, TsuSpec, set::TsuSet},
    wire::{certificate::Certificate, time::Seconds},
};

/// How far the clock may be off where there is no TSU to say so: OCSP has whole seconds.
const STATUS_TOLERANCE: Duration = Duration::from_secs(1);

/// Everything that the services are made of.
pub struct Parts {
    pub tsus: Option<TsuSet>,
    pub issuers: Option<Issuers>,
    pub feeds: Vec<Feed>,
    /// For each feed the issuer's name and the token that pushes serials to it, if that is wanted.
    pub push_tokens: Vec<Option<(String, BearerToken)>>,
    /// Who time-stamps the log's checkpoints.
    pub anchor: Option<anchor::Settings>,
    /// Who the public side is to TLS clients, where they are served.
    pub tls: Option<Arc<Identity>>,
    pub clock: Arc<dyn Clock>,
    /// What is no error but should be known.
    pub cautions: Vec<String>,
    /// The certificates that sign, or will.
    pub certificates: Vec<Event>,
}

/// Where a key and what certifies it are found.
struct Files<'a> {
    key: &'a KeyConfig,
    certificate: Option<&'a Path>,
    /// The certificate where no file is named: the CA's own.
    own: Option<&'a Certificate>,
    chain: Option<&'a Path>,
}

/// Collects problems, so that all are told at once.
struct Assembly<'a> {
    config: &'a Config,
    modules: &'a Modules,
    now: Seconds,
    problems: Vec<Problem>,
    certificates: Vec<Event>,
}

/// Reads and proves everything that `config` names.
pub fn assemble(config: &Config, modules: &Modules) -> Result<Parts, Vec<Problem>> {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut assembly = Assembly {
        config,
        modules,
        now: Seconds::new(since_1970.as_secs()),
        problems: Vec::new(),
        certificates: Vec::new(),
    };
    assembly.check_journal();
    let tls = assembly.tls();
    let anchor = assembly.anchor();
    let tsus = assembly.tsus();
    let tolerance = tsus
        .iter()
        .flat_map(TsuSet::all)
        .map(|tsu| tsu.terms().tolerance())
        .max();
    let mut push_tokens = Vec::new();
    let (issuers, feeds, cautions) = assembly.issuers(&mut push_tokens);
    if !assembly.problems.is_empty() {
        return Err(assembly.problems);
    }
    let tolerance = tolerance.unwrap_or(STATUS_TOLERANCE);
    let clock: Arc<dyn Clock> = match config.clock.source {
        ClockSource::Chrony => Arc::new(chrony(config, tolerance)?),
        ClockSource::Kernel => Arc::new(KernelClock::new(tolerance)),
        ClockSource::Unproven => Arc::new(DemoClock),
    };
    Ok(Parts {
        tsus,
        issuers,
        feeds,
        push_tokens,
        anchor,
        tls,
        clock,
        cautions,
        certificates: assembly.certificates,
    })
}

/// The clock by the helper beside chronyd.
fn chrony(config: &Config, tolerance: Duration) -> Result<ChronyClock, Vec<Problem>> {
    let wrong = |field: &str, what: String| vec![Problem::new(&config.file, field, what)];
    let clock = &config.clock;
    let uid = clock_report::user(&clock.helper, Path::new("/etc/passwd"));
    let helper = Helper {
        socket: clock.socket.clone(),
        uid: uid.map_err(|what| wrong("clock.helper", what))?,
    };
    let limits = Limits {
        kernel_gate: clock.kernel_gate,
        sources: clock.sources,
        usable_sources: clock.usable_sources,
        max_stratum: clock.max_stratum,
        ref_time_age: clock.silence,
        after_step: clock.settle,
        leap: clock.leap,
        ..Limits::new(tolerance)
    };
    ChronyClock::start(helper, limits).map_err(|error| wrong("clock", error.to_string()))
}

impl Assembly<'_> {
    fn wrong(&mut self, field: &str, what: impl Display) {
        self.problems
            .push(Problem::new(&self.config.file, field, what));
    }

    /// The value, or its error as a problem of `field`.
    fn take<T, E: Display>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.wrong(field, error)).ok()
    }

    fn check_journal(&mut self) {
        let dir = &self.config.journal.dir;
        if dir.exists() && !dir.is_dir() {
            let what = format!("{}: is no folder; name a folder of its own", dir.display());
            self.wrong("journal.dir", what);
        }
    }

    fn tls(&mut self) -> Option<Arc<Identity>> {
        let wanted = self.config.tls.as_ref()?;
        let files = TlsFiles {
            certificate: wanted.certificate.clone(),
            key: wanted.key.clone(),
        };
        let opened = Identity::open(files, self.now);
        let field = opened.as_ref().err().map_or("", TlsError::field);
        self.take(&format!("tls.{field}"), opened).map(Arc::new)
    }

    fn anchor(&mut self) -> Option<anchor::Settings> {
        let journal = &self.config.journal;
        let wanted = journal.anchor.as_ref()?;
        let url = http_client::url(&wanted.url);
        let url = url.map_err(|what| format!("`{}` {what}", wanted.url));
        let url = self.take("journal.anchor.url", url);
        let trust = self.certificates("journal.anchor.trust", &wanted.trust);
        Some(anchor::Settings {
            dir: journal.dir.clone(),
            url: url?,
            interval: wanted.interval,
            trust: trust?,
        })
    }

    fn tsus(&mut self) -> Option<TsuSet> {
        let wanted = &self.config.tsus;
        let default = wanted.iter().find(|tsu| tsu.default)?;
        let mut tsus = Vec::new();
        for (index, tsu) in wanted.iter().enumerate() {
            tsus.extend(self.tsu(&format!("tsu[{index}]"), tsu));
        }
        // With one missing there is a better error already.
        if tsus.len() < wanted.len() {
            return None;
        }
        self.take("tsu.policies", TsuSet::new(tsus, &default.name))
    }

    fn tsu(&mut self, field: &str, tsu: &TsuConfig) -> Option<Tsu> {
        let at = |name: &str| format!("{field}.{name}");
        if self.config.clock.source == ClockSource::Unproven && !tsu.demo {
            self.wrong(
                &at("demo"),
                "with clock.source = \"unproven\" this TSU could never sign; use \"chrony\" or \"kernel\", or set demo = true",
            );
        }
        let spec = TsuSpec {
            name: tsu.name.clone(),
            demo: tsu.demo,
            policies: tsu.policies.clone(),
            digests: tsu.digests.clone(),
            precision: tsu.precision,
            accuracy: tsu.accuracy,
            signing_delay: tsu.signing_delay,
            tsa_field: tsu.tsa_field,
            qualified: tsu.qualified,
            code_signing: tsu.code_signing,
        };
        let mut entropy = [0; 10];
        let drawn = rand::fill(&mut entropy)
            .map_err(|_| "the system gives no random numbers, which serials need");
        self.take(field, drawn)?;
        let files = Files {
            key: &tsu.key,
            certificate: Some(&tsu.certificate),
            own: None,
            chain: tsu.chain.as_deref(),
        };
        let credential = self.credential(field, Role::TimeStamping, &files, self.now);
        let successor = self.successor(field, Role::TimeStamping, tsu.successor.as_ref());
        let (credential, successor) = (credential?, successor?);
        self.check_no_gap(field, &credential, successor.as_ref());
        self.take(
            &at("accuracy"),
            Tsu::new(spec, credential, successor, entropy),
        )
    }

    fn issuers(
        &mut self,
        push_tokens: &mut Vec<Option<(String, BearerToken)>>,
    ) -> (Option<Issuers>, Vec<Feed>, Vec<String>) {
        let (mut issuers, mut feeds, mut cautions) = (Vec::new(), Vec::new(), Vec::new());
        for (index, issuer) in self.config.issuers.iter().enumerate() {
            let field = format!("issuer[{index}]");
            let token = self.push_token(&field, issuer);
            if let Some((issuer, feed)) = self.issuer(&field, issuer) {
                if let Some(missing) = issuer.snapshot().uncovered() {
                    cautions.push(format!(
                        "{field}.crl: no CRL covers {missing}; right only if `{}` issues none",
                        issuer.name
                    ));
                }
                push_tokens.push(token.map(|token| (issuer.name.clone(), token)));
                issuers.push(issuer);
                feeds.push(feed);
            }
        }
        if issuers.is_empty() {
            return (None, feeds, cautions);
        }
        (self.take("issuer", Issuers::new(issuers)), feeds, cautions)
    }

    fn issuer(&mut self, field: &str, issuer: &IssuerConfig) -> Option<(Issuer, Feed)> {
        let at = |name: &str| format!("{field}.{name}");
        let certificate = self.certificate(&at("certificate"), &issuer.certificate)?;
        let mut responders = Vec::new();
        let mut complete = true;
        for (index, responder) in issuer.responders.iter().enumerate() {
            let field = at(&format!("responder[{index}]"));
            match self.responder(&field, responder, &certificate) {
                Some(present_and_next) => responders.extend(present_and_next),
                None => complete = false,
            }
        }
        let mut crls = Vec::new();
        for crl in &issuer.crls {
            let places = self.places(&at("crl"), &crl.places);
            let delta = match &crl.delta {
                DeltaConfig::None => Some(Delta::None),
                DeltaConfig::Freshest => Some(Delta::Freshest),
                DeltaConfig::At(places) => self.places(&at("crl"), places).map(Delta::At),
            };
            match (places, delta) {
                (Some(places), Some(delta)) => crls.push(Wanted {
                    places,
                    delta,
                    distribution_point: crl.distribution_point.clone(),
                }),
                _ => complete = false,
            }
        }
        let revocation = &self.config.revocation;
        let kept = Kept::new(revocation.dir.clone());
        let pushed = kept.path(&certificate, "", 0).with_extension("issued");
        let issued = IssuedSources {
            paths: issuer.issued.clone(),
            pushed: issuer.issued_push.is_some().then_some(pushed),
            shards: issuer
                .crls
                .iter()
                .filter_map(|crl| crl.distribution_point.clone())
                .collect(),
        };
        let opened = Feed::open(FeedSettings {
            name: issuer.name.clone(),
            issuer: certificate.clone(),
            crls,
            issued,
            kept,
            fetch_time: revocation.fetch_timeout,
            largest: revocation.largest_crl,
            compromised: issuer.compromised,
        });
        let feed = match opened {
            Ok(feed) => feed,
            Err(errors) => {
                for error in errors {
                    self.wrong(&at("crl"), error);
                }
                return None;
            }
        };
        if !complete {
            return None;
        }
        let issuer = Issuer {
            name: issuer.name.clone(),
            snapshot: Arc::clone(feed.snapshot()),
            unlisted: issuer.unlisted,
            validity: issuer.validity.as_secs(),
            archive_cutoff: match issuer.archive_cutoff {
                ArchiveCutoffConfig::None => ArchiveCutoff::None,
                ArchiveCutoffConfig::NotBefore => ArchiveCutoff::Since(certificate.not_before()),
                ArchiveCutoffConfig::Period(period) => ArchiveCutoff::Period(period.as_secs()),
            },
            retired: issuer.retired,
            responders,
            certificate,
        };
        Some((issuer, feed))
    }

    fn places(&mut self, field: &str, places: &[CrlPlace]) -> Option<Vec<Place>> {
        let mut read = Vec::new();
        for place in places {
            read.push(match place {
                CrlPlace::File(path) => Place::File(path.clone()),
                CrlPlace::Url(text) => {
                    let url = http_client::url(text).map_err(|what| format!("`{text}` {what}"));
                    Place::Url(self.take(field, url)?)
                }
            });
        }
        Some(read)
    }

    fn push_token(&mut self, field: &str, issuer: &IssuerConfig) -> Option<BearerToken> {
        let path = &issuer.issued_push.as_ref()?.token_file;
        let field = format!("{field}.issued_push.token_file");
        let said = |error: &dyn Display| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|error| said(&format_args!("cannot be read: {error}")));
        let text = self.take(&field, text)?;
        let token = BearerToken::new(&text).map_err(|error| said(&error));
        self.take(&field, token)
    }

    fn responder(
        &mut self,
        field: &str,
        responder: &ResponderConfig,
        issuer: &Certificate,
    ) -> Option<Vec<Responder>> {
        let delegated = responder.certificate.is_some();
        let role = if delegated {
            Role::DelegatedResponder { issuer }
        } else {
            Role::IssuerItself
        };
        let files = Files {
            key: &responder.key,
            certificate: responder.certificate.as_deref(),
            own: (!delegated).then_some(issuer),
            chain: None,
        };
        let credential = self.credential(field, role, &files, self.now);
        let successor = self.successor(field, role, responder.successor.as_ref());
        let (credential, successor) = (credential?, successor?);
        self.check_no_gap(field, &credential, successor.as_ref());
        let present = Responder::new(credential, delegated);
        Some(match successor {
            None => vec![present],
            Some((from, credential)) => {
                vec![
                    present.ending(from),
                    Responder::new(credential, delegated).starting(from),
                ]
            }
        })
    }

    /// A key and its certificate, shown to belong together and to be fit for `role` at `when`.
    fn credential(
        &mut self,
        field: &str,
        role: Role<'_>,
        files: &Files<'_>,
        when: Seconds,
    ) -> Option<Credential> {
        let at = |name: &str| format!("{field}.{name}");
        let certificate = match files.certificate {
            Some(path) => self.certificate(&at("certificate"), path),
            None => files.own.cloned(),
        };
        if certificate.is_none() && files.certificate.is_none() {
            self.wrong(
                &at("certificate"),
                "missing; a new key has a certificate of its own",
            );
        }
        let signer = self.signer(&at("key"), files.key, certificate.as_ref());
        let chain = match files.chain {
            None => Some(Vec::new()),
            Some(path) => self.certificates(&at("chain"), path),
        };
        let certificate = certificate?;
        self.certificates.push(Event::Certificate {
            of: field.to_owned(),
            subject: certificate.subject_text(),
            serial: hex::encode(certificate.serial()),
            sha256: hex::encode(sha256(&[certificate.der()])),
            from: when.to_string(),
        });
        let credential = Credential::prove(role, certificate, chain?, signer?, when);
        self.take(&at("certificate"), credential)
    }

    /// Who takes over, and when; `None` where one is named that cannot.
    #[allow(clippy::option_option)] // none is named, or it is wrong: two things
    fn successor(
        &mut self,
        field: &str,
        role: Role<'_>,
        successor: Option<&SuccessorConfig>,
    ) -> Option<Option<(Seconds, Credential)>> {
        let Some(successor) = successor else {
            return Some(None);
        };
        let files = Files {
            key: &successor.key,
            certificate: successor.certificate.as_deref(),
            own: None,
            chain: successor.chain.as_deref(),
        };
        let field = format!("{field}.successor");
        let when = successor.from.max(self.now);
        let credential = self.credential(&field, role, &files, when)?;
        Some(Some((successor.from, credential)))
    }

    fn check_no_gap(
        &mut self,
        field: &str,
        present: &Credential,
        successor: Option<&(Seconds, Credential)>,
    ) {
        if let Some((from, _)) = successor
            && present.end() < *from
        {
            self.wrong(
                &format!("{field}.successor.from"),
                format!(
                    "{from} is after the present key's end at {}, and nobody would sign in between; choose an earlier instant",
                    present.end()
                ),
            );
        }
    }

    /// The signer for a key. A token's key is shown to be that of the certificate by a signature, since not
    /// every token holds the public half.
    fn signer(
        &mut self,
        field: &str,
        key: &KeyConfig,
        certificate: Option<&Certificate>,
    ) -> Option<Arc<dyn Signer>> {
        match &key.place {
            KeyPlace::File(path) => {
                let threads = self.config.http.workers;
                self.take(field, softkey::load(path, key.signature, threads))
            }
            KeyPlace::Token(token) => {
                let token = self.take(field, key_on_token(token))?;
                let public = certificate?.public_key();
                let signer = pkcs11::open(self.modules, &token, public, key.signature);
                self.take(field, signer)
            }
        }
    }

    /// The first certificate of a file; more may follow, as in the files that CAs hand out.
    fn certificate(&mut self, field: &str, path: &Path) -> Option<Certificate> {
        self.certificates(field, path)?.into_iter().next()
    }

    fn certificates(&mut self, field: &str, path: &Path) -> Option<Vec<Certificate>> {
        let said = |error: &dyn Display| format!("{}: {error}", path.display());
        let content =
            std::fs::read(path).map_err(|error| said(&format_args!("cannot be read: {error}")));
        let content = self.take(field, content)?;
        let certificates = Certificate::read_all(&content).map_err(|error| said(&error));
        self.take(field, certificates)
    }
}
