//! Passwords: [`Hash`] is what a file keeps of one, [`Passwords`] finds out whether a password is right. That takes
//! argon2 tens of milliseconds and 19 MiB by design, so it is done on threads of its own, a bounded number at a time
//! and of each address, and what was right is remembered while it is used. So a flood of wrong passwords holds up
//! nobody who has shown the right one, and nobody who needs none.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    time::{Duration, Instant},
};

use argon2::{Algorithm, Argon2, Block, Params, PasswordHasher, Version, password_hash::phc};
use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac, rand};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::quota::Source;

/// How long a right password is remembered after it was last shown.
const REMEMBERED: Duration = Duration::from_secs(300);

/// How many right passwords are remembered.
const MOST_REMEMBERED: usize = 4096;

/// Passwords that wait for their hash, in all and from one address: a second's work, and a fair part of it.
const QUEUE: usize = 64;
const QUEUE_OF_ONE: usize = 8;

/// Requests with one password that share the work of the first.
const FOLLOWERS: usize = 1024;

/// After so long without a password a thread gives back its memory.
const IDLE: Duration = Duration::from_secs(30);

/// Of a thread (nice): requests that are under way come first.
const LOW_PRIORITY: i32 = 10;

/// More than 256 MiB or 16 passes would make each check an attack of its own.
const MOST_MEMORY: u32 = 256 << 10;
const MOST_PASSES: u32 = 16;

/// Why a text is not a hash that is taken here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    #[error(
        "the hash is no argon2id PHC string ($argon2id$v=19$m=...,t=...,p=...$SALT$HASH); `gnomon access password` makes one"
    )]
    Format,
    #[error(
        "the hash takes more than 256 MiB or 16 passes; make a new one with `gnomon access password`"
    )]
    TooCostly,
    #[error("the system gives no random numbers")]
    NoEntropy,
}

/// An argon2id hash with its salt and costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hash {
    phc: phc::PasswordHash,
    /// The same, as each request needs it.
    text: Arc<str>,
}

impl Hash {
    /// From a PHC string.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        let hash = phc::PasswordHash::new(text).map_err(|_| HashError::Format)?;
        let is_whole = hash.salt.is_some() && hash.hash.is_some();
        if hash.algorithm.as_str() != "argon2id" || hash.version != Some(0x13) || !is_whole {
            return Err(HashError::Format);
        }
        let params = Params::try_from(&hash).map_err(|_| HashError::Format)?;
        if params.m_cost() > MOST_MEMORY || params.t_cost() > MOST_PASSES {
            return Err(HashError::TooCostly);
        }
        Ok(hash.into())
    }

    /// A new one, with a salt of its own and the costs that OWASP's cheat sheet asks for (19 MiB, 2 passes).
    pub fn new(password: &[u8]) -> Result<Self, HashError> {
        let mut salt = [0; 16];
        rand::fill(&mut salt).map_err(|_| HashError::NoEntropy)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT);
        let hash = argon2.hash_password_with_salt(password, &salt);
        hash.map(Self::from).map_err(|_| HashError::Format)
    }

    /// Whether it was made of this password. `memory` grows to what that takes.
    fn is_of(&self, password: &[u8], memory: &mut Vec<Block>) -> bool {
        let (Ok(params), Some(salt), Some(hash)) =
            (Params::try_from(&self.phc), &self.phc.salt, &self.phc.hash)
        else {
            return false;
        };
        let blocks = params.block_count();
        if memory.len() < blocks {
            memory.resize(blocks, Block::default());
        }
        let mut out = vec![0; hash.len()];
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let worked_out = argon2.hash_password_into_with_memory(password, salt, &mut out, memory);
        worked_out.is_ok() && verify_slices_are_equal(&out, hash.as_bytes()).is_ok()
    }
}

