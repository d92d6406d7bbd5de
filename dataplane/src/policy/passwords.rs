//! The verification of passwords: off the workers' threads, bounded in number, and with a short memory of successes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use webgateway_process::{LocalTasks, Slot, Slots};
use webgateway_proto::model::RouteId;
use webgateway_proto::model::options::{PasswordHash, PasswordScheme, RequestRate};
use zeroize::Zeroizing;

use super::rate_limit::{LimitExceededError, RateLimits};

/// The maximum number of verifications that run at once on a node. Each takes a core, and up to 64 MiB.
const MAX_RUNNING: usize = 4;
/// The maximum number of verifications on a node that run or wait.
const MAX_PENDING: usize = 64;
/// The maximum number of verifications of one route that run or wait.
const MAX_PENDING_OF_ROUTE: usize = 8;
/// The time since its last use for which a verified password is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);
/// The maximum number of passwords that a worker remembers.
const MAX_REMEMBERED: usize = 4096;
/// The number of failures of one client network on one route that may come at once.
const FAILURE_BURST: u32 = 10;
/// The number of further failures per second.
const FAILURES_PER_SECOND: f64 = 0.1;
/// The maximum length of a password that bcrypt takes, with its terminator; it ignores the rest.
const BCRYPT_PASSWORD: usize = 72;

/// The part of the verification that all workers of a node share.
#[derive(Debug, Clone)]
pub(crate) struct PasswordPool {
    running: Arc<Semaphore>,
    pending: Slots<RouteId>,
    key: Arc<hmac::Key>,
    failures: Option<RequestRate>,
    limits: Arc<RateLimits>,
}

/// The verification of passwords on one worker.
#[derive(Debug)]
pub(crate) struct Passwords {
    pool: PasswordPool,
    entries: RefCell<HashMap<Fingerprint, Entry>>,
}

/// A user name and a password that a client sent.
#[derive(Debug)]
pub(crate) struct SignIn<'a> {
    /// The route.
    pub route: RouteId,
    /// The client's address.
    pub client: IpAddr,
    /// The user name.
    pub name: &'a str,
    /// The password.
    pub password: &'a [u8],
    /// The hash to compare the password with.
    pub hash: &'a PasswordHash,
    /// False if the user does not exist. The verification then costs the same, and fails.
    pub is_known: bool,
}

/// The reason why a sign-in failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignInError {
    /// The user or the password is wrong.
    Wrong,
    /// The client's network had too many failures on the route.
    TooManyFailures(LimitExceededError),
    /// Too many verifications are pending.
    Busy,
}

/// The keyed hash of a sign-in and of the stored hash, so that it is of no use after a change of the password.
type Fingerprint = [u8; 32];

/// A password that is being verified, or was verified.
#[derive(Debug)]
enum Entry {
    /// The verification is under way.
    Pending(watch::Receiver<Option<bool>>),
    /// The password is right. It is forgotten at this time.
    Verified(Instant),
}

impl PasswordPool {
    /// Creates the pool of a node, which counts failures in `limits`.
    #[must_use]
    pub(crate) fn new(limits: Arc<RateLimits>) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        let running = Semaphore::new(cores.div_ceil(2).min(MAX_RUNNING));
        let mut secret = Zeroizing::new([0; 32]);
        // Without randomness in the system, TLS does not work either; the fallback is still unpredictable enough.
        if aws_lc_rs::rand::SecureRandom::fill(&SystemRandom::new(), &mut *secret).is_err() {
            secret.iter_mut().for_each(|byte| *byte = fastrand::u8(..));
        }
        let key = Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &*secret));
        let failures = RequestRate::new(FAILURES_PER_SECOND, Some(FAILURE_BURST)).ok();
        let pending = Slots::new(MAX_PENDING, MAX_PENDING_OF_ROUTE);
        Self { running: Arc::new(running), pending, key, failures, limits }
    }

    /// Returns a number that selects the hash for the user `name`, who does not exist. It is the same each time, and
    /// differs between processes.
    pub(crate) fn decoy(&self, name: &str) -> usize {
        let tag = hmac::sign(&self.key, name.as_bytes());
        tag.as_ref().iter().take(4).fold(0, |number, byte| number << 8 | usize::from(*byte))
    }

    fn spend(&self, sign_in: &SignIn<'_>) -> Result<(), LimitExceededError> {
        let spend = |rate| self.limits.spend_sign_in(sign_in.route, sign_in.client, rate);
        self.failures.as_ref().map_or(Ok(()), spend)
    }

    fn fingerprint(&self, sign_in: &SignIn<'_>) -> Fingerprint {
        let SignIn { route, name, password, hash, is_known, .. } = sign_in;
        let mut context = hmac::Context::with_key(&self.key);
        context.update(route.as_bytes());
        for part in [&[u8::from(*is_known)], hash.as_str().as_bytes(), name.as_bytes(), password] {
            context.update(&part.len().to_le_bytes());
            context.update(part);
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.sign().as_ref());
        fingerprint
    }
}

