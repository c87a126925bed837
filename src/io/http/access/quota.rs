//! How much a client may ask: [`Quotas`] counts by rule and client, in bounded memory, and forgets at a restart.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv4Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::super::peer::Client;
use crate::io::wall_clock::wall_clock;

/// Clients that are counted, all rules together: 4 MiB or so.
const MOST_COUNTED: usize = 1 << 16;

/// How often those of which nothing need be known are looked for, when there are so many.
const SWEEP: Duration = Duration::from_secs(1);

const DAY: u64 = 86_400;

/// What each client of a rule may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// So many at once, and again in so long a time.
    pub rate: Option<(u32, Duration)>,
    /// So many in a day of UTC.
    pub daily: Option<u64>,
}

impl Quota {
    const fn is_none(&self) -> bool {
        self.rate.is_none() && self.daily.is_none()
    }
}

/// Where clients without a name are counted: an address, or of IPv6 the network that a site has (/64).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    V4(Ipv4Addr),
    V6([u8; 8]),
}

impl Source {
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                Self::V6(address.octets().first_chunk().copied().unwrap_or_default())
            }
        }
    }
}

/// The counts.
#[derive(Debug)]
pub struct Quotas {
    start: Instant,
    hasher: RandomState,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// By a keyed hash of rule and client.
    counts: HashMap<u64, Count>,
    swept: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    /// When all that was asked is paid for, since the start (the generic cell rate algorithm).
    paid: Duration,
    day: u64,
    today: u64,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            hasher: RandomState::new(),
            table: Mutex::default(),
        }
    }
}

impl Quotas {
    /// Counts one request; or says when there will be room for it.
    pub fn take(&self, rule: &str, quota: &Quota, client: &Client) -> Result<(), Duration> {
        if quota.is_none() {
            return Ok(());
        }
        let seconds = wall_clock().get();
        let key = match &client.name {
            Some(name) => self.hasher.hash_one((rule, Some(&**name), None::<Source>)),
            None => {
                let source = Source::of(client.address);
                self.hasher.hash_one((rule, None::<&str>, Some(source)))
            }
        };
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.take(key, quota, self.start.elapsed(), seconds)
    }
}

impl Table {
    /// `now` since the start, `seconds` since 1970.
    fn take(
        &mut self,
        key: u64,
        quota: &Quota,
        now: Duration,
        seconds: u64,
    ) -> Result<(), Duration> {
        let (day, rest) = (seconds / DAY, DAY - seconds % DAY);
        if !self.counts.contains_key(&key) {
            self.make_room(now, day);
        }
        let count = self.counts.entry(key).or_default();
        if count.day != day {
            (count.day, count.today) = (day, 0);
        }
        if quota.daily.is_some_and(|daily| count.today >= daily) {
            return Err(Duration::from_secs(rest));
        }
        if let Some((requests, per)) = quota.rate {
            let paid = count.paid.max(now) + per / requests.max(1);
            // A full number of requests may come at once.
            if let Some(wait) = paid.checked_sub(now + per).filter(|wait| !wait.is_zero()) {
                return Err(wait);
            }
            count.paid = paid;
        }
        count.today = count.today.saturating_add(1);
        Ok(())
    }

    /// Forgets those that have their whole quota again; and, where that is not enough, anybody.
    fn make_room(&mut self, now: Duration, day: u64) {
        if self.counts.len() < MOST_COUNTED {
            return;
        }
        if self.swept.is_none_or(|swept| now >= swept + SWEEP) {
            self.swept = Some(now);
            let owes = |count: &Count| count.paid > now || (count.day == day && count.today > 1);
            self.counts.retain(|_, count| owes(count));
        }
        while self.counts.len() >= MOST_COUNTED {
            let Some(any) = self.counts.keys().next().copied() else {
                return;
            };
            self.counts.remove(&any);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDNIGHT: u64 = 20_000 * DAY;

    fn quota(rate: Option<(u32, u64)>, daily: Option<u64>) -> Quota {
        Quota {
            rate: rate.map(|(requests, per)| (requests, Duration::from_secs(per))),
            daily,
        }
    }

    #[test]
    fn a_rate_allows_its_number_at_once_and_then_one_by_one() {
        let (mut table, quota) = (Table::default(), quota(Some((10, 1)), None));
        let mut at = |millis| table.take(1, &quota, Duration::from_millis(millis), MIDNIGHT);
        for _ in 0..10 {
            assert_eq!(at(5_000), Ok(()));
        }
        assert_eq!(at(5_000), Err(Duration::from_millis(100)));
        assert_eq!(at(5_060), Err(Duration::from_millis(40)));
        assert_eq!(at(5_100), Ok(()));
        assert!(at(5_100).is_err());
        for _ in 0..10 {
            assert_eq!(at(9_000), Ok(()));
        }
        assert!(at(9_000).is_err());
    }

    #[test]
    fn a_day_ends_at_midnight() {
        let (mut table, quota) = (Table::default(), quota(None, Some(2)));
        let mut at = |seconds| table.take(1, &quota, Duration::ZERO, seconds);
        assert_eq!((at(MIDNIGHT - 10), at(MIDNIGHT - 10)), (Ok(()), Ok(())));
        assert_eq!(at(MIDNIGHT - 10), Err(Duration::from_secs(10)));
        assert_eq!(at(MIDNIGHT), Ok(()));
    }

    #[test]
    fn clients_are_told_apart_by_name_or_network() {
        let (quotas, once) = (Quotas::default(), quota(None, Some(1)));
        let take = |rule: &str, name: Option<&str>, address: &str| {
            let client = Client {
                name: name.map(Into::into),
                address: address.parse().unwrap(),
            };
            quotas.take(rule, &once, &client).is_ok()
        };
        assert!(take("r", Some("a"), "192.0.2.1") && !take("r", Some("a"), "192.0.2.2"));
        assert!(take("r", Some("b"), "192.0.2.1") && take("s", Some("a"), "192.0.2.1"));
        assert!(take("r", None, "192.0.2.1") && take("r", None, "192.0.2.2"));
        assert!(!take("r", None, "::ffff:192.0.2.1"));
        assert!(take("r", None, "2001:db8::1") && !take("r", None, "2001:db8::2:3:4:5"));
        assert!(take("r", None, "2001:db8:0:1::1"));
    }

    #[test]
    fn the_table_is_bounded() {
        let (mut table, quota) = (Table::default(), quota(Some((1, 3600)), None));
        let many = u64::try_from(MOST_COUNTED).unwrap() + 1000;
        for key in 0..many {
            assert_eq!(table.take(key, &quota, Duration::ZERO, MIDNIGHT), Ok(()));
        }
        assert_eq!(table.counts.len(), MOST_COUNTED);
        let later = Duration::from_secs(7200);
        assert_eq!(table.take(many, &quota, later, MIDNIGHT + DAY), Ok(()));
        assert_eq!(table.counts.len(), 1, "those that owe nothing have gone");
    }
}
