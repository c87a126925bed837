//! From one configuration to the next while the appliance runs: [`needs_a_restart`] names what cannot change then, and
//! [`changes`] says in words what does.

use std::{fmt::Debug, net::SocketAddr};

use super::{
    AdminConfig, ClockConfig, Config, Http, JournalConfig, LogConfig, Problem, RevocationConfig,
    TlsConfig,
};

/// Every setting of `new` that differs from what is in force and that only a start takes up.
pub fn needs_a_restart(old: &Config, new: &Config) -> Vec<Problem> {
    let mut fixed = Fixed {
        new,
        problems: Vec::new(),
    };
    fixed.hold("listen", &old.listen, &new.listen);
    fixed.hold("tls.listen", &https(old), &https(new));
    // None and one, as the file has it.
    let admin = |config: &Config| {
        let listen = config.admin.as_ref().map(
            |AdminConfig {
                 listen,
                 // Whether there are any is asked below; which, the next generation has.
                 certificate: _,
                 key: _,
                 access: _,
             }| *listen,
        );
        listen.into_iter().collect::<Vec<_>>()
    };
    fixed.hold("admin", &admin(old), &admin(new));
    // Only a start makes a plain listener one for HTTPS, or the other way.
    let scheme = |config: &Config| {
        let admin = config.admin.as_ref();
        admin.map(|admin| match admin.tls() {
            Some(_) => "https",
            None => "http",
        })
    };
    if admin(old) == admin(new) {
        fixed.hold("admin.certificate", &scheme(old), &scheme(new));
    }
    fixed.http(&old.http, &new.http);
    fixed.clock(&old.clock, &new.clock);
    fixed.journal(&old.journal, &new.journal);
    fixed.revocation(&old.revocation, &new.revocation);
    fixed.log(&old.log, &new.log);
    fixed.problems
}

/// What is another in `new`, a phrase for each; files that the configuration names may have changed beside it.
pub fn changes(old: &Config, new: &Config) -> Vec<String> {
    // So that the compiler asks about each new setting. Those without a line here cannot change.
    let Config {
        file: _,
        sha256: _,
        listen: _,
        admin,
        admin_names,
        access,
        http,
        tls,
        clock: _,
        journal,
        nonce,
        revocation,
        sealed_answers,
        log,
        tsus,
        issuers,
    } = new;
    let mut all = Vec::new();
    let mut tell = |is_another: bool, what: &str| {
        if is_another {
            all.push(format!("{what} changed"));
        }
    };
    tell(*admin != old.admin, "admin");
    tell(*admin_names != old.admin_names, "admin_names");
    tell(*http != old.http, "[http]");
    tell(*tls != old.tls, "[tls]");
    tell(journal.publish != old.journal.publish, "journal.publish");
    tell(journal.anchor != old.journal.anchor, "[journal.anchor]");
    tell(*revocation != old.revocation, "[revocation]");
    let ocsp = (*nonce, *sealed_answers) != (old.nonce, old.sealed_answers);
    tell(ocsp, "[ocsp]");
    tell(*log != old.log, "[log]");
    compare(&mut all, "access", (&old.access, access), |rule| &rule.name);
    compare(&mut all, "tsu", (&old.tsus, tsus), |tsu| &tsu.name);
    let issuers = (old.issuers.as_slice(), issuers.as_slice());
    compare(&mut all, "issuer", issuers, |issuer| &issuer.name);
    all
}

fn https(config: &Config) -> &[SocketAddr] {
    match &config.tls {
        None => &[],
        Some(TlsConfig {
            listen,
            // The next generation has them.
            certificate: _,
            key: _,
            staple: _,
            access: _,
        }) => listen,
    }
}

/// By name, which is what clients and metrics know them by.
fn compare<T: PartialEq>(
    all: &mut Vec<String>,
    kind: &str,
    (old, new): (&[T], &[T]),
    name: impl Fn(&T) -> &String,
) {
    let of = |list: &[T], wanted: &String| list.iter().position(|one| name(one) == wanted);
    for one in new {
        let before = of(old, name(one)).and_then(|at| old.get(at));
        match before {
            None => all.push(format!("{kind} `{}` added", name(one))),
            Some(before) if before != one => all.push(format!("{kind} `{}` changed", name(one))),
            Some(_) => {}
        }
    }
    for one in old {
        if of(new, name(one)).is_none() {
            all.push(format!("{kind} `{}` removed", name(one)));
        }
    }
}

struct Fixed<'a> {
    new: &'a Config,
    problems: Vec<Problem>,
}

