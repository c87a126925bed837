//! Keys on a token: SoftHSM for every mechanism, verified by OpenSSL, and SoftHSM behind a module with faults on
//! demand. A device in trouble costs refusals, never a wrong or lost token, and is used again without a
//! restart.

mod support;

use std::{
    fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use cms::{content_info::ContentInfo, signed_data::SignedData};
use der::{Decode, Encode};
use gnomon::wire::{
    algorithm::SignatureAlgorithm,
    certificate::Certificate,
    tlv::{Reader, tag},
};
use support::{
    Folder, Gnomon, gnomon, http, issue_tsu, prepare, run,
    stamps::{granted, openssl_verifies},
    text, timestamp_query,
    token::{SOFTHSM, Token, faulty},
    wait_for,
};

fn verify(gnomon: &Gnomon, query: &str, response: &[u8]) {
    let file = gnomon.dir.path("verify.tsr");
    fs::write(&file, response).unwrap();
    openssl_verifies(&gnomon.dir, query, &file);
}

#[test]
fn every_mechanism_signs_what_openssl_verifies() {
    let rsa: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"];
    let kinds: [(&str, &[&str], Option<&str>); 7] = [
        (
            "p256",
            &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            None,
        ),
        (
            "p384",
            &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
            None,
        ),
        ("rsa256", rsa, None),
        ("rsa512", rsa, Some("rsa-sha512")),
        ("pss256", rsa, Some("rsa-pss-sha256")),
        ("pss384", rsa, Some("rsa-pss-sha384")),
        ("ed25519", &["-algorithm", "ED25519"], None),
    ];
    let dir = Folder::new();
    prepare(&dir);
    let token = Token::new(&dir);
    let mut config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    for (index, (name, algorithm, signature)) in kinds.iter().enumerate() {
        issue_tsu(&dir, name, algorithm);
        token.import(&dir, name, &format!("0{index}"));
        let signature = signature.map_or(String::new(), |name| format!("signature = \"{name}\"\n"));
        config += &format!(
            "\n[[tsu]]\nname = \"{name}\"\ndemo = true\n{signature}certificate = \"{name}.pem\"\n\
             chain = \"issuing.pem\"\npolicies = [\"1.2.3.{index}\"]\n\
             key = {{ module = \"{SOFTHSM}\", token = \"gnomon\", label = \"{name}\", id = \"0{index}\", pin_file = \"pin\" }}\n"
        );
    }
    // The responder's key is on the token too.
    token.import(&dir, "ocsp", "0a");
    let on_token = format!(
        "key = {{ module = \"{SOFTHSM}\", token = \"gnomon\", id = \"0A\", pin_env = \"TEST_PIN\" }}"
    );
    assert!(config.contains("key = \"ocsp.key\""));
    let config = config.replace("key = \"ocsp.key\"", &on_token);
    let mut with_pin = Command::new("env");
    with_pin.arg("TEST_PIN=1234");
    let (listen, admin) = (support::free_port(), support::free_port());
    let config = config
        .lines()
        .map(|line| match line {
            line if line.starts_with("listen = ") => format!("listen = [\"{listen}\"]\n"),
            line if line.starts_with("admin = ") => format!("admin = \"{admin}\"\n"),
            line => format!("{line}\n"),
        })
        .collect::<String>();
    fs::write(dir.join("gnomon.toml"), config).unwrap();
    with_pin.args([
        env!("CARGO_BIN_EXE_gnomon"),
        "serve",
        "--config",
        &dir.path("gnomon.toml"),
    ]);
    let gnomon = Gnomon::started(token.around(with_pin), dir, listen, admin);
    let (file, body) = timestamp_query(&gnomon.dir);
    for (name, ..) in kinds {
        let response = gnomon.post(&format!("/tsa/{name}"), "", &body);
        assert!(granted(&response.body), "{name}");
        let (reply, token) = (gnomon.dir.path("r.tsr"), gnomon.dir.path("r.der"));
        fs::write(&reply, &response.body).unwrap();
        run(
            "openssl",
            &["ts", "-reply", "-in", &reply, "-token_out", "-out", &token],
        );
        match name {
            // OpenSSL 3.0 verifies no Ed25519 in CMS; gnomon verified the signature before it left.
            "ed25519" => {}
            name if name.starts_with("pss") => {
                let chain = gnomon.dir.path("chain.pem");
                run(
                    "openssl",
                    &[
                        "cms",
                        "-verify",
                        "-inform",
                        "DER",
                        "-in",
                        &token,
                        "-CAfile",
                        &chain,
                        "-purpose",
                        "timestampsign",
                        "-binary",
                        "-out",
                        &gnomon.dir.path("out"),
                    ],
                );
            }
            _ => verify(&gnomon, &file, &response.body),
        }
    }
    let said = gnomon.ask("good.pem", &[]);
    assert!(said.contains("Response verify OK"), "{said}");
}

/// The demo's default TSU on the token behind the faulty module.
fn faulty_gnomon(more: &str) -> (Gnomon, Token) {
    let dir = Folder::new();
    prepare(&dir);
    let token = Token::new(&dir);
    token.import(&dir, "tsu-ecdsa", "01");
    let config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    let on_token = format!(
        "key = {{ module = \"{}\", token = \"gnomon\", label = \"tsu-ecdsa\", pin_file = \"pin\", {more} }}",
        faulty().display()
    );
    let gnomon = token.serve(
        dir,
        &config.replacen("key = \"tsu-ecdsa.key\"", &on_token, 1),
    );
    (gnomon, token)
}

fn is_ready(gnomon: &Gnomon) -> bool {
    let request = b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    http(gnomon.admin, request).status == 200
}

fn verify_signature(response: &[u8], certificate: &Certificate) {
    let mut fields = Reader::whole(response, tag::SEQUENCE).unwrap().reader();
    fields.expect(tag::SEQUENCE).unwrap();
    let info = ContentInfo::from_der(fields.rest()).unwrap();
    let signed = info.content.decode_as::<SignedData>().unwrap();
    let signer = &signed.signer_infos.0.as_slice()[0];
    let attributes = signer.signed_attrs.as_ref().unwrap().to_der().unwrap();
    let signature = signer.signature.as_bytes();
    let key = certificate.public_key();
    assert!(SignatureAlgorithm::EcdsaSha256.verify(key, &attributes, signature));
}

#[test]
fn every_fault_costs_refusals_and_nothing_else() {
    let (gnomon, token) = faulty_gnomon("sessions = 4, deadline = \"2s\"");
    let (file, body) = timestamp_query(&gnomon.dir);
    let request = format!(
        "POST /tsa HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let request = Arc::new([request.as_bytes(), &body].concat());
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (stop, request, address) = (Arc::clone(&stop), Arc::clone(&request), gnomon.listen);
            thread::spawn(move || {
                let mut answers = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    // Every request gets an answer: `http` fails the test otherwise.
                    answers.push(http(address, &request));
                }
                answers
            })
        })
        .collect();
    let count =
        |outcome: &str| gnomon.metric(&["gnomon_timestamp_responses_total", outcome, "ecdsa"]);
    // DEVICE_ERROR, DEVICE_REMOVED, SESSION_HANDLE_INVALID, TOKEN_NOT_PRESENT, USER_NOT_LOGGED_IN,
    // GENERAL_ERROR, FUNCTION_FAILED (PKCS #11 2.40, 5.1), the loss of all sessions, and signatures that are wrong.
    for fault in [
        "fail 48 6",
        "fail 50 6",
        "fail 179 6",
        "fail 224 6",
        "fail 257 6",
        "fail 5 6",
        "fail 6 6",
        "lose 3",
        "corrupt 6",
    ] {
        let (failed, issued) = (count("systemFailure"), count("granted"));
        token.order(fault);
        wait_for(&format!("refusals after {fault}"), || {
            (count("systemFailure") > failed).then_some(())
        });
        wait_for(&format!("tokens after {fault}"), || {
            (count("granted") > issued + 50.0).then_some(())
        });
    }
    // No signature at all, then no session either, and at last all is well again.
    token.order("fail 179 1000000");
    wait_for("no session left", || (!is_ready(&gnomon)).then_some(()));
    token.order("dead 48");
    assert!(!is_ready(&gnomon));
    let serving = || gnomon.metric(&["gnomon_pkcs11_sessions_serving", "tsa", "ecdsa"]);
    assert_eq!((serving(), gnomon.metric(&["gnomon_ready"])), (0.0, 0.0));
    assert!(gnomon.metric(&["gnomon_pkcs11_failures_total", "tsa", "ecdsa"]) >= 8.0);
    token.order("");
    wait_for("every session", || (serving() == 4.0).then_some(()));
    wait_for("readiness", || is_ready(&gnomon).then_some(()));
    stop.store(true, Ordering::Relaxed);
    let mut tokens = 0;
    let certificate = fs::read(gnomon.dir.join("tsu-ecdsa.pem")).unwrap();
    let certificate = Certificate::read_all(&certificate).unwrap().remove(0);
    for client in clients {
        for answer in client.join().unwrap() {
            assert!(matches!(answer.status, 200 | 503), "{}", answer.status);
            if granted(&answer.body) {
                tokens += 1;
                // Each signature is verified here, and each tenth token by OpenSSL as a whole.
                verify_signature(&answer.body, &certificate);
                if tokens % 10 == 0 {
                    verify(&gnomon, &file, &answer.body);
                }
            }
        }
    }
    assert!(tokens > 400, "{tokens}");
}

