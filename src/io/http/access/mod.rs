//! Who may ask, and how much: [`Access`] has the rules and where they hold. A request's client is made out once
//! ([`Access::enter`]), by what it shows and where it comes from, and then held against the rules of the listener and,
//! for a time-stamp, of the TSU ([`Caller::to_tsu`]). [`refusal`] turns a [`Denial`] into an answer.
//!
//! The order is the point: nobody learns which TSUs there are before having shown something, and no body is read
//! before.

pub mod credentials;
mod directory;
pub mod files;
pub mod forwarded;
pub mod password;
pub mod quota;
mod refusal;
pub mod rule;

use std::{collections::HashMap, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use hyper::header::HeaderMap;
use ipnet::IpNet;

use super::{
    peer::{Client, Door, Peer},
    tls::clients::{ClientCas, ClientCasError, ClientRoots},
};
use credentials::Credentials;
use directory::{Directory, Identity};
use password::{Busy, HashError, Passwords};
use quota::{Quota, Quotas};
use rule::{Rule, Rules};

/// One rule as it is configured.
#[derive(Debug, Clone)]
pub struct RuleSettings {
    pub name: String,
    pub users: Option<PathBuf>,
    pub tokens: Option<PathBuf>,
    /// The list, and the CAs above.
    pub certificates: Option<(PathBuf, PathBuf)>,
    pub addresses: Vec<IpNet>,
    pub quota: Quota,
}

/// The rules, and by name where they hold; nowhere a name means that everybody may ask.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub rules: Vec<RuleSettings>,
    pub plain: Vec<String>,
    pub tls: Vec<String>,
    pub admin: Vec<String>,
    pub tsus: Vec<(String, Vec<String>)>,
    /// Proxies whose X-Forwarded-For is believed.
    pub forwarded_from: Vec<IpNet>,
}

/// Why a rule cannot be used.
#[derive(Debug)]
pub struct AccessError {
    /// Its place among the rules.
    pub rule: usize,
    pub field: &'static str,
    pub what: String,
}

/// The rules of one place in their order, of which one must match; none where it is open.
type Place = Vec<usize>;

/// All that is in force.
#[derive(Debug)]
pub struct Access {
    rules: Vec<Rule>,
    plain: Place,
    tls: Place,
    admin: Place,
    tsus: HashMap<String, Place>,
    /// The rules of all TSUs together.
    any_tsu: Rules,
    directory: Directory,
    cas: Vec<(usize, ClientCas)>,
    passwords: Arc<Passwords>,
    quotas: Arc<Quotas>,
    forwarded_from: Vec<IpNet>,
}

/// Who asks, and what is known of it.
#[derive(Debug)]
pub struct Caller<'a> {
    pub client: Client,
    access: &'a Access,
    /// By a header.
    shown: Option<Identity>,
    /// By a certificate: for each rule that lists it, the name.
    certified: Vec<(usize, Arc<str>)>,
    /// Whose quotas this request has been counted by.
    counted: Rules,
}

/// Who does not get past the listener, and why.
#[derive(Debug)]
pub struct Refused {
    pub client: Client,
    pub denial: Denial,
}

/// Why a request goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// Nothing valid was shown, and this would do.
    Unauthorized { basic: bool, bearer: bool },
    /// Nothing that could be shown would do.
    Forbidden,
    /// There is nothing there, for this client or at all.
    Absent,
    /// The quota is used up for so long.
    Quota(Duration),
    /// Too many passwords wait to be checked.
    Busy,
}

impl From<Busy> for Denial {
    fn from(_: Busy) -> Self {
        Self::Busy
    }
}

