//! The clock port over the helper beside chronyd: [`ChronyClock`] takes its records on a thread of its own, lets
//! [`Discipline`] judge them, and answers each request for the time from the last verdict and a reading of both
//! clocks, without a lock.

use std::{
    collections::VecDeque,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{
        AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
        socket_with, sockopt::socket_peercred,
    },
    time::{ClockId, clock_gettime},
};

use super::wall_clock::{since_1970, wall_clock};
use crate::{
    clock::{
        Clock, Discipline, Instants, Limits, Status, Transition, TrustedTime, Unproven, Verdict,
        report::{LENGTH, Report},
    },
    wire::time::Seconds,
};

/// How long the thread waits for a record before it looks whether it shall stop, and whether a step was seen.
const LOOK: Duration = Duration::from_millis(50);

/// Between two attempts to reach the helper.
const PAUSE: Duration = Duration::from_millis(200);

/// Transitions that wait to be put on record; more than this means that nobody does.
const LONGEST: usize = 1_024;

/// Where the helper is.
#[derive(Debug, Clone)]
pub struct Helper {
    /// Its socket.
    pub socket: PathBuf,
    /// The user it must run as.
    pub uid: u32,
}

/// The system clock as long as the helper's records prove it.
#[derive(Debug)]
pub struct ChronyClock {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    verdict: ArcSwap<Verdict>,
    status: ArcSwap<Status>,
    /// A step of the clock that a reading has seen, ns and one more; the thread has not yet taken it up.
    step: AtomicU64,
    seen: Mutex<Option<(Duration, Instants)>>,
    reset: AtomicBool,
    /// A new tolerance that the thread has not yet taken up, ns; 0 is none.
    tolerance: AtomicU64,
    stop: AtomicBool,
    news: Mutex<VecDeque<Transition>>,
}

impl ChronyClock {
    /// Begins to listen to the helper. Until its records prove the clock there is no time.
    pub fn start(helper: Helper, limits: Limits) -> io::Result<Self> {
        let discipline = Discipline::new(limits);
        let shared = Arc::new(Shared {
            verdict: ArcSwap::from_pointee(discipline.verdict()),
            status: ArcSwap::from_pointee(discipline.status()),
            step: AtomicU64::new(0),
            seen: Mutex::default(),
            reset: AtomicBool::new(false),
            tolerance: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            news: Mutex::default(),
        });
        let listener = Listener {
            shared: Arc::clone(&shared),
            helper,
            discipline,
            heard: instants().boottime,
            max_age: limits.max_age,
        };
        let thread = std::thread::Builder::new().name("clock".into());
        let thread = thread.spawn(move || listener.run())?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }
}

impl Drop for ChronyClock {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let thread = self
            .thread
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            let _ = thread.join();
        }
    }
}

impl Clock for ChronyClock {
    fn trusted(&self) -> Result<TrustedTime, Unproven> {
        let step = self.shared.step.load(Ordering::Acquire);
        if step > 0 {
            // Also where the clock was set back meanwhile: the report is void until the thread has taken it up.
            let by = Duration::from_nanos(step - 1);
            return Err(Unproven::Stepped { by });
        }
        let now = instants();
        let time = self.shared.verdict.load().at(now);
        if let Err(Unproven::Stepped { by }) = time {
            // What was read, so that the thread judges it even if the clock is set back meanwhile.
            let mut seen = self
                .shared
                .seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            seen.get_or_insert((by, now));
            let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX - 1);
            self.shared
                .step
                .store(by.saturating_add(1), Ordering::Release);
        }
        time
    }

    fn reading(&self) -> Seconds {
        wall_clock()
    }

    fn news(&self) -> Option<Vec<Transition>> {
        let mut news = self
            .shared
            .news
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Some(news.drain(..).collect())
    }

    fn status(&self) -> Option<Arc<Status>> {
        Some(self.shared.status.load_full())
    }

    fn tolerate(&self, tolerance: Duration) {
        let tolerance = u64::try_from(tolerance.as_nanos()).unwrap_or(u64::MAX);
        self.shared.tolerance.store(tolerance, Ordering::Release);
    }

    fn reset(&self) {
        self.shared.reset.store(true, Ordering::Release);
    }
}

/// Both clocks at one moment: a thread that loses its core between the two readings would otherwise see a step of the
/// clock. So CLOCK_BOOTTIME is read on both sides, and the tightest of some attempts is taken.
fn instants() -> Instants {
    /// A reading takes 30 ns each; this much apart, nothing came in between.
    const TIGHT: Duration = Duration::from_micros(10);
    const ATTEMPTS: usize = 8;
    let boottime = || Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default();
    let mut before = boottime();
    let mut best: Option<(Duration, Instants)> = None;
    for _ in 0..ATTEMPTS {
        let realtime = since_1970();
        let after = boottime();
        let taken = after.saturating_sub(before);
        let read = Instants {
            boottime: before,
            realtime,
        };
        if best.is_none_or(|(least, _)| taken < least) {
            best = Some((taken, read));
        }
        if taken <= TIGHT {
            break;
        }
        before = after;
    }
    best.map(|(_, read)| read).unwrap_or(Instants {
        boottime: before,
        realtime: Duration::ZERO,
    })
}

