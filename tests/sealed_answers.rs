//! Sealed answers as time passes and data changes, by a clock that the test sets and a key that counts its signatures:
//! what is asked for is signed again in time, what is not lapses, strangers cost little, and what is saved comes back
//! only where it is still true.

mod support;

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use gnomon::{
    clock::{Clock, TrustedTime, Unproven, discipline::demo_reading},
    io::softkey,
    ocsp::{
        Responder,
        issuer::{ArchiveCutoff, Issuer, Issuers, Unlisted},
        saved::Saved,
        sealed::Sealed,
    },
    revocation::{Issued, LastDay, Part, Retained, Serials, Snapshot, verify},
    service::status::{Refresh, Reply, Statuses, Step},
    signing::{
        BoxFuture, Permit, Share, SignError, Signer,
        credential::{Credential, Revocation, Role},
    },
    wire::{
        algorithm::{DigestAlgorithm, SignatureAlgorithm},
        certificate::{Certificate, PublicKey},
        ocsp_response::ErrorStatus,
        oid,
        time::Seconds,
        tlv::{self, tag},
    },
};
use support::{Folder, ca::Ca, https::P384, issue_responder, prepare};

const HOUR: u64 = 3_600;

/// A clock that stands until it is set.
#[derive(Default)]
struct Hands {
    now: AtomicU64,
    unproven: AtomicBool,
}

impl Clock for Hands {
    fn trusted(&self) -> Result<TrustedTime, Unproven> {
        if self.unproven.load(Relaxed) {
            return Err(Unproven::NoReport);
        }
        Ok(demo_reading(Duration::from_secs(self.now.load(Relaxed))))
    }

    fn reading(&self) -> Seconds {
        Seconds::new(self.now.load(Relaxed))
    }
}

/// A key that counts, and that can have other work.
#[derive(Debug)]
struct Counting {
    key: Arc<dyn Signer>,
    made: Arc<AtomicUsize>,
    busy: Arc<AtomicBool>,
}

impl Signer for Counting {
    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }

    fn permit(&self, share: Share) -> BoxFuture<'_, Result<Permit, SignError>> {
        if share == Share::WhenIdle && self.busy.load(Relaxed) {
            return Box::pin(std::future::ready(Err(SignError::Busy)));
        }
        self.key.permit(share)
    }

    fn sign<'a>(
        &'a self,
        permit: Permit,
        message: &'a [u8],
    ) -> BoxFuture<'a, Result<Vec<u8>, SignError>> {
        self.made.fetch_add(1, Relaxed);
        self.key.sign(permit, message)
    }
}

/// The demo's issuing CA and its responder, in memory.
struct World {
    dir: Folder,
    clock: Arc<Hands>,
    made: Arc<AtomicUsize>,
    busy: Arc<AtomicBool>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    statuses: Arc<Statuses>,
    /// The algorithm that clients ask for.
    preference: Option<SignatureAlgorithm>,
}

/// Serials that are on the list, as INTEGER content octets.
fn issued(serials: &[Vec<u8>]) -> Serials {
    let mut issued = Serials::default();
    for serial in serials {
        issued.add(serial, LastDay::UNKNOWN);
    }
    issued
}

fn listed(number: u16) -> Vec<u8> {
    [&[0x11, 0x22], &number.to_be_bytes()[..]].concat()
}

fn stranger(number: u32) -> Vec<u8> {
    [&[0x33], &number.to_be_bytes()[..]].concat()
}

impl World {
    fn new(unlisted: Unlisted, with_list: bool) -> Self {
        Self::with(unlisted, with_list, 8 * HOUR, &["ocsp"], prepared())
    }

