//! Which certificates are to be issued, renewed or dropped now, and when to look again.

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;
use webgateway_proto::model::{CertName, CertificateId, Host};

use crate::store::certificates::Validity;

/// A certificate that is needed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// What it is called.
    pub id: CertificateId,
    /// What it must be good for.
    pub names: Vec<CertName>,
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be issued, or issued anew; those without any first.
    pub issue: Vec<Wanted>,
    /// No longer needed.
    pub drop: Vec<CertificateId>,
    /// When the next of those that stay is due.
    pub wake: Option<OffsetDateTime>,
}

impl Wanted {
    /// The certificate of the base domain and everything one label below it.
    #[must_use]
    pub fn base(base: &Host) -> Self {
        let names = vec![CertName::Exact(base.clone()), CertName::Wildcard(base.clone())];
        Self { id: CertificateId::from(base), names }
    }

    /// The certificate of one host of its own; `None` if the base domain's covers it.
    #[must_use]
    pub fn host(host: &Host, base: &Host) -> Option<Self> {
        let own = host != base && !host.is_child_of(base);
        own.then(|| Self { id: CertificateId::from(host), names: vec![CertName::Exact(host.clone())] })
    }
}

/// Decides over all certificates: `hosts` are those of all terminated routes, `issuer` is who issues now.
#[must_use]
pub fn plan(
    now: OffsetDateTime,
    base: &Host,
    hosts: impl IntoIterator<Item = Host>,
    held: &[Validity],
    issuer: &str,
) -> Plan {
    let own = hosts.into_iter().filter_map(|host| Wanted::host(&host, base));
    let wanted: BTreeSet<Wanted> = own.chain([Wanted::base(base)]).collect();
    let held: BTreeMap<&CertificateId, &Validity> = held.iter().map(|held| (&held.id, held)).collect();
    let mut plan = Plan::default();
    let (mut missing, mut due) = (Vec::new(), Vec::new());
    for wanted in &wanted {
        match held.get(&wanted.id) {
            Some(held) if held.names == wanted.names && held.issuer == issuer => {
                let at = renew_at(held);
                if at <= now {
                    due.push(wanted.clone());
                } else {
                    plan.wake = Some(plan.wake.map_or(at, |wake| wake.min(at)));
                }
            }
            Some(_) | None => missing.push(wanted.clone()),
        }
    }
    let ids: BTreeSet<&CertificateId> = wanted.iter().map(|wanted| &wanted.id).collect();
    plan.drop = held.keys().filter(|id| !ids.contains(*id)).map(|&id| id.clone()).collect();
    plan.issue = [missing, due].concat();
    plan
}

/// One third of the lifetime before the end.
fn renew_at(held: &Validity) -> OffsetDateTime {
    held.not_after - (held.not_after - held.not_before) / 3
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    fn base() -> Host {
        host("gw.example")
    }

    fn held(wanted: &Wanted, age_days: i64) -> Validity {
        let not_before = NOW - Duration::days(age_days);
        let not_after = not_before + Duration::days(90);
        Validity {
            id: wanted.id.clone(),
            names: wanted.names.clone(),
            issuer: "internal".into(),
            not_before,
            not_after,
        }
    }

    fn planned(hosts: &[&str], held: &[Validity]) -> Plan {
        plan(NOW, &base(), hosts.iter().map(|text| host(text)), held, "internal")
    }

    #[test]
    fn one_certificate_for_the_base_and_one_for_each_host_it_does_not_cover() {
        let hosts = ["app.gw.example", "deep.app.gw.example", "shop.example", "shop.example"];
        let issue = planned(&hosts, &[]).issue;
        let names: Vec<String> = issue
            .iter()
            .map(|w| w.names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(names, ["deep.app.gw.example", "gw.example *.gw.example", "shop.example"]);
    }

    #[test]
    fn what_is_good_stays_until_a_third_is_left() {
        let wanted = Wanted::base(&base());
        let fresh = planned(&[], &[held(&wanted, 59)]);
        assert_eq!(fresh, Plan { wake: Some(NOW + Duration::days(1)), ..Plan::default() });
        assert_eq!(planned(&[], &[held(&wanted, 60)]).issue, std::slice::from_ref(&wanted));
        assert_eq!(planned(&[], &[held(&wanted, 1000)]).issue, [wanted]);
    }

    #[test]
    fn another_issuer_or_other_names_mean_a_new_one() {
        let wanted = Wanted::base(&base());
        let mut other = held(&wanted, 1);
        other.issuer = "acme".into();
        assert_eq!(planned(&[], &[other]).issue, std::slice::from_ref(&wanted));
        let mut fewer = held(&wanted, 1);
        fewer.names.pop();
        assert_eq!(planned(&[], &[fewer]).issue, [wanted]);
    }

    #[test]
    fn what_nobody_needs_is_dropped() {
        let shop = Wanted::host(&host("shop.example"), &base()).unwrap();
        let all = [held(&Wanted::base(&base()), 1), held(&shop, 1)];
        assert_eq!(planned(&["shop.example"], &all).drop, []);
        let plan = planned(&[], &all);
        assert_eq!((plan.issue.len(), plan.drop), (0, vec![shop.id]));
    }
}