/// The thread.
struct Listener {
    shared: Arc<Shared>,
    helper: Helper,
    discipline: Discipline,
    /// CLOCK_BOOTTIME when the last record came.
    heard: Duration,
    max_age: Duration,
}

impl Listener {
    fn run(mut self) {
        while !self.stops() {
            match self.connect() {
                Ok(socket) => {
                    let end = self.listen(&socket);
                    self.fail(end);
                }
                Err(why) => self.fail(why),
            }
            self.pause();
        }
    }

    fn stops(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    /// Waits before the helper is looked for again; a step or reset meanwhile is taken up.
    fn pause(&mut self) {
        let until = instants().boottime.saturating_add(PAUSE);
        while !self.stops() && instants().boottime < until {
            std::thread::sleep(LOOK);
            self.look();
        }
    }

    fn connect(&self) -> Result<OwnedFd, Unproven> {
        let open = || {
            let address = SocketAddrUnix::new(self.helper.socket.as_path())?;
            // A helper that is held still takes nobody, and a full backlog would hold this thread too.
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
            connect(&socket, &address)?;
            let peer = socket_peercred(&socket)?;
            Ok::<_, rustix::io::Errno>((socket, peer.uid.as_raw()))
        };
        match open() {
            Ok((socket, uid)) if uid == self.helper.uid => Ok(socket),
            Ok((_, uid)) => Err(Unproven::Peer {
                uid,
                expected: self.helper.uid,
            }),
            Err(_) => Err(Unproven::NotConnected),
        }
    }

    /// Takes records until the connection ends or holds what is none; gives the reason.
    fn listen(&mut self, socket: &OwnedFd) -> Unproven {
        // One octet more, so that a longer message is seen to be one.
        let mut buffer = [0; LENGTH + 1];
        let patience = Timespec::try_from(LOOK).ok();
        while !self.stops() {
            let mut waiting = [PollFd::new(socket, PollFlags::IN)];
            let ready = poll(&mut waiting, patience.as_ref());
            if matches!(ready, Ok(0) | Err(rustix::io::Errno::INTR)) {
                self.look();
                let age = instants().boottime.saturating_sub(self.heard);
                if age > self.max_age {
                    // Not a reason to connect anew: a helper that was held still goes on here.
                    let limit = self.max_age;
                    self.fail(Unproven::Stale { age, limit });
                }
                continue;
            }
            let length = match recv(socket, &mut buffer[..], RecvFlags::empty()) {
                Ok((length, _)) if length > 0 => length,
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => continue,
                _ => return Unproven::NotConnected,
            };
            match Report::parse(buffer.get(..length).unwrap_or_default()) {
                Ok(report) => {
                    self.heard = instants().boottime;
                    self.look();
                    self.discipline.take(&report);
                    self.publish();
                }
                Err(error) => return Unproven::Malformed(error),
            }
        }
        Unproven::NotConnected
    }

    /// Takes up what readers of the clock and the operator have left.
    fn look(&mut self) {
        let seen = || {
            self.shared
                .seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let step = seen().take();
        let reset = self.shared.reset.swap(false, Ordering::AcqRel);
        match self.shared.tolerance.swap(0, Ordering::AcqRel) {
            0 => {}
            tolerance => self.discipline.tolerate(Duration::from_nanos(tolerance)),
        }
        if let Some((by, read)) = step {
            self.discipline.stepped(by, read);
        }
        if reset {
            self.discipline.reset();
        }
        if step.is_some() || reset {
            self.publish();
        }
        if step.is_some() {
            // Only now, when the verdict knows of it.
            self.shared.step.store(0, Ordering::Release);
        }
    }

    fn fail(&mut self, why: Unproven) {
        self.discipline.fail(why, instants());
        self.publish();
    }

    fn publish(&mut self) {
        self.shared
            .verdict
            .store(Arc::new(self.discipline.verdict()));
        self.shared.status.store(Arc::new(self.discipline.status()));
        let mut news = self
            .shared
            .news
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        news.extend(self.discipline.transitions());
        let over = news.len().saturating_sub(LONGEST);
        news.drain(..over);
    }
}

/// The number of a user, given as such or by a name in /etc/passwd.
pub fn user(name: &str, passwd: &Path) -> Result<u32, String> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let text = std::fs::read_to_string(passwd)
        .map_err(|error| format!("{}: {error}", passwd.display()))?;
    let number = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name);
        found.then(|| fields.nth(1)?.parse().ok())?
    });
    number.ok_or_else(|| {
        format!(
            "there is no user `{name}` in {}; name one, or give its number",
            passwd.display()
        )
    })
}
