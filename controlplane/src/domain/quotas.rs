//! The quotas of users: what they may have, and how often they may change something. The admin has none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use webgateway_proto::model::{KeyId, Limit, OwnQuota, Quota};

use super::caller::Caller;
use super::refusal::{Refusal, UserRefusal};
use crate::store::{Store, StoreError, Tx, users};

const MINUTE: Duration = Duration::from_secs(60);
/// The most users that are counted in one minute; more mutations than that the store cannot make in it.
const CAPACITY: usize = 100_000;

/// The defaults, and who made how many mutations lately; in memory and bounded. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Quotas {
    defaults: Arc<RwLock<Quota>>,
    rates: Arc<Mutex<Rates>>,
}

/// The part that a change adds to what an owner has.
pub(super) struct More {
    pub(super) routes: u64,
    pub(super) backends: u64,
}

/// The number of a request's mutations that may be made, and the reason why more may not.
#[derive(Debug)]
pub(crate) struct MutationAllowance {
    left: usize,
    most: u32,
    retry_after: u64,
}

#[derive(Debug, Default)]
struct Rates {
    /// Limits of users' own, from the store.
    own: HashMap<KeyId, Limit>,
    /// When the minute began.
    began: Option<Instant>,
    /// The number of mutations that each user made in it.
    made: HashMap<KeyId, u32>,
}

impl Quotas {
    /// With the defaults of the configuration.
    #[must_use]
    pub(crate) fn new(defaults: Quota) -> Self {
        Self { defaults: Arc::new(RwLock::new(defaults)), rates: Arc::default() }
    }

    /// Replaces the defaults.
    pub(crate) fn set_defaults(&self, defaults: Quota) {
        *self.defaults.write().unwrap_or_else(PoisonError::into_inner) = defaults;
    }

    fn defaults(&self) -> Quota {
        *self.defaults.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the quota that holds for a user with these limits of their own.
    pub(super) fn of(&self, own: OwnQuota) -> Quota {
        own.or(self.defaults())
    }

    /// Reads the limits that hold before the store is asked.
    pub(crate) async fn load(&self, store: &Store) -> Result<(), StoreError> {
        let limited = store.read("quotas", users::own_mutation_limits).await?;
        limited.into_iter().for_each(|(user, limit)| self.set_rate(user, Some(limit)));
        Ok(())
    }

    /// Counts mutations that a caller is about to make.
    #[must_use]
    pub(crate) fn grant(&self, caller: &Caller, wanted: usize) -> MutationAllowance {
        match caller.own() {
            Some(user) if wanted > 0 => self.take(user, wanted, Instant::now()),
            Some(_) | None => MutationAllowance::all(wanted),
        }
    }

    /// Refuses the caller more than they may have.
    pub(super) fn admit(&self, tx: &mut Tx<'_>, caller: &Caller, more: &More) -> Result<(), Refusal> {
        let Some(user) = caller.own() else { return Ok(()) };
        let known = users::find(tx, user)?;
        let (routes, backends) = known.as_ref().map_or((0, 0), |user| (user.routes, user.backends));
        let quota = self.of(known.map(|user| user.quota).unwrap_or_default());
        let exceeded = |have: u64, more: u64, most: Option<u32>| {
            most.filter(|most| more > 0 && have.saturating_add(more) > u64::from(*most))
        };
        if let Some(most) = exceeded(routes, more.routes, quota.routes) {
            return Err(UserRefusal::Routes { have: routes, most }.into());
        }
        if let Some(most) = exceeded(backends, more.backends, quota.backends) {
            return Err(UserRefusal::Backends { have: backends, most, more: more.backends }.into());
        }
        Ok(())
    }

    /// A user has another limit of mutations.
    pub(super) fn set_rate(&self, user: KeyId, own: Option<Limit>) {
        let mut rates = self.rates();
        match own {
            Some(limit) => drop(rates.own.insert(user, limit)),
            None => drop(rates.own.remove(&user)),
        }
    }

    fn take(&self, user: &KeyId, wanted: usize, now: Instant) -> MutationAllowance {
        let mut rates = self.rates();
        let own = rates.own.get(user).copied();
        let limit = own.map_or(self.defaults().mutations_per_minute, Limit::number);
        match limit {
            Some(most) => rates.take(user, wanted, most, now),
            None => MutationAllowance::all(wanted),
        }
    }

    fn rates(&self) -> MutexGuard<'_, Rates> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rates {
    fn take(&mut self, user: &KeyId, wanted: usize, most: u32, now: Instant) -> MutationAllowance {
        let passed = self.began.map_or(MINUTE, |began| now.saturating_duration_since(began));
        if passed >= MINUTE {
            self.made.clear();
            self.began = Some(now);
        }
        let left = if passed >= MINUTE { MINUTE } else { MINUTE - passed };
        let retry_after = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        if self.made.len() >= CAPACITY && !self.made.contains_key(user) {
            return MutationAllowance::all(wanted);
        }
        let made = self.made.entry(user.clone()).or_default();
        let granted = u32::try_from(wanted).unwrap_or(u32::MAX).min(most.saturating_sub(*made));
        *made += granted;
        MutationAllowance { left: granted as usize, most, retry_after }
    }
}

impl MutationAllowance {
    /// All of them.
    #[must_use]
    pub(crate) fn all(wanted: usize) -> Self {
        Self { left: wanted, most: u32::MAX, retry_after: 0 }
    }

