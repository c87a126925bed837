//! The clock is proven or nothing is signed: the real daemon with the real helper and real chronyds, whose sources go
//! silent, lie, disagree or die, and a helper that is not what it should be.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::Ordering,
    time::{Duration, Instant, SystemTime},
};

use rustix::{
    fd::OwnedFd,
    net::{
        AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept, bind, connect,
        listen, send, socket_with,
    },
};
use support::{
    Folder, Gnomon,
    chrony::{Chronyd, Clockwatch, FAST, ReferenceClock},
    gnomon, http, prepare, run, said,
    stamps::{Stamp, export, load, post, query, time_of},
    wait_for,
};

/// timeNotAvailable(14) as the last of a rejection.
const TIME_NOT_AVAILABLE: [u8; 5] = [3, 3, 1, 0, 2];

/// The demo's TSUs on a clock that must be proven by the helper at this socket.
fn config(config: &str, socket: &Path, more: &str) -> String {
    let clock = format!(
        "source = \"chrony\"\nsocket = \"{}\"\nhelper = \"{}\"\nkernel_gate = false\n{more}",
        socket.display(),
        run("id", &["-u"]).trim()
    );
    config.replace("source = \"unproven\"\n", &clock).replace(
        "\ndemo = true",
        "\ndemo = false\naccuracy = \"200ms\"\nsigning_delay = \"50ms\"\n",
    )
}

/// Two or more sources; three are wanted unless said otherwise.
const ONE: &str = "sources = 1\nusable_sources = 1\nsilence = \"3s\"\nsettle = \"2s\"\n";
const THREE: &str = "sources = 3\nusable_sources = 2\nsilence = \"3s\"\nsettle = \"2s\"\n";

struct Appliance {
    gnomon: Gnomon,
    request: Vec<u8>,
}

impl Appliance {
    fn start(socket: &Path, more: &str) -> Self {
        let gnomon = Gnomon::edited(|text| config(&text, socket, more));
        let request = post("/tsa", &query(&gnomon.dir));
        Self { gnomon, request }
    }

    fn ask(&self) -> Option<Stamp> {
        let response = http(self.gnomon.listen, &self.request);
        assert_eq!(response.status, 200);
        let stamp = Stamp::granted(&response.body);
        if stamp.is_none() {
            assert!(
                response.body.ends_with(&TIME_NOT_AVAILABLE),
                "{:02x?}",
                response.body
            );
        }
        stamp
    }

    fn wait_for_tokens(&self) -> Stamp {
        wait_for("the clock to be proven", || self.ask())
    }

    /// Waits until nothing is signed, for the reason in these words; gives how long it took.
    fn wait_for_refusal(&self, reason: &str) -> Duration {
        let start = Instant::now();
        wait_for("a refusal", || self.ask().is_none().then_some(()));
        let taken = start.elapsed();
        // What a client sees of it.
        let reply = self.gnomon.dir.path("refused.tsr");
        fs::write(&reply, http(self.gnomon.listen, &self.request).body).unwrap();
        let said = run("openssl", &["ts", "-reply", "-text", "-in", &reply]);
        assert!(
            said.contains("the TSA's time source is not available"),
            "{said}"
        );
        wait_for(reason, || self.state().contains(reason).then_some(()));
        taken
    }

    /// What `gnomon clock` says.
    fn state(&self) -> String {
        let file = self.gnomon.dir.path("gnomon.toml");
        said(env!("CARGO_BIN_EXE_gnomon"), &["clock", "--config", &file])
    }

    /// What an operator does who has looked.
    fn reset(&self) {
        let file = self.gnomon.dir.path("gnomon.toml");
        let asked = run(
            env!("CARGO_BIN_EXE_gnomon"),
            &["clock", "reset", "--config", &file],
        );
        assert!(asked.contains("puts it on record"), "{asked}");
    }

    fn kinds(&self) -> Vec<String> {
        let records = export(&self.gnomon.dir.join("journal"));
        let kinds = records
            .iter()
            .map(|record| record["kind"].as_str().unwrap().to_owned());
        kinds.collect()
    }
}

fn now() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
}

