//! What in chronyd's configuration is unwise on a host that signs time-stamps: [`advice`] reads it with all it
//! includes and names each directive with the reason, for `gnomon check`. docs/clock.md has what should stand there.
//! chronyd is the judge of its syntax; what is not understood here is passed over.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::ClockConfig;

/// One line each. `None` for a `file` that is not there.
pub fn advice(file: &Path, clock: &ClockConfig) -> Option<Vec<String>> {
    let mut directives = Directives::default();
    directives.read(file, Kind::Configuration)?;
    let name = file.display();
    let lines = directives.judge(clock).into_iter();
    Some(lines.map(|line| format!("{name}: {line}")).collect())
}

/// What a file may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Configuration,
    /// Only sources, as in the files of a `sourcedir`.
    Sources,
}

/// Every directive, with its name in lower case and its arguments, in order.
#[derive(Debug, Default)]
struct Directives {
    all: Vec<(String, Vec<String>)>,
    /// Those read so far, each once, so that one that includes itself has an end.
    files: BTreeSet<PathBuf>,
}

impl Directives {
    fn read(&mut self, file: &Path, kind: Kind) -> Option<()> {
        if !self.files.insert(file.to_owned()) {
            return None;
        }
        let text = fs::read_to_string(file).ok()?;
        for line in text.lines() {
            let mut words = line.split_whitespace().map(str::to_owned);
            let Some(name) = words.next().map(|name| name.to_ascii_lowercase()) else {
                continue;
            };
            if name.starts_with(['#', '%', ';', '!']) {
                continue;
            }
            let arguments: Vec<_> = words.collect();
            match (name.as_str(), kind) {
                ("include", Kind::Configuration) => {
                    for file in arguments.iter().flat_map(|pattern| matching(pattern)) {
                        self.read(&file, kind);
                    }
                }
                ("confdir" | "sourcedir", Kind::Configuration) => {
                    let (extension, kind) = match name.as_str() {
                        "confdir" => ("conf", Kind::Configuration),
                        _ => ("sources", Kind::Sources),
                    };
                    for file in in_folders(&arguments, extension) {
                        self.read(&file, kind);
                    }
                    self.all.push((name, arguments));
                }
                _ => self.all.push((name, arguments)),
            }
        }
        Some(())
    }

