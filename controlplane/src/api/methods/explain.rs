//! `routes.explain` and `nodes.wait`: what the nodes say, for owners too.

use std::time::Duration;

use time::OffsetDateTime;
use webgateway_proto::api::{
    BackendSeen, CertificateSeen, ExplainParams, Explained, LONGEST_WAIT, NodeExplained, Problem, WaitParams,
    WaitState, method,
};
use webgateway_proto::model::{Host, Route};

use super::routes::view;
use super::{Example, Method, Services, samples};
use crate::api::fault::Kind;
use crate::clock::rfc3339;
use crate::domain::{Answered, Awaited, Caller, Refusal, explain};

/// A node tries its backends for 2 s.
const ANSWER: Duration = Duration::from_secs(4);

pub(super) struct Explain;
pub(super) struct Wait;

impl Method for Explain {
    const NAME: &'static str = method::ROUTES_EXPLAIN;
    const SUMMARY: &'static str = "Tells how a host looks from every node, and the first thing that is wrong";
    const DESCRIPTION: &'static str = "Every connected node is asked at once, and tries the route's backends. A host that is not the caller's looks like one that has no route.";
    const ERRORS: &'static [Kind] = &[Kind::InvalidHost];
    type Who = Caller;
    type Params = ExplainParams;
    type Outcome = Explained;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        vec![samples::explain()]
    }

    async fn call(services: &Services, who: Caller, params: ExplainParams) -> Result<Explained, Refusal> {
        let host = Host::parse(&params.host).map_err(|error| Refusal::InvalidHost("host", error))?;
        let shown = services.domain.route_of(&who, &host).await?;
        // How somebody else's host looks is nobody else's business.
        let answers = match shown.is_some() || who.own().is_none() {
            true => services.nodes.explain(&host, ANSWER).await,
            false => Vec::new(),
        };
        let (route, now) = (shown.as_ref().map(|shown| &shown.route), services.domain.clock.now());
        let nodes: Vec<NodeExplained> =
            answers.into_iter().map(|answered| seen(route, answered, now.unix_timestamp())).collect();
        let problem = explain::of_route(&host, shown.as_ref(), nodes.len()).or_else(|| {
            let (node, problem) = nodes.iter().find_map(|node| Some((&node.node, node.problem.clone()?)))?;
            Some(Problem { message: format!("{node}: {}", problem.message), ..problem })
        });
        Ok(Explained { host: host.to_string(), route: shown.map(view), problem, nodes })
    }
}

fn seen(route: Option<&Route>, answered: Answered, now: i64) -> NodeExplained {
    let problem = explain::at_node(route, &answered, now);
    let Answered { node, answer, .. } = answered;
    let Some(answer) = answer else {
        return NodeExplained { node, version: None, certificate: None, backends: Vec::new(), problem };
    };
    let certificate = answer.certificate.map(|served| CertificateSeen {
        id: served.id.to_string(),
        not_after: OffsetDateTime::from_unix_timestamp(served.not_after).map(rfc3339).unwrap_or_default(),
        fingerprint: served.fingerprint.iter().map(|byte| format!("{byte:02x}")).collect(),
    });
    let backend = |seen: webgateway_proto::feed::BackendHealth| BackendSeen {
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
            Some(id) => services.domain.route(&who, id).await.ok().map(|shown| shown.route.id),
            None => None,
        };
        let awaited = Awaited { version: params.version, route, known: params.known };
        let limit = Duration::from_secs(params.timeout.min(LONGEST_WAIT));
        let settle = services.nodes.settle(&awaited, limit);
        let settled = match services.waiting.wait(who.key_id(), limit, settle).await? {
            Some(settled) => settled,
            None => services.nodes.settle(&awaited, Duration::ZERO).await,
        };
        let told = |(node, reason): (String, String)| match who.own() {
            None => format!("{node}: {reason}"),
            Some(_) => reason,
        };
        let rejects = settled.rejects.into_iter().map(told).collect();
        Ok(WaitState { nodes: settled.nodes, acked: settled.acked, rejects })
    }
}
