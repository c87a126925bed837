//! The clock's helper beside real chronyds: what it tells when all is well, each way in which chronyd can fall
//! silent, and how it treats those who listen. What the daemon makes of it is tested elsewhere.

mod support;

use std::{
    fs,
    net::{Ipv6Addr, SocketAddr, UdpSocket},
    os::unix::fs::PermissionsExt,
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime},
};

use gnomon::clock::report::{LENGTH, Report, Silence, SourceState};
use support::{
    Folder,
    chrony::{Chronyd, Clockwatch, FAST, Peer, ReferenceClock, clockwatch},
    fails, said, text,
};

/// A port where no chronyd is.
fn nobody() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

fn silence(report: Report) -> Option<Silence> {
    report.chronyd.err()
}

#[test]
fn a_synchronised_chronyd_is_told_of_four_times_a_second() {
    let server = Chronyd::server(11);
    let client = Chronyd::client(&[server.source(FAST)]);
    let watch = Clockwatch::start(client.command_port);
    let peer = watch.peer();
    peer.synchronised();

    let started = Instant::now();
    let reports: Vec<_> = (0..9).map(|_| peer.report()).collect();
    let took = started.elapsed();
    // The first comes after a part of an interval.
    assert!(
        (1_800..3_000).contains(&took.as_millis()),
        "9 records in {took:?}"
    );
    for pair in reports.windows(2) {
        let apart = pair[1].boottime - pair[0].boottime;
        assert!((150..500).contains(&apart.as_millis()), "{apart:?} apart");
    }

    let report = reports.last().unwrap();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    assert!(now - report.realtime < Duration::from_secs(2));
    assert!(report.monotonic <= report.boottime + Duration::from_millis(1));
    assert!(report.kernel.is_some());
    let tracking = report.chronyd.as_ref().unwrap();
    assert_eq!((tracking.leap, tracking.stratum), (0, 2));
    assert_eq!(tracking.ref_id, 0x7f00_000b);
    let age = report.realtime.abs_diff(tracking.ref_time);
    assert!(age < Duration::from_secs(2), "last updated {age:?} ago");
    assert!(tracking.correction.abs() < 10_000_000);
    assert!(tracking.root_dispersion > Duration::ZERO);
    assert!(tracking.root_dispersion < Duration::from_millis(50));
    assert!(tracking.root_delay < Duration::from_millis(50));
    assert_eq!((tracking.source_count, tracking.sources.len()), (1, 1));
    let source = tracking.sources[0];
    assert_eq!(source.address.to_string(), "::ffff:127.0.0.11");
    assert_eq!(source.state, SourceState::Selected);
    assert_eq!((source.poll, source.stratum), (-2, 1));
    assert!(!source.is_reference_clock);

    // Reach goes up while the source answers, and ref_time with it; and down when it is gone.
    peer.until("a full reach and a later update", |report| {
        let later = report.chronyd.unwrap();
        let reach = later.sources[0].reach;
        (reach == 0o377 && later.ref_time > tracking.ref_time).then_some(())
    });
    drop(server);
    peer.until("an empty reach", |report| {
        let tracking = report.chronyd.unwrap();
        // This is what makes leap alone worthless.
        assert_eq!(tracking.leap, 0);
        (tracking.sources[0].reach == 0).then_some(())
    });
}

#[test]
fn several_sources_and_reference_clocks_are_told_apart() {
    let servers = [Chronyd::server(21), Chronyd::server(22)];
    let clock = ReferenceClock::new("TEST");
    let client = Chronyd::client(&[
        servers[0].source(FAST),
        clock.source("stratum 1 delay 0.001"),
        servers[1].source(&format!("{FAST} offset 0.25")),
    ]);
    let watch = Clockwatch::start(client.command_port);
    let ids = [
        "::ffff:127.0.0.21",
        "::ffff:127.0.0.22",
        "::84.69.83.84", // TEST
    ];
    watch.peer().until("two sources to outvote one", |report| {
        let sources = report.chronyd.unwrap().sources;
        let of = |id: &str| {
            let id: Ipv6Addr = id.parse().unwrap();
            *sources.iter().find(|source| source.address == id).unwrap()
        };
        let [good, liar, clock] = ids.map(of);
        assert!(clock.is_reference_clock && !good.is_reference_clock && !liar.is_reference_clock);
        // The reference clock agrees, but is too coarse to be combined with a server so near.
        let trusted = [
            SourceState::Selected,
            SourceState::Combined,
            SourceState::Selectable,
        ];
        (liar.state == SourceState::Falseticker
            && [good, clock]
                .iter()
                .all(|source| trusted.contains(&source.state) && source.reach > 1))
        .then_some(())
    });
}

#[test]
fn a_stopped_chronyd_is_silent_within_a_second_and_comes_back() {
    let server = Chronyd::server(31);
    let mut client = Chronyd::client(&[server.source(FAST)]);
    let watch = Clockwatch::start(client.command_port);
    let peer = watch.peer();
    peer.synchronised();

    client.stop();
    let stopped = Instant::now();
    let silent = peer.until("silence", silence);
    assert_eq!(silent, Silence::TimedOut);
    let took = stopped.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    // The records go on all the while.
    for _ in 0..4 {
        assert_eq!(silence(peer.report()), Some(Silence::TimedOut));
    }
    client.go_on();
    peer.until("an answer", |report| report.chronyd.ok());

    client.kill();
    let killed = Instant::now();
    let silent = peer.until("silence", silence);
    assert_eq!(silent, Silence::Refused);
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    client.start();
    peer.synchronised();

    // A line for each change, none for each poll.
    let log = watch.log();
    let said: Vec<_> = log
        .lines()
        .map(|line| line.split_once(" answer").unwrap().1)
        .collect();
    assert_eq!(
        said,
        [
            "s",
            ": no answer in time",
            "s",
            ": connection refused: it does not run, or listens elsewhere",
            "s"
        ],
        "{log}"
    );
}

