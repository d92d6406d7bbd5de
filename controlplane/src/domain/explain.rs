//! The diagnosis of a host: the first problem that is found in its route and in the nodes' explanations.

use std::time::Duration;

use webgateway_proto::feed::{BackendHealth, Explanation, ResourceName};
use webgateway_proto::model::{Host, Mode, Route};

use super::caller::Caller;
use super::directory::NodeExplanation;
use super::error::DomainError;
use super::route_status::{RouteState, RouteStatus, status_of};
use super::rules::Domain;
use crate::store::{StoreError, Tx, routes, tenure};

/// The time within which a node must respond. A node probes its backends for 2 s.
const EXPLAIN_TIMEOUT: Duration = Duration::from_secs(4);

/// A report on how a host is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostReport {
    /// The host's route, if the caller can see it.
    pub route: Option<RouteStatus>,
    /// The first problem found, if any.
    pub problem: Option<Problem>,
    /// The reports on the connected nodes.
    pub nodes: Vec<NodeReport>,
}

/// A report on how one node serves a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeReport {
    /// The node's explanation.
    pub explanation: NodeExplanation,
    /// The first problem found at this node, if any.
    pub problem: Option<Problem>,
}

/// A problem, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// A description of the problem.
    pub message: String,
    /// The next step for the owner or the operator.
    pub hint: &'static str,
}

impl Domain {
    /// Reports how the connected nodes serve a host. A host whose route the caller cannot see is reported as having no
    /// route.
    pub(crate) async fn explain(&self, caller: &Caller, host: &Host) -> Result<HostReport, DomainError> {
        let found = self.checked_route_of(caller, host).await?;
        // Explanations reveal the route that holds the host, with its backends. A claim alone gives no right to them.
        let may_see = caller.as_user().is_none() || found.as_ref().is_some_and(|found| found.is_held);
        let explanations = match may_see {
            true => self.nodes.explain(host, EXPLAIN_TIMEOUT).await,
            false => Vec::new(),
        };
        let route = found.map(|found| found.status);
        let now = self.clock.now().unix_timestamp();
        let report = |explanation: NodeExplanation| {
            let problem = problem_at_node(route.as_ref().map(|status| &status.route), &explanation, now);
            NodeReport { explanation, problem }
        };
        let nodes: Vec<NodeReport> = explanations.into_iter().map(report).collect();
        let problem = problem_of_route(host, route.as_ref(), nodes.len()).or_else(|| {
            let (node, problem) =
                nodes.iter().find_map(|node| Some((&node.explanation.node, node.problem.as_ref()?)))?;
            Some(Problem { message: format!("{node}: {}", problem.message), hint: problem.hint })
        });
        Ok(HostReport { route, problem, nodes })
    }

    /// Returns the route of a host, if the caller can see it. If the route only claims the host, the DNS is asked first.
    async fn checked_route_of(
        &self,
        caller: &Caller,
        host: &Host,
    ) -> Result<Option<VisibleRoute>, DomainError> {
        let found = self.route_of(caller, host).await?;
        let is_claim = |state| matches!(state, RouteState::Unproven | RouteState::Displaced);
        if !found.as_ref().is_some_and(|found| is_claim(found.status.state)) {
            return Ok(found);
        }
        self.check_host_again(host).await?;
        self.route_of(caller, host).await
    }

    async fn route_of(&self, caller: &Caller, host: &Host) -> Result<Option<VisibleRoute>, DomainError> {
        let (caller, host, gateway) = (caller.clone(), host.clone(), self.gateway());
        self.store
            .read("routes.explain", move |tx| {
                let found = match caller.as_user() {
                    Some(user) => tenure::find_own(tx, &host, user)?,
                    None => visible_to_admin(tx, &host)?,
                };
                let Some(route) = found else { return Ok(None) };
                let is_held = routes::find_by_host(tx, &host)?.is_some_and(|holder| holder.id == route.id);
                Ok(Some(VisibleRoute { status: status_of(tx, route, &gateway)?, is_held }))
            })
            .await
    }
}

/// A route that the caller can see.
struct VisibleRoute {
    status: RouteStatus,
    /// Is false if the route only claims its host.
    is_held: bool,
}

/// Returns the route that holds a host, or else the oldest one that claims it.
fn visible_to_admin(tx: &mut Tx<'_>, host: &Host) -> Result<Option<Route>, StoreError> {
    match routes::find_by_host(tx, host)? {
        Some(holder) => Ok(Some(holder)),
        None => Ok(tenure::of_host(tx, host)?.into_iter().next().map(|(route, _)| route)),
    }
}

fn problem(message: impl Into<String>, hint: &'static str) -> Problem {
    Problem { message: message.into(), hint }
}

/// Returns the first problem that the route itself has, before any node is considered.
fn problem_of_route(host: &Host, status: Option<&RouteStatus>, nodes: usize) -> Option<Problem> {
    let Some(status) = status else {
        return Some(problem(
            format!("no route of yours leads {host} anywhere"),
            "create one with `routes.create`",
        ));
    };
    match status.state {
        RouteState::Suspended => {
            Some(problem("its owner is suspended: the route is not served", "ask the operator"))
        }
        RouteState::Unproven | RouteState::Displaced => {
            let reason = status.problem.as_ref().map_or("", |problem| &problem.reason);
            Some(problem(reason, "create the DNS records"))
        }
        RouteState::WaitingForCertificate => {
            let reason = status.problem.as_ref().map_or("", |problem| &problem.reason);
            let records = status.problem.as_ref().is_some_and(|problem| !problem.records.is_empty());
            let hint = if records { "create the DNS records" } else { "wait for it, or ask the operator" };
            Some(problem(format!("it waits for its certificate: {reason}"), hint))
        }
        RouteState::Active if nodes == 0 => {
            Some(problem("no dataplane is connected: nothing is served", "the operator must start one"))
        }
        RouteState::Active => status.problem.as_ref().map(|found| {
            problem(
                &found.reason,
                "update the route: name the address and port where the service itself listens",
            )
        }),
    }
}

