//! The command `gwctl routes explain`, which shows the state of a host on every node and diagnoses problems.

use gwctl::Client;
use webgateway_proto::api::{
    BackendStatus, ExplainParams, NodeExplanation, Problem, RouteExplanation, ServedCertificateView, method,
};

use super::certificates::dns_records_text;
use crate::error::{CommandError, params_to_flags};
use crate::output::{Report, table};
use crate::printable::printable;

/// Runs `gwctl routes explain`.
pub(super) async fn explain(client: &Client, params: &ExplainParams) -> Result<Report, CommandError> {
    Ok(Report::from_result(client.call(method::ROUTES_EXPLAIN, params).await?, |explained| {
        explanation(&explained)
    }))
}

fn explanation(explained: &RouteExplanation) -> String {
    let host = printable(&explained.host);
    let mut text = match &explained.route {
        Some(route) => format!(
            "{host} ({}, version {}) -> {}: {}.",
            route.mode,
            route.version,
            printable(&route.backends.join(", ")),
            route.state.as_str()
        ),
        None => format!("{host} has no route."),
    };
    if !explained.nodes.is_empty() {
        let head = ["NODE", "VERSION", "CERTIFICATE", "BACKENDS", "PROBLEM"];
        text += &format!("\n\n{}", table(head, explained.nodes.iter().map(node_row)));
    }
    text += &match &explained.problem {
        None => "\n\nNo problem found.".to_owned(),
        Some(Problem { message, hint }) => {
            let hint = hint.as_ref().map(|hint| format!("\n  hint: {}", printable(&params_to_flags(hint))));
            format!("\n\nproblem: {}{}", printable(message), hint.unwrap_or_default())
        }
    };
    let records = explained.route.as_ref().map(|route| dns_records_text(&route.records));
    text + &records.unwrap_or_default()
}

fn node_row(node: &NodeExplanation) -> [String; 5] {
    let none = || "-".to_owned();
    let certificate = |seen: &ServedCertificateView| {
        let (until, print) = (&seen.not_after, &seen.fingerprint);
        let (until, print) = (until.get(..10).unwrap_or(until), print.get(..8).unwrap_or(print));
        format!("{} until {until} ({print})", seen.id)
    };
    let backend = |seen: &BackendStatus| match &seen.reason {
        None if seen.up => format!("{} ok", seen.backend),
        None => format!("{} unhealthy", seen.backend),
        Some(reason) => format!("{} {reason}", seen.backend),
    };
    let backends: Vec<String> = node.backends.iter().map(backend).collect();
    [
        node.node.clone(),
        node.version.map_or_else(none, |version| version.to_string()),
        node.certificate.as_ref().map_or_else(none, certificate),
        if backends.is_empty() { none() } else { backends.join(", ") },
        node.problem.as_ref().map_or_else(none, |problem| problem.message.clone()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_has_a_line_and_the_first_problem_follows() {
        let seen = |backend: &str, reason: Option<&str>| BackendStatus {
            backend: backend.into(),
            up: reason.is_none(),
            reason: reason.map(str::to_owned),
        };
        let certificate = ServedCertificateView {
            id: "gw.example".into(),
            not_after: "2027-01-02T03:04:05Z".into(),
            fingerprint: "0123456789abcdef".into(),
        };
        let problem = |message: &str| Problem { message: message.into(), hint: Some("see to it".into()) };
        let good = NodeExplanation {
            node: "one".into(),
            version: Some(7),
            certificate: Some(certificate),
            backends: vec![seen("[400::1]:80", None), seen("[400::2]:80", Some("connection refused"))],
            problem: None,
        };
        let bad = NodeExplanation {
            node: "two".into(),
            version: None,
            certificate: None,
            backends: vec![],
            problem: Some(problem("it did not answer in time")),
        };
        let mut explained = RouteExplanation {
            host: "a.gw.example".into(),
            route: None,
            problem: Some(problem("two: it did not answer in time")),
            nodes: vec![good, bad],
        };
        let expected = "\
a.gw.example has no route.

NODE  VERSION  CERTIFICATE                             BACKENDS                                           PROBLEM
one   7        gw.example until 2027-01-02 (01234567)  [400::1]:80 ok, [400::2]:80 connection refused  -
two   -        -                                       -                                                  it did not answer in time

problem: two: it did not answer in time
  hint: see to it";
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed(&explanation(&explained)), squeezed(expected));
        (explained.problem, explained.nodes) = (None, vec![]);
        assert_eq!(explanation(&explained), "a.gw.example has no route.\n\nNo problem found.");
    }
}
