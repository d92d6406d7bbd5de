//! What can be wrong with the arguments: which flag, why, and what to do.

use gwctl::InvalidUrl;
use gwctl::keys::InvalidKeyName;
use thiserror::Error;
use webgateway_proto::model::{
    InvalidBackend, InvalidBackends, InvalidHost, InvalidKeyId, InvalidNodeName, InvalidReason,
    InvalidRemoteAddress, InvalidRouteId, UnsuitableOptionError,
};

use crate::cli::OptionError;

/// A flag that is wrong or missing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum InvalidArg {
    /// `--url`
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// `--id`
    #[error(transparent)]
    Id(InvalidKeyId),
    /// No `--id`, and nothing to derive it from.
    #[error(
        "the key's id is missing: it cannot be told from the key file's name, which does not end in .priv"
    )]
    IdMissing,
    /// No `--key`.
    #[error("a private key is needed to sign the request")]
    KeyMissing,
    /// `--fqdn`
    #[error(transparent)]
    Fqdn(InvalidHost),
    /// `routes explain HOST`
    #[error(transparent)]
    Host(InvalidHost),
    /// `--subdomain`
    #[error("`{0}` is not one label: letters, digits and inner hyphens, 1 to 63 bytes, no dot")]
    Subdomain(String),
    /// `--backend`
    #[error(transparent)]
    Backends(#[from] InvalidBackends),
    /// `--tls-pass` with `--subdomain`
    #[error("TLS can be passed through for a host of your own only, a subdomain is always terminated")]
    PassthroughSubdomain,
    /// A flag of an option.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// An option that does not go with `--tls-pass`.
    #[error(transparent)]
    UnsuitableOption(#[from] UnsuitableOptionError),
    /// `--route`
    #[error(transparent)]
    Route(#[from] InvalidRouteId),
    /// `--certificate`
    #[error(transparent)]
    Certificate(InvalidHost),
    /// `routes update` with nothing to change.
    #[error("nothing to change is given")]
    NoChange,
    /// `--user`
    #[error(transparent)]
    User(InvalidKeyId),
    /// `--reason`
    #[error(transparent)]
    Reason(#[from] InvalidReason),
    /// `--until`
    #[error("`{0}` is not a time")]
    Until(String),
    /// `--for`
    #[error("that is too short or too long: give such as 12h or 7d")]
    For,
    /// `admin quota --…`
    #[error("`{1}` is not a quota")]
    Quota(&'static str, String),
    /// `nodes … NAME`
    #[error(transparent)]
    NodeName(#[from] InvalidNodeName),
    /// `--address`
    #[error(transparent)]
    Address(#[from] InvalidRemoteAddress),
    /// `--ttl`
    #[error("`{0}` is not how long a token may be good: from 1m to 7d, such as 30m, 1h or 7d")]
    Ttl(String),
    /// `keys generate NAME`
    #[error(transparent)]
    KeyName(#[from] InvalidKeyName),
}

impl InvalidArg {
    /// The flag that is at fault, as it is written.
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
            Self::Route(_) => "-r/--route",
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

    /// What to do next, where the error does not say so itself.
    pub(crate) const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Url(_) => Some("write -u https://gateway.example.com/rpc, or set WEBGATEWAY_URL"),
            Self::Id(_) => {
                Some("give the file name of the public key the operator has, such as -i user1.pub")
            }
            Self::IdMissing => Some(
                "-k takes the private half, such as user1.priv; a file of another name needs -i user1.pub, or \
                 WEBGATEWAY_ID",
            ),
            Self::KeyMissing => Some(
                "give -k user1.priv, or set WEBGATEWAY_KEY; `gwctl keys generate user1` makes a key if you have \
                 none, `gwctl login -u URL -k user1.priv` keeps it for later commands",
            ),
            Self::Fqdn(_) | Self::Host(_) => None,
            Self::Subdomain(_) => Some("a whole host name goes with -f, such as -f app.example.org"),
            Self::Backends(InvalidBackends::Backend(
                InvalidBackend::NoPort(_) | InvalidBackend::NoPortBracketed(_) | InvalidBackend::Malformed(_),
            )) => Some(
                "quote the brackets: -b '[54f:1::2]:8080'; names are not looked up, but self:8080 is this machine",
            ),
            Self::Backends(_) => None,
            Self::PassthroughSubdomain => Some("give -f HOST in place of -s, or leave out -t"),
            Self::Option(error) => error.hint,
            Self::UnsuitableOption(UnsuitableOptionError::HealthPath) => Some("write --health tcp"),
            Self::UnsuitableOption(UnsuitableOptionError::TerminatedOnly(_)) => {
                Some("leave out that option, or -t")
            }
            Self::Reason(_)
            | Self::For
            | Self::Route(_)
            | Self::NodeName(_)
            | Self::Address(_)
            | Self::Ttl(_) => None,
            Self::Certificate(_) => {
                Some("a certificate is named by its first host, as `gwctl certificates list` shows it")
            }
            Self::NoChange => Some("give at least one of them with its new value"),
            Self::User(_) => Some("a user is named by the key's id, such as user1.pub"),
            Self::Until(_) => {
                Some("write it as RFC 3339 says, such as 2030-01-31T12:00:00Z, or give --for 7d")
            }
            Self::Quota(..) => Some("give a number, `none` for no limit, or `default` for the gateway's"),
            Self::KeyName(_) => Some("such as `gwctl keys generate user1`"),
        }
    }
}
