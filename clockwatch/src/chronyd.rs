//! Asking chronyd: [`Chronyd::ask`]. The crate chrony-candm is the codec; the socket is our own, because its
//! client wants IPv6 and takes a late answer to the last question for an error.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant, SystemTime},
};

use chrony_candm::{
    common::{ChronyAddr, ChronyFloat},
    reply::{self, Reply, ReplyBody, SourceMode, Status},
    request::{self, Request, RequestBody},
};

use crate::{
    clocks::Instants,
    record::{MOST_SOURCES, Source, Tracking},
};

/// For all questions of a poll together. An answer takes less than a tenth of a millisecond.
const PATIENCE: Duration = Duration::from_millis(150);

/// Where chronyd listens for questions.
#[derive(Debug)]
pub struct Chronyd {
    address: SocketAddr,
    patience: Duration,
    sequence: u32,
}

/// Why there is no word from chronyd.
#[derive(Debug, thiserror::Error)]
pub enum Silence {
    #[error("no answer in time")]
    TimedOut,
    #[error("connection refused: it does not run, or listens elsewhere")]
    Refused,
    #[error("an answer that is none: {0}")]
    Garbage(&'static str),
    #[error("it answers that it will not tell")]
    Unauthorised,
    #[error("it could not be asked: {0}")]
    NotAsked(io::Error),
}

impl Silence {
    /// Octet 6 of the record.
    pub const fn code(&self) -> u8 {
        match self {
            Self::TimedOut => 1,
            Self::Refused => 2,
            Self::Garbage(_) => 3,
            Self::Unauthorised => 4,
            Self::NotAsked(_) => 5,
        }
    }
}

impl From<io::Error> for Silence {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::NotAsked(error),
        }
    }
}

impl Chronyd {
    pub const fn new(address: SocketAddr) -> Self {
        Self {
            address,
            patience: PATIENCE,
            sequence: 0,
        }
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks for tracking and sources. The instants are from before the first question was sent: what chronyd
    /// answers was true later, so that whoever counts a bound's growth from them counts too much, not too little.
    pub fn ask(&mut self) -> (Instants, Result<Tracking, Silence>) {
        // A socket a poll: nothing that was meant for the last one, answer or error, can reach this one.
        let exchange = Exchange::new(self.address, self.patience, &mut self.sequence);
        let instants = Instants::now();
        (instants, exchange.and_then(Exchange::all))
    }
}

/// The questions and answers of one poll.
struct Exchange<'a> {
    socket: UdpSocket,
    deadline: Instant,
    sequence: &'a mut u32,
}

impl<'a> Exchange<'a> {
    fn new(
        address: SocketAddr,
        patience: Duration,
        sequence: &'a mut u32,
    ) -> Result<Self, Silence> {
        let ours: IpAddr = if address.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let socket = UdpSocket::bind((ours, 0)).map_err(Silence::NotAsked)?;
        // Connected: the kernel drops what others send, and tells of a closed port.
        socket.connect(address).map_err(Silence::NotAsked)?;
        Ok(Self {
            socket,
            deadline: Instant::now() + patience,
            sequence,
        })
    }

    fn all(mut self) -> Result<Tracking, Silence> {
        let ReplyBody::Tracking(tracking) = self.question(RequestBody::Tracking)? else {
            return Err(Silence::Garbage("not what was asked for"));
        };
        let (count, sources) = loop {
            if let Some(sources) = self.sources()? {
                break sources;
            }
        };
        Ok(tracked(&tracking, count, sources))
    }