#[test]
fn a_hanging_device_is_left_behind_and_the_rest_goes_on() {
    let (gnomon, token) = faulty_gnomon("sessions = 2, deadline = \"2s\"");
    let (file, body) = timestamp_query(&gnomon.dir);
    let ask = || gnomon.ask("good.pem", &["-no_nonce"]);
    ask();
    token.order("hang");
    // Two are stuck, and each is answered by its deadline; then nobody waits.
    for _ in 0..2 {
        let response = gnomon.post("/tsa/ecdsa", "", &body);
        assert!(
            response.body.ends_with(&[3, 5, 6, 0, 0, 0, 0x40]),
            "systemFailure"
        );
    }
    assert!(!is_ready(&gnomon));
    let start = Instant::now();
    assert!(!granted(&gnomon.post("/tsa/ecdsa", "", &body).body));
    assert!(
        start.elapsed() < Duration::from_millis(1500),
        "refused at once"
    );
    assert!(
        granted(&gnomon.post("/tsa/rsa", "", &body).body),
        "another key is not touched"
    );
    assert!(ask().contains("good.pem: good"));
    token.order("");
    wait_for("the device's return", || is_ready(&gnomon).then_some(()));
    verify(&gnomon, &file, &gnomon.post("/tsa/ecdsa", "", &body).body);
    // And the stop does not wait for a call that never returns.
    token.order("hang");
    gnomon.post("/tsa/ecdsa", "", &body);
    let _dir = gnomon.stops_in_time();
}

