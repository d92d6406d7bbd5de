//! The quotas of users: limits of routes, of backends, and of mutations per minute. The admin has none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use webgateway_proto::model::{KeyId, Limit, OwnQuota, Quota};

use super::caller::Caller;
use super::error::{DomainError, UserError};
use crate::store::{Store, StoreError, Tx, users};

const MINUTE: Duration = Duration::from_secs(60);
/// The maximum number of users whose mutations are counted at once. The store cannot commit more mutations in a minute.
const CAPACITY: usize = 100_000;

/// The default quotas, and the users' mutation counts in memory. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Quotas {
    defaults: Arc<RwLock<Quota>>,
    counts: Arc<Mutex<MutationCounts>>,
}

/// The routes and backends that a change adds to an owner's usage.
pub(super) struct UsageIncrease {
    pub(super) routes: u64,
    pub(super) backends: u64,
}

/// The number of mutations that a request may still make, and the limit if it is exceeded.
#[derive(Debug)]
pub(crate) struct MutationAllowance {
    left: usize,
    most: u32,
    retry_after: u64,
}

/// The mutations of the current minute by user. The time is divided into minutes, not a sliding window.
#[derive(Debug, Default)]
struct MutationCounts {
    /// The users' own limits, from the store.
    limits: HashMap<KeyId, Limit>,
    /// The start of the current minute.
    minute_start: Option<Instant>,
    /// The number of mutations that each user made in the current minute.
    made: HashMap<KeyId, u32>,
}

impl Quotas {
    /// Creates quotas with the defaults of the configuration.
    #[must_use]
    pub(crate) fn new(defaults: Quota) -> Self {
        Self { defaults: Arc::new(RwLock::new(defaults)), counts: Arc::default() }
    }

    /// Replaces the defaults.
    pub(crate) fn set_defaults(&self, defaults: Quota) {
        *self.defaults.write().unwrap_or_else(PoisonError::into_inner) = defaults;
    }

    fn defaults(&self) -> Quota {
        *self.defaults.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the quota of a user with these limits of their own. Defaults apply to limits that are not set.
    pub(super) fn of(&self, own: OwnQuota) -> Quota {
        own.or(self.defaults())
    }

    /// Loads the users' own mutation limits, which are checked without reading the store.
    pub(crate) async fn load(&self, store: &Store) -> Result<(), StoreError> {
        let limited = store.read("quotas", users::own_mutation_limits).await?;
        limited.into_iter().for_each(|(user, limit)| self.set_mutation_limit(user, Some(limit)));
        Ok(())
    }

    /// Counts `count` mutations that a caller is about to make, and returns how many of them are allowed.
    #[must_use]
    pub(crate) fn reserve(&self, caller: &Caller, count: usize) -> MutationAllowance {
        match caller.as_user() {
            Some(user) if count > 0 => self.take(user, count, Instant::now()),
            Some(_) | None => MutationAllowance::full(count),
        }
    }

    /// Returns an error if `increase` would exceed the caller's quota.
    pub(super) fn admit(
        &self,
        tx: &mut Tx<'_>,
        caller: &Caller,
        increase: &UsageIncrease,
    ) -> Result<(), DomainError> {
        let Some(user) = caller.as_user() else { return Ok(()) };
        let known = users::find(tx, user)?;
        let (routes, backends) = known.as_ref().map_or((0, 0), |user| (user.routes, user.backends));
        let quota = self.of(known.map(|user| user.quota).unwrap_or_default());
        let exceeded = |have: u64, added: u64, most: Option<u32>| {
            most.filter(|most| added > 0 && have.saturating_add(added) > u64::from(*most))
        };
        if let Some(most) = exceeded(routes, increase.routes, quota.routes) {
            return Err(UserError::Routes { have: routes, most }.into());
        }
        if let Some(most) = exceeded(backends, increase.backends, quota.backends) {
            return Err(UserError::Backends { have: backends, most, more: increase.backends }.into());
        }
        Ok(())
    }

    /// Returns the number of mutations that a user has made in the current minute.
    pub(super) fn mutations_of(&self, user: &KeyId) -> u32 {
        let counts = self.mutation_counts();
        let is_over = counts.minute_start.is_none_or(|start| start.elapsed() >= MINUTE);
        counts.made.get(user).copied().filter(|_| !is_over).unwrap_or_default()
    }

    /// Sets or clears a user's own limit of mutations per minute.
    pub(super) fn set_mutation_limit(&self, user: KeyId, own: Option<Limit>) {
        let mut counts = self.mutation_counts();
        match own {
            Some(limit) => drop(counts.limits.insert(user, limit)),
            None => drop(counts.limits.remove(&user)),
        }
    }

    fn take(&self, user: &KeyId, count: usize, now: Instant) -> MutationAllowance {
        let mut counts = self.mutation_counts();
        let own = counts.limits.get(user).copied();
        let limit = own.map_or(self.defaults().mutations_per_minute, Limit::number);
        match limit {
            Some(most) => counts.take(user, count, most, now),
            None => MutationAllowance::full(count),
        }
    }

    fn mutation_counts(&self) -> MutexGuard<'_, MutationCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MutationCounts {
    fn take(&mut self, user: &KeyId, count: usize, most: u32, now: Instant) -> MutationAllowance {
        let elapsed = self.minute_start.map_or(MINUTE, |start| now.saturating_duration_since(start));
        if elapsed >= MINUTE {
            self.made.clear();
            self.minute_start = Some(now);
        }
        let left = if elapsed >= MINUTE { MINUTE } else { MINUTE - elapsed };
        let retry_after = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        if self.made.len() >= CAPACITY && !self.made.contains_key(user) {
            return MutationAllowance::full(count);
        }
        let made = self.made.entry(user.clone()).or_default();
        let allowed = u32::try_from(count).unwrap_or(u32::MAX).min(most.saturating_sub(*made));
        *made += allowed;
        MutationAllowance { left: allowed as usize, most, retry_after }
    }
}

impl MutationAllowance {
    /// Creates an allowance for all `count` mutations.
    #[must_use]
    pub(crate) fn full(count: usize) -> Self {
        Self { left: count, most: u32::MAX, retry_after: 0 }
    }

