//! Hosts that belong to somebody: claims and their proofs, hosts below those of others, reserved labels.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use webgateway_tests::backend::Backend;
use webgateway_tests::controlplane::{Controlplane, ControlplaneConfig};
use webgateway_tests::feed_file::BASE_DOMAIN;
use webgateway_tests::gateway::Gateway;
use webgateway_tests::gwctl::User;
use webgateway_tests::netns::overlay;
use webgateway_tests::resolver::Resolver;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::wait::eventually;

webgateway_tests::scenarios![
    a_host_is_served_once_the_dns_proves_it,
    a_txt_record_takes_a_host_over_and_a_vanished_one_does_not_lose_it,
    the_next_claim_takes_over_when_the_holder_leaves,
    unproven_claims_expire_but_not_in_an_outage,
    hosts_below_those_of_others_need_permission,
    reserved_labels_are_for_the_admin,
    hosts_of_an_earlier_configuration_are_kept,
];

const SHOP: &str = "shop.example.org";
const PROOF: &str = "_webgateway.shop.example.org";
const TIMEOUT: Duration = Duration::from_secs(30);
const GATEWAY_IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const NAME_SERVER: SocketAddr = SocketAddr::new(GATEWAY_IP, 53);

/// Running processes with a resolver, and three users.
struct Setup {
    resolver: Resolver,
    controlplane: Controlplane,
    gateway: Gateway,
    admin: User,
    alice: User,
    bob: User,
}

fn config(resolver: &Resolver, hosts: &str) -> ControlplaneConfig {
    ControlplaneConfig {
        dns: format!("resolver = [\"{}\"]\n", resolver.address()),
        hosts: hosts.to_owned(),
        ..ControlplaneConfig::default()
    }
}

impl Setup {
    async fn start(sandbox: &Sandbox, hosts: &str) -> Result<Self> {
        let resolver = Resolver::start(5353, BASE_DOMAIN, NAME_SERVER).await?;
        resolver.set_addresses(BASE_DOMAIN, &[GATEWAY_IP])?;
        let controlplane = Controlplane::start_on(sandbox, &config(&resolver, hosts)).await?;
        let gateway = Gateway::start(sandbox, &controlplane.gateway_config().await?).await?;
        let user = async |name| User::create(&controlplane, sandbox.dir(), name).await;
        let (admin, alice, bob) = (user("admin").await?, user("alice").await?, user("bob").await?);
        Ok(Self { resolver, controlplane, gateway, admin, alice, bob })
    }

    /// Waits until `routes explain`, which asks the DNS, reports this state of a user's route.
    async fn wait_for_state(&self, user: &User, host: &str, state: &str) -> Result<Value> {
        eventually(&format!("{host} of {} is {state}", user.id()), TIMEOUT, async || {
            let explained = user.gwctl(["routes", "explain", host, "-o", "json"]).await?;
            let explained: Value = serde_json::from_str(&explained.stdout)?;
            ensure!(explained["route"]["state"] == state, "{explained}");
            Ok(explained["route"].clone())
        })
        .await
    }

    /// Waits until a request for the shop reaches this backend.
    async fn wait_for_answer_from(&self, backend: &Backend) -> Result<()> {
        let client = self.gateway.client()?;
        eventually(&format!("{SHOP} leads to {}", backend.address()), TIMEOUT, async || {
            let before = backend.requests();
            client.get(SHOP, "/").await?.expect(200)?;
            ensure!(backend.requests() > before, "another backend answered");
            Ok(())
        })
        .await
    }

    fn name_owners(&self, users: &[&User]) -> Result<()> {
        let text = |user: &&User| format!("gateway={BASE_DOMAIN} key={}", user.id());
        self.resolver.set_texts(PROOF, &users.iter().map(text).collect::<Vec<_>>())
    }
}

