//! One CA over ACME (RFC 8555): the only place that knows the protocol's library.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, CertificateIdentifier,
    ChallengeStatus, ChallengeType, Error, ExternalAccountKey, HttpClient, Identifier, NewAccount, NewOrder,
    Order, OrderStatus, Problem,
};
use rustls_pki_types::CertificateDer;
use thiserror::Error;
use time::OffsetDateTime;
use tokio::sync::OnceCell;
use webgateway_proto::model::{CertName, Host};
use zeroize::Zeroizing;

use super::directory::caa_identities;
use super::https::{Https, NoAnswer, NoHttps};
use super::solver::{Asked, ChallengeKind};
use crate::clock::Clock;
use crate::config::CaConfig;

/// A CA, to which we may have an account.
#[derive(Debug, Clone)]
pub struct Ca {
    config: CaConfig,
    https: Https,
    identities: Arc<OnceCell<Vec<String>>>,
}

/// Our account, for the time of one order.
pub struct Session {
    account: Account,
    https: Https,
    profile: Option<String>,
}

/// An order that the CA has.
pub struct PlacedOrder {
    order: Order,
    https: Https,
}

/// How an order stands (RFC 8555 §7.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
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
pub struct RenewalWindow {
    /// Not before.
    pub start: OffsetDateTime,
    /// Not after.
    pub end: OffsetDateTime,
    /// When to ask again.
    pub ask_at: OffsetDateTime,
}

/// What a refusal means for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It may go better later.
    Later,
    /// The CA does not know our account.
    NoAccount,
    /// The CA does not know the order, or it is in no state for this.
    NoOrder,
    /// The certificate to be replaced has been, or cannot be.
    Replaced,
    /// The CA does not offer this.
    Unsupported,
}

/// Why a CA did not do what it was asked.
#[derive(Debug, Clone, Error)]
#[error("{words}")]
pub struct Refused {
    /// What it means.
    pub refusal: Refusal,
    /// Its own words.
    pub words: String,
    /// When it wants to be asked again.
    pub retry_after: Option<OffsetDateTime>,
}

impl Ca {
    /// Makes no connection yet. Blocks.
    pub fn new(config: CaConfig, clock: Clock) -> Result<Self, NoHttps> {
        let https = Https::new(config.root.as_deref(), clock)?;
        Ok(Self { config, https, identities: Arc::default() })
    }

    /// The URL of its directory.
    #[must_use]
    pub fn directory(&self) -> &str {
        &self.config.directory
    }

    /// The domains by which it goes in CAA records; none if it does not say, or cannot now.
    pub async fn identities(&self) -> &[String] {
        let ask = || caa_identities(&self.https, &self.config.directory);
        self.identities.get_or_try_init(ask).await.map_or(&[], Vec::as_slice)
    }

    /// Makes an account; gives its credentials, the private key among them.
    pub async fn register(&self) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let https = self.https.apart();
        let contact = self.config.email.as_ref().map(|email| format!("mailto:{email}"));
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let new =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let eab = self.config.eab.as_ref();
        let eab = eab.map(|eab| ExternalAccountKey::new(eab.kid.clone(), &eab.hmac_key));
        let builder = Account::builder_with_http(Box::new(https.clone()));
        let created = builder.create(&new, self.config.directory.clone(), eab.as_ref()).await;
        let (_, credentials) = created.map_err(|e| refused(e, &https))?;
        serde_json::to_vec(&credentials).map(Zeroizing::new).map_err(|e| refused(e.into(), &https))
    }

    /// Our account, by its credentials.
    pub async fn session(&self, credentials: &[u8]) -> Result<Session, Refused> {
        let https = self.https.apart();
        let credentials: AccountCredentials =
            serde_json::from_slice(credentials).map_err(|e| refused(e.into(), &https))?;
        let builder = Account::builder_with_http(Box::new(https.clone()));
        let account = builder.from_credentials(credentials).await.map_err(|e| refused(e, &https))?;
        Ok(Session { account, https, profile: self.config.profile.clone() })
    }
}

impl Session {
    /// Orders a certificate; `replaced` is the leaf it is to replace.
    pub async fn order(
        &self,
        names: &[CertName],
        replaced: Option<&CertificateDer<'_>>,
    ) -> Result<PlacedOrder, Refused> {
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
        let order = self.account.new_order(&new).await.map_err(|e| refused(e, &self.https))?;
        Ok(PlacedOrder { order, https: self.https.clone() })
    }

