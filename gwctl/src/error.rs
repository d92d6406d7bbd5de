//! The error of a command, with the flag at fault and a hint for the user.

mod flags;
mod kind;

use std::borrow::Cow;

use gwctl::api::jsonrpc::ErrorObject;
use gwctl::keys::KeyError;
use gwctl::{CallError, ErrorKind, TransportError, UnexpectedResponseError};
use http::StatusCode;
use webgateway_proto::httpsig::InvalidKeyError;

use self::flags::flag_of_param;
pub(crate) use self::flags::params_to_flags;
pub(crate) use self::kind::FailureKind;
use crate::args::ArgError;
use crate::mycelium::AddressError;
use crate::profiles::ProfileError;

/// The error of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandError {
    /// The kind, which determines the exit code.
    pub(crate) kind: FailureKind,
    /// A stable identifier, such as `host_taken`. JSON shows it as `kind`.
    pub(crate) identifier: String,
    /// The description of what went wrong.
    pub(crate) message: String,
    /// The API param at fault.
    pub(crate) field: Option<Box<str>>,
    /// The flag at fault.
    pub(crate) flag: Option<Cow<'static, str>>,
    /// The next step for the user.
    pub(crate) hint: Option<String>,
}

impl CommandError {
    /// Creates an error with the identifier and the hint of its kind.
    pub(crate) fn new(kind: FailureKind, message: impl ToString) -> Self {
        let hint = kind.hint().map(str::to_owned);
        Self {
            kind,
            identifier: kind.as_str().to_owned(),
            message: message.to_string(),
            field: None,
            flag: None,
            hint,
        }
    }

    /// Sets the flag at fault.
    pub(crate) fn flag(self, flag: impl Into<Cow<'static, str>>) -> Self {
        Self { flag: Some(flag.into()), ..self }
    }

    /// Replaces the hint.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl From<ArgError> for CommandError {
    fn from(error: ArgError) -> Self {
        let failure = Self::new(FailureKind::Usage, &error).flag(error.flag());
        Self { hint: error.hint().map(str::to_owned), ..failure }
    }
}

impl From<KeyError> for CommandError {
    fn from(error: KeyError) -> Self {
        let usage = |hint| Self::new(FailureKind::Usage, &error).flag("-k/--key").hint(hint);
        match &error {
            KeyError::NotFound(_) => usage("`gwctl keys generate user1` generates user1.priv and user1.pub"),
            KeyError::Unreadable { .. } => usage("make the file readable for the user who runs gwctl"),
            KeyError::TooLarge(_) => usage("give the private key file, such as -k user1.priv"),
            KeyError::Invalid { source: InvalidKeyError::Public, .. } => {
                usage("give the private key file, such as -k user1.priv")
            }
            KeyError::Invalid { .. } => usage("`gwctl keys generate user1` generates a suitable key"),
            KeyError::Exists(_) => Self::new(FailureKind::Conflict, &error)
                .flag("NAME")
                .hint("choose another name, or move the existing file"),
            KeyError::Unwritable { .. } => Self::new(FailureKind::Unexpected, &error)
                .flag("NAME")
                .hint("the directory must exist and be writable for the user who runs gwctl"),
            KeyError::Random => Self::new(FailureKind::Unexpected, &error),
        }
    }
}

impl From<ProfileError> for CommandError {
    fn from(error: ProfileError) -> Self {
        let usage = |hint| Self::new(FailureKind::Usage, &error).flag("--profile").hint(hint);
        match &error {
            ProfileError::NoHome => usage("set HOME, or give -u, -i and -k instead of --profile"),
            ProfileError::Unreadable { .. } => usage("make the file readable for the user who runs gwctl"),
            ProfileError::Invalid { .. } => {
                usage("correct the file, or remove it and run `gwctl login` again")
            }
            ProfileError::Unknown { .. } => {
                usage("`gwctl login --profile NAME -u URL -i user1.pub -k user1.priv` creates a profile")
            }
            ProfileError::Unwritable { .. } => Self::new(FailureKind::Unexpected, &error)
                .hint("the directory must be writable for the user who runs gwctl"),
        }
    }
}

