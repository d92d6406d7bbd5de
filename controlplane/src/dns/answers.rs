//! From a question's bytes to the answer's: what the zone says, or, over the limit, that TCP is the way.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
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
use prometheus_client::metrics::counter::Counter;

use super::limit::{Limit, Network};
use super::txt::TxtSet;
use super::zone::Zone;

/// The largest answer over UDP, in bytes: it crosses every path in one piece (DNS flag day 2020).
const MAX_UDP: u16 = 1232;
/// The largest answer over UDP to who does not say how much it takes (RFC 1035 §4.2.1), in bytes.
const PLAIN_UDP: u16 = 512;
/// A message's header, in bytes.
const HEADER: usize = 12;
/// The second byte of a header's flags: "this cannot be read".
const FORMAT_ERROR: u8 = 1;

/// What a question came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Its source may be forged, its answer is bounded.
    Udp,
    /// Its source is true.
    Tcp,
}

/// What is counted.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Questions.
    pub questions: Counter,
    /// Questions over a network's limit.
    pub limited: Counter,
    /// Listeners that ended and were started anew.
    pub restarts: Counter,
}

/// Answers for the zone; the values are those of the moment of the question. Clones are the same one.
#[derive(Clone)]
pub struct Answers(Arc<Inner>);

struct Inner {
    zone: Zone,
    values: TxtSet,
    limit: Limit,
    counts: Counts,
    /// Made anew when the values have changed.
    current: ArcSwap<Current>,
    /// Every other question over the limit is told to come by TCP, the rest are dropped.
    tell: AtomicBool,
}

struct Current {
    generation: u64,
    catalog: Catalog,
}

impl Answers {
    /// The zone with these values.
    #[must_use]
    pub fn new(zone: Zone, values: TxtSet, limit: Limit, counts: Counts) -> Self {
        let current = ArcSwap::from_pointee(Current::new(&zone, &values));
        Self(Arc::new(Inner { zone, values, limit, counts, current, tell: AtomicBool::new(false) }))
    }

    /// The counters.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// Answers one message; `None` if it deserves none.
    pub async fn answer(&self, question: &[u8], from: SocketAddr, transport: Transport) -> Option<Vec<u8>> {
        self.0.counts.questions.inc();
        let is_response = *question.get(2)? & 0x80 != 0;
        if question.len() < HEADER || is_response {
            return None;
        }
        if !self.0.limit.admits(Network::of(from.ip())) {
            self.0.counts.limited.inc();
            // Over TCP the source is true, and its connections are counted.
            if transport == Transport::Udp {
                let tell = self.0.tell.fetch_xor(true, Ordering::Relaxed);
                return if tell { truncated(question) } else { None };
            }
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

/// The question, said back with "truncated" (RFC 1035 §4.1.1): no larger than it came.
fn truncated(question: &[u8]) -> Option<Vec<u8>> {
    const TRUNCATED: u8 = 0x02;
    let mut end = HEADER;
    loop {
        match usize::from(*question.get(end)?) {
            0 => break,
            length @ 1..=63 => end += 1 + length,
            _ => return None,
        }
    }
    let asked = question.get(HEADER..end + 5)?;
    let mut answer = header(question, TRUNCATED, 0)?;
    if let Some(count) = answer.get_mut(5) {
        *count = 1;
    }
    answer.extend_from_slice(asked);
    Some(answer)
}

/// A header that answers `question`: its id, opcode and "recursion desired", and nothing counted.
fn header(question: &[u8], flags: u8, code: u8) -> Option<Vec<u8>> {
    let &[high, low, asked, ..] = question else { return None };
    let mut header = vec![high, low, 0x80 | (asked & 0x79) | flags, code];
    header.resize(HEADER, 0);
    Some(header)
}

#[cfg(test)]
mod tests;
