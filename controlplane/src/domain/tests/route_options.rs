//! Tests of the rules about route options: weights, and the operator's bounds.

use webgateway_proto::model::options::{Timeouts, Weights};

use super::*;

#[tokio::test]
async fn a_weight_goes_with_its_backend() {
    let test = TestDomain::new();
    let owner = test.caller("user1.pub");
    let weights = |of: &[(&str, u64)]| {
        Weights::new(of.iter().map(|(backend, weight)| (backend.parse().unwrap(), *weight))).unwrap()
    };
    let [one, two, three] = ["[400::1]:80", "[400::2]:80", "[400::3]:80"];
    let options = RouteOptions { weights: weights(&[(one, 3), (two, 0)]), ..RouteOptions::default() };
    let backends = vec![one.to_owned(), two.to_owned()];
    let params = CreateRoute { backends, options: options.clone(), ..create_params("app") };
    let id = test.domain.create_route(&owner, params.clone()).await.unwrap().route.id;
    let update = |backends: &[&str], weights: Patch<Weights>| UpdateRoute {
        backends: (!backends.is_empty()).then(|| backends.iter().map(|b| (*b).to_owned()).collect()),
        options: RouteOptionsPatch { weights, ..RouteOptionsPatch::default() },
        ..UpdateRoute::new(id)
    };
    for (backends, patch, expected) in [
        (&[one, three][..], Patch::Keep, Ok(&[(one, 3)][..])),
        (&[], Patch::Set(weights(&[(three, 7), (one, 0)])), Ok(&[(one, 0), (three, 7)])),
        (
            &[],
            Patch::Set(weights(&[(two, 1)])),
            Err(UnsuitableOptionError::UnknownWeight(two.parse().unwrap())),
        ),
        (&[], Patch::Set(weights(&[(one, 0), (three, 0)])), Err(UnsuitableOptionError::AllDrained)),
        (&[one], Patch::Keep, Err(UnsuitableOptionError::AllDrained)),
        (&[two], Patch::Set(weights(&[(two, 5)])), Ok(&[(two, 5)])),
        (&[one], Patch::Reset, Ok(&[])),
    ] {
        let updated = test.domain.update_route(&owner, update(backends, patch.clone())).await;
        match (updated, expected) {
            (Ok(status), Ok(expected)) => {
                assert_eq!(
                    status.route.destination.options.weights,
                    weights(expected),
                    "{backends:?} {patch:?}"
                );
            }
            (Err(DomainError::UnsuitableOption(error)), Err(expected)) => assert_eq!(error, expected),
            (other, _) => panic!("{backends:?} {patch:?}: {other:?}"),
        }
    }
    let create = CreateRoute { backends: vec![one.to_owned()], ..params };
    let refused =
        test.domain.create_route(&owner, CreateRoute { subdomain: Some("b".into()), ..create }).await;
    assert!(matches!(refused, Err(DomainError::UnsuitableOption(UnsuitableOptionError::UnknownWeight(_)))));
}

#[tokio::test]
async fn a_new_value_above_a_bound_is_refused_and_an_old_one_stays() {
    let mut test = TestDomain::new();
    let owner = test.caller("user1.pub");
    let timeouts =
        |seconds: f64| Timeouts { total: Some(seconds.try_into().unwrap()), ..Timeouts::default() };
    let with = |seconds| RouteOptions { timeouts: timeouts(seconds), ..RouteOptions::default() };
    let params = CreateRoute { options: with(100.0), ..create_params("app") };
    let id = test.domain.create_route(&owner, params.clone()).await.unwrap().route.id;
    test.domain.route_limits.max_timeout = 60.0.try_into().unwrap();
    let refused = test.domain.create_route(&owner, CreateRoute { id: None, ..params }).await;
    let Err(DomainError::RouteLimit(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(error.to_string(), "`timeouts.total` is above the operator's limit of 60 s");
    let update = |options: RouteOptions| UpdateRoute {
        options: with(100.0).patch_to(&options),
        ..UpdateRoute::new(id)
    };
    let kept = RouteOptions { balance: Balance::Random, ..with(100.0) };
    assert!(test.domain.update_route(&owner, update(kept)).await.is_ok());
    let refused = test.domain.update_route(&owner, update(with(61.0))).await;
    assert!(matches!(refused, Err(DomainError::RouteLimit(_))), "{refused:?}");
    assert!(test.domain.update_route(&owner, update(with(60.0))).await.is_ok());
}
