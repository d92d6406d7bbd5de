//! An ACME client for one CA (RFC 8555), on top of instant-acme, which no other module uses.

mod error;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, CertificateIdentifier,
    ChallengeStatus, ChallengeType, Error, ExternalAccountKey, HttpClient, Identifier, NewAccount, NewOrder,
    Order, OrderStatus,
};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use tokio::sync::OnceCell;
use webgateway_proto::model::{CertName, Host};
use zeroize::Zeroizing;

pub(crate) use self::error::{AcmeError, AcmeErrorKind};
use self::error::{describe_problem, is_bad_nonce};
use super::directory::caa_identities;
use super::https::{HttpsClient, HttpsError};
use super::solver::{ChallengeKind, ChallengeRequest};
use crate::clock::Clock;
use crate::config::CaConfig;

/// The number of attempts at a request whose nonce the CA rejects. The library makes three requests in each attempt.
const MAX_ATTEMPTS: usize = 20;

/// Repeats a request until it succeeds or fails for another reason than its nonce (RFC 8555 §6.5).
macro_rules! retry_bad_nonce {
    ($https:expr, $request:expr) => {{
        let mut attempts = 1;
        loop {
            match $request.await {
                Err(error) if attempts < MAX_ATTEMPTS && is_bad_nonce(&error) => attempts += 1,
                outcome => break outcome.map_err(|error| AcmeError::new(error, $https)),
            }
        }
    }};
}

/// A CA and the configuration of the account there.
#[derive(Debug, Clone)]
pub(crate) struct Ca {
    config: CaConfig,
    https: HttpsClient,
    identities: Arc<OnceCell<Vec<String>>>,
}

/// An open account at a CA, for the duration of one order.
pub(crate) struct AcmeSession {
    account: Account,
    https: HttpsClient,
    profile: Option<String>,
}

/// An order at the CA.
pub(crate) struct AcmeOrder {
    order: Order,
    https: HttpsClient,
}

/// The state of an order (RFC 8555 §7.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrderState {
    /// Some names are not validated yet.
    Pending,
    /// All names are validated. The CA waits for the certificate request.
    Ready,
    /// The CA is issuing the certificate.
    Processing,
    /// The certificate is issued.
    Valid,
    /// The order failed and cannot be continued.
    Invalid,
}

/// The window in which a CA wants a certificate to be renewed (RFC 9773 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RenewalWindow {
    /// The earliest time for the renewal.
    pub start: OffsetDateTime,
    /// The latest time for the renewal.
    pub end: OffsetDateTime,
    /// The time at which the window is to be requested again.
    pub ask_at: OffsetDateTime,
}

impl Ca {
    /// Creates the client; connects to nothing yet. Blocks while it reads the root certificates.
    pub(crate) fn new(config: CaConfig, clock: Clock) -> Result<Self, HttpsError> {
        let https = HttpsClient::new(config.root.as_deref(), clock)?;
        Ok(Self { config, https, identities: Arc::default() })
    }

    /// Returns the URL of the CA's directory.
    #[must_use]
    pub(crate) fn directory(&self) -> &str {
        &self.config.directory
    }

    /// Returns the domains that identify the CA in CAA records. Empty if the directory names none or cannot be fetched.
    pub(crate) async fn identities(&self) -> &[String] {
        let retry_bad_nonce = || caa_identities(&self.https, &self.config.directory);
        self.identities.get_or_try_init(retry_bad_nonce).await.map_or(&[], Vec::as_slice)
    }

    /// Creates an account and returns its credentials as JSON, which include the private key.
    pub(crate) async fn register(&self) -> Result<Zeroizing<Vec<u8>>, AcmeError> {
        let https = self.https.with_own_retry_after();
        let contact = self.config.email.as_ref().map(|email| format!("mailto:{email}"));
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let new =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let eab = self.config.eab.as_ref();
        let eab = eab.map(|eab| ExternalAccountKey::new(eab.kid.clone(), &eab.hmac_key));
        let builder = || Account::builder_with_http(Box::new(https.clone()));
        let created =
            retry_bad_nonce!(&https, builder().create(&new, self.config.directory.clone(), eab.as_ref()));
        let (_, credentials) = created?;
        serde_json::to_vec(&credentials).map(Zeroizing::new).map_err(|e| AcmeError::new(e.into(), &https))
    }

