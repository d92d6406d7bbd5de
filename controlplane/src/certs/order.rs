//! Orders of certificates at a CA. An order is placed once, stored, and finished even after a restart.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use thiserror::Error;
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};
use webgateway_proto::model::{CertName, Host};
use webgateway_seal::SecretKey;
use x509_parser::parse_x509_certificate;
use zeroize::Zeroizing;

use super::account::{AccountError, AcmeAccounts};
use super::acme::{AcmeError, AcmeErrorKind, AcmeOrder, AcmeSession, Ca, OrderState};
use super::budget::{Budget, BudgetError, OrderSubject};
use super::schedule::CertificateSpec;
use super::solver::{ChallengeKind, PresentError, Solver};
use crate::clock::Clock;
use crate::store::certificates::{IssuedCertificate, find, leaf};
use crate::store::orders::{self, StoredOrder};
use crate::store::{Store, StoreError};

/// The time limit for the CA to validate the challenges or to issue the certificate, before the order is resumed later.
const ORDER_TIMEOUT: Duration = Duration::from_secs(180);
/// The bounds of the interval between two requests for an order's state, unless the CA names one.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(200);
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(10);

/// An executor of orders.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    /// The store of the orders.
    pub store: Store,
    /// The key that seals the private keys of the certificates.
    pub key: Arc<SecretKey>,
    /// The accounts at the CAs.
    pub accounts: AcmeAccounts,
    /// The publisher of challenge responses.
    pub solver: Solver,
    /// The source of the time.
    pub clock: Clock,
}

/// An error of an order.
#[derive(Debug, Error)]
pub(crate) enum OrderError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The CA rejected a request or could not be reached.
    #[error(transparent)]
    Acme(#[from] AcmeError),
    /// The CA could not validate all names.
    #[error("{message}")]
    ValidationFailed {
        /// The CA's description.
        message: String,
        /// The hosts that were not validated.
        hosts: Vec<Host>,
    },
    /// One of the CA's rate limits would be exceeded.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// Not every node has the challenge response.
    #[error("the challenge could not be published: {0}")]
    Present(#[from] PresentError),
    /// The CA did not finish within the time limit. The order will be resumed.
    #[error("the CA has not finished within {} s; the order will be resumed", ORDER_TIMEOUT.as_secs())]
    Timeout,
    /// The key or the certificate request cannot be generated.
    #[error("the certificate request cannot be created: {0}")]
    Crypto(#[from] rcgen::Error),
    /// The issued certificate does not match the order.
    #[error("the issued certificate cannot be used: {0}")]
    Unusable(String),
}

impl From<AccountError> for OrderError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Store(error) => Self::Store(error),
            AccountError::Acme(error) => Self::Acme(error),
        }
    }
}

impl Orders {
    /// Gets one certificate; its names are validated with the first of `kinds` that the CA offers.
    pub(crate) async fn issue(
        &self,
        ca: &Ca,
        spec: &CertificateSpec,
        kinds: &[ChallengeKind],
    ) -> Result<IssuedCertificate, OrderError> {
        let session = self.accounts.session(ca).await?;
        let (mut order, stored) = match self.resume(&session, ca, spec).await? {
            Some(resumed) => resumed,
            None => self.place(&session, ca, spec).await?,
        };
        let issued = match self.finish(&mut order, &stored, kinds).await {
            Ok(chain) => read_issued(&stored, chain),
            Err(error) => Err(error),
        };
        // An order that failed for good is forgotten; any other is resumed by the next attempt.
        if matches!(issued, Err(OrderError::ValidationFailed { .. } | OrderError::Unusable(_))) {
            self.forget(ca, spec).await?;
        }
        issued
    }