    /// Returns true if there is one at least.
    #[must_use]
    pub(crate) fn any(&self) -> bool {
        self.left > 0
    }

    /// Takes one of them.
    pub(crate) fn spend(&mut self) -> Result<(), Refusal> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => {
                return Err(UserRefusal::TooFast { most: self.most, retry_after: self.retry_after }.into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas(most: u32) -> Quotas {
        Quotas::new(Quota { mutations_per_minute: Some(most), ..Quota::default() })
    }

    #[test]
    fn mutations_are_counted_by_the_minute_and_by_the_key() {
        let (quotas, start) = (quotas(3), Instant::now());
        let (a, b): (KeyId, KeyId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(quotas.take(&a, 2, at(0)).left, 2);
        let mut some = quotas.take(&a, 2, at(10_500));
        assert!(some.spend().is_ok());
        let refused = some.spend().unwrap_err();
        assert!(
            matches!(refused, Refusal::User(UserRefusal::TooFast { most: 3, retry_after: 50 })),
            "{refused:?}"
        );
        assert!(!quotas.take(&a, 1, at(59_999)).any());
        assert_eq!(quotas.take(&a, 1, at(59_999)).retry_after, 1);
        assert_eq!(quotas.take(&b, 9, at(59_999)).left, 3);
        assert_eq!(quotas.take(&a, 9, at(60_000)).left, 3);
    }

    #[test]
    fn a_limit_of_ones_own_comes_before_the_default() {
        let (quotas, now) = (quotas(1), Instant::now());
        let a: KeyId = "a".parse().unwrap();
        quotas.set_rate(a.clone(), Some(Limit::Unlimited));
        assert_eq!(quotas.take(&a, 50, now).left, 50);
        quotas.set_rate(a.clone(), Some(Limit::AtMost(2)));
        assert_eq!(quotas.take(&a, 50, now).left, 2);
        quotas.set_rate(a.clone(), None);
        assert!(!quotas.take(&a, 1, now).any());
    }

    #[test]
    fn memory_stays_bounded() {
        let (quotas, now) = (quotas(1), Instant::now());
        for i in 0..CAPACITY + 10 {
            let key: KeyId = format!("k{i}").parse().unwrap();
            assert!(quotas.take(&key, 1, now).any());
        }
        assert_eq!(quotas.rates().made.len(), CAPACITY);
        assert!(!quotas.take(&"k0".parse().unwrap(), 1, now).any(), "who was counted still is");
    }
}
