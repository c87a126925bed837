//! The feed against places that are no plain files, servers that say odd things, and mirrors.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::mpsc,
    thread,
};

use super::*;
use crate::io::feed::{bounded_file::read_bounded, source::Source};

const MODIFIED: &str = "HTTP/1.1 304 Not Modified\r\n\r\n";

/// A server that gives each of these answers to one request, and the last one to all that follow; an empty one is
/// never finished.
fn server(answers: Vec<Vec<u8>>) -> Place {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/crl", listener.local_addr().unwrap());
    thread::spawn(move || {
        let mut unfinished = Vec::new();
        let last = answers.last().cloned().unwrap();
        let mut answers = answers.into_iter();
        for client in listener.incoming() {
            let mut client: TcpStream = client.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut octet = [0];
                client.read_exact(&mut octet).unwrap();
                request.extend(octet);
            }
            let answer = answers.next().unwrap_or_else(|| last.clone());
            let _ = client.write_all(&answer);
            if answer.is_empty() {
                unfinished.push(client);
            }
        }
    });
    Place::Url(url.parse().unwrap())
}

fn found(crl: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        crl.len()
    );
    [head.as_bytes(), crl].concat()
}

fn look(feed: &mut Feed, now: Option<Seconds>) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let (_, errors) = runtime.unwrap().block_on(feed.refresh(now));
    feed.swap();
    errors.iter().map(ToString::to_string).collect()
}

fn numbered(ca: &Ca, number: u8) -> Vec<u8> {
    ca.crl(&Draft::new(&[entry(&[number], None)]).number(&[number]))
}

fn from_places(places: Vec<Place>) -> Wanted {
    Wanted {
        places,
        delta: Delta::None,
        distribution_point: None,
    }
}

fn pipe(path: &Path) -> PathBuf {
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, 0o600.into(), 0).unwrap();
    path.to_owned()
}

#[test]
fn nobody_waits_for_a_pipe() {
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        let (folder, published) = (Folder::new("feed-pipe"), Folder::new("feed-pipes"));
        let ca = Ca::new("A");
        pipe(&published.0.join("1.crl"));
        published.put("2.crl", numbered(&ca, 2));
        let feed = open(&ca, &folder, published.0.clone(), vec![]).unwrap();
        assert!(is_revoked(&feed, 2));
        let crl = pipe(&folder.0.join("crl"));
        let text = open(&ca, &folder, crl, vec![]).unwrap_err()[0].to_string();
        assert!(text.contains("cannot be read: it is a pipe"), "{text}");
        done.send(()).unwrap();
    });
    ended.recv_timeout(Duration::from_secs(20)).unwrap();
}

#[test]
fn a_file_that_grows_is_read_within_bounds() {
    // It has no length of its own.
    let endless = Path::new("/proc/self/maps");
    let cut = read_bounded(endless, 100);
    assert!(matches!(cut, Err(FeedError::TooLarge { .. })));
    assert!(read_bounded(endless, 1 << 26).is_ok());
}

#[test]
fn that_nothing_has_changed_is_believed_where_it_was_asked() {
    let folder = Folder::new("feed-unasked");
    let ca = Ca::new("A");
    let places = vec![
        server(vec![MODIFIED.into()]),
        Place::File(folder.put("mirror", numbered(&ca, 1))),
    ];
    let mut feed = open_wanted(&ca, &folder, vec![from_places(places)], vec![]).unwrap();
    let text = look(&mut feed, None);
    assert!(text.contains("HTTP 304, where 200 is due"), "{text}");
    assert_eq!(look(&mut feed, None), "");
    assert!(is_revoked(&feed, 1));
}

#[test]
fn a_mirror_is_asked_where_nothing_has_changed_since_the_crl_ran_out() {
    let folder = Folder::new("feed-stands-still");
    let ca = Ca::new("A");
    let mut later = Draft::new(&[entry(&[2], None)]).number(&[2]);
    later.next_update = Some("20260112000000Z".into());
    let places = vec![
        server(vec![found(&numbered(&ca, 1)), MODIFIED.into()]),
        Place::File(folder.put("mirror", ca.crl(&later))),
    ];
    let mut feed = open_wanted(&ca, &folder, vec![from_places(places)], vec![]).unwrap();
    // 2026-01-03 and 2026-01-09.
    let (early, late) = (20_456 * 86_400, 20_462 * 86_400);
    for now in [early, early, late] {
        feed.hurry();
        let text = look(&mut feed, Some(Seconds::new(now)));
        assert_eq!(
            text.contains("ran out at 2026-01-08"),
            now == late,
            "{text}"
        );
    }
    assert!(is_revoked(&feed, 1) && !is_revoked(&feed, 2));
    assert_eq!(look(&mut feed, Some(Seconds::new(late))), "");
    assert!(is_revoked(&feed, 2));
}

