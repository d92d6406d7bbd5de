//! The property that a fuzzer tries to break: whatever comes, an answer is one, to what was asked, and within its
//! limit.

use std::cell::LazyCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use futures_util::FutureExt as _;
use hickory_server::proto::op::{Message, ResponseCode};
use webgateway_dns::{DnsMetrics, HEADER, QuestionFilter, Responder as _, Transport, server_failure};
use webgateway_process::Quota;
use webgateway_proto::model::Host;

use super::{MAX_UDP_SIZE, MAX_UDP_WITHOUT_EDNS, ZoneResponder};
use crate::dns::txt::{TxtGuard, TxtName, TxtSet};
use crate::dns::zone::Zone;

/// The number of values: more than fit into any answer over UDP.
const VALUES: usize = 40;

thread_local! {
    static ANSWERS: LazyCell<(ZoneResponder, Vec<TxtGuard>)> = LazyCell::new(|| {
        let base = Host::parse("gw.example").unwrap_or_else(|error| unreachable!("{error}"));
        let zone = Zone::new(&base).unwrap_or_else(|error| unreachable!("{error}"));
        let (values, quota) = (TxtSet::new(), Quota::per_second(std::num::NonZeroU32::MAX));
        let guards = (0..VALUES).map(|value| values.publish(TxtName::Apex, &format!("{value:043}"))).collect();
        (ZoneResponder::new(zone, values, QuestionFilter::with_quota(quota, DnsMetrics::default())), guards)
    });
}

/// The first byte says how the rest, a message, comes: over UDP if it is even.
pub(crate) fn dns(input: &[u8]) {
    let Some((transport, question)) = input.split_first() else { return };
    let transport = if transport % 2 == 0 { Transport::Udp } else { Transport::Tcp };
    let from = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9999);
    let respond = |question: &[u8]| {
        ANSWERS.with(|answers| answers.0.respond(question, from, transport).now_or_never().flatten())
    };
    if let Some(failure) = server_failure(question) {
        assert!(failure.len() <= question.len(), "it would amplify");
        is_answer(&failure, question);
    }
    let Some(answer) = respond(question) else { return };
    let limit = match transport {
        Transport::Udp => limit(question),
        Transport::Tcp => usize::from(u16::MAX),
    };
    assert!(answer.len() <= limit, "{} bytes, where {limit} are taken", answer.len());
    is_answer(&answer, question);
    assert_eq!(respond(&answer), None, "or two name servers would talk for ever");
}

/// Returns what the asker takes over UDP, in bytes.
fn limit(question: &[u8]) -> usize {
    let payload = Message::from_vec(question).ok().and_then(|question| Some(question.edns?.max_payload()));
    usize::from(
        payload.map_or(MAX_UDP_WITHOUT_EDNS, |payload| payload.clamp(MAX_UDP_WITHOUT_EDNS, MAX_UDP_SIZE)),
    )
}

fn is_answer(answer: &[u8], question: &[u8]) {
    let parsed = Message::from_vec(answer).unwrap_or_else(|error| unreachable!("{error}: {answer:02x?}"));
    assert_eq!(answer.get(..2), question.get(..2), "another id");
    assert_eq!(answer.get(2).map(|flags| flags & 0x80), Some(0x80), "no answer");
    // The name comes back as it was written, upper case included (draft-vixie-dnsext-dns0x20).
    if parsed.queries.len() == 1 {
        let end = parsed.queries[0].name().len() + 4 + HEADER;
        assert_eq!(answer.get(HEADER..end), question.get(HEADER..end), "another question");
    }
    let asked = question.get(4..6).map_or(0, |count| usize::from(count[0]) << 8 | usize::from(count[1]));
    assert!(parsed.queries.len() <= asked, "more questions than there were");
    // RFC 9619 §4: a question is one.
    let is_query = question.get(2).is_some_and(|flags| flags & 0x78 == 0);
    if is_query && asked > 1 {
        assert!(parsed.answers.is_empty() && parsed.metadata.response_code != ResponseCode::NoError);
    }
}