impl Passwords {
    /// Creates the verification of one worker.
    #[must_use]
    pub(crate) fn new(pool: PasswordPool) -> Rc<Self> {
        Rc::new(Self { pool, entries: RefCell::default() })
    }

    /// Returns the part that all workers share.
    pub(crate) fn pool(&self) -> &PasswordPool {
        &self.pool
    }

    /// Verifies a sign-in. Equal ones that come at the same time are verified once.
    pub(crate) async fn verify(
        self: &Rc<Self>,
        tasks: &LocalTasks,
        sign_in: SignIn<'_>,
    ) -> Result<(), SignInError> {
        let fingerprint = self.pool.fingerprint(&sign_in);
        let mut outcome = match self.entries.borrow_mut().get_mut(&fingerprint) {
            Some(Entry::Verified(until)) if *until > Instant::now() => {
                *until = Instant::now() + REMEMBERED;
                return Ok(());
            }
            Some(Entry::Pending(outcome)) => Some(outcome.clone()),
            Some(Entry::Verified(_)) | None => None,
        };
        let outcome = match &mut outcome {
            Some(outcome) => outcome,
            None => outcome.insert(self.begin(tasks, fingerprint, &sign_in)?),
        };
        // The sender is dropped without a value only if the verification panicked.
        let is_right = outcome.wait_for(Option::is_some).await.is_ok_and(|outcome| *outcome == Some(true));
        if is_right { Ok(()) } else { Err(SignInError::Wrong) }
    }

    /// Begins a verification, which continues even if the client goes away.
    fn begin(
        self: &Rc<Self>,
        tasks: &LocalTasks,
        fingerprint: Fingerprint,
        sign_in: &SignIn<'_>,
    ) -> Result<watch::Receiver<Option<bool>>, SignInError> {
        let slot = self.pool.pending.take(sign_in.route).ok_or(SignInError::Busy)?;
        self.pool.spend(sign_in).map_err(SignInError::TooManyFailures)?;
        let (sender, outcome) = watch::channel(None);
        self.entries.borrow_mut().insert(fingerprint, Entry::Pending(outcome.clone()));
        let verification = Verification {
            passwords: Rc::clone(self),
            fingerprint,
            password: Zeroizing::new(sign_in.password.to_vec()),
            scheme: sign_in.hash.scheme().clone(),
            is_known: sign_in.is_known,
            route: sign_in.route,
            client: sign_in.client,
            _slot: slot,
        };
        tasks.spawn("password", verification.run(sender));
        Ok(outcome)
    }

    /// Removes the passwords that are no longer remembered, and all verified ones if there are still too many.
    fn make_room(&self) {
        let mut entries = self.entries.borrow_mut();
        if entries.len() < MAX_REMEMBERED {
            return;
        }
        let now = Instant::now();
        entries.retain(|_, entry| !matches!(entry, Entry::Verified(until) if *until <= now));
        if entries.len() >= MAX_REMEMBERED {
            entries.retain(|_, entry| matches!(entry, Entry::Pending(_)));
        }
    }
}

/// A verification under way.
struct Verification {
    passwords: Rc<Passwords>,
    fingerprint: Fingerprint,
    password: Zeroizing<Vec<u8>>,
    scheme: PasswordScheme,
    is_known: bool,
    route: RouteId,
    client: IpAddr,
    _slot: Slot<RouteId>,
}

impl Verification {
    async fn run(self, sender: watch::Sender<Option<bool>>) {
        let Self { passwords, fingerprint, password, scheme, is_known, route, client, _slot } = self;
        let pool = &passwords.pool;
        let is_right = match Arc::clone(&pool.running).acquire_owned().await {
            Ok(permit) => spawn_blocking(move || {
                let _permit = permit;
                matches(&scheme, &password)
            })
            .await
            .unwrap_or(false),
            Err(_) => false,
        };
        let is_right = is_right && is_known;
        passwords.entries.borrow_mut().remove(&fingerprint);
        if is_right {
            if let Some(rate) = &pool.failures {
                pool.limits.return_sign_in(route, client, rate);
            }
            passwords.make_room();
            let verified = Entry::Verified(Instant::now() + REMEMBERED);
            passwords.entries.borrow_mut().insert(fingerprint, verified);
        }
        sender.send_replace(Some(is_right));
    }
}

