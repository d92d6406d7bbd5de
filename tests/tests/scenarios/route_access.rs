//! The networks that a route admits.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, ensure};
use webgateway_tests::authority::Authority;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::Client;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

use crate::setup::full::FullSetup;

scenarios![only_admitted_networks_reach_a_terminated_route, only_admitted_networks_reach_a_passthrough_route];

const SOON: Duration = Duration::from_secs(10);
/// The gateway, reached from any loopback address of IPv4.
const IPV4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 443);

/// The flags, and whether clients at 127.0.0.2 and 127.0.1.2 are admitted.
const ADMITTED: &[(&str, bool, bool)] = &[
    ("--deny 127.0.0.0/24", false, true),
    ("--allow 127.0.0.0/24 --reset deny", true, false),
    ("--allow 127.0.0.0/16 --deny 127.0.1.2", true, false),
    ("--allow 203.0.113.0/24 --allow 127.0.0.2 --reset deny", true, false),
    ("--reset allow --reset deny", true, true),
];

async fn only_admitted_networks_reach_a_terminated_route(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let id = setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    for (flags, near, far) in ADMITTED {
        let update = ["routes", "update", &id].into_iter().chain(flags.split(' ')).chain(["--wait"]);
        let updated = setup.alice.gwctl(update).await?;
        ensure!(updated.code == Some(0), "{updated:?}");
        for is_h2 in [false, true] {
            for (source, is_admitted) in [([127, 0, 0, 2], near), ([127, 0, 1, 2], far)] {
                let client = setup.client()?.at(IPV4).from(source.into());
                let client = if is_h2 { client.h2() } else { client };
                eventually(&format!("`{flags}` applies to {source:?}"), SOON, async || {
                    let reply = client.get("hello.gw.example", "/").await?;
                    if *is_admitted {
                        return reply.expect(200).map(drop);
                    }
                    ensure!(reply.header("proxy-status") == "webgateway; error=http_request_denied");
                    reply.expect(403).map(drop)
                })
                .await?;
            }
        }
    }
    Ok(())
}

async fn only_admitted_networks_reach_a_passthrough_route(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let authority = Authority::new()?;
    let tls = authority.issue(&["pass.example.org"])?.server(&["http/1.1"])?;
    let _backend = Backend::https(overlay(1, 8443), tls).await?;
    let id = setup.alice.create_route("-f pass.example.org -t -b [400::1]:8443").await?;
    for (flags, near, far) in ADMITTED {
        let update = ["routes", "update", &id].into_iter().chain(flags.split(' ')).chain(["--wait"]);
        let updated = setup.alice.gwctl(update).await?;
        ensure!(updated.code == Some(0), "{updated:?}");
        for (source, is_admitted) in [([127, 0, 0, 2], near), ([127, 0, 1, 2], far)] {
            let client = Client::new(IPV4, authority.root())?.from(source.into());
            eventually(&format!("`{flags}` applies to {source:?}"), SOON, async || {
                let got = client.get("pass.example.org", "/").await;
                if *is_admitted {
                    return got?.expect(200).map(drop);
                }
                let Err(error) = got else { anyhow::bail!("{source:?} is admitted") };
                ensure!(format!("{error:#}").contains("AccessDenied"), "{error:#}");
                Ok(())
            })
            .await?;
        }
    }
    Ok(())
}
