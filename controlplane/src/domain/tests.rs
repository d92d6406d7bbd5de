//! Tests of the domain rules with a real store.

mod certificates;
mod lists;
mod log;
mod ownership;
mod route_options;
mod users;

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use webgateway_proto::httpsig::PrivateKey;
use webgateway_proto::model::{
    Balance, HealthCheck, Host, Mode, Patch, Prefixes, RouteId, RouteOptions, RouteOptionsPatch,
    UnsuitableOptionError,
};

use super::*;
use crate::clock::Clock;
use crate::config::KeySource;
use crate::keys::KeyStore;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError, audit};
use crate::traffic::TrafficState;

/// A node directory without nodes.
#[derive(Debug)]
struct EmptyDirectory;

#[async_trait::async_trait]
impl NodeDirectory for EmptyDirectory {
    fn nodes(&self) -> Vec<NodeStatus> {
        Vec::new()
    }

    async fn wait_acked(&self, _: &AckTarget, _: Duration) -> AckProgress {
        AckProgress::default()
    }

    async fn explain(&self, _: &Host, _: Duration) -> Vec<NodeExplanation> {
        Vec::new()
    }
}

impl UpdateRoute {
    /// Creates an update of this route that changes nothing.
    pub(super) fn new(id: RouteId) -> Self {
        Self {
            id,
            fqdn: None,
            subdomain: None,
            mode: None,
            backends: None,
            options: RouteOptionsPatch::default(),
            expected_version: None,
            dry_run: false,
        }
    }
}

fn random_balance() -> RouteOptionsPatch {
    RouteOptionsPatch { balance: Patch::Set(Balance::Random), ..RouteOptionsPatch::default() }
}

/// A domain with a store and a key directory in a temporary directory.
struct TestDomain {
    domain: Domain,
    dir: TempDir,
}

impl TestDomain {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let metrics = Metrics::register(&mut Registry::default());
        let store = Store::open(&dir.path().join("x.db"), metrics).unwrap();
        let base = Host::parse("gw.example").unwrap();
        let keys = dir.path().join("keys");
        fs::create_dir(&keys).unwrap();
        let domain = Domain {
            store,
            keys: KeyStore::open(&KeySource::Directory(keys)).unwrap(),
            nodes: Arc::new(EmptyDirectory),
            listeners: GatewayListeners::default(),
            hosts: HostPolicy::new(base, BTreeSet::from(["www".to_owned()])),
            claims: ClaimPolicy::trusting(),
            allowed_backends: Prefixes::default(),
            route_limits: crate::config::RouteLimits::default(),
            admin: "admin.pub".parse().unwrap(),
            invitations: None,
            quotas: Quotas::default(),
            suspensions: watch::Sender::new(0),
            traffic: TrafficState::default(),
            clock: Clock::system(),
        };
        Self { domain, dir }
    }

    /// Adds a public key with this id.
    fn add_key(&self, name: &str) {
        let key = PrivateKey::from_seed(&[1; 32]).public();
        fs::write(self.dir.path().join("keys").join(name), key.to_pem()).unwrap();
    }

    fn caller(&self, name: &str) -> Caller {
        self.domain.caller(name.parse().unwrap(), IpAddr::V6(Ipv6Addr::LOCALHOST))
    }

    async fn create(&self, who: &str, subdomain: &str) -> Result<RouteStatus, DomainError> {
        self.domain.create_route(&self.caller(who), create_params(subdomain)).await
    }

    async fn list(&self, who: &Caller) -> Result<Vec<RouteStatus>, DomainError> {
        self.domain.list_routes(who, ListRoutes::default()).await.map(|(_, page)| page.entries)
    }

    async fn update(&self, who: &str, command: UpdateRoute) -> Result<RouteStatus, DomainError> {
        self.domain.update_route(&self.caller(who), command).await
    }

    async fn suspend(&self, user: &str, suspended: bool) -> Result<SuspensionStatus, DomainError> {
        let admin = self.caller("admin.pub");
        match suspended {
            true => self.domain.suspend(&admin, suspension(user)).await,
            false => self.domain.unsuspend(&admin, user.parse().unwrap()).await,
        }
    }

    fn revision(&self) -> u64 {
        *self.domain.store.changed().borrow()
    }

    async fn audited(&self, target: String) -> u64 {
        let count: Result<u64, StoreError> =
            self.domain.store.read("test", move |tx| audit::count(tx, &target)).await;
        count.unwrap()
    }
}

