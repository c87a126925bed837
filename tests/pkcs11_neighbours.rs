//! One key's device in trouble beside keys that are well: those are served, at the start and later, and the process ends
//! only where no key signs. Two keys on one device share it, and neither takes the other's places.

mod support;

use std::{
    fs::{self, File},
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use support::{
    Folder, Gnomon, gnomon, ocsp_query, prepare, run,
    stamps::granted,
    systemd::{PATIENCE, Systemd},
    text, timestamp_query,
    token::{Token, faulty},
    wait_for,
};

/// tryLater (RFC 6960 4.2.1).
const TRY_LATER: [u8; 5] = [0x30, 3, 0x0a, 1, 3];

/// The demo, with all its keys also on a token, and the configuration that says which are used there.
struct Site {
    dir: Folder,
    token: Token,
    config: String,
    listen: SocketAddr,
    admin: SocketAddr,
}

impl Site {
    fn new() -> Self {
        let dir = Folder::new();
        let (listen, admin) = prepare(&dir);
        let token = Token::new(&dir);
        for (name, id) in [("tsu-ecdsa", "01"), ("tsu-rsa", "02"), ("ocsp", "03")] {
            token.import(&dir, name, id);
        }
        let config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
        Self {
            dir,
            token,
            config,
            listen,
            admin,
        }
    }

    /// Has a key used on the token, behind the faulty module.
    fn on_token(mut self, name: &str, fields: &str) -> Self {
        let key = format!(
            "key = {{ module = \"{}\", label = \"{name}\", {fields} }}",
            faulty().display()
        );
        let file = format!("key = \"{name}.key\"");
        assert!(self.config.contains(&file));
        self.config = self.config.replacen(&file, &key, 1);
        self
    }

    /// Leaves nothing but the TSU `ecdsa`.
    fn alone(mut self) -> Self {
        let end = self.config.find("[[tsu]]\nname = \"rsa\"").unwrap();
        self.config.truncate(end);
        self
    }

    /// Serves it, with its log in a file.
    fn serve(self) -> (Gnomon, Token) {
        fs::write(self.dir.join("gnomon.toml"), self.config).unwrap();
        let command = gnomon(&["serve", "--config", &self.dir.path("gnomon.toml")]);
        let mut command = self.token.around(command);
        command.stderr(File::create(self.dir.join("log")).unwrap());
        let gnomon = Gnomon::started(command, self.dir, self.listen, self.admin);
        (gnomon, self.token)
    }
}

const HERE: &str = "token = \"gnomon\", pin_file = \"pin\"";

fn serving(gnomon: &Gnomon, service: &str) -> f64 {
    gnomon.metric(&["gnomon_pkcs11_sessions_serving", service])
}

#[test]
fn the_watchdog_starves_while_no_key_signs_and_none_can_come_back() {
    let mut site = Site::new()
        .on_token(
            "tsu-ecdsa",
            &format!("{HERE}, sessions = 2, deadline = \"1s\""),
        )
        .alone();
    let systemd = Systemd::listen(&site.dir);
    site.token.environment = Systemd::environment(&site.dir);
    let (gnomon, token) = site.serve();
    assert_eq!(systemd.hears(PATIENCE).unwrap(), "READY=1");
    assert_eq!(systemd.hears(PATIENCE).unwrap(), "WATCHDOG=1");
    let (_, body) = timestamp_query(&gnomon.dir);
    token.order("hang");
    for _ in 0..2 {
        assert!(!granted(&gnomon.post("/tsa", "", &body).body));
    }
    // Whatever was said before the second one was given up is taken out, and then nothing more comes.
    systemd.hears_nothing_more();
    assert_eq!(gnomon.ready().0, 503, "what needs no key goes on");
    token.order("");
    assert_eq!(systemd.hears(PATIENCE).unwrap(), "WATCHDOG=1");
}

#[test]
fn the_watchdog_is_fed_while_another_key_signs() {
    let fields = format!("{HERE}, sessions = 2, deadline = \"1s\"");
    let mut site = Site::new().on_token("tsu-ecdsa", &fields);
    let systemd = Systemd::listen(&site.dir);
    site.token.environment = Systemd::environment(&site.dir);
    let (gnomon, token) = site.serve();
    let (_, body) = timestamp_query(&gnomon.dir);
    token.order("hang");
    for _ in 0..2 {
        assert!(!granted(&gnomon.post("/tsa/ecdsa", "", &body).body));
    }
    assert_eq!(serving(&gnomon, "tsa"), 0.0);
    // Its calls have been inside for longer than their deadline, and go on to be.
    systemd.forgets();
    for _ in 0..5 {
        assert_eq!(systemd.hears(PATIENCE).unwrap(), "WATCHDOG=1");
    }
    assert!(granted(&gnomon.post("/tsa/rsa", "", &body).body));
    let (status, why) = gnomon.ready();
    assert!(
        status == 503 && why.contains("tsu `ecdsa`: its key cannot be reached"),
        "{why}"
    );
    token.order("");
}

#[test]
fn a_start_serves_the_keys_that_are_there_and_goes_on_trying_the_others() {
    for (order, why) in [
        // CKR_TOKEN_NOT_PRESENT; calls that do not come back; CKR_DEVICE_ERROR before there is any session.
        ("dead 224", "token `gnomon`: C_OpenSession gave"),
        ("hang", "token `gnomon`: its calls do not come back"),
        ("fail-initialize 48", "C_Initialize gave DeviceError"),
    ] {
        let fields = format!("{HERE}, sessions = 2, deadline = \"500ms\"");
        let site = Site::new().on_token("tsu-ecdsa", &fields);
        site.token.order(order);
        let (gnomon, token) = site.serve();
        let (_, body) = timestamp_query(&gnomon.dir);
        let is_granted = |tsu: &str| granted(&gnomon.post(tsu, "", &body).body);
        assert!(is_granted("/tsa/rsa") && !is_granted("/tsa/ecdsa"));
        assert!(gnomon.ask("good.pem", &[]).contains("good.pem: good"));
        let (status, said) = gnomon.ready();
        assert!(
            status == 503 && said.contains("tsu `ecdsa`: its key cannot be reached"),
            "{order}: {said}"
        );
        let log = fs::read_to_string(gnomon.dir.join("log")).unwrap();
        // One line has it all, and none before it.
        let line = log.lines().find(|line| line.contains(" GN130")).unwrap();
        assert!(line.contains(" GN1303 "), "{line}");
        assert!(line.contains("tsu[0].key") && line.contains(why), "{line}");
        // Two seconds and a half are waited for one that hangs.
        let is_told = log.contains("token `gnomon`: has not signed yet");
        assert_eq!(is_told, order == "hang", "{order}");
        token.order("");
        wait_for("the key's return", || {
            (gnomon.ready().0 == 200).then_some(())
        });
        assert!(is_granted("/tsa/ecdsa"));
        let log = fs::read_to_string(gnomon.dir.join("log")).unwrap();
        assert!(log.contains(" GN1301 token `gnomon`: signs again"), "{log}");
    }
}

#[test]
fn a_reload_is_refused_while_a_new_key_is_away_and_else_refuses_nobody() {
    let (gnomon, token) = Site::new().on_token("tsu-ecdsa", HERE).serve();
    let is_answered = || gnomon.ask("good.pem", &[]).contains("good.pem: good");
    token.order("dead 224");
    let file = gnomon.dir.join("gnomon.toml");
    let config = fs::read_to_string(&file).unwrap();
    let key = format!(
        "key = {{ module = \"{}\", label = \"ocsp\", {HERE} }}",
        faulty().display()
    );
    fs::write(&file, config.replacen("key = \"ocsp.key\"", &key, 1)).unwrap();
    gnomon.signal("HUP");
    let reloads = |outcome: &str| gnomon.metric(&["gnomon_reloads_total", outcome]);
    wait_for("the refusal", || (reloads("refused") == 1.0).then_some(()));
    assert!(is_answered());
    // Long enough for sessions that are opened only now to be seen missing.
    token.order("delay 500");
    gnomon.signal("HUP");
    wait_for("the reload", || (reloads("done") == 1.0).then_some(()));
    assert!(is_answered());
}

#[test]
fn a_start_fails_where_no_key_can_sign_or_somebody_must_mend_one() {
    let start = |order: &str, tokens: &str, pin: &str, is_alone: bool| {
        let fields = format!("tokens = [{tokens}], pin_file = \"{pin}\", deadline = \"200ms\"");
        let site = Site::new().on_token("tsu-ecdsa", &fields);
        let site = if is_alone { site.alone() } else { site };
        fs::write(site.dir.join("wrong-pin"), "9999\n").unwrap();
        run("chmod", &["600", &site.dir.path("wrong-pin")]);
        site.token.order(order);
        fs::write(site.dir.join("gnomon.toml"), &site.config).unwrap();
        let command = gnomon(&["serve", "--config", &site.dir.path("gnomon.toml")]);
        let output = site.token.around(command).output().unwrap();
        (output.status.code().unwrap(), text(&output))
    };
    let (here, away) = ("\"gnomon\"", "\"elsewhere\"");
    let (here_first, away_first) = (format!("{here}, {away}"), format!("{away}, {here}"));
    for (order, tokens, pin, status, expected) in [
        // CKR_TOKEN_NOT_PRESENT, and a token that nobody sees.
        ("dead 224", here, "pin", 1, "TokenNotPresent"),
        ("", away, "pin", 1, "no such token"),
        ("hang", here, "pin", 1, "its calls do not come back"),
        ("fail-initialize 48", here, "pin", 1, "C_Initialize gave"),
        ("", here, "wrong-pin", 78, "the PIN was refused"),
        // CKR_DEVICE_ERROR, which may stand for a wrong PIN, also where another token is only away.
        ("fail-login 48", here, "pin", 78, "C_Login gave DeviceError"),
        ("fail-login 48", &here_first, "pin", 78, "C_Login gave"),
        ("fail-login 48", &away_first, "pin", 78, "C_Login gave"),
    ] {
        // What may pass stops a start only where there is nothing else to serve.
        let said = start(order, tokens, pin, status == 1);
        assert!(
            said.0 == status && said.1.contains(expected),
            "{order}: {said:?}"
        );
    }
}

/// Requests about `good.pem` with a nonce, without end and from `clients` at once, for as long as `during` runs. Gives how
/// many were answered, as far as `is_fine` says.
fn under_status_load<T>(
    gnomon: &Gnomon,
    clients: usize,
    is_fine: impl Fn(&[u8]) -> bool + Sync,
    during: impl FnOnce() -> T,
) -> (usize, T) {
    let file = gnomon.dir.path("nonce.ocsp");
    let (issuer, good) = (gnomon.dir.path("issuing.pem"), gnomon.dir.path("good.pem"));
    let about = ["-issuer", &issuer, "-cert", &good, "-reqout", &file];
    run("openssl", &[&["ocsp", "-nonce"], &about[..]].concat());
    let (request, stop) = (fs::read(file).unwrap(), AtomicBool::new(false));
    let answered = AtomicUsize::new(0);
    let ask = || {
        while !stop.load(Ordering::Relaxed) {
            let answer = gnomon.post("/ocsp", "application/ocsp-request", &request);
            assert!(is_fine(&answer.body), "{:?}", answer.body);
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    let result = thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(ask);
        }
        // Also where it panics, or nobody would see why.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(during));
        stop.store(true, Ordering::Relaxed);
        result
    });
    let result = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    (answered.into_inner(), result)
}