#[test]
fn a_clock_with_good_sources_is_proven_and_the_record_says_so() {
    let server = Chronyd::server(2);
    let clocks = ["REFA", "REFB", "REFC"].map(ReferenceClock::new);
    let mut sources = vec![server.source(FAST)];
    sources.extend(clocks.iter().map(|clock| clock.source("")));
    let client = Chronyd::client(&sources);
    let watch = Clockwatch::start(client.command_port);
    // The RSA TSU declares what it has at the moment.
    let gnomon = Gnomon::edited(|text| {
        let text = config(&text, &watch.socket, "");
        let (before, after) = text.rsplit_once("accuracy = \"200ms\"").unwrap();
        format!("{before}accuracy = \"measured\"{after}")
    });
    let request = post("/tsa", &query(&gnomon.dir));
    let appliance = Appliance { gnomon, request };
    appliance.wait_for_tokens();
    let state = appliance.state();
    for part in [
        "proven: within",
        "root dispersion",
        "of 4 sources usable",
        "reach",
    ] {
        assert!(state.contains(part), "{part}: {state}");
    }
    let gnomon = &appliance.gnomon;
    wait_for("metrics", || {
        (gnomon.metric(&["gnomon_clock_state", "\"proven\""]) == 1.0).then_some(())
    });
    let bound = gnomon.metric(&["gnomon_clock_bound_seconds"]);
    assert!(bound > 0.0 && bound < 0.149, "{bound}");
    assert!(gnomon.metric(&["gnomon_clock_source_reach", "127.0.0.2"]) > 0.0);
    assert!(gnomon.metric(&["gnomon_clock_source_reach", "REFA"]) > 0.0);
    wait_for("the record", || {
        appliance
            .kinds()
            .contains(&"clock proven".to_owned())
            .then_some(())
    });
    let records = export(&gnomon.dir.join("journal"));
    let token = records
        .iter()
        .find(|record| record["kind"] == "token")
        .unwrap();
    assert_eq!(token["clock"], "proven");
    assert!(token["bound_us"].as_u64().unwrap() < 149_000, "{token}");
    // OpenSSL takes the time for what it is.
    let said = run(
        "openssl",
        &["ts", "-reply", "-text", "-in", &{
            let file = gnomon.dir.path("one.tsr");
            fs::write(&file, appliance.ask().unwrap().response).unwrap();
            file
        }],
    );
    assert!(
        said.contains("Accuracy: unspecified seconds, 0xC8 millis"),
        "{said}"
    );
    // Never better than the clock's bound, the unit of genTime and the 50 ms for the signature.
    let reply = gnomon.dir.path("measured.tsr");
    let response = http(gnomon.listen, &post("/tsa/rsa", &query(&gnomon.dir)));
    fs::write(&reply, response.body).unwrap();
    let said = run("openssl", &["ts", "-reply", "-text", "-in", &reply]);
    let (_, millis) = said
        .split_once("Accuracy: unspecified seconds, 0x")
        .unwrap();
    let millis = u64::from_str_radix(millis.split(' ').next().unwrap(), 16).unwrap();
    let records = export(&gnomon.dir.join("journal"));
    let record = records.iter().rfind(|record| record["tsu"] == "rsa");
    // The bound on record has the cut of genTime in it already.
    let truth = record.unwrap()["bound_us"].as_u64().unwrap() + 50_000;
    assert!(
        (truth..truth + 2_000).contains(&(millis * 1_000)),
        "{millis} ms, {truth} us"
    );
}