fn create_params(subdomain: &str) -> CreateRoute {
    CreateRoute {
        subdomain: Some(subdomain.to_owned()),
        backends: vec!["[400::1]:80".to_owned()],
        ..CreateRoute::default()
    }
}

fn deletion(id: RouteId) -> DeleteRoute {
    DeleteRoute { id, expected_version: None }
}

fn suspension(user: &str) -> SuspendUser {
    SuspendUser { user: user.parse().unwrap(), reason: None, until: None }
}

fn passthrough_params(fqdn: &str) -> CreateRoute {
    CreateRoute {
        fqdn: Some(fqdn.to_owned()),
        subdomain: None,
        mode: Mode::Passthrough,
        ..create_params("x")
    }
}

#[tokio::test]
async fn of_many_concurrent_creates_for_one_host_only_one_succeeds() {
    let test = TestDomain::new();
    let mut claims = JoinSet::new();
    for i in 0..100 {
        let (domain, caller) = (test.domain.clone(), test.caller(&format!("user{i}.pub")));
        claims.spawn(async move { domain.create_route(&caller, create_params("prize")).await });
    }
    let outcomes = claims.join_all().await;
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 99));
    assert!(lost.iter().all(|refused| matches!(refused, Err(DomainError::HostTaken { own: None, .. }))));
    assert_eq!(test.list(&test.caller("admin.pub")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_retry_with_the_same_id_and_content_returns_the_same_route() {
    let test = TestDomain::new();
    let params = CreateRoute { id: Some(RouteId::generate()), ..create_params("app") };
    let caller = test.caller("user1.pub");
    let first = test.domain.create_route(&caller, params.clone()).await.unwrap();
    let revision = test.revision();
    assert_eq!(test.domain.create_route(&caller, params.clone()).await.unwrap(), first);
    assert_eq!(test.revision(), revision);
    let other = CreateRoute { options: RouteOptions::sample(), ..params.clone() };
    let refused = test.domain.create_route(&caller, other).await;
    assert!(matches!(refused, Err(DomainError::IdTaken(_))));
    let refused = test.domain.create_route(&test.caller("user2.pub"), params).await;
    assert!(matches!(refused, Err(DomainError::IdTaken(_))));
    assert_eq!(test.audited(format!("route/{}", first.route.id)).await, 1);
}

#[tokio::test]
async fn only_the_owner_and_the_admin_can_see_a_route() {
    let test = TestDomain::new();
    let id = test.create("user1.pub", "app").await.unwrap().route.id;
    let (owner, other, admin) =
        (test.caller("user1.pub"), test.caller("user2.pub"), test.caller("admin.pub"));
    for caller in [&owner, &admin] {
        assert!(test.domain.route(caller, id).await.is_ok());
        assert_eq!(test.list(caller).await.unwrap().len(), 1);
    }
    assert!(test.list(&other).await.unwrap().is_empty());
    assert!(matches!(test.domain.route(&other, id).await, Err(DomainError::NoRoute(_))));
    assert!(matches!(test.domain.delete_route(&other, deletion(id)).await, Err(DomainError::NoRoute(_))));
    let update = UpdateRoute { options: random_balance(), ..UpdateRoute::new(id) };
    assert!(matches!(test.update("user2.pub", update.clone()).await, Err(DomainError::NoRoute(_))));
    let updated = test.update("admin.pub", update).await.unwrap();
    assert_eq!(updated.route.owner, *owner.key_id());
    assert!(test.domain.delete_route(&admin, deletion(id)).await.is_ok());
    assert!(matches!(test.domain.route(&owner, id).await, Err(DomainError::NoRoute(_))));
    assert_eq!(test.audited(format!("route/{id}")).await, 3);
}

#[tokio::test]
async fn an_update_changes_only_the_given_fields() {
    let test = TestDomain::new();
    let before = test.create("user1.pub", "app").await.unwrap().route;
    let id = before.id;
    let backends = Some(vec!["[400::2]:443".to_owned()]);
    let update = UpdateRoute { backends, expected_version: Some(before.version), ..UpdateRoute::new(id) };
    let after = test.update("user1.pub", update.clone()).await.unwrap().route;
    assert_eq!((&after.host, &after.destination.options), (&before.host, &before.destination.options));
    assert_eq!(after.destination.backends.as_slice()[0].to_string(), "[400::2]:443");
    assert!(after.version > before.version);

    let stale = test.update("user1.pub", update.clone()).await;
    assert!(
        matches!(stale, Err(DomainError::Stale { expected, actual }) if expected == before.version && actual == after.version)
    );
    let revision = test.revision();
    let again = UpdateRoute { expected_version: None, ..update };
    assert_eq!(test.update("user1.pub", again).await.unwrap().route, after);
    assert_eq!(test.revision(), revision, "an update without effect is not a revision");

    test.create("user2.pub", "taken").await.unwrap();
    let taken = UpdateRoute { subdomain: Some("taken".into()), ..UpdateRoute::new(id) };
    assert!(matches!(test.update("user1.pub", taken).await, Err(DomainError::HostTaken { own: None, .. })));
    let moved = UpdateRoute { subdomain: Some("moved".into()), ..UpdateRoute::new(id) };
    assert_eq!(test.update("user1.pub", moved).await.unwrap().route.host.as_str(), "moved.gw.example");
}

#[tokio::test]
async fn a_subdomain_cannot_be_passed_through_after_an_update() {
    let test = TestDomain::new();
    let both = CreateRoute { mode: Mode::Passthrough, ..create_params("app") };
    let refused = test.domain.create_route(&test.caller("u"), both).await;
    assert!(matches!(refused, Err(DomainError::PassthroughSubdomain)));
    let id = test.create("u", "app").await.unwrap().route.id;
    let update = |fqdn: Option<&str>, subdomain: Option<&str>, mode| UpdateRoute {
        fqdn: fqdn.map(Into::into),
        subdomain: subdomain.map(Into::into),
        mode,
        ..UpdateRoute::new(id)
    };
    let refused = test.update("u", update(None, None, Some(Mode::Passthrough))).await;
    assert!(matches!(refused, Err(DomainError::PassthroughSubdomain)));
    test.update("u", update(Some("own.example"), None, Some(Mode::Passthrough))).await.unwrap();
    let refused = test.update("u", update(None, Some("app"), None)).await;
    assert!(matches!(refused, Err(DomainError::PassthroughSubdomain)));
}

#[tokio::test]
async fn invalid_input_changes_nothing() {
    let test = TestDomain::new();
    let revision = test.revision();
    let base = create_params("app");
    let many = (1..=33).map(|i| format!("[400::{i:x}]:80")).collect();
    for params in [
        CreateRoute { backends: vec![], ..base.clone() },
        CreateRoute { backends: many, ..base.clone() },
        CreateRoute { backends: vec!["[2001:db8::1]:80".into()], ..base.clone() },
        CreateRoute { backends: vec!["[400::1]".into()], ..base.clone() },
        CreateRoute { subdomain: Some("www".into()), ..base.clone() },
        CreateRoute { subdomain: None, ..base.clone() },
        CreateRoute { fqdn: Some("a.b".into()), ..base.clone() },
        CreateRoute { subdomain: None, fqdn: Some("gw.example".into()), ..base.clone() },
    ] {
        assert!(test.domain.create_route(&test.caller("u"), params.clone()).await.is_err(), "{params:?}");
    }
    assert_eq!(test.revision(), revision);
}

#[tokio::test]
async fn suspended_users_can_read_and_cannot_change_anything() {
    let test = TestDomain::new();
    let id = test.create("user1.pub", "app").await.unwrap().route.id;
    let before = test.revision();
    let state = test.suspend("user1.pub", true).await.unwrap();
    assert_eq!((state.suspension.is_some(), state.routes, state.version), (true, 1, before + 1));
    assert_eq!(test.revision(), before + 1);
    assert_eq!(test.suspend("user1.pub", true).await.unwrap().version, before + 1);

    let user = test.caller("user1.pub");
    assert_eq!(test.domain.route(&user, id).await.unwrap().state, RouteState::Suspended);
    assert_eq!(test.list(&user).await.unwrap()[0].state, RouteState::Suspended);
    assert!(matches!(
        test.create("user1.pub", "more").await,
        Err(DomainError::User(UserError::Suspended { .. }))
    ));
    assert!(matches!(
        test.domain.delete_route(&user, deletion(id)).await,
        Err(DomainError::User(UserError::Suspended { .. }))
    ));
    let update = UpdateRoute { options: random_balance(), ..UpdateRoute::new(id) };
    assert!(matches!(
        test.update("user1.pub", update).await,
        Err(DomainError::User(UserError::Suspended { .. }))
    ));

    assert_eq!(test.suspend("user1.pub", false).await.unwrap().suspension, None);
    assert_eq!(test.domain.route(&user, id).await.unwrap().state, RouteState::WaitingForCertificate);
    assert!(test.domain.delete_route(&user, deletion(id)).await.is_ok());
    assert_eq!(test.audited("user/user1.pub".into()).await, 2);
}

#[tokio::test]
async fn only_the_admin_can_suspend_users_and_only_known_ones() {
    let test = TestDomain::new();
    assert!(matches!(test.suspend("nobody.pub", true).await, Err(DomainError::User(UserError::Unknown(_)))));
    assert!(matches!(test.suspend("admin.pub", true).await, Err(DomainError::User(UserError::SuspendAdmin))));
    test.create("user1.pub", "app").await.unwrap();
    let by = test.caller("user1.pub");
    let refused = test.domain.suspend(&by, suspension("user1.pub")).await;
    assert!(matches!(refused, Err(DomainError::AdminOnly)));
    let admin = test.caller("admin.pub");
    test.add_key("new.pub");
    let early = test.domain.suspend(&admin, suspension("new.pub")).await;
    assert!(early.unwrap().suspension.is_some());
    assert!(matches!(test.create("new.pub", "x").await, Err(DomainError::User(UserError::Suspended { .. }))));
}

#[tokio::test]
async fn a_passthrough_route_needs_no_certificate() {
    let test = TestDomain::new();
    let own = test.domain.create_route(&test.caller("u"), passthrough_params("own.example")).await.unwrap();
    assert_eq!(own.state, RouteState::Active);
    assert_eq!(test.create("u", "app").await.unwrap().state, RouteState::WaitingForCertificate);
}

#[tokio::test]
async fn options_can_be_set_kept_changed_and_reset() {
    let test = TestDomain::new();
    let (domain, owner) = (&test.domain, test.caller("user1.pub"));
    let options = RouteOptions::sample();
    let params = CreateRoute { options: options.clone(), ..create_params("app") };
    let made = domain.create_route(&owner, params).await.unwrap().route;
    assert_eq!(*made.destination.options, options);
    let id = made.id;
    let update = |options| UpdateRoute { options, ..UpdateRoute::new(id) };
    let kept = domain.update_route(&owner, update(RouteOptionsPatch::default())).await.unwrap().route;
    assert_eq!((&*kept.destination.options, kept.version), (&options, made.version), "nothing changed");
    let no_health = RouteOptionsPatch { health: Patch::Reset, ..RouteOptionsPatch::default() };
    let none = domain.update_route(&owner, update(no_health)).await.unwrap().route;
    let shown = domain.route(&owner, id).await.unwrap().route;
    assert_eq!(*shown.destination.options, RouteOptions { health: None, ..options.clone() });
    let all = domain.update_route(&owner, update(options.patch_to(&RouteOptions::default()))).await.unwrap();
    assert_eq!(*all.route.destination.options, RouteOptions::default());
    assert!(made.version < none.version && none.version < all.route.version);
    let gone = domain.delete_route(&owner, deletion(id)).await.unwrap().route;
    assert!(gone.version > all.route.version, "the version of the deletion, which a client can wait for");
    let health = Some(HealthCheck::new(Some("/up"), HealthCheck::INTERVAL, 1, 1).unwrap());
    let options = RouteOptions { health, ..RouteOptions::default() };
    let tls = CreateRoute { options, ..passthrough_params("own.example") };
    let refused = domain.create_route(&owner, tls).await;
    assert!(matches!(refused, Err(DomainError::UnsuitableOption(UnsuitableOptionError::HealthPath))));
}