    /// An order placed before.
    pub async fn find(&self, url: &str) -> Result<PlacedOrder, Refused> {
        let order = self.account.order(url.to_owned()).await.map_err(|e| refused(e, &self.https))?;
        Ok(PlacedOrder { order, https: self.https.clone() })
    }

    /// When the CA wants this certificate renewed.
    pub async fn renewal(
        &self,
        leaf: &CertificateDer<'_>,
        now: OffsetDateTime,
    ) -> Result<RenewalWindow, Refused> {
        let other = |words: String| Refused { refusal: Refusal::Unsupported, words, retry_after: None };
        let id = CertificateIdentifier::try_from(leaf).map_err(other)?;
        let (info, pause) = self.account.renewal_info(&id).await.map_err(|e| refused(e, &self.https))?;
        let window = info.suggested_window;
        Ok(RenewalWindow { start: window.start, end: window.end, ask_at: now + pause })
    }
}

impl PlacedOrder {
    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        self.order.url()
    }

    /// How it stood when the CA last spoke of it.
    pub fn progress(&mut self) -> Progress {
        match self.order.state().status {
            OrderStatus::Pending => Progress::Pending,
            OrderStatus::Ready => Progress::Ready,
            OrderStatus::Processing => Progress::Processing,
            OrderStatus::Valid => Progress::Valid,
            OrderStatus::Invalid => Progress::Invalid,
        }
    }

    /// Asks how it stands, and when to ask again.
    pub async fn refresh(&mut self) -> Result<(Progress, Option<OffsetDateTime>), Refused> {
        self.order.refresh().await.map_err(|e| refused(e, &self.https))?;
        Ok((self.progress(), self.https.retry_after()))
    }

    /// What is to be shown for the names not proven yet, in the first of these ways that the CA offers.
    pub async fn asked(&mut self, ways: &[ChallengeKind]) -> Result<Vec<Asked>, Refused> {
        let https = &self.https;
        let mut asked = Vec::new();
        let mut authorizations = self.order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|e| refused(e, https))?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let name = host_of(authorization.identifier().identifier, https)?;
            let offered =
                |kind: &&ChallengeKind| authorization.challenges.iter().any(|c| c.r#type == word(**kind));
            let Some(&kind) = ways.iter().find(offered) else {
                let words = format!("for {name} the CA offers none of the ways that can work: {ways:?}");
                return Err(self_refused(&words));
            };
            let Some(challenge) = authorization.challenge(word(kind)) else { continue };
            let answer = challenge.key_authorization();
            let mut digest = [0; 32];
            digest.copy_from_slice(answer.digest().as_ref());
            asked.push(Asked {
                host: name,
                kind,
                token: challenge.token.clone(),
                key_authorization: answer.as_str().to_owned(),
                dns_value: answer.dns_value(),
                digest,
            });
        }
        Ok(asked)
    }

    /// Tells the CA that it may look at what it asked for.
    pub async fn shown(&mut self, asked: &[Asked]) -> Result<(), Refused> {
        let https = &self.https;
        let mut authorizations = self.order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|e| refused(e, https))?;
            let is_shown = |asked: &&Asked| authorization.challenges.iter().any(|c| c.token == asked.token);
            let Some(asked) = asked.iter().find(is_shown) else { continue };
            let Some(mut challenge) = authorization.challenge(word(asked.kind)) else { continue };
            // After a restart it may have been told already.
            if challenge.status == ChallengeStatus::Pending {
                challenge.set_ready().await.map_err(|e| refused(e, https))?;
            }
        }
        Ok(())
    }

    /// Sends the request for the certificate (PKCS#10 DER).
    pub async fn finalize(&mut self, request: &[u8]) -> Result<(), Refused> {
        self.order.finalize_csr(request).await.map_err(|e| refused(e, &self.https))
    }

    /// The chain of a valid order: PEM, leaf first.
    pub async fn certificate(&mut self) -> Result<String, Refused> {
        let missing = || self_refused("the CA says the order is valid but has no certificate");
        self.order.certificate().await.map_err(|e| refused(e, &self.https))?.ok_or_else(missing)
    }

    /// Why it is invalid, name by name, in the CA's own words; also the names that were not proven.
    pub async fn complaint(&mut self) -> (String, Vec<Host>) {
        let of_order = self.order.state().error.as_ref().map(said);
        let mut words = Vec::new();
        let mut unproven = Vec::new();
        let https = &self.https;
        let mut authorizations = self.order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            if authorization.refresh().await.is_err() || authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let Ok(host) = host_of(authorization.identifier().identifier, https) else { continue };
            for problem in authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref()) {
                words.push(format!("{}: {}", authorization.identifier(), said(problem)));
                unproven.push(host.clone());
            }
        }
        if words.is_empty() {
            let silent = || "the CA calls the order invalid and does not say why".to_owned();
            words.push(of_order.unwrap_or_else(silent));
        }
        (words.join("; "), unproven)
    }
}