/// OCSPResponse of status successful.
fn is_signed(answer: &[u8]) -> bool {
    answer.windows(5).take(5).any(|at| at[..3] == [0x0a, 1, 0])
}

#[test]
fn a_flood_of_status_requests_keeps_no_time_stamp_from_the_same_device() {
    let fields = format!("{HERE}, sessions = 2");
    let site = Site::new()
        .on_token("tsu-ecdsa", &fields)
        .on_token("ocsp", &fields);
    let (gnomon, token) = site.serve();
    let (_, body) = timestamp_query(&gnomon.dir);
    token.order("delay 5");
    // Many more than the responder's key has places.
    let (answered, slowest) = under_status_load(&gnomon, 24, is_signed, || {
        let times = (0..100).map(|_| {
            let start = Instant::now();
            let answer = gnomon.post("/tsa/ecdsa", "", &body);
            assert!(granted(&answer.body), "{}", answer.status);
            start.elapsed()
        });
        times.max().unwrap()
    });
    assert!(answered > 100, "{answered}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let refused = ["gnomon_timestamp_responses_total", "busy", "ecdsa"];
    assert_eq!(gnomon.metric(&refused), 0.0);
}

#[test]
fn what_a_responder_has_signed_is_given_out_while_its_device_is_in_trouble() {
    let fields = format!("{HERE}, sessions = 2, deadline = \"2s\"");
    let site = Site::new().on_token("ocsp", &fields);
    let (gnomon, token) = site.serve();
    let (_, body) = timestamp_query(&gnomon.dir);
    let about = |name: &str| ocsp_query(&gnomon.dir, name).1;
    let (good, revoked) = (about("good.pem"), about("revoked.pem"));
    let ask = |request: &[u8]| {
        gnomon
            .post("/ocsp", "application/ocsp-request", request)
            .body
    };
    assert!(is_signed(&ask(&good)));
    let is_fine = |answer: &[u8]| answer == TRY_LATER || is_signed(answer);
    under_status_load(&gnomon, 8, is_fine, || {
        // CKR_DEVICE_ERROR, and calls that do not come back.
        for order in ["fail 48 1000000", "hang"] {
            token.order("");
            wait_for("both sessions", || {
                (serving(&gnomon, "ocsp") == 2.0).then_some(())
            });
            token.order(order);
            // By its deadline while there is a session, and at once when there is none.
            let start = Instant::now();
            assert_eq!(ask(&revoked), TRY_LATER, "{order}");
            assert!(start.elapsed() < Duration::from_secs(4), "{order}");
            wait_for("no session", || {
                (serving(&gnomon, "ocsp") == 0.0).then_some(())
            });
            let start = Instant::now();
            assert_eq!(ask(&revoked), TRY_LATER, "{order}");
            assert!(start.elapsed() < Duration::from_millis(1500), "{order}");
            assert!(is_signed(&ask(&good)), "{order}");
            assert!(gnomon.ask("good.pem", &["-no_nonce"]).contains(": good"));
            assert!(granted(&gnomon.post("/tsa", "", &body).body), "{order}");
            let (status, why) = gnomon.ready();
            assert!(
                status == 503 && why.contains("a responder's key cannot be reached"),
                "{order}: {why}"
            );
        }
    });
    let _dir = gnomon.stops_in_time();
}

#[test]
fn a_module_that_only_a_new_start_brings_back_is_started_anew() {
    let fields = format!("{HERE}, sessions = 2");
    let (gnomon, token) = Site::new().on_token("tsu-ecdsa", &fields).serve();
    let (_, body) = timestamp_query(&gnomon.dir);
    let is_granted = || granted(&gnomon.post("/tsa/ecdsa", "", &body).body);
    assert!(is_granted());
    let before = token.calls("C_Initialize");
    assert_eq!(before, 1);
    token.order("dead-until-initialize 48");
    assert!(!is_granted());
    wait_for("tokens again", || is_granted().then_some(()));
    wait_for("both sessions", || {
        (serving(&gnomon, "tsa") == 2.0).then_some(())
    });
    assert!(token.calls("C_Initialize") > before);
}
