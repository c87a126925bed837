//! The feed against files that come, go, break and go back.

mod places;

use std::fs;

use super::*;
use crate::{
    revocation::{
        SerialStatus, Serials,
        testing::{Ca, Draft, entry},
        verify,
    },
    wire::{
        oid,
        tlv::{tag, wrap},
    },
};

/// A folder that goes when the test ends.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gnomon-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Puts a file in place as a whole, as a CA's export does.
    pub(super) fn put(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let (written, path) = (self.0.join("new"), self.0.join(name));
        fs::write(&written, content).unwrap();
        fs::rename(&written, &path).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open(
    ca: &Ca,
    folder: &Folder,
    crl: PathBuf,
    issued: impl Into<IssuedSources>,
) -> Result<Feed, Vec<FeedError>> {
    open_all(ca, folder, vec![crl], issued)
}

fn open_all(
    ca: &Ca,
    folder: &Folder,
    crls: Vec<PathBuf>,
    issued: impl Into<IssuedSources>,
) -> Result<Feed, Vec<FeedError>> {
    let wanted = |path| Wanted {
        places: vec![Place::File(path)],
        delta: Delta::None,
        distribution_point: None,
    };
    open_wanted(ca, folder, crls.into_iter().map(wanted).collect(), issued)
}

fn open_wanted(
    ca: &Ca,
    folder: &Folder,
    crls: Vec<Wanted>,
    issued: impl Into<IssuedSources>,
) -> Result<Feed, Vec<FeedError>> {
    Feed::open(FeedSettings {
        name: "A".into(),
        issuer: ca.certificate.clone(),
        crls,
        issued: issued.into(),
        kept: Kept::new(folder.0.join("kept")),
        fetch_time: Duration::from_secs(9),
        largest: 1 << 20,
        compromised: None,
    })
}

fn refresh(feed: &mut Feed) -> Vec<FeedError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let (_, errors) = runtime.block_on(feed.refresh(None));
    feed.swap();
    errors
}

fn status(feed: &Feed, serial: u8) -> SerialStatus {
    // 2026-01-02, within the drafts' dates.
    feed.snapshot()
        .load()
        .status(&[serial], Seconds::new(20_455 * 86_400))
}

fn is_revoked(feed: &Feed, serial: u8) -> bool {
    matches!(status(feed, serial), SerialStatus::Revoked { .. })
}

#[test]
fn a_new_crl_is_taken_and_an_old_or_broken_one_is_not() {
    let folder = Folder::new("feed-crl");
    let ca = Ca::new("A");
    let numbered =
        |number: u8, serial: u8| ca.crl(&Draft::new(&[entry(&[serial], None)]).number(&[number]));
    let path = folder.put("crl", numbered(1, 1));
    let mut feed = open(&ca, &folder, path, vec![]).unwrap();
    assert!(is_revoked(&feed, 1) && refresh(&mut feed).is_empty());
    folder.put("crl", numbered(3, 3));
    assert!(refresh(&mut feed).is_empty());
    assert!(is_revoked(&feed, 3) && is_revoked(&feed, 1), "for good");
    let whole = numbered(4, 4);
    for bad in [
        numbered(2, 2),
        numbered(3, 4),
        whole[..100].to_vec(),
        vec![],
    ] {
        folder.put("crl", bad);
        assert_eq!(refresh(&mut feed).len(), 1);
        assert!(refresh(&mut feed).is_empty(), "told once");
        assert!(is_revoked(&feed, 3));
    }
    fs::remove_file(folder.0.join("crl")).unwrap();
    assert_eq!((refresh(&mut feed).len(), refresh(&mut feed).len()), (1, 0));
    assert!(is_revoked(&feed, 3));
    folder.put("crl", whole);
    assert!(refresh(&mut feed).is_empty() && is_revoked(&feed, 4));
}

#[test]
fn at_the_start_every_file_that_fails_is_named() {
    let folder = Folder::new("feed-start");
    let list = folder.put("issued", "nonsense");
    let crls = vec![folder.0.join("absent"), folder.put("crl", "x")];
    let errors = open_all(&Ca::new("A"), &folder, crls, vec![list]).unwrap_err();
    let text: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert!(text[0].contains("absent: cannot be read"), "{text:?}");
    assert!(text[1].contains("crl: neither"), "{text:?}");
    assert!(text[2].contains("issued: line 1"), "{text:?}");
}