fn word(kind: ChallengeKind) -> ChallengeType {
    match kind {
        ChallengeKind::Dns01 => ChallengeType::Dns01,
        ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
        ChallengeKind::Http01 => ChallengeType::Http01,
    }
}

fn host_of(identifier: &Identifier, https: &Https) -> Result<Host, Refused> {
    let Identifier::Dns(name) = identifier else {
        return Err(self_refused("the CA speaks of something that is no host"));
    };
    Host::parse(name).map_err(|e| refused(Error::Other(Box::new(e)), https))
}

fn self_refused(words: &str) -> Refused {
    Refused { refusal: Refusal::Later, words: words.to_owned(), retry_after: None }
}

fn refused(error: Error, https: &Https) -> Refused {
    let (refusal, words) = match &error {
        Error::Api(problem) => (meaning(problem), said(problem)),
        Error::Unsupported(what) => (Refusal::Unsupported, format!("the CA does not offer {what}")),
        // The library's own check of what the CA made of `replaces`.
        Error::Other(inner) if inner.to_string().starts_with("replaces field") => {
            (Refusal::Replaced, inner.to_string())
        }
        Error::Other(inner) => (refusal_of(inner.downcast_ref()), inner.to_string()),
        other => (Refusal::Later, other.to_string()),
    };
    let retry_after = https.retry_after();
    Refused { refusal, words, retry_after }
}

fn refusal_of(no_answer: Option<&NoAnswer>) -> Refusal {
    match no_answer {
        Some(NoAnswer::Refused { status, .. }) if status.as_u16() == 404 => Refusal::NoOrder,
        Some(_) | None => Refusal::Later,
    }
}

/// RFC 8555 §6.7, RFC 9773 §7.4.
fn meaning(problem: &Problem) -> Refusal {
    let kind = problem.r#type.as_deref().and_then(|kind| kind.rsplit(':').next()).unwrap_or_default();
    match (kind, problem.status) {
        ("accountDoesNotExist", _) => Refusal::NoAccount,
        ("alreadyReplaced", _) | (_, Some(409)) => Refusal::Replaced,
        ("orderNotReady", _) | (_, Some(404)) => Refusal::NoOrder,
        _ => Refusal::Later,
    }
}

/// What the CA said, its subproblems included.
fn said(problem: &Problem) -> String {
    let detail = problem.detail.as_deref().unwrap_or("the CA does not say what is wrong");
    let kind = problem.r#type.as_deref().and_then(|kind| kind.strip_prefix("urn:ietf:params:acme:error:"));
    let mut words = kind.map_or_else(|| detail.to_owned(), |kind| format!("{detail} ({kind})"));
    for sub in &problem.subproblems {
        words.push_str(&format!("; {sub}"));
    }
    words
}

impl HttpClient for Https {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(json: &str) -> Problem {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_cas_words_are_kept_and_their_meaning_is_read() {
        let limited = problem(
            r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many","status":429,
                "subproblems":[{"type":"x","detail":"slow down","identifier":{"type":"dns","value":"a.example"}}]}"#,
        );
        assert_eq!(meaning(&limited), Refusal::Later);
        let words = said(&limited);
        assert!(words.starts_with("too many (rateLimited)") && words.contains("a.example"), "{words}");
        for (json, refusal) in [
            (r#"{"type":"urn:ietf:params:acme:error:accountDoesNotExist"}"#, Refusal::NoAccount),
            (r#"{"type":"urn:ietf:params:acme:error:alreadyReplaced"}"#, Refusal::Replaced),
            (r#"{"status":409}"#, Refusal::Replaced),
            (r#"{"status":404}"#, Refusal::NoOrder),
            ("{}", Refusal::Later),
        ] {
            assert_eq!(meaning(&problem(json)), refusal, "{json}");
        }
    }
}
