//! One key on two tokens: work goes to both, moves off one that is away, and returns when it is back, also where that is
//! without the key at first.

mod support;

use std::fs;

use support::{
    Folder, gnomon, http, prepare, text, timestamp_query,
    token::{Token, faulty},
    wait_for,
};

/// The slot of a token, as `gnomon keys list` tells it.
fn slot(token: &Token, label: &str) -> String {
    let module = faulty().display().to_string();
    let list = gnomon(&["keys", "list", "--module", &module, "--json"]);
    let listed = text(&token.around(list).output().unwrap());
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let tokens = listed["tokens"].as_array().unwrap();
    let found = tokens.iter().find(|token| token["label"] == label).unwrap();
    found["slot"].to_string()
}

#[test]
fn work_moves_off_a_token_that_is_away_and_returns() {
    let dir = Folder::new();
    prepare(&dir);
    let token = Token::new(&dir);
    token.init("second");
    token.import(&dir, "tsu-ecdsa", "01");
    token.import_to("second", &dir, "tsu-ecdsa", "01");
    let (first, second) = (slot(&token, "gnomon"), slot(&token, "second"));
    let config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    let key = format!(
        "key = {{ module = \"{}\", tokens = [\"gnomon\", \"second\"], label = \"tsu-ecdsa\", pin_file = \"pin\", sessions = 2 }}",
        faulty().display()
    );
    let config = config.replacen("key = \"tsu-ecdsa.key\"", &key, 1);
    // One of them is away already when gnomon starts.
    token.order(&format!("away {second}"));
    let gnomon = token.serve(dir, &config);
    let (_, body) = timestamp_query(&gnomon.dir);
    let is_granted = || {
        let response = gnomon.post("/tsa/ecdsa", "", &body);
        response.body.get(4..9) == Some(&[0x30, 3, 2, 1, 0])
    };
    let ready = || {
        let request = b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        http(gnomon.admin, request).status == 200
    };
    // Each turn proves that the one before is used again: it is then the only one there is.
    for away in [&second, &first, &second, &first] {
        token.order(&format!("away {away}"));
        // What was under way at that moment may fail; then the other has all of it.
        wait_for("tokens from the other", || {
            (0..20).all(|_| is_granted()).then_some(())
        });
        assert!(ready());
    }
    token.order("");
    wait_for("both", || (0..20).all(|_| is_granted()).then_some(()));
}

#[test]
fn a_token_without_the_key_is_tried_again_and_loses_no_session_by_it() {
    let dir = Folder::new();
    prepare(&dir);
    let token = Token::new(&dir);
    token.init("second");
    token.import(&dir, "tsu-ecdsa", "01");
    let second = slot(&token, "second");
    let config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    let key = format!(
        "key = {{ module = \"{}\", tokens = [\"gnomon\", \"second\"], label = \"tsu-ecdsa\", pin_file = \"pin\", sessions = 2 }}",
        faulty().display()
    );
    token.order(&format!("away {second}"));
    let gnomon = token.serve(dir, &config.replacen("key = \"tsu-ecdsa.key\"", &key, 1));
    let (_, body) = timestamp_query(&gnomon.dir);
    token.order("");
    let opened = || {
        // Calls are counted in the file when something is signed.
        gnomon.post("/tsa/ecdsa", "", &body);
        token.calls("C_OpenSession")
    };
    let before = opened();
    let closed = token.calls("C_CloseSession");
    wait_for("attempts on the token without the key", || {
        (opened() > before + 10).then_some(())
    });
    // But for the one that keeps the token logged in, and two that may be just being tried.
    let closed = token.calls("C_CloseSession") - closed;
    assert!(closed >= 7, "{closed} were closed");
    token.import_to("second", &gnomon.dir, "tsu-ecdsa", "01");
    wait_for("all four sessions", || {
        let serving = gnomon.metric(&["gnomon_pkcs11_sessions_serving", "tsa", "ecdsa"]);
        (serving == 4.0).then_some(())
    });
}

#[test]
fn a_token_that_hangs_keeps_no_session_of_the_other_closed() {
    let dir = Folder::new();
    prepare(&dir);
    let token = Token::new(&dir);
    token.init("second");
    token.import(&dir, "tsu-ecdsa", "01");
    token.import_to("second", &dir, "tsu-ecdsa", "01");
    let second = slot(&token, "second");
    let config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    let key = format!(
        "key = {{ module = \"{}\", tokens = [\"gnomon\", \"second\"], label = \"tsu-ecdsa\", pin_file = \"pin\", sessions = 1 }}",
        faulty().display()
    );
    token.order(&format!("away {second}"));
    let gnomon = token.serve(dir, &config.replacen("key = \"tsu-ecdsa.key\"", &key, 1));
    let (_, body) = timestamp_query(&gnomon.dir);
    let is_granted = || {
        let response = gnomon.post("/tsa/ecdsa", "", &body);
        response.body.get(4..9) == Some(&[0x30, 3, 2, 1, 0])
    };
    // It comes back, and hangs before anybody could log in.
    token.order(&format!("hang-open {second}"));
    wait_for("a call that hangs", || {
        (token.calls("hanging-C_OpenSession") > 0).then_some(())
    });
    assert!(is_granted());
    token.order("fail 48 1");
    assert!(!is_granted());
    wait_for("the session of the token that works", || {
        is_granted().then_some(())
    });
    token.order("");
    wait_for("both", || {
        let serving = gnomon.metric(&["gnomon_pkcs11_sessions_serving", "tsa", "ecdsa"]);
        (serving == 2.0).then_some(())
    });
}

#[test]
fn a_token_that_hangs_at_the_start_is_left_to_the_other() {
    let dir = Folder::new();
    prepare(&dir);
    let token = Token::new(&dir);
    token.init("second");
    token.import(&dir, "tsu-ecdsa", "01");
    token.import_to("second", &dir, "tsu-ecdsa", "01");
    let (first, second) = (slot(&token, "gnomon"), slot(&token, "second"));
    let config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    let key = format!(
        "key = {{ module = \"{}\", slot = [{first}, {second}], label = \"tsu-ecdsa\", pin_file = \"pin\", sessions = 1, \
         deadline = \"300ms\" }}",
        faulty().display()
    );
    token.order(&format!("hang-open {second}"));
    let gnomon = token.serve(dir, &config.replacen("key = \"tsu-ecdsa.key\"", &key, 1));
    let (_, body) = timestamp_query(&gnomon.dir);
    let response = gnomon.post("/tsa/ecdsa", "", &body);
    assert_eq!(response.body.get(4..9), Some(&[0x30, 3, 2, 1, 0][..]));
    let serving = || gnomon.metric(&["gnomon_pkcs11_sessions_serving", "tsa", "ecdsa"]);
    assert_eq!(serving(), 1.0);
    token.order("");
    wait_for("both", || (serving() == 2.0).then_some(()));
}