#[test]
fn issued_serials_come_from_lists_and_from_certificates() {
    let (folder, certificates) = (Folder::new("feed-issued"), Folder::new("feed-certs"));
    let ca = Ca::new("A");
    let crl = folder.put("crl", ca.crl(&Draft::new(&[])));
    let list = folder.put("issued", "07\n");
    let sources = vec![list, certificates.0.clone()];
    let mut feed = open(&ca, &folder, crl, sources).unwrap();
    assert_eq!(status(&feed, 7), SerialStatus::Issued);
    assert_eq!(status(&feed, 1), SerialStatus::Unlisted);
    // Half a certificate is most likely being written, and its second half is noticed.
    let der = ca.certificate.der();
    fs::write(certificates.0.join("1.der"), &der[..99]).unwrap();
    assert!(refresh(&mut feed).is_empty());
    assert_eq!(status(&feed, 7), SerialStatus::Issued);
    fs::write(certificates.0.join("1.der"), der).unwrap();
    assert!(refresh(&mut feed).is_empty());
    assert_eq!(status(&feed, 1), SerialStatus::Issued);
    folder.put("issued", "08\n");
    assert!(refresh(&mut feed).is_empty());
    assert_eq!(status(&feed, 7), SerialStatus::Unlisted);
}

#[test]
fn a_list_that_is_wrong_leaves_the_old_one_in_force() {
    let folder = Folder::new("feed-list");
    let ca = Ca::new("A");
    let crl = folder.put("crl", ca.crl(&Draft::new(&[])));
    let list = folder.put("issued", "07 2027-03-01\n");
    let mut feed = open(&ca, &folder, crl, vec![list.clone()]).unwrap();
    let long = format!("08\n09 # {}\n", "x".repeat(5000));
    for (bad, said) in [
        ("08\n09 never\n", "line 2: `never` is no notAfter"),
        (long.as_str(), "line 2: is longer than 4096 octets"),
    ] {
        folder.put("issued", bad);
        let errors = refresh(&mut feed);
        let text = errors[0].to_string();
        assert!(errors.len() == 1 && text.contains(said), "{text}");
        assert!(refresh(&mut feed).is_empty(), "told once");
        assert_eq!(status(&feed, 7), SerialStatus::Issued);
        assert_eq!(status(&feed, 8), SerialStatus::Unlisted);
    }
    fs::remove_file(&list).unwrap();
    assert_eq!((refresh(&mut feed).len(), refresh(&mut feed).len()), (1, 0));
    folder.put("issued", "08");
    assert!(refresh(&mut feed).is_empty());
    assert_eq!(status(&feed, 7), SerialStatus::Unlisted);
    assert_eq!(status(&feed, 8), SerialStatus::Issued);
}

#[test]
fn a_new_crl_and_a_push_do_not_undo_each_other() {
    let folder = Folder::new("feed-push");
    let ca = Ca::new("A");
    let numbered =
        |number: u8, serial: u8| ca.crl(&Draft::new(&[entry(&[serial], None)]).number(&[number]));
    let crl = folder.put("crl", numbered(1, 1));
    let sources = IssuedSources {
        paths: vec![folder.put("listed", "")],
        pushed: Some(folder.0.join("kept/pushed.issued")),
        ..IssuedSources::default()
    };
    let mut feed = open(&ca, &folder, crl, sources).unwrap();
    assert!(!folder.0.join("kept").exists(), "nothing is written");
    let (pushes, accepting) = pushed::accept(&mut feed).unwrap().unwrap();
    assert!(pushed::accept(&mut feed).unwrap().is_none(), "once");
    let push = |serials: &[u8]| {
        let serials = Serials::parse(serials).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(pushes.push(serials)).unwrap();
    };
    push(b"07");
    assert_eq!(status(&feed, 7), SerialStatus::Issued);
    folder.put("crl", numbered(2, 2));
    assert!(refresh(&mut feed).is_empty() && is_revoked(&feed, 2));
    push(b"08");
    assert!(is_revoked(&feed, 2) && is_revoked(&feed, 1));
    for (serial, expected) in [(7, true), (8, true), (1, false)] {
        assert_eq!(status(&feed, serial) == SerialStatus::Issued, expected);
    }
    // What was read is not in force by a push, but only when it is swapped in.
    folder.put("listed", "09\n");
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let (changed, _) = runtime.unwrap().block_on(feed.refresh(None));
    push(b"0a");
    assert!(changed && status(&feed, 10) == SerialStatus::Issued);
    assert_eq!(status(&feed, 9), SerialStatus::Unlisted);
    feed.swap();
    assert_eq!(status(&feed, 9), SerialStatus::Issued);
    drop(pushes);
    accepting.stop();
}

