//! What is recorded beside tokens: [`Event`]. Its details are one JSON object, in the record's private part.

use serde::Serialize;
use serde_json::Value;

/// Octets of an event's details. Names and reasons are some hundreds; a file in the inbox may hold anything.
const LONGEST: usize = 16 << 10;

/// The kinds that tell how far CRLs have come.
pub const CRL_ACCEPTED: u8 = 7;
pub const CRL_MARK_RESET: u8 = 20;

/// Something an auditor asks for. Never names a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Event {
    /// The appliance has opened the journal.
    Started { version: &'static str },
    /// It closes it in order.
    Stopped { reason: String },
    /// A configuration is in force.
    Configuration { file: String, sha256: String },
    /// A certificate and its key are in use, or come to be.
    Certificate {
        /// Its table in the configuration, such as `tsu[0].successor`.
        of: String,
        subject: String,
        serial: String,
        sha256: String,
        /// When it begins to sign: this start, or a successor's hour.
        from: String,
    },
    /// The CRLs that are followed here say of one of our own certificates that it is revoked, and its key has
    /// stopped; or that it no longer is.
    CertificateRevoked {
        /// Whose it is, such as a TSU by its name.
        of: String,
        subject: String,
        serial: String,
        /// When, and why (RFC 5280 5.3.1); null where it no longer is.
        revoked: Option<String>,
        reason: Option<&'static str>,
    },
    /// A key was made or destroyed by `gnomon keys`.
    Key { action: String, details: Value },
    CrlAccepted {
        issuer: String,
        source: String,
        /// CRLNumber, hexadecimal.
        number: Option<String>,
        sha256: String,
        this_update: String,
        /// Of which issuer key and scope a number may not go back, and whether of complete CRLs or deltas.
        scope: String,
    },
    CrlRefused {
        issuer: String,
        source: String,
        /// CRLNumber, hexadecimal, where what was refused shows one.
        number: Option<String>,
        reason: String,
    },
    /// An operator has allowed that the number goes back, since the CA was restored.
    CrlMarkReset {
        issuer: String,
        scope: String,
        number: Option<String>,
    },
    /// The clock is shown to be UTC from now on.
    ClockProven { bound_us: u64 },
    /// The clock is that of a demo: tokens are signed that prove nothing.
    ClockDemo {},
    /// It no longer is; no token is signed.
    ClockLost {
        reason: String,
        /// When it was last shown to be UTC.
        last_proven: Option<String>,
    },
    /// The bound has grown over the warning; tokens are signed.
    ClockDegraded { bound_us: u64 },
    /// The system clock was set, or the host slept.
    ClockStepped { by_us: u64, slept: bool },
    /// It was lost so often that an operator must look.
    ClockLatched { losses: u32 },
    /// The operator has.
    ClockReset {},
    /// A leap second was announced, is under way (no token is signed), or is over.
    LeapSecond {
        phase: &'static str,
        /// Of an announced one: the midnight after it, and whether it is one more second or one less.
        #[serde(skip_serializing_if = "Option::is_none")]
        at: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        inserted: Option<bool>,
    },
    /// Requests refused since the record before of this kind.
    Refusals {
        tsu: String,
        /// PKIFailureInfo, or `busy`.
        failure: String,
        count: u64,
    },
    /// What a crash had left unfinished was cut at the start.
    Repaired { what: String },
}

impl Event {
    /// The second octet of the public part.
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Started { .. } => 2,
            Self::Stopped { .. } => 3,
            Self::Configuration { .. } => 4,
            Self::Certificate { .. } => 5,
            Self::Key { .. } => 6,
            Self::CrlAccepted { .. } => CRL_ACCEPTED,
            Self::CrlRefused { .. } => 8,
            Self::ClockProven { .. } => 9,
            Self::ClockLost { .. } => 10,
            Self::Refusals { .. } => 11,
            Self::Repaired { .. } => 12,
            Self::ClockDemo { .. } => 13,
            Self::ClockDegraded { .. } => 14,
            Self::ClockStepped { .. } => 15,
            Self::ClockLatched { .. } => 16,
            Self::ClockReset { .. } => 17,
            Self::LeapSecond { .. } => 18,
            Self::CertificateRevoked { .. } => 19,
            Self::CrlMarkReset { .. } => CRL_MARK_RESET,
        }
    }

    /// A kind in words.
    pub const fn kind_name(kind: u8) -> &'static str {
        match kind {
            2 => "started",
            3 => "stopped",
            4 => "configuration",
            5 => "certificate",
            6 => "key",
            CRL_ACCEPTED => "crl accepted",
            8 => "crl refused",
            9 => "clock proven",
            10 => "clock lost",
            11 => "refusals",
            12 => "repaired",
            13 => "clock of a demo",
            14 => "clock degraded",
            15 => "clock stepped",
            16 => "clock latched",
            17 => "clock reset",
            18 => "leap second",
            19 => "certificate revoked",
            CRL_MARK_RESET => "crl mark reset",
            _ => "unknown",
        }
    }

    /// A JSON object of at most [`LONGEST`] octets.
    pub fn details(&self) -> String {
        // Strings and numbers alone: nothing in it can fail.
        let details = serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned());
        if details.len() <= LONGEST {
            return details;
        }
        let beginning: String = details.chars().take(LONGEST / 8).collect();
        serde_json::json!({ "cut": true, "beginning": beginning }).to_string()
    }
}
