//! Options in JSON, their patches, and their words.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::model::Prefixes;
use crate::model::words::Words;

/// Options that are flattened into a strict object, as in the API, the manifest, the feed file and the store.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Flattened<T> {
    #[serde(flatten)]
    options: T,
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value::<Flattened<T>>(value).map(|flat| flat.options).map_err(|error| error.to_string())
}

#[test]
fn the_sample_differs_from_the_default_in_every_option() {
    assert_eq!(RouteOptions::sample().non_defaults(), RouteOptions::NAMES);
    assert!(RouteOptions::default().non_defaults().is_empty());
}

#[test]
fn options_survive_the_round_trip_through_json() {
    for options in [RouteOptions::default(), RouteOptions::sample()] {
        let json = serde_json::to_value(&options).unwrap();
        assert_eq!(read(json), Ok(options));
    }
    assert_eq!(read(json!({})), Ok(RouteOptions::default()));
    assert_eq!(serde_json::to_value(RouteOptions::default()).unwrap(), json!({ "balance": "round_robin" }));
}

#[test]
fn an_unknown_option_or_value_is_rejected_by_name() {
    for (text, word) in [
        (json!({ "balnace": "random" }), "`balnace`"),
        (json!({ "balance": "fair" }), "`fair`"),
        (json!({ "health": { "intervall": 1 } }), "`intervall`"),
        (json!({ "health": { "rise": 0 } }), "rise and fall"),
        (json!({ "health": ["/up"] }), "sequence"),
    ] {
        let error = read::<RouteOptions>(text.clone()).unwrap_err();
        assert!(error.contains(word), "{text}: {error}");
    }
}

#[test]
fn a_patch_keeps_resets_or_sets_each_option() {
    let (default, sample) = (RouteOptions::default(), RouteOptions::sample());
    let everything: RouteOptionsPatch = read(serde_json::to_value(&sample).unwrap()).unwrap();
    assert_eq!(default.patched(everything.clone()), sample);
    assert_eq!(default.patch_to(&sample), everything);
    assert_eq!(sample.patched(read(json!({})).unwrap()), sample);

    let nulls: serde_json::Map<String, Value> =
        RouteOptions::NAMES.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
    let reset: RouteOptionsPatch = read(nulls.clone().into()).unwrap();
    assert_eq!(sample.patched(reset.clone()), default);
    assert_eq!(sample.patch_to(&default), reset);
    assert_eq!(serde_json::to_value(&reset).unwrap(), Value::Object(nulls));
    assert_eq!(serde_json::to_value(sample.patch_to(&sample)).unwrap(), json!({}));

    let mut by_name = RouteOptionsPatch::default();
    assert!(RouteOptions::NAMES.iter().all(|name| by_name.reset(name)) && !by_name.reset("colour"));
    assert_eq!(by_name, reset);
}

#[test]
fn default_options_are_shared() {
    assert!(Arc::ptr_eq(&RouteOptions::default().share(), &RouteOptions::default().share()));
    assert_eq!(*RouteOptions::sample().share(), RouteOptions::sample());
}

#[test]
fn words_are_case_sensitive() {
    for word in Balance::ALL {
        assert_eq!(Balance::parse(word.as_str()), Ok(*word));
        assert_eq!(serde_json::to_value(word).unwrap(), json!(word.as_str()));
        assert!(word.meaning().ends_with('.'), "{}", word.meaning());
    }
    assert_eq!(
        Balance::parse("Random").unwrap_err().to_string(),
        "`Random` is not one of round_robin, random, least_connections, client_hash"
    );
}

#[test]
fn a_passthrough_route_allows_no_health_check_with_a_path() {
    let health = HealthCheck::new(Some("/up"), HealthCheck::INTERVAL, 1, 1).unwrap();
    let with = |health| RouteOptions { health, ..RouteOptions::default() };
    assert_eq!(
        with(Some(health.clone())).check_fits(Mode::Passthrough),
        Err(UnsuitableOptionError::HealthPath)
    );
    assert_eq!(with(Some(health)).check_fits(Mode::Terminate), Ok(()));
    assert_eq!(with(Some(HealthCheck::tcp())).check_fits(Mode::Passthrough), Ok(()));
}

