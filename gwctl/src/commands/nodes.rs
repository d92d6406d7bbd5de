//! The commands of `gwctl nodes`.

use gwctl::Client;
use serde_json::json;
use webgateway_proto::api::{
    NodeDrain, NodeInvitation, NodeInvite, NodeList, NodeRef, NodeState, NodeView, method,
};

use crate::error::CommandError;
use crate::output::{Report, table};
use crate::printable::printable;

/// Runs `gwctl nodes list`.
pub(super) async fn list(client: &Client) -> Result<Report, CommandError> {
    Ok(Report::from_result(client.call(method::NODES_LIST, &json!({})).await?, |list| nodes_table(&list)))
}

/// Runs `gwctl nodes invite`.
pub(super) async fn invite(client: &Client, params: &NodeInvite) -> Result<Report, CommandError> {
    Ok(Report::from_result(client.call(method::NODES_INVITE, params).await?, |invitation| {
        invitation_text(&invitation)
    }))
}

/// Runs `gwctl nodes drain`.
pub(super) async fn drain(client: &Client, params: &NodeDrain) -> Result<Report, CommandError> {
    Ok(Report::from_result(client.call(method::NODES_DRAIN, params).await?, |state| drain_text(&state)))
}

/// Runs `gwctl nodes remove`.
pub(super) async fn remove(client: &Client, params: &NodeRef) -> Result<Report, CommandError> {
    let text = |state: NodeState| {
        let node = printable(&state.node).into_owned();
        format!("{node} is removed and its certificate revoked. To add it again: gwctl nodes invite {node}")
    };
    Ok(Report::from_result(client.call(method::NODES_REMOVE, params).await?, text))
}

fn invitation_text(invitation: &NodeInvitation) -> String {
    let NodeInvitation { node, token, address, expires_at } = invitation;
    format!(
        "{token}\n\nThis token lets the node {} join at {} once, until {}. On the node's machine, run:\n  \
         sudo webgateway-dataplane join -\nThen paste the token and press Enter and Ctrl-D.",
        printable(node),
        printable(address),
        printable(expires_at),
    )
}

fn drain_text(state: &NodeState) -> String {
    let node = printable(&state.node);
    if state.drained {
        format!(
            "{node} is drained: its /readyz fails, so that it gets no new clients. Undo: gwctl nodes drain {node} \
             --undo"
        )
    } else {
        format!("{node} is not drained.")
    }
}

fn nodes_table(list: &NodeList) -> String {
    if list.nodes.is_empty() {
        return "No node has connected yet.".to_owned();
    }
    let head = [
        "NAME",
        "STATE",
        "SINCE",
        "ADDRESS",
        "BUILD",
        "VERSION",
        "LAG",
        "CONNECTIONS",
        "REQUESTS",
        "BACKENDS UNHEALTHY",
        "CERTIFICATE UNTIL",
    ];
    let mut text = table(head, list.nodes.iter().map(node_row));
    for node in &list.nodes {
        for reject in &node.rejects {
            let (node, resource) = (printable(&node.node), printable(&reject.resource));
            text += &format!("\n\n{node} rejected {resource}: {}", printable(&reject.reason));
        }
    }
    text
}

fn node_row(node: &NodeView) -> [String; 11] {
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let number_if = |known: bool, number: u64| if known { number.to_string() } else { "-".to_owned() };
    let (known, connected) = (!node.build.is_empty(), node.connected);
    [
        node.node.clone(),
        state_words(node),
        or_dash(&node.since),
        or_dash(&node.address),
        or_dash(&node.build),
        number_if(known, node.version),
        number_if(known, node.lag),
        number_if(connected, node.connections),
        number_if(connected, node.requests),
        number_if(connected, node.backends_down),
        node.certificate_not_after.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}

fn state_words(node: &NodeView) -> String {
    let words = [
        if node.connected { "connected" } else { "away" },
        if node.draining { "draining" } else { "" },
        // The node has not confirmed the drain yet, or is not connected.
        if node.drained && !node.draining { "to drain" } else { "" },
        if node.removed { "removed" } else { "" },
    ];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use webgateway_proto::api::Reject;

    use super::*;

    #[test]
    fn a_list_has_one_line_per_node_and_the_rejects_below() {
        let node = NodeView {
            node: "fra-1".into(),
            build: "0.1.0".into(),
            connected: true,
            since: "2026-01-01T00:00:00Z".into(),
            version: 40,
            lag: 2,
            rejects: vec![Reject { resource: "route/1".into(), reason: "no key\u{1b}".into() }],
            address: "192.0.2.1".into(),
            connections: 3,
            requests: 9,
            drained: true,
            draining: true,
            backends_down: 4,
            certificate_not_after: Some("2026-02-01T00:00:00Z".into()),
            ..NodeView::default()
        };
        let gone = NodeView { node: "old".into(), removed: true, ..NodeView::default() };
        let expected = "\
NAME   STATE               SINCE                 ADDRESS    BUILD  VERSION  LAG  CONNECTIONS  REQUESTS  BACKENDS UNHEALTHY  CERTIFICATE UNTIL
fra-1  connected,draining  2026-01-01T00:00:00Z  192.0.2.1  0.1.0  40       2    3            9         4                   2026-02-01T00:00:00Z
old    away,removed        -                     -          -      -        -    -            -         -                   -

fra-1 rejected route/1: no key\\u{1b}";
        assert_eq!(nodes_table(&NodeList { version: 42, nodes: vec![node, gone] }), expected);
        assert!(nodes_table(&NodeList { version: 1, nodes: vec![] }).starts_with("No node has"));
    }

    #[test]
    fn the_token_is_alone_on_the_first_line() {
        let invitation = NodeInvitation {
            node: "fra-1".into(),
            token: "wgjoin1_abc".into(),
            address: "control.example:7443".into(),
            expires_at: "2026-01-01T00:00:00Z".into(),
        };
        assert_eq!(invitation_text(&invitation).lines().next(), Some("wgjoin1_abc"));
    }
}
