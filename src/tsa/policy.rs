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
    /// What every token declares.
    pub accuracy: Duration,
    /// The time allowed between the reading of the clock and the finished signature.
    pub signing_delay: Duration,
    /// Whether the token names the TSU (`tsa`).
    pub tsa_field: bool,
    /// Whether a key signs for 15 months at most (CA/B Forum CSBR).
    pub code_signing: bool,
    /// Whether the token states that it is qualified (ETSI EN 319 422 9.1).
    pub qualified: bool,
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
    tolerance: Duration,
    signing_delay: Duration,
}

impl Terms {
    pub(super) fn new(spec: &TsuSpec) -> Result<Self, TermsError> {
        let unit = spec.precision.unit();
        let tolerance = spec.accuracy.checked_sub(unit + spec.signing_delay);
        if spec.qualified && spec.accuracy > Duration::from_secs(1) {
            return Err(TermsError::AccuracyNotQualified);
        }
        Ok(Self {
            policies: spec.policies.clone(),
            default_policy: spec.policies.first().cloned().ok_or(TermsError::NoPolicy)?,
            digests: spec.digests.clone(),
            precision: spec.precision,
            tolerance: tolerance.filter(|left| !left.is_zero()).ok_or(
                TermsError::AccuracyTooTight {
                    accuracy: spec.accuracy,
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

    pub const fn signing_delay(&self) -> Duration {
        self.signing_delay
    }
}