impl Fixed<'_> {
    fn hold<T: PartialEq + Debug>(&mut self, field: &str, old: &T, new: &T) {
        if old != new {
            let what = format!(
                "cannot change while gnomon runs ({old:?} is in force, not {new:?}); set it back, or start gnomon anew"
            );
            self.problems
                .push(Problem::new(&self.new.file, field, what));
        }
    }

    fn http(&mut self, old: &Http, new: &Http) {
        let Http {
            workers,
            // The next generation has them.
            header_timeout: _,
            body_timeout: _,
            write_timeout: _,
            body: _,
            connections: _,
            grace: _,
            access: _,
            forwarded_from: _,
            proxy_protocol_from: _,
        } = new;
        self.hold("http.workers", &old.workers, workers);
    }

    fn revocation(&mut self, old: &RevocationConfig, new: &RevocationConfig) {
        let RevocationConfig {
            dir,
            // The next generation has them.
            fetch_timeout: _,
            largest_crl: _,
        } = new;
        self.hold("revocation.dir", &old.dir, dir);
    }

    fn log(&mut self, old: &LogConfig, new: &LogConfig) {
        let LogConfig {
            format,
            level,
            // The next generation has them.
            requests: _,
            request_lines: _,
        } = new;
        self.hold("log.format", &old.format, format);
        self.hold("log.level", &old.level, level);
    }

    fn clock(&mut self, old: &ClockConfig, new: &ClockConfig) {
        let ClockConfig {
            source,
            socket,
            helper,
            kernel_gate,
            sources,
            usable_sources,
            max_stratum,
            silence,
            settle,
            leap,
            leap_table,
        } = new;
        self.hold("clock.source", &old.source, source);
        self.hold("clock.socket", &old.socket, socket);
        self.hold("clock.helper", &old.helper, helper);
        self.hold("clock.kernel_gate", &old.kernel_gate, kernel_gate);
        self.hold("clock.sources", &old.sources, sources);
        self.hold("clock.usable_sources", &old.usable_sources, usable_sources);
        self.hold("clock.max_stratum", &old.max_stratum, max_stratum);
        self.hold("clock.silence", &old.silence, silence);
        self.hold("clock.settle", &old.settle, settle);
        self.hold("clock.leap", &old.leap, leap);
        self.hold("clock.leap_table", &old.leap_table, leap_table);
    }

    fn journal(&mut self, old: &JournalConfig, new: &JournalConfig) {
        let JournalConfig {
            dir,
            log_key,
            origin,
            checkpoint_interval,
            segment_size,
            keep_tokens,
            warn_free,
            stop_free,
            // The next generation has them.
            publish: _,
            anchor: _,
        } = new;
        let interval = (&old.checkpoint_interval, checkpoint_interval);
        self.hold("journal.dir", &old.dir, dir);
        self.hold("journal.log_key", &old.log_key, log_key);
        self.hold("journal.origin", &old.origin, origin);
        self.hold("journal.checkpoint_interval", interval.0, interval.1);
        self.hold("journal.segment_size", &old.segment_size, segment_size);
        self.hold("journal.keep_tokens", &old.keep_tokens, keep_tokens);
        self.hold("journal.warn_free", &old.warn_free, warn_free);
        self.hold("journal.stop_free", &old.stop_free, stop_free);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const TEXT: &str = r#"
        listen = ["127.0.0.1:3180"]
        [journal]
        dir = "journal"
        [[tsu]]
        name = "a"
        key = "a.key"
        certificate = "a.pem"
        policies = ["1.2.3"]
    "#;

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("/gnomon.toml")).unwrap()
    }

    fn edited(from: &str, to: &str) -> Config {
        assert!(TEXT.contains(from), "{from}");
        config(&TEXT.replace(from, to))
    }

    #[test]
    fn what_only_a_start_takes_up_is_named_all_at_once() {
        let new = config(
            &TEXT
                .replace("3180\"]", "3180\"]\nadmin = \"127.0.0.1:1\"")
                .replace(
                    "[journal]",
                    "[http]\nworkers = 77\n[clock]\nleap = \"ignore\"\n[journal]\norigin = \"x\"",
                ),
        );
        let problems = needs_a_restart(&config(TEXT), &new);
        let fields: Vec<_> = problems.iter().map(|one| one.field.as_str()).collect();
        let expected = ["admin", "http.workers", "clock.leap", "journal.origin"];
        assert_eq!(fields, expected);
        assert!(problems[2].what.contains("Refuse is in force, not Ignore"));
    }

    #[test]
    fn what_changes_is_told_by_name() {
        assert_eq!(changes(&config(TEXT), &config(TEXT)), [""; 0]);
        let told = |new: &Config| changes(&config(TEXT), new);
        assert_eq!(told(&edited("a.pem", "b.pem")), ["tsu `a` changed"]);
        let renamed = edited("\"a\"", "\"b\"");
        assert_eq!(told(&renamed), ["tsu `b` added", "tsu `a` removed"]);
        let published = edited("\"journal\"", "\"journal\"\npublish = true");
        assert_eq!(told(&published), ["journal.publish changed"]);
        assert!(needs_a_restart(&config(TEXT), &published).is_empty());
    }
}
