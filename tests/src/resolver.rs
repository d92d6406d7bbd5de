//! A recursive DNS resolver with the records of a scenario, which forwards queries for
//! `_acme-challenge.<base domain>` to the controlplane's name server, as an NS record would delegate it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The timeout of queries to the controlplane's name server.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The longest chain of CNAME records.
const MAX_CNAMES: usize = 8;
const TTL: u32 = 1;

/// A running resolver.
#[derive(Debug)]
pub struct Resolver {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    _server: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Zone {
    records: BTreeMap<Name, Vec<RData>>,
    asked: Vec<(Name, RecordType)>,
    failing: BTreeSet<Name>,
}

/// The delegation of a zone to the controlplane's name server.
#[derive(Debug, Clone)]
struct Delegation {
    zone: Name,
    server: SocketAddr,
}

impl Resolver {
    /// Starts a resolver on this UDP port of loopback; `server` is the controlplane's name server, for the base domain
    /// `base`.
    pub async fn start(port: u16, base: &str, server: SocketAddr) -> Result<Self> {
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        let socket = UdpSocket::bind(address).await?;
        let zone = Arc::default();
        let delegation = Delegation { zone: name(&format!("_acme-challenge.{base}"))?, server };
        let mut task = JoinSet::new();
        task.spawn(serve(socket, Arc::clone(&zone), delegation));
        Ok(Self { address, zone, _server: task })
    }

    /// Returns the listen address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the A and AAAA records of `host`, and removes its other ones.
    pub fn set_addresses(&self, host: &str, addresses: &[IpAddr]) -> Result<()> {
        let records = addresses.iter().map(|address| match *address {
            IpAddr::V4(v4) => RData::A(A(v4)),
            IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
        });
        lock(&self.zone).records.insert(name(host)?, records.collect());
        Ok(())
    }

    /// Sets a CNAME record from `host` to `target`, and removes the other ones of `host`.
    pub fn set_alias(&self, host: &str, target: &str) -> Result<()> {
        let record = RData::CNAME(CNAME(name(target)?));
        lock(&self.zone).records.insert(name(host)?, vec![record]);
        Ok(())
    }

    /// Sets the TXT records of `host`, and removes its other ones.
    pub fn set_texts(&self, host: &str, texts: &[String]) -> Result<()> {
        let records = texts.iter().map(|text| RData::TXT(TXT::new(vec![text.clone()])));
        lock(&self.zone).records.insert(name(host)?, records.collect());
        Ok(())
    }

    /// Removes all records of `host`.
    pub fn remove(&self, host: &str) -> Result<()> {
        lock(&self.zone).records.remove(&name(host)?);
        Ok(())
    }

    /// Sets whether queries for `host` fail with SERVFAIL.
    pub fn set_failing(&self, host: &str, fails: bool) -> Result<()> {
        let (host, mut zone) = (name(host)?, lock(&self.zone));
        if fails {
            zone.failing.insert(host)
        } else {
            zone.failing.remove(&host)
        };
        Ok(())
    }

    /// Returns the number of queries for `host` and `kind`.
    pub fn query_count(&self, host: &str, kind: RecordType) -> Result<usize> {
        let host = name(host)?;
        Ok(lock(&self.zone).asked.iter().filter(|asked| asked.0 == host && asked.1 == kind).count())
    }
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<Zone>>, delegation: Delegation) {
    let socket = Arc::new(socket);
    let mut answers = JoinSet::new();
    let mut buffer = vec![0; 4096];
    while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
        let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
        let (socket, zone, delegation) = (Arc::clone(&socket), Arc::clone(&zone), delegation.clone());
        answers.spawn(async move {
            if let Ok(bytes) = answer(&question, &zone, &delegation).await.to_vec() {
                // The client may be gone.
                drop(socket.send_to(&bytes, client).await);
            }
        });
        while answers.try_join_next().is_some() {}
    }
}

async fn answer(question: &Message, zone: &Mutex<Zone>, delegation: &Delegation) -> Message {
    let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    answer.metadata.recursion_desired = question.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.add_queries(question.queries.iter().cloned());
    let Some(query) = question.queries.first() else {
        answer.metadata.response_code = ResponseCode::FormErr;
        return answer;
    };
    let (mut host, kind) = (query.name().to_lowercase(), query.query_type());
    lock(zone).asked.push((host.clone(), kind));
    if lock(zone).failing.contains(&host) {
        answer.metadata.response_code = ResponseCode::ServFail;
        return answer;
    }
    for _ in 0..MAX_CNAMES {
        if delegation.zone.zone_of(&host) {
            delegation.ask(&host, kind, &mut answer).await;
            return answer;
        }
        let Some(known) = lock(zone).records.get(&host).cloned() else {
            answer.metadata.response_code = ResponseCode::NXDomain;
            return answer;
        };
        let alias = known.iter().find_map(|data| match data {
            RData::CNAME(CNAME(target)) => Some(target.to_lowercase()),
            _ => None,
        });
        let fits = |data: &RData| alias.is_some() || data.record_type() == kind;
        answer.add_answers(
            known.into_iter().filter(fits).map(|data| Record::from_rdata(host.clone(), TTL, data)),
        );
        match alias {
            Some(target) if kind != RecordType::CNAME => host = target,
            Some(_) | None => return answer,
        }
    }
    answer.metadata.response_code = ResponseCode::ServFail;
    answer
}

impl Delegation {
    /// Forwards a query to the controlplane's name server; without an answer the result is SERVFAIL.
    async fn ask(&self, host: &Name, kind: RecordType, answer: &mut Message) {
        match timeout(TIMEOUT, self.exchange(host, kind)).await {
            Ok(Ok(theirs)) => {
                answer.metadata.response_code = theirs.metadata.response_code;
                answer.add_answers(theirs.answers);
                answer.add_authorities(theirs.authorities);
            }
            Ok(Err(_)) | Err(_) => answer.metadata.response_code = ResponseCode::ServFail,
        }
    }

    async fn exchange(&self, host: &Name, kind: RecordType) -> Result<Message> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        socket.connect(self.server).await?;
        let mut question = Message::query();
        question.add_query(Query::query(host.clone(), kind));
        socket.send(&question.to_vec()?).await?;
        let mut buffer = vec![0; 4096];
        let length = socket.recv(&mut buffer).await?;
        Ok(Message::from_vec(&buffer[..length])?)
    }
}

fn name(host: &str) -> Result<Name> {
    let mut name = Name::from_ascii(host).with_context(|| format!("{host} is no name"))?.to_lowercase();
    name.set_fqdn(true);
    Ok(name)
}

fn lock(zone: &Mutex<Zone>) -> MutexGuard<'_, Zone> {
    zone.lock().unwrap_or_else(PoisonError::into_inner)
}
