//! Tests of the log: one line for each change, and none for a command without effect.

use std::io::{self, Write};
use std::sync::{LazyLock, Mutex};

use super::*;

/// The log of the whole test binary. It is global because the store logs from a thread of its own.
static LOG: LazyLock<Mutex<Vec<u8>>> = LazyLock::new(|| {
    let filter = tracing_subscriber::filter::LevelFilter::INFO;
    tracing_subscriber::fmt().with_max_level(filter).with_ansi(false).with_writer(|| Capture).init();
    Mutex::default()
});

struct Capture;

impl Write for Capture {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the number of lines that contain both texts.
fn lines(message: &str, name: &str) -> usize {
    let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
    log.lines().filter(|line| line.contains(message) && line.contains(name)).count()
}

#[tokio::test]
async fn a_retry_that_changes_nothing_is_not_logged() {
    LazyLock::force(&LOG);
    let test = TestDomain::new();
    let (domain, owner, admin) = (&test.domain, test.caller("logged.pub"), test.caller("admin.pub"));
    let params = CreateRoute { id: Some(RouteId::generate()), ..create_params("logged") };
    let dry_run = CreateRoute { dry_run: true, ..params.clone() };
    domain.create_route(&owner, dry_run).await.unwrap();
    assert_eq!(lines("route created", "logged.gw.example"), 0, "a dry run is not logged");
    for _ in 0..2 {
        domain.create_route(&owner, params.clone()).await.unwrap();
    }
    let id = params.id.unwrap();
    let update = UpdateRoute { options: random_balance(), ..UpdateRoute::new(id) };
    for _ in 0..2 {
        domain.update_route(&owner, update.clone()).await.unwrap();
    }
    let quota = SetQuota {
        user: "logged.pub".parse().unwrap(),
        routes: Some(Some(webgateway_proto::model::Limit::AtMost(7))),
        backends: None,
        mutations_per_minute: None,
    };
    for _ in 0..2 {
        domain.set_quota(&admin, quota.clone()).await.unwrap();
        domain.suspend(&admin, suspension("logged.pub")).await.unwrap();
    }
    for _ in 0..2 {
        domain.unsuspend(&admin, "logged.pub".parse().unwrap()).await.unwrap();
    }
    for (message, name) in [
        ("route created", "logged.gw.example"),
        ("route updated", "logged.gw.example"),
        ("user quota set", "logged.pub"),
        ("user suspended", "logged.pub"),
        ("user suspension lifted", "logged.pub"),
    ] {
        assert_eq!(lines(message, name), 1, "{message}");
    }
}
