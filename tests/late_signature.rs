//! A signature that comes later after the reading of the clock than the declared accuracy allows: it is thrown away and
//! the token drafted anew, with a new time.

mod support;

use std::{
    fs, thread,
    time::{Duration, SystemTime},
};

use support::{
    Folder, http, prepare,
    stamps::{Stamp, export, post, query, time_of},
    token::{Token, faulty},
};

#[test]
fn what_was_signed_too_late_is_drafted_anew_and_never_released() {
    let dir = Folder::new();
    prepare(&dir);
    let token = Token::new(&dir);
    token.import(&dir, "tsu-ecdsa", "01");
    let config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    let key = format!(
        "key = {{ module = \"{}\", token = \"gnomon\", label = \"tsu-ecdsa\", pin_file = \"pin\", sessions = 1 }}",
        faulty().display()
    );
    let gnomon = token.serve(dir, &config.replacen("key = \"tsu-ecdsa.key\"", &key, 1));
    let request = post("/tsa/ecdsa", &query(&gnomon.dir));
    let ask = || http(gnomon.listen, &request).body;
    assert!(Stamp::granted(&ask()).is_some());

    // Always later than the 100 ms that are allowed: systemFailure, and nothing on record.
    token.order("delay 300");
    let refusal = ask();
    assert!(
        refusal.ends_with(&[3, 5, 6, 0, 0, 0, 0x40]),
        "{refusal:02x?}"
    );
    let tokens = || {
        let records = export(&gnomon.dir.join("journal"));
        let tokens = records
            .into_iter()
            .filter(|record| record["kind"] == "token");
        tokens.collect::<Vec<_>>()
    };
    assert_eq!(tokens().len(), 1);

    // Late once: the second draft has a time after the first signature.
    token.order("delay 1500");
    let begun = SystemTime::now();
    let late = thread::scope(|scope| {
        let asked = scope.spawn(ask);
        // The first signature is under way by now, and the order is read when one begins.
        thread::sleep(Duration::from_millis(500));
        token.order("");
        asked.join().unwrap()
    });
    let stamp = Stamp::granted(&late).expect("a token by the second draft");
    let records = tokens();
    assert_eq!(records.len(), 2);
    let record = records.last().unwrap();
    assert_eq!(record["serial"], stamp.serial.as_str());
    let begun = begun.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let time = time_of(record);
    assert!(
        time >= begun + Duration::from_millis(1_400),
        "{time:?}, {begun:?}"
    );
}