    /// Opens the account with these credentials.
    pub(crate) async fn session(&self, credentials: &[u8]) -> Result<AcmeSession, AcmeError> {
        let https = self.https.with_own_retry_after();
        let credentials: AccountCredentials =
            serde_json::from_slice(credentials).map_err(|e| AcmeError::new(e.into(), &https))?;
        let builder = Account::builder_with_http(Box::new(https.clone()));
        let account = builder.from_credentials(credentials).await.map_err(|e| AcmeError::new(e, &https))?;
        Ok(AcmeSession { account, https, profile: self.config.profile.clone() })
    }
}

impl AcmeSession {
    /// Creates an order. `replaced` is the leaf certificate that the new one replaces (RFC 9773 §5).
    pub(crate) async fn order(
        &self,
        names: &[CertName],
        replaced: Option<&CertificateDer<'_>>,
    ) -> Result<AcmeOrder, AcmeError> {
        let identifiers: Vec<Identifier> =
            names.iter().map(|name| Identifier::Dns(name.to_string())).collect();
        let mut new = NewOrder::new(&identifiers);
        if let Some(profile) = &self.profile {
            new = new.profile(profile);
        }
        let replaced = replaced.and_then(|leaf| CertificateIdentifier::try_from(leaf).ok());
        if let Some(replaced) = replaced {
            new = new.replaces(replaced);
        }
        let order = retry_bad_nonce!(&self.https, self.account.new_order(&new))?;
        Ok(AcmeOrder { order, https: self.https.clone() })
    }

    /// Fetches an existing order.
    pub(crate) async fn find(&self, url: &str) -> Result<AcmeOrder, AcmeError> {
        let order = retry_bad_nonce!(&self.https, self.account.order(url.to_owned()))?;
        Ok(AcmeOrder { order, https: self.https.clone() })
    }

    /// Returns the window in which the CA wants the certificate to be renewed.
    pub(crate) async fn renewal_window(
        &self,
        leaf: &CertificateDer<'_>,
        now: OffsetDateTime,
    ) -> Result<RenewalWindow, AcmeError> {
        let other =
            |message: String| AcmeError { kind: AcmeErrorKind::Unsupported, message, retry_after: None };
        let id = CertificateIdentifier::try_from(leaf).map_err(other)?;
        let (info, pause) =
            self.account.renewal_info(&id).await.map_err(|e| AcmeError::new(e, &self.https))?;
        let window = info.suggested_window;
        Ok(RenewalWindow { start: window.start, end: window.end, ask_at: now + pause })
    }
}

impl AcmeOrder {
    /// Returns the order's URL.
    #[must_use]
    pub(crate) fn url(&self) -> &str {
        self.order.url()
    }

    /// Returns the state in the CA's last response.
    pub(crate) fn state(&mut self) -> OrderState {
        match self.order.state().status {
            OrderStatus::Pending => OrderState::Pending,
            OrderStatus::Ready => OrderState::Ready,
            OrderStatus::Processing => OrderState::Processing,
            OrderStatus::Valid => OrderState::Valid,
            OrderStatus::Invalid => OrderState::Invalid,
        }
    }

    /// Fetches the state, and the time for the next request if the CA named one.
    pub(crate) async fn refresh(&mut self) -> Result<(OrderState, Option<OffsetDateTime>), AcmeError> {
        retry_bad_nonce!(&self.https, self.order.refresh())?;
        Ok((self.state(), self.https.retry_after()))
    }

