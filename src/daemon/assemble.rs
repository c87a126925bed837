//! From the configuration to parts that are ready to serve: [`assemble`] reads every key, certificate and
//! CRL, takes over what can be from the parts in force ([`Inherited`]), and gives all [`Parts`] or every problem there is.

mod issuers;

use std::{collections::HashMap, fmt::Display, path::Path, sync::Arc, time::Duration};

use aws_lc_rs::rand;
use cryptoki::types::AuthPin;

use super::{access, token_key::key_on_token};

use crate::{
    audit::event::Event,
    clock::{Clock, Limits},
    config::{
        AdminConfig, ClockSource, Config, KeyConfig, KeyPlace, Problem, SuccessorConfig, TsuConfig,
    },
    io::{
        anchor,
        clock_report::{self, ChronyClock, Helper},
        feed::{Followers, Opened},
        http::{
            access::Access,
            issued::BearerToken,
            peer::Door,
            tls::{Files as TlsFiles, Identity, TlsError},
        },
        http_client,
        kernel_clock::{DemoClock, KernelClock},
        pkcs11::{self, Modules, Opened as OpenedKey, Pkcs11Error, is_same_pin},
        softkey,
        wall_clock::wall_clock,
    },
    ocsp::issuer::Issuers,
    signing::{
        Signer,
        credential::{Credential, Role},
    },
    tsa::{Tsu, TsuSpec, sequence::Sequence, set::TsuSet},
    wire::{
        algorithm::sha256,
        certificate::{Certificate, PublicKey},
        time::Seconds,
    },
};

/// How far the clock may be off where there is no TSU to say so: OCSP has whole seconds.
const STATUS_TOLERANCE: Duration = Duration::from_secs(1);

/// Everything that the services are made of.
pub struct Parts {
    pub tsus: Option<TsuSet>,
    pub issuers: Option<Issuers>,
    /// Of each issuer, in their order.
    pub feeds: Vec<Opened>,
    /// By issuer's name the token that pushes serials to it, where that is wanted.
    pub push_tokens: Vec<(String, BearerToken)>,
    /// Who time-stamps the log's checkpoints.
    pub anchor: Option<anchor::Settings>,
    /// Who the public side is to TLS clients, where they are served.
    pub tls: Option<Arc<Identity>>,
    /// The same for the operator's side.
    pub admin_tls: Option<Arc<Identity>>,
    /// Who may ask, where not everybody may.
    pub access: Option<Arc<Access>>,
    /// How far the clock may be off at most.
    pub tolerance: Duration,
    /// What is no error but should be known.
    pub cautions: Vec<String>,
    /// The certificates that sign, or will.
    pub certificates: Vec<Event>,
    /// The keys on tokens, for the next configuration.
    pub token_keys: Vec<TokenKey>,
    /// The keys on tokens that are away, which are tried until they are there.
    pub away: Vec<Problem>,
    /// Whether there are others.
    pub any_signs: bool,
}

impl Parts {
    /// Itself, if every key can sign at present.
    pub fn whole(self) -> Result<Self, Vec<Problem>> {
        match self.away.is_empty() {
            true => Ok(self),
            false => Err(self.away),
        }
    }

    /// Itself, if any key can sign at present.
    pub fn some(self) -> Result<Self, Vec<Problem>> {
        match self.any_signs {
            true => Ok(self),
            false => self.whole(),
        }
    }
}

/// A key on a token with its sessions.
#[derive(Debug, Clone)]
pub struct TokenKey {
    config: KeyConfig,
    pin: Option<AuthPin>,
    signer: Arc<dyn Signer>,
}

/// What parts in force before have left.
pub struct Inherited<'a> {
    pub modules: &'a Modules,
    pub followers: &'a mut Followers,
    /// Each TSU's last genTime, by its name.
    pub sequences: HashMap<String, Arc<Sequence>>,
    pub token_keys: Vec<TokenKey>,
    /// Whose counts go on.
    pub access: Option<Arc<Access>>,
}