async fn a_host_is_served_once_the_dns_proves_it(sandbox: &Sandbox) -> Result<()> {
    let setup = Setup::start(sandbox, "proof = \"dns\"").await?;
    let backend = Backend::http(overlay(1, 8080)).await?;
    let created = setup.alice.gwctl(["routes", "create", "-f", SHOP, "-b", "[400::1]:8080"]).await?;
    let txt = format!("\n  {PROOF}. IN TXT \"gateway={BASE_DOMAIN} key=alice.pub\"");
    let cname = format!("\n  {SHOP}. IN CNAME {BASE_DOMAIN}.");
    ensure!(created.stdout.contains(&cname) && created.stdout.contains(&txt), "{created:?}");
    let unproven = setup.wait_for_state(&setup.alice, SHOP, "unproven").await?;
    let id = unproven["id"].as_str().context("no id")?;
    for args in [vec!["routes", "get", "-r", id], vec!["routes", "explain", SHOP]] {
        let shown = setup.alice.gwctl(&args).await?;
        ensure!(shown.stdout.contains(&cname) && shown.stdout.contains(&txt), "{shown:?}");
        ensure!(shown.stdout.contains("has no address in the DNS"), "{shown:?}");
    }
    ensure!(setup.gateway.client()?.tls(SHOP).await.is_err(), "an unproven host is not served");
    setup.resolver.set_alias(SHOP, BASE_DOMAIN)?;
    setup.wait_for_state(&setup.alice, SHOP, "active").await?;
    setup.wait_for_answer_from(&backend).await
}

async fn a_txt_record_takes_a_host_over_and_a_vanished_one_does_not_lose_it(sandbox: &Sandbox) -> Result<()> {
    let setup = Setup::start(sandbox, "proof = \"dns\"").await?;
    let one = Backend::http(overlay(1, 8080)).await?;
    setup.resolver.set_alias(SHOP, BASE_DOMAIN)?;
    setup.alice.create_route(&format!("-f {SHOP} -b [400::1]:8080")).await?;
    setup.wait_for_state(&setup.alice, SHOP, "active").await?;
    setup.bob.create_route(&format!("-f {SHOP} -t -b [400::2]:8443")).await?;
    setup.wait_for_state(&setup.bob, SHOP, "unproven").await?;
    // A failed lookup of the holder's record, or of any, gives the host to nobody.
    setup.resolver.set_failing(PROOF, true)?;
    let failed = setup.wait_for_state(&setup.bob, SHOP, "unproven").await?;
    ensure!(failed["records"].as_array().is_some_and(|records| !records.is_empty()), "{failed}");
    setup.resolver.set_failing(PROOF, false)?;
    setup.name_owners(&[&setup.alice, &setup.bob])?;
    eventually("the check says that another owner has the host", TIMEOUT, async || {
        let state = setup.wait_for_state(&setup.bob, SHOP, "unproven").await?;
        let reason = state["reason"].as_str().unwrap_or_default();
        ensure!(reason.contains("another owner has the host"), "{reason}");
        Ok(())
    })
    .await?;
    setup.name_owners(&[&setup.bob])?;
    setup.wait_for_state(&setup.bob, SHOP, "active").await?;
    let displaced = setup.wait_for_state(&setup.alice, SHOP, "displaced").await?;
    let reason = displaced["reason"].as_str().unwrap_or_default();
    ensure!(reason.contains("another owner has proven"), "{displaced}");
    for (user, expected) in [(&setup.alice, "claims.displace"), (&setup.bob, "claims.prove")] {
        let log = user.gwctl(["audit", "list"]).await?;
        ensure!(log.stdout.contains(expected), "{log:?}");
    }
    let verified = setup.admin.gwctl(["audit", "verify"]).await?;
    ensure!(verified.code == Some(0), "{verified:?}");
    setup.resolver.remove(PROOF)?;
    setup.resolver.remove(SHOP)?;
    setup.wait_for_state(&setup.alice, SHOP, "displaced").await?;
    setup.wait_for_state(&setup.bob, SHOP, "active").await?;
    setup.name_owners(&[&setup.alice])?;
    setup.wait_for_state(&setup.alice, SHOP, "active").await?;
    setup.wait_for_state(&setup.bob, SHOP, "displaced").await?;
    setup.wait_for_answer_from(&one).await
}