/// Returns whether a password has this hash. Takes up to a few hundred milliseconds.
fn matches(scheme: &PasswordScheme, password: &[u8]) -> bool {
    match scheme {
        PasswordScheme::Argon2id { memory, passes, lanes, salt, output } => {
            let Ok(params) = Params::new(*memory, *passes, *lanes, Some(output.len())) else { return false };
            let mut computed = vec![0; output.len()];
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            let hashed = argon2.hash_password_into(password, salt, &mut computed);
            hashed.is_ok() && verify_slices_are_equal(&computed, output).is_ok()
        }
        PasswordScheme::Bcrypt { cost, salt, output } => {
            let mut terminated = Zeroizing::new(password.to_vec());
            terminated.push(0);
            terminated.truncate(BCRYPT_PASSWORD);
            let computed = bcrypt::bcrypt(*cost, *salt, &terminated);
            verify_slices_are_equal(computed.get(..output.len()).unwrap_or_default(), output).is_ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant as Clock;

    use super::*;

    /// Hashes of other programs, each with its password: of the command `argon2`, of PHP, of `htpasswd -B`, of Python.
    const HASHES: &[(&str, &str)] = &[
        (
            "password",
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        ),
        (
            "password",
            "$argon2id$v=19$m=65536,t=2,p=1$ZGlmZnNhbHQ$vfMrBczELrFdWP0ZsfhWsRPaHppYdP3MVEMIVlqoFBw",
        ),
        ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
        ("", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy"),
    ];

    fn pool() -> PasswordPool {
        PasswordPool::new(Arc::default())
    }

    fn sign_in<'a>(name: &'a str, password: &'a [u8], hash: &'a PasswordHash) -> SignIn<'a> {
        let (route, client) = (RouteId::from_bytes([1; 16]), "192.0.2.1".parse().unwrap());
        SignIn { route, client, name, password, hash, is_known: true }
    }

    #[test]
    fn hashes_of_other_programs_are_verified() {
        for (password, hash) in HASHES {
            let parsed = PasswordHash::parse(hash).unwrap();
            assert!(matches(parsed.scheme(), password.as_bytes()), "{hash}");
            assert!(!matches(parsed.scheme(), format!("{password}x").as_bytes()), "{hash}");
        }
    }

    #[test]
    fn bcrypt_takes_a_password_of_any_length() {
        let PasswordScheme::Bcrypt { cost, salt, .. } =
            PasswordHash::parse(HASHES[2].1).unwrap().scheme().clone()
        else {
            panic!("not bcrypt");
        };
        for length in [0, 1, 71, 72, 73, 1000] {
            let password = vec![b'x'; length];
            let mut terminated = [password.as_slice(), &[0]].concat();
            terminated.truncate(BCRYPT_PASSWORD);
            let output = bcrypt::bcrypt(cost, salt, &terminated)[..23].try_into().unwrap();
            assert!(matches(&PasswordScheme::Bcrypt { cost, salt, output }, &password), "{length}");
        }
    }

    /// The cost of each accepted extreme. The bounds of `PasswordHash` keep a verification below a second or so.
    #[test]
    #[ignore = "a measurement, for release builds"]
    fn the_cost_of_hashes() {
        let argon2 = |memory, passes, lanes| PasswordScheme::Argon2id {
            memory,
            passes,
            lanes,
            salt: [1; 16].into(),
            output: [2; 32].into(),
        };
        let bcrypt = |cost| PasswordScheme::Bcrypt { cost, salt: [1; 16], output: [2; 23] };
        for (name, scheme) in [
            ("argon2id m=4096 t=3", argon2(4096, 3, 1)),
            ("argon2id m=19456 t=2 (gwctl)", argon2(19456, 2, 1)),
            ("argon2id m=65536 t=3 p=4 (Python)", argon2(65536, 3, 4)),
            ("argon2id m=65536 t=4 (PHP, the maximum)", argon2(65536, 4, 1)),
            ("bcrypt 5 (htpasswd)", bcrypt(5)),
            ("bcrypt 10", bcrypt(10)),
            ("bcrypt 12 (the maximum)", bcrypt(12)),
        ] {
            let start = Clock::now();
            assert!(!matches(&scheme, b"password"));
            println!("{name}: {:?}", start.elapsed());
        }
    }

    fn run(test: impl AsyncFnOnce(Rc<Passwords>, LocalTasks)) {
        let passwords = Passwords::new(pool());
        tokio::runtime::LocalRuntime::new().unwrap().block_on(test(passwords, LocalTasks::default()));
    }

    #[test]
    fn equal_sign_ins_are_verified_once_and_remembered() {
        run(async |passwords, tasks| {
            let hash = PasswordHash::parse(HASHES[2].1).unwrap();
            // More than may be pending, and more than may fail.
            let many = (0..100).map(|_| passwords.verify(&tasks, sign_in("alice", b"U*U", &hash)));
            assert!(futures_util::future::join_all(many).await.iter().all(Result::is_ok));
            let wrong = (0..100).map(|_| passwords.verify(&tasks, sign_in("alice", b"wrong", &hash)));
            let wrong = futures_util::future::join_all(wrong).await;
            assert!(wrong.iter().all(|outcome| *outcome == Err(SignInError::Wrong)), "they count as one");
            assert_eq!(passwords.entries.borrow().len(), 1, "a wrong password is not remembered");
        });
    }

    #[test]
    fn a_changed_password_or_user_is_not_remembered() {
        run(async |passwords, tasks| {
            let hashes = [HASHES[2].1, HASHES[3].1].map(|text| PasswordHash::parse(text).unwrap());
            let verify = async |sign_in| passwords.verify(&tasks, sign_in).await;
            assert_eq!(verify(sign_in("alice", b"U*U", &hashes[0])).await, Ok(()));
            assert_eq!(verify(sign_in("alice", b"U*U", &hashes[1])).await, Err(SignInError::Wrong));
            let removed = SignIn { is_known: false, ..sign_in("alice", b"U*U", &hashes[0]) };
            assert_eq!(verify(removed).await, Err(SignInError::Wrong));
            assert_eq!(verify(sign_in("alice", b"U*U", &hashes[0])).await, Ok(()));
        });
    }

    #[test]
    fn failures_are_limited_by_network_and_successes_are_not() {
        run(async |passwords, tasks| {
            let hash = PasswordHash::parse(HASHES[2].1).unwrap();
            let texts: Vec<String> = (0..=FAILURE_BURST).map(|n| format!("wrong {n}")).collect();
            let verify = async |sign_in| passwords.verify(&tasks, sign_in).await;
            for text in &texts[1..] {
                let outcome = verify(sign_in("alice", text.as_bytes(), &hash)).await;
                assert_eq!(outcome, Err(SignInError::Wrong), "{text}");
                // One in between is right, which does not count, nor does it reset the count.
                if text.ends_with('5') {
                    assert_eq!(verify(sign_in("bob", b"U*U", &hash)).await, Ok(()));
                }
            }
            let next = verify(sign_in("alice", b"U*U", &hash)).await;
            assert!(matches!(next, Err(SignInError::TooManyFailures(_))), "{next:?}");
            let known = verify(sign_in("bob", b"U*U", &hash)).await;
            assert_eq!(known, Ok(()), "a remembered password is not affected");
            let elsewhere =
                SignIn { client: "198.51.100.1".parse().unwrap(), ..sign_in("alice", b"U*U", &hash) };
            assert_eq!(verify(elsewhere).await, Ok(()));
        });
    }

    #[test]
    fn pending_verifications_are_bounded_by_route() {
        run(async |passwords, tasks| {
            let hash = PasswordHash::parse(HASHES[2].1).unwrap();
            let texts: Vec<String> = (0..30).map(|n| format!("wrong {n}")).collect();
            let many = texts.iter().enumerate().map(|(n, text)| {
                // Each client has a network of its own.
                let client = std::net::Ipv4Addr::from([192, 0, u8::try_from(n).unwrap(), 1]).into();
                let sign_in = SignIn { client, ..sign_in("alice", text.as_bytes(), &hash) };
                passwords.verify(&tasks, sign_in)
            });
            let outcomes = futures_util::future::join_all(many).await;
            let wrong = outcomes.iter().filter(|outcome| **outcome == Err(SignInError::Wrong)).count();
            let busy = outcomes.iter().filter(|outcome| **outcome == Err(SignInError::Busy)).count();
            assert_eq!((wrong, busy), (MAX_PENDING_OF_ROUTE, 30 - MAX_PENDING_OF_ROUTE));
            assert_eq!(passwords.verify(&tasks, sign_in("alice", b"U*U", &hash)).await, Ok(()));
        });
    }
}
