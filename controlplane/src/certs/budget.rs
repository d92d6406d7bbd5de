//! A count of our requests against the rate limits of CAs, which stops a loop before a CA blocks us.

use thiserror::Error;
use time::{Duration, OffsetDateTime};
use webgateway_proto::model::{CertName, Host, KeyId};

use crate::store::budgets::{BudgetKey, record, spent_since};
use crate::store::{StoreError, Tx, WriteTx};

/// A limit on the number of events within a window of time that ends now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CaLimit {
    kind: &'static str,
    count: usize,
    window: Duration,
    description: &'static str,
}

// The published limits of Let's Encrypt. Other CAs allow more or publish none.
const ORDERS: CaLimit = CaLimit {
    kind: "order",
    count: 300,
    window: Duration::hours(3),
    description: "new orders of one account",
};
const CERTIFICATES: CaLimit = CaLimit {
    kind: "certificate",
    count: 5,
    window: Duration::days(7),
    description: "certificates for one set of names",
};
const DOMAIN: CaLimit = CaLimit {
    kind: "domain",
    count: 50,
    window: Duration::days(7),
    description: "new certificates for one registered domain",
};

// Our own limits, which keep one owner from using up those of the CA.
const ORDERS_OF_OWNER: CaLimit =
    CaLimit { kind: "owner", count: 75, window: Duration::hours(3), description: "new orders of one owner" };
const DOMAIN_OF_OWNER: CaLimit = CaLimit {
    kind: "owner_domain",
    count: 25,
    window: Duration::days(7),
    description: "new certificates of one owner for one registered domain",
};

const FAILURES: CaLimit = CaLimit {
    kind: "failure",
    count: 5,
    window: Duration::hours(1),
    description: "failed validations of one name",
};

/// A limit is exhausted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "held back before the CA's own limit applies: {count} {description} within {hours} h are used up{}",
    in_parentheses(subject)
)]
pub(crate) struct BudgetError {
    count: usize,
    description: &'static str,
    hours: i64,
    subject: String,
    /// The time at which the limit allows another event.
    pub until: OffsetDateTime,
}

fn in_parentheses(subject: &str) -> String {
    if subject.is_empty() { String::new() } else { format!(" ({subject})") }
}

/// The subject of an order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OrderSubject<'a> {
    /// The names of the certificate.
    pub names: &'a [CertName],
    /// The owner of the host; `None` for the base domain.
    pub owner: Option<&'a KeyId>,
}

/// The count of events at one CA.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    directory: String,
}

impl Budget {
    /// Creates the count for the CA with this directory URL.
    #[must_use]
    pub(crate) fn for_ca(directory: &str) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Returns an error if an order would exceed a limit. `life` is the lifetime of the certificate that is to be
    /// replaced.
    pub(crate) fn check(
        &self,
        tx: &mut Tx<'_>,
        OrderSubject { names, owner }: OrderSubject<'_>,
        now: OffsetDateTime,
        life: Option<Duration>,
    ) -> Result<Result<(), BudgetError>, StoreError> {
        let mut checks = vec![(ORDERS, String::new()), (certificate_limit(life), names_key(names))];
        checks.extend(owner.map(|owner| (ORDERS_OF_OWNER, owner.to_string())));
        // The base domain's own certificate never waits for those of users.
        if life.is_none() && owner.is_some() {
            checks.extend(domain_limits(names, owner));
        }
        checks.extend(
            names.iter().map(|name| (FAILURES, name.to_string().trim_start_matches("*.").to_owned())),
        );
        for (limit, subject) in checks {
            let key = self.key(limit, subject.clone());
            if let Some(until) = available_at(limit, &spent_since(tx, &key, now - limit.window)?) {
                let hours = limit.window.whole_hours();
                return Ok(Err(BudgetError {
                    count: limit.count,
                    description: limit.description,
                    hours,
                    subject,
                    until,
                }));
            }
        }
        Ok(Ok(()))
    }

