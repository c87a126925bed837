//! The kernel as a gate of its own: [`gate`] refuses a clock that `adjtimex` says nobody keeps, whatever chronyd says.

use std::time::Duration;

use super::{Unproven, report::Kernel};

/// The clock's states before a leap second, in it and after it, and the one of a clock nobody keeps.
pub(super) const TIME_INS: i32 = 1;
pub(super) const TIME_DEL: i32 = 2;
pub(super) const TIME_OOP: i32 = 3;
pub(super) const TIME_WAIT: i32 = 4;
const TIME_ERROR: i32 = 5;

/// The status bits of an announced leap second (`STA_INS`, `STA_DEL`), and the one of a clock nobody keeps.
pub(super) const STA_INS: i32 = 0x10;
pub(super) const STA_DEL: i32 = 0x20;
const STA_UNSYNC: i32 = 0x40;

impl Kernel {
    /// Nobody keeps the clock.
    pub const fn is_unsynchronised(&self) -> bool {
        // The states are 0 to 5; another stands for nothing.
        self.state < 0 || self.state >= TIME_ERROR || self.status & STA_UNSYNC != 0
    }
}

/// Whether the kernel agrees that the clock is within `tolerance`.
pub(super) fn gate(
    unsynchronised: bool,
    max_error: Duration,
    tolerance: Duration,
) -> Result<(), Unproven> {
    if unsynchronised {
        return Err(Unproven::KernelUnsynchronised);
    }
    if max_error > tolerance {
        return Err(Unproven::KernelError {
            max_error,
            tolerance,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: Duration = Duration::from_millis(500);

    #[test]
    fn a_clock_that_nobody_keeps_is_refused() {
        for (state, status, unsynchronised) in [
            (0, 0, false),
            (1, STA_INS, false),
            (2, STA_DEL, false),
            (TIME_OOP, STA_INS, false),
            (TIME_WAIT, STA_INS, false),
            (TIME_ERROR, 0, true),
            (0, STA_UNSYNC, true),
            (0, -1, true),
            (6, 0, true),
            (-1, 0, true),
        ] {
            let kernel = Kernel {
                state,
                status,
                max_error: Duration::ZERO,
                tai: 37,
            };
            assert_eq!(kernel.is_unsynchronised(), unsynchronised, "{kernel:?}");
        }
        assert_eq!(
            gate(true, Duration::ZERO, TOLERANCE),
            Err(Unproven::KernelUnsynchronised)
        );
    }

    #[test]
    fn an_error_over_the_tolerance_is_refused() {
        assert_eq!(gate(false, TOLERANCE, TOLERANCE), Ok(()));
        let over = TOLERANCE + Duration::from_nanos(1);
        assert!(matches!(
            gate(false, over, TOLERANCE),
            Err(Unproven::KernelError { .. })
        ));
    }
}
