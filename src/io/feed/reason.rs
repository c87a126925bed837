//! Why a source has failed, in the few words that a metric may have: [`FeedError::failure`] is the one map from what went
//! wrong to a [`CrlFailure`].

use super::{FeedError, fetch::FetchError, judge::CrlRefusal};
use crate::{
    io::{
        http_client::HttpError,
        metrics::{CrlAlarm, CrlFailure},
    },
    revocation::CrlError,
};

impl FeedError {
    /// Of a source; `None` of what is no failure of one.
    pub(super) const fn failure(&self) -> Option<CrlFailure> {
        match self {
            Self::Unreadable { .. } | Self::NoneInFolder { .. } => Some(CrlFailure::Unreachable),
            Self::TooLarge { .. } => Some(CrlFailure::Size),
            Self::Fetch { error, .. } => Some(of_fetch(error)),
            Self::Crl { error, .. } => Some(of_refusal(error)),
            _ => None,
        }
    }

    /// Whether something was there that could be refused.
    pub(super) fn is_refusal(&self) -> bool {
        self.failure()
            .is_some_and(|failure| failure != CrlFailure::Unreachable)
    }

    /// What of it is an alarm.
    pub(super) const fn alarm(&self) -> Option<CrlAlarm> {
        match self {
            Self::RolledBack { .. } => Some(CrlAlarm::RolledBack),
            Self::Disappeared { .. } => Some(CrlAlarm::Disappeared),
            Self::Retained { .. } => Some(CrlAlarm::Retained),
            _ => None,
        }
    }

    /// CRLNumber of what was refused, hexadecimal, where its octets show one.
    pub(super) fn number(&self) -> Option<&str> {
        match self {
            Self::Crl { number, .. } => number.as_deref(),
            _ => None,
        }
    }
}

const fn of_fetch(error: &FetchError) -> CrlFailure {
    match error {
        FetchError::Http(HttpError::Failed(_) | HttpError::Status(_)) => CrlFailure::Unreachable,
        FetchError::Http(HttpError::TooLong(_)) | FetchError::TooLong(_) => CrlFailure::Size,
        FetchError::Gzip(_) => CrlFailure::Format,
    }
}

const fn of_refusal(error: &CrlRefusal) -> CrlFailure {
    match error {
        CrlRefusal::WebPage => CrlFailure::Format,
        CrlRefusal::Crl(error) => of_crl(error),
        CrlRefusal::NoBase => CrlFailure::Base,
        CrlRefusal::RanOut(_) | CrlRefusal::Future(_) | CrlRefusal::EndsEarlier { .. } => {
            CrlFailure::Dates
        }
    }
}

const fn of_crl(error: &CrlError) -> CrlFailure {
    match error {
        CrlError::Format(_)
        | CrlError::Pem(_)
        | CrlError::UnknownCritical(_)
        | CrlError::Extension(_)
        | CrlError::Number
        | CrlError::NoNumber
        | CrlError::NoNextUpdate
        | CrlError::Removed(_)
        | CrlError::SerialTooLong(_) => CrlFailure::Format,
        CrlError::OtherIssuer(_) | CrlError::NoCrlSign(_) | CrlError::OtherKey(_) => {
            CrlFailure::Issuer
        }
        CrlError::UnsupportedAlgorithm | CrlError::Signature(_) => CrlFailure::Signature,
        CrlError::Delta
        | CrlError::NoDelta
        | CrlError::Scope(_)
        | CrlError::OtherBase
        | CrlError::BaseWithoutNumber
        | CrlError::ScopeChanged { .. }
        | CrlError::PointChanged => CrlFailure::Scope,
        CrlError::OldBase { .. } => CrlFailure::Base,
        CrlError::NumberWentBack { .. } | CrlError::TimeWentBack { .. } => CrlFailure::Number,
        CrlError::SameNumber(_) => CrlFailure::SameNumber,
    }
}
