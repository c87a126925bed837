//! One rule and sets of rules: [`Rule`], [`Rules`].

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;

use super::{super::tls::clients::CaId, quota::Quota};

/// What a client must do to match, and what it may ask then.
#[derive(Debug)]
pub struct Rule {
    pub name: Arc<str>,
    /// Where it must come from; empty for anywhere.
    pub addresses: Vec<IpNet>,
    pub basic: bool,
    pub bearer: bool,
    /// Who must have issued a certificate that it lists.
    pub client_ca: Option<CaId>,
    pub quota: Quota,
}

impl Rule {
    pub fn admits(&self, address: IpAddr) -> bool {
        self.addresses.is_empty() || contains(&self.addresses, address)
    }

    /// Whether a header can show what it asks for.
    pub const fn wants_header(&self) -> bool {
        self.basic || self.bearer
    }

    /// Whether coming from the right place suffices.
    pub const fn wants_nothing(&self) -> bool {
        !self.wants_header() && self.client_ca.is_none()
    }
}

/// Whether one of the networks has the address.
pub fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// A set of rules, by their numbers, of which there are 64 at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules(u64);

impl Rules {
    pub fn insert(&mut self, rule: usize) {
        self.0 |= bit(rule);
    }

    pub fn contains(self, rule: usize) -> bool {
        self.0 & bit(rule) != 0
    }

    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

fn bit(rule: usize) -> u64 {
    let shift = u32::try_from(rule).unwrap_or(u32::MAX);
    1_u64.checked_shl(shift).unwrap_or(0)
}

impl FromIterator<usize> for Rules {
    fn from_iter<I: IntoIterator<Item = usize>>(rules: I) -> Self {
        let mut set = Self::default();
        rules.into_iter().for_each(|rule| set.insert(rule));
        set
    }
}