impl Access {
    /// Reads every file that the rules name, or says all that is wrong. A name that no rule has lets nobody through.
    ///
    /// It goes on with the counts of `old`, and with the passwords that were found right: what is remembered is of
    /// name, hash and password, so that a hash that has changed is worked out anew.
    pub fn open(settings: &Settings, old: Option<&Self>) -> Result<Self, Vec<AccessError>> {
        let error = |rule, field, what: String| AccessError { rule, field, what };
        let passwords = match old {
            Some(old) => Arc::clone(&old.passwords),
            None => Passwords::new()
                .map(Arc::new)
                .map_err(|what: HashError| vec![error(0, "users", what.to_string())])?,
        };
        let (mut directory, mut errors) = (Directory::default(), Vec::new());
        let (mut rules, mut all_cas) = (Vec::new(), Vec::new());
        for (index, rule) in settings.rules.iter().enumerate() {
            let mut client_ca = None;
            match directory.read(index, rule, &passwords) {
                Ok(cas) => {
                    client_ca = cas.as_ref().map(|cas| cas.id);
                    all_cas.extend(cas.map(|cas| (index, cas)));
                }
                Err(wrong) => {
                    let wrong = wrong.into_iter();
                    errors.extend(wrong.map(|(field, what)| error(index, field, what)));
                }
            }
            rules.push(Rule {
                name: rule.name.as_str().into(),
                addresses: rule.addresses.clone(),
                basic: rule.users.is_some(),
                bearer: rule.tokens.is_some(),
                client_ca,
                quota: rule.quota,
            });
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let place = |names: &[String]| -> Place {
            let number = |name: &String| rules.iter().position(|rule| *rule.name == **name);
            let numbers = names.iter().map(number);
            numbers.map(|number| number.unwrap_or(usize::MAX)).collect()
        };
        let tsus: HashMap<_, _> = settings
            .tsus
            .iter()
            .map(|(tsu, names)| (tsu.clone(), place(names)))
            .filter(|(_, place)| !place.is_empty())
            .collect();
        Ok(Self {
            plain: place(&settings.plain),
            tls: place(&settings.tls),
            admin: place(&settings.admin),
            any_tsu: tsus.values().flatten().copied().collect(),
            tsus,
            rules,
            directory,
            cas: all_cas,
            quotas: old.map_or_else(Arc::default, |old| Arc::clone(&old.quotas)),
            passwords,
            forwarded_from: settings.forwarded_from.clone(),
        })
    }

    /// Whether every client may do everything on the public side, and is known by its connection's address alone.
    pub fn is_open(&self) -> bool {
        self.plain.is_empty()
            && self.tls.is_empty()
            && self.tsus.is_empty()
            && self.forwarded_from.is_empty()
    }

    /// Whose certificates clients may show at this door.
    pub fn client_roots(&self, door: Door) -> Result<Option<ClientRoots>, ClientCasError> {
        let mut asked: Rules = self.place(door).iter().copied().collect();
        if door != Door::Admin {
            asked = asked.with(self.any_tsu);
        }
        let cas = self.cas.iter().filter(|(rule, _)| asked.contains(*rule));
        let mut each: Vec<ClientCas> = Vec::new();
        for (_, cas) in cas {
            if !each.iter().any(|other| other.id == cas.id) {
                each.push(cas.clone());
            }
        }
        ClientRoots::new(each)
    }

    fn place(&self, door: Door) -> &Place {
        match door {
            Door::Plain => &self.plain,
            Door::Tls => &self.tls,
            Door::Admin => &self.admin,
        }
    }

    /// Where a request comes from.
    pub fn address(&self, peer: &Peer, headers: &HeaderMap) -> IpAddr {
        match peer.door {
            Door::Admin => peer.address,
            Door::Plain | Door::Tls => {
                forwarded::client(&self.forwarded_from, peer.address, headers)
            }
        }
    }

    /// Makes out who asks, and lets it through the listener. `for_tsu`: what it shows may be needed at a TSU, too.
    pub async fn enter(
        &self,
        peer: &Peer,
        headers: &HeaderMap,
        for_tsu: bool,
    ) -> Result<Caller<'_>, Refused> {
        let place = self.place(peer.door);
        let mut needed: Rules = place.iter().copied().collect();
        if for_tsu {
            needed = needed.with(self.any_tsu);
        }
        let mut caller = self.caller(peer, headers, needed);
        match caller.pass(place, headers, needed).await {
            Ok(()) => Ok(caller),
            Err(denial) => Err(Refused {
                client: caller.client,
                denial,
            }),
        }
    }

    /// Who asks, by address and certificate.
    fn caller(&self, peer: &Peer, headers: &HeaderMap, needed: Rules) -> Caller<'_> {
        let address = self.address(peer, headers);
        let certified = peer.certificate.iter().flat_map(|shown| {
            self.numbered(needed).filter_map(move |(index, rule)| {
                let name = self.directory.certificate(index, rule, shown)?;
                Some((index, Arc::clone(name)))
            })
        });
        let certified: Vec<_> = certified.collect();
        let name = certified.first().map(|(_, name)| Arc::clone(name));
        Caller {
            client: Client { name, address },
            access: self,
            certified,
            shown: None,
            counted: Rules::default(),
        }
    }

    fn numbered(&self, rules: Rules) -> impl Iterator<Item = (usize, &Rule)> {
        let all = self.rules.iter().enumerate();
        all.filter(move |(index, _)| rules.contains(*index))
    }

    /// Who is named by the Authorization header, if what it shows is right and one of these rules lists it.
    async fn shown(
        &self,
        headers: &HeaderMap,
        rules: Rules,
        address: IpAddr,
    ) -> Result<Option<Identity>, Busy> {
        match Credentials::read(headers) {
            None => Ok(None),
            Some(Credentials::Token(digest)) => {
                let identity = self.directory.token(&digest, rules, &self.passwords);
                Ok(identity.cloned())
            }
            Some(Credentials::Password(user_and_password)) => {
                let Some((user, password)) = split(&user_and_password) else {
                    return Ok(None);
                };
                let Some((hash, identity)) = self.directory.user(user, rules, &self.passwords)
                else {
                    return Ok(None);
                };
                let verified = self.passwords.verify(user, hash, password, address).await?;
                Ok(identity.filter(|_| verified).cloned())
            }
        }
    }
}