    /// Returns true if at least one mutation is allowed.
    #[must_use]
    pub(crate) fn has_any(&self) -> bool {
        self.left > 0
    }

    /// Uses one mutation of the allowance. Returns an error if none is left.
    pub(crate) fn spend(&mut self) -> Result<(), DomainError> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => {
                return Err(UserError::RateLimited { most: self.most, retry_after: self.retry_after }.into());
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
            matches!(refused, DomainError::User(UserError::RateLimited { most: 3, retry_after: 50 })),
            "{refused:?}"
        );
        assert!(!quotas.take(&a, 1, at(59_999)).has_any());
        assert_eq!(quotas.take(&a, 1, at(59_999)).retry_after, 1);
        assert_eq!(quotas.take(&b, 9, at(59_999)).left, 3);
        assert_eq!(quotas.take(&a, 9, at(60_000)).left, 3);
    }

    #[test]
    fn a_users_own_limit_overrides_the_default() {
        let (quotas, now) = (quotas(1), Instant::now());
        let a: KeyId = "a".parse().unwrap();
        quotas.set_mutation_limit(a.clone(), Some(Limit::Unlimited));
        assert_eq!(quotas.take(&a, 50, now).left, 50);
        quotas.set_mutation_limit(a.clone(), Some(Limit::AtMost(2)));
        assert_eq!(quotas.take(&a, 50, now).left, 2);
        quotas.set_mutation_limit(a.clone(), None);
        assert!(!quotas.take(&a, 1, now).has_any());
    }

    #[test]
    fn the_number_of_counted_users_is_bounded() {
        let (quotas, now) = (quotas(1), Instant::now());
        for i in 0..CAPACITY + 10 {
            let key: KeyId = format!("k{i}").parse().unwrap();
            assert!(quotas.take(&key, 1, now).has_any());
        }
        assert_eq!(quotas.mutation_counts().made.len(), CAPACITY);
        assert!(
            !quotas.take(&"k0".parse().unwrap(), 1, now).has_any(),
            "users counted before are still limited"
        );
    }
}