impl From<phc::PasswordHash> for Hash {
    fn from(phc: phc::PasswordHash) -> Self {
        let text = phc.to_string().into();
        Self { phc, text }
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Too many passwords wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords wait to be checked")]
pub struct Busy;

/// What is remembered, and what waits.
#[derive(Debug)]
pub struct Passwords {
    /// Drawn at the start. Of passwords only digests with it are kept.
    key: hmac::Key,
    state: Arc<Mutex<State>>,
    /// To the threads, which the first password starts.
    threads: OnceLock<SyncSender<Check>>,
}

/// Of a user, a hash and a password that is said to be its.
type Claim = [u8; 32];

#[derive(Debug, Default)]
struct State {
    /// Those that were right, and when they were last shown.
    right: HashMap<Claim, Instant>,
    /// Those that are being checked, and who wants to know.
    pending: HashMap<Claim, Vec<oneshot::Sender<bool>>>,
    /// How many of them are for whom.
    waiting: HashMap<Source, usize>,
}

struct Check {
    claim: Claim,
    password: Zeroizing<Vec<u8>>,
    hash: Hash,
    source: Source,
}

impl Passwords {
    pub fn new() -> Result<Self, HashError> {
        let mut key = Zeroizing::new([0; 32]);
        rand::fill(&mut *key).map_err(|_| HashError::NoEntropy)?;
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &*key),
            state: Arc::default(),
            threads: OnceLock::new(),
        })
    }

    /// A digest that nobody outside can foresee.
    pub fn digest(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            context.update(&length.to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        for (octet, from) in digest.iter_mut().zip(context.sign().as_ref()) {
            *octet = *from;
        }
        digest
    }

    /// Whether `password` is the one that `user`'s hash was made of.
    pub async fn verify(
        &self,
        user: &str,
        hash: &Hash,
        password: &[u8],
        from: IpAddr,
    ) -> Result<bool, Busy> {
        let claim = self.digest(&[user.as_bytes(), hash.text.as_bytes(), password]);
        let verdict = {
            let mut state = lock(&self.state);
            if state.is_right(&claim) {
                return Ok(true);
            }
            let (told, verdict) = oneshot::channel();
            if let Some(followed) = state.pending.get_mut(&claim) {
                if followed.len() >= FOLLOWERS {
                    return Err(Busy);
                }
                followed.push(told);
            } else {
                let source = Source::of(from);
                let waiting = state.waiting.get(&source).copied().unwrap_or(0);
                if waiting >= QUEUE_OF_ONE {
                    return Err(Busy);
                }
                let check = Check {
                    claim,
                    password: Zeroizing::new(password.to_vec()),
                    hash: hash.clone(),
                    source,
                };
                let threads = match self.threads.get() {
                    Some(threads) => threads,
                    // The next password tries again.
                    None => {
                        let started = start(&self.state).ok_or(Busy)?;
                        self.threads.get_or_init(|| started)
                    }
                };
                threads.try_send(check).map_err(|_| Busy)?;
                state.waiting.insert(source, waiting + 1);
                state.pending.insert(claim, vec![told]);
            }
            verdict
        };
        verdict.await.map_err(|_| Busy)
    }
}

impl State {
    fn is_right(&mut self, claim: &Claim) -> bool {
        let now = Instant::now();
        let Some(last) = self.right.get_mut(claim) else {
            return false;
        };
        if now.duration_since(*last) > REMEMBERED {
            self.right.remove(claim);
            return false;
        }
        *last = now;
        true
    }

    fn remember(&mut self, claim: Claim) {
        let now = Instant::now();
        if self.right.len() >= MOST_REMEMBERED {
            self.right
                .retain(|_, last| now.duration_since(*last) <= REMEMBERED);
        }
        if self.right.len() >= MOST_REMEMBERED {
            let oldest = self.right.iter().min_by_key(|(_, last)| **last);
            if let Some(oldest) = oldest.map(|(claim, _)| *claim) {
                self.right.remove(&oldest);
            }
        }
        self.right.insert(claim, now);
    }

    /// Whoever still waits.
    fn is_wanted(&self, claim: &Claim) -> bool {
        let mut asked = self.pending.get(claim).into_iter().flatten();
        asked.any(|told| !told.is_closed())
    }

