//! A TSU's serials and times: [`Sequence::next`] gives both together, under one short lock, so that a
//! later serial never has an earlier genTime.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::clock::{TrustedTime, Unproven};

/// The serial of one token: 16 octets with the top bit 0, of which 79 bits were drawn at start and 48
/// count. A restart draws anew, so nothing need be remembered for serials never to come twice (RFC 3161
/// 2.4.2), also on several nodes.
pub type Serial = [u8; 16];

/// The source of a TSU's serials and times.
#[derive(Debug)]
pub struct Sequence {
    prefix: [u8; 10],
    last: Mutex<Last>,
}

#[derive(Debug)]
struct Last {
    counter: u64,
    time: Duration,
}

/// A serial and the time that goes with it.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    pub serial: Serial,
    pub time: TrustedTime,
}

/// Why there is no next serial or time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    #[error(transparent)]
    Unproven(#[from] Unproven),
    #[error(
        "the clock was set back by {} ms behind the last token; issuing goes on when it has caught up",
        .0.as_millis()
    )]
    SetBack(Duration),
    #[error("all 2^48 serials of this start are used; start gnomon again")]
    Exhausted,
}

impl Sequence {
    /// Counts from 0 under the last 79 bits of `entropy`.
    pub const fn new(entropy: [u8; 10]) -> Self {
        let [first, rest @ ..] = entropy;
        let [a, b, c, d, e, f, g, h, i] = rest;
        Self {
            prefix: [first & 0x7f, a, b, c, d, e, f, g, h, i],
            last: Mutex::new(Last {
                counter: 0,
                time: Duration::ZERO,
            }),
        }
    }

    /// The next serial, with the time that `read` gives. `read` runs under the lock: keep it short.
    pub fn next(
        &self,
        read: impl FnOnce() -> Result<TrustedTime, Unproven>,
    ) -> Result<Stamp, SequenceError> {
        const LAST_SERIAL: u64 = (1 << 48) - 1;
        // A panic under the lock cannot leave the two fields half written in a way that matters.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let time = read()?;
        if let Some(behind) = last
            .time
            .checked_sub(time.since_1970())
            .filter(|gap| !gap.is_zero())
        {
            return Err(SequenceError::SetBack(behind));
        }
        if last.counter > LAST_SERIAL {
            return Err(SequenceError::Exhausted);
        }
        let [_, _, counter @ ..] = last.counter.to_be_bytes();
        last.counter += 1;
        last.time = time.since_1970();
        let mut serial = [0; 16];
        for (to, from) in serial.iter_mut().zip(self.prefix.iter().chain(&counter)) {
            *to = *from;
        }
        Ok(Stamp { serial, time })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::discipline::demo_reading;

    fn at(seconds: u64) -> Result<TrustedTime, Unproven> {
        Ok(demo_reading(Duration::from_secs(seconds)))
    }

    #[test]
    fn serials_count_under_a_positive_prefix() {
        let sequence = Sequence::new([0xff; 10]);
        let first = sequence.next(|| at(5)).unwrap().serial;
        let second = sequence.next(|| at(5)).unwrap().serial;
        assert_eq!(
            first[..10],
            [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]
        );
        assert_eq!(first[10..], [0, 0, 0, 0, 0, 0]);
        assert_eq!(second[10..], [0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn a_clock_set_back_is_refused_until_it_has_caught_up() {
        let sequence = Sequence::new([0; 10]);
        sequence.next(|| at(100)).unwrap();
        let refused = sequence.next(|| at(98)).unwrap_err();
        assert_eq!(refused, SequenceError::SetBack(Duration::from_secs(2)));
        assert_eq!(sequence.next(|| at(100)).unwrap().serial[15], 1);
    }

    #[test]
    fn a_counter_at_its_end_stops() {
        let sequence = Sequence::new([0; 10]);
        sequence.last.lock().unwrap().counter = (1 << 48) - 1;
        assert_eq!(sequence.next(|| at(1)).unwrap().serial[10..], [0xff; 6]);
        assert_eq!(
            sequence.next(|| at(1)).unwrap_err(),
            SequenceError::Exhausted
        );
    }
}