    fn with(
        unlisted: Unlisted,
        with_list: bool,
        validity: u64,
        keys: &[&str],
        dir: Folder,
    ) -> Self {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let clock = Arc::new(Hands::default());
        clock.now.store(now.as_secs() + 5, Relaxed);
        let certificate = |name: &str| {
            let content = fs::read(dir.join(name)).unwrap();
            Certificate::read_all(&content).unwrap().remove(0)
        };
        let issuing = certificate("issuing.pem");
        let (made, busy) = (Arc::default(), Arc::default());
        let role = Role::DelegatedResponder { issuer: &issuing };
        let responder = |key: &&str| {
            let signer = Arc::new(Counting {
                key: softkey::load(&dir.join(format!("{key}.key")), None, 1).unwrap(),
                made: Arc::clone(&made),
                busy: Arc::clone(&busy),
            });
            let own = certificate(&format!("{key}.pem"));
            let credential = Credential::prove(role, own, vec![], signer, clock.reading());
            Responder::new(credential.unwrap(), true)
        };
        let responders = keys.iter().map(responder).collect();
        let snapshot = Arc::new(ArcSwap::from_pointee(snapshot(&dir, &[], with_list)));
        let issuer = Issuer {
            name: "demo".into(),
            certificate: issuing,
            snapshot: Arc::clone(&snapshot),
            unlisted,
            validity,
            archive_cutoff: ArchiveCutoff::None,
            retired: false,
            responders,
        };
        let issuers = Issuers::new(vec![issuer]).unwrap();
        let statuses = Statuses::new(issuers, Arc::<Hands>::clone(&clock), true, 3_200);
        Self {
            dir,
            clock,
            made,
            busy,
            snapshot,
            statuses: Arc::new(statuses),
            preference: None,
        }
    }

    /// The same host after a restart, with this much changed.
    fn restarted(self, validity: u64, keys: &[&str]) -> Self {
        let now = self.clock.now.load(Relaxed);
        let snapshot = self.snapshot.load_full();
        let world = Self::with(Unlisted::Unauthorized, true, validity, keys, self.dir);
        world.snapshot.store(snapshot);
        world.clock.now.store(now, Relaxed);
        world
    }

    fn made(&self) -> usize {
        self.made.load(Relaxed)
    }

    fn pass(&self, seconds: u64) {
        self.clock.now.fetch_add(seconds, Relaxed);
    }

    fn request(&self, serial: &[u8]) -> Vec<u8> {
        let issuer = &self.statuses.issuers().all()[0].certificate;
        let digest = DigestAlgorithm::Sha1;
        let name = digest.digest(issuer.subject());
        let key = issuer.public_key().key_hash(digest);
        let cert_id = tlv::wrap(
            tag::SEQUENCE,
            &[
                &digest.identifier(),
                &tlv::wrap(tag::OCTET_STRING, &[name.as_ref()]),
                &tlv::wrap(tag::OCTET_STRING, &[key.as_ref()]),
                &tlv::wrap(tag::INTEGER, &[serial]),
            ],
        );
        // In requestList in TBSRequest in OCSPRequest.
        let list = tlv::wrap(tag::SEQUENCE, &[&tlv::wrap(tag::SEQUENCE, &[&cert_id])]);
        let wanted = self.preference.map(|algorithm| {
            let wanted = tlv::wrap(tag::SEQUENCE, &[&algorithm.identifier()]);
            let value = tlv::wrap(tag::SEQUENCE, &[&wanted]);
            let id = tlv::wrap(tag::OID, &[oid::OCSP_PREF_SIG_ALGS.as_bytes()]);
            let value = tlv::wrap(tag::OCTET_STRING, &[&value]);
            let extension = tlv::wrap(tag::SEQUENCE, &[&id, &value]);
            let list = tlv::wrap(tag::SEQUENCE, &[&extension]);
            tlv::wrap(tag::context_constructed(2), &[&list])
        });
        let wanted = wanted.unwrap_or_default();
        let tbs = tlv::wrap(tag::SEQUENCE, &[&list, &wanted]);
        tlv::wrap(tag::SEQUENCE, &[&tbs])
    }

