//! Parts of the process whose construction takes more than one step.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::spawn_blocking;
use webgateway_seal::SecretKey;

use super::error::AppError;
use crate::clock::Clock;
use crate::domain::Domain;
use crate::feed::members::Members;
use crate::metrics::Metrics;
use crate::reconcile::Reconciler as _;
use crate::store::Store;
use crate::suspensions::SuspensionReconciler;
use crate::traffic::TrafficWriter;

/// Opens the database.
pub(super) async fn open_store(path: PathBuf, metrics: Metrics) -> Result<Store, AppError> {
    let opened = spawn_blocking(move || Store::open(&path, metrics)).await;
    Ok(opened.map_err(|_| AppError::Interrupted)??)
}

/// Loads the key that encrypts private keys, or creates it.
pub(super) async fn open_secret_key(path: PathBuf) -> Result<Arc<SecretKey>, AppError> {
    let opened = spawn_blocking(move || SecretKey::load_or_create(&path, "secret_key_file")).await;
    Ok(Arc::new(opened.map_err(|_| AppError::Interrupted)??))
}

/// Returns the writer of the hourly traffic.
pub(super) fn traffic_writer(domain: &Domain) -> TrafficWriter {
    TrafficWriter { traffic: domain.traffic.clone(), store: domain.store.clone(), clock: Clock::system() }
}

/// Returns the reconciler of suspensions, after it has ended those whose time is over.
pub(super) async fn suspension_reconciler(domain: &Domain) -> Result<SuspensionReconciler, AppError> {
    let mut suspensions = SuspensionReconciler::new(domain.clone());
    suspensions.pass().await?;
    Ok(suspensions)
}

/// Returns the remote nodes, loaded from the store.
pub(super) async fn members(store: &Store) -> Result<Members, AppError> {
    let members = Members::new(Clock::system());
    members.load(store).await?;
    Ok(members)
}
