//! The codes of log lines that need an operator. Each stands for one thing to do, is explained in `docs/runbook.md`, and
//! never changes its meaning. A line of level info with a code says that what was said under it is over.
//! `tests/runbook.rs` holds lines, codes and runbook together.

// 10: the appliance as a process.
pub const PANIC: &str = "GN1001";
pub const NOT_STARTED: &str = "GN1002";
pub const CAUTION: &str = "GN1003";
pub const SYSTEMD_DEAF: &str = "GN1004";
pub const WATCHDOG_STARVED: &str = "GN1005";
pub const LOG_LEVEL: &str = "GN1006";
pub const RELOAD_REFUSED: &str = "GN1007";
pub const RELOAD_INCOMPLETE: &str = "GN1008";
pub const RELOAD_LEFT: &str = "GN1009";

// 11: the clock.
pub const CLOCK_LOST: &str = "GN1101";
pub const CLOCK_DEGRADED: &str = "GN1102";
pub const CLOCK_STEPPED: &str = "GN1103";
pub const HOST_SLEPT: &str = "GN1104";
pub const CLOCK_LATCHED: &str = "GN1105";
pub const LEAP_SECOND: &str = "GN1106";
pub const CLOCK_NOT_YET_PROVEN: &str = "GN1107";
pub const LEAP_TABLE: &str = "GN1108";

// 12: the journal.
pub const JOURNAL_MENDED: &str = "GN1201";
pub const JOURNAL_STOPPED: &str = "GN1202";
pub const SEGMENT_NOT_CLOSED: &str = "GN1203";
pub const JOURNAL_FULL: &str = "GN1204";
pub const JOURNAL_LOW: &str = "GN1205";
pub const INBOX: &str = "GN1206";
pub const ANCHOR_FAILS: &str = "GN1207";
pub const ANCHOR_UNREADABLE: &str = "GN1208";
pub const JOURNAL_HANGS: &str = "GN1209";
pub const JOURNAL_LEFT: &str = "GN1210";

// 13: keys and the devices that hold them.
pub const DEVICE_FAILS: &str = "GN1301";
pub const DEVICE_STUCK: &str = "GN1302";
pub const TOKEN_AWAY: &str = "GN1303";
pub const OWN_CERTIFICATE: &str = "GN1304";

// 14: revocation.
pub const CRL_UNAVAILABLE: &str = "GN1401";
pub const CRL_REFUSED: &str = "GN1402";
pub const CRL_ROLLED_BACK: &str = "GN1403";
pub const REVOCATIONS_DISAPPEARED: &str = "GN1404";
pub const KEPT_UNUSABLE: &str = "GN1405";
pub const CRL_NOT_KEPT: &str = "GN1406";
pub const CRL_ODD: &str = "GN1407";
pub const ISSUED_UNREADABLE: &str = "GN1408";
pub const PUSHES_NOT_KEPT: &str = "GN1409";
pub const MARKS_LOWERED: &str = "GN1410";
pub const STORE: &str = "GN1411";
pub const MARKS_UNREADABLE: &str = "GN1412";
pub const SEALED_ANSWERS: &str = "GN1413";
pub const READER_DEAD: &str = "GN1414";

// 15: connections.
pub const SOCKET_UNUSABLE: &str = "GN1501";
pub const ACCEPT_FAILS: &str = "GN1502";
pub const TLS_PAIR: &str = "GN1503";
pub const TLS_ENDED: &str = "GN1504";
pub const DESCRIPTORS_FEW: &str = "GN1505";
pub const STAPLE: &str = "GN1506";

// 16: the services.
pub const TIME_STAMPS_REFUSED: &str = "GN1601";
pub const STATUS_REFUSED: &str = "GN1602";
