//! What a request costs the server, as ratios to something measured in the same run: `cargo bench --bench
//! serve`. wrk loads over 64 kept-alive connections with one thread, in interleaved rounds; the measure is
//! the server's CPU time per request, since the load tool fills a core long before the server does.
//!
//! - a sealed OCSP answer, against nginx serving a static file of the same size;
//! - a recorded P-256 token with certificates, against one raw signature by the same library;
//! - the same with RSA-3072;
//! - resident memory when idle.
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
    fs,
    time::{Duration, Instant},
};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa,
    signature::{self, EcdsaKeyPair},
};
use gnomon::wire::certificate::pem_blocks;
use load::{Nginx, cost, cpu, median, resident, used};
use support::{Gnomon, ocsp_path, run};

const ROUNDS: usize = 5;

fn main() {
    // `cargo test --benches` and `cargo bench -- --test` only ask whether it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let gnomon = Gnomon::demo();
    println!("idle resident memory: {:.1} MB", resident(gnomon.pid()));
    sealed_against_nginx(&gnomon);
    tokens_against_signatures(&gnomon);
}

fn sealed_against_nginx(gnomon: &Gnomon) {
    let path = ocsp_path(&gnomon.dir, "good.pem");
    let size = gnomon.get(&path, "").body.len();
    let nginx = Nginx::start(size);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(cost(&gnomon.url(&path), "", || cpu(gnomon.pid())));
        theirs.push(cost(&nginx.url("http"), "", || nginx.cpu()));
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!(
        "sealed OCSP answer ({size} octets): {:.1} us of CPU; nginx, a static file of that size: {:.1} us; \
         {:.2} times nginx's requests per CPU-second (at least 1.2 wanted)",
        ours * 1e6,
        theirs * 1e6,
        theirs / ours
    );
}

fn tokens_against_signatures(gnomon: &Gnomon) {
    let query = gnomon.dir.path("bench.tsq");
    let digest = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    run(
        "openssl",
        &[
            "ts", "-query", "-digest", digest, "-sha256", "-cert", "-out", &query,
        ],
    );
    let ecdsa = EcdsaKeyPair::from_pkcs8(
        &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
        &key(gnomon, "tsu-ecdsa.key"),
    )
    .unwrap();
    let rsa = rsa::KeyPair::from_pkcs8(&key(gnomon, "tsu-rsa.key")).unwrap();
    let random = SystemRandom::new();
    let message = [7; 200];
    let mut out = vec![0; rsa.public_modulus_len()];
    let post = format!(
        "wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/timestamp-query'\n\
         local f = io.open('{query}', 'rb')\nwrk.body = f:read('*a')\nf:close()\n"
    );
    let (mut tokens, mut signatures) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let mut journal = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (index, path) in ["/tsa/ecdsa", "/tsa/rsa"].into_iter().enumerate() {
            let before = journal_cpu(gnomon.pid());
            let total = cpu(gnomon.pid());
            let each = cost(&gnomon.url(path), &post, || cpu(gnomon.pid()));
            let share = (journal_cpu(gnomon.pid()) - before) / (cpu(gnomon.pid()) - total);
            tokens[index].push(each);
            journal[index].push(share * each);
        }
        signatures[0].push(raw(|| {
            let _ = ecdsa.sign(&random, &message).unwrap();
        }));
        signatures[1].push(raw(|| {
            rsa.sign(&signature::RSA_PKCS1_SHA256, &random, &message, &mut out)
                .unwrap()
        }));
    }
    let wanted = ["2.3", "1.05"];
    for (index, name) in ["P-256", "RSA-3072"].into_iter().enumerate() {
        let (token, signature) = (
            median(tokens[index].clone()),
            median(signatures[index].clone()),
        );
        println!(
            "{name} token, recorded: {:.1} us of CPU, of which {:.1} us in the journal's two threads; one raw signature: \
             {:.1} us; {:.2} times (at most {} wanted)",
            token * 1e6,
            median(journal[index].clone()) * 1e6,
            signature * 1e6,
            token / signature,
            wanted[index]
        );
    }
}

/// CPU seconds of one call, on this thread.
fn raw(mut call: impl FnMut()) -> f64 {
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let (start, mut count) = (now(), 0);
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        call();
        count += 1;
    }
    (now() - start) / f64::from(count)
}

/// CPU seconds that the journal's writer and its log have used.
fn journal_cpu(pid: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let threads = threads.map(|entry| entry.unwrap().path()).filter(|thread| {
        let name = fs::read_to_string(thread.join("comm")).unwrap();
        ["journal", "log"].contains(&name.trim())
    });
    threads.map(|thread| used(&thread.join("stat"))).sum()
}

fn key(gnomon: &Gnomon, name: &str) -> Vec<u8> {
    let pem = fs::read(gnomon.dir.join(name)).unwrap();
    pem_blocks(&pem, "PRIVATE KEY").unwrap().remove(0)
}
