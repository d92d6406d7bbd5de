//! Errors in arguments, each with its flag and a hint.

use gwctl::UrlError;
use gwctl::keys::KeyNameError;
use thiserror::Error;
use webgateway_proto::model::{
    InvalidBackendError, InvalidBackendsError, InvalidHostError, InvalidKeyIdError, InvalidNodeNameError,
    InvalidReasonError, InvalidRemoteAddressError, InvalidRouteIdError, UnsuitableOptionError,
};

use crate::cli::OptionError;

/// An invalid or missing argument.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ArgError {
    /// The value of `--url` is invalid.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The value of `--id` is invalid.
    #[error(transparent)]
    Id(InvalidKeyIdError),
    /// `--id` is missing and cannot be derived from the name of the key file.
    #[error("the key id is missing, and cannot be derived from a key file whose name does not end in .priv")]
    IdMissing,
    /// `--key` is missing.
    #[error("a private key is needed to sign the request")]
    KeyMissing,
    /// The value of `--fqdn` is invalid.
    #[error(transparent)]
    Fqdn(InvalidHostError),
    /// The host that selects a route is invalid.
    #[error(transparent)]
    Host(InvalidHostError),
    /// The value of `--subdomain` is invalid.
    #[error("`{0}` is not a single DNS label: 1 to 63 letters, digits and inner hyphens, without dots")]
    Subdomain(String),
    /// A value of `--backend` is invalid.
    #[error(transparent)]
    Backends(#[from] InvalidBackendsError),
    /// `--tls-pass` is given with `--subdomain`.
    #[error("TLS passthrough requires a host of your own: TLS for a subdomain is always terminated")]
    PassthroughSubdomain,
    /// The flag of a route option is invalid.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// A route option cannot be combined with `--tls-pass`.
    #[error(transparent)]
    UnsuitableOption(#[from] UnsuitableOptionError),
    /// The argument that selects a route is neither a host nor an id.
    #[error(transparent)]
    Route(#[from] InvalidRouteIdError),
    /// The value of `--certificate` is invalid.
    #[error(transparent)]
    Certificate(InvalidHostError),
    /// `routes update` is given no changes.
    #[error("there is nothing to change")]
    NoChange,
    /// The user is not a valid key id.
    #[error(transparent)]
    User(InvalidKeyIdError),
    /// The value of `--reason` is invalid.
    #[error(transparent)]
    Reason(#[from] InvalidReasonError),
    /// The value of `--until` is invalid.
    #[error("`{0}` is not a time in RFC 3339 format")]
    Until(String),
    /// The value of `--for` is out of range.
    #[error("the duration is too short or too long: write, for example, 12h or 7d")]
    For,
    /// The value of a flag of `admin quota` is invalid.
    #[error("`{1}` is not a valid quota")]
    Quota(&'static str, String),
    /// The node's name is invalid.
    #[error(transparent)]
    NodeName(#[from] InvalidNodeNameError),
    /// The value of `--address` is invalid.
    #[error(transparent)]
    Address(#[from] InvalidRemoteAddressError),
    /// The value of `--ttl` is invalid or out of range.
    #[error("`{0}` is not a valid lifetime of a token: write a duration from 1m to 7d, such as 30m or 1h")]
    Ttl(String),
    /// The name of the key pair is invalid.
    #[error(transparent)]
    KeyName(#[from] KeyNameError),
}

impl ArgError {
    /// Returns the flag at fault, as users write it.
    pub(crate) const fn flag(&self) -> &'static str {
        match self {
            Self::Url(_) => "-u/--url",
            Self::Id(_) | Self::IdMissing => "-i/--id",
            Self::KeyMissing => "-k/--key",
            Self::Fqdn(_) => "-f/--fqdn",
            Self::Host(_) => "HOST",
            Self::Subdomain(_) => "-s/--subdomain",
            Self::Backends(_) => "-b/--backend",
            Self::PassthroughSubdomain => "-t/--tls-pass",
            Self::Option(error) => error.flag,
            Self::UnsuitableOption(_) => "-t/--tls-pass",
            Self::Route(_) => "ROUTE",
            Self::Certificate(_) => "-c/--certificate",
            Self::NoChange => "-f, -s, -b, -t, or an option such as -m",
            Self::User(_) => "USER",
            Self::Reason(_) => "--reason",
            Self::Until(_) => "--until",
            Self::For => "--for",
            Self::Quota(flag, _) => flag,
            Self::KeyName(_) | Self::NodeName(_) => "NAME",
            Self::Address(_) => "--address",
            Self::Ttl(_) => "--ttl",
        }
    }

    /// Returns the next step for the user, unless the message already contains it.
    pub(crate) const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Url(_) => Some("write -u https://gateway.example.com/rpc, or set WEBGATEWAY_URL"),
            Self::Id(_) => {
                Some("give the file name under which the operator has the public key, such as -i user1.pub")
            }
            Self::IdMissing => Some(
                "give -k a private key file such as user1.priv; for a file of another name, give -i user1.pub or set \
                 WEBGATEWAY_ID",
            ),
            Self::KeyMissing => Some(
                "give -k user1.priv, or set WEBGATEWAY_KEY; `gwctl keys generate user1` generates a key, and \
                 `gwctl login -u URL -k user1.priv` saves it for later commands",
            ),
            Self::Fqdn(_) | Self::Host(_) => None,
            Self::Subdomain(_) => Some("give a full host name with -f, such as -f app.example.org"),
            Self::Backends(InvalidBackendsError::Backend(
                InvalidBackendError::NoPort(..)
                | InvalidBackendError::NoBrackets(..)
                | InvalidBackendError::Malformed(_),
            )) => Some(
                "write an IP address in quotes, such as -b '[54f:1::2]:8080'; host names are not resolved, but \
                 self:8080 means this machine",
            ),
            Self::Backends(_) => None,
            Self::PassthroughSubdomain => Some("give -f HOST instead of -s, or omit -t"),
            Self::Option(error) => error.hint,
            Self::UnsuitableOption(UnsuitableOptionError::HealthPath) => Some("write --health tcp"),
            Self::UnsuitableOption(UnsuitableOptionError::TerminatedOnly(_)) => {
                Some("omit this option or -t")
            }
            Self::UnsuitableOption(UnsuitableOptionError::Needs { .. }) => None,
            Self::Route(_) => Some("give the route's host, such as app.example.org, or its id"),
            Self::Reason(_) | Self::For | Self::NodeName(_) | Self::Address(_) | Self::Ttl(_) => None,
            Self::Certificate(_) => Some("give the certificate's id, which `gwctl certificates list` shows"),
            Self::NoChange => Some("give at least one of these flags"),
            Self::User(_) => Some("give the user's key id, such as user1.pub"),
            Self::Until(_) => {
                Some("write, for example, 2030-01-31T12:00:00Z; or give a duration with --for 7d")
            }
            Self::Quota(..) => {
                Some("give a number, `none` for no limit, or `default` for the gateway's default")
            }
            Self::KeyName(_) => Some("write, for example, `gwctl keys generate user1`"),
        }
    }
}