    /// How many sources there are, and the first of them; nothing where one was removed meanwhile.
    fn sources(&mut self) -> Result<Option<(u16, Vec<Source>)>, Silence> {
        let ReplyBody::NSources(reply::NSources { n_sources }) =
            self.question(RequestBody::NSources)?
        else {
            return Err(Silence::Garbage("not what was asked for"));
        };
        let mut sources = Vec::with_capacity(MOST_SOURCES);
        for index in (0..i32::try_from(n_sources).unwrap_or(i32::MAX)).take(MOST_SOURCES) {
            match self.question(RequestBody::SourceData(request::SourceData { index }))? {
                ReplyBody::SourceData(data) => sources.push(source(&data)),
                ReplyBody::Null => return Ok(None),
                _ => return Err(Silence::Garbage("not what was asked for")),
            }
        }
        let count = u16::try_from(n_sources).unwrap_or(u16::MAX);
        Ok(Some((count, sources)))
    }

    /// One question and its answer. `Null` stands for a source that is not there (any more).
    fn question(&mut self, body: RequestBody) -> Result<ReplyBody, Silence> {
        *self.sequence = self.sequence.wrapping_add(1);
        let request = Request {
            sequence: *self.sequence,
            attempt: 0,
            body,
        };
        let mut octets = Vec::with_capacity(request.length());
        request.serialize(&mut octets);
        self.socket.send(&octets)?;
        let mut buffer = [0; 1024];
        loop {
            let length = self.receive(&mut buffer)?;
            let answer = buffer.get(..length).unwrap_or_default();
            check(answer).map_err(Silence::Garbage)?;
            let reply = Reply::deserialize(&mut &*answer)
                .map_err(|_| Silence::Garbage("it cannot be read"))?;
            // An answer to an earlier question is late, not wrong.
            if reply.sequence == request.sequence {
                return judged(&reply);
            }
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> Result<usize, Silence> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Silence::TimedOut);
            }
            self.socket
                .set_read_timeout(Some(left))
                .map_err(Silence::NotAsked)?;
            match self.socket.recv(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => return Ok(received?),
            }
        }
    }
}

/// What the codec must not see. It panics at times before 1970, and has replies that nobody here asks for.
fn check(answer: &[u8]) -> Result<(), &'static str> {
    const REPLY_AT: usize = 6;
    const TRACKING: [u8; 2] = [0, 5];
    const OTHERS: [[u8; 2]; 3] = [[0, 1], [0, 2], [0, 3]]; // null, the number of sources, a source
    // Behind the header of 28 octets stand reference id, address, stratum and leap.
    const REF_TIME_AT: usize = 28 + 4 + 20 + 2 + 2;
    let reply = octets::<2>(answer, REPLY_AT).ok_or("it is too short")?;
    if reply == TRACKING {
        let seconds = octets::<8>(answer, REF_TIME_AT).ok_or("it is too short")?;
        let nanos = octets::<4>(answer, REF_TIME_AT + 8).ok_or("it is too short")?;
        if i64::from_be_bytes(seconds) < 0 || u32::from_be_bytes(nanos) >= 1_000_000_000 {
            return Err("its reference time is none");
        }
    } else if !OTHERS.contains(&reply) {
        return Err("not what was asked for");
    }
    Ok(())
}

fn octets<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..at + N)?.try_into().ok()
}

/// A refused question is a well-formed reply without a body.
fn judged(reply: &Reply) -> Result<ReplyBody, Silence> {
    match (reply.status, reply.body) {
        (Status::NoSuchSource, ReplyBody::Null) => Ok(ReplyBody::Null),
        (Status::Success, ReplyBody::Null) => Err(Silence::Garbage("it has no body")),
        (Status::Success, body) => Ok(body),
        (Status::Unauth | Status::NoHostAccess | Status::AccessDenied | Status::NotEnabled, _) => {
            Err(Silence::Unauthorised)
        }
        _ => Err(Silence::Garbage("it says that the question is wrong")),
    }
}

