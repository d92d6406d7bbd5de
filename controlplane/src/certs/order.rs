//! One certificate from one CA: its order is placed once, kept, and finished, also after a restart.

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
use super::budget::{Budget, BudgetError};
use super::schedule::CertificateSpec;
use super::solver::{ChallengeKind, PresentError, Solver};
use crate::clock::Clock;
use crate::store::certificates::{IssuedCertificate, find, leaf};
use crate::store::orders::{self, StoredOrder};
use crate::store::{Store, StoreError};

/// How long a CA may take to look at our proofs, or to make a certificate, before we come back later.
const ORDER_TIMEOUT: Duration = Duration::from_secs(180);
/// The pauses between questions how an order stands, unless the CA names one.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(200);
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(10);

/// Places orders and finishes them.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    /// Where they are kept,
    pub store: Store,
    /// and their keys sealed with this.
    pub key: Arc<SecretKey>,
    /// With whom they are placed.
    pub accounts: AcmeAccounts,
    /// What shows the proofs.
    pub solver: Solver,
    /// What time it is.
    pub clock: Clock,
}

/// Why there is no certificate yet.
#[derive(Debug, Error)]
pub(crate) enum OrderError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The CA refused something.
    #[error(transparent)]
    Acme(#[from] AcmeError),
    /// The CA did not find what proves that the names are ours.
    #[error("{message}")]
    Unproven {
        /// The CA's message.
        message: String,
        /// The names.
        hosts: Vec<Host>,
    },
    /// A limit of the CA's would be passed.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// Not every node shows the proof.
    #[error("the CA was not told to look: {0}")]
    PresentError(#[from] PresentError),
    /// The CA takes its time; the order goes on.
    #[error("the CA has not finished within {} s; the order goes on", ORDER_TIMEOUT.as_secs())]
    Slow,
    /// The library cannot make a key or a request.
    #[error("no request for a certificate can be made: {0}")]
    Crypto(#[from] rcgen::Error),
    /// The CA sent something else than was record_order.
    #[error("what the CA issued cannot be used: {0}")]
    Unusable(String),
}

impl From<AccountError> for OrderError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Store(error) => Self::Store(error),
            AccountError::Acme(refused) => Self::Acme(refused),
        }
    }
}

impl Orders {
    /// Gets one certificate, proving its names in one of these kinds, the best first.
    pub(crate) async fn issue(
        &self,
        ca: &Ca,
        spec: &CertificateSpec,
        kinds: &[ChallengeKind],
    ) -> Result<IssuedCertificate, OrderError> {
        let session = self.accounts.session(ca).await?;
        let (mut order, placed) = match self.resume(&session, ca, spec).await? {
            Some(resumed) => resumed,
            None => self.place(&session, ca, spec).await?,
        };
        let issued = match self.finish(&mut order, &placed, kinds).await {
            Ok(chain) => read_issued(&placed, chain),
            Err(error) => Err(error),
        };
        // An order that can still be finished is; one that cannot is not challenges for again.
        if matches!(issued, Err(OrderError::Unproven { .. } | OrderError::Unusable(_))) {
            self.forget(ca, spec).await?;
        }
        issued
    }

    /// The order under way, if the CA still has it.
    async fn resume(
        &self,
        session: &AcmeSession,
        ca: &Ca,
        spec: &CertificateSpec,
    ) -> Result<Option<(AcmeOrder, StoredOrder)>, OrderError> {
        let (id, directory, key) = (spec.id.clone(), ca.directory().to_owned(), Arc::clone(&self.key));
        let read = self.store.read("acme order", move |tx| orders::find(tx, &id, &directory, &key));
        let Some(placed) = read.await?.filter(|placed| placed.names == spec.names) else { return Ok(None) };
        match session.find(&placed.url).await {
            Ok(order) => {
                info!(id = %spec.id, order = placed.url, "an order is taken up again");
                Ok(Some((order, placed)))
            }
            Err(refused) if refused.kind == AcmeErrorKind::UnknownOrder => {
                warn!(id = %spec.id, order = placed.url, %refused, "the CA has lost an order");
                self.forget(ca, spec).await?;
                Ok(None)
            }
            Err(refused) => Err(refused.into()),
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
            Err(refused) if replaced.is_some() && can_retry_without_replaces(refused.kind) => {
                session.order(&spec.names, None).await?
            }
            other => other?,
        };
        let placed = StoredOrder {
            id: spec.id.clone(),
            directory: ca.directory().to_owned(),
            url: order.url().to_owned(),
            names: spec.names.clone(),
            key: Zeroizing::new(key.serialize_der()),
        };
        let kept = placed.clone();
        let (key, now) = (Arc::clone(&self.key), self.clock.now());
        self.store.write("acme order placed", move |tx| orders::put(tx, &kept, now, &key)).await?;
        info!(id = %spec.id, ca = placed.directory, order = placed.url, "an order was placed");
        Ok((order, placed))
    }

