//! `gwctl nodes …`

use gwctl::Client;
use serde_json::json;
use webgateway_proto::api::{
    NodeDrain, NodeInvitation, NodeInvite, NodeList, NodeRef, NodeState, NodeView, method,
};

use crate::error::CommandError;
use crate::output::{Report, table};
use crate::printable::printable;

/// `gwctl nodes list`
pub(super) async fn list(client: &Client) -> Result<Report, CommandError> {
    Ok(Report::of(client.call(method::NODES_LIST, &json!({})).await?, |list| listed(&list)))
}

/// `gwctl nodes invite`
pub(super) async fn invite(client: &Client, params: &NodeInvite) -> Result<Report, CommandError> {
    Ok(Report::of(client.call(method::NODES_INVITE, params).await?, |invitation| invited(&invitation)))
}

/// `gwctl nodes drain`
pub(super) async fn drain(client: &Client, params: &NodeDrain) -> Result<Report, CommandError> {
    Ok(Report::of(client.call(method::NODES_DRAIN, params).await?, |state| drained(&state)))
}

/// `gwctl nodes remove`
pub(super) async fn remove(client: &Client, params: &NodeRef) -> Result<Report, CommandError> {
    let said = |state: NodeState| {
        let node = printable(&state.node).into_owned();
        format!("{node} is removed: its certificate is refused. Bring it back: gwctl nodes invite {node}")
    };
    Ok(Report::of(client.call(method::NODES_REMOVE, params).await?, said))
}

fn invited(invitation: &NodeInvitation) -> String {
    let NodeInvitation { node, token, address, expires_at } = invitation;
    format!(
        "{token}\n\nGood once, until {}, for the node {} to join at {}. On that machine:\n  \
         sudo webgateway-dataplane join -\nthen paste the token, Enter, Ctrl-D.",
        printable(expires_at),
        printable(node),
        printable(address),
    )
}

fn drained(state: &NodeState) -> String {
    let node = printable(&state.node);
    if state.drained {
        format!("{node} is to take no new visitors. Undo: gwctl nodes drain {node} --undo")
    } else {
        format!("{node} takes visitors.")
    }
}

fn listed(list: &NodeList) -> String {
    if list.nodes.is_empty() {
        return "No nodes: none has connected.".to_owned();
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
        "BACKENDS OUT",
        "CERTIFICATE UNTIL",
    ];
    let mut text = table(head, list.nodes.iter().map(row));
    for node in &list.nodes {
        for reject in &node.rejects {
            let (node, resource) = (printable(&node.node), printable(&reject.resource));
            text += &format!("\n\n{node} cannot use {resource}: {}", printable(&reject.reason));
        }
    }
    text
}

fn row(node: &NodeView) -> [String; 11] {
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let when = |known: bool, number: u64| if known { number.to_string() } else { "-".to_owned() };
    let (known, connected) = (!node.build.is_empty(), node.connected);
    [
        node.node.clone(),
        state(node),
        or_dash(&node.since),
        or_dash(&node.address),
        or_dash(&node.build),
        when(known, node.version),
        when(known, node.lag),
        when(connected, node.connections),
        when(connected, node.requests),
        when(connected, node.backends_down),
        node.certificate_not_after.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}

fn state(node: &NodeView) -> String {
    let words = [
        if node.connected { "connected" } else { "away" },
        if node.draining { "draining" } else { "" },
        // Told, but it has not said yet that it does; or it is away.
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
    fn a_list_has_one_line_each_and_what_was_rejected_below() {
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
NAME   STATE               SINCE                 ADDRESS    BUILD  VERSION  LAG  CONNECTIONS  REQUESTS  BACKENDS OUT  CERTIFICATE UNTIL
fra-1  connected,draining  2026-01-01T00:00:00Z  192.0.2.1  0.1.0  40       2    3            9         4             2026-02-01T00:00:00Z
old    away,removed        -                     -          -      -        -    -            -         -             -

fra-1 cannot use route/1: no key\\u{1b}";
        assert_eq!(listed(&NodeList { version: 42, nodes: vec![node, gone] }), expected);
        assert!(listed(&NodeList { version: 1, nodes: vec![] }).starts_with("No nodes"));
    }

    #[test]
    fn the_token_stands_alone_on_the_first_line() {
        let invitation = NodeInvitation {
            node: "fra-1".into(),
            token: "wgjoin1_abc".into(),
            address: "control.example:7443".into(),
            expires_at: "2026-01-01T00:00:00Z".into(),
        };
        assert_eq!(invited(&invitation).lines().next(), Some("wgjoin1_abc"));
    }
}
