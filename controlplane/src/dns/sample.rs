//! Others' name server for the tests: some zones, over a real socket.

use std::net::SocketAddr;
use std::sync::Arc;

use hickory_server::Server;
use hickory_server::net::runtime::TokioRuntimeProvider;
use hickory_server::proto::rr::rdata::{CAA, CNAME, SOA};
use hickory_server::proto::rr::{LowerName, Name, RData, Record};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};

/// A name, the type of its record and its value.
pub(crate) type Entry = (&'static str, &'static str, &'static str);

/// The server; it ends when it is dropped.
pub(crate) struct Names {
    pub(crate) address: SocketAddr,
    _server: Server<Catalog>,
}

/// Serves zones, by their names and what is in them, and an empty root.
pub(crate) async fn serve(zones: &[(&'static str, &[Entry])]) -> Names {
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
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    server.register_socket(socket);
    Names { address, _server: server }
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
        "CAA" => RData::CAA(CAA::new_issue(false, Name::from_ascii(value).ok(), Vec::new())),
        _ => panic!("{kind}"),
    }
}
