//! The table of pending orders at CAs, so that each is resumed after a restart and none is order twice.

use diesel::prelude::*;
use time::OffsetDateTime;
use webgateway_proto::model::{CertName, CertificateId};
use webgateway_seal::SecretKey;
use zeroize::Zeroizing;

use super::schema::acme_orders;
use super::{StoreError, Tx, WriteTx};

/// A pending order.
#[derive(Clone)]
pub(crate) struct StoredOrder {
    /// The certificate's id.
    pub id: CertificateId,
    /// The URL of the CA's directory.
    pub directory: String,
    /// The order's URL.
    pub url: String,
    /// The names of the certificate.
    pub names: Vec<CertName>,
    /// The private key of the certificate: PKCS#8 DER.
    pub key: Zeroizing<Vec<u8>>,
}

/// Returns the pending order for this certificate at this CA, if there is one.
pub(crate) fn find(
    tx: &mut Tx<'_>,
    id: &CertificateId,
    directory: &str,
    key: &SecretKey,
) -> Result<Option<StoredOrder>, StoreError> {
    let row: Option<(String, String, Vec<u8>)> = acme_orders::table
        .find((id.as_str(), directory))
        .select((acme_orders::url, acme_orders::names, acme_orders::sealed_key))
        .first(tx.conn)
        .optional()?;
    let Some((url, names, sealed)) = row else { return Ok(None) };
    let names: Vec<String> = serde_json::from_str(&names).map_err(|e| damaged(id, e))?;
    let names: Result<Vec<CertName>, _> = names.iter().map(|name| name.parse()).collect();
    let key = key.open(&seal_name(id), &sealed).map_err(|e| damaged(id, format!("its private key: {e}")))?;
    let names = names.map_err(|e| damaged(id, e))?;
    Ok(Some(StoredOrder { id: id.clone(), directory: directory.to_owned(), url, names, key }))
}

/// Stores a pending order.
pub(crate) fn put(
    tx: &mut WriteTx<'_>,
    order: &StoredOrder,
    now: OffsetDateTime,
    key: &SecretKey,
) -> Result<(), StoreError> {
    let names: Vec<String> = order.names.iter().map(ToString::to_string).collect();
    let sealed = key.seal(&seal_name(&order.id), &order.key).map_err(|e| damaged(&order.id, e))?;
    diesel::replace_into(acme_orders::table)
        .values((
            acme_orders::certificate_id.eq(order.id.as_str()),
            acme_orders::directory.eq(&order.directory),
            acme_orders::url.eq(&order.url),
            acme_orders::names.eq(serde_json::to_string(&names).map_err(|e| damaged(&order.id, e))?),
            acme_orders::sealed_key.eq(sealed),
            acme_orders::created_at.eq(now.unix_timestamp()),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// Deletes the order for this certificate at this CA, because it is finished or has failed for good.
pub(crate) fn delete(tx: &mut WriteTx<'_>, id: &CertificateId, directory: &str) -> Result<(), StoreError> {
    diesel::delete(acme_orders::table.find((id.as_str(), directory))).execute(tx.conn)?;
    Ok(())
}

/// Deletes all orders for an unneeded certificate.
pub(crate) fn delete_all(tx: &mut WriteTx<'_>, id: &CertificateId) -> Result<(), StoreError> {
    let rows = acme_orders::table.filter(acme_orders::certificate_id.eq(id.as_str()));
    diesel::delete(rows).execute(tx.conn)?;
    Ok(())
}

fn seal_name(id: &CertificateId) -> String {
    format!("acme-order {id}")
}

fn damaged(id: &CertificateId, reason: impl ToString) -> StoreError {
    StoreError::damaged("acme_orders", id.as_str(), reason)
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::metrics::Metrics;
    use crate::store::{Store, accounts};

    const CA: &str = "https://ca.example/dir";

    #[tokio::test]
    async fn orders_and_accounts_are_sealed_and_can_be_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let store =
            Store::open(&dir.path().join("c.db"), Metrics::register(&mut Registry::default())).unwrap();
        let write = store.write("test", |tx| -> Result<(), StoreError> {
            let (key, now) = (SecretKey::new(&[1; 32]).unwrap(), OffsetDateTime::UNIX_EPOCH);
            let id = CertificateId::parse("a.example").unwrap();
            let order = StoredOrder {
                id: id.clone(),
                directory: CA.into(),
                url: "https://ca.example/order/1".into(),
                names: vec!["a.example".parse().unwrap(), "*.a.example".parse().unwrap()],
                key: Zeroizing::new(b"order sesame".to_vec()),
            };
            put(tx, &order, now, &key)?;
            accounts::put(tx, CA, b"account sesame", now, &key)?;
            let found = find(tx, &id, CA, &key)?.unwrap();
            assert_eq!((found.url, found.names), (order.url, order.names));
            assert_eq!(found.key.as_slice(), b"order sesame");
            assert!(find(tx, &id, "https://other.example/dir", &key)?.is_none());
            assert_eq!(accounts::find(tx, CA, &key)?.unwrap().as_slice(), b"account sesame");
            assert!(accounts::find(tx, CA, &SecretKey::new(&[2; 32]).unwrap()).is_err());
            Ok(())
        });
        write.await.unwrap();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(6).any(|window| window == b"sesame"));
        }
        let write = store.write("test", |tx| -> Result<(), StoreError> {
            let (key, id) = (SecretKey::new(&[1; 32]).unwrap(), CertificateId::parse("a.example").unwrap());
            accounts::delete(tx, CA)?;
            assert!(find(tx, &id, CA, &key)?.is_none() && accounts::find(tx, CA, &key)?.is_none());
            Ok(())
        });
        write.await.unwrap();
    }
}
