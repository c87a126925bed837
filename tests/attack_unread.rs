//! Clients that send and do not read, by each version of HTTP, and more clients than there are places or descriptors:
//! who reads nothing is left, who is too many is told at once, and everybody else is served.

mod support;

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

use support::{
    Gnomon, Response, gnomon,
    https::{MONTH, Server},
    prepare,
    raw::{self, h2, process},
    run, said, timestamp_query, wait_for,
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// Sends as fast as it goes and reads at most an octet a tenth of a second, until the server has had enough of it.
fn is_left(stream: &mut (impl Read + Write), mut requests: impl FnMut() -> Vec<u8>, reads: bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut octets = requests();
    let mut sent = 0;
    loop {
        assert!(Instant::now() < deadline, "the server kept the connection");
        if sent == octets.len() {
            (octets, sent) = (requests(), 0);
        }
        match stream.write(&octets[sent..]) {
            Ok(count) => sent += count,
            Err(error) if raw::waits(&error) => {
                if reads {
                    let _ = stream.read(&mut [0]);
                }
            }
            Err(_) => return,
        }
    }
}

fn is_served(gnomon: &Gnomon) {
    let (_, query) = timestamp_query(&gnomon.dir);
    let answer = gnomon.post("/tsa", "application/timestamp-query", &query);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body[4..9], [0x30, 3, 2, 1, 0]);
}

#[test]
fn who_reads_nothing_of_its_answers_is_left() {
    let server = Server::start(MONTH, "write_timeout = \"1s\"");
    let gnomon = &server.gnomon;
    is_served(gnomon);
    let before = process::open_files(server.gnomon.pid());
    let many = GET.repeat(100);
    for reads in [false, true] {
        let mut plain = TcpStream::connect(gnomon.listen).unwrap();
        raw::hasty(&plain);
        is_left(&mut plain, || many.clone(), reads);
        is_left(&mut raw::tls(&server, b"http/1.1"), || many.clone(), reads);
        let mut stream = raw::tls(&server, b"h2");
        // All windows are open, so that only the socket's counts.
        let open = h2::frame(h2::WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes());
        let opening = h2::opening(&[(4, 0x7fff_ffff)]);
        stream.write_all(&[opening, open].concat()).unwrap();
        let mut number = 1;
        let requests = || {
            number += 40;
            (0..20).flat_map(|n| h2::request(number + 2 * n)).collect()
        };
        is_left(&mut stream, requests, reads);
        is_served(gnomon);
    }
    process::settles(gnomon.pid(), before);
}

#[test]
fn who_reads_slowly_but_reads_is_served() {
    let gnomon = Gnomon::edited(|config| {
        config.replacen("[clock]", "[http]\nwrite_timeout = \"1s\"\n[clock]", 1)
    });
    let mut stream = TcpStream::connect(gnomon.listen).unwrap();
    raw::hasty(&stream);
    // Far more answers than buffers hold, which the client takes its time for.
    let wanted = 20_000;
    let mut writer = stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        let last = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let all = [&GET.repeat(wanted - 1)[..], last].concat();
        let mut sent = 0;
        while sent < all.len() {
            match writer.write(&all[sent..]) {
                Ok(count) => sent += count,
                Err(error) => assert!(raw::waits(&error), "{error}"),
            }
        }
    });
    let mut answers = Vec::<u8>::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => answers.extend(&buffer[..count]),
            Err(error) => assert!(raw::waits(&error), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    sending.join().unwrap();
    let count = answers
        .windows(15)
        .filter(|window| window == b"HTTP/1.1 200 OK")
        .count();
    assert_eq!(count, wanted);
}

