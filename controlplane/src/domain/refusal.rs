//! Why something is not done. Nothing was changed then.

use thiserror::Error;
use time::OffsetDateTime;
use webgateway_proto::model::{
    Backend, Host, InvalidBackendsError, InvalidHostError, InvalidKeyIdError, InvalidNodeNameError,
    InvalidReasonError, InvalidRemoteAddressError, InvalidRouteIdError, KeyId, NodeName, RouteId, Suspension,
    UnsuitableOptionError,
};

use crate::clock::rfc3339;
use crate::store::StoreError;

/// Why the rules, or the store, refuse.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    /// Neither `fqdn` nor `subdomain`.
    #[error("a route needs a host: give `fqdn` or `subdomain`")]
    NoHost,
    /// Both `fqdn` and `subdomain`.
    #[error("a route has one host: give `fqdn` or `subdomain`, not both")]
    TwoHosts,
    /// A host that is none, in the param named.
    #[error("{1}")]
    InvalidHost(&'static str, InvalidHostError),
    /// More than one label, or less.
    #[error("`{0}` is not one label: give a name such as `myapp`, or the whole host as `fqdn`")]
    NotALabel(String),
    /// The base domain itself.
    #[error("`{0}` is the gateway's own domain")]
    BaseDomain(Host),
    /// At or under `_acme-challenge`.
    #[error("`{1}` is under _acme-challenge, which is for certificates alone")]
    AcmeChallenge(&'static str, String),
    /// One of the operator's own names.
    #[error("`{1}` is reserved by the operator")]
    Reserved(&'static str, Host),
    /// A subdomain that is to be passed through.
    #[error("a subdomain is always terminated: passthrough needs a host of your own, given as `fqdn`")]
    PassthroughSubdomain,
    /// Backends that are none, or not allowed.
    #[error(transparent)]
    Backends(#[from] InvalidBackendsError),
    /// A backend that is the gateway itself.
    #[error("`{0}` is a listener of this gateway itself: a route cannot lead back to it")]
    OwnListener(Backend),
    /// An option that a route of this mode cannot have.
    #[error(transparent)]
    UnsuitableOption(#[from] UnsuitableOptionError),
    /// An id that is none.
    #[error(transparent)]
    RouteId(#[from] InvalidRouteIdError),
    /// A key id that is none.
    #[error(transparent)]
    KeyId(#[from] InvalidKeyIdError),
    /// Another route has the host; the caller's own one is named.
    #[error("the host `{host}` is taken{}", own.map(|id| format!(" by your own route {id}")).unwrap_or_default())]
    HostTaken {
        /// The host.
        host: Host,
        /// The caller's route that has it.
        own: Option<RouteId>,
    },
    /// The id was used for another route.
    #[error("the id {0} is taken by another route, or one with other content")]
    IdTaken(RouteId),
    /// No such route, or not for this caller.
    #[error("there is no route {0}")]
    NoRoute(RouteId),
    /// Somebody else was faster.
    #[error("the route is at version {actual}, not {expected}: it was changed meanwhile")]
    Stale {
        /// The version that the caller knows.
        expected: u64,
        /// The version of the route.
        actual: u64,
    },
    /// No certificate is needed there, or not for this caller.
    #[error("no route of yours needs a certificate `{0}`")]
    NoCertificate(String),
    /// Another CA issues.
    #[error("the certificates are not from the internal CA, so there is no root to show")]
    NoRoot,
    /// Only the admin may.
    #[error("only the admin may do this")]
    AdminOnly,
    /// Something about users.
    #[error(transparent)]
    User(#[from] UserRefusal),
    /// Something about nodes.
    #[error(transparent)]
    Node(#[from] NodeRefusal),
    /// More at a time than there may be, or nothing.
    #[error("`limit` is from 1 to {0}")]
    Limit(u32),
    /// A cursor that no page gave.
    #[error("`cursor` is not one that a page gave")]
    Cursor,
    /// A wait that is too long, or for nothing.
    #[error("`wait` is from 1 to {0} seconds, and goes with `newer_than`")]
    Wait(u64),
    /// There is no place for one more who waits.
    #[error("too many calls wait at once")]
    Crowded,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why something about users is refused.
#[derive(Debug, Error)]
pub(crate) enum UserRefusal {
    /// The caller is suspended.
    #[error("`{user}` is suspended and cannot change anything{}", suspension.terms())]
    Suspended {
        /// The user.
        user: KeyId,
        /// Why and until when.
        suspension: Box<Suspension>,
    },
    /// Neither a key nor a route of theirs.
    #[error("there is no user `{0}`")]
    Unknown(KeyId),
    /// The admin.
    #[error("the admin cannot be suspended")]
    SuspendAdmin,
    /// A reason that is none.
    #[error(transparent)]
    Reason(#[from] InvalidReasonError),
    /// A time that is none.
    #[error("`until` is not a time: write it as RFC 3339 says, such as 2030-01-31T12:00:00Z")]
    Until,
    /// A time that is over.
    #[error("`until` is not in the future: the gateway's clock says {}", rfc3339(*.0))]
    UntilOver(OffsetDateTime),
    /// The admin.
    #[error("the admin has no quotas")]
    QuotaAdmin,
    /// More routes than the caller may have.
    #[error("you have {have} of {most} routes")]
    Routes {
        /// The number they have.
        have: u64,
        /// The number they may have.
        most: u32,
    },
    /// More backends than the caller may have.
    #[error("you have {have} of {most} backends, and this adds {more}")]
    Backends {
        /// The number they have.
        have: u64,
        /// The number they may have.
        most: u32,
        /// The number that would be added.
        more: u64,
    },
    /// More mutations than the caller may make in this minute.
    #[error("you have made {most} of {most} changes in this minute")]
    TooFast {
        /// The number they may make.
        most: u32,
        /// When they may go on, in seconds.
        retry_after: u64,
    },
}

/// Why something about nodes is refused.
#[derive(Debug, Error)]
pub(crate) enum NodeRefusal {
    /// A node's name that is none.
    #[error(transparent)]
    Name(#[from] InvalidNodeNameError),
    /// An address that is none.
    #[error(transparent)]
    Address(#[from] InvalidRemoteAddressError),
    /// There is no listener for remote nodes.
    #[error("this gateway takes no remote nodes: `[feed] listen` has no address:port")]
    NoRemoteNodes,
    /// Nobody said where the controlplane is.
    #[error("where does the node find the controlplane? Give `address`, or set `[feed] address`")]
    NoAddress,
    /// A token that is good for too short or too long.
    #[error("a token is good for 60 to 604800 seconds")]
    Ttl,
    /// The system has none.
    #[error("the system has no randomness")]
    NoRandomness,
    /// A node of this name has joined.
    #[error("a node `{0}` has joined")]
    Taken(NodeName),
    /// No node of this name is known.
    #[error("there is no node `{0}`")]
    Unknown(String),
    /// No node of this name has joined.
    #[error("no node `{0}` has joined, so there is no certificate to refuse")]
    NoMember(String),
}