#[test]
fn a_file_stands_in_only_until_what_is_before_it_comes_back() {
    let folder = Folder::new("feed-stands-in");
    let ca = Ca::new("A");
    let away = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let places = vec![
        server(vec![away.into(), found(&numbered(&ca, 2))]),
        Place::File(folder.put("mirror", numbered(&ca, 1))),
    ];
    let mut feed = open_wanted(&ca, &folder, vec![from_places(places)], vec![]).unwrap();
    assert!(look(&mut feed, None).contains("HTTP 503"));
    assert_eq!(look(&mut feed, None), "");
    assert!(is_revoked(&feed, 1));
    // Not before it is due.
    for _ in 0..3 {
        assert_eq!(look(&mut feed, None), "");
        assert!(!is_revoked(&feed, 2));
    }
    feed.hurry();
    for _ in 0..3 {
        assert_eq!(look(&mut feed, None), "");
    }
    assert!(is_revoked(&feed, 2));
}

#[test]
fn a_folder_may_hold_the_crls_of_a_ca_before_and_after_it_was_re_keyed() {
    let (folder, published) = (Folder::new("feed-rekeyed"), Folder::new("feed-both-keys"));
    let (before, after) = (Ca::new("A"), Ca::new("A"));
    published.put("before.crl", numbered(&before, 100));
    published.put("after.crl", numbered(&after, 1));
    for (ca, number) in [(&before, 100), (&after, 1)] {
        let feed = open(ca, &folder, published.0.clone(), vec![]).unwrap();
        assert!(is_revoked(&feed, number));
    }
    let mut feed = open(&after, &folder, published.0.clone(), vec![]).unwrap();
    published.put("before.crl", numbered(&before, 101));
    published.put("next.crl", numbered(&after, 2));
    assert_eq!(look(&mut feed, None), "");
    assert!(is_revoked(&feed, 2));
    // What nobody else could have meant is told.
    fs::remove_file(published.0.join("after.crl")).unwrap();
    fs::remove_file(published.0.join("next.crl")).unwrap();
    let text = look(&mut feed, None);
    assert!(text.contains("the signature is not that of"), "{text}");
}

#[test]
fn what_a_stop_finds_in_force_is_kept_though_the_delta_is_still_fetched() {
    let folder = Folder::new("feed-stopped");
    let ca = Ca::new("A");
    let path = folder.put("crl", numbered(&ca, 1));
    let wanted = Wanted {
        delta: Delta::At(vec![server(vec![vec![]])]),
        ..from_places(vec![Place::File(path.clone())])
    };
    let open = || open_wanted(&ca, &folder, vec![wanted.clone()], vec![]).unwrap();
    let mut feed = open();
    folder.put("crl", numbered(&ca, 2));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let looked = tokio::time::timeout(Duration::from_secs(1), feed.refresh(None)).await;
        assert!(looked.is_err(), "it waits for the delta");
    });
    let marks = feed.judge.marks.clone();
    drop(feed);
    fs::remove_file(path).unwrap();
    let mut feed = open();
    feed.recall(&Store::default(), &marks);
    assert!(is_revoked(&feed, 2));
}

/// An issuing distribution point with these names.
fn point(uris: &[&str]) -> Vec<u8> {
    let names: Vec<u8> = uris
        .iter()
        .flat_map(|uri| wrap(0x86, &[uri.as_bytes()]))
        .collect();
    wrap(tag::SEQUENCE, &[&wrap(0xa0, &[&wrap(0xa0, &[&names])])])
}

const SHARD: &str = "http://ca.example/1";

fn shard(ca: &Ca, number: u8, uris: &[&str]) -> Vec<u8> {
    let draft = Draft::new(&[entry(&[number], None)]).number(&[number]);
    ca.crl(&draft.with(oid::ISSUING_DISTRIBUTION_POINT, true, &point(uris)))
}

