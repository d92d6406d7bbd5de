//! Tests of `gwctl routes list --watch` that end with an error at the beginning.

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::program::{Program, RunOutput};

fn watch(result: Value) -> RunOutput {
    Program::new().call(&Gateway::with_result(result).url(), &["routes", "list", "-w"])
}

#[test]
fn too_many_routes_are_an_error() {
    let routes: Vec<Value> = (0..=10_000).map(|id| json!({ "id": id.to_string() })).collect();
    let output = watch(json!({ "routes": routes, "version": 7 }));
    assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{}", output.stderr);
    assert!(output.stderr.contains("-w/--watch: there are more than 10000 routes"), "{}", output.stderr);
    assert!(output.stderr.contains("--owner, --host or --mode"), "{}", output.stderr);
}

#[test]
fn a_gateway_that_is_too_old_is_an_error() {
    let output = watch(json!({ "routes": [] }));
    assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{}", output.stderr);
    assert!(output.stderr.contains("too old for --watch"), "{}", output.stderr);
}