#[test]
fn whom_neither_the_device_nor_its_queue_has_room_for_is_told_at_once() {
    let (gnomon, token) = faulty_gnomon("sessions = 1, queue = 1");
    let (_, body) = timestamp_query(&gnomon.dir);
    // Not brief, so that two have a place at the session: one that is signed and one that waits.
    token.order("delay 5");
    let ask = || gnomon.post("/tsa/ecdsa", "", &body);
    assert!(granted(&ask().body));
    token.order("hang");
    let refused = AtomicUsize::new(0);
    let ask = || {
        let answer = ask();
        if answer.status == 503 {
            refused.fetch_add(1, Ordering::Relaxed);
        }
        answer
    };
    let answers: Vec<_> = thread::scope(|scope| {
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        // Well before the one in the queue has waited for long enough.
        let start = Instant::now();
        wait_for("the refusals", || {
            (refused.load(Ordering::Relaxed) == 5).then_some(())
        });
        assert!(start.elapsed() < Duration::from_millis(1500));
        token.order("");
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let served = answers.iter().filter(|answer| granted(&answer.body));
    assert_eq!(served.count(), 3);
}

#[test]
fn nothing_is_looked_up_after_the_start_and_one_login_serves_all_sessions() {
    let (gnomon, token) = faulty_gnomon("sessions = 4");
    let (_, body) = timestamp_query(&gnomon.dir);
    assert!(granted(&gnomon.post("/tsa/ecdsa", "", &body).body));
    let before = token.calls("C_FindObjects");
    assert!(before > 0);
    for _ in 0..500 {
        assert!(granted(&gnomon.post("/tsa/ecdsa", "", &body).body));
    }
    assert_eq!(token.calls("C_FindObjects"), before);
    assert_eq!(token.calls("C_Login"), 1);
    assert!(token.calls("C_Sign") >= 501);
}

#[test]
fn a_pin_that_was_mended_is_taken_up_by_a_reload() {
    let (gnomon, token) = faulty_gnomon("sessions = 1");
    let (_, body) = timestamp_query(&gnomon.dir);
    let is_granted = || granted(&gnomon.post("/tsa/ecdsa", "", &body).body);
    let reload = || {
        let reloads = || gnomon.metric(&["gnomon_reloads_total", "done"]);
        let before = reloads();
        gnomon.signal("HUP");
        wait_for("a reload", || (reloads() > before).then_some(()));
    };
    let give = |pin: &str| {
        fs::write(gnomon.dir.join("pin"), pin).unwrap();
        reload();
    };
    assert!(is_granted());
    // Nobody asks for the PIN while the token is logged in to, and a PIN that nobody can read is no other one.
    run("chmod", &["644", &gnomon.dir.path("pin")]);
    give("1111\n");
    run("chmod", &["600", &gnomon.dir.path("pin")]);
    give("9999\n");
    assert!(is_granted());
    assert_eq!(token.calls("C_Login"), 1);
    // The module is started anew, and then the PIN is wanted.
    token.order("fail 48 1000000");
    assert!(!is_granted());
    wait_for("a login", || (token.calls("C_Login") > 1).then_some(()));
    token.order("");
    let failures = || gnomon.metric(&["gnomon_pkcs11_failures_total", "tsa", "ecdsa"]);
    let before = failures();
    wait_for("another attempt", || {
        (failures() > before + 1.0).then_some(())
    });
    assert!(!is_granted());
    give("9999\n");
    assert!(!is_granted());
    assert_eq!(token.calls("C_Login"), 2, "a PIN is tried once");
    give("1234\n");
    assert!(is_granted());
    assert_eq!(token.calls("C_Login"), 3);
}

#[test]
fn what_is_wrong_with_a_token_is_said_and_a_wrong_pin_is_tried_once() {
    let dir = Folder::new();
    prepare(&dir);
    let token = Token::new(&dir);
    token.import(&dir, "tsu-ecdsa", "01");
    token.import(&dir, "tsu-rsa", "02");
    let config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    fs::write(dir.join("wrong-pin"), "9999\n").unwrap();
    fs::write(dir.join("open-pin"), "1234\n").unwrap();
    run("chmod", &["600", &dir.path("wrong-pin")]);
    run("chmod", &["644", &dir.path("open-pin")]);
    let module = faulty();
    let module = module.display();
    for (key, expected) in [
        (
            format!(
                "module = \"{module}\", token = \"gnomon\", label = \"tsu-ecdsa\", pin_file = \"wrong-pin\""
            ),
            "the PIN was refused",
        ),
        (
            format!(
                "module = \"{module}\", token = \"gnomon\", label = \"tsu-ecdsa\", pin_file = \"open-pin\""
            ),
            "can be read by others than its owner (mode 644)",
        ),
        (
            format!(
                "module = \"{module}\", token = \"gnomon\", label = \"tsu-ecdsa\", pin_env = \"NOT_SET\""
            ),
            "the environment variable NOT_SET",
        ),
        (
            format!(
                "module = \"{module}\", token = \"gnomon\", label = \"tsu-ecdsa\", pin_credential = \"pin\""
            ),
            "LoadCredential=pin:FILE",
        ),
        (
            format!(
                "module = \"{module}\", token = \"gnomon\", label = \"nobody\", pin_file = \"pin\""
            ),
            "token `gnomon`: no private key labelled `nobody`",
        ),
        (
            format!(
                "module = \"{module}\", token = \"gnomon\", label = \"tsu-rsa\", pin_file = \"pin\""
            ),
            "the key does not belong to the certificate",
        ),
        (
            format!(
                "module = \"{module}\", token = \"other\", label = \"tsu-ecdsa\", pin_file = \"pin\""
            ),
            "token `other`: no such token",
        ),
        (
            "module = \"nowhere.so\", token = \"gnomon\", label = \"x\", pin_file = \"pin\"".into(),
            "the PKCS #11 module cannot be loaded",
        ),
        (
            format!("module = \"{module}\", token = \"gnomon\", pin_file = \"pin\""),
            "neither label nor id",
        ),
        (
            format!("module = \"{module}\", label = \"x\", pin_file = \"pin\""),
            "no token; name it",
        ),
        (
            format!(
                "module = \"{module}\", token = \"gnomon\", label = \"x\", pin_file = \"pin\", pin_env = \"PIN\""
            ),
            "several of pin_file, pin_credential and pin_env",
        ),
    ] {
        let _ = fs::remove_file(format!("{}.calls", token.control));
        let file = dir.path("wrong.toml");
        fs::write(
            &file,
            config.replacen("key = \"tsu-ecdsa.key\"", &format!("key = {{ {key} }}"), 1),
        )
        .unwrap();
        let output = token
            .around(gnomon(&["check", "--config", &file]))
            .output()
            .unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(1), "{key}: {said}");
        assert!(
            said.contains("tsu[0].key") && said.contains(expected),
            "{key}: {said}"
        );
        assert!(token.calls("C_Login") <= 1, "{key}: a PIN is tried once");
        assert!(
            !said.contains("9999") && !said.contains("1234"),
            "no PIN in a message: {said}"
        );
    }
}