    /// As io/http asks.
    async fn ask(&self, serial: &[u8]) -> Result<Arc<Sealed>, ErrorStatus> {
        let request = self.request(serial);
        if let Some(sealed) = self.statuses.sealed(&request) {
            return Ok(sealed);
        }
        match self.statuses.answer(&request).await {
            Reply::Sealed(sealed) => Ok(sealed),
            Reply::Refused(status) => Err(status),
            Reply::Fresh(_) => panic!("this can be sealed"),
        }
    }

    /// Steps until nothing is due; gives how many were signed.
    async fn refresh(&self, refresh: &mut Refresh) -> usize {
        let mut signed = 0;
        loop {
            match refresh.step().await {
                Step::Signed => signed += 1,
                Step::Rests => return signed,
                Step::Waits => panic!("nothing is in the way"),
            }
        }
    }
}

/// A folder with the demo's PKI and an `openssl ca` over it.
fn prepared() -> Folder {
    let dir = Folder::new();
    prepare(&dir);
    Ca::new(&dir);
    issue_responder(&dir, "second", &P384);
    dir
}

/// From a CRL for seven days that revokes these, and the list of serials.
fn snapshot(dir: &Folder, options: &[&str], with_list: bool) -> Snapshot {
    let text = fs::read(Ca::open(dir).crl("7FFFFFFF01", options)).unwrap();
    let der = gnomon::wire::certificate::pem_blocks(&text, "X509 CRL").unwrap();
    let issuing = fs::read(dir.join("issuing.pem")).unwrap();
    let issuing = Certificate::read_all(&issuing).unwrap().remove(0);
    let crl = verify(&der[0], &issuing, None).unwrap();
    let good = fs::read(dir.join("good.pem")).unwrap();
    let good = Certificate::read_all(&good).unwrap().remove(0);
    let mut serials: Vec<_> = (0..2_000).map(listed).collect();
    serials.push(good.serial().to_vec());
    let issued = with_list.then(|| Arc::new(Issued::new(issued(&serials))));
    Snapshot::new(vec![Some(Part::new(crl, Retained::default()))], issued)
}

#[tokio::test]
async fn what_is_asked_for_is_signed_again_in_time_and_what_is_not_lapses() {
    let world = World::new(Unlisted::Unauthorized, true);
    let mut refresh = Refresh::new(Arc::clone(&world.statuses));
    let first = world.ask(&listed(1)).await.unwrap();
    world.ask(&listed(1)).await.unwrap();
    world.ask(&listed(2)).await.unwrap();
    assert_eq!(world.made(), 2);
    assert_eq!(world.refresh(&mut refresh).await, 0, "too early");
    // Half of what is left of 8 hours, less an eighth.
    let due = (8 * HOUR - 300) / 2;
    world.pass(due - due / 8 + 1);
    assert_eq!(world.refresh(&mut refresh).await, 1);
    assert_eq!(world.refresh(&mut refresh).await, 0, "once is enough");
    world.pass(due / 8);
    let second = world.ask(&listed(1)).await.unwrap();
    assert_ne!(first.etag, second.etag);
    assert_eq!(world.made(), 3, "the client waited for no signature");
    // Asked once since it was signed anew, so it is signed again; after that nobody asks any more.
    for signed in [1, 0, 0] {
        world.pass(due);
        assert_eq!(world.refresh(&mut refresh).await, signed);
    }
    world.ask(&listed(2)).await.unwrap();
    assert_eq!(
        world.made(),
        5,
        "nobody had asked for it: it was left alone"
    );
}

#[tokio::test]
async fn a_refresh_waits_for_the_clock_and_for_an_idle_key() {
    let world = World::new(Unlisted::Unauthorized, true);
    let mut refresh = Refresh::new(Arc::clone(&world.statuses));
    for _ in 0..2 {
        world.ask(&listed(1)).await.unwrap();
    }
    world.pass(4 * HOUR - 600);
    world.clock.unproven.store(true, Relaxed);
    assert_eq!(refresh.step().await, Step::Waits);
    world.clock.unproven.store(false, Relaxed);
    world.busy.store(true, Relaxed);
    assert_eq!(refresh.step().await, Step::Waits);
    assert_eq!(world.made(), 1);
    world.busy.store(false, Relaxed);
    assert_eq!(refresh.step().await, Step::Signed);
    assert_eq!(world.made(), 2);
}

