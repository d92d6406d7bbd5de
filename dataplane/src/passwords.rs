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

use crate::rate_limits::{LimitExceededError, RateLimits};

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
mod tests;