#[test]
fn a_distribution_point_may_get_more_names_when_the_operator_says_so() {
    let folder = Folder::new("feed-renamed");
    let ca = Ca::new("A");
    let path = folder.put("crl", shard(&ca, 5, &[SHARD]));
    let wanted = Wanted {
        distribution_point: Some(SHARD.into()),
        ..from_places(vec![Place::File(path)])
    };
    let mut feed = open_wanted(&ca, &folder, vec![wanted], vec![]).unwrap();
    folder.put("crl", shard(&ca, 6, &[SHARD, "http://mirror.example/1"]));
    let text = look(&mut feed, None);
    assert!(
        text.contains("the issuing distribution point is not that of the CRL before it")
            && text.contains("crl reset-mark"),
        "{text}"
    );
    assert_eq!(feed.reset(None), 1);
    assert_eq!(look(&mut feed, None), "");
    assert!(is_revoked(&feed, 6) && is_revoked(&feed, 5));
}

#[test]
fn the_mark_of_a_shard_is_lowered_though_nothing_of_it_is_in_force() {
    let folder = Folder::new("feed-shard-back");
    let ca = Ca::new("A");
    let path = folder.put("crl", shard(&ca, 5, &[SHARD]));
    let mirror = folder.0.join("mirror");
    let wanted = Wanted {
        distribution_point: Some(SHARD.into()),
        ..from_places(vec![Place::File(path), Place::File(mirror.clone())])
    };
    let open = || open_wanted(&ca, &folder, vec![wanted.clone()], vec![]).unwrap();
    let marks = open().judge.marks;
    folder.put("crl", shard(&ca, 4, &[SHARD]));
    let mut feed = open();
    feed.recall(&Store::default(), &marks);
    assert!(look(&mut feed, None).contains("number 04 is older"));
    assert!(!is_revoked(&feed, 4));
    // By any of its places.
    feed.reset(Some(&mirror.display().to_string()));
    assert_eq!(look(&mut feed, None), "");
    assert!(is_revoked(&feed, 4));
    // What was put back has its record from the start.
    assert!(matches!(
        feed.judge.news.as_slice(),
        [
            Event::CrlRefused { .. },
            Event::CrlMarkReset { .. },
            Event::CrlAccepted { .. }
        ]
    ));
    // And once.
    folder.put("crl", shard(&ca, 3, &[SHARD]));
    assert!(look(&mut feed, None).contains("from 04 to 03"));
}

#[test]
fn a_source_is_known_by_each_of_its_places() {
    let url = |text: &str| Place::Url(text.parse().unwrap());
    let source = Source::new(vec![
        url("http://user:secret@ca.example"),
        Place::File("/srv/ca.crl".into()),
    ]);
    for name in [
        "http://user@ca.example/",
        "http://user:secret@ca.example",
        "http://user@ca.example:80",
        "/srv/ca.crl",
        "/srv//ca.crl",
    ] {
        assert!(source.is_named(name), "{name}");
    }
    for other in ["http://ca.example/1", "/srv", "ca.crl", ""] {
        assert!(!source.is_named(other), "{other}");
    }
}

#[test]
fn what_a_folder_has_that_cannot_be_read_is_told_though_another_is_taken() {
    let (folder, published) = (Folder::new("feed-unread"), Folder::new("feed-too-large"));
    let ca = Ca::new("A");
    published.put("1.crl", numbered(&ca, 1));
    let mut feed = open(&ca, &folder, published.0.clone(), vec![]).unwrap();
    assert_eq!(look(&mut feed, None), "");
    published.put("2.crl", numbered(&ca, 2));
    published.put("3.crl", vec![0x30; (1 << 20) + 1]);
    for mut feed in [
        feed,
        open(&ca, &folder, published.0.clone(), vec![]).unwrap(),
    ] {
        let text = look(&mut feed, None);
        assert!(
            text.contains("3.crl: is larger than 1048576 octets") && text.contains("passed over"),
            "{text}"
        );
        assert!(is_revoked(&feed, 2));
        assert_eq!(look(&mut feed, None), "", "told once");
    }
    let mut feed = open(&ca, &folder, published.0.clone(), vec![]).unwrap();
    look(&mut feed, None);
    // One that goes between two glances is nothing to tell.
    std::os::unix::fs::symlink("nowhere", published.0.join("4.crl")).unwrap();
    fs::remove_file(published.0.join("3.crl")).unwrap();
    assert_eq!(look(&mut feed, None), "");
}