#[tokio::test]
async fn many_due_at_once_are_signed_one_at_a_step() {
    let world = World::new(Unlisted::Unauthorized, true);
    let mut refresh = Refresh::new(Arc::clone(&world.statuses));
    for _ in 0..2 {
        for number in 0..500 {
            world.ask(&listed(number)).await.unwrap();
        }
    }
    world.pass(4 * HOUR - 600);
    for signed in 1..=500 {
        assert_eq!(refresh.step().await, Step::Signed);
        assert_eq!(world.made(), 500 + signed);
    }
    assert_eq!(refresh.step().await, Step::Rests);
    // One that a client has had signed meanwhile is not signed twice.
    for number in 0..2 {
        world.ask(&listed(number)).await.unwrap();
    }
    world.pass(4 * HOUR - 600);
    assert_eq!(refresh.step().await, Step::Signed);
    world.pass(600);
    for number in 0..2 {
        world.ask(&listed(number)).await.unwrap();
    }
    assert_eq!(refresh.step().await, Step::Rests);
    assert_eq!(world.made(), 1_002);
}

#[tokio::test]
async fn a_new_crl_has_signed_again_what_the_old_one_cut_short() {
    let world = World::new(Unlisted::Unauthorized, true);
    let short = ["-crlsec", "3600"];
    world
        .snapshot
        .store(Arc::new(snapshot(&world.dir, &short, true)));
    let mut refresh = Refresh::new(Arc::clone(&world.statuses));
    for _ in 0..2 {
        world.ask(&listed(1)).await.unwrap();
    }
    world.pass(HOUR / 2 + 60);
    world.ask(&listed(1)).await.unwrap();
    assert_eq!(
        world.refresh(&mut refresh).await,
        0,
        "nothing would hold longer"
    );
    assert_eq!(world.made(), 1);
    let new = snapshot(&world.dir, &[], true);
    world.snapshot.store(Arc::new(new));
    assert_eq!(world.refresh(&mut refresh).await, 1);
}

#[tokio::test]
async fn strangers_cost_no_more_than_their_own_small_budget() {
    for unlisted in [Unlisted::Unknown, Unlisted::Revoked, Unlisted::Good] {
        let world = World::new(unlisted, true);
        for number in 0..100 {
            world.ask(&listed(number)).await.unwrap();
        }
        let mut refused = 0;
        for second in 0..20 {
            let before = world.made();
            for number in 0..1_000 {
                let answer = world.ask(&stranger(second * 1_000 + number)).await;
                refused += usize::from(answer.is_err());
                assert!(answer.is_ok() || answer.unwrap_err() == ErrorStatus::TryLater);
            }
            let spent = world.made() - before;
            assert_eq!(spent, 64, "{unlisted:?}");
            world.pass(1);
        }
        assert_eq!(refused, 20 * (1_000 - 64));
        // The last one has its answer, and no real one was pushed out.
        let before = world.made();
        world.ask(&stranger(19_063)).await.unwrap();
        for number in 0..100 {
            let request = world.request(&listed(number));
            assert!(world.statuses.sealed(&request).is_some(), "{unlisted:?}");
        }
        assert_eq!(world.made(), before);
        // Where the key has other work they wait, and who is known does not.
        world.busy.store(true, Relaxed);
        let answer = world.ask(&stranger(1_000_000)).await;
        assert_eq!(answer.map(|_| ()), Err(ErrorStatus::TryLater));
        world.ask(&listed(500)).await.unwrap();
        // On the list by now.
        world.busy.store(false, Relaxed);
        let request = world.request(&stranger(19_063));
        assert!(world.statuses.sealed(&request).is_some());
        let mut serials: Vec<_> = (0..2_000).map(listed).collect();
        serials.push(stranger(19_063));
        let old = world.snapshot.load_full();
        let new = Snapshot::new(
            old.parts().to_vec(),
            Some(Arc::new(Issued::new(issued(&serials)))),
        );
        world.snapshot.store(Arc::new(new));
        assert!(world.statuses.sealed(&request).is_none());
        world.ask(&stranger(19_063)).await.unwrap();
        assert!(world.statuses.sealed(&request).is_some());
    }
    let world = World::new(Unlisted::Unauthorized, true);
    for number in 0..1_000 {
        let answer = world.ask(&stranger(number)).await;
        assert_eq!(answer.map(|_| ()), Err(ErrorStatus::Unauthorized));
    }
    assert_eq!(world.made(), 0);
    // Without a list, those who say `good` of it all mean their real certificates.
    let world = World::new(Unlisted::Good, false);
    for number in 0..1_000 {
        world.ask(&stranger(number)).await.unwrap();
    }
    assert_eq!(world.made(), 1_000);
}

