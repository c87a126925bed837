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

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa,
    signature::{self, EcdsaKeyPair},
};
use gnomon::wire::certificate::pem_blocks;
use support::{Folder, Gnomon, free_port, run, wait_for};

const ROUNDS: usize = 5;
const SECONDS: u64 = 4;

fn main() {
    // `cargo test --benches` and `cargo bench -- --test` only ask whether it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let gnomon = Gnomon::demo();
    println!(
        "idle resident memory: {:.1} MB",
        resident_kib(gnomon.pid()) as f64 * 1.024 / 1000.0
    );
    sealed_against_nginx(&gnomon);
    tokens_against_signatures(&gnomon);
}

fn sealed_against_nginx(gnomon: &Gnomon) {
    let request = gnomon.dir.path("request.der");
    let (issuer, good) = (gnomon.dir.path("issuing.pem"), gnomon.dir.path("good.pem"));
    run(
        "openssl",
        &[
            "ocsp",
            "-no_nonce",
            "-issuer",
            &issuer,
            "-cert",
            &good,
            "-reqout",
            &request,
        ],
    );
    let base64 = run("openssl", &["base64", "-A", "-in", &request]);
    let path = format!(
        "/ocsp/{}",
        base64
            .replace('+', "%2B")
            .replace('/', "%2F")
            .replace('=', "%3D")
    );
    let size = gnomon.get(&path, "").body.len();
    let nginx = Nginx::start(size);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(cost(&gnomon.url(&path), None, || cpu(gnomon.pid())));
        theirs.push(cost(&nginx.url(), None, || nginx.cpu()));
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
    let (mut tokens, mut signatures) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let mut journal = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (index, path) in ["/tsa/ecdsa", "/tsa/rsa"].into_iter().enumerate() {
            let before = journal_cpu(gnomon.pid());
            let total = cpu(gnomon.pid());
            let each = cost(&gnomon.url(path), Some(&query), || cpu(gnomon.pid()));
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

/// Server CPU seconds per request under load.
fn cost(url: &str, body: Option<&str>, cpu: impl Fn() -> f64) -> f64 {
    let folder = Folder::new();
    let mut script = String::from(
        "done = function(s) io.write('requests=' .. s.requests .. ' bad=' .. (s.errors.status + s.errors.read + s.errors.timeout + s.errors.connect) .. '\\n') end\n",
    );
    if let Some(body) = body {
        script += &format!(
            "wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/timestamp-query'\n\
             local f = io.open('{body}', 'rb')\nwrk.body = f:read('*a')\nf:close()\n"
        );
    }
    fs::write(folder.join("load.lua"), script).unwrap();
    let duration = format!("{SECONDS}s");
    let before = cpu();
    let said = run(
        "wrk",
        &[
            "-t1",
            "-c64",
            "-d",
            &duration,
            "-s",
            &folder.path("load.lua"),
            url,
        ],
    );
    let used = cpu() - before;
    let number = |name: &str| -> f64 {
        let (_, rest) = said.split_once(name).unwrap_or_else(|| panic!("{said}"));
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    assert_eq!(number("bad="), 0.0, "{said}");
    used / number("requests=")
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

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
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

/// CPU seconds that a process has used.
fn cpu(pid: u32) -> f64 {
    used(Path::new(&format!("/proc/{pid}/stat")))
}

/// CPU seconds by the stat file of a process or a thread.
fn used(stat: &Path) -> f64 {
    let stat = fs::read_to_string(stat).unwrap();
    let fields: Vec<_> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    // utime and stime, in the kernel's ticks of 10 ms (proc(5)).
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn key(gnomon: &Gnomon, name: &str) -> Vec<u8> {
    let pem = fs::read(gnomon.dir.join(name)).unwrap();
    pem_blocks(&pem, "PRIVATE KEY").unwrap().remove(0)
}

/// nginx as Debian configures it (a worker for each core, sendfile, tcp_nopush), without access log and with
/// its cache of open files, serving one file.
struct Nginx {
    master: Child,
    address: SocketAddr,
    dir: Folder,
}

impl Nginx {
    fn start(size: usize) -> Self {
        let (dir, address) = (Folder::new(), free_port());
        fs::write(dir.join("answer"), vec![0x30; size]).unwrap();
        let root = dir.path("");
        let config = format!(
            "daemon off; worker_processes auto; pid {root}pid; error_log {root}error.log;\n\
             events {{ worker_connections 256; }}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;\n\
             open_file_cache max=10; default_type application/ocsp-response;\n\
             client_body_temp_path {root}b; proxy_temp_path {root}p; fastcgi_temp_path {root}f;\n\
             uwsgi_temp_path {root}u; scgi_temp_path {root}s;\n\
             server {{ listen {address}; root {root}; expires 1h; }} }}\n"
        );
        fs::write(dir.join("nginx.conf"), config).unwrap();
        let mut master = Command::new("nginx")
            .args([
                "-p",
                &root,
                "-c",
                &dir.path("nginx.conf"),
                "-e",
                &dir.path("error.log"),
            ])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("nginx", || {
            assert!(master.try_wait().unwrap().is_none(), "nginx ended");
            std::net::TcpStream::connect(address).ok()
        });
        Self {
            master,
            address,
            dir,
        }
    }

    fn url(&self) -> String {
        format!("http://{}/answer", self.address)
    }

    fn cpu(&self) -> f64 {
        let children = format!("/proc/{0}/task/{0}/children", self.master.id());
        let children = fs::read_to_string(children).unwrap();
        children
            .split_whitespace()
            .map(|pid| cpu(pid.parse().unwrap()))
            .sum()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        run("kill", &["-QUIT", &self.master.id().to_string()]);
        let _ = self.master.wait();
        let _ = self.dir.metadata();
    }
}
