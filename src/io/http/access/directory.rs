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
use crate::{
    io::http::tls::clients::{ClientCas, ShownCertificate},
    wire::name::ComparableName,
};

/// Every client that has a name.
#[derive(Debug, Default)]
pub struct Directory {
    users: HashMap<Arc<str>, User>,
    /// By a keyed digest of the token's digest, so that a look-up tells nothing by its time.
    tokens: HashMap<[u8; 32], Identity>,
    certificates: Vec<(usize, Certificates)>,
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

/// The names of one rule, by what certificates are known by.
#[derive(Debug, Default)]
struct Certificates {
    subjects: HashMap<ComparableName, Arc<str>>,
    keys: HashMap<[u8; 32], Arc<str>>,
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
                    let added = self.add_certificates(index, certificates, list);
                    wrong.extend(added.err().map(|what| ("certificates", what)));
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

    fn add_certificates(
        &mut self,
        index: usize,
        certificates: Vec<Named<Known>>,
        path: &Path,
    ) -> Result<(), String> {
        let mut list = Certificates::default();
        for (name, known) in certificates {
            let own = || Arc::clone(&name);
            let first = match known {
                Known::Subject(subject) => list.subjects.entry(subject).or_insert_with(own),
                Known::Key(key) => list.keys.entry(key).or_insert_with(own),
            };
            if *first != name {
                return Err(format!(
                    "{}: `{first}` and `{name}` have the same certificate; give each its own",
                    path.display()
                ));
            }
        }
        self.certificates.push((index, list));
        Ok(())
    }

    /// Whose hash this is, if one of the rules lists the name, or somebody's to spend the same time on; `None` where
    /// the rules have no users.
    pub fn user(
        &self,
        name: &str,
        rules: Rules,
        passwords: &Passwords,
    ) -> Option<(&Hash, Option<&Identity>)> {
        let user = self.users.get(name);
        if let Some(user) = user.filter(|user| user.identity.rules.intersects(rules)) {
            return Some((&user.hash, Some(&user.identity)));
        }
        let lists = || {
            let lists = self.decoys.iter();
            lists.filter(|(rule, _)| rules.contains(*rule))
        };
        // The same name always meets the same hash, as if it had one; of all rules, for hashes differ in what they cost.
        let digest = passwords.digest(&[name.as_bytes()]);
        let number = u64::from_be_bytes(digest.first_chunk().copied()?);
        let count: usize = lists().map(|(_, hashes)| hashes.len()).sum();
        let chosen = number.checked_rem(u64::try_from(count).ok()?)?;
        let mut hashes = lists().flat_map(|(_, hashes)| hashes);
        let hash = hashes.nth(usize::try_from(chosen).ok()?)?;
        Some((hash, None))
    }

    /// Whose token this is the SHA-256 of, if one of the rules lists it.
    pub fn token(
        &self,
        digest: &[u8; 32],
        rules: Rules,
        passwords: &Passwords,
    ) -> Option<&Identity> {
        let identity = self.tokens.get(&passwords.digest(&[digest]))?;
        identity.rules.intersects(rules).then_some(identity)
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
        let by_key = list.keys.get(&shown.key);
        by_key.or_else(|| list.subjects.get(&shown.subject))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_other_rules_list_is_as_unknown_as_anybody() {
        let passwords = Passwords::new().unwrap();
        let mut directory = Directory::default();
        let hash =
            "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$QEFqVFsb8vTxWq6pIYTqWWGTvhXhpB0zAOzrYPAeGS4";
        let hashes = [hash.to_owned(), hash.replace("t=1", "t=2")];
        let hashes = hashes.map(|hash| Hash::parse(&hash).unwrap());
        for (rule, (name, hash)) in ["alice", "bob"].into_iter().zip(&hashes).enumerate() {
            let users = vec![(name.into(), hash.clone())];
            directory
                .add_users(rule, users, Path::new("users"))
                .unwrap();
            let tokens = vec![(name.into(), [u8::try_from(rule).unwrap(); 32])];
            let tokens = directory.add_tokens(rule, tokens, Path::new("tokens"), &passwords);
            tokens.unwrap();
        }
        let user = |name: &str, rules: &[usize]| {
            let found = directory.user(name, rules.iter().copied().collect(), &passwords);
            found.map(|(hash, identity)| (hash, identity.map(|identity| &*identity.name)))
        };
        assert_eq!(user("alice", &[0, 1]), Some((&hashes[0], Some("alice"))));
        assert_eq!(user("alice", &[1]), Some((&hashes[1], None)));
        assert_eq!(user("alice", &[2]), None);
        for hash in &hashes {
            let mut names = (0..100).map(|number| user(&number.to_string(), &[0, 1]));
            assert!(names.any(|found| found == Some((hash, None))), "{hash}");
        }
        let token = |rules: &[usize]| {
            let rules = rules.iter().copied().collect();
            directory.token(&[0; 32], rules, &passwords)
        };
        assert!(token(&[0, 1]).is_some() && token(&[1]).is_none());
    }
}
