//! The TSUs of one appliance side by side: [`TsuSet::choose`] picks one by name or by policy.

use std::collections::HashMap;

use super::Tsu;

/// TSUs with distinct policies, one of them the default.
#[derive(Debug)]
pub struct TsuSet {
    tsus: Vec<Tsu>,
    by_name: HashMap<String, usize>,
    by_policy: HashMap<Vec<u8>, usize>,
    default: usize,
}

/// Why TSUs cannot stand side by side.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TsuSetError {
    #[error(
        "policy {policy} is offered by both `{first}` and `{second}`; one policy picks one TSU, so remove it from one"
    )]
    PolicyTwice {
        policy: String,
        first: String,
        second: String,
    },
    #[error("there is no TSU named `{0}` to be the default")]
    NoDefault(String),
}

impl TsuSet {
    /// `default` names the TSU for requests that choose none.
    pub fn new(tsus: Vec<Tsu>, default: &str) -> Result<Self, TsuSetError> {
        let mut by_policy = HashMap::new();
        for (index, tsu) in tsus.iter().enumerate() {
            for policy in tsu.terms().policies() {
                let before: Option<usize> = by_policy.insert(policy.as_bytes().to_vec(), index);
                if let Some(first) = before.and_then(|before| tsus.get(before)) {
                    return Err(TsuSetError::PolicyTwice {
                        policy: policy.to_string(),
                        first: first.name().to_owned(),
                        second: tsu.name().to_owned(),
                    });
                }
            }
        }
        let names = tsus
            .iter()
            .enumerate()
            .map(|(index, tsu)| (tsu.name().to_owned(), index));
        let by_name: HashMap<_, _> = names.collect();
        let default = *by_name
            .get(default)
            .ok_or_else(|| TsuSetError::NoDefault(default.to_owned()))?;
        Ok(Self {
            tsus,
            by_name,
            by_policy,
            default,
        })
    }

    /// The TSU `name`; without a name the one that offers `policy` (content octets), else the default.
    pub fn choose(&self, name: Option<&str>, policy: Option<&[u8]>) -> Option<&Tsu> {
        let index = match name {
            Some(name) => *self.by_name.get(name)?,
            None => policy
                .and_then(|policy| self.by_policy.get(policy))
                .copied()
                .unwrap_or(self.default),
        };
        self.tsus.get(index)
    }

    /// Whether a TSU of this name exists.
    pub fn knows(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    pub fn all(&self) -> &[Tsu] {
        &self.tsus
    }
}
