//! From a question's bytes to the answer's: what the zone says, or, over the limit, that TCP is the way.

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

/// The largest answer over UDP, in bytes: it crosses every path in one piece (DNS flag day 2020).
const MAX_UDP: u16 = 1232;
/// The largest answer over UDP to who does not say how much it takes (RFC 1035 §4.2.1), in bytes.
const PLAIN_UDP: u16 = 512;
/// The second byte of a header's flags: "this cannot be read".
const FORMAT_ERROR: u8 = 1;

/// Answers for the zone; the values are those of the moment of the question. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Answers(Arc<Inner>);

struct Inner {
    zone: Zone,
    values: TxtSet,
    filter: QuestionFilter,
    /// Made anew when the values have changed.
    current: ArcSwap<Current>,
}

struct Current {
    generation: u64,
    catalog: Catalog,
}

impl Answers {
    /// The zone with these values.
    #[must_use]
    pub(crate) fn new(zone: Zone, values: TxtSet, filter: QuestionFilter) -> Self {
        let current = ArcSwap::from_pointee(Current::new(&zone, &values));
        Self(Arc::new(Inner { zone, values, filter, current }))
    }

    fn current(&self) -> Arc<Current> {
        let current = self.0.current.load_full();
        if current.generation == self.0.values.generation() {
            return current;
        }
        let current = Arc::new(Current::new(&self.0.zone, &self.0.values));
        self.0.current.store(Arc::clone(&current));
        current
    }
}

impl Responder for Answers {
    async fn respond(&self, question: &[u8], from: SocketAddr, transport: Transport) -> Option<Vec<u8>> {
        if let Err(instead) = self.0.filter.admit(question, from, transport) {
            return instead;
        }
        let protocol = match transport {
            Transport::Udp => Protocol::Udp,
            Transport::Tcp => Protocol::Tcp,
        };
        let Ok(request) = Request::from_bytes(question.to_vec(), from, protocol) else {
            return header(question, 0, FORMAT_ERROR);
        };
        let reply = Reply { transport, bytes: Arc::default() };
        self.current().catalog.handle_request::<_, TokioTime>(&request, reply.clone()).await;
        let bytes = std::mem::take(&mut *reply.bytes.lock().unwrap_or_else(PoisonError::into_inner));
        (!bytes.is_empty()).then_some(bytes)
    }

    fn metrics(&self) -> &DnsMetrics {
        self.0.filter.metrics()
    }
}

impl Current {
    fn new(zone: &Zone, values: &TxtSet) -> Self {
        let (generation, values) = values.values();
        Self { generation, catalog: zone.catalog(values) }
    }
}

/// Keeps an answer's bytes.
#[derive(Clone)]
struct Reply {
    transport: Transport,
    bytes: Arc<Mutex<Vec<u8>>>,
}

#[async_trait::async_trait]
impl ResponseHandler for Reply {
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
        // Else the asker's own size, up to 65535, would be said and kept to: we would amplify.
        let capped: Option<Edns> = response.edns().map(|edns| {
            let mut edns = edns.clone();
            edns.set_max_payload(edns.max_payload().min(MAX_UDP));
            edns
        });
        let mut response = response;
        if let Some(edns) = &capped {
            response.set_edns(edns);
        }
        let limit = match self.transport {
            Transport::Udp => capped.as_ref().map_or(PLAIN_UDP, Edns::max_payload),
            Transport::Tcp => u16::MAX,
        };
        let mut bytes = Vec::with_capacity(usize::from(PLAIN_UDP));
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
