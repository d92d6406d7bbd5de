//! Queries over real sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::num::NonZeroU32;
use std::time::Duration;

use hickory_server::proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_server::proto::rr::{Name, Record, RecordType};
use webgateway_dns::{DnsMetrics, DnsSockets, QuestionFilter};
use webgateway_process::listen::ListenOptions;
use webgateway_process::{Quota, Stop, Tasks};
use webgateway_proto::model::Host;

use super::responder::ZoneResponder;
use crate::dns::txt::{TxtName, TxtSet};
use crate::dns::zone::Zone;

struct DnsFixture {
    address: SocketAddr,
    values: TxtSet,
    metrics: DnsMetrics,
    tasks: Tasks,
}

impl Drop for DnsFixture {
    fn drop(&mut self) {
        self.tasks.stop().cut();
    }
}

fn serve() -> DnsFixture {
    let metrics = DnsMetrics::default();
    serve_filtered(QuestionFilter::new(metrics.clone()), metrics)
}

fn serve_within(quota: Quota) -> DnsFixture {
    let metrics = DnsMetrics::default();
    serve_filtered(QuestionFilter::with_quota(quota, metrics.clone()), metrics)
}

fn serve_filtered(filter: QuestionFilter, metrics: DnsMetrics) -> DnsFixture {
    let sockets = DnsSockets::bind("127.0.0.1:0".parse().unwrap(), ListenOptions::default()).unwrap();
    let (address, values, tasks) = (sockets.local_addr(), TxtSet::new(), Tasks::new(Stop::new()));
    let zone = Zone::new(&Host::parse("gw.example").unwrap()).unwrap();
    let answers = ZoneResponder::new(zone, values.clone(), filter);
    tasks.essential("dns", sockets.serve(answers, tasks.stop().clone()));
    DnsFixture { address, values, metrics, tasks }
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = 4711;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn udp(address: SocketAddr, question: &Message) -> (Message, Vec<u8>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.send_to(&question.to_vec().unwrap(), address).unwrap();
    let mut answer = vec![0; 65536];
    let len = socket.recv(&mut answer).unwrap();
    answer.truncate(len);
    (Message::from_vec(&answer).unwrap(), answer)
}

fn tcp(address: SocketAddr, question: &Message) -> Message {
    tcp_over(TcpStream::connect(address).unwrap(), question)
}

/// Connects from another loopback address.
fn socket(from: SocketAddr, to: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        let connect = async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(from).unwrap();
            socket.connect(to).await.unwrap().into_std().unwrap()
        };
        let stream = runtime.block_on(connect);
        stream.set_nonblocking(false).unwrap();
        stream
    })
}

fn tcp_over(mut stream: TcpStream, question: &Message) -> Message {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let question = question.to_vec().unwrap();
    stream.write_all(&u16::try_from(question.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&question).unwrap();
    let mut len = [0; 2];
    stream.read_exact(&mut len).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut answer).unwrap();
    Message::from_vec(&answer).unwrap()
}

fn kinds(records: &[Record]) -> Vec<RecordType> {
    records.iter().map(Record::record_type).collect()
}

const APEX: &str = "_acme-challenge.gw.example.";