    /// The arguments of every directive of this name.
    fn every<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = &'a [String]> {
        let of_name = self.all.iter().filter(move |(name, _)| name == wanted);
        of_name.map(|(_, arguments)| arguments.as_slice())
    }

    fn stands(&self, name: &str) -> bool {
        self.every(name).next().is_some()
    }

    /// An argument of the last directive of this name, which is the one that counts, as a number.
    fn number(&self, name: &str, place: usize) -> Option<f64> {
        self.every(name).last()?.get(place)?.parse().ok()
    }

    /// Whether it allows more than `most`, as chronyd does by itself where it is missing.
    fn is_above(&self, name: &str, most: f64) -> bool {
        self.number(name, 0).is_none_or(|number| number > most)
    }

    fn judge(&self, clock: &ClockConfig) -> Vec<String> {
        let mut lines = Vec::new();
        let mut unwise = |so: bool, directive: &str, why: &str| {
            if so {
                lines.push(format!("`{directive}`: {why}"));
            }
        };
        self.judge_sources(clock, &mut unwise);
        self.judge_time(&mut unwise);
        self.judge_corrections(clock, &mut unwise);
        lines
    }

    /// Whom chronyd listens to.
    fn judge_sources(&self, clock: &ClockConfig, unwise: &mut impl FnMut(bool, &str, &str)) {
        let servers: Vec<_> = self.every("server").chain(self.every("peer")).collect();
        let sources = servers.len() + self.every("refclock").count();
        let wanted = clock.sources;
        let is_open = |server: &&&[String]| !has(server, "nts") && !has(server, "key");
        let open = servers.iter().filter(is_open).count();
        let mode = self.every("authselectmode").last();
        let has_servers = self.stands("pool") || !servers.is_empty();
        let mut folders = self.every("sourcedir").flatten();
        unwise(
            self.stands("pool"),
            "pool",
            "whoever runs it chooses the servers; name four with `server`",
        );
        unwise(
            folders.any(|folder| folder.contains("dhcp")),
            "sourcedir",
            "takes the servers that DHCP names; take the line out",
        );
        unwise(
            !self.stands("pool") && sources < usize::from(wanted),
            "server",
            &format!("{sources} sources, and clock.sources asks for {wanted}"),
        );
        unwise(
            open > 0,
            "server",
            &format!("{open} without `nts`: anybody on the way can pose as them"),
        );
        unwise(
            has_servers && !mode.is_some_and(|mode| has(mode, "require")),
            "authselectmode require",
            "missing, so that one without `nts` that is added while chronyd runs can be selected",
        );
        unwise(
            self.is_above("maxdistance", 0.1),
            "maxdistance 0.1",
            "missing or more, so that sources count as usable, and outvote others, that may be off by seconds",
        );
    }

    /// What time it takes for right, and whom it tells.
    fn judge_time(&self, unwise: &mut impl FnMut(bool, &str, &str)) {
        let leap_mode = self.every("leapsecmode").last();
        unwise(
            self.stands("local"),
            "local",
            "chronyd would call itself synchronised without a source; take it out",
        );
        unwise(
            self.stands("manual"),
            "manual",
            "lets the clock be set by hand; take it out",
        );
        unwise(
            self.stands("smoothtime"),
            "smoothtime",
            "is for servers that smear; take it out",
        );
        unwise(
            self.stands("allow") || self.stands("cmdallow"),
            "allow",
            "a host that signs time-stamps tells nobody the time; take it out",
        );
        unwise(
            leap_mode.is_some_and(|mode| !has(mode, "system")),
            "leapsecmode",
            "in any mode but `system` the clock is wrong after a leap second",
        );
        unwise(
            !self.stands("leapsectz") && !self.stands("leapseclist"),
            "leapsectz right/UTC",
            "missing, so that leap seconds are believed as servers tell them",
        );
    }

    /// When and how far the clock is corrected, and whether the kernel hears of it.
    fn judge_corrections(&self, clock: &ClockConfig, unwise: &mut impl FnMut(bool, &str, &str)) {
        let below = |name, least| self.number(name, 0).is_none_or(|number| number < least);
        unwise(
            clock.kernel_gate && !self.stands("rtcsync"),
            "rtcsync",
            "missing, so that the kernel cannot say what clock.kernel_gate asks",
        );
        unwise(
            below("minsources", 3.0),
            "minsources 3",
            "missing, so that fewer sources may move the clock",
        );
        unwise(
            below("maxclockerror", 15.0),
            "maxclockerror 15",
            "missing, and bare quartz drifts more than chronyd assumes",
        );
        unwise(
            self.is_above("maxslewrate", 100.0),
            "maxslewrate 100",
            "missing or more, so that chronyd may correct the clock faster than the bound follows from poll to poll",
        );
        unwise(
            !self.stands("maxchange"),
            "maxchange 0.5 1 0",
            "missing, so that chronyd follows its sources through any jump",
        );
        unwise(
            self.number("makestep", 1).is_some_and(|limit| limit < 0.0),
            "makestep",
            "steps at any time with a limit below 0; every step stops tokens",
        );
    }
}

/// Whether a word stands among arguments.
fn has(arguments: &[String], word: &str) -> bool {
    arguments.iter().any(|each| each.eq_ignore_ascii_case(word))
}

/// The files of these folders with this extension; of a name that stands in several, the first.
fn in_folders(folders: &[String], extension: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for folder in folders {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_wanted = path.extension().is_some_and(|found| found == extension);
            if is_wanted
                && !found
                    .iter()
                    .any(|other| other.file_name() == path.file_name())
            {
                found.push(path);
            }
        }
    }
    found.sort_by(|one, other| one.file_name().cmp(&other.file_name()));
    found
}

/// The files that an `include` names: one, or with `*` in the name those of the folder that fit.
fn matching(pattern: &str) -> Vec<PathBuf> {
    let path = Path::new(pattern);
    let name = path.file_name().and_then(|name| name.to_str());
    let Some((before, after)) = name.and_then(|name| name.split_once('*')) else {
        return vec![path.to_owned()];
    };
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let fits = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.and_then(|name| name.strip_prefix(before))
            .is_some_and(|rest| rest.ends_with(after))
    };
    let mut found: Vec<_> = entries.map(|entry| entry.path()).filter(fits).collect();
    found.sort();
    found
}
