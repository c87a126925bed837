//! Who is at the other end: [`Peer`] is a connection's, and [`Client`] who asks, which a log may name. Neither goes
//! into a token or the public log.

use std::{fmt, net::IpAddr, sync::Arc};

use super::tls::clients::ShownCertificate;

/// The listeners by what holds for their clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Plain,
    Tls,
    Admin,
}

/// The other end of a connection.
#[derive(Debug)]
pub struct Peer {
    /// By the PROXY protocol, where the connection came from a proxy of that kind.
    pub address: IpAddr,
    pub door: Door,
    /// What was shown in the TLS handshake, and verified.
    pub certificate: Option<ShownCertificate>,
}

impl Peer {
    pub const fn new(address: IpAddr, door: Door) -> Self {
        Self {
            address: address.to_canonical(),
            door,
            certificate: None,
        }
    }
}

/// Who asks: by name, where something was shown that has one, or else by address. An answer has it in its extensions
/// where it is not just the connection's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    pub name: Option<Arc<str>>,
    pub address: IpAddr,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => self.address.fmt(f),
        }
    }
}