#[test]
fn what_was_accepted_outlives_the_process_and_cannot_be_rolled_back() {
    let folder = Folder::new("feed-kept");
    let ca = Ca::new("A");
    let numbered =
        |number: u8, serial: u8| ca.crl(&Draft::new(&[entry(&[serial], None)]).number(&[number]));
    let path = folder.put("crl", numbered(2, 2));
    let mut feed = open(&ca, &folder, path.clone(), vec![]).unwrap();
    assert!(refresh(&mut feed).is_empty());
    // The file is put back to an older one, broken, and removed while nobody looks.
    folder.put("crl", numbered(1, 1));
    let mut feed = open(&ca, &folder, path.clone(), vec![]).unwrap();
    assert!(is_revoked(&feed, 2) && !is_revoked(&feed, 1));
    let text = refresh(&mut feed)[0].to_string();
    assert!(
        text.contains("from 02 to 01") && text.contains("crl reset-mark"),
        "{text}"
    );
    fs::remove_file(&path).unwrap();
    assert!(is_revoked(
        &open(&ca, &folder, path.clone(), vec![]).unwrap(),
        2
    ));
    // What was kept is damaged: told, and not used.
    folder.put("crl", numbered(3, 3));
    let kept = fs::read_dir(folder.0.join("kept")).unwrap();
    for kept in kept.map(|kept| kept.unwrap().path()) {
        fs::write(kept, &numbered(2, 2)[..50]).unwrap();
    }
    let mut feed = open(&ca, &folder, path, vec![]).unwrap();
    assert!(is_revoked(&feed, 3));
    let text = refresh(&mut feed)[0].to_string();
    assert!(text.contains("was kept cannot be used"), "{text}");
}

#[test]
fn a_delta_is_followed_beside_its_base() {
    let folder = Folder::new("feed-delta");
    let ca = Ca::new("A");
    let base = |number: u8, serials: &[u8]| {
        let entries: Vec<_> = serials
            .iter()
            .map(|serial| entry(&[*serial], None))
            .collect();
        ca.crl(&Draft::new(&entries).number(&[number]))
    };
    let delta = |from: u8, number: u8, serial: u8| {
        let draft = Draft::new(&[entry(&[serial], None)]).number(&[number]);
        ca.crl(&draft.with(oid::DELTA_CRL_INDICATOR, true, &[2, 1, from]))
    };
    let wanted = Wanted {
        places: vec![Place::File(folder.put("crl", base(1, &[1])))],
        delta: Delta::At(vec![Place::File(folder.put("delta", delta(1, 2, 2)))]),
        distribution_point: None,
    };
    let open = || open_wanted(&ca, &folder, vec![wanted.clone()], vec![]).unwrap();
    let mut feed = open();
    assert!(is_revoked(&feed, 1) && is_revoked(&feed, 2));
    assert!(refresh(&mut feed).is_empty());
    // It needs a base that has not come yet, and is taken when that has.
    folder.put("delta", delta(4, 5, 5));
    let text = refresh(&mut feed)[0].to_string();
    assert!(
        text.contains("for a base with number 04 or above"),
        "{text}"
    );
    let fourth = base(4, &[1, 2]);
    folder.put("crl", &fourth);
    let errors = refresh(&mut feed);
    assert!(
        errors.is_empty() && is_revoked(&feed, 2) && is_revoked(&feed, 5),
        "{errors:?}"
    );
    // Both outlive the process, and neither goes back.
    for (name, old, kind) in [
        ("crl", base(3, &[]), "to 03"),
        ("delta", delta(1, 2, 2), "to 02"),
    ] {
        folder.put(name, old);
        let mut feed = open();
        assert!(is_revoked(&feed, 5) && is_revoked(&feed, 1), "{name}");
        let text = refresh(&mut feed)[0].to_string();
        assert!(text.contains(kind), "{text}");
        folder.put("crl", &fourth);
    }
    // The next base holds all of it, and the delta is old.
    folder.put("crl", base(6, &[1, 2, 5, 6]));
    assert!(
        refresh(&mut feed)
            .iter()
            .all(|error| error.to_string().contains("to 02"))
    );
    assert!(is_revoked(&feed, 6) && feed.slots[0].crl(Kind::Delta).is_none());
}

