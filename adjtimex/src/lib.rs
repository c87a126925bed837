//! The kernel's view of its own clock, read with `adjtimex(modes = 0)`. It is a package of its own
//! because it holds the only `unsafe` line of the project: no maintained crate exposes the status
//! word and `maxerror` (nix and rustix wrap no adjtimex, clock-steering keeps both to itself).
//! Start with [`read`].

use std::io;

/// What `adjtimex` reported. Reading changes nothing and needs no privilege.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timex {
    /// The clock state: 0 `TIME_OK` to 4 `TIME_WAIT` tell of leap seconds, 5 is `TIME_ERROR`.
    pub state: i32,
    /// The `STA_*` bits.
    pub status: i32,
    /// Maximum error, microseconds. Grows by 500 ppm between two updates by an NTP daemon.
    pub max_error_us: i64,
    /// Estimated error, microseconds.
    pub est_error_us: i64,
    /// TAI - UTC in seconds; 0 where nobody told the kernel.
    pub tai: i32,
}

/// `TIME_ERROR`: the clock is not synchronised.
pub const TIME_ERROR: i32 = libc::TIME_ERROR;
/// `STA_UNSYNC`: nobody disciplines the clock.
pub const STA_UNSYNC: i32 = libc::STA_UNSYNC;
/// `STA_INS`: a leap second will be inserted at the end of the day.
pub const STA_INS: i32 = libc::STA_INS;
/// `STA_DEL`: a leap second will be deleted at the end of the day.
pub const STA_DEL: i32 = libc::STA_DEL;

/// Reads the kernel's clock state.
pub fn read() -> io::Result<Timex> {
    // SAFETY: `timex` is a plain C struct for which all-zero is valid, and modes = 0 only reads.
    // The pointer is to a live local for the whole call.
    #[allow(unsafe_code)]
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&mut timex), timex)
    };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Timex {
        state,
        status: timex.status,
        max_error_us: timex.maxerror,
        est_error_us: timex.esterror,
        tai: timex.tai,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_answers() {
        let timex = super::read().unwrap();
        assert!(timex.max_error_us >= 0);
        assert!((0..=5).contains(&timex.state));
    }
}
