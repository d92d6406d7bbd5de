//! What went wrong, in the user's words, and the one table of exit codes.

use std::borrow::Cow;

use http::StatusCode;
use webgateway_proto::api::jsonrpc::{ErrorObject, code};
use webgateway_proto::httpsig::InvalidKey;

use crate::args::InvalidArg;
use crate::client::{CallFault, NotRpc, TransportFault};
use crate::keys::KeyFault;
use crate::profiles::ProfileFault;

/// The kinds of failure a script can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An answer nobody expected, or a fault on this machine.
    Unexpected,
    /// A wrong flag, value or key file.
    Usage,
    /// No gateway there, or not now.
    Unreachable,
    /// Signature or key not accepted.
    Unauthenticated,
    /// Not allowed.
    Forbidden,
    /// Not there.
    NotFound,
    /// It clashes with what is there.
    Conflict,
    /// A value the gateway refuses.
    InvalidParams,
    /// Done, but not on every node.
    NotEverywhere,
}

impl Kind {
    /// The exit code, as `gwctl --help` documents it.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Unexpected => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Unauthenticated => 4,
            Self::Forbidden => 5,
            Self::NotFound => 6,
            Self::Conflict => 7,
            Self::InvalidParams => 8,
            Self::NotEverywhere => 9,
        }
    }

    /// A stable word for it, where the gateway gives none.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Unexpected => "unexpected",
            Self::Usage => "usage",
            Self::Unreachable => "unreachable",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::InvalidParams => "invalid_params",
            Self::NotEverywhere => "not_everywhere",
        }
    }

    /// What a JSON-RPC error code means here.
    const fn of_code(code: i64) -> Self {
        match code {
            code::UNAUTHENTICATED => Self::Unauthenticated,
            code::FORBIDDEN => Self::Forbidden,
            code::NOT_FOUND => Self::NotFound,
            code::CONFLICT => Self::Conflict,
            code::INVALID_PARAMS | code::TOO_LARGE => Self::InvalidParams,
            code::UNAVAILABLE => Self::Unreachable,
            _ => Self::Unexpected,
        }
    }

    /// What the status of an answer means that is not JSON-RPC.
    const fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthenticated,
            StatusCode::FORBIDDEN => Self::Forbidden,
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Self::Unreachable,
            _ => Self::Unexpected,
        }
    }

    /// What to do next, where nobody knows better.
    const fn hint(self) -> Option<&'static str> {
        match self {
            Self::Unreachable => Some("is the gateway running, and is -u (or WEBGATEWAY_URL) its URL?"),
            Self::Unauthenticated => Some(
                "does the operator have the public key under the name given with -i, is -k its private half, and \
                 is this machine's clock right? -v shows what was signed",
            ),
            Self::Forbidden => Some("the operator can tell what this key may do"),
            Self::NotFound => Some("`gwctl routes list` shows what is there"),
            Self::Unexpected | Self::Usage | Self::Conflict | Self::InvalidParams | Self::NotEverywhere => {
                None
            }
        }
    }
}

/// A failure as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// A stable word for it, such as `host_taken`.
    pub(crate) word: String,
    /// What was wrong.
    pub(crate) message: String,
    /// The param the gateway names.
    pub(crate) field: Option<Box<str>>,
    /// The flag that is at fault.
    pub(crate) flag: Option<Cow<'static, str>>,
    /// What to do next.
    pub(crate) hint: Option<String>,
}

