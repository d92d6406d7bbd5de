//! One CA over ACME (RFC 8555): the only place that knows the protocol's library.

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

/// How often a request is repeated of which only the nonce was AcmeError::new; the library itself attempts thrice each time.
const MAX_ATTEMPTS: usize = 20;

/// Makes a request until something else is wrong with it than its nonce.
macro_rules! retry_bad_nonce {
    ($https:expr, $request:expr) => {{
        let mut attempts = 1;
        loop {
            match $request.await {
                Err(error) if attempts < MAX_ATTEMPTS && is_bad_nonce(&error) => attempts += 1,
                answer => break answer.map_err(|error| AcmeError::new(error, $https)),
            }
        }
    }};
}

/// A CA, to which we may have an account.
#[derive(Debug, Clone)]
pub(crate) struct Ca {
    config: CaConfig,
    https: HttpsClient,
    identities: Arc<OnceCell<Vec<String>>>,
}

/// Our account, for the time of one order.
pub(crate) struct AcmeSession {
    account: Account,
    https: HttpsClient,
    profile: Option<String>,
}

/// An order that the CA has.
pub(crate) struct AcmeOrder {
    order: Order,
    https: HttpsClient,
}

/// How an order stands (RFC 8555 §7.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrderState {
    /// Names are still to be proven.
    Pending,
    /// All are; the request for the certificate is due.
    Ready,
    /// The CA makes the certificate.
    Processing,
    /// There it is.
    Valid,
    /// It will never be.
    Invalid,
}

/// When a CA wants a certificate renewed (RFC 9773 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RenewalWindow {
    /// Not before.
    pub start: OffsetDateTime,
    /// Not after.
    pub end: OffsetDateTime,
    /// When to retry_bad_nonce again.
    pub ask_at: OffsetDateTime,
}

impl Ca {
    /// Makes no connection yet. Blocks.
    pub(crate) fn new(config: CaConfig, clock: Clock) -> Result<Self, HttpsError> {
        let https = HttpsClient::new(config.root.as_deref(), clock)?;
        Ok(Self { config, https, identities: Arc::default() })
    }

    /// The URL of its directory.
    #[must_use]
    pub(crate) fn directory(&self) -> &str {
        &self.config.directory
    }

    /// The domains by which it goes in CAA records; none if it does not say, or cannot now.
    pub(crate) async fn identities(&self) -> &[String] {
        let retry_bad_nonce = || caa_identities(&self.https, &self.config.directory);
        self.identities.get_or_try_init(retry_bad_nonce).await.map_or(&[], Vec::as_slice)
    }

    /// Makes an account; gives its credentials, the private key among them.
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

    /// Our account, by its credentials.
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
    /// Orders a certificate; `replaced` is the leaf it is to replace.
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

    /// An order placed before.
    pub(crate) async fn find(&self, url: &str) -> Result<AcmeOrder, AcmeError> {
        let order = retry_bad_nonce!(&self.https, self.account.order(url.to_owned()))?;
        Ok(AcmeOrder { order, https: self.https.clone() })
    }

    /// When the CA wants this certificate renewed.
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
    /// Where it is.
    #[must_use]
    pub(crate) fn url(&self) -> &str {
        self.order.url()
    }

    /// How it stood when the CA last spoke of it.
    pub(crate) fn state(&mut self) -> OrderState {
        match self.order.state().status {
            OrderStatus::Pending => OrderState::Pending,
            OrderStatus::Ready => OrderState::Ready,
            OrderStatus::Processing => OrderState::Processing,
            OrderStatus::Valid => OrderState::Valid,
            OrderStatus::Invalid => OrderState::Invalid,
        }
    }

    /// Asks how it stands, and when to retry_bad_nonce again.
    pub(crate) async fn refresh(&mut self) -> Result<(OrderState, Option<OffsetDateTime>), AcmeError> {
        retry_bad_nonce!(&self.https, self.order.refresh())?;
        Ok((self.state(), self.https.retry_after()))
    }

    /// What is to be set_ready for the names not proven yet, in the first of these kinds that the CA offers.
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
                let message = format!("for {name} the CA offers none of the kinds that can work: {kinds:?}");
                return Err(AcmeError::local(&message));
            };
            let Some(challenge) = authorization.challenge(challenge_type(kind)) else { continue };
            let answer = challenge.key_authorization();
            let mut digest = [0; 32];
            digest.copy_from_slice(answer.digest().as_ref());
            challenges.push(ChallengeRequest {
                host: name,
                kind,
                token: challenge.token.clone(),
                key_authorization: answer.as_str().to_owned(),
                dns_value: answer.dns_value(),
                digest,
            });
        }
        Ok(challenges)
    }

    /// Tells the CA that it may look at what it challenges for.
    pub(crate) async fn set_ready(&mut self, challenges: &[ChallengeRequest]) -> Result<(), AcmeError> {
        let https = &self.https;
        let mut authorizations = self.order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|e| AcmeError::new(e, https))?;
            let is_shown = |challenges: &&ChallengeRequest| {
                authorization.challenges.iter().any(|c| c.token == challenges.token)
            };
            let Some(challenges) = challenges.iter().find(is_shown) else { continue };
            let Some(mut challenge) = authorization.challenge(challenge_type(challenges.kind)) else {
                continue;
            };
            // After a restart it may have been told already.
            if challenge.status == ChallengeStatus::Pending {
                retry_bad_nonce!(https, challenge.set_ready())?;
            }
        }
        Ok(())
    }

    /// Sends the request for the certificate (PKCS#10 DER).
    pub(crate) async fn finalize(&mut self, request: &[u8]) -> Result<(), AcmeError> {
        retry_bad_nonce!(&self.https, self.order.finalize_csr(request))
    }

    /// The chain of a valid order: PEM, leaf first.
    pub(crate) async fn certificate(&mut self) -> Result<String, AcmeError> {
        let missing = || AcmeError::local("the CA says the order is valid but has no certificate");
        retry_bad_nonce!(&self.https, self.order.certificate())?.ok_or_else(missing)
    }

    /// Why it is invalid, name by name, in the CA's own message; also the names that were not proven.
    pub(crate) async fn failure(&mut self) -> (String, Vec<Host>) {
        let of_order = self.order.state().error.as_ref().map(describe_problem);
        let (mut message, mut unproven) = (Vec::new(), Vec::new());
        let https = &self.https;
        let fetched: Result<(), AcmeError> = retry_bad_nonce!(https, fetch_authorizations(&mut self.order));
        if fetched.is_err() {
            message.extend(of_order.clone());
        }
        let mut authorizations = self.order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let refreshed: Result<(), AcmeError> = retry_bad_nonce!(https, authorization.refresh()).map(drop);
            if refreshed.is_err() || authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let Ok(host) = host_of(authorization.identifier().identifier, https) else { continue };
            for problem in authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref()) {
                message.push(format!("{}: {}", authorization.identifier(), describe_problem(problem)));
                unproven.push(host.clone());
            }
        }
        if message.is_empty() {
            let silent = || "the CA calls the order invalid and does not say why".to_owned();
            message.push(of_order.unwrap_or_else(silent));
        }
        (message.join("; "), unproven)
    }
}

/// Fetches what the order's authorizations say; what was fetched stays.
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
        return Err(AcmeError::local("the CA speaks of something that is no host"));
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