impl Caller<'_> {
    /// Takes up what the header shows, and lets the caller through the listener.
    async fn pass(
        &mut self,
        place: &Place,
        headers: &HeaderMap,
        needed: Rules,
    ) -> Result<(), Denial> {
        let address = self.client.address;
        // Who comes from the wrong place need not be asked for a password, and whom no rule of this place lists must
        // not learn whether he would do at another.
        let near: Rules = self
            .access
            .numbered(needed)
            .filter(|(_, rule)| rule.admits(address) && rule.wants_header())
            .map(|(index, _)| index)
            .collect();
        if !near.is_empty() {
            self.shown = self.access.shown(headers, near, address).await?;
        }
        if let Some(shown) = &self.shown {
            self.client.name = Some(Arc::clone(&shown.name));
        }
        if place.is_empty() {
            return Ok(());
        }
        match self.matching(place) {
            Some((rule, name)) => self.count(rule, name),
            None => Err(self.denied(place.iter().copied().collect())),
        }
    }

    /// Lets the caller through to the TSU of this name, which exists.
    pub fn to_tsu(&mut self, tsu: &str) -> Result<(), Denial> {
        let Some(place) = self.access.tsus.get(tsu) else {
            return Ok(());
        };
        match self.matching(place) {
            Some((rule, name)) => self.count(rule, name),
            None => Err(self.no_tsu()),
        }
    }

    /// Whether [`Caller::to_tsu`] would let it through, quotas aside.
    pub fn may_reach(&self, tsu: &str) -> bool {
        let place = self.access.tsus.get(tsu);
        place.is_none_or(|place| self.matching(place).is_some())
    }

    /// What it is told of a TSU that is not there for it, whether there is one or not.
    pub fn no_tsu(&self) -> Denial {
        if self.shown.is_some() || !self.certified.is_empty() {
            return Denial::Absent;
        }
        match self.denied(self.access.any_tsu) {
            Denial::Forbidden => Denial::Absent,
            other => other,
        }
    }

    /// The first rule of a place that it matches, and the name that it has there.
    fn matching(&self, place: &Place) -> Option<(usize, Option<Arc<str>>)> {
        let rules = place.iter();
        let mut rules = rules.filter_map(|&index| Some((index, self.access.rules.get(index)?)));
        rules.find_map(|(index, rule)| {
            if !rule.admits(self.client.address) {
                return None;
            }
            let anybody = rule.wants_nothing();
            let shown = self.shown.as_ref();
            let shown = shown.filter(|shown| anybody || shown.rules.contains(index));
            let mut certified = self.certified.iter();
            let certified = certified.find(|(number, _)| anybody || *number == index);
            let name = shown.map(|shown| &shown.name);
            let name = name.or(certified.map(|(_, name)| name));
            (anybody || name.is_some()).then(|| (index, name.cloned()))
        })
    }

    fn count(&mut self, rule: usize, name: Option<Arc<str>>) -> Result<(), Denial> {
        if name.is_some() {
            self.client.name = name;
        }
        if self.counted.contains(rule) {
            return Ok(());
        }
        self.counted.insert(rule);
        let Some(rule) = self.access.rules.get(rule) else {
            return Ok(());
        };
        let taken = self
            .access
            .quotas
            .take(&rule.name, &rule.quota, &self.client);
        taken.map_err(Denial::Quota)
    }

    /// What a caller is told that matches none of these rules, whatever it has shown.
    fn denied(&self, rules: Rules) -> Denial {
        let address = self.client.address;
        let near = || {
            self.access
                .numbered(rules)
                .filter(|(_, rule)| rule.admits(address))
        };
        let basic = near().any(|(_, rule)| rule.basic);
        let bearer = near().any(|(_, rule)| rule.bearer);
        if basic || bearer {
            Denial::Unauthorized { basic, bearer }
        } else {
            Denial::Forbidden
        }
    }
}

fn split(user_and_password: &[u8]) -> Option<(&str, &[u8])> {
    let colon = user_and_password.iter().position(|octet| *octet == b':')?;
    let (user, password) = user_and_password.split_at_checked(colon)?;
    Some((std::str::from_utf8(user).ok()?, password.get(1..)?))
}

#[cfg(test)]
mod tests;