#[test]
fn what_disappears_stays_revoked_over_restarts_and_is_told() {
    let folder = Folder::new("feed-retained");
    let ca = Ca::new("A");
    let crl = |number: u8, serials: &[u8]| {
        let entries: Vec<_> = serials
            .iter()
            .map(|serial| entry(&[*serial], Some(1)))
            .collect();
        ca.crl(&Draft::new(&entries).number(&[number]))
    };
    let path = folder.put("crl", crl(1, &[1, 2, 3]));
    let issued = folder.put("issued", "01 2020-01-01\n02 2999-01-01\n03\n");
    let open = || open(&ca, &folder, path.clone(), vec![issued.clone()]).unwrap();
    let mut feed = open();
    assert!(refresh(&mut feed).is_empty());
    folder.put("crl", crl(2, &[]));
    let errors = refresh(&mut feed);
    let text = errors[0].to_string();
    assert!(
        errors.len() == 1 && text.contains("1 revocations have disappeared"),
        "{text}"
    );
    assert!(text.contains("serial 02;"), "{text}");
    for feed in [feed, open()] {
        assert!(
            [1, 2, 3]
                .into_iter()
                .all(|serial| is_revoked(&feed, serial))
        );
    }
    // A list that is damaged is told, and read as far as it goes.
    let list = folder
        .0
        .join("kept")
        .read_dir()
        .unwrap()
        .map(|file| file.unwrap().path());
    let list = list
        .into_iter()
        .find(|path| path.extension().unwrap() == "retained")
        .unwrap();
    let content = fs::read(&list).unwrap();
    fs::write(&list, &content[..content.len() - 80]).unwrap();
    let mut feed = open();
    assert!(is_revoked(&feed, 1));
    assert!(refresh(&mut feed)[0].to_string().starts_with("ALARM"));
}

#[test]
fn files_that_were_put_back_are_no_way_around_the_marks() {
    let folder = Folder::new("feed-recall");
    let ca = Ca::new("A");
    let numbered = |number: u8| ca.crl(&Draft::new(&[entry(&[number], None)]).number(&[number]));
    let path = folder.put("crl", numbered(5));
    let mut feed = open(&ca, &folder, path.clone(), vec![]).unwrap();
    refresh(&mut feed);
    let marks = feed.judge.marks.clone();
    // Someone removes what was kept and puts back the file.
    fs::remove_dir_all(folder.0.join("kept")).unwrap();
    folder.put("crl", numbered(4));
    let mut feed = open(&ca, &folder, path, vec![]).unwrap();
    assert!(is_revoked(&feed, 4));
    feed.recall(&Store::default(), &marks);
    assert_eq!(status(&feed, 4), SerialStatus::Stale);
    let text = refresh(&mut feed)[0].to_string();
    assert!(
        text.starts_with("ALARM") && text.contains("number 04 is older"),
        "{text}"
    );
    assert!(!folder.0.join("kept").exists());
    let [
        Event::CrlRefused {
            number: Some(number),
            reason,
            ..
        },
    ] = &*feed.judge.news
    else {
        panic!("{:?}", feed.judge.news)
    };
    assert!(number == "04" && *reason == text);
    feed.judge.news.clear();
    folder.put("crl", numbered(4));
    assert!(refresh(&mut feed)[0].to_string().contains("from 05 to 04"));
    // Unless the operator says that it is meant.
    folder.put("crl", numbered(6));
    assert!(refresh(&mut feed).is_empty() && is_revoked(&feed, 6));
    assert_eq!(feed.reset(Some("elsewhere")), 0);
    assert_eq!(feed.reset(None), 1);
    folder.put("crl", numbered(2));
    assert!(refresh(&mut feed).is_empty() && is_revoked(&feed, 2) && is_revoked(&feed, 6));
}

