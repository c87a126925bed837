//! `gnomon keys list` tells where a key has been, as far as the token says.

mod support;

use std::path::Path;

use serde_json::Value;
use support::{
    Folder, gnomon, prepare, text,
    token::{SOFTHSM, Token, faulty},
};

/// What `gnomon keys` says when it does this by this module.
fn keys(dir: &Folder, token: &Token, what: &str, module: &Path, options: &[&str]) -> String {
    let (module, pin) = (module.display().to_string(), dir.path("pin"));
    let mut arguments = vec!["keys", what, "--module", &module, "--token", "gnomon"];
    arguments.extend(["--pin-file", &pin]);
    arguments.extend(options);
    let output = token.around(gnomon(&arguments)).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

#[test]
fn a_key_is_listed_with_where_it_has_been() {
    let dir = Folder::new();
    prepare(&dir);
    let token = Token::new(&dir);
    let softhsm = Path::new(SOFTHSM);
    token.import(&dir, "tsu-rsa", "0a");
    let made = ["--label", "made", "--kind", "rsa3072"];
    keys(&dir, &token, "generate", softhsm, &made);
    let elliptic = ["--label", "elliptic", "--kind", "p256"];
    keys(&dir, &token, "generate", softhsm, &elliptic);
    token.import(&dir, "tsu-ecdsa", "0b");
    let said = keys(&dir, &token, "list", softhsm, &[]);
    let line = |label: &str| {
        let start = format!("key `{label}`");
        said.lines().find(|line| line.starts_with(&start)).unwrap()
    };
    for made in ["made", "elliptic"].map(line) {
        assert!(made.ends_with(", never leaves the token, signs"), "{made}");
    }
    let imported = line("tsu-rsa");
    let expected = ", imported, does not leave the token any more, signs, DECRYPTS, UNWRAPS";
    assert!(imported.ends_with(expected), "{imported}");
    // SoftHSM says that it decrypts, which no elliptic key can.
    let imported = line("tsu-ecdsa");
    let expected = ", imported, does not leave the token any more, signs";
    assert!(imported.ends_with(expected), "{imported}");
    let list = |module: &Path| {
        let said = keys(&dir, &token, "list", module, &["--json"]);
        let said: Value = serde_json::from_str(&said).unwrap();
        let keys = said["keys"].as_array().unwrap().clone();
        let of = |label: &str| keys.iter().find(|key| key["label"] == label).cloned();
        let made_elliptic = of("elliptic").unwrap();
        assert_eq!(made_elliptic["decrypt"], false, "{made_elliptic}");
        [of("made").unwrap(), of("tsu-rsa").unwrap()]
    };
    let both = |keys: &[Value; 2], name: &str| keys.clone().map(|key| key[name].as_bool());
    let history = ["local", "always_sensitive", "never_extractable"];
    let listed = list(softhsm);
    for name in history {
        assert_eq!(both(&listed, name), [Some(true), Some(false)], "{name}");
    }
    for name in ["decrypt", "unwrap"] {
        assert_eq!(both(&listed, name), [Some(false), Some(true)], "{name}");
    }
    // A token that does not know them is listed all the same.
    token.order("old-attributes");
    let listed = list(&faulty());
    for name in history {
        assert_eq!(both(&listed, name), [None, None], "{name}");
    }
    assert_eq!(both(&listed, "extractable"), [Some(false), Some(false)]);
    assert_eq!(both(&listed, "unwrap"), [Some(false), Some(true)]);
    // Nor does one make keys that are told so, and it makes them all the same.
    let older = ["--label", "older", "--kind", "p256"];
    keys(&dir, &token, "generate", &faulty(), &older);
    assert_eq!(token.calls("C_GenerateKeyPair"), 2);
}
