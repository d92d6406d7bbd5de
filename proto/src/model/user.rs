//! What holds for one user: quotas, and suspension.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Reason;

/// The bounds on what a user may have; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// The most routes.
    pub routes: Option<u32>,
    /// The most backends, in all routes together.
    pub backends: Option<u32>,
    /// The most calls in a minute that change something.
    pub mutations_per_minute: Option<u32>,
}

/// A limit that was set for one user, in the place of the gateway's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// This many at most.
    AtMost(u32),
    /// No limit.
    Unlimited,
}

/// The quotas that were set for one user; `None` where the gateway's default holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnQuota {
    /// The limit of routes.
    pub routes: Option<Limit>,
    /// The limit of backends, in all routes together.
    pub backends: Option<Limit>,
    /// The limit of calls in a minute that change something.
    pub mutations_per_minute: Option<Limit>,
}

/// A user's suspension: their routes are not served, and they change nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// The reason, as the admin gave it.
    pub reason: Option<Reason>,
    /// The time it began.
    pub since: OffsetDateTime,
    /// The time it ends by itself; `None` if an admin has to end it.
    pub until: Option<OffsetDateTime>,
}

impl Limit {
    /// Returns the number; `None` if there is no limit.
    #[must_use]
    pub const fn number(self) -> Option<u32> {
        match self {
            Self::AtMost(most) => Some(most),
            Self::Unlimited => None,
        }
    }
}

impl OwnQuota {
    /// Returns the quota that holds: each limit of one's own, or the default.
    #[must_use]
    pub fn or(self, defaults: Quota) -> Quota {
        let or = |own: Option<Limit>, default| own.map_or(default, Limit::number);
        Quota {
            routes: or(self.routes, defaults.routes),
            backends: or(self.backends, defaults.backends),
            mutations_per_minute: or(self.mutations_per_minute, defaults.mutations_per_minute),
        }
    }
}

impl Suspension {
    /// Returns the end and the reason, to be put after the word "suspended"; empty if there is neither.
    #[must_use]
    pub fn terms(&self) -> String {
        // Formatting a date of this era cannot fail.
        let end = |until: OffsetDateTime| format!(" until {}", until.format(&Rfc3339).unwrap_or_default());
        let reason = self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        self.until.map(end).unwrap_or_default() + &reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_ones_own_comes_before_the_default() {
        let defaults = Quota { routes: Some(5), backends: Some(9), mutations_per_minute: None };
        let own = OwnQuota {
            routes: Some(Limit::AtMost(0)),
            backends: Some(Limit::Unlimited),
            mutations_per_minute: None,
        };
        let expected = Quota { routes: Some(0), backends: None, mutations_per_minute: None };
        assert_eq!((own.or(defaults), OwnQuota::default().or(defaults)), (expected, defaults));
    }

    #[test]
    fn the_terms_of_a_suspension_follow_the_word() {
        let plain = Suspension { reason: None, since: OffsetDateTime::UNIX_EPOCH, until: None };
        let reason = Some("late bill".parse().unwrap());
        let until = Some(OffsetDateTime::UNIX_EPOCH);
        for (suspension, terms) in [
            (plain.clone(), ""),
            (Suspension { until, ..plain.clone() }, " until 1970-01-01T00:00:00Z"),
            (Suspension { reason: reason.clone(), ..plain.clone() }, ": late bill"),
            (Suspension { reason, until, ..plain }, " until 1970-01-01T00:00:00Z: late bill"),
        ] {
            assert_eq!(suspension.terms(), terms);
        }
    }
}