#[tokio::test(flavor = "multi_thread")]
async fn the_current_values_are_served_over_udp_and_tcp() {
    let dns = serve();
    let ask = question(APEX, RecordType::TXT);
    let (none, _) = udp(dns.address, &ask);
    assert_eq!((none.metadata.response_code, none.answers.len()), (ResponseCode::NoError, 0));
    assert_eq!(kinds(&none.authorities), [RecordType::SOA]);
    let (a, b) = (dns.values.publish(TxtName::Apex, "apex"), dns.values.publish(TxtName::Apex, "wildcard"));
    for answer in [udp(dns.address, &ask).0, tcp(dns.address, &ask)] {
        assert!(answer.metadata.authoritative && !answer.metadata.recursion_available);
        let mut texts: Vec<String> = answer.answers.iter().map(|r| r.data.to_string()).collect();
        texts.sort();
        assert_eq!(texts, ["apex", "wildcard"]);
    }
    drop((a, b));
    assert_eq!(tcp(dns.address, &ask).answers.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_apex_has_only_soa_and_ns_records() {
    let dns = serve();
    let _shown = dns.values.publish(TxtName::Apex, "x");
    for kind in [RecordType::SOA, RecordType::NS] {
        assert_eq!(kinds(&udp(dns.address, &question(APEX, kind)).0.answers), [kind]);
    }
    for kind in [RecordType::CAA, RecordType::A, RecordType::AAAA, RecordType::DS, RecordType::MX] {
        let (answer, _) = udp(dns.address, &question(APEX, kind));
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError, "{kind}");
        assert!(answer.metadata.authoritative && answer.answers.is_empty(), "{kind}");
        assert_eq!(kinds(&answer.authorities), [RecordType::SOA], "{kind}");
    }
    let (below, _) = udp(dns.address, &question("x._acme-challenge.gw.example.", RecordType::TXT));
    assert_eq!(below.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(kinds(&below.authorities), [RecordType::SOA]);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_zones_transfers_and_updates_are_refused() {
    let dns = serve();
    for name in ["gw.example.", "example.", ".", "www.gw.example.", "_acme-challenge.example."] {
        let (answer, _) = udp(dns.address, &question(name, RecordType::A));
        assert_eq!(answer.metadata.response_code, ResponseCode::Refused, "{name}");
        assert!(answer.answers.is_empty() && answer.authorities.is_empty(), "{name}");
    }
    let transfer = tcp(dns.address, &question(APEX, RecordType::AXFR));
    assert_eq!(transfer.metadata.response_code, ResponseCode::Refused);
    let mut update = question(APEX, RecordType::SOA);
    update.metadata.op_code = OpCode::Update;
    let (update, _) = udp(dns.address, &update);
    assert!(!matches!(update.metadata.response_code, ResponseCode::NoError), "{update:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_case_of_the_query_name_is_preserved() {
    let dns = serve();
    let _shown = dns.values.publish(TxtName::Apex, "x");
    let mixed = "_AcMe-ChAlLeNgE.gW.eXaMpLe.";
    let (answer, bytes) = udp(dns.address, &question(mixed, RecordType::TXT));
    assert_eq!(answer.answers.len(), 1);
    let label = b"_AcMe-ChAlLeNgE";
    assert!(bytes.windows(label.len()).any(|window| window == label), "the query name is echoed unchanged");
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_over_udp_are_bounded_and_complete_over_tcp() {
    let dns = serve();
    let _shown: Vec<_> = (0..40).map(|i| dns.values.publish(TxtName::Apex, &format!("{i:043}"))).collect();
    let mut ask = question(APEX, RecordType::TXT);
    let (plain, bytes) = udp(dns.address, &ask);
    assert!(plain.metadata.truncation && bytes.len() <= 512, "{}", bytes.len());
    ask.edns = Some(Edns::new());
    ask.edns.as_mut().unwrap().set_max_payload(65535);
    let (large, bytes) = udp(dns.address, &ask);
    assert!(large.metadata.truncation && bytes.len() <= 1232, "{}", bytes.len());
    assert_eq!(large.edns.unwrap().max_payload(), 1232);
    assert_eq!(tcp(dns.address, &ask).answers.len(), 40);
    ask.edns.as_mut().unwrap().set_version(7);
    // BADSIG of TSIG has the same number as BADVERS.
    let newer = udp(dns.address, &ask).0.metadata.response_code;
    assert_eq!(u16::from(newer), u16::from(ResponseCode::BADVERS));
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_packets_have_no_effect() {
    let dns = serve();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for bytes in [&b"x"[..], &[0xff; 600], &[0; 12]] {
        socket.send_to(bytes, dns.address).unwrap();
        TcpStream::connect(dns.address).unwrap().write_all(bytes).unwrap();
    }
    let (answer, _) = udp(dns.address, &question(APEX, RecordType::SOA));
    assert_eq!(answer.answers.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegated_host_has_its_own_values() {
    let dns = serve();
    let (base, host) = (Host::parse("gw.example").unwrap(), Host::parse("app.example.org").unwrap());
    let _apex = dns.values.publish(TxtName::Apex, "apex");
    let _own = (
        dns.values.publish(TxtName::for_host(&host, &base), "a"),
        dns.values.publish(TxtName::for_host(&host, &base), "b"),
    );
    let target = Zone::new(&base).unwrap().target(&host);
    let (answer, _) = udp(dns.address, &question(&format!("{target}."), RecordType::TXT));
    let texts: Vec<String> = answer.answers.iter().map(|r| r.data.to_string()).collect();
    assert_eq!(texts, ["a", "b"]);
    assert_eq!(udp(dns.address, &question(APEX, RecordType::TXT)).0.answers.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_limit_udp_responses_are_truncated_and_tcp_still_answers() {
    let burst = NonZeroU32::new(4).unwrap();
    let dns = serve_within(Quota::per_hour(NonZeroU32::MIN).allow_burst(burst));
    let _shown = dns.values.publish(TxtName::Apex, "x");
    let ask = question(APEX, RecordType::TXT);
    for _ in 0..burst.get() {
        assert_eq!(udp(dns.address, &ask).0.answers.len(), 1);
    }
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let bytes = ask.to_vec().unwrap();
    for _ in 0..2 {
        socket.send_to(&bytes, dns.address).unwrap();
    }
    let mut buffer = [0; 1500];
    let length = socket.recv(&mut buffer).unwrap();
    let answer = Message::from_vec(&buffer[..length]).unwrap();
    assert!(answer.metadata.truncation && answer.answers.is_empty(), "one of two queries is answered");
    assert_eq!((answer.metadata.id, answer.queries, length), (4711, ask.queries.clone(), bytes.len()));
    assert_eq!(tcp(dns.address, &ask).answers.len(), 1);
    assert_eq!(dns.metrics.limited.get(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_of_one_network_do_not_block_another() {
    let dns = serve();
    let mut idle: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(dns.address).unwrap()).collect();
    let mut last = idle.pop().unwrap();
    last.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(last.read(&mut [0]).unwrap_or(0), 0, "closed at once: its network has its share");
    let other = std::net::SocketAddr::from(([127, 0, 9, 1], 0));
    let socket = socket(other, dns.address);
    assert_eq!(tcp_over(socket, &question(APEX, RecordType::SOA)).answers.len(), 1);
}
