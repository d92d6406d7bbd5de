//! `routes.explain` and `nodes.wait`: what the nodes say, for owners too.

use std::time::Duration;

use time::OffsetDateTime;
use webgateway_proto::api::{
    BackendStatus, ExplainParams, LONGEST_WAIT, NodeExplanation, Problem, RouteExplanation,
    ServedCertificateView, WaitParams, WaitState, method,
};
use webgateway_proto::feed::{BackendHealth, ResourceName};
use webgateway_proto::model::Host;

use super::method::{Example, Method, Services};
use super::routes::view;
use super::samples;
use crate::api::fault::Kind;
use crate::clock::rfc3339;
use crate::domain::{self, AckTarget, Caller, NodeAnswer, NodeReject, NodeReport, Refusal};

pub(super) struct Explain;
pub(super) struct Wait;

impl Method for Explain {
    const NAME: &'static str = method::ROUTES_EXPLAIN;
    const SUMMARY: &'static str = "Tells how a host looks from every node, and the first thing that is wrong";
    const DESCRIPTION: &'static str = "Every connected node is asked at once, and tries the route's backends. A host that is not the caller's looks like one that has no route.";
    const ERRORS: &'static [Kind] = &[Kind::InvalidHost];
    type Who = Caller;
    type Params = ExplainParams;
    type Outcome = RouteExplanation;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        vec![samples::explain()]
    }

    async fn call(
        services: &Services,
        who: Caller,
        params: ExplainParams,
    ) -> Result<RouteExplanation, Refusal> {
        let host = Host::parse(&params.host).map_err(|error| Refusal::InvalidHost("host", error))?;
        let report = services.domain.explain(&who, &host).await?;
        Ok(RouteExplanation {
            host: host.to_string(),
            route: report.route.map(view),
            problem: report.problem.map(problem),
            nodes: report.nodes.into_iter().map(node).collect(),
        })
    }
}

fn problem(problem: domain::Problem) -> Problem {
    Problem { message: problem.message, hint: Some(problem.hint.to_owned()) }
}

fn node(report: NodeReport) -> NodeExplanation {
    let NodeReport { answer: NodeAnswer { node, answer, .. }, problem: found } = report;
    let problem = found.map(problem);
    let Some(answer) = answer else {
        return NodeExplanation { node, version: None, certificate: None, backends: Vec::new(), problem };
    };
    let certificate = answer.certificate.map(|served| ServedCertificateView {
        id: served.id.to_string(),
        not_after: OffsetDateTime::from_unix_timestamp(served.not_after).map(rfc3339).unwrap_or_default(),
        fingerprint: served.fingerprint.iter().map(|byte| format!("{byte:02x}")).collect(),
    });
    let backend = |seen: BackendHealth| BackendStatus {
        backend: seen.backend.to_string(),
        up: seen.down.is_none(),
        reason: seen.down,
    };
    let backends = answer.backends.into_iter().map(backend).collect();
    NodeExplanation { node, version: Some(answer.version), certificate, backends, problem }
}

impl Method for Wait {
    const NAME: &'static str = method::NODES_WAIT;
    const SUMMARY: &'static str = "Waits until every connected node has acknowledged a version";
    const DESCRIPTION: &'static str = "Any user may: they get numbers, the admin names too. It answers as soon as there is news, at the latest after `timeout`. A caller may have 16 calls that wait at once.";
    const ERRORS: &'static [Kind] = &[Kind::RateLimited];
    type Who = Caller;
    type Params = WaitParams;
    type Outcome = WaitState;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        vec![samples::wait()]
    }

    async fn call(services: &Services, who: Caller, params: WaitParams) -> Result<WaitState, Refusal> {
        let route = match &params.route {
            // A route that was deleted, or is somebody else's, is rejected by nobody.
            Some(id) => match id.parse() {
                Ok(id) => services.domain.route(&who, id).await.ok().map(|status| status.route.id),
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
        let progress = match services.waiting.wait(who.key_id(), limit, acked).await? {
            Some(progress) => progress,
            None => nodes.wait_acked(&target, Duration::ZERO).await,
        };
        let (nodes, acked) = (progress.nodes(), progress.acked);
        let shown = |NodeReject { node, reason }| match who.own() {
            None => format!("{node}: {reason}"),
            Some(_) => reason,
        };
        Ok(WaitState { nodes, acked, rejects: progress.rejects.into_iter().map(shown).collect() })
    }
}