    /// Counts the order before it is placed; gives the certificate it will replace.
    async fn reserve(
        &self,
        ca: &Ca,
        spec: &CertificateSpec,
    ) -> Result<Option<CertificateDer<'static>>, OrderError> {
        let (directory, spec, now) = (ca.directory().to_owned(), spec.clone(), self.clock.now());
        let budget = Budget::at(&directory);
        let write = self.store.write("acme budget", move |tx| -> Result<_, OrderError> {
            let held = find(tx, spec.id.as_str())?.filter(|held| held.issuer == directory);
            let life = held.as_ref().map(|held| held.not_after - held.not_before);
            budget.check(tx, &spec.names, now, life)??;
            budget.record_order(tx, now)?;
            Ok(if held.is_some() { leaf(tx, &spec.id)? } else { None })
        });
        write.await
    }

    async fn forget(&self, ca: &Ca, spec: &CertificateSpec) -> Result<(), StoreError> {
        let (id, directory) = (spec.id.clone(), ca.directory().to_owned());
        self.store.write("acme order over", move |tx| orders::delete(tx, &id, &directory)).await
    }

    /// Brings an order from wherever it stands to its certificate.
    async fn finish(
        &self,
        order: &mut AcmeOrder,
        placed: &StoredOrder,
        kinds: &[ChallengeKind],
    ) -> Result<String, OrderError> {
        let id = &placed.id;
        if order.state() == OrderState::Pending {
            let challenges = order.challenges(kinds).await?;
            let mut shown = Vec::with_capacity(challenges.len());
            for challenges in &challenges {
                shown.push(self.solver.present(challenges).await?);
            }
            info!(%id, names = challenges.len(), "the CA is told to look");
            if let Err(refused) = order.set_ready(&challenges).await
                && order.refresh().await?.0 == OrderState::Pending
            {
                return Err(refused.into());
            }
            self.wait(order, |state| state != OrderState::Pending).await?;
        }
        if order.state() == OrderState::Ready {
            info!(%id, "every name is proven, the certificate is challenges for");
            order.finalize(&request(placed)?).await?;
        }
        if matches!(order.state(), OrderState::Ready | OrderState::Processing) {
            self.wait(order, |state| matches!(state, OrderState::Valid | OrderState::Invalid)).await?;
        }
        if order.state() == OrderState::Valid {
            return Ok(order.certificate().await?);
        }
        let (message, hosts) = order.failure().await;
        Err(OrderError::Unproven { message, hosts })
    }

    async fn wait(&self, order: &mut AcmeOrder, is_over: fn(OrderState) -> bool) -> Result<(), OrderError> {
        let deadline = Instant::now() + ORDER_TIMEOUT;
        let mut pause = MIN_POLL_INTERVAL;
        loop {
            let (state, retry_after) = order.refresh().await?;
            if is_over(state) {
                return Ok(());
            }
            let asked_for =
                retry_after.map(|at| Duration::try_from(at - self.clock.now()).unwrap_or_default());
            let this = asked_for.unwrap_or(pause).clamp(MIN_POLL_INTERVAL, ORDER_TIMEOUT);
            if Instant::now() + this > deadline {
                return Err(OrderError::Slow);
            }
            sleep(this).await;
            pause = (pause * 2).min(MAX_POLL_INTERVAL);
        }
    }
}

fn can_retry_without_replaces(kind: AcmeErrorKind) -> bool {
    match kind {
        AcmeErrorKind::ReplacesRejected | AcmeErrorKind::Unsupported | AcmeErrorKind::UnknownOrder => true,
        AcmeErrorKind::Retryable | AcmeErrorKind::UnknownAccount => false,
    }
}

/// The request for the certificate: PKCS#10 DER, without a subject.
fn request(placed: &StoredOrder) -> Result<Vec<u8>, OrderError> {
    let mut params =
        CertificateParams::new(placed.names.iter().map(CertName::to_string).collect::<Vec<_>>())?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key_pair(placed)?)?;
    Ok(request.der().to_vec())
}

fn key_pair(placed: &StoredOrder) -> Result<KeyPair, rcgen::Error> {
    let pkcs8 = PrivatePkcs8KeyDer::from(placed.key.as_slice());
    KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_ECDSA_P256_SHA256)
}

/// Takes what was issued only if its leaf has our key and all the names.
fn read_issued(placed: &StoredOrder, chain: String) -> Result<IssuedCertificate, OrderError> {
    let unusable = |reason: &str| OrderError::Unusable(reason.to_owned());
    let leaf =
        CertificateDer::from_pem_slice(chain.as_bytes()).map_err(|_| unusable("it is no PEM chain"))?;
    let (_, parsed) = parse_x509_certificate(&leaf).map_err(|_| unusable("its leaf is no certificate"))?;
    if parsed.public_key().raw != key_pair(placed)?.subject_public_key_info() {
        return Err(unusable("it is for another key"));
    }
    let alternatives = parsed.subject_alternative_name().ok().flatten();
    let names: Vec<String> =
        alternatives.iter().flat_map(|san| &san.value.general_names).filter_map(dns).collect();
    if let Some(missing) = placed.names.iter().find(|name| !names.contains(&name.to_string())) {
        return Err(unusable(&format!("it does not name {missing}")));
    }
    let time = |at: i64| OffsetDateTime::from_unix_timestamp(at).map_err(|_| unusable("it has no validity"));
    let validity = parsed.validity();
    let (not_before, not_after) =
        (time(validity.not_before.timestamp())?, time(validity.not_after.timestamp())?);
    Ok(IssuedCertificate {
        id: placed.id.clone(),
        names: placed.names.clone(),
        key: placed.key.clone(),
        issuer: placed.directory.clone(),
        not_before,
        not_after,
        chain,
    })
}

fn dns(name: &x509_parser::extensions::GeneralName<'_>) -> Option<String> {
    match name {
        x509_parser::extensions::GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    }
}