fn tracked(tracking: &reply::Tracking, source_count: u16, sources: Vec<Source>) -> Tracking {
    let ref_time = tracking
        .ref_time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    // One part in 10^6 is 1,000 parts in 10^9, as one us is 1,000 ns.
    let parts = |ppm: ChronyFloat| signed(f64::from(ppm) * 1e-6);
    let skew = parts(tracking.skew_ppm).max(0);
    let residual_frequency = parts(tracking.resid_freq_ppm);
    Tracking {
        ref_id: tracking.ref_id,
        stratum: tracking.stratum,
        leap: tracking.leap_status,
        ref_time: u64::try_from(ref_time.as_nanos()).unwrap_or(u64::MAX),
        correction: signed(tracking.current_correction.into()),
        last_offset: signed(tracking.last_offset.into()),
        root_delay: unsigned(tracking.root_delay),
        root_dispersion: unsigned(tracking.root_dispersion),
        skew: u32::try_from(skew).unwrap_or(u32::MAX),
        residual_frequency: i32::try_from(residual_frequency).unwrap_or(
            if residual_frequency < 0 {
                i32::MIN
            } else {
                i32::MAX
            },
        ),
        update_interval: u32::try_from(unsigned(tracking.last_update_interval) / 1_000_000)
            .unwrap_or(u32::MAX),
        source_count,
        sources,
    }
}

fn source(data: &reply::SourceData) -> Source {
    let is_reference_clock = data.mode == SourceMode::Ref;
    let address = match data.ip_addr {
        // chronyd puts a reference clock's id where the address of others is.
        ChronyAddr::V4(id) if is_reference_clock => {
            let [a, b, c, d] = id.octets();
            let octets = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d];
            Ipv6Addr::from(octets)
        }
        ChronyAddr::V4(address) => address.to_ipv6_mapped(),
        ChronyAddr::V6(address) => address,
        // The name has not been resolved yet.
        ChronyAddr::Id(_) | ChronyAddr::Unspec => Ipv6Addr::UNSPECIFIED,
    };
    Source {
        address,
        is_reference_clock,
        state: u8::try_from(u16::from(data.state)).unwrap_or(u8::MAX),
        reach: u8::try_from(data.reachability).unwrap_or(u8::MAX),
        poll: i8::try_from(data.poll).unwrap_or(if data.poll < 0 { i8::MIN } else { i8::MAX }),
        stratum: u8::try_from(data.stratum).unwrap_or(u8::MAX),
    }
}

/// Seconds in ns, or the nearest that fits.
fn signed(seconds: f64) -> i64 {
    let nanos = Duration::try_from_secs_f64(seconds.abs()).map_or(i128::MAX, |size| {
        i128::try_from(size.as_nanos()).unwrap_or(i128::MAX)
    });
    if seconds < 0.0 {
        i64::try_from(-nanos).unwrap_or(i64::MIN)
    } else {
        i64::try_from(nanos).unwrap_or(i64::MAX)
    }
}