impl<'a> Inherited<'a> {
    /// Nothing, as at a start.
    pub fn nothing(modules: &'a Modules, followers: &'a mut Followers) -> Self {
        Self {
            modules,
            followers,
            sequences: HashMap::new(),
            token_keys: Vec::new(),
            access: None,
        }
    }
}

impl Inherited<'_> {
    /// The key that is configured just like this, with its sessions, unless there is another PIN for it. Each goes to
    /// one user only.
    fn take_token_key(
        &mut self,
        key: &KeyConfig,
        public: &PublicKey,
        pin: Option<&AuthPin>,
    ) -> Option<TokenKey> {
        let mut known = self.token_keys.iter();
        let at = known.position(|known| {
            let is_another = |pin| !known.pin.as_ref().is_some_and(|old| is_same_pin(old, pin));
            known.config == *key
                && known.signer.public_key().spki() == public.spki()
                && !pin.is_some_and(is_another)
        })?;
        Some(self.token_keys.swap_remove(at))
    }
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
    inherited: Inherited<'a>,
    now: Seconds,
    problems: Vec<Problem>,
    cautions: Vec<String>,
    certificates: Vec<Event>,
    push_tokens: Vec<(String, BearerToken)>,
    token_keys: Vec<TokenKey>,
    away: Vec<Problem>,
    any_signs: bool,
}

/// Reads and proves everything that `config` names.
pub fn assemble(config: &Config, inherited: Inherited<'_>) -> Result<Parts, Vec<Problem>> {
    let mut assembly = Assembly {
        config,
        inherited,
        now: wall_clock(),
        problems: Vec::new(),
        cautions: Vec::new(),
        certificates: Vec::new(),
        push_tokens: Vec::new(),
        token_keys: Vec::new(),
        away: Vec::new(),
        any_signs: false,
    };
    assembly.check_journal();
    let access = assembly.access();
    let wanted = config.tls.as_ref();
    let wanted = wanted.map(|tls| (tls.certificate.as_path(), tls.key.as_path()));
    let tls = assembly.tls("tls", wanted, access.as_ref(), Door::Tls);
    let wanted = config.admin.as_ref().and_then(AdminConfig::tls);
    let admin_tls = assembly.tls("admin", wanted, access.as_ref(), Door::Admin);
    let anchor = assembly.anchor();
    let tsus = assembly.tsus();
    let tolerance = tsus
        .iter()
        .flat_map(TsuSet::all)
        .map(|tsu| tsu.terms().tolerance())
        .max();
    let (issuers, feeds) = assembly.issuers();
    if !assembly.problems.is_empty() {
        assembly.problems.extend(assembly.away);
        return Err(assembly.problems);
    }
    Ok(Parts {
        tsus,
        issuers,
        feeds,
        push_tokens: assembly.push_tokens,
        anchor,
        tls,
        admin_tls,
        access: access.map(Arc::new),
        tolerance: tolerance.unwrap_or(STATUS_TOLERANCE),
        cautions: assembly.cautions,
        certificates: assembly.certificates,
        token_keys: assembly.token_keys,
        away: assembly.away,
        any_signs: assembly.any_signs,
    })
}