/// Returns the first problem at one node, at `now` (Unix seconds).
fn problem_at_node(route: Option<&Route>, node: &NodeExplanation, now: i64) -> Option<Problem> {
    let Some(explanation) = &node.explanation else {
        return Some(problem(
            "it did not answer in time",
            "it may be cut off or overloaded: the operator can look",
        ));
    };
    let Some(route) = route else {
        let still = "it still serves a route that is gone";
        return explanation.route.map(|_| problem(still, "it takes the change when it has caught up"));
    };
    let name = ResourceName::Route(route.id).to_string();
    if let Some(rejected) = node.rejects.iter().find(|rejected| rejected.resource == name) {
        return Some(problem(format!("it cannot use the route: {}", rejected.reason), "update the route"));
    }
    if explanation.version < route.version {
        let behind =
            format!("it stands at version {}, the route is at {}", explanation.version, route.version);
        return Some(problem(behind, "it takes the change when it has caught up; ask again in a moment"));
    }
    if explanation.route != Some(route.id) {
        return Some(problem("it does not have the route", "ask the operator"));
    }
    certificate_problem(route, explanation, now).or_else(|| backend_problem(&explanation.backends))
}

fn certificate_problem(route: &Route, explanation: &Explanation, now: i64) -> Option<Problem> {
    if route.destination.mode == Mode::Passthrough {
        return None;
    }
    match &explanation.certificate {
        None => Some(problem("it has no certificate for the host", "`certificates.get` says how it stands")),
        Some(served) if served.not_after <= now => {
            Some(problem("its certificate has expired", "`certificates.get` says why it was not renewed"))
        }
        Some(_) => None,
    }
}

fn backend_problem(seen: &[BackendHealth]) -> Option<Problem> {
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
    use crate::domain::route_status::RouteProblem;

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

    fn explanation(change: impl FnOnce(&mut Explanation)) -> NodeExplanation {
        let id = CertificateId::parse("a.example").unwrap();
        let certificate = Some(ServedCertificate { id, not_after: 100, fingerprint: [0; 32] });
        let backends = vec![BackendHealth { backend: "[400::1]:80".parse().unwrap(), down: None }];
        let mut explanation =
            Explanation { id: 1, version: 7, route: Some(route().id), certificate, backends };
        change(&mut explanation);
        NodeExplanation { node: "n".into(), rejects: vec![], explanation: Some(explanation) }
    }

    #[test]
    fn the_first_problem_at_a_node_is_reported() {
        let route = route();
        let at =
            |found: &NodeExplanation| problem_at_node(Some(&route), found, 50).map(|problem| problem.message);
        assert_eq!(at(&explanation(|_| ())), None);
        let refused =
            |explanation: &mut Explanation| explanation.backends[0].down = Some("connection refused".into());
        let good = BackendHealth { backend: "[400::2]:80".parse().unwrap(), down: None };
        let mut rejected = explanation(|answer| answer.route = None);
        let resource = format!("route/{}", route.id);
        rejected.rejects.push(RejectedResource { resource, reason: "too odd".into() });
        for (found, words) in [
            (NodeExplanation { explanation: None, ..explanation(|_| ()) }, "did not answer"),
            (rejected, "cannot use the route: too odd"),
            (
                explanation(|answer| (answer.version, answer.route) = (6, None)),
                "version 6, the route is at 7",
            ),
            (explanation(|answer| answer.route = None), "does not have the route"),
            (explanation(|answer| answer.certificate = None), "no certificate"),
            (explanation(|answer| answer.certificate.as_mut().unwrap().not_after = 50), "has expired"),
            (explanation(refused), "the backend [400::1]:80 cannot be used: connection refused"),
            (
                explanation(|answer| {
                    refused(answer);
                    answer.backends.push(good);
                }),
                "1 of 2 backends",
            ),
        ] {
            let message = at(&found).unwrap();
            assert!(message.contains(words), "{message} / {words}");
        }
        assert_eq!(problem_at_node(None, &explanation(|answer| answer.route = None), 50), None);
        assert!(problem_at_node(None, &explanation(|_| ()), 50).is_some());
    }

    #[test]
    fn problems_of_the_route_are_reported_before_those_of_nodes() {
        let host = Host::parse("a.example").unwrap();
        let status = |state, reason: Option<&str>| RouteStatus {
            route: route(),
            state,
            problem: reason.map(|reason| RouteProblem { reason: reason.into(), records: vec![] }),
        };
        let message = |status: Option<RouteStatus>, nodes| {
            problem_of_route(&host, status.as_ref(), nodes).map(|p| p.message)
        };
        assert!(message(None, 3).unwrap().contains("no route of yours"));
        assert!(message(Some(status(RouteState::Suspended, None)), 3).unwrap().contains("suspended"));
        let waits = message(Some(status(RouteState::WaitingForCertificate, Some("no address"))), 3).unwrap();
        assert!(waits.contains("certificate: no address"), "{waits}");
        assert!(message(Some(status(RouteState::Active, None)), 0).unwrap().contains("no dataplane"));
        assert_eq!(message(Some(status(RouteState::Active, None)), 1), None);
    }
}
