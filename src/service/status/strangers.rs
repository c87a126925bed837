//! What is spent on serials of no certificate that is known of. Anybody can think of as many as they like, so they
//! have a small store of their own ([`most_answers`]) and a [`Budget`] of signatures; with `unlisted =
//! "unauthorized"` they cost neither.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::wire::time::Seconds;

/// Signatures a second, over all issuers. Certificates that are in use before the list of serials has them are few.
const SIGNATURES: u64 = 64;

/// How many answers about them are kept where this many others are.
pub fn most_answers(sealed_answers: usize) -> usize {
    (sealed_answers / 16).min(4_096)
}

/// Signatures left in this second.
#[derive(Debug, Default)]
pub struct Budget {
    /// The second, and in the last octet how many were spent in it.
    spent: AtomicU64,
}

impl Budget {
    /// One signature, if there is one left.
    pub fn take(&self, now: Seconds) -> Option<()> {
        let spend = |spent: u64| {
            let (second, count) = (spent >> 8, spent & 0xff);
            match second == now.get() {
                true if count >= SIGNATURES => None,
                true => Some(spent + 1),
                false => Some(now.get() << 8 | 1),
            }
        };
        let spent = self
            .spent
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend);
        spent.ok().map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_own() {
        let budget = Budget::default();
        for second in [7, 8, 9, 8] {
            let left = (0..1_000).filter(|_| budget.take(Seconds::new(second)).is_some());
            assert_eq!(left.count(), 64, "{second}");
        }
    }
}
