//! The sockets that clients connect to: [`Sockets::open`] takes those that systemd has passed and binds the rest.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use super::Addresses;
use crate::config::{Config, Problem};

/// Of each kind, in the order of the configuration.
pub struct Sockets {
    pub public: Vec<TcpListener>,
    /// HTTPS.
    pub tls: Vec<TcpListener>,
    pub admin: Vec<TcpListener>,
    /// Whether the operator's side speaks HTTPS.
    admin_tls: bool,
}

struct Opening<'a> {
    config: &'a Config,
    passed: Vec<(SocketAddr, TcpListener)>,
    problems: Vec<Problem>,
}

impl Sockets {
    /// Every address that is configured. A passed socket that none of them names is an error: clients would connect to
    /// it and wait for ever.
    pub fn open(
        config: &Config,
        passed: Vec<io::Result<TcpListener>>,
    ) -> Result<Self, Vec<Problem>> {
        let mut opening = Opening {
            config,
            passed: Vec::new(),
            problems: Vec::new(),
        };
        for socket in passed {
            let known = socket.and_then(|socket| Ok((socket.local_addr()?, socket)));
            match known {
                Ok(known) => opening.passed.push(known),
                Err(error) => opening.wrong(
                    "listen",
                    format!("a socket that systemd has passed cannot be listened on: {error}; see gnomon.socket"),
                ),
            }
        }
        let https = config.tls.as_ref().map(|tls| tls.listen.as_slice());
        let admin = config.admin.as_ref();
        let listen = admin.map(|admin| admin.listen);
        let sockets = Self {
            public: opening.all("listen", &config.listen),
            tls: opening.all("tls.listen", https.unwrap_or_default()),
            admin: opening.all("admin", listen.as_slice()),
            admin_tls: admin.is_some_and(|admin| admin.tls().is_some()),
        };
        for (address, _) in std::mem::take(&mut opening.passed) {
            let what = format!(
                "systemd has passed a socket for {address}, which is in none of listen, tls.listen and admin; make \
                 ListenStream= in gnomon.socket and the configuration the same"
            );
            opening.wrong("listen", what);
        }
        if opening.problems.is_empty() {
            Ok(sockets)
        } else {
            Err(opening.problems)
        }
    }

    /// Where they are.
    pub fn addresses(&self) -> Addresses {
        let of = |sockets: &[TcpListener]| {
            let addresses = sockets.iter().map(TcpListener::local_addr);
            addresses.filter_map(Result::ok).collect::<Vec<_>>()
        };
        Addresses {
            public: of(&self.public),
            tls: of(&self.tls),
            admin: of(&self.admin).pop(),
            admin_tls: self.admin_tls,
        }
    }
}

impl Opening<'_> {
    fn wrong(&mut self, field: &str, what: String) {
        self.problems
            .push(Problem::new(&self.config.file, field, what));
    }

    fn all(&mut self, field: &str, wanted: &[SocketAddr]) -> Vec<TcpListener> {
        let sockets = wanted.iter().map(|address| self.one(field, *address));
        sockets.flatten().collect()
    }

    fn one(&mut self, field: &str, wanted: SocketAddr) -> Option<TcpListener> {
        let its = self.passed.iter().position(|(at, _)| *at == wanted);
        if let Some(its) = its {
            return Some(self.passed.swap_remove(its).1);
        }
        match TcpListener::bind(wanted) {
            Ok(socket) => Some(socket),
            Err(error) => {
                let advice = match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        "another process listens there; stop it or choose another port"
                    }
                    io::ErrorKind::PermissionDenied => {
                        "ports below 1024 want CAP_NET_BIND_SERVICE, or gnomon.socket"
                    }
                    _ => "choose an address of this host",
                };
                let what = format!("{wanted}: cannot be listened on: {error}; {advice}");
                let problem = Problem::new(&self.config.file, field, what);
                self.problems.push(match error.kind() {
                    io::ErrorKind::PermissionDenied => problem,
                    _ => problem.that_may_pass(),
                });
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(listen: SocketAddr) -> Config {
        let text = format!(
            "listen = [\"{listen}\"]\n[journal]\ndir = \"j\"\n[[tsu]]\nname = \"a\"\nkey = \"k\"\n\
             certificate = \"c\"\npolicies = [\"1.2.3\"]\n"
        );
        Config::parse(&text, Path::new("g.toml")).unwrap()
    }

    fn passed() -> (SocketAddr, io::Result<TcpListener>) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        (socket.local_addr().unwrap(), Ok(socket))
    }

    #[test]
    fn a_passed_socket_is_taken_for_its_address_and_no_other() {
        let (address, socket) = passed();
        let sockets = Sockets::open(&config(address), vec![socket]).unwrap();
        assert_eq!(sockets.addresses().public, [address]);
        let (_, stray) = passed();
        let broken = Err(io::Error::other("is a pipe"));
        let free = "127.0.0.1:0".parse().unwrap();
        let problems = Sockets::open(&config(free), vec![stray, broken])
            .err()
            .unwrap();
        let whats: Vec<_> = problems.iter().map(|one| one.what.as_str()).collect();
        assert!(whats[0].contains("is a pipe") && whats[1].contains("ListenStream="));
    }
}