    /// Returns the stored order, if the CA still has it.
    async fn resume(
        &self,
        session: &AcmeSession,
        ca: &Ca,
        spec: &CertificateSpec,
    ) -> Result<Option<(AcmeOrder, StoredOrder)>, OrderError> {
        let (id, directory, key) = (spec.id.clone(), ca.directory().to_owned(), Arc::clone(&self.key));
        let read = self.store.read("acme order", move |tx| orders::find(tx, &id, &directory, &key));
        let Some(stored) = read.await?.filter(|stored| stored.names == spec.names) else { return Ok(None) };
        match session.find(&stored.url).await {
            Ok(order) => {
                info!(id = %spec.id, order = stored.url, "order resumed");
                Ok(Some((order, stored)))
            }
            Err(error) if error.kind == AcmeErrorKind::UnknownOrder => {
                warn!(id = %spec.id, order = stored.url, %error, "order unknown to the CA, placing another");
                self.forget(ca, spec).await?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn place(
        &self,
        session: &AcmeSession,
        ca: &Ca,
        spec: &CertificateSpec,
    ) -> Result<(AcmeOrder, StoredOrder), OrderError> {
        let replaced = self.reserve(ca, spec).await?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let order = match session.order(&spec.names, replaced.as_ref()).await {
            Err(error) if replaced.is_some() && can_retry_without_replaces(error.kind) => {
                session.order(&spec.names, None).await?
            }
            other => other?,
        };
        let stored = StoredOrder {
            id: spec.id.clone(),
            directory: ca.directory().to_owned(),
            url: order.url().to_owned(),
            names: spec.names.clone(),
            key: Zeroizing::new(key.serialize_der()),
        };
        let copy = stored.clone();
        let (key, now) = (Arc::clone(&self.key), self.clock.now());
        self.store.write("acme order placed", move |tx| orders::put(tx, &copy, now, &key)).await?;
        info!(id = %spec.id, ca = stored.directory, order = stored.url, "order placed");
        Ok((order, stored))
    }

    /// Counts the order against the CA's limits before it is placed. Returns the certificate that it will replace.
    async fn reserve(
        &self,
        ca: &Ca,
        spec: &CertificateSpec,
    ) -> Result<Option<CertificateDer<'static>>, OrderError> {
        let (directory, spec, now) = (ca.directory().to_owned(), spec.clone(), self.clock.now());
        let budget = Budget::for_ca(&directory);
        let write = self.store.write("acme budget", move |tx| -> Result<_, OrderError> {
            let current = find(tx, spec.id.as_str())?.filter(|current| current.issuer == directory);
            let life = current.as_ref().map(|current| current.not_after - current.not_before);
            let owner = spec.owner(tx)?;
            let subject = OrderSubject { names: &spec.names, owner: owner.as_ref() };
            budget.check(tx, subject, now, life)??;
            budget.record_order(tx, owner.as_ref(), now)?;
            Ok(if current.is_some() { leaf(tx, &spec.id)? } else { None })
        });
        write.await
    }

    async fn forget(&self, ca: &Ca, spec: &CertificateSpec) -> Result<(), StoreError> {
        let (id, directory) = (spec.id.clone(), ca.directory().to_owned());
        self.store.write("acme order over", move |tx| orders::delete(tx, &id, &directory)).await
    }

    /// Advances an order from its current state to its certificate chain (PEM).
    async fn finish(
        &self,
        order: &mut AcmeOrder,
        stored: &StoredOrder,
        kinds: &[ChallengeKind],
    ) -> Result<String, OrderError> {
        let id = &stored.id;
        if order.state() == OrderState::Pending {
            let challenges = order.challenges(kinds).await?;
            let mut published = Vec::with_capacity(challenges.len());
            for challenge in &challenges {
                published.push(self.solver.present(challenge).await?);
            }
            info!(%id, names = challenges.len(), "challenges ready, waiting for validation");
            if let Err(error) = order.set_ready(&challenges).await
                && order.refresh().await?.0 == OrderState::Pending
            {
                return Err(error.into());
            }
            self.wait(order, |state| state != OrderState::Pending).await?;
        }
        if order.state() == OrderState::Ready {
            info!(%id, "all names validated, requesting the certificate");
            order.finalize(&request(stored)?).await?;
        }
        if matches!(order.state(), OrderState::Ready | OrderState::Processing) {
            self.wait(order, |state| matches!(state, OrderState::Valid | OrderState::Invalid)).await?;
        }
        if order.state() == OrderState::Valid {
            return Ok(order.certificate().await?);
        }
        let (message, hosts) = order.failure().await;
        Err(OrderError::ValidationFailed { message, hosts })
    }

    async fn wait(&self, order: &mut AcmeOrder, is_over: fn(OrderState) -> bool) -> Result<(), OrderError> {
        let deadline = Instant::now() + ORDER_TIMEOUT;
        let mut interval = MIN_POLL_INTERVAL;
        loop {
            let (state, retry_after) = order.refresh().await?;
            if is_over(state) {
                return Ok(());
            }
            let requested =
                retry_after.map(|at| Duration::try_from(at - self.clock.now()).unwrap_or_default());
            let delay = requested.unwrap_or(interval).clamp(MIN_POLL_INTERVAL, ORDER_TIMEOUT);
            if Instant::now() + delay > deadline {
                return Err(OrderError::Timeout);
            }
            sleep(delay).await;
            interval = (interval * 2).min(MAX_POLL_INTERVAL);
        }
    }
}

fn can_retry_without_replaces(kind: AcmeErrorKind) -> bool {
    match kind {
        AcmeErrorKind::ReplacesRejected | AcmeErrorKind::Unsupported | AcmeErrorKind::UnknownOrder => true,
        AcmeErrorKind::Retryable | AcmeErrorKind::UnknownAccount => false,
    }
}

/// Returns the certificate request: PKCS#10 DER, without a subject.
fn request(stored: &StoredOrder) -> Result<Vec<u8>, OrderError> {
    let mut params =
        CertificateParams::new(stored.names.iter().map(CertName::to_string).collect::<Vec<_>>())?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key_pair(stored)?)?;
    Ok(request.der().to_vec())
}

fn key_pair(stored: &StoredOrder) -> Result<KeyPair, rcgen::Error> {
    let pkcs8 = PrivatePkcs8KeyDer::from(stored.key.as_slice());
    KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_ECDSA_P256_SHA256)
}

