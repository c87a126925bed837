//! Everything an operator asks about the appliance, as one JSON value: [`ApplianceStatus::as_json`]. `GET /status`
//! gives it out, and `gnomon status` and the console show nothing else.

use std::{fmt, sync::Arc, time::Instant};

use serde_json::{Map, Value, json};

use super::{
    clock_status,
    feed::Orders,
    journal::Journal,
    metrics::{Activity, Counts, INTERVAL, Metrics},
};
use crate::{
    clock::Clock,
    ocsp::issuer::Issuer,
    service::{status::Statuses, timestamp::Timestamping},
    signing::credential::Credential,
    tsa::Tsu,
    wire::time::Seconds,
};

/// Where the facts are.
pub struct ApplianceStatus {
    pub timestamping: Option<Arc<Timestamping>>,
    pub statuses: Option<Arc<Statuses>>,
    pub clock: Arc<dyn Clock>,
    pub journal: Journal,
    /// Free octets below which the operator is warned, and below which no token is issued.
    pub free_limits: [u64; 2],
    pub feeds: Orders,
    pub metrics: Arc<Metrics>,
    pub started: Instant,
}

/// A service and, if it cannot do its work, why.
struct Service {
    name: &'static str,
    trouble: Option<String>,
}

impl ApplianceStatus {
    /// Everything that keeps the appliance from its work, in words; empty when ready.
    pub fn troubles(&self) -> Vec<String> {
        self.services()
            .into_iter()
            .filter_map(|service| service.trouble)
            .collect()
    }

    /// The whole. Names are stable, and say their unit.
    pub fn as_json(&self) -> Value {
        let services = self.services();
        let now = self.clock.reading();
        let activity = self.metrics.activity();
        let troubles: Vec<_> = services
            .iter()
            .filter_map(|one| one.trouble.as_ref())
            .collect();
        let services = services.iter().map(|service| {
            json!({
                "service": service.name,
                "ready": service.trouble.is_none(),
                "trouble": service.trouble,
            })
        });
        let tsus = self.timestamping.iter().flat_map(|one| one.tsus().all());
        let issuers = self.statuses.iter().flat_map(|one| one.issuers().all());
        let feeds = self.feeds.overview();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "time": now.to_string(),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "ready": troubles.is_empty(),
            "troubles": troubles,
            "services": services.collect::<Vec<_>>(),
            "clock": clock_status::as_json(&*self.clock),
            "tsus": tsus.map(|tsu| of_tsu(tsu, now)).collect::<Vec<_>>(),
            "issuers": issuers.map(|issuer| of_issuer(issuer, &feeds, now)).collect::<Vec<_>>(),
            "devices": self.devices(&activity),
            "journal": self.of_journal(now),
            "requests": self.requests(&activity),
        })
    }

    fn services(&self) -> Vec<Service> {
        let mut services = Vec::new();
        if let Some(timestamping) = &self.timestamping {
            services.push(Service {
                name: "timestamping",
                trouble: timestamping.ready().err(),
            });
        }
        if let Some(statuses) = &self.statuses {
            services.push(Service {
                name: "ocsp",
                trouble: statuses.ready().err(),
            });
        }
        let trouble = self.journal.trouble();
        services.push(Service {
            name: "journal",
            trouble: trouble.map(|trouble| format!("journal: no token is issued, since {trouble}")),
        });
        services
    }

    fn of_journal(&self, now: Seconds) -> Value {
        let figures = self.journal.figures();
        let [warn, stop] = self.free_limits;
        json!({
            "state": figures.state.label(),
            "records": figures.records,
            "segment_bytes": self.journal.octets().ok(),
            "free_bytes": (figures.free < u64::MAX).then_some(figures.free),
            "warn_free_bytes": warn,
            "stop_free_bytes": stop,
            "checkpoint_records": figures.signed,
            "checkpoint_time": figures.signed_at.map(|time| time.to_string()),
            "checkpoint_age_seconds": figures.signed_at.map(|time| now.since(time)),
        })
    }

    fn devices(&self, activity: &Activity) -> Value {
        let Some(devices) = self.metrics.devices() else {
            return Value::Null;
        };
        // Of the last minute, as far as it is over.
        let last = activity.intervals.iter().rev().take(6);
        let (mut signatures, mut seconds) = (0, 0);
        for Counts([.., signed]) in last {
            signatures += signed;
            seconds += INTERVAL.as_secs();
        }
        let rate = u32::try_from(signatures)
            .ok()
            .zip(u32::try_from(seconds).ok());
        let rate = rate.filter(|(_, seconds)| *seconds > 0);
        json!({
            "sessions": devices.sessions,
            "sessions_serving": devices.serving,
            "signatures_total": devices.signatures,
            "failures_total": devices.failures,
            "signatures_per_second":
                rate.map(|(signatures, seconds)| f64::from(signatures) / f64::from(seconds)),
        })
    }

    fn requests(&self, activity: &Activity) -> Value {
        let object = |counts: Counts| {
            let fields = counts
                .named()
                .map(|(name, count)| (name.to_owned(), count.into()));
            Value::Object(fields.collect())
        };
        let (open, turned_away) = self.metrics.connections().figures();
        let mut intervals = Map::new();
        for (index, name) in Counts::NAMES.into_iter().enumerate() {
            let of_this = |counts: &Counts| counts.0.get(index).copied();
            let list: Vec<_> = activity.intervals.iter().filter_map(of_this).collect();
            intervals.insert(name.to_owned(), list.into());
        }
        json!({
            "since_start": object(activity.total),
            "last_5_minutes": object(activity.last(30)),
            "last_30_minutes": object(activity.last(usize::MAX)),
            "interval_seconds": INTERVAL.as_secs(),
            "intervals": intervals,
            "connections_open": open,
            "connections_refused_total": turned_away,
        })
    }
}

