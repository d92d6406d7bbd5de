//! The methods `routes.explain` and `nodes.wait`, by which users see the state of the nodes.

use std::time::Duration;

use time::OffsetDateTime;
use webgateway_proto::api::{
    BackendSeen, CertificateSeen, ExplainParams, Explained, LONGEST_WAIT, NodeExplained, Problem, WaitParams,
    WaitState, method,
};
use webgateway_proto::feed::{BackendHealth, ResourceName};
use webgateway_proto::model::Host;

use super::method::{Example, Method, Services};
use super::routes::view;
use super::samples;
use crate::api::errors::ErrorKind;
use crate::clock::rfc3339;
use crate::domain::{self, AckTarget, Caller, DomainError, NodeExplanation, NodeReject, NodeReport};

pub(super) struct Explain;
pub(super) struct Wait;

impl Method for Explain {
    const NAME: &'static str = method::ROUTES_EXPLAIN;
    const SUMMARY: &'static str = "Returns the state of a host on every node, and the first problem";
    const DESCRIPTION: &'static str = "\
        The gateway asks every connected node, and each node connects to the backends of the route. If the \
        host belongs to another user, the result is the same as for a host without a route.";
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::InvalidHost];
    type Caller = Caller;
    type Params = ExplainParams;
    type Output = Explained;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        vec![samples::explain()]
    }

    async fn call(
        services: &Services,
        caller: Caller,
        params: ExplainParams,
    ) -> Result<Explained, DomainError> {
        let host = Host::parse(&params.host).map_err(|error| DomainError::InvalidHost("host", error))?;
        let report = services.domain.explain(&caller, &host).await?;
        Ok(Explained {
            host: host.to_string(),
            route: report.route.map(view),
            problem: report.problem.map(to_problem),
            nodes: report.nodes.into_iter().map(node_explained).collect(),
        })
    }
}

fn to_problem(problem: domain::Problem) -> Problem {
    Problem { message: problem.message, hint: Some(problem.hint.to_owned()) }
}

fn node_explained(report: NodeReport) -> NodeExplained {
    let NodeReport { explanation: NodeExplanation { node, explanation: answer, .. }, problem } = report;
    let problem = problem.map(to_problem);
    let Some(answer) = answer else {
        return NodeExplained { node, version: None, certificate: None, backends: Vec::new(), problem };
    };
    let certificate = answer.certificate.map(|served| CertificateSeen {
        id: served.id.to_string(),
        not_after: OffsetDateTime::from_unix_timestamp(served.not_after).map(rfc3339).unwrap_or_default(),
        fingerprint: served.fingerprint.iter().map(|byte| format!("{byte:02x}")).collect(),
    });
    let backend = |seen: BackendHealth| BackendSeen {
        backend: seen.backend.to_string(),
        up: seen.down.is_none(),
        reason: seen.down,
    };
    let backends = answer.backends.into_iter().map(backend).collect();
    NodeExplained { node, version: Some(answer.version), certificate, backends, problem }
}

impl Method for Wait {
    const NAME: &'static str = method::NODES_WAIT;
    const SUMMARY: &'static str = "Waits until every connected node has acknowledged a version";
    const DESCRIPTION: &'static str = "\
        For all users. The result has numbers of nodes; only the admin also gets their names, in the \
        rejects. The call returns as soon as something has changed, at the latest after `timeout`. A \
        caller may have 16 calls waiting at once.";
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::RateLimited];
    type Caller = Caller;
    type Params = WaitParams;
    type Output = WaitState;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        vec![samples::wait()]
    }

    async fn call(services: &Services, caller: Caller, params: WaitParams) -> Result<WaitState, DomainError> {
        let route = match &params.route {
            // There are no rejects of a route that was deleted or belongs to another user.
            Some(id) => match id.parse() {
                Ok(id) => services.domain.route(&caller, id).await.ok().map(|status| status.route.id),
                Err(_) => None,
            },
            None => None,
        };
        let target = AckTarget {
            version: params.version,
            resource: route.map(ResourceName::Route),
            known: params.known,
            min_nodes: 0,
        };
        let limit = Duration::from_secs(params.timeout.min(LONGEST_WAIT));
        let nodes = &services.domain.nodes;
        let acked = nodes.wait_acked(&target, limit);
        let progress = match services.long_polls.wait(caller.key_id(), limit, acked).await? {
            Some(progress) => progress,
            None => nodes.wait_acked(&target, Duration::ZERO).await,
        };
        let (nodes, acked) = (progress.nodes(), progress.acked);
        let shown = |NodeReject { node, reason }| match caller.as_user() {
            None => format!("{node}: {reason}"),
            Some(_) => reason,
        };
        Ok(WaitState { nodes, acked, rejects: progress.rejects.into_iter().map(shown).collect() })
    }
}
