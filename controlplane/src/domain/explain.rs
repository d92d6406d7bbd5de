//! The first thing that is wrong with a host, in plain words: decided from the route and from what the nodes answer.

use std::time::Duration;

use webgateway_proto::feed::{BackendHealth, Explanation, ResourceName};
use webgateway_proto::model::{Host, Mode, Route};

use super::caller::Caller;
use super::directory::NodeAnswer;
use super::refusal::Refusal;
use super::route_status::{RouteState, RouteStatus, status_of};
use super::rules::Domain;
use crate::store::routes;

/// How long a node may take to answer: it tries its backends for 2 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// How a host looks from every connected node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostReport {
    /// The host's route, if it exists for the caller.
    pub route: Option<RouteStatus>,
    /// The first thing that is wrong; `None` if all is well.
    pub problem: Option<Problem>,
    /// How it looks from each connected node.
    pub nodes: Vec<NodeReport>,
}

/// How a host looks from one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeReport {
    /// The node's answer.
    pub answer: NodeAnswer,
    /// The first thing that is wrong there.
    pub problem: Option<Problem>,
}

/// Something that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The fault, in plain words.
    pub message: String,
    /// The next step for the owner or the operator.
    pub hint: &'static str,
}

impl Domain {
    /// Asks every connected node about a host. A host that is not the caller's looks like one that has no route.
    pub(crate) async fn explain(&self, caller: &Caller, host: &Host) -> Result<HostReport, Refusal> {
        let route = self.route_of(caller, host).await?;
        // How somebody else's host looks is nobody else's business.
        let answers = match route.is_some() || caller.own().is_none() {
            true => self.nodes.explain(host, ANSWER_TIMEOUT).await,
            false => Vec::new(),
        };
        let now = self.clock.now().unix_timestamp();
        let report = |answer: NodeAnswer| {
            let problem = at_node(route.as_ref().map(|shown| &shown.route), &answer, now);
            NodeReport { answer, problem }
        };
        let nodes: Vec<NodeReport> = answers.into_iter().map(report).collect();
        let problem = of_route(host, route.as_ref(), nodes.len()).or_else(|| {
            let (node, problem) =
                nodes.iter().find_map(|node| Some((&node.answer.node, node.problem.as_ref()?)))?;
            Some(Problem { message: format!("{node}: {}", problem.message), hint: problem.hint })
        });
        Ok(HostReport { route, problem, nodes })
    }

    /// The route of a host, if it exists for the caller.
    async fn route_of(&self, caller: &Caller, host: &Host) -> Result<Option<RouteStatus>, Refusal> {
        let (caller, host, gateway) = (caller.clone(), host.clone(), self.gateway());
        self.store
            .read("routes.explain", move |tx| {
                let found = routes::find_by_host(tx, &host)?.filter(|route| caller.sees(&route.owner));
                Ok(found.map(|route| status_of(tx, route, &gateway)).transpose()?)
            })
            .await
    }
}

fn problem(message: impl Into<String>, hint: &'static str) -> Problem {
    Problem { message: message.into(), hint }
}

/// Returns the first thing that is wrong before any node is looked at.
fn of_route(host: &Host, shown: Option<&RouteStatus>, nodes: usize) -> Option<Problem> {
    let Some(shown) = shown else {
        return Some(problem(
            format!("no route of yours leads {host} anywhere"),
            "create one with `routes.create`",
        ));
    };
    match shown.state {
        RouteState::Suspended => {
            Some(problem("its owner is suspended: the route is not served", "ask the operator"))
        }
        RouteState::WaitingForCertificate => {
            let reason = shown.obstacle.as_ref().map_or("", |obstacle| &obstacle.reason);
            let records = shown.obstacle.as_ref().is_some_and(|obstacle| !obstacle.records.is_empty());
            let hint = if records { "create the DNS records" } else { "wait for it, or ask the operator" };
            Some(problem(format!("it waits for its certificate: {reason}"), hint))
        }
        RouteState::Active if nodes == 0 => {
            Some(problem("no dataplane is connected: nothing is served", "the operator must start one"))
        }
        RouteState::Active => shown.obstacle.as_ref().map(|obstacle| {
            problem(
                &obstacle.reason,
                "update the route: name the address and port where the service itself listens",
            )
        }),
    }
}

/// Returns the first thing that is wrong at one node, at `now` (Unix seconds).
fn at_node(route: Option<&Route>, node: &NodeAnswer, now: i64) -> Option<Problem> {
    let Some(answer) = &node.answer else {
        return Some(problem(
            "it did not answer in time",
            "it may be cut off or overloaded: the operator can look",
        ));
    };
    let Some(route) = route else {
        let still = "it still serves a route that is gone";
        return answer.route.map(|_| problem(still, "it takes the change when it has caught up"));
    };
    let name = ResourceName::Route(route.id).to_string();
    if let Some(rejected) = node.rejects.iter().find(|rejected| rejected.resource == name) {
        return Some(problem(format!("it cannot use the route: {}", rejected.reason), "update the route"));
    }
    if answer.version < route.version {
        let behind = format!("it stands at version {}, the route is at {}", answer.version, route.version);
        return Some(problem(behind, "it takes the change when it has caught up; ask again in a moment"));
    }
    if answer.route != Some(route.id) {
        return Some(problem("it does not have the route", "ask the operator"));
    }
    certificate(route, answer, now).or_else(|| backends(&answer.backends))
}