fn of_tsu(tsu: &Tsu, now: Seconds) -> Value {
    let signs = tsu.signatory(now);
    let key = |signatory: &crate::tsa::signatory::Signatory| {
        of_key(signatory.credential(), std::ptr::eq(signs, signatory), now)
    };
    json!({
        "tsu": tsu.name(),
        "keys": tsu.signatories().map(key).collect::<Vec<_>>(),
    })
}

fn of_issuer(issuer: &Issuer, feeds: &Value, now: Seconds) -> Value {
    let keys = issuer
        .responders
        .iter()
        .map(|responder| of_key(responder.credential(), responder.signs_at(now), now));
    let all = feeds.get("issuers").and_then(Value::as_array);
    let is_its = |feed: &&Value| feed.get("issuer").and_then(Value::as_str) == Some(&issuer.name);
    let feed = all.into_iter().flatten().find(is_its);
    let sources = feed
        .and_then(|feed| feed.get("sources"))
        .and_then(Value::as_array);
    let sources = sources
        .into_iter()
        .flatten()
        .map(|source| of_source(source, now));
    json!({
        "issuer": issuer.name,
        "subject": issuer.certificate.subject_text(),
        "not_after": issuer.certificate.not_after().to_string(),
        "days_left": left(issuer.certificate.not_after(), now).div_euclid(86_400),
        "keys": keys.collect::<Vec<_>>(),
        "issued_serials": feed.and_then(|feed| feed.get("issued")),
        "crls": sources.collect::<Vec<_>>(),
    })
}

fn of_key(credential: &Credential, signs: bool, now: Seconds) -> Value {
    let certificate = credential.certificate();
    let signer = credential.signer();
    let trouble = credential.usable_at(now).err();
    let left = left(credential.end(), now);
    json!({
        "subject": certificate.subject_text(),
        "serial": hex::encode(certificate.serial()),
        "algorithm": signer.algorithm().name(),
        "not_after": certificate.not_after().to_string(),
        "signs_until": credential.end().to_string(),
        "seconds_left": left,
        "days_left": left.div_euclid(86_400),
        "signs_now": signs,
        "reachable": signer.is_available(),
        "trouble": trouble.map(|error| error.to_string()),
        "device": signer.device().map(|device| json!({
            "sessions": device.sessions,
            "sessions_serving": device.serving,
            "signatures_total": device.signatures,
            "failures_total": device.failures,
        })),
    })
}

/// What the feed tells of a source, with its times as spans.
fn of_source(source: &Value, now: Seconds) -> Value {
    let mut source = source.clone();
    let time = |name: &str| {
        let time = source.get(name).and_then(Value::as_str)?;
        let time: der::DateTime = time.parse().ok()?;
        Some(Seconds::from(time))
    };
    let age = time("this_update").map(|time| now.since(time));
    let left = time("next_update").map(|time| left(time, now));
    let checked = time("checked").map(|time| now.since(time));
    if let Some(fields) = source.as_object_mut() {
        fields.insert("age_seconds".into(), json!(age));
        fields.insert("seconds_left".into(), json!(left));
        fields.insert("checked_seconds_ago".into(), json!(checked));
    }
    source
}

/// Below zero where `end` is over.
fn left(end: Seconds, now: Seconds) -> i64 {
    let span = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    span(end.get()).saturating_sub(span(now.get()))
}

impl fmt::Debug for ApplianceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApplianceStatus").finish_non_exhaustive()
    }
}
