//! What a TSU promises and takes: [`TsuSpec`] as the operator wrote it, [`Terms`] once it is shown that
//! the promise of accuracy can be kept.

use std::time::Duration;

use crate::wire::{algorithm::DigestAlgorithm, oid::PolicyOid, tst_info::Precision};

/// A TSU's settings.
#[derive(Debug, Clone)]
pub struct TsuSpec {
    pub name: String,
    /// Signs on an unproven clock.
    pub demo: bool,
    /// The policies offered; the first is the default.
    pub policies: Vec<PolicyOid>,
    /// The digests taken for imprints.
    pub digests: Vec<DigestAlgorithm>,
    pub precision: Precision,
    pub accuracy: Accuracy,
    /// The time allowed between the reading of the clock and the finished signature.
    pub signing_delay: Duration,
    /// Whether the token names the TSU (`tsa`).
    pub tsa_field: bool,
    /// Whether the token states that it is qualified (ETSI EN 319 422 9.1).
    pub qualified: bool,
}

/// What tokens declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accuracy {
    /// The same in every token.
    Fixed(Duration),
    /// What the clock's bound allows at the moment, never worse than this.
    Measured(Duration),
}

impl Accuracy {
    /// The worst that is ever declared.
    pub const fn worst(self) -> Duration {
        match self {
            Self::Fixed(accuracy) | Self::Measured(accuracy) => accuracy,
        }
    }
}

/// Why settings cannot be kept together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    #[error("no policy; name at least one OID")]
    NoPolicy,
    #[error(
        "{} us of accuracy cannot be kept: genTime is cut to {} us and signing may take {} us, which leaves nothing for the clock; declare more, or lower precision's unit or signing_delay",
        accuracy.as_micros(), unit.as_micros(), delay.as_micros()
    )]
    AccuracyTooTight {
        accuracy: Duration,
        unit: Duration,
        delay: Duration,
    },
    #[error("a qualified time-stamp declares an accuracy of 1 s or better (ETSI EN 319 421 7.7.2)")]
    AccuracyNotQualified,
}

/// The terms a TSU works by.
#[derive(Debug)]
pub struct Terms {
    policies: Vec<PolicyOid>,
    default_policy: PolicyOid,
    digests: Vec<DigestAlgorithm>,
    precision: Precision,
    accuracy: Accuracy,
    tolerance: Duration,
    signing_delay: Duration,
}

impl Terms {
    pub(super) fn new(spec: &TsuSpec) -> Result<Self, TermsError> {
        let unit = spec.precision.unit();
        let worst = spec.accuracy.worst();
        let tolerance = worst.checked_sub(unit + spec.signing_delay);
        if spec.qualified && worst > Duration::from_secs(1) {
            return Err(TermsError::AccuracyNotQualified);
        }
        Ok(Self {
            policies: spec.policies.clone(),
            default_policy: spec.policies.first().cloned().ok_or(TermsError::NoPolicy)?,
            digests: spec.digests.clone(),
            precision: spec.precision,
            accuracy: spec.accuracy,
            tolerance: tolerance.filter(|left| !left.is_zero()).ok_or(
                TermsError::AccuracyTooTight {
                    accuracy: worst,
                    unit,
                    delay: spec.signing_delay,
                },
            )?,
            signing_delay: spec.signing_delay,
        })
    }

    /// Every policy offered.
    pub fn policies(&self) -> &[PolicyOid] {
        &self.policies
    }

    /// The policy for `requested` (content octets): the default where none was asked for, `None` where it
    /// is not offered.
    pub fn policy(&self, requested: Option<&[u8]>) -> Option<&PolicyOid> {
        match requested {
            None => Some(&self.default_policy),
            Some(requested) => self
                .policies
                .iter()
                .find(|policy| policy.as_bytes() == requested),
        }
    }

    pub fn takes(&self, digest: DigestAlgorithm) -> bool {
        self.digests.contains(&digest)
    }

    pub const fn precision(&self) -> Precision {
        self.precision
    }

    /// How far the clock can be from UTC so that the declared accuracy still holds: what is left of it
    /// after the unit genTime is cut to and the delay allowed for signing.
    pub const fn tolerance(&self) -> Duration {
        self.tolerance
    }

    /// What a token declares whose clock was within `bound` of UTC: what was configured, or all that stands between
    /// UTC and genTime, rounded up to the unit.
    pub fn accuracy(&self, bound: Duration) -> Duration {
        match self.accuracy {
            Accuracy::Fixed(accuracy) => accuracy,
            Accuracy::Measured(worst) => {
                let unit = self.precision.unit();
                let whole = bound
                    .saturating_add(unit)
                    .saturating_add(self.signing_delay);
                let cut = self.precision.cut(whole);
                let up = if cut < whole { unit } else { Duration::ZERO };
                cut.saturating_add(up).min(worst)
            }
        }
    }

    pub const fn signing_delay(&self) -> Duration {
        self.signing_delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(accuracy: Accuracy) -> Terms {
        let spec = TsuSpec {
            name: "a".into(),
            demo: false,
            policies: vec!["1.2.3.4".parse().unwrap()],
            digests: vec![DigestAlgorithm::Sha256],
            precision: Precision::Millis,
            accuracy,
            signing_delay: Duration::from_millis(100),
            tsa_field: false,
            qualified: false,
        };
        Terms::new(&spec).unwrap()
    }

    /// Clock bound, the unit genTime is cut to and the delay allowed for signing are never more than what is
    /// declared.
    #[test]
    fn what_is_declared_is_never_better_than_the_truth() {
        let second = Duration::from_secs(1);
        let fixed = terms(Accuracy::Fixed(second));
        let measured = terms(Accuracy::Measured(second));
        assert_eq!(fixed.tolerance(), measured.tolerance());
        for micros in (0..899_000).step_by(997) {
            let bound = Duration::from_micros(micros);
            let truth = bound + Duration::from_millis(101);
            assert_eq!(fixed.accuracy(bound), second);
            let declared = measured.accuracy(bound);
            assert!(declared >= truth && declared < truth + Duration::from_millis(1));
            assert_eq!(declared.subsec_micros() % 1_000, 0);
        }
        assert_eq!(measured.accuracy(measured.tolerance()), second);
    }
}