/// Not one token has a genTime after the fault and what its kind is allowed.
#[test]
fn under_load_no_token_is_issued_once_a_fault_must_have_been_seen() {
    let server = Chronyd::server(2);
    let client = Chronyd::client(&[server.source(FAST)]);
    let dir = Folder::new();
    let socket = dir.join("clock.sock");
    let mut watch = Clockwatch::at(&socket, client.command_port, &[]);
    let appliance = Appliance::start(&socket, ONE);
    let last_token = |appliance: &Appliance| {
        let records = export(&appliance.gnomon.dir.join("journal"));
        let tokens = records.iter().filter(|record| record["kind"] == "token");
        tokens.map(time_of).max().unwrap()
    };
    for round in 0..3 {
        appliance.wait_for_tokens();
        let (stop, clients) = load(&appliance.gnomon, 4);
        std::thread::sleep(Duration::from_millis(300));
        // A helper that ends is seen at once; a chronyd that hangs, within 2 s.
        let allowed = match round {
            0 => Duration::from_millis(500),
            _ => Duration::from_secs(2),
        };
        let fault = now();
        match round {
            0 => watch.kill(),
            1 => client.stop(),
            _ => watch.signal("STOP"),
        }
        let reason = [
            "gnomon-clockwatch is not connected",
            "chronyd does not answer in time",
            "the last clock report is",
        ];
        appliance.wait_for_refusal(reason[round]);
        std::thread::sleep(Duration::from_millis(500));
        stop.store(true, Ordering::Relaxed);
        let issued: usize = clients
            .into_iter()
            .map(|client| client.join().unwrap().0.len())
            .sum();
        assert!(issued > 20, "{issued}");
        let last = last_token(&appliance);
        assert!(last <= fault + allowed, "{last:?}, {fault:?}");
        // All come back by themselves.
        match round {
            0 => watch = Clockwatch::at(&socket, client.command_port, &[]),
            1 => client.go_on(),
            _ => watch.signal("CONT"),
        }
    }
    // That was the third loss.
    appliance.reset();
    appliance.wait_for_tokens();
    let kinds = appliance.kinds();
    let lost = kinds.iter().filter(|kind| *kind == "clock lost").count();
    assert!(lost >= 3, "{kinds:?}");
}

#[test]
fn a_chronyd_that_dies_or_has_no_source_proves_nothing() {
    let server = Chronyd::server(2);
    let mut client = Chronyd::client(&[server.source(FAST)]);
    let watch = Clockwatch::start(client.command_port);
    let appliance = Appliance::start(&watch.socket, ONE);
    appliance.wait_for_tokens();
    client.kill();
    let taken = appliance.wait_for_refusal("chronyd refuses the connection");
    assert!(taken < Duration::from_secs(2), "{taken:?}");
    client.start();
    // It begins anew, and is watched before it is believed.
    appliance.wait_for_tokens();
    // Its own clock, and no source at all: leap 0, bound 0, and nothing behind it.
    client.restart_with(&["local stratum 10".to_owned()]);
    appliance.wait_for_refusal("chronyd follows its own clock");
    client.restart_with(&[server.source(FAST)]);
    appliance.wait_for_tokens();
    // Three losses in ten minutes: somebody must look.
    client.restart();
    appliance.wait_for_refusal("then say `gnomon clock reset`");
    appliance.reset();
    appliance.wait_for_tokens();
    wait_for("the records", || {
        let kinds = appliance.kinds();
        let has = |kind: &str| kinds.iter().any(|other| other == kind);
        (has("clock latched") && has("clock reset")).then_some(())
    });
}

#[test]
fn sources_that_fall_silent_or_lie_prove_nothing() {
    let clocks = ["REFA", "REFB", "REFC"].map(ReferenceClock::new);
    let client = Chronyd::client(&clocks.each_ref().map(|clock| clock.source("")));
    let watch = Clockwatch::start(client.command_port);
    let appliance = Appliance::start(&watch.socket, THREE);
    appliance.wait_for_tokens();

    // One lies: the two others outvote it.
    clocks[2].says(0.25);
    std::thread::sleep(Duration::from_secs(2));
    assert!(appliance.ask().is_some(), "{}", appliance.state());
    // All disagree.
    clocks[1].says(-2.0);
    let taken = appliance.wait_for_refusal("lost:");
    assert!(taken < Duration::from_secs(5), "{taken:?}");
    for clock in &clocks {
        clock.says(0.0);
    }
    appliance.wait_for_tokens();

    // All fall silent: chronyd says for ever that it is synchronised.
    for clock in &clocks {
        clock.falls_silent();
    }
    let taken = appliance.wait_for_refusal("the sources are silent");
    assert!(taken < Duration::from_secs(8), "{taken:?}");
}

#[test]
fn a_source_that_steps_takes_the_proof_with_it() {
    for step in [0.25, 2.0] {
        let clock = ReferenceClock::new("REFA");
        let client = Chronyd::client(&[clock.source("")]);
        let watch = Clockwatch::start(client.command_port);
        let appliance = Appliance::start(&watch.socket, ONE);
        appliance.wait_for_tokens();
        clock.says(step);
        let taken = appliance.wait_for_refusal("the clock can be off by");
        assert!(taken < Duration::from_secs(5), "{step}: {taken:?}");
    }
}

