//! The CAs' limits, kept by us: a loop stops here before it burns them.

use thiserror::Error;
use time::{Duration, OffsetDateTime};
use webgateway_proto::model::{CertName, Host};

use crate::store::budgets::{BudgetKey, record, spent_since};
use crate::store::{StoreError, Tx, WriteTx};

/// How often something may happen within a time that ends now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CaLimit {
    kind: &'static str,
    times: usize,
    within: Duration,
    what: &'static str,
}

// Let's Encrypt's, as published; other CAs allow more or do not say.
const ORDERS: CaLimit =
    CaLimit { kind: "order", times: 300, within: Duration::hours(3), what: "new orders of one account" };
const CERTIFICATES: CaLimit = CaLimit {
    kind: "certificate",
    times: 5,
    within: Duration::days(7),
    what: "certificates for one set of names",
};
const FAILURES: CaLimit =
    CaLimit { kind: "failure", times: 5, within: Duration::hours(1), what: "failed validations of one name" };

/// A limit is used up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "held back by us, before the CA does: {times} {what} within {hours} h are used up{}",
    for_whom(subject)
)]
pub(crate) struct BudgetError {
    times: usize,
    what: &'static str,
    hours: i64,
    subject: String,
    /// When there is room again.
    pub until: OffsetDateTime,
}

fn for_whom(subject: &str) -> String {
    if subject.is_empty() { String::new() } else { format!(" ({subject})") }
}

/// What is spent_since and left at one CA.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    directory: String,
}

impl Budget {
    /// At the CA of this directory.
    #[must_use]
    pub(crate) fn at(directory: &str) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Whether a certificate for these names may be ordered now. `life` is that of the one it replaces.
    pub(crate) fn admits(
        &self,
        tx: &mut Tx<'_>,
        names: &[CertName],
        now: OffsetDateTime,
        life: Option<Duration>,
    ) -> Result<Result<(), BudgetError>, StoreError> {
        let mut asked = vec![(ORDERS, String::new()), (certificates(life), set_of(names))];
        asked.extend(
            names.iter().map(|name| (FAILURES, name.to_string().trim_start_matches("*.").to_owned())),
        );
        for (limit, subject) in asked {
            let counted = self.counted(limit, subject.clone());
            if let Some(until) = room_at(limit, &spent_since(tx, &counted, now - limit.within)?) {
                let hours = limit.within.whole_hours();
                return Ok(Err(BudgetError { times: limit.times, what: limit.what, hours, subject, until }));
            }
        }
        Ok(Ok(()))
    }

    /// An order is about to be placed.
    pub(crate) fn ordered(&self, tx: &mut WriteTx<'_>, now: OffsetDateTime) -> Result<(), StoreError> {
        record(tx, &self.counted(ORDERS, String::new()), now)
    }

    /// A certificate was issued.
    pub(crate) fn issued(
        &self,
        tx: &mut WriteTx<'_>,
        names: &[CertName],
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        record(tx, &self.counted(CERTIFICATES, set_of(names)), now)
    }

    /// The CA looked for a proof and did not find it.
    pub(crate) fn failed(
        &self,
        tx: &mut WriteTx<'_>,
        host: &Host,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        record(tx, &self.counted(FAILURES, host.to_string()), now)
    }

    fn counted(&self, limit: CaLimit, subject: String) -> BudgetKey {
        BudgetKey { directory: self.directory.clone(), kind: limit.kind, subject }
    }
}

/// Certificates that live for days or hours are needed more often: as often as four times in their life.
fn certificates(life: Option<Duration>) -> CaLimit {
    let needed =
        life.filter(|life| life.is_positive()).map_or(0.0, |life| 4.0 * (CERTIFICATES.within / life));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
    let needed = needed.ceil() as usize;
    CaLimit { times: CERTIFICATES.times.max(needed), ..CERTIFICATES }
}

/// When there is room again; `None` if there is some. `spent_since` is the oldest first, all within the limit's time.
fn room_at(limit: CaLimit, spent_since: &[OffsetDateTime]) -> Option<OffsetDateTime> {
    let first_in_the_way = spent_since.len().checked_sub(limit.times)?;
    spent_since.get(first_in_the_way).map(|at| *at + limit.within)
}

fn set_of(names: &[CertName]) -> String {
    let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
    names.sort();
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::Metrics;
    use crate::store::Store;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    proptest! {
        #[test]
        fn a_loop_never_goes_over_a_limit(pauses in proptest::collection::vec(0_i64..4000, 1..100)) {
            let (mut now, mut spent_since) = (START, Vec::<OffsetDateTime>::new());
            for pause in pauses {
                now += Duration::seconds(pause);
                let recent: Vec<_> = spent_since.iter().copied().filter(|at| *at > now - FAILURES.within).collect();
                match room_at(FAILURES, &recent) {
                    None => spent_since.push(now),
                    Some(until) => prop_assert!(until > now && until <= now + FAILURES.within),
                }
            }
            for (i, first) in spent_since.iter().enumerate() {
                let within = spent_since[i..].iter().filter(|at| **at < *first + FAILURES.within).count();
                prop_assert!(within <= FAILURES.times);
            }
        }
    }

    #[test]
    fn a_short_life_is_never_held_back_to_its_end() {
        let times = |life| certificates(Some(life)).times;
        assert_eq!([90, 6, 1].map(|days| times(Duration::days(days))), [5, 5, 28]);
        assert_eq!(times(Duration::hours(1)), 672);
        assert_eq!((certificates(None).times, times(Duration::ZERO)), (5, 5));
    }

    #[tokio::test]
    async fn what_is_used_up_is_said_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let store =
            Store::open(&dir.path().join("c.db"), Metrics::register(&mut Registry::default())).unwrap();
        let write = store.write("test", |tx| -> Result<(), StoreError> {
            let (budget, other) = (Budget::at("https://one/dir"), Budget::at("https://two/dir"));
            let names: Vec<CertName> =
                ["shop.example", "*.shop.example"].map(|name| name.parse().unwrap()).into();
            for minute in 0..5 {
                assert_eq!(budget.admits(tx, &names, START + Duration::minutes(minute), None)?, Ok(()));
                budget.failed(
                    tx,
                    &Host::parse("shop.example").unwrap(),
                    START + Duration::minutes(minute),
                )?;
            }
            let now = START + Duration::minutes(30);
            let refused = budget.admits(tx, &names, now, None)?.unwrap_err();
            assert_eq!(refused.until, START + Duration::hours(1));
            assert!(refused.to_string().contains("shop.example"), "{refused}");
            assert_eq!(other.admits(tx, &names, now, None)?, Ok(()), "each CA has its own");
            assert_eq!(budget.admits(tx, &names, refused.until + Duration::seconds(1), None)?, Ok(()));
            let again = refused.until;
            for _ in 0..5 {
                budget.issued(tx, &[names[1].clone(), names[0].clone()], again)?;
            }
            let refused = budget.admits(tx, &names, again, None)?.unwrap_err();
            assert_eq!(refused.until, again + Duration::days(7), "the names in any order are one set");
            Ok(())
        });
        write.await.unwrap();
    }
}
