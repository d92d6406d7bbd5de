//! The errors of the domain rules. A command that fails has changed nothing.

use thiserror::Error;
use time::OffsetDateTime;
use webgateway_proto::model::{
    Backend, DnsRecord, Host, InvalidBackendError, InvalidBackendsError, InvalidHostError, InvalidKeyIdError,
    InvalidNodeNameError, InvalidReasonError, InvalidRemoteAddressError, InvalidRouteIdError, KeyId,
    NodeName, RouteId, Suspension, UnsuitableOptionError,
};

use crate::clock::rfc3339;
use crate::config::RouteLimitError;
use crate::store::StoreError;

/// A command or query failed.
#[derive(Debug, Error)]
pub(crate) enum DomainError {
    /// The command names no host.
    #[error("a route needs a host: give `fqdn` or `subdomain`")]
    NoHost,
    /// The command has both `fqdn` and `subdomain`.
    #[error("a route has one host: give `fqdn` or `subdomain`, not both")]
    TwoHosts,
    /// The host in the named parameter is invalid.
    #[error("{1}")]
    InvalidHost(&'static str, InvalidHostError),
    /// The subdomain is not exactly one label.
    #[error("`{0}` is not one label: give a name such as `myapp`, or the whole host as `fqdn`")]
    NotALabel(String),
    /// The host is the base domain itself.
    #[error("`{0}` is the gateway's own domain")]
    BaseDomain(Host),
    /// The host is at or under `_acme-challenge`.
    #[error("`{1}` is under _acme-challenge, which is for certificates alone")]
    AcmeChallenge(&'static str, String),
    /// Only the admin may have a host with this label.
    #[error("`{1}` has a label that is reserved for the operator")]
    Reserved(&'static str, Host),
    /// Another owner holds a host above or below the host.
    #[error(transparent)]
    Nested(Box<NestedHostError>),
    /// A subdomain cannot be passed through.
    #[error("a subdomain is always terminated: passthrough needs a host of your own, given as `fqdn`")]
    PassthroughSubdomain,
    /// The backends are invalid or not allowed.
    #[error(transparent)]
    Backends(#[from] InvalidBackendsError),
    /// A backend is a listener of the gateway itself.
    #[error("`{0}` is a listener of this gateway itself: a route cannot lead back to it")]
    OwnListener(Backend),
    /// The named option has an address that is not allowed.
    #[error("{1}")]
    OptionBackend(&'static str, InvalidBackendError),
    /// The named option has an address of the gateway itself.
    #[error("`{1}` is a listener of this gateway itself: `{0}` cannot lead back to it")]
    OptionListener(&'static str, Backend),
    /// An option does not apply to routes of this mode.
    #[error(transparent)]
    UnsuitableOption(#[from] UnsuitableOptionError),
    /// An option exceeds the operator's bound.
    #[error(transparent)]
    RouteLimit(#[from] RouteLimitError),
    /// The route id is invalid.
    #[error(transparent)]
    RouteId(#[from] InvalidRouteIdError),
    /// The key id is invalid.
    #[error(transparent)]
    KeyId(#[from] InvalidKeyIdError),
    /// Another route has the host.
    #[error("the host `{host}` is taken{}", own.map(|id| format!(" by your own route {id}")).unwrap_or_default())]
    HostTaken {
        /// The host.
        host: Host,
        /// The route that has it, if the caller can see it.
        own: Option<RouteId>,
    },
    /// Another route, or one with other content, has the id.
    #[error("the id {0} is taken by another route, or one with other content")]
    IdTaken(RouteId),
    /// The route does not exist, or the caller cannot see it.
    #[error("there is no route {0}")]
    NoRoute(RouteId),
    /// The host has no route, or the caller cannot see it.
    #[error("there is no route of yours for `{0}`")]
    NoRouteAt(Host),
    /// The number of hours is out of bounds, or there is no host.
    #[error("`hours` must be from 1 to {0}, together with `host`")]
    Hours(u32),
    /// The route is not at the expected version.
    #[error("the route is at version {actual}, not {expected}: it was changed meanwhile")]
    Stale {
        /// The version that the caller expects.
        expected: u64,
        /// The version of the route.
        actual: u64,
    },
    /// No route that the caller can see needs such a certificate.
    #[error("no route of yours needs a certificate `{0}`")]
    NoCertificate(String),
    /// The certificates are not issued by the internal CA.
    #[error("the certificates are not from the internal CA, so there is no root to show")]
    NoRoot,
    /// The caller is not the admin.
    #[error("only the admin may do this")]
    AdminOnly,
    /// A rule about users was violated.
    #[error(transparent)]
    User(#[from] UserError),
    /// A rule about nodes was violated.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The limit of a page is out of bounds.
    #[error("`limit` must be from 1 to {0}")]
    Limit(u32),
    /// The cursor was not returned by a page.
    #[error("`cursor` is invalid: pass the one that the previous page returned")]
    Cursor,
    /// The wait is out of bounds, or has no `newer_than`.
    #[error("`wait` must be from 1 to {0} seconds, together with `newer_than`")]
    Wait(u64),
    /// The wait for lines of an access log is out of bounds, or there is no cursor.
    #[error("`wait` must be from 1 to {0} seconds, together with `after`")]
    WaitForLines(u64),
    /// Too many calls are waiting.
    #[error("too many calls are waiting: try again later")]
    Crowded,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Another owner holds a host above or below a host. The message names it only if it is above: the names below a host
/// may be private.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{host}` is {}", relation(host, neighbour))]
pub(crate) struct NestedHostError {
    /// The host.
    pub host: Host,
    /// The owner who asked for the host.
    pub owner: KeyId,
    /// The host of the other owner.
    pub neighbour: Host,
    /// The DNS record that would prove the host; `None` below the base domain, where users cannot create one.
    pub proof: Option<DnsRecord>,
}

fn relation(host: &Host, neighbour: &Host) -> String {
    match host.is_below(neighbour) {
        true => format!("below `{neighbour}`, which belongs to another owner"),
        false => "above a host that belongs to another owner".to_owned(),
    }
}

/// A rule about users was violated.
#[derive(Debug, Error)]
pub(crate) enum UserError {
    /// The caller is suspended.
    #[error("`{user}` is suspended and cannot change anything{}", suspension.terms())]
    Suspended {
        /// The user.
        user: KeyId,
        /// The reason and the end of the suspension.
        suspension: Box<Suspension>,
    },
    /// The user has neither a key nor ever had a route.
    #[error("there is no user `{0}`")]
    Unknown(KeyId),
    /// The admin cannot be suspended.
    #[error("the admin cannot be suspended")]
    SuspendAdmin,
    /// The reason is invalid.
    #[error(transparent)]
    Reason(#[from] InvalidReasonError),
    /// The end cannot be represented in UTC.
    #[error("`until` is not a time: write it as in RFC 3339, such as 2030-01-31T12:00:00Z")]
    Until,
    /// The end is not in the future.
    #[error("`until` is not in the future: the gateway's clock says {}", rfc3339(*.0))]
    UntilOver(OffsetDateTime),
    /// The admin has no quotas.
    #[error("the admin has no quotas")]
    QuotaAdmin,
    /// The change would exceed the caller's quota of routes.
    #[error("you have {have} of {most} routes")]
    Routes {
        /// The number that the caller has.
        have: u64,
        /// The quota.
        most: u32,
    },
    /// The change would exceed the caller's quota of backends.
    #[error("you have {have} of {most} backends, and this adds {more}")]
    Backends {
        /// The number that the caller has.
        have: u64,
        /// The quota.
        most: u32,
        /// The number that would be added.
        more: u64,
    },
    /// The change would exceed the maximum number of unproven hosts.
    #[error("you have {have} of {most} hosts that are not proven to be yours")]
    Claims {
        /// The number that the owner has.
        have: u64,
        /// The maximum.
        most: u32,
    },
    /// The caller's mutations in this minute are used up.
    #[error("you have made {most} of {most} changes in this minute")]
    RateLimited {
        /// The maximum number of mutations per minute.
        most: u32,
        /// The time until the next mutation is allowed, in seconds.
        retry_after: u64,
    },
}

/// A rule about nodes was violated.
#[derive(Debug, Error)]
pub(crate) enum NodeError {
    /// The node's name is invalid.
    #[error(transparent)]
    Name(#[from] InvalidNodeNameError),
    /// The address is invalid.
    #[error(transparent)]
    Address(#[from] InvalidRemoteAddressError),
    /// The gateway has no listener for remote nodes.
    #[error("this gateway accepts no remote nodes: add an address:port to `[feed] listen`")]
    NoRemoteNodes,
    /// The address of the controlplane is not known.
    #[error("the address of the controlplane is not known: give `address`, or set `[feed] address`")]
    NoAddress,
    /// The lifetime of the token is out of bounds.
    #[error("the lifetime of a token must be from 60 to 604800 seconds")]
    Ttl,
    /// The system provides no random bytes.
    #[error("the system provides no random bytes")]
    NoRandomness,
    /// A node of this name has joined.
    #[error("a node `{0}` has joined")]
    Taken(NodeName),
    /// No node of this name exists.
    #[error("there is no node `{0}`")]
    Unknown(String),
    /// No node of this name has joined.
    #[error("no node `{0}` has joined, so there is no certificate to refuse")]
    NoMember(String),
}