    fn finish(&mut self, check: &Check, is_right: bool) {
        if is_right {
            self.remember(check.claim);
        }
        if let Some(waiting) = self.waiting.get_mut(&check.source) {
            *waiting = waiting.saturating_sub(1);
            if *waiting == 0 {
                self.waiting.remove(&check.source);
            }
        }
        for told in self.pending.remove(&check.claim).into_iter().flatten() {
            let _ = told.send(is_right);
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the threads, or as many as the system has room for; none where it has none. They end with what sends to them.
fn start(state: &Arc<Mutex<State>>) -> Option<SyncSender<Check>> {
    let (sender, checks) = mpsc::sync_channel(QUEUE);
    let checks = Arc::new(Mutex::new(checks));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // Half of the cores are left to requests, and the memory is bounded.
    let started = (0..(cores / 2).clamp(1, 4)).filter(|number| {
        let (checks, state) = (Arc::clone(&checks), Arc::clone(state));
        let thread = std::thread::Builder::new()
            .name(format!("password-{number}"))
            .spawn(move || {
                // Without the right to, they run as the others do.
                let _ = rustix::process::setpriority_process(None, LOW_PRIORITY);
                work(&checks, &state);
            });
        thread.is_ok()
    });
    (started.count() > 0).then_some(sender)
}

fn work(checks: &Mutex<Receiver<Check>>, state: &Mutex<State>) {
    // Taken and given back with each check, it would come apart into hundreds of MiB.
    let mut memory = Vec::new();
    loop {
        let next = {
            let checks = checks.lock().unwrap_or_else(PoisonError::into_inner);
            checks.recv_timeout(IDLE)
        };
        let check = match next {
            Ok(check) => check,
            Err(RecvTimeoutError::Timeout) => {
                memory = Vec::new();
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        {
            let mut state = lock(state);
            if !state.is_wanted(&check.claim) {
                // Under one lock: who came in between would be told that it is wrong.
                state.finish(&check, false);
                continue;
            }
        }
        let is_right = check.hash.is_of(&check.password, &mut memory);
        lock(state).finish(&check, is_right);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_password_is_right_or_not_and_only_the_right_one_is_remembered() {
        let hash = Hash::parse(&Hash::new(b"secret").unwrap().to_string()).unwrap();
        let passwords = Passwords::new().unwrap();
        runtime().block_on(async {
            for (password, right) in [("secret", true), ("secret", true), ("Secret", false)] {
                let verified = passwords.verify("a", &hash, password.as_bytes(), address(1));
                assert_eq!(verified.await, Ok(right), "{password}");
            }
        });
        let state = lock(&passwords.state);
        assert_eq!(state.right.len(), 1);
        assert!(state.pending.is_empty() && state.waiting.is_empty());
    }

    #[test]
    fn hashes_of_other_kinds_and_costs_are_refused() {
        let good = Hash::new(b"x").unwrap().to_string();
        assert!(
            good.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{good}"
        );
        for wrong in [
            "".to_owned(),
            "secret".to_owned(),
            "$2y$05$abcdefghijklmnopqrstuv".to_owned(),
            good.replace("argon2id", "argon2i"),
            good.replace("v=19", "v=16"),
            good.rsplit_once('$').unwrap().0.to_owned(),
        ] {
            assert_eq!(Hash::parse(&wrong), Err(HashError::Format), "{wrong}");
        }
        for dear in [("m=19456", "m=1000000"), ("t=2", "t=100")] {
            let dear = good.replace(dear.0, dear.1);
            assert_eq!(Hash::parse(&dear), Err(HashError::TooCostly), "{dear}");
        }
    }

    #[test]
    fn one_address_does_not_fill_the_queue_and_the_same_password_is_checked_once() {
        let hash = Hash::new(b"secret").unwrap();
        let passwords = Passwords::new().unwrap();
        // No thread takes anything out.
        let (sender, checks) = mpsc::sync_channel(QUEUE);
        passwords.threads.set(sender).unwrap();
        let begin = |password: String, from: IpAddr| {
            let (passwords, hash) = (&passwords, &hash);
            async move {
                let verified = passwords.verify("a", hash, password.as_bytes(), from);
                tokio::time::timeout(Duration::from_millis(1), verified).await
            }
        };
        runtime().block_on(async {
            for number in 0..QUEUE_OF_ONE {
                assert!(
                    begin(number.to_string(), address(1)).await.is_err(),
                    "waits"
                );
            }
            assert_eq!(begin("x".into(), address(1)).await, Ok(Err(Busy)));
            // Somebody else with the same password follows, and one with another has a place.
            assert!(begin("0".into(), address(2)).await.is_err(), "waits");
            assert!(begin("x".into(), address(2)).await.is_err(), "waits");
            for last in 3.. {
                match begin(format!("from {last}"), address(last)).await {
                    Err(_) => assert!(last < 100, "the queue has no end"),
                    Ok(verified) => {
                        assert_eq!(verified, Err(Busy));
                        break;
                    }
                }
            }
        });
        // Nobody waits any more, so that nothing is worked out.
        drop(passwords.threads.into_inner());
        work(&Mutex::new(checks), &passwords.state);
        let state = lock(&passwords.state);
        assert!(state.pending.is_empty() && state.waiting.is_empty() && state.right.is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut state = State::default();
        for number in 0..=MOST_REMEMBERED {
            let mut claim = [0; 32];
            claim[..8].copy_from_slice(&number.to_be_bytes());
            state.remember(claim);
        }
        assert_eq!(state.right.len(), MOST_REMEMBERED);
        assert!(!state.is_right(&[0; 32]), "the oldest has gone");
    }
}