/// The same without a sign.
fn unsigned(seconds: ChronyFloat) -> u64 {
    u64::try_from(signed(seconds.into())).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::thread::JoinHandle;

    use chrony_candm::common::SourceFlags;

    use super::*;

    /// A chronyd that answers each question with the datagrams it was told.
    struct Fake {
        address: SocketAddr,
        thread: Option<JoinHandle<()>>,
    }

    impl Fake {
        fn new(mut answers: impl FnMut(&Request) -> Vec<Vec<u8>> + Send + 'static) -> Self {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let address = socket.local_addr().unwrap();
            let thread = std::thread::spawn(move || {
                let mut buffer = [0; 1024];
                loop {
                    let (length, peer) = socket.recv_from(&mut buffer).unwrap();
                    let Ok(request) = Request::deserialize(&mut &buffer[..length]) else {
                        return;
                    };
                    for answer in answers(&request) {
                        socket.send_to(&answer, peer).unwrap();
                    }
                }
            });
            Self {
                address,
                thread: Some(thread),
            }
        }

        fn asked(&self) -> Result<Tracking, Silence> {
            Chronyd::new(self.address).ask().1
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.send_to(b"end", self.address).unwrap();
            self.thread.take().unwrap().join().unwrap();
        }
    }

    fn octets_of(sequence: u32, status: Status, body: ReplyBody) -> Vec<u8> {
        let reply = Reply {
            status,
            cmd: 0,
            sequence,
            body,
        };
        let mut octets = Vec::new();
        reply.serialize(&mut octets);
        octets
    }

    /// A chronyd in good order with this many sources.
    fn good(request: &Request, n_sources: u32) -> Vec<u8> {
        let body = match request.body {
            RequestBody::Tracking => ReplyBody::Tracking(reply::Tracking {
                ref_id: 0x7f00_0001,
                ip_addr: ChronyAddr::V4(Ipv4Addr::LOCALHOST),
                stratum: 2,
                leap_status: 0,
                ref_time: SystemTime::UNIX_EPOCH + Duration::new(1_785_000_000, 5),
                current_correction: (-0.25).into(),
                last_offset: 0.125.into(),
                rms_offset: 0.0.into(),
                freq_ppm: 3.0.into(),
                resid_freq_ppm: (-0.5).into(),
                skew_ppm: 0.25.into(),
                root_delay: 0.5.into(),
                root_dispersion: 0.0625.into(),
                last_update_interval: 16.5.into(),
            }),
            RequestBody::NSources => ReplyBody::NSources(reply::NSources { n_sources }),
            RequestBody::SourceData(request::SourceData { index }) => {
                ReplyBody::SourceData(reply::SourceData {
                    ip_addr: match index {
                        0 => ChronyAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
                        1 => ChronyAddr::Id(7),
                        _ => ChronyAddr::V6("2001:db8::1".parse().unwrap()),
                    },
                    poll: -2,
                    stratum: 1,
                    state: reply::SourceState::Unselected,
                    mode: SourceMode::Client,
                    flags: SourceFlags::empty(),
                    reachability: 0o377,
                    since_sample: 1,
                    orig_latest_meas: 0.0.into(),
                    latest_meas: 0.0.into(),
                    latest_meas_err: 0.0.into(),
                })
            }
            other => panic!("asked {other:?}"),
        };
        octets_of(request.sequence, Status::Success, body)
    }

    #[test]
    fn tracking_and_sources_are_told_in_the_records_units() {
        let tracking = Fake::new(|request| vec![good(request, 3)]).asked().unwrap();
        assert_eq!(tracking.ref_time, 1_785_000_000_000_000_005);
        assert_eq!(tracking.correction, -250_000_000);
        assert_eq!(tracking.last_offset, 125_000_000);
        assert_eq!(tracking.root_delay, 500_000_000);
        assert_eq!(tracking.root_dispersion, 62_500_000);
        assert_eq!(tracking.skew, 250);
        assert_eq!(tracking.residual_frequency, -500);
        assert_eq!(tracking.update_interval, 16_500);
        assert_eq!(tracking.source_count, 3);
        let addresses: Vec<_> = tracking
            .sources
            .iter()
            .map(|source| source.address.to_string())
            .collect();
        assert_eq!(addresses, ["::ffff:192.0.2.1", "::", "2001:db8::1"]);
        let first = &tracking.sources[0];
        assert_eq!((first.state, first.reach, first.poll), (4, 0xff, -2));
    }

    #[test]
    fn of_many_sources_sixteen_are_asked_and_all_are_counted() {
        let tracking = Fake::new(|request| vec![good(request, 70_000)])
            .asked()
            .unwrap();
        assert_eq!(tracking.source_count, u16::MAX);
        assert_eq!(tracking.sources.len(), MOST_SOURCES);
    }

    #[test]
    fn an_answer_to_an_earlier_question_is_passed_over() {
        let late = |request: &Request| {
            octets_of(
                request.sequence.wrapping_sub(1),
                Status::Failed,
                ReplyBody::Null,
            )
        };
        let fake = Fake::new(move |request| vec![late(request), late(request), good(request, 1)]);
        assert_eq!(fake.asked().unwrap().sources.len(), 1);
    }

    #[test]
    fn a_source_that_goes_meanwhile_makes_it_ask_again() {
        let mut left = 3;
        let fake = Fake::new(move |request| {
            if let RequestBody::SourceData(request::SourceData { index }) = request.body
                && index == 2
                && left == 3
            {
                left = 2;
                return vec![octets_of(
                    request.sequence,
                    Status::NoSuchSource,
                    ReplyBody::Null,
                )];
            }
            vec![good(request, left)]
        });
        assert_eq!(fake.asked().unwrap().source_count, 2);
    }

    #[test]
    fn sources_that_cannot_all_be_asked_in_time_are_no_answer() {
        let fake = Fake::new(|request| match request.body {
            RequestBody::SourceData(request::SourceData { index: 2 }) => Vec::new(),
            _ => vec![good(request, 3)],
        });
        assert!(matches!(fake.asked(), Err(Silence::TimedOut)));
    }

    #[test]
    fn each_kind_of_silence_has_its_name() {
        let silent = Fake::new(|_| Vec::new());
        let asked_at = Instant::now();
        assert!(matches!(silent.asked(), Err(Silence::TimedOut)));
        let took = asked_at.elapsed();
        assert!(took >= PATIENCE && took < 4 * PATIENCE, "{took:?}");

        let unwilling =
            Fake::new(|request| vec![octets_of(request.sequence, Status::Unauth, ReplyBody::Null)]);
        assert!(matches!(unwilling.asked(), Err(Silence::Unauthorised)));

        let closed = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let answer = Chronyd::new(closed).ask().1;
        assert!(matches!(answer, Err(Silence::Refused)));

        // Not a loopback address, and there is no way to it.
        let nowhere = "255.255.255.255:323".parse().unwrap();
        let answer = Chronyd::new(nowhere).ask().1;
        assert!(matches!(answer, Err(Silence::NotAsked(_))));
    }

    /// What chrony-candm would panic at, and what it would read.
    #[test]
    fn no_answer_makes_it_panic() {
        let request = Request {
            sequence: 1,
            attempt: 0,
            body: RequestBody::Tracking,
        };
        let whole = good(&request, 0);
        let mut wrong: Vec<Vec<u8>> = (0..whole.len()).map(|to| whole[..to].to_vec()).collect();
        for at in [0, 1, 7, 8, 56, 64] {
            let mut octets = whole.clone();
            octets[at] = 0xff;
            wrong.push(octets);
        }
        let mut before_1970 = whole.clone();
        before_1970[56..68].fill(0xff);
        wrong.push(before_1970);
        wrong.push(octets_of(1, Status::Success, ReplyBody::Null));
        wrong.push(octets_of(1, Status::Failed, ReplyBody::Null));
        let sources = ReplyBody::NSources(reply::NSources { n_sources: 1 });
        wrong.push(octets_of(1, Status::Success, sources));
        let activity = reply::Activity {
            online: 1,
            offline: 1,
            burst_online: 1,
            burst_offline: 1,
            unresolved: 1,
        };
        wrong.push(octets_of(1, Status::Success, ReplyBody::Activity(activity)));
        for octets in wrong {
            let shown = hex::encode(&octets);
            let fake = Fake::new(move |_| vec![octets.clone()]);
            let answer = fake.asked();
            assert!(
                matches!(answer, Err(Silence::Garbage(_))),
                "{answer:?} to {shown}"
            );
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_the_nearest_that_do() {
        assert_eq!(signed(1e30), i64::MAX);
        assert_eq!(signed(-1e30), i64::MIN);
        assert_eq!(signed(-1e-9), -1);
        assert_eq!(unsigned((-1.0).into()), 0);
    }
}