/// A program that poses as the helper and sends what it likes.
struct Impostor {
    listener: OwnedFd,
    socket: PathBuf,
    _dir: Folder,
}

impl Impostor {
    fn new() -> Self {
        let dir = Folder::new();
        let socket = dir.join("clock.sock");
        let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let listener = socket_with(AddressFamily::UNIX, kind, flags, None).unwrap();
        bind(&listener, &SocketAddrUnix::new(&socket).unwrap()).unwrap();
        listen(&listener, 8).unwrap();
        Self {
            listener,
            socket,
            _dir: dir,
        }
    }

    fn send(&self, message: &[u8]) {
        let peer = accept(&self.listener).unwrap();
        send(&peer, message, SendFlags::empty()).unwrap();
        // Its end is noticed too; wait until the daemon has come again.
        drop(peer);
    }
}

#[test]
fn what_is_no_record_or_comes_from_somebody_else_proves_nothing() {
    let impostor = Impostor::new();
    let appliance = Appliance::start(&impostor.socket, ONE);
    assert!(appliance.ask().is_none());
    let lines = fs::read_to_string("tests/clock-report.golden").unwrap();
    let digits = lines.lines().filter_map(|line| line.split('#').next());
    let digits: String = digits
        .flat_map(|line| line.chars())
        .filter(char::is_ascii_hexdigit)
        .collect();
    let golden = hex::decode(digits).unwrap();
    let mut version = golden.clone();
    version[5] = 2;
    let mut checksum = golden.clone();
    checksum[511] ^= 1;
    for (message, reason) in [
        (&golden[..511], "a clock report of 511 octets"),
        (
            &[&golden[..], b"x"].concat(),
            "a clock report of 513 octets",
        ),
        (&version, "a clock report of version 2"),
        (&checksum, "checksum does not hold"),
        (&vec![0; 512], "the octets `GNCR` are missing"),
    ] {
        let seen = || {
            impostor.send(message);
            appliance.state().contains(reason).then_some(())
        };
        wait_for(reason, seen);
        assert!(appliance.ask().is_none());
    }
    // A whole record of another hour.
    impostor.send(&golden);
    assert!(appliance.ask().is_none());

    let appliance = {
        let gnomon = Gnomon::edited(|text| {
            let own = format!("helper = \"{}\"", run("id", &["-u"]).trim());
            config(&text, &impostor.socket, ONE).replace(&own, "helper = \"4242\"")
        });
        let request = post("/tsa", &query(&gnomon.dir));
        Appliance { gnomon, request }
    };
    appliance.wait_for_refusal("expected is 4242");
}

