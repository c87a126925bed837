//! Keys, their ends and their devices: [`KeyMetrics`]. A TSU or issuer may have several keys, its successor's among
//! them; what is shown is the last end, and the sum over their devices.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use super::{registered, whole};
use crate::{
    ocsp::issuer::Issuers,
    signing::{DeviceFigures, Signer},
    tsa::set::TsuSet,
    wire::time::Seconds,
};

/// By TSU or issuer.
#[derive(Debug)]
pub struct KeyMetrics {
    tsu_ends: IntGaugeVec,
    responder_ends: IntGaugeVec,
    sessions: IntGaugeVec,
    serving: IntGaugeVec,
    failures: IntCounterVec,
    watched: Mutex<Vec<Watched>>,
}

/// A key that may have a device.
#[derive(Debug)]
struct Watched {
    service: &'static str,
    name: String,
    signer: Arc<dyn Signer>,
    /// How many of its device's failures were counted.
    counted: u64,
}

impl KeyMetrics {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            registered(registry, IntGaugeVec::new(Opts::new(name, help), labels))
        };
        let by_key = ["service", "name"];
        let failures = Opts::new(
            "gnomon_pkcs11_failures_total",
            "Signatures, and sessions to be opened, that tokens have failed, by service (tsa, ocsp) and TSU or issuer.",
        );
        Ok(Self {
            tsu_ends: gauge(
                "gnomon_key_end_timestamp_seconds",
                "When the last key that is configured stops signing, by TSU.",
                &["tsu"],
            )?,
            responder_ends: gauge(
                "gnomon_responder_end_timestamp_seconds",
                "When the last key that is configured stops signing OCSP answers, by issuer.",
                &["issuer"],
            )?,
            sessions: gauge(
                "gnomon_pkcs11_sessions",
                "Sessions on tokens that are wanted, by service (tsa, ocsp) and TSU or issuer.",
                &by_key,
            )?,
            serving: gauge(
                "gnomon_pkcs11_sessions_serving",
                "Sessions on tokens that are open and not stuck, by service (tsa, ocsp) and TSU or issuer.",
                &by_key,
            )?,
            failures: registered(registry, IntCounterVec::new(failures, &by_key))?,
            watched: Mutex::default(),
        })
    }

    /// From now on these are shown, and no others.
    pub fn watch(&self, tsus: Option<&TsuSet>, issuers: Option<&Issuers>) {
        let mut watched = Vec::new();
        self.tsu_ends.reset();
        for tsu in tsus.map(TsuSet::all).unwrap_or_default() {
            let end = self.tsu_ends.with_label_values(&[tsu.name()]);
            end.set(whole(tsu.end().get()));
            let signatories = tsu.signatories();
            watched.extend(signatories.map(|signatory| Watched {
                service: "tsa",
                name: tsu.name().to_owned(),
                signer: Arc::clone(signatory.credential().signer()),
                counted: 0,
            }));
        }
        self.responder_ends.reset();
        for issuer in issuers.map(Issuers::all).unwrap_or_default() {
            let credentials = issuer.responders.iter().map(|one| one.credential());
            let ends = credentials.clone().map(|credential| credential.end());
            let end = self.responder_ends.with_label_values(&[&issuer.name]);
            end.set(whole(ends.max().unwrap_or(Seconds::EPOCH).get()));
            watched.extend(credentials.map(|credential| Watched {
                service: "ocsp",
                name: issuer.name.clone(),
                signer: Arc::clone(credential.signer()),
                counted: 0,
            }));
        }
        // What has failed until now is counted, so that a device that goes on is not counted twice.
        self.look();
        let mut old = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &mut watched {
            let same = |old: &&Watched| Arc::ptr_eq(&old.signer, &key.signer);
            key.counted = old.iter().find(same).map_or(0, |old| old.counted);
        }
        self.sessions.reset();
        self.serving.reset();
        *old = watched;
    }

    /// All devices together; none where every key is in a file.
    pub fn devices(&self) -> Option<DeviceFigures> {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let devices = watched.iter().filter_map(|key| key.signer.device());
        devices.reduce(|sum, device| DeviceFigures {
            sessions: sum.sessions + device.sessions,
            serving: sum.serving + device.serving,
            failures: sum.failures + device.failures,
            signatures: sum.signatures + device.signatures,
        })
    }

    /// Takes up how the devices fare.
    pub fn look(&self) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sums: BTreeMap<[&str; 2], DeviceFigures> = BTreeMap::new();
        for key in watched.iter_mut() {
            if let Some(device) = key.signer.device() {
                let sum = sums.entry([key.service, &key.name]).or_default();
                sum.sessions += device.sessions;
                sum.serving += device.serving;
                sum.failures += device.failures.saturating_sub(key.counted);
                key.counted = device.failures;
            }
        }
        for (labels, sum) in sums {
            let count = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
            let sessions = self.sessions.with_label_values(&labels);
            sessions.set(count(sum.sessions));
            let serving = self.serving.with_label_values(&labels);
            serving.set(count(sum.serving));
            let failures = self.failures.with_label_values(&labels);
            failures.inc_by(sum.failures);
        }
    }
}