    /// Counts an order that is about to be placed for a host of `owner`.
    pub(crate) fn record_order(
        &self,
        tx: &mut WriteTx<'_>,
        owner: Option<&KeyId>,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        record(tx, &self.key(ORDERS, String::new()), now)?;
        owner.map_or(Ok(()), |owner| record(tx, &self.key(ORDERS_OF_OWNER, owner.to_string()), now))
    }

    /// Counts an issued certificate. A renewal does not count for its registered domain.
    pub(crate) fn record_certificate(
        &self,
        tx: &mut WriteTx<'_>,
        OrderSubject { names, owner }: OrderSubject<'_>,
        now: OffsetDateTime,
        is_renewal: bool,
    ) -> Result<(), StoreError> {
        record(tx, &self.key(CERTIFICATES, names_key(names)), now)?;
        let limits = if is_renewal { Vec::new() } else { domain_limits(names, owner) };
        limits.into_iter().try_for_each(|(limit, subject)| record(tx, &self.key(limit, subject), now))
    }

    /// Counts a failed validation.
    pub(crate) fn record_failure(
        &self,
        tx: &mut WriteTx<'_>,
        host: &Host,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        record(tx, &self.key(FAILURES, host.to_string()), now)
    }

    fn key(&self, limit: CaLimit, subject: String) -> BudgetKey {
        BudgetKey { directory: self.directory.clone(), kind: limit.kind, subject }
    }
}

/// Returns the limit on certificates. Short-lived ones are renewed more often, so that four per lifetime are allowed.
fn certificate_limit(life: Option<Duration>) -> CaLimit {
    let needed =
        life.filter(|life| life.is_positive()).map_or(0.0, |life| 4.0 * (CERTIFICATES.window / life));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
    let needed = needed.ceil() as usize;
    CaLimit { count: CERTIFICATES.count.max(needed), ..CERTIFICATES }
}

/// Returns the time at which another event is allowed; `None` if it is allowed now. `times` holds the counted events
/// within the window, oldest first.
fn available_at(limit: CaLimit, times: &[OffsetDateTime]) -> Option<OffsetDateTime> {
    let first_counted = times.len().checked_sub(limit.count)?;
    times.get(first_counted).map(|at| *at + limit.window)
}

/// Returns the limits on new certificates for the registered domain of the first name, with the subjects that they count.
fn domain_limits(names: &[CertName], owner: Option<&KeyId>) -> Vec<(CaLimit, String)> {
    let Some(CertName::Exact(host) | CertName::Wildcard(host)) = names.first() else { return Vec::new() };
    let domain = registered_domain(host.as_str());
    let mut limits = vec![(DOMAIN, domain.to_owned())];
    limits.extend(owner.map(|owner| (DOMAIN_OF_OWNER, format!("{owner} {domain}"))));
    limits
}

/// The labels that many countries have below their top-level domain for registrations by the public.
const SECOND_LEVEL: [&str; 13] =
    ["ac", "co", "com", "edu", "gob", "gov", "go", "ltd", "mil", "ne", "net", "or", "org"];

/// Returns the registered domain of a host by a simple rule instead of the list of public suffixes: the last two labels,
/// or three if the last has two letters and the one before it is customary, as in `example.co.uk`. Names below some
/// suffixes are counted together, which holds them back earlier than the CA would.
fn registered_domain(host: &str) -> &str {
    let mut labels = host.rsplit('.');
    let (last, second) = (labels.next().unwrap_or_default(), labels.next().unwrap_or_default());
    let count = if last.len() == 2 && SECOND_LEVEL.contains(&second) { 3 } else { 2 };
    host.rmatch_indices('.').nth(count - 1).map_or(host, |(dot, _)| &host[dot + 1..])
}

fn names_key(names: &[CertName]) -> String {
    let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
    names.sort();
    names.join(" ")
}

#[cfg(test)]
mod tests;