async fn the_next_claim_takes_over_when_the_holder_leaves(sandbox: &Sandbox) -> Result<()> {
    let mut setup = Setup::start(sandbox, "proof = \"dns\"").await?;
    let two = Backend::http(overlay(2, 8080)).await?;
    setup.resolver.set_alias(SHOP, BASE_DOMAIN)?;
    let first = setup.alice.create_route(&format!("-f {SHOP} -b [400::1]:8080")).await?;
    setup.wait_for_state(&setup.alice, SHOP, "active").await?;
    setup.bob.create_route(&format!("-f {SHOP} -b [400::2]:8080")).await?;
    setup.wait_for_state(&setup.bob, SHOP, "unproven").await?;
    // A suspended holder keeps the host.
    setup.admin.json(["admin", "suspend", "alice.pub"]).await?;
    setup.wait_for_state(&setup.bob, SHOP, "unproven").await?;
    setup.admin.json(["admin", "unsuspend", "alice.pub"]).await?;
    // The claims are in the database.
    setup.controlplane.process().kill()?;
    setup.controlplane = Controlplane::start_on(sandbox, &config(&setup.resolver, "proof = \"dns\"")).await?;
    setup.wait_for_state(&setup.bob, SHOP, "unproven").await?;
    let deleted = setup.alice.gwctl(["routes", "delete", "-r", &first]).await?;
    ensure!(deleted.code == Some(0), "{deleted:?}");
    // Without being asked: only the task that checks claims can notice.
    setup.wait_for_answer_from(&two).await?;
    setup.wait_for_state(&setup.bob, SHOP, "active").await.map(drop)
}

async fn unproven_claims_expire_but_not_in_an_outage(sandbox: &Sandbox) -> Result<()> {
    let hosts = "proof = \"dns\"\nclaim_ttl = \"1s\"\nmax_claims = 1";
    let setup = Setup::start(sandbox, hosts).await?;
    setup.resolver.set_failing(PROOF, true)?;
    let id = setup.alice.create_route(&format!("-f {SHOP} -b [400::1]:8080")).await?;
    let second = ["routes", "create", "-f", "other.example.org", "-b", "[400::1]:8080"];
    let refused = setup.alice.gwctl(second).await?;
    ensure!(refused.stderr.contains("1 of 1 hosts that are not proven"), "{refused:?}");
    eventually("the claim is over its time and was checked", TIMEOUT, async || {
        let route = setup.wait_for_state(&setup.alice, SHOP, "unproven").await?;
        let reason = route["reason"].as_str().unwrap_or_default();
        ensure!(reason.contains("the DNS did not say"), "{reason}");
        let expiry = reason.rsplit_once("expires on ").context("no expiry")?.1;
        let expiry = time::OffsetDateTime::parse(expiry, &time::format_description::well_known::Rfc3339)?;
        ensure!(expiry.unix_timestamp() + 3 < webgateway_tests::clock::now(), "{expiry}");
        Ok(())
    })
    .await?;
    setup.resolver.set_failing(PROOF, false)?;
    eventually("the claim has expired", TIMEOUT, async || {
        let gone = setup.alice.gwctl(["routes", "get", "-r", &id]).await?;
        ensure!(gone.code != Some(0), "{gone:?}");
        Ok(())
    })
    .await?;
    let log = setup.alice.gwctl(["audit", "list"]).await?;
    ensure!(log.stdout.contains("claims.expire"), "{log:?}");
    let again = setup.alice.gwctl(second).await?;
    ensure!(again.code == Some(0), "{again:?}");
    Ok(())
}