impl Fault {
    /// A failure of a kind, with the hint that fits the kind.
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

impl From<InvalidArg> for Fault {
    fn from(error: InvalidArg) -> Self {
        let fault = Self::new(Kind::Usage, &error).flag(error.flag());
        Self { hint: error.hint().map(str::to_owned), ..fault }
    }
}

impl From<KeyFault> for Fault {
    fn from(error: KeyFault) -> Self {
        let usage = |hint| Self::new(Kind::Usage, &error).flag("-k/--key").hint(hint);
        match &error {
            KeyFault::NotFound(_) => usage("`gwctl keys generate user1` makes user1.priv and user1.pub"),
            KeyFault::Unreadable { .. } => usage("the file must be readable for the user who runs gwctl"),
            KeyFault::TooLarge(_) => usage("give the private key's file, such as -k user1.priv"),
            KeyFault::Invalid { source: InvalidKey::Public, .. } => {
                usage("give the private half, such as -k user1.priv")
            }
            KeyFault::Invalid { .. } => usage("`gwctl keys generate user1` makes a key that fits"),
            KeyFault::Exists(_) => Self::new(Kind::Conflict, &error)
                .flag("NAME")
                .hint("choose another name, or move the file away"),
            KeyFault::Unwritable { .. } => Self::new(Kind::Unexpected, &error)
                .flag("NAME")
                .hint("its directory must exist, and be writable for the user who runs gwctl"),
            KeyFault::Random => Self::new(Kind::Unexpected, &error),
        }
    }
}

impl From<ProfileFault> for Fault {
    fn from(error: ProfileFault) -> Self {
        let usage = |hint| Self::new(Kind::Usage, &error).flag("--profile").hint(hint);
        match &error {
            ProfileFault::NoHome => usage("set HOME, or give -u, -i and -k without --profile"),
            ProfileFault::Unreadable { .. } => usage("the file must be readable for the user who runs gwctl"),
            ProfileFault::Invalid { .. } => {
                usage("correct the file, or move it away; `gwctl login` writes a new one")
            }
            ProfileFault::Unknown { .. } => {
                usage("`gwctl login --profile NAME -u URL -i user1.pub -k user1.priv` makes one")
            }
            ProfileFault::Unwritable { .. } => Self::new(Kind::Unexpected, &error)
                .hint("its directory must be writable for the user who runs gwctl"),
        }
    }
}

impl From<CallFault> for Fault {
    fn from(error: CallFault) -> Self {
        match error {
            CallFault::Runtime(_) | CallFault::Encode(_) | CallFault::Build(_) | CallFault::Sign(_) => {
                Self::new(Kind::Unexpected, error)
            }
            CallFault::Transport(fault) => fault.into(),
            CallFault::Refused(error) => (*error).into(),
            CallFault::NotRpc(answer) => answer.into(),
        }
    }
}

impl From<TransportFault> for Fault {
    fn from(error: TransportFault) -> Self {
        let fault = Self::new(Kind::Unreachable, &error);
        match error {
            TransportFault::Connect { .. } | TransportFault::ConnectTimeout(_) => fault,
            TransportFault::Trust(_) => {
                fault.hint("install the ca-certificates package, or set SSL_CERT_FILE to a PEM file of CAs")
            }
            TransportFault::Certificate { .. } => fault.hint(
                "is the host in -u right? If the gateway has a CA of its own, set SSL_CERT_FILE to that CA's PEM file",
            ),
            TransportFault::Tls { .. } => {
                fault.hint("does the gateway know this host, and is the port an https port? http:// is plain")
            }
            TransportFault::Lost { .. } => fault.hint(
                "a change may have been made: look with `gwctl routes list` before you repeat it. An https port \
                 needs https:// in -u",
            ),
            TransportFault::Timeout => fault
                .hint("a change may have been made: look with `gwctl routes list` before you repeat it"),
            TransportFault::NotHttp(_) => fault.hint("is it an https port? Then write https:// in -u"),
            TransportFault::TooLarge(_) => {
                Self { kind: Kind::Unexpected, word: Kind::Unexpected.as_str().to_owned(), ..fault }
                    .hint("is -u the API's URL?")
            }
        }
    }
}

impl From<ErrorObject> for Fault {
    fn from(error: ErrorObject) -> Self {
        let fault = Self::new(Kind::of_code(error.code), in_flags(&error.message));
        let Some(data) = error.data else { return fault };
        let field = data.field.map(|field| field.into_owned().into_boxed_str());
        Self {
            word: data.kind.into_owned(),
            flag: field.as_deref().and_then(flag_of).map(Cow::Borrowed),
            field,
            hint: data.hint.map(|hint| in_flags(&hint)).or(fault.hint),
            ..fault
        }
    }
}

impl From<NotRpc> for Fault {
    fn from(answer: NotRpc) -> Self {
        let fault = Self::new(Kind::of_status(answer.status), &answer);
        if let Some(location) = answer.location {
            return fault.flag("-u/--url").hint(format!("it points to {location}: give that with -u"));
        }
        match answer.status {
            StatusCode::PAYLOAD_TOO_LARGE => {
                fault.hint("the request is too large for what stands at this URL")
            }
            StatusCode::TOO_MANY_REQUESTS => fault.hint("wait a while before you try again"),
            _ if fault.kind == Kind::Unreachable && answer.is_gateways => fault.hint("try again in a while"),
            _ if fault.hint.is_some() => fault,
            _ => fault.hint("is -u the API's URL? It ends in /rpc, such as https://gateway.example.org/rpc"),
        }
    }
}

/// The flag that sets a param, which may be written as `backends[1]` too.
fn flag_of(field: &str) -> Option<&'static str> {
    let name = field.split(['[', '.']).next().unwrap_or(field);
    let flags = [
        ("fqdn", "-f/--fqdn"),
        ("subdomain", "-s/--subdomain"),
        ("backends", "-b/--backend"),
        ("balance", "-m/--method"),
        ("mode", "-t/--tls-pass"),
        ("health", "--health"),
        ("id", "-r/--route"),
        ("host", "-f/--fqdn or -s/--subdomain"),
        ("user", "--user"),
        ("keyid", "-i/--id"),
        ("node", "NAME"),
        ("address", "--address"),
        ("ttl", "--ttl"),
    ];
    flags.iter().find(|(param, _)| *param == name).map(|(_, flag)| *flag)
}

