//! Tests of joining and renewing with a real store.

use tempfile::TempDir;

use super::*;
use crate::pki::authority::member;
use crate::pki::authority::tests::{request, sample};
use crate::store::invites::InviteRecord;

fn now() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(20_000)
}

fn remote(member: Option<Uuid>) -> Peer {
    Peer::Remote { address: "192.0.2.1:5".parse().unwrap(), member }
}

struct Scene {
    enrolment: Enrolment,
    _dir: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let (store, authority) = sample(dir.path(), now()).await;
        let clock = Clock::from_fn(now);
        let (members, lifetime, rate_limit) = (Members::new(clock), Duration::days(30), join_rate_limit());
        let enrolment = Enrolment { store, authority, members, clock, lifetime, rate_limit };
        Self { enrolment, _dir: dir }
    }

    async fn invite(&self, secret: &[u8], name: &str, ttl: Duration) {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, secret).as_ref());
        let invite = InviteRecord { name: name.parse().unwrap(), expires_at: now() + ttl, used: false };
        let insert = move |tx: &mut WriteTx<'_>| invites::insert(tx, &hash, &invite, now());
        self.enrolment.store.write("test", insert).await.unwrap();
    }

    async fn join(&self, secret: &'static [u8]) -> Result<EnrolledNode, EnrolmentError> {
        let join = wire::JoinRequest { secret: secret.into(), csr: request().1.into() };
        let joined = self.enrolment.join(remote(None), join).await;
        self.enrolment.members.load(&self.enrolment.store).await.unwrap();
        joined
    }

    async fn renew(&self, peer: Peer) -> Result<EnrolledNode, EnrolmentError> {
        self.enrolment.renew(peer, wire::RenewRequest { csr: request().1.into() }).await
    }
}

#[tokio::test]
async fn a_token_can_be_used_once_before_it_expires() {
    let scene = Scene::new().await;
    scene.invite(b"one", "fra", Duration::hours(1)).await;
    scene.invite(b"two", "fra", Duration::hours(1)).await;
    scene.invite(b"old", "ams", Duration::ZERO).await;
    assert!(matches!(scene.join(b"none").await, Err(EnrolmentError::Unknown)));
    assert!(matches!(scene.join(b"old").await, Err(EnrolmentError::Expired(_))));
    let bad = wire::JoinRequest { secret: b"one".as_slice().into(), csr: b"nonsense".as_slice().into() };
    let refused = scene.enrolment.join(remote(None), bad).await;
    assert!(matches!(refused, Err(EnrolmentError::Sign(_))), "the token is still valid after a failure");
    let joined = scene.join(b"one").await.unwrap();
    assert_eq!(joined.name.as_str(), "fra");
    assert!(matches!(scene.join(b"one").await, Err(EnrolmentError::Used(_))));
    assert!(matches!(scene.join(b"two").await, Err(EnrolmentError::Taken(_))));
    let peer = remote(member(&joined.signed.certificate));
    assert_eq!(scene.enrolment.members.admit(&peer), Ok(Some("fra".into())));
}

#[tokio::test]
async fn only_enrolled_nodes_can_renew_and_they_keep_their_identity() {
    let scene = Scene::new().await;
    scene.invite(b"one", "fra", Duration::hours(1)).await;
    let first = scene.join(b"one").await.unwrap().signed;
    let id = member(&first.certificate);
    let renewed = scene.renew(remote(id)).await.unwrap().signed;
    assert_eq!(member(&renewed.certificate), id);
    assert_ne!(renewed.fingerprint, first.fingerprint);
    for peer in [Peer::Local, remote(None), remote(Some(Uuid::new_v4()))] {
        assert!(matches!(scene.renew(peer).await, Err(EnrolmentError::Admission(_))), "{peer}");
    }
    let remove = |tx: &mut WriteTx<'_>| nodes::remove(tx, "fra", now());
    scene.enrolment.store.write("test", remove).await.unwrap();
    // The store has the removal, the in-memory list does not yet.
    assert!(matches!(scene.renew(remote(id)).await, Err(EnrolmentError::Admission(_))));
}

#[tokio::test]
async fn attempts_to_join_are_limited_by_network() {
    let scene = Scene::new().await;
    for _ in 0..JOINS_PER_MINUTE.get() {
        assert!(matches!(scene.join(b"guess").await, Err(EnrolmentError::Unknown)));
    }
    assert!(matches!(scene.join(b"guess").await, Err(EnrolmentError::RateLimited)));
}