async fn hosts_below_those_of_others_need_permission(sandbox: &Sandbox) -> Result<()> {
    let setup = Setup::start(sandbox, "proof = \"dns\"").await?;
    let app = setup.alice.create_route("-s app -b [400::1]:8080").await?;
    setup.resolver.set_alias(SHOP, BASE_DOMAIN)?;
    setup.alice.create_route(&format!("-f {SHOP} -b [400::1]:8080")).await?;
    setup.wait_for_state(&setup.alice, SHOP, "active").await?;
    let create =
        async |host: &str| setup.bob.gwctl(["routes", "create", "-f", host, "-b", "[400::2]:8080"]).await;
    let refused = create("b.app.gw.example").await?;
    ensure!(refused.stderr.contains("below `app.gw.example`, which belongs to another owner"), "{refused:?}");
    ensure!(
        refused.stderr.contains("subdomain_owners") || refused.stderr.contains("--subdomain-owners"),
        "{refused:?}"
    );
    let allow = ["routes", "update", "-r", &app, "--subdomain-owners", "bob.pub"];
    let allowed = setup.alice.gwctl(allow).await?;
    ensure!(allowed.code == Some(0), "{allowed:?}");
    let created = create("b.app.gw.example").await?;
    ensure!(created.code == Some(0), "{created:?}");
    let deep = format!("b.{SHOP}");
    let refused = create(&deep).await?;
    let record = format!("_webgateway.{deep}. IN TXT \"gateway={BASE_DOMAIN} key=bob.pub\"");
    ensure!(refused.stderr.contains(&record), "{refused:?}");
    let text = format!("gateway={BASE_DOMAIN} key=bob.pub");
    setup.resolver.set_texts(&format!("_webgateway.{deep}"), &[text])?;
    let created = create(&deep).await?;
    ensure!(created.code == Some(0), "{created:?}");
    setup.wait_for_state(&setup.bob, &deep, "active").await.map(drop)
}

async fn reserved_labels_are_for_the_admin(sandbox: &Sandbox) -> Result<()> {
    let setup = Setup::start(sandbox, "proof = \"dns\"").await?;
    let create = async |user: &User, label: &str| {
        user.gwctl(["routes", "create", "-s", label, "-b", "[400::1]:8080"]).await
    };
    for label in
        ["www", "WWW", "ｗｗｗ", "mail", "autodiscover", "autoconfig", "wpad", "mta-sts", "admin", "ns1"]
    {
        let refused = create(&setup.alice, label).await?;
        ensure!(refused.stderr.contains("reserved for the operator"), "{label}: {refused:?}");
    }
    for label in ["_dmarc", "_acme-challenge", "_webgateway"] {
        ensure!(create(&setup.alice, label).await?.code != Some(0), "{label}");
    }
    let created = create(&setup.admin, "www").await?;
    ensure!(created.code == Some(0), "{created:?}");
    Ok(())
}

async fn hosts_of_an_earlier_configuration_are_kept(sandbox: &Sandbox) -> Result<()> {
    let mut setup = Setup::start(sandbox, "proof = \"none\"\nreserved = []").await?;
    let backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route(&format!("-f {SHOP} -b [400::1]:8080")).await?;
    setup.alice.create_route("-s www -b [400::1]:8080").await?;
    setup.wait_for_answer_from(&backend).await?;
    setup.controlplane.process().kill()?;
    setup.controlplane = Controlplane::start_on(sandbox, &config(&setup.resolver, "proof = \"dns\"")).await?;
    for host in [SHOP, "www.gw.example"] {
        setup.wait_for_state(&setup.alice, host, "active").await?;
    }
    setup.wait_for_answer_from(&backend).await?;
    let refused = setup.bob.gwctl(["routes", "create", "-s", "mail", "-b", "[400::1]:8080"]).await?;
    ensure!(refused.stderr.contains("reserved for the operator"), "{refused:?}");
    Ok(())
}