/// What the API calls by the names of its params and methods, in gwctl's words.
pub(crate) fn in_flags(text: &str) -> String {
    let words = [
        ("`fqdn`", "-f"),
        ("`subdomain`", "-s"),
        ("`routes.list`", "`gwctl routes list`"),
        ("`nodes.list`", "`gwctl nodes list`"),
        ("`nodes.remove`", "`gwctl nodes remove`"),
        ("`address`", "--address"),
        ("`routes.create`", "`gwctl routes create`"),
        ("`certificates.get`", "`gwctl certificates get -c HOST`"),
    ];
    words.iter().fold(text.to_owned(), |text, (param, flag)| text.replace(param, flag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::AFTER_HELP;

    #[test]
    fn every_exit_code_is_documented() {
        let kinds = [
            Kind::Unexpected,
            Kind::Usage,
            Kind::Unreachable,
            Kind::Unauthenticated,
            Kind::Forbidden,
            Kind::NotFound,
            Kind::Conflict,
            Kind::InvalidParams,
            Kind::NotEverywhere,
        ];
        for (kind, code) in kinds.into_iter().zip(1..) {
            assert_eq!(kind.exit_code(), code);
            assert!(AFTER_HELP.contains(&format!("\n  {code}  ")), "{kind:?}");
        }
    }

    #[test]
    fn the_gateways_codes_become_exit_codes() {
        for (code, exit) in [
            (code::PARSE_ERROR, 1),
            (code::INVALID_REQUEST, 1),
            (code::METHOD_NOT_FOUND, 1),
            (code::INTERNAL_ERROR, 1),
            (code::UNAVAILABLE, 3),
            (code::UNAUTHENTICATED, 4),
            (code::FORBIDDEN, 5),
            (code::NOT_FOUND, 6),
            (code::CONFLICT, 7),
            (code::INVALID_PARAMS, 8),
            (code::TOO_LARGE, 8),
            (-1, 1),
        ] {
            assert_eq!(Kind::of_code(code).exit_code(), exit, "{code}");
        }
    }

    #[test]
    fn the_gateways_words_become_gwctls() {
        assert_eq!(in_flags("give `fqdn` or `subdomain`"), "give -f or -s");
        assert_eq!(in_flags("`routes.list` shows your routes"), "`gwctl routes list` shows your routes");
    }

    #[test]
    fn a_param_is_named_by_its_flag() {
        assert_eq!(flag_of("backends[2]"), Some("-b/--backend"));
        assert_eq!(flag_of("subdomain"), Some("-s/--subdomain"));
        assert_eq!(flag_of("colour"), None);
    }
}