#[test]
fn a_passthrough_route_allows_no_option_that_concerns_http() {
    let options = RouteOptions { host_header: HostHeader::Backend, ..RouteOptions::default() };
    assert_eq!(options.check_fits(Mode::Terminate), Ok(()));
    let refused = options.check_fits(Mode::Passthrough).unwrap_err();
    assert_eq!(refused, UnsuitableOptionError::TerminatedOnly("host_header"));
    assert_eq!(refused.option(), "host_header");
    for (options, name) in [
        (json!({ "sticky": {} }), "sticky"),
        (json!({ "retries": { "attempts": 2 } }), "retries"),
        (json!({ "max_body": 1 }), "max_body"),
        (json!({ "timeouts": { "connect": 1, "first_byte": 1 } }), "timeouts.first_byte"),
        (json!({ "timeouts": { "idle": 1, "total": 1 } }), "timeouts.total"),
    ] {
        let options: RouteOptions = read(options).unwrap();
        assert_eq!(options.check_fits(Mode::Terminate), Ok(()));
        let refused = options.check_fits(Mode::Passthrough).unwrap_err();
        assert_eq!((refused.option(), refused), (name, UnsuitableOptionError::TerminatedOnly(name)));
    }
    let tcp = json!({ "timeouts": { "connect": 1, "idle": 1 }, "balance": "client_hash", "weights": {} });
    assert_eq!(read::<RouteOptions>(tcp).unwrap().check_fits(Mode::Passthrough), Ok(()));
}

#[test]
fn weights_belong_to_backends_of_which_one_serves() {
    let backends = Backends::parse(&["[400::1]:80", "[400::2]:80"], &Prefixes::default()).unwrap();
    for (weights, refused) in [
        (json!({}), None),
        (json!({ "[400::1]:80": 0 }), None),
        (json!({ "[400::1]:80": 0, "[400::2]:80": 256 }), None),
        (json!({ "[400::1]:80": 0, "[400::2]:80": 0 }), Some("every backend")),
        (json!({ "[400::3]:80": 1 }), Some("[400::3]:80")),
        (json!({ "[400::1]:81": 2 }), Some("[400::1]:81")),
    ] {
        let options: RouteOptions = read(json!({ "weights": weights })).unwrap();
        match (options.check_weights(&backends), refused) {
            (Ok(()), None) => {}
            (Err(error), Some(word)) => {
                assert!(error.to_string().contains(word) && error.option() == "weights", "{error}");
            }
            (other, _) => panic!("{weights}: {other:?}"),
        }
    }
}

#[test]
fn every_option_is_described() {
    let described = RouteOptions::sample().describe();
    assert_eq!(described[0], ("balance", "random".to_owned()));
    assert_eq!(
        described.iter().find(|(name, _)| *name == "health").cloned().unwrap(),
        ("health", "GET /healthz every 10 s, out after 3 bad, back after 2 good".to_owned())
    );
    assert!(RouteOptions::default().describe().contains(&("health", "none".to_owned())));
    assert_eq!(described.len(), RouteOptions::NAMES.len());
}

#[test]
fn deny_takes_precedence_over_allow() {
    let none = Networks::default;
    let office = || Networks::sample(&["203.0.113.0/24"]);
    let desk = || Networks::sample(&["203.0.113.7/32"]);
    for (allow, deny, at_the_desk, in_the_office, elsewhere) in [
        (none(), none(), true, true, true),
        (office(), none(), true, true, false),
        (none(), office(), false, false, true),
        (office(), desk(), false, true, false),
        (desk(), office(), false, false, false),
    ] {
        let options = RouteOptions { allow, deny, ..RouteOptions::default() };
        let admits = |client: &str| options.admits(client.parse().unwrap());
        let admitted = (admits("203.0.113.7"), admits("203.0.113.8"), admits("198.51.100.1"));
        assert_eq!(admitted, (at_the_desk, in_the_office, elsewhere), "{options:?}");
    }
}