/// The clock that `config` names, which may be off by `tolerance`.
pub fn clock(config: &Config, tolerance: Duration) -> Result<Arc<dyn Clock>, Vec<Problem>> {
    Ok(match config.clock.source {
        ClockSource::Chrony => Arc::new(chrony(config, tolerance)?),
        ClockSource::Kernel => Arc::new(KernelClock::new(tolerance)),
        ClockSource::Unproven => Arc::new(DemoClock),
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

    fn access(&mut self) -> Option<Access> {
        let settings = access::settings(self.config);
        if settings.rules.is_empty() && settings.forwarded_from.is_empty() {
            return None;
        }
        let opened = Access::open(&settings, self.inherited.access.as_deref());
        let errors = opened.as_ref().err().map(Vec::as_slice);
        for error in errors.unwrap_or_default() {
            self.problems.push(access::problem(self.config, error));
        }
        opened.ok()
    }

    /// Who we are to TLS clients by the certificate and key in `section`.
    fn tls(
        &mut self,
        section: &str,
        wanted: Option<(&Path, &Path)>,
        access: Option<&Access>,
        door: Door,
    ) -> Option<Arc<Identity>> {
        let (certificate, key) = wanted?;
        let files = TlsFiles {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        };
        let clients = access.map(|access| access.client_roots(door));
        let clients = self.take("access.client_ca", clients.transpose())?;
        let opened = Identity::open(files, clients.flatten(), self.now);
        let field = opened.as_ref().err().map_or("", TlsError::field);
        let identity = self.take(&format!("{section}.{field}"), opened)?;
        self.cautions.extend(identity.cautions(section, self.now));
        Some(Arc::new(identity))
    }

    fn anchor(&mut self) -> Option<anchor::Settings> {
        let journal = &self.config.journal;
        let wanted = journal.anchor.as_ref()?;
        let url = self.take("journal.anchor.url", http_client::configured(&wanted.url));
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
        };
        let sequence = self.sequence(field, &tsu.name)?;
        let files = Files {
            key: &tsu.key,
            certificate: Some(&tsu.certificate),
            own: None,
            chain: tsu.chain.as_deref(),
        };
        let role = Role::TimeStamping {
            code_signing: tsu.code_signing,
        };
        let credential = self.credential(field, role, &files, self.now);
        let successor = self.successor(field, role, tsu.successor.as_ref());
        let (credential, successor) = (credential?, successor?);
        self.check_no_gap(field, &credential, successor.as_ref());
        self.take(
            &at("accuracy"),
            Tsu::new(spec, credential, successor, sequence),
        )
    }

    /// Where the serials and times of the TSU of this name go on.
    fn sequence(&mut self, field: &str, name: &str) -> Option<Arc<Sequence>> {
        if let Some(sequence) = self.inherited.sequences.get(name) {
            return Some(Arc::clone(sequence));
        }
        let mut entropy = [0; 10];
        let drawn = rand::fill(&mut entropy)
            .map_err(|_| "the system gives no random numbers, which serials need");
        self.take(field, drawn)?;
        Some(Arc::new(Sequence::new(entropy)))
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
                let signer = self.take(field, softkey::load(path, key.signature, threads));
                self.any_signs |= signer.is_some();
                signer
            }
            KeyPlace::Token(token) => {
                let public = certificate?.public_key();
                let token = key_on_token(token);
                // Sessions need no PIN that cannot be read any more.
                let pin = token.as_ref().ok().and_then(|token| token.pin.as_ref());
                let key = match self.inherited.take_token_key(key, public, pin) {
                    Some(known) => known,
                    None => {
                        let token = self.take(field, token)?;
                        let modules = self.inherited.modules;
                        let opened = pkcs11::open(modules, &token, public, key.signature);
                        TokenKey {
                            config: key.clone(),
                            signer: self.take_opened(field, opened)?,
                            pin: token.pin,
                        }
                    }
                };
                let signer = Arc::clone(&key.signer);
                self.token_keys.push(key);
                Some(signer)
            }
        }
    }

    fn take_opened(
        &mut self,
        field: &str,
        opened: Result<OpenedKey, Pkcs11Error>,
    ) -> Option<Arc<dyn Signer>> {
        let problem = |error: Pkcs11Error| {
            let problem = Problem::new(&self.config.file, field, &error);
            match error.may_pass() {
                true => problem.that_may_pass(),
                false => problem,
            }
        };
        match opened {
            Ok(OpenedKey { signer, away }) => {
                self.any_signs |= away.is_none();
                self.away.extend(away.map(problem));
                Some(signer)
            }
            Err(error) => {
                self.problems.push(problem(error));
                None
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
