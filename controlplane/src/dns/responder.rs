//! The responder for our zone: it turns the bytes of a query into those of the response.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use hickory_server::net::NetError;
use hickory_server::net::runtime::TokioTime;
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::Edns;
use hickory_server::proto::rr::Record;
use hickory_server::proto::serialize::binary::BinEncoder;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::{Catalog, MessageResponse};
use webgateway_dns::{DnsMetrics, QuestionFilter, Responder, Transport, header};

use super::txt::TxtSet;
use super::zone::Zone;

/// The maximum size of a response over UDP, in bytes, which avoids fragmentation (DNS flag day 2020).
const MAX_UDP_SIZE: u16 = 1232;
/// The maximum size of a response over UDP to a client without EDNS, in bytes (RFC 1035 §4.2.1).
const MAX_UDP_WITHOUT_EDNS: u16 = 512;
/// The second byte of the flags in a header with the response code FORMERR (RFC 1035 §4.1.1).
const FORMAT_ERROR: u8 = 1;

/// A responder for the zone with the current TXT values. Clones share the zone.
#[derive(Clone)]
pub(crate) struct ZoneResponder(Arc<ResponderInner>);

struct ResponderInner {
    zone: Zone,
    values: TxtSet,
    filter: QuestionFilter,
    /// The zone with the values of one generation. Replaced by the first query after a change of the values.
    current: ArcSwap<ZoneSnapshot>,
}

struct ZoneSnapshot {
    generation: u64,
    catalog: Catalog,
}

impl ZoneResponder {
    /// Creates a responder for the zone with these values.
    #[must_use]
    pub(crate) fn new(zone: Zone, values: TxtSet, filter: QuestionFilter) -> Self {
        let current = ArcSwap::from_pointee(ZoneSnapshot::new(&zone, &values));
        Self(Arc::new(ResponderInner { zone, values, filter, current }))
    }

    fn current(&self) -> Arc<ZoneSnapshot> {
        let current = self.0.current.load_full();
        if current.generation == self.0.values.generation() {
            return current;
        }
        let current = Arc::new(ZoneSnapshot::new(&self.0.zone, &self.0.values));
        self.0.current.store(Arc::clone(&current));
        current
    }
}

impl Responder for ZoneResponder {
    async fn respond(&self, question: &[u8], from: SocketAddr, transport: Transport) -> Option<Vec<u8>> {
        if let Err(response) = self.0.filter.admit(question, from, transport) {
            return response;
        }
        let protocol = match transport {
            Transport::Udp => Protocol::Udp,
            Transport::Tcp => Protocol::Tcp,
        };
        let Ok(request) = Request::from_bytes(question.to_vec(), from, protocol) else {
            return header(question, 0, FORMAT_ERROR);
        };
        let capture = ResponseCapture { transport, bytes: Arc::default() };
        self.current().catalog.handle_request::<_, TokioTime>(&request, capture.clone()).await;
        let bytes = std::mem::take(&mut *capture.bytes.lock().unwrap_or_else(PoisonError::into_inner));
        (!bytes.is_empty()).then_some(bytes)
    }

    fn metrics(&self) -> &DnsMetrics {
        self.0.filter.metrics()
    }
}

impl ZoneSnapshot {
    fn new(zone: &Zone, values: &TxtSet) -> Self {
        let (generation, values) = values.values();
        Self { generation, catalog: zone.catalog(values) }
    }
}

/// A response handler that stores the encoded response.
#[derive(Clone)]
struct ResponseCapture {
    transport: Transport,
    bytes: Arc<Mutex<Vec<u8>>>,
}

#[async_trait::async_trait]
impl ResponseHandler for ResponseCapture {
    async fn send_response<'a>(
        &mut self,
        response: MessageResponse<
            '_,
            'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
        >,
    ) -> Result<ResponseInfo, NetError> {
        // A response as large as the client announces, up to 65535 bytes, could be used to amplify an attack.
        let capped: Option<Edns> = response.edns().map(|edns| {
            let mut edns = edns.clone();
            edns.set_max_payload(edns.max_payload().min(MAX_UDP_SIZE));
            edns
        });
        let mut response = response;
        if let Some(edns) = &capped {
            response.set_edns(edns);
        }
        let limit = match self.transport {
            Transport::Udp => capped.as_ref().map_or(MAX_UDP_WITHOUT_EDNS, Edns::max_payload),
            Transport::Tcp => u16::MAX,
        };
        let mut bytes = Vec::with_capacity(usize::from(MAX_UDP_WITHOUT_EDNS));
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_max_size(limit);
        let info = response.destructive_emit(&mut encoder)?;
        *self.bytes.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
        Ok(info)
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;
