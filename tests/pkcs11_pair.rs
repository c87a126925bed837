//! One key on two tokens: work goes to both, moves off one that is away, and returns when it is back, also where that is
//! without the key at first.

mod support;

use std::fs;

use support::{
    Folder, Gnomon, gnomon, http, prepare,
    stamps::granted,
    text, timestamp_query,
    token::{Token, faulty},
    wait_for,
};

/// Two tokens, `gnomon` and `second`, and their slots. The first has the key.
struct Pair {
    dir: Folder,
    token: Token,
    first: String,
    second: String,
}

impl Pair {
    fn new() -> Self {
        let dir = Folder::new();
        prepare(&dir);
        let token = Token::new(&dir);
        token.init("second");
        token.import(&dir, "tsu-ecdsa", "01");
        let (first, second) = (slot(&token, "gnomon"), slot(&token, "second"));
        Self {
            dir,
            token,
            first,
            second,
        }
    }

    fn with_the_key_on_both() -> Self {
        let pair = Self::new();
        pair.token.import_to("second", &pair.dir, "tsu-ecdsa", "01");
        pair
    }

    /// A gnomon that signs with both, `fields` of the key beside, and starts under `order`.
    fn serve(self, fields: &str, order: &str) -> Served {
        self.token.order(order);
        let key = format!(
            "key = {{ module = \"{}\", label = \"tsu-ecdsa\", pin_file = \"pin\", {fields} }}",
            faulty().display()
        );
        let config = fs::read_to_string(self.dir.join("gnomon.toml")).unwrap();
        let config = config.replacen("key = \"tsu-ecdsa.key\"", &key, 1);
        let gnomon = self.token.serve(self.dir, &config);
        let (_, query) = timestamp_query(&gnomon.dir);
        Served {
            gnomon,
            token: self.token,
            query,
        }
    }
}

struct Served {
    gnomon: Gnomon,
    token: Token,
    query: Vec<u8>,
}

impl Served {
    fn is_granted(&self) -> bool {
        let response = self.gnomon.post("/tsa/ecdsa", "", &self.query);
        granted(&response.body)
    }

    fn sessions(&self) -> f64 {
        let serving = ["gnomon_pkcs11_sessions_serving", "tsa", "ecdsa"];
        self.gnomon.metric(&serving)
    }
}

const BY_LABEL: &str = "tokens = [\"gnomon\", \"second\"]";

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
    let pair = Pair::with_the_key_on_both();
    let (first, second) = (pair.first.clone(), pair.second.clone());
    // One of them is away already when gnomon starts.
    let order = format!("away {second}");
    let served = pair.serve(&format!("{BY_LABEL}, sessions = 2"), &order);
    let all_are_granted = || (0..20).all(|_| served.is_granted()).then_some(());
    let ready = || {
        let request = b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        http(served.gnomon.admin, request).status == 200
    };
    // Each turn proves that the one before is used again: it is then the only one there is.
    for away in [&second, &first, &second, &first] {
        served.token.order(&format!("away {away}"));
        // What was under way at that moment may fail; then the other has all of it.
        wait_for("tokens from the other", all_are_granted);
        assert!(ready());
    }
    served.token.order("");
    wait_for("both", all_are_granted);
}

#[test]
fn a_token_without_the_key_is_tried_again_and_loses_no_session_by_it() {
    let pair = Pair::new();
    let order = format!("away {}", pair.second);
    let served = pair.serve(&format!("{BY_LABEL}, sessions = 2"), &order);
    let token = &served.token;
    token.order("");
    let opened = || {
        // Calls are counted in the file when something is signed.
        served.is_granted();
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
    token.import_to("second", &served.gnomon.dir, "tsu-ecdsa", "01");
    wait_for("all four sessions", || {
        (served.sessions() == 4.0).then_some(())
    });
}

#[test]
fn a_token_that_hangs_keeps_no_session_of_the_other_closed() {
    let pair = Pair::with_the_key_on_both();
    let (away, hang) = (
        format!("away {}", pair.second),
        format!("hang-open {}", pair.second),
    );
    let served = pair.serve(&format!("{BY_LABEL}, sessions = 1"), &away);
    // It comes back, and hangs before anybody could log in.
    served.token.order(&hang);
    wait_for("a call that hangs", || {
        (served.token.calls("hanging-C_OpenSession") > 0).then_some(())
    });
    assert!(served.is_granted());
    served.token.order("fail 48 1");
    assert!(!served.is_granted());
    wait_for("the session of the token that works", || {
        served.is_granted().then_some(())
    });
    served.token.order("");
    wait_for("both", || (served.sessions() == 2.0).then_some(()));
}

#[test]
fn a_token_that_hangs_at_the_start_is_left_to_the_other() {
    let pair = Pair::with_the_key_on_both();
    let fields = format!(
        "slot = [{}, {}], sessions = 1, deadline = \"300ms\"",
        pair.first, pair.second
    );
    let order = format!("hang-open {}", pair.second);
    let served = pair.serve(&fields, &order);
    wait_for("the session of the token that works", || {
        (served.sessions() == 1.0).then_some(())
    });
    assert!(served.is_granted());
    served.token.order("");
    wait_for("both", || (served.sessions() == 2.0).then_some(()));
}
