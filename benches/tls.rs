//! What TLS and many connections cost: `cargo bench --bench tls`. Everything is a ratio to something measured in the same
//! run, in rounds that alternate; the measure is the server's CPU time, since the load tool fills a core long before the
//! server does, and beside it the rate that the client saw.
//!
//! - a sealed OCSP answer over kept-alive TLS, against plain HTTP;
//! - a full handshake with one request, against nginx with the same certificate;
//! - resident memory when idle, and with 10,000 idle connections, plain or TLS;
//! - a sealed OCSP answer with 10,000 idle connections and 1,000 slow ones, against none.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]

mod load;
#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    io::Write,
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use load::{Load, Nginx, SECONDS, cost, cpu, median, resident, wrk};
use support::{
    https::{MONTH, P256, RSA, Server, folder, put},
    ocsp_path, raw, run,
    server_certificate::ServerCa,
    wait_for,
};

const ROUNDS: usize = 5;
const IDLE: usize = 10_000;
const SLOW: usize = 1_000;

fn main() {
    // `cargo test --benches` and `cargo bench -- --test` only ask whether it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    keep_alive();
    handshakes("P-256", &P256);
    handshakes("RSA-2048", &RSA);
    idle_connections();
    idle_and_slow();
}

/// With limits that let everybody stay.
fn patient() -> Server {
    let http = "connections = 15000\nheader_timeout = \"10min\"\nbody_timeout = \"10min\"";
    Server::start(MONTH, http)
}

/// One worker and two threads of the client, so that it is the server that limits the rate: one that waits for a slow
/// client is woken for each request, which costs more than the request.
fn keep_alive() {
    let server = Server::start(MONTH, "workers = 1");
    let (pid, path) = (server.gnomon.pid(), ocsp_path(server.dir(), "good.pem"));
    let measured = |url: &str| {
        let before = cpu(pid);
        let load = wrk(url, 2, 64, "");
        ((cpu(pid) - before) / load.requests, load.per_second)
    };
    let (mut plain, mut tls) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        plain.push(measured(&server.gnomon.url(&path)));
        tls.push(measured(&server.url(&path)));
    }
    let of = |all: &[(f64, f64)]| {
        let (costs, rates) = all.iter().copied().unzip();
        (median(costs), median(rates))
    };
    let ((plain, plain_rate), (tls, tls_rate)) = (of(&plain), of(&tls));
    println!(
        "sealed OCSP answer, kept alive: {:.1} us of CPU plain, {:.1} us over TLS; {:.2} of plain throughput per \
         CPU-second (at least 0.85 wanted); the client saw {plain_rate:.0} and {tls_rate:.0} a second, {:.2}",
        plain * 1e6,
        tls * 1e6,
        plain / tls,
        tls_rate / plain_rate
    );
}

fn handshakes(name: &str, algorithm: &[&str]) {
    let own = folder(MONTH);
    ServerCa::new(&own.0).issue("second", MONTH, algorithm);
    put(&own.0, "second.pem", "second.key");
    let server = Server::serve(own, "", "");
    let (pid, path) = (server.gnomon.pid(), ocsp_path(server.dir(), "good.pem"));
    let size = server.gnomon.get(&path, "").body.len();
    let dir = server.dir();
    let nginx = Nginx::over_tls(size, &dir.path("tls.pem"), &dir.path("tls.key"));
    // wrk would resume its sessions.
    let measured = |url: &str, cpu: &dyn Fn() -> f64| {
        let (_, rest) = url.split_once("://").unwrap();
        let (address, path) = rest.split_once('/').unwrap();
        let (path, time) = (format!("/{path}"), SECONDS.to_string());
        let before = cpu();
        let said = run(
            "openssl",
            &[
                "s_time", "-connect", address, "-new", "-time", &time, "-www", &path,
            ],
        );
        let used = cpu() - before;
        let line = said.lines().find(|line| line.contains(" real seconds"));
        let mut numbers = line
            .unwrap_or_else(|| panic!("{said}"))
            .split_whitespace()
            .filter_map(|word| word.parse::<f64>().ok());
        let (count, seconds) = (numbers.next().unwrap(), numbers.next().unwrap());
        (used / count, count / seconds)
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(measured(&server.url(&path), &|| cpu(pid)));
        theirs.push(measured(&nginx.url("https"), &|| nginx.cpu()));
    }
    let of = |all: &[(f64, f64)]| {
        let (costs, rates) = all.iter().copied().unzip();
        (median(costs), median(rates))
    };
    let ((ours, our_rate), (theirs, their_rate)) = (of(&ours), of(&theirs));
    println!(
        "full handshake, {name}, with one request: {:.0} us of CPU, nginx: {:.0} us; {:.2} times nginx's rate per \
         CPU-second (at least 0.8 wanted); the client saw {our_rate:.0} and {their_rate:.0} a second, {:.2}",
        ours * 1e6,
        theirs * 1e6,
        theirs / ours,
        our_rate / their_rate
    );
}

