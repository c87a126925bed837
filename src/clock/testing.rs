//! A clock that is well kept, for tests to spoil: [`World`] makes its reports.

use std::{net::Ipv4Addr, time::Duration};

use super::{
    Instants,
    report::{Kernel, Report, Source, SourceState, Tracking},
};

/// 2027-01-15T08:00:00Z.
pub const START: Duration = Duration::from_secs(1_800_000_000);
const UPTIME: Duration = Duration::from_secs(5_000);
pub const POLL: Duration = Duration::from_millis(250);

/// Four sources, one of them followed; a bound below 1 ms.
pub fn tracking(realtime: Duration) -> Tracking {
    let source = |last, state| Source {
        address: Ipv4Addr::new(192, 0, 2, last).to_ipv6_mapped(),
        is_reference_clock: false,
        state,
        reach: 0xff,
        poll: 4,
        stratum: 1,
    };
    Tracking {
        ref_id: 0xc000_0201,
        stratum: 2,
        leap: 0,
        ref_time: realtime - Duration::from_secs(5),
        correction: -20_000,
        last_offset: 10_000,
        root_delay: Duration::from_micros(400),
        root_dispersion: Duration::from_micros(100),
        skew: 100,
        residual_frequency: -50,
        update_interval: Duration::from_secs(16),
        source_count: 4,
        sources: vec![
            source(1, SourceState::Selected),
            source(2, SourceState::Combined),
            source(3, SourceState::Selectable),
            source(4, SourceState::Falseticker),
        ],
    }
}

/// The clocks of a host, and chronyd's state that each report starts from.
#[derive(Debug, Clone)]
pub struct World {
    pub boottime: Duration,
    pub realtime: Duration,
    pub monotonic: Duration,
    /// chronyd's last update; a new one comes when it is 16 s old.
    pub ref_time: Duration,
    /// The sources no longer answer: no update comes.
    pub silent: bool,
    pub kernel: Option<Kernel>,
}

impl World {
    pub fn new() -> Self {
        Self::at(START)
    }

    pub fn at(realtime: Duration) -> Self {
        Self {
            boottime: UPTIME,
            realtime,
            monotonic: UPTIME,
            ref_time: realtime,
            silent: false,
            kernel: Some(Kernel {
                state: 0,
                status: 0,
                max_error: Duration::from_millis(5),
                tai: 37,
            }),
        }
    }

    pub fn instants(&self) -> Instants {
        Instants {
            boottime: self.boottime,
            realtime: self.realtime,
        }
    }

    pub fn pass(&mut self, time: Duration) {
        self.boottime += time;
        self.realtime += time;
        self.monotonic += time;
        if !self.silent && self.realtime.abs_diff(self.ref_time) >= Duration::from_secs(16) {
            self.ref_time = self.realtime;
        }
    }

    /// The report of this moment.
    pub fn report(&self) -> Report {
        let mut tracking = tracking(self.realtime);
        tracking.ref_time = self.ref_time;
        Report {
            boottime: self.boottime,
            realtime: self.realtime,
            monotonic: self.monotonic,
            chronyd: Ok(tracking),
            kernel: self.kernel,
        }
    }

    /// The next report, a poll later.
    pub fn next(&mut self) -> Report {
        self.pass(POLL);
        self.report()
    }
}
