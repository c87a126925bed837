//! What is left of a device's own rate: `cargo build --release -p faulty-pkcs11 && cargo bench --bench pkcs11`.
//!
//! - tokens a second through a device that takes 5 ms for each signature, against N sessions / 5 ms and a bare loop of
//!   C_Sign in N threads, and the 99th percentile of latency with 0.8 N clients;
//! - signatures by one session through the queue, without HTTP, against a bare loop of C_Sign on one thread,
//!   with and without verification; SoftHSM, P-256 and RSA-3072;
//! - calls of C_FindObjects during 10,000 requests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    fs,
    os::unix::process::CommandExt,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use gnomon::{
    io::pkcs11::{self, KeyOnToken, Modules, Opened, TokenChoice, keys::Vault},
    signing::{Share, Signer},
    wire::algorithm::KeyKind,
};
use support::{
    Folder, Gnomon, gnomon, prepare, run, timestamp_query,
    token::{SOFTHSM, Token, faulty},
};

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    // SoftHSM finds its tokens by the environment, so the work is done by this program started once more.
    match std::env::var("GNOMON_BENCH_DIR") {
        Err(_) => start_again(),
        Ok(dir) => {
            through_the_queue();
            through_the_daemon(Path::new(&dir));
        }
    }
}

fn start_again() {
    let dir = Folder::new();
    let token = Token::new(&dir);
    let mut again = Command::new(std::env::current_exe().unwrap());
    again
        .args(["--bench"])
        .env("GNOMON_BENCH_DIR", dir.path(""))
        .env("GNOMON_BENCH_MODULE", faulty());
    let status = token.around(again).arg0("pkcs11").status().unwrap();
    assert!(status.success());
}

fn through_the_queue() {
    const TIME: Duration = Duration::from_secs(2);
    let modules = Modules::default();
    let module = modules.open(Path::new(SOFTHSM)).unwrap();
    let pin = Some("1234".to_owned().into());
    let choice = TokenChoice::Label("gnomon".into());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for (label, kind) in [
        ("p256", KeyKind::P256),
        ("rsa", KeyKind::Rsa { bits: 3072 }),
    ] {
        let vault = Vault::open(&module, choice.clone(), pin.as_ref()).unwrap();
        let public = vault.generate(kind, label, label.as_bytes()).unwrap();
        let on_token = vault.key(label, None).unwrap();
        let open = |verify| {
            let key = KeyOnToken {
                module: SOFTHSM.into(),
                tokens: vec![choice.clone()],
                label: Some(label.into()),
                id: None,
                pin: pin.clone(),
                sessions: 1,
                queue: 8,
                deadline: Duration::from_secs(5),
                verify,
            };
            let opened = pkcs11::open(&modules, &key, &public, None);
            opened.and_then(Opened::present).unwrap()
        };
        let (plain, verifying) = (open(false), open(true));
        let (mut bare, mut queued, mut verified) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..3 {
            bare.push(vault.rate(&on_token, &public, 1, TIME).unwrap());
            queued.push(runtime.block_on(rate(&*plain, TIME)));
            verified.push(runtime.block_on(rate(&*verifying, TIME)));
        }
        let (bare, queued, verified) = (median(bare), median(queued), median(verified));
        println!(
            "{kind}, one session: bare C_Sign {bare:.0}/s; through the queue {queued:.0}/s, {:.2} of it (at least \
             0.85 wanted); with verification {verified:.0}/s, {:.2} of it",
            queued / bare,
            verified / bare
        );
    }
}

/// Signatures a second with as many asked for as there are places where signatures are brief.
async fn rate(signer: &dyn Signer, time: Duration) -> f64 {
    const MESSAGE: &[u8] = b"gnomon keys test";
    let start = Instant::now();
    let one = || async {
        let mut count = 0u32;
        while start.elapsed() < time {
            let permit = signer.permit(Share::Client).await.unwrap();
            signer.sign(permit, MESSAGE).await.unwrap();
            count += 1;
        }
        count
    };
    let (first, second, third, fourth) = tokio::join!(one(), one(), one(), one());
    f64::from(first + second + third + fourth) / start.elapsed().as_secs_f64()
}

