//! Name servers for foreign zones, on real sockets, for tests.

use std::net::SocketAddr;
use std::sync::Arc;

use hickory_server::Server;
use hickory_server::net::runtime::TokioRuntimeProvider;
use hickory_server::proto::op::Message;
pub(crate) use hickory_server::proto::op::ResponseCode;
pub(crate) use hickory_server::proto::rr::RecordType;
use hickory_server::proto::rr::rdata::{CAA, CNAME, SOA, TXT};
use hickory_server::proto::rr::{LowerName, Name, RData, Record};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// A name, a record type and a value.
pub(crate) type ZoneEntry = (&'static str, &'static str, &'static str);

/// A name server that stops when it is dropped.
pub(crate) struct TestNameServer {
    pub(crate) address: SocketAddr,
    _server: Server<Catalog>,
}

/// Serves the zones, given by their names and entries, and an empty root zone.
pub(crate) async fn serve(zones: &[(&'static str, &[ZoneEntry])]) -> TestNameServer {
    let mut catalog = Catalog::new();
    for (zone, entries) in zones.iter().copied().chain([(".", &[][..])]) {
        let origin = name(zone);
        let mut handler = InMemoryZoneHandler::<TokioRuntimeProvider>::empty(
            origin.clone(),
            ZoneType::Primary,
            AxfrPolicy::Deny,
        );
        let soa = SOA::new(origin.clone(), origin.clone(), 1, 60, 60, 60, 5);
        handler.upsert_mut(Record::from_rdata(origin.clone(), 5, RData::SOA(soa)), 1);
        for (at, kind, value) in entries {
            handler.upsert_mut(Record::from_rdata(name(at), 5, data(kind, value)), 1);
        }
        catalog.upsert(LowerName::new(&origin), vec![Arc::new(handler)]);
    }
    let mut server = Server::new(catalog);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    server.register_socket(socket);
    TestNameServer { address, _server: server }
}

/// A name server that fails for some queries and stops when it is dropped.
pub(crate) struct FailingNameServer {
    pub(crate) address: SocketAddr,
    _task: JoinSet<()>,
}

/// Starts a server in front of `names` that answers queries for these names and types with `code`, or not at all.
pub(crate) async fn failing(
    names: &TestNameServer,
    code: Option<ResponseCode>,
    questions: &'static [(&'static str, RecordType)],
) -> FailingNameServer {
    let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (address, behind, mut task) = (front.local_addr().unwrap(), names.address, JoinSet::new());
    task.spawn(async move {
        let mut packet = [0; 4096];
        while let Ok((length, from)) = front.recv_from(&mut packet).await {
            let question = Message::from_vec(&packet[..length]).unwrap();
            let query = question.queries[0].clone();
            let fails =
                |(at, kind): &(&str, RecordType)| query.name() == &name(at) && query.query_type() == *kind;
            if questions.iter().any(fails) {
                let Some(code) = code else { continue };
                let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
                answer.metadata.response_code = code;
                answer.add_query(query);
                front.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
                continue;
            }
            let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            back.send_to(&packet[..length], behind).await.unwrap();
            let length = back.recv(&mut packet).await.unwrap();
            front.send_to(&packet[..length], from).await.unwrap();
        }
    });
    FailingNameServer { address, _task: task }
}

fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).unwrap();
    name.set_fqdn(true);
    name
}

fn data(kind: &str, value: &str) -> RData {
    match kind {
        "A" | "AAAA" => RData::from(value.parse::<std::net::IpAddr>().unwrap()),
        "CNAME" => RData::CNAME(CNAME(name(value))),
        "TXT" => RData::TXT(TXT::new(vec![value.to_owned()])),
        "CAA" => RData::CAA(CAA::new_issue(false, Name::from_ascii(value).ok(), Vec::new())),
        _ => panic!("{kind}"),
    }
}
