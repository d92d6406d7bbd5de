//! Tests of sessions, among them that a node converges to the catalog after any sequence of events.

use std::collections::BTreeMap;

use proptest::prelude::*;
use webgateway_proto::feed::{Resource, ResourceName, ToNode};

use super::*;
use crate::feed::samples::{history, put, remove, route, route_name};
use crate::store::change::ChangeSet;

fn advance(catalog: &mut Catalog, changed: Vec<crate::store::change::ResourceChange>) {
    let version = changed.iter().map(|c| c.version).max().unwrap_or(0);
    catalog.apply(ChangeSet { version, changed });
}

fn catalog() -> Catalog {
    let mut catalog = Catalog::new(history("e"), 0);
    advance(&mut catalog, vec![put(1, 1), put(2, 2)]);
    catalog
}

#[test]
fn the_next_batch_waits_for_the_ack_and_merges_changes() {
    let mut catalog = catalog();
    let mut session = Session::new(None);
    assert!(session.next(&catalog).unwrap().is_full());
    advance(&mut catalog, vec![put(1, 3)]);
    advance(&mut catalog, vec![put(1, 4)]);
    assert!(session.next(&catalog).is_none(), "nothing before the ack");
    session.ack(2).unwrap();
    let batch = session.next(&catalog).unwrap();
    assert_eq!((batch.messages().count(), batch.end().version), (3, 4), "one put for two changes");
    session.ack(4).unwrap();
    assert!(session.next(&catalog).is_none(), "nothing new");
    assert_eq!((session.acked(), session.held()), (4, 4));
}

#[test]
fn a_node_that_is_up_to_date_gets_an_empty_first_batch() {
    let catalog = catalog();
    let mut session = Session::new(Some(catalog.held()));
    assert_eq!(session.next(&catalog).unwrap().messages().count(), 2);
}

#[test]
fn a_rejected_version_is_not_held() {
    let mut catalog = catalog();
    let mut session = Session::new(None);
    session.next(&catalog).unwrap();
    session.reject(route_name(1).to_string(), "no such thing");
    session.ack(2).unwrap();
    assert_eq!((session.acked(), session.held()), (2, 0));
    advance(&mut catalog, vec![put(2, 3)]);
    session.next(&catalog).unwrap();
    session.ack(3).unwrap();
    assert_eq!((session.held(), session.rejects().len()), (0, 1), "another change does not cure it");
    advance(&mut catalog, vec![put(1, 4)]);
    assert!(session.next(&catalog).unwrap().affects(&route_name(1)));
    session.ack(4).unwrap();
    assert_eq!((session.held(), session.rejects().len()), (4, 0), "a new version of it does");
}

#[test]
fn rejects_are_bounded_and_still_count() {
    let catalog = catalog();
    let mut session = Session::new(None);
    session.next(&catalog).unwrap();
    for i in 0..1000 {
        session.reject(format!("route/{i}"), &"x".repeat(1000));
    }
    session.ack(2).unwrap();
    assert_eq!((session.rejects().len(), session.held()), (MAX_REJECTS, 0));
    assert!(session.rejects().values().all(|reason| reason.len() == MAX_REASON));
}

#[test]
fn an_unexpected_ack_is_a_protocol_error() {
    let catalog = catalog();
    let mut session = Session::new(None);
    assert_eq!(session.ack(2), Err(ProtocolError::Ack(2)));
    session.next(&catalog).unwrap();
    assert_eq!(session.ack(1), Err(ProtocolError::Ack(1)));
    assert_eq!(session.ack(2), Ok(()));
    assert_eq!(session.ack(2), Err(ProtocolError::Ack(2)));
}

/// A minimal node that applies a batch completely or not at all.
#[derive(Default)]
struct Node {
    table: BTreeMap<ResourceName, Resource>,
    held: Option<Held>,
}

impl Node {
    fn apply(&mut self, batch: &Batch) {
        let mut next = BTreeMap::new();
        for message in batch.messages() {
            match message {
                ToNode::Begin { full: true } => {}
                ToNode::Begin { full: false } => next.clone_from(&self.table),
                ToNode::Put(resource) => drop(next.insert(resource.name(), *resource)),
                ToNode::Remove { name, .. } => drop(next.remove(&name)),
                ToNode::End(held) => self.held = Some(held),
                other => panic!("{other:?}"),
            }
        }
        self.table = next;
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put(u64),
    Remove(u64),
    /// A transaction that changes no resource.
    Nothing,
    /// The node receives a batch and applies it, and its ack arrives.
    Exchange,
    /// The connection is lost, either before the batch is applied or between that and the ack.
    Lost {
        applied: bool,
    },
    /// Another database at this version takes the place of the current one.
    Restore(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..6_u64).prop_map(Step::Put),
        3 => (0..6_u64).prop_map(Step::Remove),
        1 => Just(Step::Nothing),
        3 => Just(Step::Exchange),
        2 => any::<bool>().prop_map(|applied| Step::Lost { applied }),
        1 => (0..20_u64).prop_map(Step::Restore),
    ];
    proptest::collection::vec(step, 0..60)
}

#[derive(Default)]
struct ExpectedState {
    resources: BTreeMap<ResourceName, Resource>,
    epochs: u32,
}

impl ExpectedState {
    fn mutate(&mut self, catalog: &mut Catalog, step: &Step) {
        let version = catalog.version() + 1;
        let changed = match *step {
            Step::Put(n) => {
                self.resources.insert(route_name(n), route(n, version));
                vec![put(n, version)]
            }
            Step::Remove(n) => {
                self.resources.remove(&route_name(n));
                vec![remove(n, version)]
            }
            Step::Nothing => vec![],
            Step::Restore(version) => {
                self.epochs += 1;
                self.resources.clear();
                *catalog = Catalog::new(history(&format!("e{}", self.epochs)), 0);
                catalog.apply(ChangeSet { version, changed: vec![] });
                return;
            }
            Step::Exchange | Step::Lost { .. } => return,
        };
        catalog.apply(ChangeSet { version, changed });
    }
}

proptest! {
    #[test]
    fn a_node_converges_to_the_catalog_after_any_sequence_of_steps(steps in steps()) {
        let mut expected = ExpectedState::default();
        let mut catalog = Catalog::new(history("e0"), 0);
        let mut node = Node::default();
        let mut session = Session::new(None);
        for step in &steps {
            expected.mutate(&mut catalog, step);
            match step {
                Step::Exchange => if let Some(batch) = session.next(&catalog) {
                    node.apply(&batch);
                    session.ack(batch.end().version).unwrap();
                },
                Step::Lost { applied } => {
                    if let (Some(batch), true) = (session.next(&catalog), *applied) {
                        node.apply(&batch);
                    }
                    session = Session::new(node.held.clone());
                }
                // A restored database is a new process: every stream starts over.
                Step::Restore(_) => session = Session::new(node.held.clone()),
                Step::Put(_) | Step::Remove(_) | Step::Nothing => {}
            }
        }
        if let Some(batch) = session.next(&catalog) {
            node.apply(&batch);
            session.ack(batch.end().version).unwrap();
        }
        prop_assert_eq!(&node.table, &expected.resources);
        prop_assert_eq!(node.held, Some(catalog.held()));
        prop_assert!(session.next(&catalog).is_none());
    }
}
