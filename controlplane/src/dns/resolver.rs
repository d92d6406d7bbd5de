//! What others' name servers say: a small face on hickory's resolver, which remembers nothing between questions.

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

/// How long one server may take for one question.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a question may take with all attempts and servers.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// How many CNAMEs are followed, one after the other.
const MAX_ALIASES: usize = 8;

/// Asks name servers. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Resolver(TokioResolver);

/// No name servers to ask.
#[derive(Debug, Error)]
#[error("`[dns] resolver`: cannot ask the system's name servers ({0}): name some, such as 9.9.9.9")]
pub struct ResolverError(String);

/// A question that got no answer. An answer that says "nothing there" is one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the {kind} records of {name} could not be looked up: {reason}")]
pub(crate) struct ResolveError {
    /// What was asked about.
    pub name: String,
    /// What was asked for.
    pub kind: &'static str,
    /// What went wrong.
    pub reason: String,
}

/// One CAA record (RFC 8659 §4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CaaRecord {
    /// Whether who does not know the tag may not issue.
    pub critical: bool,
    /// What it says, lower case.
    pub tag: String,
    /// Its value.
    pub value: String,
}

impl Resolver {
    /// Asks these servers; with none, those of the system (`/etc/resolv.conf`).
    pub(crate) fn new(servers: &[SocketAddr]) -> Result<Self, ResolverError> {
        Self::with_attempt_timeout(servers, ATTEMPT_TIMEOUT)
    }

    /// As [`Resolver::new`], for servers that answer within `attempt` or not at all.
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
        // An owner who has just made a record is not to wait for a cache.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.timeout = attempt;
        builder.build().map(Self).map_err(failed)
    }

    /// Returns the addresses of a name, through all aliases. Those of one family are enough if the other one cannot be
    /// looked up, as they are to a CA: some name servers know nothing of AAAA.
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

    /// Whether a name is an alias of `wanted`, be it through others.
    pub(crate) async fn is_alias_of(&self, name: &str, wanted: &str) -> Result<bool, ResolveError> {
        let mut name = name.to_owned();
        for _ in 0..MAX_ALIASES {
            let Some(target) = self.alias(&name).await? else { return Ok(false) };
            if target == wanted {
                return Ok(true);
            }
            name = target;
        }
        Ok(false)
    }

    /// The name a name is an alias of, lower case and without a trailing dot.
    pub(crate) async fn alias(&self, name: &str) -> Result<Option<String>, ResolveError> {
        let found = self.lookup(name, RecordType::CNAME, "CNAME").await?;
        Ok(found.into_iter().find_map(|data| match data {
            RData::CNAME(target) => Some(normalize(&target.0)),
            _ => None,
        }))
    }

    /// The CAA records at a name; none above it are looked for.
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

    /// Whether a name is a zone's own: there can be no CNAME at it (RFC 1034 §3.6.2).
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
