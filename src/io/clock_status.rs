//! Everything about the clock as JSON, for `gnomon clock` and whoever asks the admin listener: [`as_json`].

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::metrics::clock::name;
use crate::{
    clock::{
        Bound, Clock, Status,
        report::{Source, SourceState, Tracking},
    },
    wire::time::Seconds,
};

/// The state, the bound and its parts, and what chronyd and the kernel said last. Lengths of time are in us.
pub fn as_json(clock: &dyn Clock) -> Value {
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    match clock.trusted() {
        Ok(time) => {
            put("proven", json!(true));
            put("basis", json!(time.basis().to_string()));
            put("bound_us", json!(micros(time.bound())));
        }
        Err(unproven) => {
            put("proven", json!(false));
            put("reason", json!(unproven.to_string()));
            put("reason_label", json!(unproven.label()));
        }
    }
    if let Some(status) = clock.status() {
        put("state", json!(status.state.label()));
        put("latched", json!(status.latched));
        put("losses", json!(status.losses));
        put("fault", json!(status.fault.map(|fault| fault.to_string())));
        put("last_proven", json!(status.last_proven.map(time)));
        put(
            "bound_at_poll",
            json!(status.bound.map(|bound| parts(&bound))),
        );
        put(
            "leap_second_before",
            json!(status.leap.map(|leap| time(leap.midnight))),
        );
        put(
            "chronyd",
            json!(
                status
                    .tracking
                    .as_ref()
                    .map(|tracking| chronyd(tracking, &status))
            ),
        );
        put(
            "kernel",
            json!(status.kernel.map(|kernel| json!({
                "state": kernel.state,
                "status": kernel.status,
                "max_error_us": micros(kernel.max_error),
                "tai": kernel.tai,
            }))),
        );
    }
    Value::Object(out)
}

fn parts(bound: &Bound) -> Value {
    json!({
        "total_us": micros(bound.total()),
        "correction_us": micros(bound.correction),
        "root_dispersion_us": micros(bound.root_dispersion),
        "half_root_delay_us": micros(bound.half_root_delay),
        "drift_us": micros(bound.drift),
        "step_us": micros(bound.step),
        "growth_ppb": bound.growth,
    })
}

fn chronyd(tracking: &Tracking, status: &Status) -> Value {
    json!({
        "reference_id": format!("{:08X}", tracking.ref_id),
        "stratum": tracking.stratum,
        "leap": tracking.leap,
        "reference_age_us": status.ref_time_age.map(micros),
        "reference_age_limit_us": status.ref_time_limit.map(micros),
        "offset_ns": tracking.correction,
        "sources": tracking.source_count,
        "usable_sources": status.usable_sources,
        "source": tracking.sources.iter().map(source).collect::<Vec<_>>(),
    })
}

fn source(source: &Source) -> Value {
    json!({
        "name": name(source),
        "state": match source.state {
            SourceState::Selected => "selected",
            SourceState::NotSelectable => "not selectable",
            SourceState::Falseticker => "falseticker",
            SourceState::Jittery => "jittery",
            SourceState::Combined => "combined",
            SourceState::Selectable => "selectable",
        },
        "reach": source.reach,
        "poll": source.poll,
        "stratum": source.stratum,
    })
}

fn time(since_1970: Duration) -> String {
    Seconds::new(since_1970.as_secs()).to_string()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