/// Parses the issued chain. Fails unless the leaf has our key and all names of the order.
fn read_issued(stored: &StoredOrder, chain: String) -> Result<IssuedCertificate, OrderError> {
    let unusable = |reason: &str| OrderError::Unusable(reason.to_owned());
    let leaf =
        CertificateDer::from_pem_slice(chain.as_bytes()).map_err(|_| unusable("it is not a PEM chain"))?;
    let (_, parsed) = parse_x509_certificate(&leaf).map_err(|_| unusable("its leaf is not a certificate"))?;
    if parsed.public_key().raw != key_pair(stored)?.subject_public_key_info() {
        return Err(unusable("it is for another key"));
    }
    let alternatives = parsed.subject_alternative_name().ok().flatten();
    let names: Vec<String> =
        alternatives.iter().flat_map(|san| &san.value.general_names).filter_map(dns_name).collect();
    if let Some(missing) = stored.names.iter().find(|name| !names.contains(&name.to_string())) {
        return Err(unusable(&format!("it does not name {missing}")));
    }
    let out_of_range = || unusable("its validity is out of range");
    let time = |at: i64| OffsetDateTime::from_unix_timestamp(at).map_err(|_| out_of_range());
    let validity = parsed.validity();
    let (not_before, not_after) =
        (time(validity.not_before.timestamp())?, time(validity.not_after.timestamp())?);
    Ok(IssuedCertificate {
        id: stored.id.clone(),
        names: stored.names.clone(),
        key: stored.key.clone(),
        issuer: stored.directory.clone(),
        not_before,
        not_after,
        chain,
    })
}

fn dns_name(name: &x509_parser::extensions::GeneralName<'_>) -> Option<String> {
    match name {
        x509_parser::extensions::GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    }
}
