//! File descriptors: [`room`] says how many connections the process has them for, so that the journal, the feeds and
//! the operator's side never go without because clients hold them all.

use rustix::process::{Resource, getrlimit, setrlimit};

/// For everything but the public side's connections: files of the journal, the store and the feeds, sockets of PKCS #11
/// modules, the operator's connections, those that are told that there is no place, and what the threads poll with.
const RESERVE: u64 = 256;

/// How many connections there may be.
#[derive(Debug, PartialEq, Eq)]
pub struct Room {
    pub connections: usize,
    /// Why that is less than was wanted.
    pub caution: Option<String>,
}

/// Raises the soft limit as far as the hard one lets it be raised, and fits `wanted` connections (`http.connections`)
/// in.
pub fn room(wanted: usize) -> Room {
    let mut limit = getrlimit(Resource::Nofile);
    let needed = u64::try_from(wanted)
        .unwrap_or(u64::MAX)
        .saturating_add(RESERVE);
    if limit.current.is_some_and(|soft| soft < needed) {
        let mut raised = limit;
        raised.current = match raised.maximum {
            Some(hard) => Some(hard.min(needed)),
            None => Some(needed),
        };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
    }
    fit(wanted, limit.current)
}

/// `limit`: descriptors of the process; none, and there is no end of them.
fn fit(wanted: usize, limit: Option<u64>) -> Room {
    // With very few, half are for clients all the same.
    let most = limit.map_or(u64::MAX, |limit| limit - RESERVE.min(limit / 2));
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let connections = wanted.min(most);
    let caution = (connections < wanted).then(|| {
        format!(
            "http.connections: {wanted} are wanted, but the process may open only {} files, so that {connections} are \
             taken; raise LimitNOFILE= of the unit, or ulimit -n",
            limit.unwrap_or_default()
        )
    });
    Room {
        connections,
        caution,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_descriptors_for_the_rest() {
        let unlimited = fit(10_000, None);
        assert_eq!((unlimited.connections, unlimited.caution), (10_000, None));
        // The unit's.
        assert_eq!(fit(10_000, Some(65_536)).caution, None);
        assert_eq!(fit(10_000, Some(10_256)).connections, 10_000);
        let few = fit(10_000, Some(1_024));
        assert_eq!(few.connections, 768);
        let caution = few.caution.unwrap();
        assert!(caution.contains("1024 files, so that 768"), "{caution}");
        assert_eq!(fit(10_000, Some(100)).connections, 50);
    }
}
