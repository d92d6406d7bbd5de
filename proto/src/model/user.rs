//! The quotas and the suspension of a user.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Reason;

/// The quotas of a user; `None` means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// The maximum number of routes.
    pub routes: Option<u32>,
    /// The maximum number of backends in all routes together.
    pub backends: Option<u32>,
    /// The maximum number of mutations per minute.
    pub mutations_per_minute: Option<u32>,
}

/// A limit set for one user, in place of the gateway's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// At most this number.
    AtMost(u32),
    /// No limit.
    Unlimited,
}

/// The quotas set for one user; `None` where the gateway's default applies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnQuota {
    /// The limit on the number of routes.
    pub routes: Option<Limit>,
    /// The limit on the number of backends in all routes together.
    pub backends: Option<Limit>,
    /// The limit on the number of mutations per minute.
    pub mutations_per_minute: Option<Limit>,
}

/// A suspension of a user: the user's routes are not served, and the user cannot change anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// The reason, as the admin gave it.
    pub reason: Option<Reason>,
    /// The time at which the suspension began.
    pub since: OffsetDateTime,
    /// The time at which the suspension ends automatically; `None` if an admin has to end it.
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
    /// Returns the effective quotas: the user's own limits, and `defaults` for the others.
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
    /// Returns the end and the reason as a text to append to "suspended"; empty if there is neither.
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
    fn a_users_own_limit_overrides_the_default() {
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
    fn the_terms_of_a_suspension_list_end_and_reason() {
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