#[test]
fn who_is_too_many_is_told_within_milliseconds() {
    let gnomon =
        Gnomon::edited(|config| config.replacen("[clock]", "[http]\nconnections = 50\n[clock]", 1));
    is_served(&gnomon);
    // The connection that was served holds a place until the service has seen it close.
    wait_for("an empty house", || {
        (gnomon.metric(&["gnomon_http_connections "]) == 0.0).then_some(())
    });
    let before = process::open_files(gnomon.pid());
    let held: Vec<_> = (0..50)
        .map(|_| TcpStream::connect(gnomon.listen).unwrap())
        .collect();
    wait_for("a full house", || {
        (gnomon.metric(&["gnomon_http_connections "]) >= 50.0).then_some(())
    });
    // A client that sends before it reads hears it as well.
    let body = gnomon.dir.path("body");
    fs::write(&body, vec![0; 30_000]).unwrap();
    let mut times = Vec::new();
    for _ in 0..100 {
        let start = Instant::now();
        let mut stream = TcpStream::connect(gnomon.listen).unwrap();
        raw::hasty(&stream);
        stream.write_all(GET).unwrap();
        let answer = Response::parse(&raw::rest(&mut stream));
        times.push(start.elapsed());
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    times.sort();
    assert!(times[50] < Duration::from_millis(20), "{times:?}");
    for _ in 0..20 {
        let data = format!("@{body}");
        let said = said(
            "curl",
            &[
                "-s",
                "-S",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                "--data-binary",
                &data,
                &gnomon.url("/tsa"),
            ],
        );
        assert_eq!(said, "503");
    }
    // Those who do not go when they are told do not add up.
    let stubborn: Vec<_> = (0..500)
        .map(|_| TcpStream::connect(gnomon.listen).unwrap())
        .collect();
    wait_for("an end of those who linger", || {
        let files = process::open_files(gnomon.pid());
        assert!(files < before + 50 + 80, "{files} files are open");
        (files <= before + 50).then_some(())
    });
    drop((held, stubborn));
    wait_for("a place", || {
        let mut stream = TcpStream::connect(gnomon.listen).unwrap();
        raw::hasty(&stream);
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        raw::rest(&mut stream)
            .starts_with(b"HTTP/1.0 200")
            .then_some(())
    });
    process::settles(gnomon.pid(), before);
}

/// The demo under `prlimit --nofile=LIMIT`.
fn limited(limit: &str) -> Gnomon {
    let dir = support::Folder::new();
    let (listen, admin) = prepare(&dir);
    let mut command = Command::new("prlimit");
    let serve = gnomon(&["serve", "--config", &dir.path("gnomon.toml")]);
    command
        .arg(format!("--nofile={limit}"))
        .arg(serve.get_program())
        .args(serve.get_args())
        .stderr(fs::File::create(dir.join("log")).unwrap());
    Gnomon::started(command, dir, listen, admin)
}

#[test]
fn few_descriptors_mean_fewer_connections_and_nothing_else() {
    let gnomon = limited("300:300");
    let log = fs::read_to_string(gnomon.dir.join("log")).unwrap();
    assert!(
        log.contains("http.connections: 10000 are wanted, but the process may open only 300 files, so that 150 are taken"),
        "{log}"
    );
    let screen = &gnomon.banner;
    assert!(screen.contains("limits   150 connections on "), "{screen}");
    is_served(&gnomon);
    let before = process::open_files(gnomon.pid());
    let mut held: Vec<_> = (0..400)
        .map(|_| TcpStream::connect(gnomon.listen).unwrap())
        .collect();
    wait_for("a full house", || {
        (gnomon.metric(&["gnomon_http_connections "]) == 150.0).then_some(())
    });
    // The operator sees it, the journal takes what those inside ask for, and who is outside is told.
    assert_eq!(gnomon.ready().0, 200);
    let refused = gnomon.metric(&["gnomon_http_connections_refused_total"]);
    assert!(refused >= 250.0, "{refused}");
    let (_, query) = timestamp_query(&gnomon.dir);
    let head = format!(
        "POST /tsa HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        query.len()
    );
    let mut inside = held.remove(0);
    raw::hasty(&inside);
    inside
        .write_all(&[head.as_bytes(), &query].concat())
        .unwrap();
    assert_eq!(Response::parse(&raw::rest(&mut inside)).status, 200);
    drop(held);
    process::settles(gnomon.pid(), before);
    is_served(&gnomon);
    let log = fs::read_to_string(gnomon.dir.join("log")).unwrap();
    assert!(!log.contains("cannot be accepted"), "{log}");

    // A soft limit is raised as far as the hard one allows.
    let gnomon = limited("300:12000");
    let log = fs::read_to_string(gnomon.dir.join("log")).unwrap();
    assert!(!log.contains("http.connections"), "{log}");
    is_served(&gnomon);
}

#[test]
fn a_process_that_has_run_out_of_descriptors_goes_on_when_there_are_some() {
    let gnomon = limited("2000:2000");
    is_served(&gnomon);
    let mut inside = TcpStream::connect(gnomon.listen).unwrap();
    raw::hasty(&inside);
    wait_for("the connection", || {
        (gnomon.metric(&["gnomon_http_connections "]) == 1.0).then_some(())
    });
    let pid = gnomon.pid().to_string();
    let open = process::open_files(gnomon.pid());
    run(
        "prlimit",
        &["--pid", &pid, &format!("--nofile={open}:2000")],
    );
    let outside: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(gnomon.listen).unwrap())
        .collect();
    wait_for("a line in the log", || {
        let log = fs::read_to_string(gnomon.dir.join("log")).unwrap();
        log.contains("connections cannot be accepted: ")
            .then_some(())
    });
    let (_, query) = timestamp_query(&gnomon.dir);
    let head = format!(
        "POST /tsa HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        query.len()
    );
    inside
        .write_all(&[head.as_bytes(), &query].concat())
        .unwrap();
    let mut answer = [0; 15];
    wait_for("an answer", || inside.read_exact(&mut answer).ok());
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    run("prlimit", &["--pid", &pid, "--nofile=2000:2000"]);
    is_served(&gnomon);
    drop(outside);
}

#[test]
fn idle_and_slow_clients_leave_others_their_speed() {
    let gnomon = Gnomon::edited(|config| {
        let slow = "[http]\nheader_timeout = \"60s\"\nbody_timeout = \"60s\"\n[clock]";
        config.replacen("[clock]", slow, 1)
    });
    is_served(&gnomon);
    let before = process::open_files(gnomon.pid());
    let resident = process::resident(gnomon.pid());
    let connect = || TcpStream::connect(gnomon.listen).unwrap();
    let idle: Vec<_> = (0..2_000).map(|_| connect()).collect();
    let head = b"POST /tsa HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n";
    let slow: Vec<_> = (0..200)
        .map(|number| {
            let mut stream = connect();
            let part = if number % 2 == 0 {
                &head[..20]
            } else {
                &head[..]
            };
            stream.write_all(part).unwrap();
            stream
        })
        .collect();
    wait_for("all of them", || {
        (gnomon.metric(&["gnomon_http_connections "]) >= 2_200.0).then_some(())
    });
    let each = (process::resident(gnomon.pid()).saturating_sub(resident)) / 2_200;
    assert!(each < 15_000, "{each} octets a connection");
    let mut times = Vec::new();
    for mut dripping in slow.iter().take(100) {
        dripping.write_all(b"X").unwrap();
        let start = Instant::now();
        is_served(&gnomon);
        times.push(start.elapsed());
    }
    times.sort();
    // With a start of openssl in each, on a machine that builds.
    assert!(times[50] < Duration::from_millis(500), "{times:?}");
    drop((idle, slow));
    process::settles(gnomon.pid(), before);
}