#[test]
fn a_feed_writes_down_its_own_marks_alone() {
    let folder = Folder::new("feed-marks");
    let (store, _) = Store::open(&folder.0.join("state"));
    let mut marks = Marks::default();
    let (ours, theirs) = (Ca::new("A"), Ca::new("B"));
    let scope = |ca: &Ca| kept::scope(&ca.certificate, &[], Kind::Complete);
    for ca in [&ours, &theirs] {
        let crl = ca.crl(&Draft::new(&[]).number(&[5]));
        let crl = verify(&crl, &ca.certificate, None).unwrap();
        marks.set(scope(ca), crl.mark());
    }
    let path = folder.put("crl", ours.crl(&Draft::new(&[]).number(&[6])));
    let mut feed = open(&ours, &folder, path, vec![]).unwrap();
    feed.recall(&store, &marks);
    let known: Vec<_> = store
        .marks()
        .into_iter()
        .map(|(scope, mark)| (scope, mark["number"].clone()))
        .collect();
    assert_eq!(known, [(scope(&ours), "06".into())]);
    // Those of the other issuer stay when all of this one's are lowered.
    store.put_mark(
        &scope(&theirs),
        &marks::to_json(marks.get(&scope(&theirs)).unwrap()),
    );
    assert_eq!(feed.reset(None), 1);
    assert_eq!(store.marks().len(), 1);
}

#[test]
fn dates_are_judged_where_the_time_is_proven() {
    let folder = Folder::new("feed-dates");
    let ca = Ca::new("A");
    let dated = |number: u8, this: &str, next: &str| {
        let mut draft = Draft::new(&[entry(&[number], None)]).number(&[number]);
        draft.this_update = format!("202601{this}000000Z");
        draft.next_update = Some(format!("202601{next}000000Z"));
        ca.crl(&draft)
    };
    let path = folder.put("crl", dated(1, "01", "08"));
    let mut feed = open(&ca, &folder, path, vec![]).unwrap();
    let mut look = |now| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let (_, errors) = runtime.block_on(feed.refresh(now));
        feed.swap();
        (
            errors.iter().map(ToString::to_string).collect::<String>(),
            is_revoked(&feed, 1),
        )
    };
    // 2026-01-03
    let now = Some(Seconds::new(20_456 * 86_400));
    for (this, next, said) in [
        ("01", "03", "ran out at 2026-01-03"),
        ("04", "08", "in the future"),
    ] {
        folder.put("crl", dated(2, this, next));
        let (text, kept) = look(now);
        assert!(text.contains(said) && kept, "{text}");
    }
    folder.put("crl", dated(2, "04", "09"));
    assert_eq!(look(None).0, "");
}