#[test]
fn garbage_is_said_to_be_garbage() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let fake = thread::spawn(move || {
        let mut buffer = [0; 1024];
        let mut answered = 0u32;
        loop {
            let (length, peer): (_, SocketAddr) = socket.recv_from(&mut buffer).unwrap();
            if length < 20 {
                return;
            }
            // Nothing, noise, the question itself, and a header that claims to be tracking.
            let header = [6, 2, 0, 0, 0, 33, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0];
            let claim = [&header[..], &buffer[8..12], &[0xff; 100]].concat();
            let answers = [&[][..], &[0xa5; 600], &buffer[..length], &claim];
            let answer = answers[answered as usize % answers.len()];
            answered += 1;
            socket.send_to(answer, peer).unwrap();
        }
    });
    let watch = Clockwatch::start_with(port, &["--interval", "20ms"]);
    let peer = watch.peer();
    for _ in 0..20 {
        assert_eq!(silence(peer.report()), Some(Silence::Garbage));
    }
    drop(watch);
    let end = UdpSocket::bind("127.0.0.1:0").unwrap();
    end.send_to(b"end", ("127.0.0.1", port)).unwrap();
    fake.join().unwrap();
}

#[test]
fn who_does_not_keep_up_is_dropped_alone() {
    let watch = Clockwatch::start_with(nobody(), &["--interval", "10ms"]);
    let (slow, quick) = (watch.peer(), watch.peer());
    let mut last = Duration::ZERO;
    for _ in 0..200 {
        let report = quick.report();
        assert!(report.boottime > last);
        last = report.boottime;
    }
    // What had been sent before is there, then comes the end.
    let mut left = 0;
    while slow.octets().is_some() {
        left += 1;
    }
    assert!((1..100).contains(&left), "{left} records were kept");
    // Those who come and go leave no trace, and there is room for others again.
    for _ in 0..5 {
        let crowd: Vec<_> = (0..15).map(|_| watch.peer()).collect();
        assert!(crowd.iter().all(|peer| peer.octets().is_some()));
    }
    // Beyond sixteen nobody gets in.
    let crowd: Vec<_> = (0..15).map(|_| watch.peer()).collect();
    assert!(crowd.iter().all(|peer| peer.octets().is_some()));
    assert_eq!(watch.peer().octets(), None);
    quick.report();
}

#[test]
fn the_helpers_end_is_the_end_of_the_file() {
    let mut watch = Clockwatch::start(nobody());
    let peer = watch.peer();
    assert_eq!(peer.octets().unwrap().len(), LENGTH);
    let killed = Instant::now();
    watch.kill();
    assert_eq!(peer.octets(), None);
    let took = killed.elapsed();
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[test]
fn a_socket_has_one_helper_and_a_dead_ones_socket_is_taken_over() {
    let dir = Folder::new();
    let socket = dir.join("clock.sock");
    let refused = |socket: &Path| {
        let output = clockwatch(socket, nobody()).output().unwrap();
        assert!(!output.status.success());
        text(&output)
    };
    let mut first = Clockwatch::at(&socket, nobody(), &["--mode", "0600"]);
    let mode = |socket| fs::metadata(socket).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&socket), 0o600);
    let peer = first.peer();
    let served = format!(
        "error: another gnomon-clockwatch serves {}\n",
        socket.display()
    );
    assert_eq!(refused(&socket), served);
    // Also one that does not get around to accepting.
    first.signal("STOP");
    let queue: Vec<_> = (0..3).map(|_| Peer::connect(&socket).unwrap()).collect();
    assert_eq!(refused(&socket), served);
    first.signal("CONT");
    drop(queue);
    peer.report();

    first.kill();
    assert!(socket.exists());
    let second = Clockwatch::at(&socket, nobody(), &[]);
    assert_eq!(mode(&socket), 0o666);
    second.peer().report();
    drop(second);

    // What is no dead helper's socket stays.
    let file = dir.join("a-file");
    fs::write(&file, "precious").unwrap();
    assert!(refused(&file).contains("is there and is no socket of gnomon-clockwatch"));
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    let stream = dir.join("a-stream");
    let _stream = std::os::unix::net::UnixListener::bind(&stream).unwrap();
    assert!(refused(&stream).contains("is there and is no socket of gnomon-clockwatch"));
    assert!(refused(&dir.join("missing/clock.sock")).contains("the directory "));
    assert!(refused(&dir.join("long".repeat(30))).contains("is too long for a socket"));
}

#[test]
fn one_poll_is_printed_for_people() {
    let server = Chronyd::server(41);
    let client = Chronyd::client(&[server.source(FAST)]);
    let watch = Clockwatch::start(client.command_port);
    watch.peer().synchronised();
    let program = clockwatch(Path::new("/nonexistent"), client.command_port);
    let program = program.get_program();
    let chronyd = format!("127.0.0.1:{}", client.command_port);
    let printed = support::run(
        program.to_str().unwrap(),
        &["--once", "--chronyd", &chronyd],
    );
    assert!(printed.contains("stratum           2\n"), "{printed}");
    assert!(
        printed.contains("  127.0.0.41: selected, reach "),
        "{printed}"
    );
    let nobody = format!("127.0.0.1:{}", nobody());
    let printed = fails(program.to_str().unwrap(), &["--once", "--chronyd", &nobody]);
    assert!(
        printed.contains("chronyd           connection refused"),
        "{printed}"
    );
    let help = said(program.to_str().unwrap(), &["--help"]);
    assert!(help.contains("--chronyd"), "{help}");
}
