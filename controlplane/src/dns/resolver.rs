//! A DNS resolver for names outside our zone, on top of hickory's, without a cache.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use thiserror::Error;
use tokio::time::timeout;

/// The time limit for one query to one server.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// The time limit for a lookup with all its retries and servers.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum length of a chain of CNAME records.
const MAX_ALIASES: usize = 8;

/// A DNS resolver. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Resolver(TokioResolver);

/// The resolver cannot be created.
#[derive(Debug, Error)]
#[error("`[dns] resolver`: cannot ask the system's name servers ({0}): name some, such as 9.9.9.9")]
pub struct ResolverError(String);

/// A failed lookup. An answer without records is not a failure.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the {kind} records of {name} could not be looked up: {reason}")]
pub(crate) struct ResolveError {
    /// The name in the query.
    pub name: String,
    /// The record type in the query.
    pub kind: &'static str,
    /// The reason.
    pub reason: String,
}

/// One CAA record (RFC 8659 §4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CaaRecord {
    /// True if an issuer must not issue unless it understands the tag.
    pub critical: bool,
    /// The tag, in lower case.
    pub tag: String,
    /// The value.
    pub value: String,
}

impl Resolver {
    /// Creates a resolver that asks these servers, or the system's (`/etc/resolv.conf`) if there are none.
    pub(crate) fn new(servers: &[SocketAddr]) -> Result<Self, ResolverError> {
        Self::with_attempt_timeout(servers, ATTEMPT_TIMEOUT)
    }

    /// Creates a resolver like [`Resolver::new`] with `attempt` as the time limit for one query.
    pub(crate) fn with_attempt_timeout(
        servers: &[SocketAddr],
        attempt: Duration,
    ) -> Result<Self, ResolverError> {
        let failed = |error: NetError| ResolverError(error.to_string());
        let mut builder = if servers.is_empty() {
            TokioResolver::builder_tokio().map_err(failed)?
        } else {
            let servers = servers.iter().map(server).collect();
            let config = ResolverConfig::from_name_servers(servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        // A cache would make an owner wait who has just created a record.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.timeout = attempt;
        builder.build().map(Self).map_err(failed)
    }

    /// Returns the addresses of a name after its CNAME records. The addresses of one family suffice if the lookup of
    /// the other fails, as they do for a CA: some name servers do not support AAAA queries.
    pub(crate) async fn addresses(&self, name: &str) -> Result<BTreeSet<IpAddr>, ResolveError> {
        let families =
            tokio::join!(self.lookup(name, RecordType::A, "A"), self.lookup(name, RecordType::AAAA, "AAAA"));
        let addresses =
            |found: Vec<RData>| found.iter().filter_map(RData::ip_addr).collect::<BTreeSet<IpAddr>>();
        match families {
            (Ok(v4), Ok(v6)) => Ok(addresses([v4, v6].concat())),
            (Ok(found), Err(error)) | (Err(error), Ok(found)) => {
                Some(addresses(found)).filter(|found| !found.is_empty()).ok_or(error)
            }
            (Err(error), Err(_)) => Err(error),
        }
    }

    /// Returns true if a name is an alias of `target`, directly or through other aliases.
    pub(crate) async fn is_alias_of(&self, name: &str, target: &str) -> Result<bool, ResolveError> {
        let mut name = name.to_owned();
        for _ in 0..MAX_ALIASES {
            let Some(alias) = self.alias(&name).await? else { return Ok(false) };
            if alias == target {
                return Ok(true);
            }
            name = alias;
        }
        Ok(false)
    }

    /// Returns the target of a name's CNAME record, in lower case and without a trailing dot.
    pub(crate) async fn alias(&self, name: &str) -> Result<Option<String>, ResolveError> {
        let found = self.lookup(name, RecordType::CNAME, "CNAME").await?;
        Ok(found.into_iter().find_map(|data| match data {
            RData::CNAME(target) => Some(normalize(&target.0)),
            _ => None,
        }))
    }

    /// Returns the CAA records at a name, without those of its parents.
    pub(crate) async fn caa(&self, name: &str) -> Result<Vec<CaaRecord>, ResolveError> {
        let found = self.lookup(name, RecordType::CAA, "CAA").await?;
        let caa = |data| match data {
            RData::CAA(caa) => Some(CaaRecord {
                critical: caa.issuer_critical,
                tag: caa.tag.to_ascii_lowercase(),
                value: String::from_utf8_lossy(&caa.value).into_owned(),
            }),
            _ => None,
        };
        Ok(found.into_iter().filter_map(caa).collect())
    }

    /// Returns the texts of the TXT records at a name, the strings of each record joined (RFC 7208 §3.3 does the same).
    pub(crate) async fn txt(&self, name: &str) -> Result<Vec<String>, ResolveError> {
        let found = self.lookup(name, RecordType::TXT, "TXT").await?;
        let text = |data| match data {
            RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
            _ => None,
        };
        Ok(found.into_iter().filter_map(text).collect())
    }

    /// Returns true if a name is the apex of a zone, which cannot have a CNAME record (RFC 1034 §3.6.2).
    pub(crate) async fn is_apex(&self, name: &str) -> Result<bool, ResolveError> {
        let found = self.lookup(name, RecordType::SOA, "SOA").await?;
        Ok(found.iter().any(|data| matches!(data, RData::SOA(_))))
    }

    async fn lookup(
        &self,
        name: &str,
        kind: RecordType,
        word: &'static str,
    ) -> Result<Vec<RData>, ResolveError> {
        let failed = |reason: String| ResolveError { name: name.to_owned(), kind: word, reason };
        let fqdn = Name::from_ascii(format!("{name}.")).map_err(|error| failed(error.to_string()))?;
        match timeout(LOOKUP_TIMEOUT, self.0.lookup(fqdn, kind)).await {
            Ok(Ok(found)) => Ok(found.answers().iter().map(|record| record.data.clone()).collect()),
            Ok(Err(error)) if error.is_no_records_found() => Ok(Vec::new()),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed("no answer in time".to_owned())),
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    NameServerConfig::new(address.ip(), true, connections)
}

fn normalize(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
