//! The error of a command, in the user's words.

mod kind;
mod words;

use std::borrow::Cow;

use gwctl::api::jsonrpc::ErrorObject;
use gwctl::keys::KeyError;
use gwctl::{CallError, ErrorKind, NotRpcError, TransportError};
use http::StatusCode;
use webgateway_proto::httpsig::InvalidKey;

pub(crate) use self::kind::Kind;
use self::words::flag_of;
pub(crate) use self::words::in_flags;
use crate::args::InvalidArg;
use crate::mycelium::AddressError;
use crate::profiles::ProfileError;

/// The error of a command as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandError {
    pub(crate) kind: Kind,
    /// A stable word for it, such as `host_taken`.
    pub(crate) word: String,
    /// The reason.
    pub(crate) message: String,
    /// The param the gateway names.
    pub(crate) field: Option<Box<str>>,
    /// The flag that is at fault.
    pub(crate) flag: Option<Cow<'static, str>>,
    /// The next step for the user.
    pub(crate) hint: Option<String>,
}

impl CommandError {
    /// An error of a kind, with the hint that fits the kind.
    pub(crate) fn new(kind: Kind, message: impl ToString) -> Self {
        let hint = kind.hint().map(str::to_owned);
        Self {
            kind,
            word: kind.as_str().to_owned(),
            message: message.to_string(),
            field: None,
            flag: None,
            hint,
        }
    }

    pub(crate) fn flag(self, flag: impl Into<Cow<'static, str>>) -> Self {
        Self { flag: Some(flag.into()), ..self }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl From<InvalidArg> for CommandError {
    fn from(error: InvalidArg) -> Self {
        let failure = Self::new(Kind::Usage, &error).flag(error.flag());
        Self { hint: error.hint().map(str::to_owned), ..failure }
    }
}

impl From<KeyError> for CommandError {
    fn from(error: KeyError) -> Self {
        let usage = |hint| Self::new(Kind::Usage, &error).flag("-k/--key").hint(hint);
        match &error {
            KeyError::NotFound(_) => usage("`gwctl keys generate user1` makes user1.priv and user1.pub"),
            KeyError::Unreadable { .. } => usage("the file must be readable for the user who runs gwctl"),
            KeyError::TooLarge(_) => usage("give the private key's file, such as -k user1.priv"),
            KeyError::Invalid { source: InvalidKey::Public, .. } => {
                usage("give the private half, such as -k user1.priv")
            }
            KeyError::Invalid { .. } => usage("`gwctl keys generate user1` makes a key that fits"),
            KeyError::Exists(_) => Self::new(Kind::Conflict, &error)
                .flag("NAME")
                .hint("choose another name, or move the file away"),
            KeyError::Unwritable { .. } => Self::new(Kind::Unexpected, &error)
                .flag("NAME")
                .hint("its directory must exist, and be writable for the user who runs gwctl"),
            KeyError::Random => Self::new(Kind::Unexpected, &error),
        }
    }
}

impl From<ProfileError> for CommandError {
    fn from(error: ProfileError) -> Self {
        let usage = |hint| Self::new(Kind::Usage, &error).flag("--profile").hint(hint);
        match &error {
            ProfileError::NoHome => usage("set HOME, or give -u, -i and -k without --profile"),
            ProfileError::Unreadable { .. } => usage("the file must be readable for the user who runs gwctl"),
            ProfileError::Invalid { .. } => {
                usage("correct the file, or move it away; `gwctl login` writes a new one")
            }
            ProfileError::Unknown { .. } => {
                usage("`gwctl login --profile NAME -u URL -i user1.pub -k user1.priv` makes one")
            }
            ProfileError::Unwritable { .. } => Self::new(Kind::Unexpected, &error)
                .hint("its directory must be writable for the user who runs gwctl"),
        }
    }
}

impl From<AddressError> for CommandError {
    fn from(error: AddressError) -> Self {
        let failure = Self::new(Kind::Unexpected, &error);
        match error {
            AddressError::Url(_) => Self::new(Kind::Usage, &error).flag("--mycelium-api"),
            AddressError::Silent { .. } => failure.flag("-b/--backend").hint(
                "is mycelium running? If its API is elsewhere, give --mycelium-api URL; or write the address \
                 yourself, which `mycelium inspect --json` shows",
            ),
            AddressError::Foreign(_) => failure.flag("-b/--backend").hint(
                "is it Mycelium, and not too old? Write the address yourself, which `mycelium inspect --json` shows",
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
            CallError::Transport(failure) => failure.into(),
            CallError::Refused(error) => (*error).into(),
            CallError::NotRpc(answer) => answer.into(),
        }
    }
}

impl From<TransportError> for CommandError {
    fn from(error: TransportError) -> Self {
        let failure = Self::new(Kind::Unreachable, &error);
        match error {
            TransportError::Connect { .. } | TransportError::ConnectTimeout(_) => failure,
            TransportError::Trust(_) => {
                failure.hint("install the ca-certificates package, or set SSL_CERT_FILE to a PEM file of CAs")
            }
            TransportError::Certificate { .. } => failure.hint(
                "is the host in -u right? If the gateway has a CA of its own, set SSL_CERT_FILE to that CA's PEM file",
            ),
            TransportError::Tls { .. } => {
                failure.hint("does the gateway know this host, and is the port an https port? http:// is plain")
            }
            TransportError::Lost { .. } => failure.hint(
                "if it was a change, it may have been made: look with `gwctl routes list` before you repeat it. \
                 An https port needs https:// in -u",
            ),
            TransportError::Timeout => failure
                .hint("if it was a change, it may have been made: look with `gwctl routes list` before you repeat it"),
            TransportError::NotHttp(_) => failure.hint("is it an https port? Then write https:// in -u"),
            TransportError::TooLarge(_) => {
                Self { kind: Kind::Unexpected, word: Kind::Unexpected.as_str().to_owned(), ..failure }
                    .hint("is -u the API's URL?")
            }
        }
    }
}

impl From<ErrorObject> for CommandError {
    fn from(error: ErrorObject) -> Self {
        let failure = Self::new(ErrorKind::of_code(error.code).into(), in_flags(&error.message));
        let Some(data) = error.data else { return failure };
        let field = data.field.map(|field| field.into_owned().into_boxed_str());
        Self {
            word: data.kind.into_owned(),
            flag: field.as_deref().and_then(flag_of),
            field,
            hint: data.hint.map(|hint| in_flags(&hint)).or(failure.hint),
            ..failure
        }
    }
}

impl From<NotRpcError> for CommandError {
    fn from(answer: NotRpcError) -> Self {
        let failure = Self::new(ErrorKind::of_status(answer.status).into(), &answer);
        if let Some(location) = answer.location {
            return failure.flag("-u/--url").hint(format!("it points to {location}: give that with -u"));
        }
        match answer.status {
            StatusCode::PAYLOAD_TOO_LARGE => {
                failure.hint("the request is too large for what stands at this URL")
            }
            StatusCode::TOO_MANY_REQUESTS => failure.hint("wait a while before you try again"),
            _ if failure.kind == Kind::Unreachable && answer.is_gateways => {
                failure.hint("try again in a while")
            }
            _ if failure.hint.is_some() => failure,
            _ => {
                failure.hint("is -u the API's URL? It ends in /rpc, such as https://gateway.example.com/rpc")
            }
        }
    }
}
