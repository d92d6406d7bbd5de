//! Arbitrary bytes as queries. The responder must send valid responses or nothing.

use hickory_server::proto::op::{Message, Query, ResponseCode};
use hickory_server::proto::rr::{Name, RecordType};
use proptest::prelude::*;
use webgateway_process::Quota;
use webgateway_proto::model::Host;

use super::*;
use crate::dns::txt::TxtName;

fn responder() -> ZoneResponder {
    let zone = Zone::new(&Host::parse("gw.example").unwrap()).unwrap();
    let values = TxtSet::new();
    std::mem::forget(values.publish(TxtName::Apex, "x"));
    let quota = Quota::per_second(std::num::NonZeroU32::MAX);
    ZoneResponder::new(zone, values, QuestionFilter::with_quota(quota, DnsMetrics::default()))
}

fn ask(responder: &ZoneResponder, question: &[u8]) -> Option<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let from = "192.0.2.1:9999".parse().unwrap();
    runtime.block_on(responder.respond(question, from, Transport::Udp))
}

fn question() -> Vec<u8> {
    let mut message = Message::query();
    message
        .add_query(Query::query(Name::from_ascii("_acme-challenge.gw.example.").unwrap(), RecordType::TXT));
    message.to_vec().unwrap()
}

#[test]
fn a_malformed_query_gets_formerr_and_a_response_gets_no_response() {
    let (responder, mut bytes) = (responder(), question());
    assert_eq!(Message::from_vec(&ask(&responder, &bytes).unwrap()).unwrap().answers.len(), 1);
    let cut = ask(&responder, &bytes[..20]).unwrap();
    assert_eq!(Message::from_vec(&cut).unwrap().metadata.response_code, ResponseCode::FormErr);
    assert_eq!(ask(&responder, &bytes[..11]), None);
    bytes[2] |= 0x80;
    assert_eq!(ask(&responder, &bytes), None, "two name servers would answer each other for ever");
}

proptest! {
    #[test]
    fn arbitrary_bytes_get_at_most_one_bounded_response(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let responder = responder();
        let mut near = question();
        for (at, byte) in flips {
            let at = at.index(near.len());
            near[at] = byte;
        }
        for question in [bytes, near] {
            if let Some(answer) = ask(&responder, &question) {
                prop_assert!(answer.len() <= usize::from(MAX_UDP_SIZE));
                prop_assert_eq!(&answer[..2], &question[..2]);
                prop_assert!(answer[2] & 0x80 != 0);
            }
            if let Some(answer) = webgateway_dns::server_failure(&question) {
                prop_assert!(answer.len() <= question.len(), "it would amplify");
            }
        }
    }
}