fn through_the_daemon(dir: &Path) {
    let module = std::env::var("GNOMON_BENCH_MODULE").unwrap();
    let control = std::env::var("FAULTY_PKCS11_CONTROL").unwrap();
    let calls = || {
        let text = fs::read_to_string(format!("{control}.calls")).unwrap();
        let found = text
            .lines()
            .find_map(|line| line.strip_prefix("C_FindObjects "));
        found.unwrap().parse::<u64>().unwrap()
    };
    let modules = Modules::default();
    let opened = modules.open(Path::new(&module)).unwrap();
    let choice = TokenChoice::Label("gnomon".into());
    let vault = Vault::open(&opened, choice, Some(&"1234".to_owned().into())).unwrap();
    let public = vault.generate(KeyKind::P256, "bare", b"bare").unwrap();
    let on_token = vault.key("bare", None).unwrap();
    for sessions in [4usize, 16, 32] {
        let _ = fs::remove_file(&control);
        let folder = Folder::new();
        let (listen, admin) = prepare(&folder);
        let pin = dir.join("pin");
        let key = folder.path("tsu-ecdsa.key");
        let label = format!("tsu-{sessions}");
        run(
            "softhsm2-util",
            &[
                "--import",
                &key,
                "--token",
                "gnomon",
                "--label",
                &label,
                "--id",
                &format!("{sessions:02}"),
                "--pin",
                "1234",
            ],
        );
        let file = folder.join("gnomon.toml");
        let text = fs::read_to_string(&file).unwrap().replacen(
            "key = \"tsu-ecdsa.key\"",
            &format!(
                "key = {{ module = \"{module}\", token = \"gnomon\", label = \"{label}\", pin_file = \"{}\", \
                 sessions = {sessions}, verify_signatures = false }}",
                pin.display()
            ),
            1,
        );
        fs::write(&file, text).unwrap();
        let command = gnomon(&["serve", "--config", &folder.path("gnomon.toml")]);
        let gnomon = Gnomon::started(command, folder, listen, admin);
        let (query, _) = timestamp_query(&gnomon.dir);
        let script = gnomon.dir.path("load.lua");
        fs::write(
            &script,
            format!("wrk.method = 'POST'\nlocal f = io.open('{query}', 'rb')\nwrk.body = f:read('*a')\nf:close()\n"),
        )
        .unwrap();
        let load = |connections: usize| {
            let connections = connections.to_string();
            run(
                "wrk",
                &[
                    "-t1",
                    "-c",
                    &connections,
                    "-d",
                    "5s",
                    "--latency",
                    "-s",
                    &script,
                    &gnomon.url("/tsa/ecdsa"),
                ],
            )
        };
        load(8);
        if sessions == 4 {
            let before = calls();
            load(64);
            let served = gnomon.metric(&["gnomon_timestamp_responses_total", "granted", "ecdsa"]);
            println!(
                "C_FindObjects during {served:.0} requests: {}",
                calls() - before
            );
        }
        fs::write(&control, "delay 5").unwrap();
        let bare = vault
            .rate(&on_token, &public, sessions, Duration::from_secs(3))
            .unwrap();
        let said = load(sessions * 4);
        let line = |name: &str| {
            said.lines()
                .find(|line| line.contains(name))
                .unwrap_or("?")
                .trim()
                .to_owned()
        };
        let rate: f64 = line("Requests/sec:")
            .split_whitespace()
            .last()
            .unwrap()
            .parse()
            .unwrap();
        let limit = sessions as f64 / 0.005;
        let p99 = load(sessions * 8 / 10);
        let p99 = p99
            .lines()
            .find(|line| line.contains("99%"))
            .unwrap()
            .trim()
            .to_owned();
        println!(
            "{sessions} sessions at 5 ms: {rate:.0} tokens/s, {:.2} of {limit:.0} (at least 0.95 wanted) and {:.2} of bare \
             C_Sign in as many threads, {bare:.0}/s; {} clients: {p99}",
            rate / limit,
            rate / bare,
            sessions * 8 / 10
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