/// The system clock itself is set, under the daemon.
#[test]
fn a_step_of_the_system_clock_is_seen_at_the_next_request() {
    let server = Chronyd::server(2);
    let client = Chronyd::client(&[server.source(FAST)]);
    let watch = Clockwatch::start(client.command_port);
    let dir = Folder::new();
    let (listen, admin) = prepare(&dir);
    let file = dir.join("gnomon.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, config(&text, &watch.socket, ONE)).unwrap();
    let rate = dir.join("faketime");
    fs::write(&rate, "+0\n").unwrap();
    let library = run(
        "sh",
        &[
            "-c",
            "ls /usr/lib/*/faketime/libfaketimeMT.so.1 | head -n 1",
        ],
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_gnomon"));
    command
        .args(["serve", "--config", &dir.path("gnomon.toml")])
        .env("LD_PRELOAD", library.trim())
        .env("FAKETIME_TIMESTAMP_FILE", &rate)
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("FAKETIME_NO_CACHE", "1");
    let gnomon = Gnomon::started(command, dir, listen, admin);
    let request = post("/tsa", &query(&gnomon.dir));
    let appliance = Appliance { gnomon, request };
    appliance.wait_for_tokens();
    for step in ["-3600", "+2"] {
        fs::write(&rate, format!("{step}\n")).unwrap();
        assert!(appliance.ask().is_none(), "{step}");
        appliance.wait_for_refusal("lost:");
    }
    wait_for("the record", || {
        let kinds = appliance.kinds();
        kinds.contains(&"clock stepped".to_owned()).then_some(())
    });
}

#[test]
fn status_answers_that_are_sealed_flow_without_a_clock_and_new_ones_wait() {
    let server = Chronyd::server(2);
    let client = Chronyd::client(&[server.source(FAST)]);
    let mut watch = Clockwatch::start(client.command_port);
    let appliance = Appliance::start(&watch.socket, ONE);
    appliance.wait_for_tokens();
    let gnomon = &appliance.gnomon;
    let sealed = gnomon.ask("good.pem", &["-no_nonce"]);
    assert!(sealed.contains("good.pem: good"), "{sealed}");
    watch.kill();
    appliance.wait_for_refusal("gnomon-clockwatch is not connected");
    let sealed = gnomon.ask("good.pem", &["-no_nonce"]);
    assert!(sealed.contains("good.pem: good"), "{sealed}");
    for (certificate, options) in [("held.pem", &["-no_nonce"][..]), ("good.pem", &[])] {
        let fresh = gnomon.ask(certificate, options);
        assert!(fresh.to_lowercase().contains("trylater"), "{fresh}");
    }
}

#[test]
fn check_says_what_is_unwise_and_what_cannot_be() {
    let dir = Folder::new();
    prepare(&dir);
    let text = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    let check = |text: &str| {
        fs::write(dir.join("gnomon.toml"), text).unwrap();
        let output = gnomon(&["check", "--config", &dir.path("gnomon.toml")])
            .output()
            .unwrap();
        support::text(&output)
    };
    let socket = dir.join("clock.sock");
    let said = check(&config(
        &text,
        &socket,
        "leap = \"ignore\"\nusable_sources = 1\n",
    ));
    for part in [
        "clock.kernel_gate: off",
        "clock.usable_sources: with fewer than 3",
        "clock.leap: \"ignore\"",
    ] {
        assert!(said.contains(part), "{said}");
    }
    // 2004 in seconds since 1900.
    fs::write(dir.join("leap.list"), "#@\t3282000000\n").unwrap();
    for (table, part) in [
        ("leap.list", "leap.list has expired on 2004-01-"),
        ("gnomon.toml", "it is no table of leap seconds"),
        ("missing", "the table of leap seconds cannot be read"),
    ] {
        let said = check(&config(
            &text,
            &socket,
            &format!("leap_table = \"{table}\"\n"),
        ));
        assert!(
            said.contains("advice: clock.leap_table: ") && said.contains(part),
            "{said}"
        );
    }
    let said = check(&config(&text, &socket, "usable_sources = 5\n"));
    assert!(
        said.contains("clock.usable_sources: must not be more than clock.sources"),
        "{said}"
    );
    let own = format!("helper = \"{}\"", run("id", &["-u"]).trim());
    let said = check(&config(&text, &socket, "").replace(&own, "helper = \"nobody-of-this-name\""));
    assert!(
        said.contains("clock.helper: there is no user `nobody-of-this-name`"),
        "{said}"
    );
}

/// It stays connected, and neither its silence nor its backlog holds the daemon up.
#[test]
fn a_helper_that_hangs_does_not_keep_the_daemon_from_ending() {
    let server = Chronyd::server(2);
    let client = Chronyd::client(&[server.source(FAST)]);
    let watch = Clockwatch::start(client.command_port);
    let appliance = Appliance::start(&watch.socket, ONE);
    appliance.wait_for_tokens();
    watch.signal("STOP");
    appliance.wait_for_refusal("the last clock report is");
    // Others fill the places of those who wait to be taken.
    let waiting: Vec<_> = std::iter::from_fn(|| {
        let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::NONBLOCK);
        let peer = socket_with(AddressFamily::UNIX, kind, flags, None).unwrap();
        let address = SocketAddrUnix::new(&watch.socket).unwrap();
        connect(&peer, &address).is_ok().then_some(peer)
    })
    .take(10_000)
    .collect();
    assert!(waiting.len() < 10_000);
    let _dir = appliance.gnomon.stops_in_time();
    watch.signal("CONT");
}
