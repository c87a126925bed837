//! Who is known: [`Directory`] has every user, token and certificate of all rules, so that a client is looked up once,
//! whatever it asks for.

use std::{collections::HashMap, path::Path, sync::Arc};

use zeroize::Zeroizing;

use super::{
    RuleSettings, files,
    files::{Known, Named},
    password::{Hash, Passwords},
    rule::{Rule, Rules},
};
use crate::io::http::tls::clients::{ClientCas, ShownCertificate};

/// Every client that has a name.
#[derive(Debug, Default)]
pub struct Directory {
    users: HashMap<Arc<str>, User>,
    /// By a keyed digest of the token's digest, so that a look-up tells nothing by its time.
    tokens: HashMap<[u8; 32], Identity>,
    certificates: Vec<(usize, HashMap<KnownKey, Arc<str>>)>,
    /// Of each rule with users, one hash after the other: for names that nobody has.
    decoys: Vec<(usize, Vec<Hash>)>,
}

#[derive(Debug)]
struct User {
    hash: Hash,
    identity: Identity,
}

/// A client by what it has shown, and the rules that list it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub name: Arc<str>,
    pub rules: Rules,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum KnownKey {
    Subject(crate::wire::name::ComparableName),
    Key([u8; 32]),
}

impl From<Known> for KnownKey {
    fn from(known: Known) -> Self {
        match known {
            Known::Subject(subject) => Self::Subject(subject),
            Known::Key(key) => Self::Key(key),
        }
    }
}

/// What is wrong with a rule's file: the field, and what.
pub type Wrong = (&'static str, String);

impl Directory {
    /// Takes up the clients of rule number `index`; gives its CAs, if it lists certificates.
    pub fn read(
        &mut self,
        index: usize,
        rule: &RuleSettings,
        passwords: &Passwords,
    ) -> Result<Option<ClientCas>, Vec<Wrong>> {
        let mut wrong = Vec::new();
        if let Some(path) = &rule.users {
            let read =
                parsed(path, files::users).and_then(|users| self.add_users(index, users, path));
            wrong.extend(read.err().map(|what| ("users", what)));
        }
        if let Some(path) = &rule.tokens {
            let read = parsed(path, files::tokens)
                .and_then(|tokens| self.add_tokens(index, tokens, path, passwords));
            wrong.extend(read.err().map(|what| ("tokens", what)));
        }
        let mut cas = None;
        if let Some((list, client_ca)) = &rule.certificates {
            match parsed(list, files::certificates) {
                Ok(certificates) => {
                    let known = certificates
                        .into_iter()
                        .map(|(name, known)| (known.into(), name));
                    self.certificates.push((index, known.collect()));
                }
                Err(what) => wrong.push(("certificates", what)),
            }
            match read_cas(client_ca) {
                Ok(read) => cas = Some(read),
                Err(what) => wrong.push(("client_ca", what)),
            }
        }
        if wrong.is_empty() {
            Ok(cas)
        } else {
            Err(wrong)
        }
    }

    fn add_users(
        &mut self,
        index: usize,
        users: Vec<Named<Hash>>,
        path: &Path,
    ) -> Result<(), String> {
        let mut hashes = Vec::new();
        for (name, hash) in users {
            hashes.push(hash.clone());
            let user = self.users.entry(Arc::clone(&name)).or_insert_with(|| User {
                hash: hash.clone(),
                identity: Identity {
                    name,
                    rules: Rules::default(),
                },
            });
            if user.hash != hash {
                return Err(format!(
                    "{}: `{}` stands in the file of another rule with another hash; a name is one client, so give it one",
                    path.display(),
                    user.identity.name
                ));
            }
            user.identity.rules.insert(index);
        }
        self.decoys.push((index, hashes));
        Ok(())
    }

    fn add_tokens(
        &mut self,
        index: usize,
        tokens: Vec<Named<[u8; 32]>>,
        path: &Path,
        passwords: &Passwords,
    ) -> Result<(), String> {
        for (name, digest) in tokens {
            let blinded = passwords.digest(&[&digest]);
            let identity = self.tokens.entry(blinded).or_insert_with(|| Identity {
                name: Arc::clone(&name),
                rules: Rules::default(),
            });
            if identity.name != name {
                return Err(format!(
                    "{}: `{}` and `{name}` have the same token; give each its own",
                    path.display(),
                    identity.name
                ));
            }
            identity.rules.insert(index);
        }
        Ok(())
    }

    /// Whose hash this is, or somebody's to spend the same time on; `None` where the rules have no users.
    pub fn user(
        &self,
        name: &str,
        needed: Rules,
        passwords: &Passwords,
    ) -> Option<(&Hash, Option<&Identity>)> {
        if let Some(user) = self.users.get(name) {
            return Some((&user.hash, Some(&user.identity)));
        }
        let mut decoys = self.decoys.iter();
        let (_, hashes) = decoys.find(|(rule, _)| needed.contains(*rule))?;
        // The same name always meets the same hash, as if it had one.
        let digest = passwords.digest(&[name.as_bytes()]);
        let number = u64::from_be_bytes(digest.first_chunk().copied()?);
        let count = u64::try_from(hashes.len()).ok()?;
        let chosen = usize::try_from(number.checked_rem(count)?).ok()?;
        hashes.get(chosen).map(|hash| (hash, None))
    }

    /// Whose token this is the SHA-256 of.
    pub fn token(&self, digest: &[u8; 32], passwords: &Passwords) -> Option<&Identity> {
        self.tokens.get(&passwords.digest(&[digest]))
    }

    /// Who shows this certificate, as far as this rule lists it and its CAs have issued it.
    pub fn certificate(
        &self,
        index: usize,
        rule: &Rule,
        shown: &ShownCertificate,
    ) -> Option<&Arc<str>> {
        let ca = rule.client_ca?;
        let mut lists = self.certificates.iter();
        let (_, list) = lists.find(|(number, _)| *number == index)?;
        if !shown.issued_by.contains(&ca) {
            return None;
        }
        list.get(&KnownKey::Key(shown.key))
            .or_else(|| list.get(&KnownKey::Subject(shown.subject.clone())))
    }
}

fn parsed<T>(path: &Path, parse: fn(&str) -> Result<Vec<T>, String>) -> Result<Vec<T>, String> {
    let said = |what: &str| format!("{}: {what}", path.display());
    let text = std::fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|error| said(&format!("cannot be read: {error}")))?;
    parse(&text).map_err(|what| said(&what))
}

fn read_cas(path: &Path) -> Result<ClientCas, String> {
    let said = |what: String| format!("{}: {what}", path.display());
    let content = std::fs::read(path);
    let content = content.map_err(|error| said(format!("cannot be read: {error}")))?;
    ClientCas::read(&content).map_err(|error| said(error.to_string()))
}