    /// Returns one challenge for each name that is not validated yet: the first of `kinds` that the CA offers.
    pub(crate) async fn challenges(
        &mut self,
        kinds: &[ChallengeKind],
    ) -> Result<Vec<ChallengeRequest>, AcmeError> {
        let https = &self.https;
        retry_bad_nonce!(https, fetch_authorizations(&mut self.order))?;
        let mut challenges = Vec::new();
        let mut authorizations = self.order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|e| AcmeError::new(e, https))?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let name = host_of(authorization.identifier().identifier, https)?;
            let offered = |kind: &&ChallengeKind| {
                authorization.challenges.iter().any(|c| c.r#type == challenge_type(**kind))
            };
            let Some(&kind) = kinds.iter().find(offered) else {
                let message = format!("the CA offers none of the usable challenges for {name}: {kinds:?}");
                return Err(AcmeError::local(&message));
            };
            let Some(challenge) = authorization.challenge(challenge_type(kind)) else { continue };
            let response = challenge.key_authorization();
            let mut digest = [0; 32];
            digest.copy_from_slice(response.digest().as_ref());
            challenges.push(ChallengeRequest {
                host: name,
                kind,
                token: challenge.token.clone(),
                key_authorization: response.as_str().to_owned(),
                dns_value: response.dns_value(),
                digest,
            });
        }
        Ok(challenges)
    }

    /// Tells the CA that the challenges are ready to be validated (RFC 8555 §7.5.1).
    pub(crate) async fn set_ready(&mut self, challenges: &[ChallengeRequest]) -> Result<(), AcmeError> {
        let https = &self.https;
        let mut authorizations = self.order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|e| AcmeError::new(e, https))?;
            let is_offered = |request: &&ChallengeRequest| {
                authorization.challenges.iter().any(|c| c.token == request.token)
            };
            let Some(request) = challenges.iter().find(is_offered) else { continue };
            let Some(mut challenge) = authorization.challenge(challenge_type(request.kind)) else {
                continue;
            };
            // After a restart the CA may have been told already.
            if challenge.status == ChallengeStatus::Pending {
                retry_bad_nonce!(https, challenge.set_ready())?;
            }
        }
        Ok(())
    }

    /// Sends the certificate request (PKCS#10 DER).
    pub(crate) async fn finalize(&mut self, request: &[u8]) -> Result<(), AcmeError> {
        retry_bad_nonce!(&self.https, self.order.finalize_csr(request))
    }

    /// Downloads the certificate chain of a valid order: PEM, leaf first.
    pub(crate) async fn certificate(&mut self) -> Result<String, AcmeError> {
        let missing = || AcmeError::local("the order is valid, but the CA returned no certificate");
        retry_bad_nonce!(&self.https, self.order.certificate())?.ok_or_else(missing)
    }

    /// Returns the CA's reasons for an invalid order, name by name, and the hosts that were not validated.
    pub(crate) async fn failure(&mut self) -> (String, Vec<Host>) {
        let order_error = self.order.state().error.as_ref().map(describe_problem);
        let (mut messages, mut unvalidated) = (Vec::new(), Vec::new());
        let https = &self.https;
        let fetch: Result<(), AcmeError> = retry_bad_nonce!(https, fetch_authorizations(&mut self.order));
        if fetch.is_err() {
            messages.extend(order_error.clone());
        }
        let mut authorizations = self.order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let refresh: Result<(), AcmeError> = retry_bad_nonce!(https, authorization.refresh()).map(drop);
            if refresh.is_err() || authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let Ok(host) = host_of(authorization.identifier().identifier, https) else { continue };
            for problem in authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref()) {
                messages.push(format!("{}: {}", authorization.identifier(), describe_problem(problem)));
                unvalidated.push(host.clone());
            }
        }
        if messages.is_empty() {
            let no_reason = || "the CA marked the order as invalid without a reason".to_owned();
            messages.push(order_error.unwrap_or_else(no_reason));
        }
        (messages.join("; "), unvalidated)
    }
}

/// Fetches the order's authorizations, which the library caches in `order`.
async fn fetch_authorizations(order: &mut Order) -> Result<(), Error> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        authorization?;
    }
    Ok(())
}

fn challenge_type(kind: ChallengeKind) -> ChallengeType {
    match kind {
        ChallengeKind::Dns01 => ChallengeType::Dns01,
        ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
        ChallengeKind::Http01 => ChallengeType::Http01,
    }
}

fn host_of(identifier: &Identifier, https: &HttpsClient) -> Result<Host, AcmeError> {
    let Identifier::Dns(name) = identifier else {
        return Err(AcmeError::local(
            "the CA returned an authorization for something that is not a DNS name",
        ));
    };
    Host::parse(name).map_err(|e| AcmeError::new(Error::Other(Box::new(e)), https))
}

impl HttpClient for HttpsClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let https = self.clone();
        let exchange = async move { https.exchange(request).await };
        Box::pin(
            async move { exchange.await.map(BytesResponse::from).map_err(|e| Error::Other(Box::new(e))) },
        )
    }
}