fn idle_connections() {
    let server = patient();
    let pid = server.gnomon.pid();
    let idle = resident(pid);
    println!("idle resident memory: {idle:.1} MB (under 25 MB wanted)");
    // Each has got an answer, and is kept alive.
    let (plain, tls) = (many(&server, IDLE), resident(pid));
    println!(
        "with {IDLE} idle connections: {:.1} MB more (under 150 MB wanted)",
        tls - idle
    );
    drop(plain);
    wait_for("an end of them", || {
        (server.gnomon.metric(&["gnomon_http_connections "]) == 0.0).then_some(())
    });
    let before = resident(pid);
    let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let held: Vec<_> = (0..IDLE)
        .map(|_| {
            let mut stream = raw::tls(&server, b"http/1.1");
            stream.write_all(request).unwrap();
            stream.sock
        })
        .collect();
    wait_for("all of them", || {
        (server.gnomon.metric(&["gnomon_http_connections "]) >= IDLE as f64).then_some(())
    });
    println!(
        "with {IDLE} idle TLS connections: {:.1} MB more than before them, {:.1} MB more than at first",
        resident(pid) - before,
        resident(pid) - idle
    );
    drop(held);
}

/// So many plain connections that have had their answer.
fn many(server: &Server, count: usize) -> Vec<TcpStream> {
    let held: Vec<_> = (0..count)
        .map(|_| {
            let mut stream = TcpStream::connect(server.gnomon.listen).unwrap();
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                .unwrap();
            stream
        })
        .collect();
    wait_for("all of them", || {
        (server.gnomon.metric(&["gnomon_http_connections "]) >= count as f64).then_some(())
    });
    held
}

fn idle_and_slow() {
    let (alone, crowded) = (patient(), patient());
    let path = ocsp_path(alone.dir(), "good.pem");
    let other_path = ocsp_path(crowded.dir(), "good.pem");
    let held = many(&crowded, IDLE);
    let slow: Vec<_> = (0..SLOW)
        .map(|number| {
            let mut stream = TcpStream::connect(crowded.gnomon.listen).unwrap();
            let begun: &[u8] = match number % 2 {
                0 => b"POST /tsa HTTP/1.1\r\nX: ",
                _ => b"POST /tsa HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n",
            };
            stream.write_all(begun).unwrap();
            stream
        })
        .collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // An octet a second from each.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for mut stream in &slow {
                    let _ = stream.write(b"x");
                    std::thread::sleep(Duration::from_micros(900));
                }
            }
        });
        let (mut few, mut lots) = (Vec::new(), Vec::new());
        let (mut few_loads, mut loads): (Vec<Load>, Vec<Load>) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            few.push(cost(&alone.gnomon.url(&path), "", || {
                cpu(alone.gnomon.pid())
            }));
            lots.push(cost(&crowded.gnomon.url(&other_path), "", || {
                cpu(crowded.gnomon.pid())
            }));
            few_loads.push(wrk(&alone.gnomon.url(&path), 1, 64, ""));
            loads.push(wrk(&crowded.gnomon.url(&other_path), 1, 64, ""));
        }
        done.store(true, Ordering::Relaxed);
        let rate = |loads: &[Load]| median(loads.iter().map(|load| load.per_second).collect());
        let p99 = |loads: &[Load]| median(loads.iter().map(|load| load.p99).collect());
        let (few, lots) = (median(few), median(lots));
        println!(
            "sealed OCSP answer beside {IDLE} idle and {SLOW} slow connections: {:.1} us of CPU, alone {:.1} us; {:.2} of \
             the throughput per CPU-second; the client saw {:.0} and {:.0} a second, {:.2}, p99 {:.2} and {:.2} ms",
            lots * 1e6,
            few * 1e6,
            few / lots,
            rate(&loads),
            rate(&few_loads),
            rate(&loads) / rate(&few_loads),
            p99(&loads),
            p99(&few_loads)
        );
    });
    drop((held, slow));
}
