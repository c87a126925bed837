//! A record for people: [`text`].

use std::fmt::Write;

use crate::record::{Record, Source, Tracking};

const STATES: [&str; 6] = [
    "selected",
    "not selectable",
    "falseticker",
    "jittery",
    "combined",
    "selectable",
];

/// One line a fact.
pub fn text(record: &Record) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = write_record(&mut text, record);
    text
}

fn write_record(text: &mut String, record: &Record) -> std::fmt::Result {
    writeln!(
        text,
        "system clock      {} s since 1970",
        seconds(record.instants.realtime)
    )?;
    let slept = record
        .instants
        .boottime
        .saturating_sub(record.instants.monotonic);
    writeln!(
        text,
        "since boot        {} s",
        seconds(record.instants.boottime)
    )?;
    writeln!(text, "of that asleep    {} s", seconds(slept))?;
    match &record.chronyd {
        Ok(tracking) => write_tracking(text, tracking, record.instants.realtime)?,
        Err(silence) => writeln!(text, "chronyd           {silence}")?,
    }
    match &record.kernel {
        Some(kernel) => writeln!(
            text,
            "kernel            state {}, status {:#06x}, maximum error {} us, TAI - UTC {} s",
            kernel.state, kernel.status, kernel.max_error_us, kernel.tai
        ),
        None => writeln!(text, "kernel            could not be read"),
    }
}

fn write_tracking(text: &mut String, tracking: &Tracking, now: u64) -> std::fmt::Result {
    let leap = match tracking.leap {
        0 => "none",
        1 => "a second is inserted at the end of the day",
        2 => "a second is deleted at the end of the day",
        _ => "not synchronised",
    };
    writeln!(text, "chronyd           answers")?;
    writeln!(text, "reference id      {:08X}", tracking.ref_id)?;
    writeln!(text, "stratum           {}", tracking.stratum)?;
    writeln!(text, "leap second       {leap}")?;
    match tracking.ref_time {
        0 => writeln!(text, "last update       never")?,
        time => {
            let age = i128::from(now) - i128::from(time);
            writeln!(text, "last update       {} s ago", signed_seconds(age))?;
        }
    }
    writeln!(
        text,
        "correction        {} s",
        signed_seconds(tracking.correction.into())
    )?;
    writeln!(
        text,
        "last offset       {} s",
        signed_seconds(tracking.last_offset.into())
    )?;
    writeln!(text, "root delay        {} s", seconds(tracking.root_delay))?;
    writeln!(
        text,
        "root dispersion   {} s",
        seconds(tracking.root_dispersion)
    )?;
    writeln!(text, "skew              {} parts in 10^9", tracking.skew)?;
    writeln!(
        text,
        "residual freq.    {} parts in 10^9",
        tracking.residual_frequency
    )?;
    writeln!(text, "update interval   {} ms", tracking.update_interval)?;
    writeln!(text, "sources           {}", tracking.source_count)?;
    for source in &tracking.sources {
        write_source(text, source)?;
    }
    Ok(())
}

fn write_source(text: &mut String, source: &Source) -> std::fmt::Result {
    let name = match (source.is_reference_clock, source.address.to_ipv4_mapped()) {
        (true, _) => {
            let id = source.address.octets();
            let id = id.get(12..).unwrap_or_default();
            format!("clock {}", id.escape_ascii())
        }
        (false, Some(address)) => address.to_string(),
        (false, None) => source.address.to_string(),
    };
    let state = STATES.get(usize::from(source.state)).unwrap_or(&"unknown");
    writeln!(
        text,
        "  {name}: {state}, reach {:03o}, poll 2^{} s, stratum {}",
        source.reach, source.poll, source.stratum
    )
}

fn seconds(nanos: u64) -> String {
    signed_seconds(nanos.into())
}

fn signed_seconds(nanos: i128) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let size = nanos.unsigned_abs();
    format!("{sign}{}.{:09}", size / 1_000_000_000, size % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{chronyd::Silence, clocks::Instants};

    #[test]
    fn a_fact_has_a_line() {
        let mut record = Record {
            instants: Instants {
                boottime: 5_000_000_001,
                realtime: 1_785_000_000_000_000_000,
                monotonic: 4_000_000_000,
            },
            chronyd: Err(Silence::Refused),
            kernel: None,
        };
        let silent = text(&record);
        assert!(
            silent.contains("of that asleep    1.000000001 s"),
            "{silent}"
        );
        assert!(
            silent.contains("chronyd           connection refused"),
            "{silent}"
        );
        assert!(silent.contains("could not be read"), "{silent}");
        record.chronyd = Ok(Tracking {
            ref_id: 0x5050_5330,
            stratum: 1,
            leap: 0,
            ref_time: 1_785_000_000_500_000_000,
            correction: -1,
            last_offset: 0,
            root_delay: 0,
            root_dispersion: 0,
            skew: 0,
            residual_frequency: 0,
            update_interval: 0,
            source_count: 1,
            sources: vec![Source {
                address: "::80.80.83.48".parse().unwrap(),
                is_reference_clock: true,
                state: 0,
                reach: 0o17,
                poll: -2,
                stratum: 0,
            }],
        });
        let told = text(&record);
        assert!(
            told.contains("last update       -0.500000000 s ago"),
            "{told}"
        );
        assert!(told.contains("correction        -0.000000001 s"), "{told}");
        assert!(
            told.contains("  clock PPS0: selected, reach 017, poll 2^-2 s, stratum 0"),
            "{told}"
        );
    }
}