#[tokio::test]
async fn what_was_saved_comes_back_octet_for_octet() {
    let world = World::new(Unlisted::Unauthorized, true);
    let mut before = Vec::new();
    for number in 0..100 {
        before.push(world.ask(&listed(number)).await.unwrap());
    }
    world.pass(HOUR);
    let saved = world.statuses.to_save();
    assert_eq!(saved.len(), 100);
    let world = world.restarted(8 * HOUR, &["ocsp"]);
    world.statuses.take_back(saved);
    for (number, before) in (0..100).zip(&before) {
        let after = world.ask(&listed(number)).await.unwrap();
        assert_eq!((&after.body, &after.etag), (&before.body, &before.etag));
        assert_eq!(after.window, before.window);
    }
    assert_eq!(world.made(), 0);
    // They are like any others: asked for again, they are signed in time.
    world.ask(&listed(1)).await.unwrap();
    world.pass(3 * HOUR - 600);
    let mut refresh = Refresh::new(Arc::clone(&world.statuses));
    assert_eq!(world.refresh(&mut refresh).await, 1);
    // What nobody has asked for yet is saved again, until it is over.
    let saved = world.statuses.to_save();
    let world = world.restarted(8 * HOUR, &["ocsp"]);
    world.statuses.take_back(saved);
    assert_eq!(world.statuses.to_save().len(), 100);
    let world = world.restarted(8 * HOUR, &["ocsp"]);
    world.pass(8 * HOUR);
    assert_eq!(world.statuses.to_save().len(), 0);
}