impl From<AddressError> for CommandError {
    fn from(error: AddressError) -> Self {
        let failure = Self::new(FailureKind::Unexpected, &error);
        match error {
            AddressError::Url(_) => Self::new(FailureKind::Usage, &error).flag("--mycelium-api"),
            AddressError::NoResponse { .. } => failure.flag("-b/--backend").hint(
                "check that mycelium is running; if its API has another URL, give it with --mycelium-api; or give \
                 the address shown by `mycelium inspect --json` instead of `self`",
            ),
            AddressError::UnexpectedResponse(_) => failure.flag("-b/--backend").hint(
                "check that this is a recent Mycelium daemon; or give the address shown by `mycelium inspect --json` \
                 instead of `self`",
            ),
        }
    }
}

impl From<CallError> for CommandError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Encode(_) | CallError::Build(_) | CallError::Sign(_) | CallError::Decode(_) => {
                Self::new(error.kind().into(), error)
            }
            CallError::Transport(error) => error.into(),
            CallError::Rpc(error) => (*error).into(),
            CallError::UnexpectedResponse(error) => error.into(),
        }
    }
}

impl From<TransportError> for CommandError {
    fn from(error: TransportError) -> Self {
        let failure = Self::new(FailureKind::Unreachable, &error);
        match error {
            TransportError::Connect { .. } | TransportError::ConnectTimeout(_) => failure,
            TransportError::TrustStore(_) => {
                failure.hint("install the package ca-certificates, or set SSL_CERT_FILE to a PEM file of CAs")
            }
            TransportError::Certificate { .. } => failure.hint(
                "check the host in -u; if the gateway uses a private CA, set SSL_CERT_FILE to the PEM file of its root",
            ),
            TransportError::Tls { .. } => {
                failure.hint("check the host and that the port serves https; for plain HTTP, write http:// in -u")
            }
            TransportError::ConnectionLost { .. } => failure.hint(
                "a change may have been applied: check with `gwctl routes list` before you repeat it; if the port \
                 serves https, write https:// in -u",
            ),
            TransportError::Timeout => failure
                .hint("a change may have been applied: check with `gwctl routes list` before you repeat it"),
            TransportError::NotHttp(_) => failure.hint("if the port serves https, write https:// in -u"),
            TransportError::TooLarge(_) => {
                let kind = FailureKind::Unexpected;
                Self { kind, identifier: kind.as_str().to_owned(), ..failure }
                    .hint("check that -u is the API's URL")
            }
        }
    }
}

impl From<ErrorObject> for CommandError {
    fn from(error: ErrorObject) -> Self {
        let failure = Self::new(ErrorKind::from_code(error.code).into(), params_to_flags(&error.message));
        let Some(data) = error.data else { return failure };
        let field = data.field.map(|field| field.into_owned().into_boxed_str());
        Self {
            identifier: data.kind.into_owned(),
            flag: field.as_deref().and_then(flag_of_param),
            field,
            hint: data.hint.map(|hint| params_to_flags(&hint)).or(failure.hint),
            ..failure
        }
    }
}

impl From<UnexpectedResponseError> for CommandError {
    fn from(error: UnexpectedResponseError) -> Self {
        let failure = Self::new(ErrorKind::from_status(error.status).into(), &error);
        if let Some(location) = error.location {
            return failure
                .flag("-u/--url")
                .hint(format!("the server redirects to {location}: give this URL with -u"));
        }
        match error.status {
            StatusCode::PAYLOAD_TOO_LARGE => failure.hint(
                "the server at this URL rejects the request as too large; check that -u is the API's URL",
            ),
            StatusCode::TOO_MANY_REQUESTS => failure.hint("try again later"),
            _ if failure.kind == FailureKind::Unreachable && error.has_proxy_status => {
                failure.hint("try again later")
            }
            _ if failure.hint.is_some() => failure,
            _ => failure.hint("check that -u is the API's URL, such as https://gateway.example.com/rpc"),
        }
    }
}