#[test]
fn without_a_proven_time_none_takes_the_place_of_one_that_ends_later() {
    let folder = Folder::new("feed-unproven");
    let ca = Ca::new("A");
    let until = |number: u8, day: &str| {
        let mut draft = Draft::new(&[entry(&[number], None)]).number(&[number]);
        draft.next_update = Some(format!("202601{day}000000Z"));
        ca.crl(&draft)
    };
    let path = folder.put("crl", until(1, "08"));
    let mut feed = open(&ca, &folder, path.clone(), vec![]).unwrap();
    assert!(refresh(&mut feed).is_empty());
    let look = |feed: &mut Feed, day: u64| {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let now = Seconds::new((20_453 + day) * 86_400);
        let (_, errors) = runtime.unwrap().block_on(feed.refresh(Some(now)));
        feed.swap();
        errors.iter().map(ToString::to_string).collect::<String>()
    };
    folder.put("crl", until(2, "06"));
    for mut feed in [feed, open(&ca, &folder, path, vec![]).unwrap()] {
        let text = refresh(&mut feed)[0].to_string();
        assert!(
            text.contains("number 02: the CRL ends at 2026-01-06"),
            "{text}"
        );
        assert!(refresh(&mut feed).is_empty(), "told once");
        assert!(is_revoked(&feed, 1) && !is_revoked(&feed, 2));
        // It has run out, or not.
        assert!(look(&mut feed, 7).contains("ran out at 2026-01-06"));
        assert!(is_revoked(&feed, 1));
    }
    let mut feed = open(&ca, &folder, folder.0.join("crl"), vec![]).unwrap();
    assert_eq!(refresh(&mut feed).len(), 1);
    assert_eq!(look(&mut feed, 5), "");
    assert!(is_revoked(&feed, 2));
}

#[test]
fn a_published_folder_gives_the_newest_of_each_kind() {
    let (folder, published) = (Folder::new("feed-folder"), Folder::new("feed-published"));
    let (ca, other) = (Ca::new("A"), Ca::new("B"));
    let crl =
        |ca: &Ca, number: u8| ca.crl(&Draft::new(&[entry(&[number], None)]).number(&[number]));
    let delta = |number: u8| {
        let draft = Draft::new(&[entry(&[number], None)]).number(&[number]);
        ca.crl(&draft.with(oid::DELTA_CRL_INDICATOR, true, &[2, 1, 1]))
    };
    let places = || vec![Place::File(published.0.clone())];
    let wanted = Wanted {
        places: places(),
        delta: Delta::At(places()),
        distribution_point: None,
    };
    published.put("b.crl", crl(&other, 90));
    published.put("readme.txt", "x");
    published.put("broken.crl", "x");
    let text = open_wanted(&ca, &folder, vec![wanted.clone()], vec![]).unwrap_err()[0].to_string();
    assert!(
        text.contains("none of its files *.crl is the complete CRL"),
        "{text}"
    );
    published.put("1.crl", crl(&ca, 1));
    published.put("2.crl", crl(&ca, 2));
    published.put("3-delta.crl", delta(3));
    let mut feed = open_wanted(&ca, &folder, vec![wanted], vec![]).unwrap();
    assert!(is_revoked(&feed, 2) && is_revoked(&feed, 3) && !is_revoked(&feed, 1));
    assert!(refresh(&mut feed).is_empty() && refresh(&mut feed).is_empty());
    published.put("4.crl", crl(&ca, 4));
    assert!(refresh(&mut feed).is_empty());
    assert!(is_revoked(&feed, 4) && feed.slots[0].crl(Kind::Delta).is_none());
}

#[test]
fn deltas_are_found_where_the_crl_says() {
    let folder = Folder::new("feed-freshest");
    let ca = Ca::new("A");
    let uri = b"http://127.0.0.1:9/delta.crl";
    let name = wrap(0xa0, &[&wrap(0xa0, &[&wrap(0x86, &[uri])])]);
    let points = wrap(tag::SEQUENCE, &[&wrap(tag::SEQUENCE, &[&name])]);
    let draft = Draft::new(&[]).number(&[1]);
    let path = folder.put(
        "crl",
        ca.crl(&draft.with(oid::FRESHEST_CRL, false, &points)),
    );
    let wanted = |delta| Wanted {
        places: vec![Place::File(path.clone())],
        delta,
        distribution_point: None,
    };
    let feed = open_wanted(&ca, &folder, vec![wanted(Delta::Freshest)], vec![]).unwrap();
    assert_eq!(
        feed.slots[0].delta.as_ref().unwrap().name(),
        "http://127.0.0.1:9/delta.crl"
    );
    let feed = open_wanted(&ca, &folder, vec![wanted(Delta::None)], vec![]).unwrap();
    let text = feed.slots[0].remarks()[0].to_string();
    assert!(
        text.contains("deltas to it (http://127.0.0.1:9/delta.crl)"),
        "{text}"
    );
}