#[tokio::test]
async fn what_was_saved_and_is_no_longer_true_does_not_come_back() {
    let world = World::new(Unlisted::Unauthorized, true);
    let good = fs::read(world.dir.join("good.pem")).unwrap();
    let serial = Certificate::read_all(&good).unwrap().remove(0);
    let serial = serial.serial().to_vec();
    let before = world.ask(&serial).await.unwrap();
    let saved = world.statuses.to_save();
    let changed = |change: &dyn Fn(&mut Saved)| {
        let mut saved = saved.clone();
        change(&mut saved[0].1);
        saved
    };
    let mut world = world;
    // Forged, or of another time: whatever the file says, the key has not signed it.
    let forgeries: [&dyn Fn(&mut Saved); 4] = [
        &|saved| saved.signature[9] ^= 1,
        &|saved| saved.signature.clear(),
        &|saved| saved.signed = saved.signed.plus(60),
        &|saved| saved.limit = saved.signed.plus(60),
    ];
    for forge in forgeries {
        world = world.restarted(8 * HOUR, &["ocsp"]);
        world.pass(300);
        world.statuses.take_back(changed(forge));
        let after = world.ask(&serial).await.unwrap();
        assert_ne!(after.body, before.body);
        assert_eq!(world.made(), 1);
    }
    // Another key, another validity, a clock set back, its time over.
    type Change<'a> = (&'a str, u64, &'a dyn Fn(&World));
    let changes: [Change<'_>; 4] = [
        ("second", 8 * HOUR, &|_| {}),
        ("ocsp", 10 * HOUR, &|_| {}),
        ("ocsp", 8 * HOUR, &|world| {
            world
                .clock
                .now
                .store(before.window.signed().get() - 1, Relaxed);
        }),
        ("ocsp", 8 * HOUR, &|world| world.pass(4 * HOUR)),
    ];
    for (key, validity, change) in changes {
        world = world.restarted(validity, &[key]);
        change(&world);
        world.statuses.take_back(saved.clone());
        let after = world.ask(&serial).await.unwrap();
        assert_ne!(after.body, before.body);
        assert_eq!(world.made(), 1);
    }
    // Revoked since.
    world = world.restarted(8 * HOUR, &["ocsp"]);
    world.clock.now.store(before.window.signed().get(), Relaxed);
    world.pass(60);
    Ca::open(&world.dir).revoke("good.pem", "keyCompromise");
    let new = snapshot(&world.dir, &[], true);
    world.snapshot.store(Arc::new(new));
    world.statuses.take_back(saved);
    let after = world.ask(&serial).await.unwrap();
    assert_ne!(after.said, before.said);
    assert_eq!(world.made(), 1);
}

#[tokio::test]
async fn what_a_revoked_responder_has_signed_is_not_given_out() {
    let world = World::new(Unlisted::Unauthorized, true);
    world.ask(&listed(1)).await.unwrap();
    let credential = world.statuses.issuers().all()[0].responders[0].credential();
    credential.set_revocation(Some(Revocation {
        time: Seconds::EPOCH,
        reason: Some(1),
    }));
    let answer = world.ask(&listed(1)).await;
    assert_eq!(answer.map(|_| ()), Err(ErrorStatus::InternalError));
    let saved = world.statuses.to_save();
    world.statuses.take_back(saved);
    assert!(world.ask(&listed(1)).await.is_err());
    credential.set_revocation(None);
    world.ask(&listed(1)).await.unwrap();
    assert_eq!(world.made(), 1);
}

#[tokio::test]
async fn each_responder_keeps_its_own() {
    let both = ["ocsp", "second"];
    let mut world = World::with(Unlisted::Unauthorized, true, 8 * HOUR, &both, prepared());
    let plain = world.ask(&listed(1)).await.unwrap();
    world.preference = Some(SignatureAlgorithm::EcdsaSha384);
    for _ in 0..2 {
        let preferred = world.ask(&listed(1)).await.unwrap();
        assert_eq!((plain.responder, preferred.responder), (0, 1));
    }
    assert_eq!(world.made(), 2);
    world.pass(4 * HOUR - 600);
    let mut refresh = Refresh::new(Arc::clone(&world.statuses));
    assert_eq!(world.refresh(&mut refresh).await, 1);
    world.pass(600);
    let renewed = world.ask(&listed(1)).await.unwrap();
    assert_eq!((renewed.responder, world.made()), (1, 3));

    let saved = world.statuses.to_save();
    let mut world = world.restarted(8 * HOUR, &both);
    world.statuses.take_back(saved.clone());
    world.preference = Some(SignatureAlgorithm::EcdsaSha384);
    assert_eq!(world.ask(&listed(1)).await.unwrap().body, renewed.body);
    assert_eq!(world.made(), 0);
    // In the other order the second signs for who prefers nothing.
    let mut world = world.restarted(8 * HOUR, &["second", "ocsp"]);
    world.statuses.take_back(saved);
    assert_ne!(world.ask(&listed(1)).await.unwrap().body, plain.body);
    world.preference = Some(SignatureAlgorithm::EcdsaSha384);
    let answer = world.ask(&listed(1)).await.unwrap();
    assert_eq!((answer.responder, world.made()), (0, 2));
}