fn certificate(route: &Route, answer: &Explanation, now: i64) -> Option<Problem> {
    if route.destination.mode == Mode::Passthrough {
        return None;
    }
    match &answer.certificate {
        None => Some(problem("it has no certificate for the host", "`certificates.get` says how it stands")),
        Some(served) if served.not_after <= now => {
            Some(problem("its certificate has expired", "`certificates.get` says why it was not renewed"))
        }
        Some(_) => None,
    }
}

fn backends(seen: &[BackendHealth]) -> Option<Problem> {
    let down: Vec<_> = seen.iter().filter_map(|seen| Some((seen.backend, seen.down.as_ref()?))).collect();
    let (backend, reason) = down.first()?;
    let hint = "does the service run, and does it listen on that address and port?";
    Some(match (down.len(), seen.len()) {
        (1, 1) => problem(format!("the backend {backend} cannot be used: {reason}"), hint),
        (bad, all) if bad == all => {
            problem(format!("none of the {all} backends can be used; {backend}: {reason}"), hint)
        }
        (bad, all) => problem(format!("{bad} of {all} backends cannot be used; {backend}: {reason}"), hint),
    })
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;
    use webgateway_proto::feed::ServedCertificate;
    use webgateway_proto::model::{Backends, CertificateId, Prefixes, RouteId};

    use super::*;
    use crate::domain::RejectedResource;
    use crate::domain::route_status::Obstacle;

    fn route() -> Route {
        Route {
            id: RouteId::from_bytes([1; 16]),
            owner: "a.pub".parse().unwrap(),
            host: Host::parse("a.example").unwrap(),
            destination: Backends::parse(&["[400::1]:80"], &Prefixes::default()).unwrap().into(),
            version: 7,
            created_at: OffsetDateTime::UNIX_EPOCH,
            updated_at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    fn answered(change: impl FnOnce(&mut Explanation)) -> NodeAnswer {
        let id = CertificateId::parse("a.example").unwrap();
        let certificate = Some(ServedCertificate { id, not_after: 100, fingerprint: [0; 32] });
        let backends = vec![BackendHealth { backend: "[400::1]:80".parse().unwrap(), down: None }];
        let mut answer = Explanation { id: 1, version: 7, route: Some(route().id), certificate, backends };
        change(&mut answer);
        NodeAnswer { node: "n".into(), rejects: vec![], answer: Some(answer) }
    }

    #[test]
    fn the_first_thing_that_is_wrong_is_said() {
        let route = route();
        let at = |answered: &NodeAnswer| at_node(Some(&route), answered, 50).map(|problem| problem.message);
        assert_eq!(at(&answered(|_| ())), None);
        let refused = |answer: &mut Explanation| answer.backends[0].down = Some("connection refused".into());
        let good = BackendHealth { backend: "[400::2]:80".parse().unwrap(), down: None };
        let mut rejected = answered(|answer| answer.route = None);
        let resource = format!("route/{}", route.id);
        rejected.rejects.push(RejectedResource { resource, reason: "too odd".into() });
        for (answered, words) in [
            (NodeAnswer { answer: None, ..answered(|_| ()) }, "did not answer"),
            (rejected, "cannot use the route: too odd"),
            (answered(|answer| (answer.version, answer.route) = (6, None)), "version 6, the route is at 7"),
            (answered(|answer| answer.route = None), "does not have the route"),
            (answered(|answer| answer.certificate = None), "no certificate"),
            (answered(|answer| answer.certificate.as_mut().unwrap().not_after = 50), "has expired"),
            (answered(refused), "the backend [400::1]:80 cannot be used: connection refused"),
            (
                answered(|answer| {
                    refused(answer);
                    answer.backends.push(good);
                }),
                "1 of 2 backends",
            ),
        ] {
            let said = at(&answered).unwrap();
            assert!(said.contains(words), "{said} / {words}");
        }
        assert_eq!(at_node(None, &answered(|answer| answer.route = None), 50), None);
        assert!(at_node(None, &answered(|_| ()), 50).is_some());
    }

    #[test]
    fn what_stands_in_the_way_of_a_route_comes_before_the_nodes() {
        let host = Host::parse("a.example").unwrap();
        let shown = |state, reason: Option<&str>| RouteStatus {
            route: route(),
            state,
            obstacle: reason.map(|reason| Obstacle { reason: reason.into(), records: vec![] }),
        };
        let said =
            |shown: Option<RouteStatus>, nodes| of_route(&host, shown.as_ref(), nodes).map(|p| p.message);
        assert!(said(None, 3).unwrap().contains("no route of yours"));
        assert!(said(Some(shown(RouteState::Suspended, None)), 3).unwrap().contains("suspended"));
        let waits = said(Some(shown(RouteState::WaitingForCertificate, Some("no address"))), 3).unwrap();
        assert!(waits.contains("certificate: no address"), "{waits}");
        assert!(said(Some(shown(RouteState::Active, None)), 0).unwrap().contains("no dataplane"));
        assert_eq!(said(Some(shown(RouteState::Active, None)), 1), None);
    }
}
