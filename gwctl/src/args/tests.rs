//! Tests of command lines and the calls that they become.

use std::time::Duration;

use clap::Parser;
use webgateway_proto::api::RouteUpdate;
use webgateway_proto::model::{Balance, HealthCheck, Mode, Patch};

use super::*;
use crate::cli::Cli;

const ID: &str = "01999999-9999-7999-8999-999999999999";

fn parse(line: &str) -> Result<Action, ArgError> {
    let cli = Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
    Action::parse(&cli.global, cli.command)
}

fn call(line: &str) -> Result<Call, ArgError> {
    match parse(&format!("{line} -k user1.priv"))? {
        Action::Signed { call, .. } => Ok(call),
        other => panic!("{other:?}"),
    }
}

#[test]
fn hosts_and_backends_are_normalised() {
    let Ok(Call::Create(create)) = call("gwctl routes create -s MyApp -b [54f:0::1]:8080 -b [400::2]:80")
    else {
        panic!("no create");
    };
    assert_eq!((create.fqdn, create.subdomain.as_deref()), (None, Some("myapp")));
    assert_eq!(create.backends, ["[54f::1]:8080", "[400::2]:80"]);
    assert_eq!((create.options.balance, create.mode), (Balance::RoundRobin, Mode::Terminate));

    let Ok(Call::Create(create)) =
        call("gwctl routes create -f App.Example.ORG. -b [400::1]:443 -m random -t")
    else {
        panic!("no create");
    };
    assert_eq!((create.fqdn.as_deref(), create.subdomain), (Some("app.example.org"), None));
    assert_eq!((create.options.balance, create.mode), (Balance::Random, Mode::Passthrough));
}

#[test]
fn an_update_contains_only_the_given_changes() {
    let Ok(Call::Update(route, update)) = call(&format!("gwctl routes update -r {ID} -t=false")) else {
        panic!("no update");
    };
    assert_eq!(route, RouteSelector::Id(ID.parse().unwrap()));
    assert_eq!(*update, RouteUpdate { mode: Some(Mode::Terminate), ..RouteUpdate::default() });
}

#[test]
fn a_route_is_selected_by_host_or_id_with_or_without_the_flag() {
    let host = || RouteSelector::Host(Host::parse("app.example.org").unwrap());
    for (text, selector) in [
        (ID, RouteSelector::Id(ID.parse().unwrap())),
        ("app.example.org", host()),
        ("App.Example.org.", host()),
        ("https://app.example.org/path?q=1", host()),
    ] {
        for line in [format!("gwctl routes get {text}"), format!("gwctl routes get -r {text}")] {
            let Ok(Call::Get(selected)) = call(&line) else { panic!("{line}") };
            assert_eq!(selected, selector, "{line}");
        }
        let Ok(Call::Delete(selected)) = call(&format!("gwctl routes delete {text}")) else {
            panic!("{text}")
        };
        assert_eq!(selected, selector);
    }
}

#[test]
fn health_checks_are_set_and_reset() {
    let update = |flags: &str| match call(&format!("gwctl routes update -r {ID} {flags}")).unwrap() {
        Call::Update(_, update) => update.options.health,
        other => panic!("{other:?}"),
    };
    assert_eq!(update("-t=false"), Patch::Keep);
    assert_eq!(update("--no-health"), Patch::Reset);
    assert_eq!(update("--reset balance --reset health"), Patch::Reset);
    assert_eq!(update("--health tcp"), Patch::Set(Some(HealthCheck::tcp())));
    let check = HealthCheck::new(Some("/up"), Duration::from_secs(60), 1, 5).unwrap();
    let flags = "--health /up --health-interval 1m --health-rise 1 --health-fall 5";
    assert_eq!(update(flags), Patch::Set(Some(check)));
}

#[test]
fn an_error_names_the_invalid_flag() {
    for (line, flag) in [
        ("gwctl routes create -f a..b -b [400::1]:80", "-f/--fqdn"),
        ("gwctl routes create -f *.x -b [400::1]:80", "-f/--fqdn"),
        ("gwctl routes create -f 10.0.0.1 -b [400::1]:80", "-f/--fqdn"),
        ("gwctl routes create -s a.b -b [400::1]:80", "-s/--subdomain"),
        ("gwctl routes create -s _x -b [400::1]:80", "-s/--subdomain"),
        ("gwctl routes create -s a -b 400::1", "-b/--backend"),
        ("gwctl routes create -s a -b [400::1]:0", "-b/--backend"),
        ("gwctl routes create -s a -b [400::1]:80 -b [400::1]:80", "-b/--backend"),
        ("gwctl routes create -s a -b [400::1]:80 -t", "-t/--tls-pass"),
        ("gwctl routes create -s a -b [400::1]:80 --health healthz", "--health"),
        ("gwctl routes create -s a -b [400::1]:80 --health tcp --health-interval 500ms", "--health-interval"),
        (
            "gwctl routes create -s a -b [400::1]:80 --health tcp --health-fall 11",
            "--health-rise, --health-fall",
        ),
        ("gwctl routes create -f a.b -b [400::1]:80 -t --health /up", "-t/--tls-pass"),
        ("gwctl routes get -r 42", "ROUTE"),
        ("gwctl routes delete -r 00000000-0000-0000-0000-000000000000", "ROUTE"),
        ("gwctl routes update x -t", "ROUTE"),
        ("gwctl routes get a..b", "HOST"),
        ("gwctl routes list -u gateway.example.com", "-u/--url"),
        ("gwctl routes list -i ../admin.pub", "-i/--id"),
        ("gwctl certificates get -c a..b", "-c/--certificate"),
        ("gwctl certificates renew -c *.example.org", "-c/--certificate"),
        ("gwctl admin suspend --user a/b", "USER"),
        ("gwctl admin unsuspend ..", "USER"),
        ("gwctl admin suspend u.pub --until tomorrow", "--until"),
        ("gwctl admin suspend u.pub --for 0s", "--for"),
        ("gwctl admin quota u.pub --mutations some", "--mutations"),
    ] {
        let error = call(line).expect_err(line);
        assert_eq!(error.flag(), flag, "{line}: {error}");
    }
    let nothing = call(&format!("gwctl routes update -r {ID}"));
    assert!(matches!(nothing, Err(ArgError::NoChange)), "{nothing:?}");
}

#[test]
fn the_key_id_is_derived_from_the_key_files_name() {
    let credentials = |id, key: &str| Credentials::parse(id, Some(key.as_ref()));
    assert_eq!(credentials(None, "/keys/user1.priv").unwrap().id.as_str(), "user1.pub");
    assert_eq!(credentials(Some("other.pub"), "/keys/user1.priv").unwrap().id.as_str(), "other.pub");
    assert_eq!(credentials(None, "id_ed25519"), Err(ArgError::IdMissing));
    assert_eq!(credentials(Some("me"), "id_ed25519").unwrap().id.as_str(), "me");
    assert_eq!(Credentials::parse(None, None), Err(ArgError::KeyMissing));
}
