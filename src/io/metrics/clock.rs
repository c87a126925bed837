//! The clock for Prometheus: [`ClockMetrics`].

use std::time::Duration;

use prometheus::{Gauge, GaugeVec, IntGauge, Opts, Registry};

use super::{registered, whole};
use crate::{
    clock::{State, Status, TrustedTime, Unproven, report::Source},
    wire::time::Seconds,
};

/// How the clock is doing, looked at once a second.
#[derive(Debug)]
pub struct ClockMetrics {
    state: GaugeVec,
    bound: Gauge,
    offset: Gauge,
    reference_age: Gauge,
    since_proof: Gauge,
    stratum: IntGauge,
    reach: GaugeVec,
    leap_table: IntGauge,
}

impl ClockMetrics {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| registered(registry, Gauge::new(name, help));
        let counted = |name: &str, help: &str| registered(registry, IntGauge::new(name, help));
        let labelled = |name: &str, help: &str, label: &str| {
            registered(registry, GaugeVec::new(Opts::new(name, help), &[label]))
        };
        Ok(Self {
            state: labelled(
                "gnomon_clock_state",
                "1 for the state that the clock is in: proven, degraded or lost.",
                "state",
            )?,
            bound: gauge(
                "gnomon_clock_bound_seconds",
                "How far the clock can be from UTC; of no meaning while it is lost.",
            )?,
            offset: gauge(
                "gnomon_clock_offset_seconds",
                "What chronyd still has to correct.",
            )?,
            reference_age: gauge(
                "gnomon_clock_reference_age_seconds",
                "How long ago chronyd last heard from a source.",
            )?,
            since_proof: gauge(
                "gnomon_clock_since_proof_seconds",
                "How long ago the clock was last proven.",
            )?,
            stratum: counted("gnomon_clock_stratum", "chronyd's stratum.")?,
            reach: labelled(
                "gnomon_clock_source_reach",
                "How many of the last eight polls a source of chronyd's has answered.",
                "source",
            )?,
            leap_table: counted(
                "gnomon_clock_leap_table_expiry_timestamp_seconds",
                "When the table of leap seconds expires; 0 where it cannot be read.",
            )?,
        })
    }

    /// A look at the clock.
    pub fn show(&self, time: &Result<TrustedTime, Unproven>, status: Option<&Status>) {
        let plain = match time {
            Ok(_) => State::Proven,
            Err(_) => State::Lost,
        };
        let state = match (time, status) {
            (Ok(_), Some(status)) => status.state,
            _ => plain,
        };
        for each in [State::Proven, State::Degraded, State::Lost] {
            let is_it = f64::from(u8::from(each == state));
            self.state.with_label_values(&[each.label()]).set(is_it);
        }
        if let Ok(time) = time {
            self.bound.set(time.bound().as_secs_f64());
        }
        let Some(status) = status else {
            return;
        };
        if let Some(proven) = status.last_proven {
            let now = status
                .polled
                .map(|polled| polled.realtime)
                .unwrap_or_default();
            self.since_proof
                .set(now.saturating_sub(proven).as_secs_f64());
        }
        self.reach.reset();
        let Some(tracking) = &status.tracking else {
            return;
        };
        let correction = Duration::from_nanos(tracking.correction.unsigned_abs()).as_secs_f64();
        self.offset
            .set(correction.copysign(if tracking.correction < 0 { -1.0 } else { 1.0 }));
        self.reference_age
            .set(status.ref_time_age.unwrap_or_default().as_secs_f64());
        self.stratum.set(i64::from(tracking.stratum));
        for source in &tracking.sources {
            let reach = f64::from(source.reach.count_ones());
            self.reach.with_label_values(&[&name(source)]).set(reach);
        }
    }

    pub fn leap_table(&self, expiry: Option<Seconds>) {
        self.leap_table.set(whole(expiry.map_or(0, Seconds::get)));
    }
}

/// A source as an operator knows it: its address, or a reference clock's id.
pub fn name(source: &Source) -> String {
    if !source.is_reference_clock {
        return source.address.to_canonical().to_string();
    }
    let [.., a, b, c, d] = source.address.octets();
    let printable = |octet: &u8| octet.is_ascii_graphic();
    let id: Vec<u8> = [a, b, c, d].into_iter().filter(printable).collect();
    format!("refclock {}", String::from_utf8_lossy(&id))
}
