//! Basic authentication of requests (RFC 7617).

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderValue;
use http::header::{AUTHORIZATION, HeaderMap};
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::options::BasicAuth;
use zeroize::Zeroizing;

use crate::context::ConnectionContext;
use crate::http::error::ProxyError;
use crate::http::headers::{FieldChange, REMOTE_USER, X_FORWARDED_USER};
use crate::passwords::{SignIn, SignInError};

/// The maximum length of encoded credentials, in bytes.
const MAX_CREDENTIALS: usize = 1024;
/// The decoder of credentials. Some clients omit the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The decoded credentials of a request: `name:password`.
struct Credentials {
    decoded: Zeroizing<Vec<u8>>,
    name_len: usize,
}

impl Credentials {
    /// Parses the credentials of a request; `None` if it has none, several, or malformed ones.
    fn parse(headers: &HeaderMap) -> Option<Self> {
        let mut fields = headers.get_all(AUTHORIZATION).iter();
        let (field, None) = (fields.next()?, fields.next()) else { return None };
        let (scheme, encoded) = field.to_str().ok()?.split_once(' ')?;
        let encoded = encoded.trim_matches(' ');
        if !scheme.eq_ignore_ascii_case("basic") || encoded.len() > MAX_CREDENTIALS {
            return None;
        }
        let decoded = Zeroizing::new(BASE64.decode(encoded).ok()?);
        let name_len = decoded.iter().position(|byte| *byte == b':')?;
        Some(Self { decoded, name_len })
    }

    fn name(&self) -> Option<&str> {
        std::str::from_utf8(self.decoded.get(..self.name_len)?).ok()
    }

    fn password(&self) -> &[u8] {
        self.decoded.get(self.name_len + 1..).unwrap_or_default()
    }
}

/// Authenticates a request. Returns the changes of its fields: the credentials are removed, and the user is named.
///
/// # Errors
///
/// Fails with 401 and a challenge if the request has no valid credentials.
pub(super) async fn authenticate(
    connection: &ConnectionContext,
    route: &FeedRoute,
    auth: &BasicAuth,
    headers: &HeaderMap,
) -> Result<Vec<FieldChange>, ProxyError> {
    let unauthorized = || ProxyError::Unauthorized(challenge(auth.realm().unwrap_or(route.host.as_str())));
    let credentials = Credentials::parse(headers).ok_or_else(unauthorized)?;
    let name = credentials.name().ok_or_else(unauthorized)?;
    let passwords = &connection.worker.passwords;
    let found = auth.find(name);
    let Some(hash) = found.or_else(|| {
        // An unknown user costs as much as one of the known ones, the same each time.
        let users = auth.users();
        let count = users.len().max(1);
        users.map(|(_, hash)| hash).nth(passwords.pool().decoy(name) % count)
    }) else {
        return Err(unauthorized());
    };
    let sign_in = SignIn {
        route: route.id,
        client: connection.client,
        name,
        password: credentials.password(),
        hash,
        is_known: found.is_some(),
    };
    match passwords.verify(&connection.worker.tasks, sign_in).await {
        Ok(()) => identity(name).ok_or_else(unauthorized),
        Err(SignInError::Wrong) => Err(unauthorized()),
        Err(SignInError::TooManyFailures(exceeded)) => {
            Err(ProxyError::SignInLimited { retry_after: exceeded.seconds() })
        }
        Err(SignInError::Busy) => Err(ProxyError::SignInBusy),
    }
}

fn identity(name: &str) -> Option<Vec<FieldChange>> {
    let value = HeaderValue::from_str(name).ok()?;
    let removed = [AUTHORIZATION, REMOTE_USER, X_FORWARDED_USER].map(|name| (name, None));
    let added = [(REMOTE_USER, Some(value.clone())), (X_FORWARDED_USER, Some(value))];
    Some(removed.into_iter().chain(added).collect())
}

/// Returns the value of WWW-Authenticate (RFC 7617 §2 and §2.1).
fn challenge(realm: &str) -> HeaderValue {
    // A realm has only characters that need no quoting.
    let challenge = HeaderValue::try_from(format!("Basic realm=\"{realm}\", charset=\"UTF-8\""));
    challenge.unwrap_or(HeaderValue::from_static("Basic realm=\"restricted\", charset=\"UTF-8\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(fields: &[&[u8]]) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(field).unwrap());
        }
        let credentials = Credentials::parse(&headers)?;
        let password = String::from_utf8_lossy(credentials.password()).into_owned();
        Some((credentials.name()?.to_owned(), password))
    }

    #[test]
    fn credentials_are_parsed_strictly() {
        let pair = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        let long = format!("Basic {}", "YTpi".repeat(300));
        for (fields, expected) in [
            (&[&b"Basic YWxpY2U6czNjcmV0"[..]][..], pair("alice", "s3cret")),
            (&[b"basic YWxpY2U6czNjcmV0"], pair("alice", "s3cret")),
            (&[b"BASIC  YWxpY2U6czNjcmV0 "], pair("alice", "s3cret")),
            // The password has a colon; the padding may be omitted.
            (&[b"Basic YTpiOmM="], pair("a", "b:c")),
            (&[b"Basic YTpiOmM"], pair("a", "b:c")),
            (&[b"Basic Og=="], pair("", "")),
            (&[b"Basic esO2OsO2"], pair("z\u{f6}", "\u{f6}")),
            (&[], None),
            (&[b""], None),
            (&[b"Basic"], None),
            (&[b"Basic "], None),
            (&[b"Basic YWxpY2U="], None),
            (&[b"Basic !!!!"], None),
            (&[b"Basic YTpi YTpi"], None),
            (&[b"Bearer YWxpY2U6czNjcmV0"], None),
            (&[b"BasicYWxpY2U6czNjcmV0"], None),
            (&[b"Basic /zpi"], None),
            (&[b"Basic \xff"], None),
            (&[b"Basic YTpi", b"Basic YTpi"], None),
            (&[long.as_bytes()], None),
        ] {
            assert_eq!(parse(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn the_challenge_names_the_realm() {
        assert_eq!(challenge("The office"), "Basic realm=\"The office\", charset=\"UTF-8\"");
    }
}