#[test]
fn what_has_disappeared_while_nobody_looked_is_told_at_the_start() {
    let folder = Folder::new("feed-disappeared");
    let ca = Ca::new("A");
    let path = folder.put("crl", numbered(&ca, 1));
    let issued = folder.put("issued", "01 2999-01-01\n");
    let open = || open(&ca, &folder, path.clone(), vec![issued.clone()]).unwrap();
    assert_eq!(look(&mut open(), None), "");
    folder.put("crl", numbered(&ca, 2));
    let mut feed = open();
    assert!(is_revoked(&feed, 1) && is_revoked(&feed, 2));
    let text = look(&mut feed, None);
    assert!(text.contains("1 revocations have disappeared"), "{text}");
    assert_eq!(look(&mut feed, None), "");
    assert_eq!(look(&mut open(), None), "", "told once");
}

/// What is found before another server answers, which none does.
fn look_at_once(feed: &mut Feed) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let looked = runtime
        .unwrap()
        .block_on(async { tokio::time::timeout(Duration::from_secs(2), feed.refresh(None)).await });
    feed.swap();
    looked.is_ok_and(|(changed, _)| changed)
}

#[test]
fn what_is_new_does_not_wait_for_the_server_of_another_shard() {
    const OTHERS: [&str; 2] = ["http://ca.example/2", "http://ca.example/3"];
    let folder = Folder::new("feed-hangs");
    let ca = Ca::new("A");
    let path = folder.put("crl", shard(&ca, 1, &[SHARD]));
    let of = |point: &str, place| Wanted {
        distribution_point: Some(point.into()),
        ..from_places(vec![place])
    };
    let crls = vec![
        of(
            OTHERS[0],
            server(vec![found(&shard(&ca, 9, &OTHERS[..1])), vec![]]),
        ),
        of(OTHERS[1], server(vec![vec![]])),
        of(SHARD, Place::File(path)),
    ];
    let issued = folder.put("issued", "07\n");
    let mut feed = open_wanted(&ca, &folder, crls, vec![issued]).unwrap();
    // The first server answers, the second does not.
    assert!(look_at_once(&mut feed) && is_revoked(&feed, 9));
    for number in [2, 5] {
        folder.put("crl", shard(&ca, number, &[SHARD]));
        look_at_once(&mut feed);
        // It may have to wait once, so that the server is asked at all.
        feed.is_cut_short = false;
        folder.put("crl", shard(&ca, number + 2, &[SHARD]));
        assert!(look_at_once(&mut feed) && is_revoked(&feed, number + 2));
        assert!(feed.is_cut_short);
    }
    // Also where files change at every look.
    folder.put("crl", shard(&ca, 8, &[SHARD]));
    assert!(!look_at_once(&mut feed), "the second server is asked");
}

#[test]
fn a_stop_in_between_takes_no_alarm_with_it() {
    let folder = Folder::new("feed-alarm");
    let ca = Ca::new("A");
    let away = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let path = folder.put("crl", numbered(&ca, 1));
    let wanted = Wanted {
        delta: Delta::At(vec![server(vec![vec![], away.into()])]),
        ..from_places(vec![Place::File(path)])
    };
    let issued = folder.put("issued", "01 2999-01-01\n");
    let mut feed = open_wanted(&ca, &folder, vec![wanted], vec![issued]).unwrap();
    folder.put("crl", numbered(&ca, 2));
    assert!(!look_at_once(&mut feed), "it waits for the delta");
    let text = look(&mut feed, None);
    assert!(text.contains("1 revocations have disappeared"), "{text}");
}

#[test]
fn while_a_reset_waits_for_the_complete_crl_deltas_go_back_once() {
    let folder = Folder::new("feed-reset-delta");
    let ca = Ca::new("A");
    let delta = |number: u8| {
        let draft = Draft::new(&[entry(&[number], None)]).number(&[number]);
        ca.crl(&draft.with(oid::DELTA_CRL_INDICATOR, true, &[2, 1, 1]))
    };
    let wanted = Wanted {
        delta: Delta::At(vec![Place::File(folder.put("delta", delta(5)))]),
        ..from_places(vec![Place::File(folder.put("crl", numbered(&ca, 1)))])
    };
    let mut feed = open_wanted(&ca, &folder, vec![wanted], vec![]).unwrap();
    assert_eq!(look(&mut feed, None), "");
    assert_eq!(feed.reset(None), 2);
    folder.put("delta", delta(4));
    assert_eq!(look(&mut feed, None), "");
    folder.put("delta", delta(3));
    assert!(look(&mut feed, None).contains("from 04 to 03"));
}
