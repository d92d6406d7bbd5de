//! Generates the OpenRPC 1.3 document from the method table.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use webgateway_proto::api::jsonrpc::code;

use super::errors::ErrorKind;
use super::methods::{Example, MethodEntry, TABLE};

const ABOUT: &str = "Manages the routes, certificates, users and nodes of a webgateway. \
    Requests are signed with HTTP Message Signatures (RFC 9421; ed25519, rsa-pss-sha512 or rsa-v1_5-sha256); only \
    methods tagged `unsigned` need no signature. A signature covers `@method`, the target (`@target-uri`, or \
    `@authority` with `@path`) and `content-digest` (RFC 9530). Its parameter `created` differs from the gateway's \
    clock by at most 300 s, and `keyid` is the name of the key. A method tagged `nonce` also needs a `nonce` that was \
    not used before. The `data` of an error has a stable `kind`, and often a `field` and a `hint`. The `errors` of a \
    method list each code once, with the `data` of one such error; its `x-errors` list all of its errors. The \
    `x-errors` of the document list the errors that any request may have before a method is called.";

/// The descriptions of the error codes.
const CODES: [(i64, &str); 11] = [
    (code::PARSE_ERROR, "The body is not JSON"),
    (code::INVALID_REQUEST, "The request is not a valid JSON-RPC call"),
    (code::METHOD_NOT_FOUND, "The method does not exist"),
    (code::INVALID_PARAMS, "The params are invalid"),
    (code::INTERNAL_ERROR, "Internal error of the gateway"),
    (code::UNAUTHENTICATED, "The request has no valid signature"),
    (code::FORBIDDEN, "The caller is not allowed to do this"),
    (code::NOT_FOUND, "The object does not exist, or belongs to another user"),
    (code::CONFLICT, "The call conflicts with the current state"),
    (code::TOO_LARGE, "The request is too large"),
    (code::UNAVAILABLE, "The gateway cannot run the call now"),
];

/// Returns the document, which is the same for every gateway.
#[must_use]
pub(crate) fn document() -> Value {
    // The schemas of params are those of deserialization, the schemas of results those of serialization. A type that
    // is used in both has the former, in which fields with a default are optional.
    let settings = || {
        SchemaSettings::draft07().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
    };
    let mut params = settings().into_generator();
    let mut results = settings().for_serialize().into_generator();
    let methods: Vec<Value> = TABLE.iter().map(|entry| method(entry, &mut params, &mut results)).collect();
    let mut schemas: Map<String, Value> = results.take_definitions(true);
    schemas.extend(params.take_definitions(true));
    let errors: Map<String, Value> =
        ErrorKind::ALL.iter().map(|kind| (kind.as_str().to_owned(), example_error(*kind))).collect();
    let any_request = ErrorKind::ANY_REQUEST.iter().chain(ErrorKind::SIGNED_REQUEST).copied();
    let mut document = json!({
        "openrpc": "1.3.2",
        "info": {
            "title": "webgateway",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0" },
        },
        "servers": [
            { "name": "gateway", "url": "https://${base_domain}/rpc",
              "variables": { "base_domain": { "default": "gateway.example.com" } } },
            { "name": "local", "url": "http://localhost:8080/rpc" },
        ],
        "methods": methods,
        "x-errors": any_request.map(reference).collect::<Vec<_>>(),
        "components": { "schemas": schemas, "errors": errors },
    });
    // The order must not depend on the map type that serde_json is built with.
    document.sort_all_objects();
    document
}

fn method(entry: &MethodEntry, params: &mut SchemaGenerator, results: &mut SchemaGenerator) -> Value {
    let mut tags = Vec::new();
    if !entry.signed {
        tags.push(json!({ "name": "unsigned" }));
    }
    if entry.mutates {
        tags.push(json!({ "name": "nonce" }));
    }
    let (result, examples) = ((entry.result)(results), (entry.examples)());
    let params = content_descriptors((entry.params)(params).as_value(), &examples);
    let pairings: Vec<Value> = examples.iter().map(|example| example_pairing(example, &params)).collect();
    let before = entry.signed.then_some(ErrorKind::Unsigned);
    json!({
        "name": entry.name,
        "summary": entry.summary,
        "description": entry.description,
        "tags": tags,
        "paramStructure": "by-name",
        "params": params,
        "result": { "name": "result", "schema": result },
        "errors": errors_by_code(before.into_iter().chain(entry.errors())),
        "x-errors": entry.errors().map(reference).collect::<Vec<_>>(),
        "examples": pairings,
    })
}

/// Returns an error of this kind as JSON.
fn example_error(kind: ErrorKind) -> Value {
    serde_json::to_value(kind.example()).unwrap_or_default()
}

fn reference(kind: ErrorKind) -> Value {
    json!({ "$ref": format!("#/components/errors/{}", kind.as_str()) })
}

/// Returns one error per code, as the specification requires: the description of the code and the `data` of the first
/// kind with it.
fn errors_by_code(kinds: impl Iterator<Item = ErrorKind>) -> Vec<Value> {
    let mut errors: Vec<Value> = Vec::new();
    for kind in kinds {
        let code = kind.code();
        let description = CODES.iter().find(|(one, _)| *one == code);
        if let Some((_, description)) =
            description.filter(|_| errors.iter().all(|error| error["code"] != code))
        {
            errors.push(json!({ "code": code, "message": description, "data": example_error(kind)["data"] }));
        }
    }
    errors
}

/// Returns an example pairing object, with the params in the order of the method's.
fn example_pairing(example: &Example, params: &[Value]) -> Value {
    let pair_value = |param: &Value| {
        let value = example.params.get(param["name"].as_str()?)?;
        Some(json!({ "name": param["name"], "value": value }))
    };
    let params: Vec<Value> = params.iter().filter_map(pair_value).collect();
    json!({ "name": example.name, "params": params, "result": { "name": "result", "value": example.result } })
}

/// Returns a content descriptor for each field of the params, required ones first. Its schema lists the values that the
/// field has in the examples.
fn content_descriptors(schema: &Value, examples: &[Example]) -> Vec<Value> {
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    let required = |name: &str| {
        schema["required"].as_array().is_some_and(|names| names.iter().any(|required| required == name))
    };
    let mut all: Vec<Value> = properties
        .iter()
        .map(|(name, schema)| {
            // In draft 07, keywords beside a `$ref` are ignored.
            let mut schema = match schema.get("$ref") {
                Some(_) => json!({ "allOf": [schema] }),
                None => schema.clone(),
            };
            let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
            schema["examples"] = example_values(name, examples);
            json!({ "name": name, "description": description, "required": required(name), "schema": schema })
        })
        .collect();
    all.sort_by_key(|one| (one["required"] != true, one["name"].as_str().unwrap_or_default().to_owned()));
    all
}

/// Returns the values that the param `name` has in the examples, without duplicates.
fn example_values(name: &str, examples: &[Example]) -> Value {
    let mut values: Vec<Value> = Vec::new();
    for value in examples.iter().filter_map(|example| example.params.get(name)) {
        if !values.contains(value) {
            values.push(value.clone());
        }
    }
    values.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use webgateway_proto::model::RouteOptions;

    use super::*;

    /// Compares the file with the document. `UPDATE=1 cargo test -p webgateway-controlplane openrpc` writes it.
    #[test]
    fn the_checked_in_document_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openrpc.json");
        let generated = serde_json::to_string_pretty(&document()).unwrap() + "\n";
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &generated).unwrap();
        }
        let checked_in = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            checked_in == generated,
            "openrpc.json is out of date: run `UPDATE=1 cargo test -p webgateway-controlplane openrpc`"
        );
    }

    #[test]
    fn every_reference_has_a_target() {
        fn walk<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(map) => {
                    found.extend(map.get("$ref").and_then(Value::as_str));
                    map.values().for_each(|value| walk(value, found));
                }
                Value::Array(list) => list.iter().for_each(|value| walk(value, found)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        walk(&document, &mut found);
        assert!(found.len() > 10);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn methods_params_results_and_errors_have_descriptions_and_examples() {
        let document = document();
        let list = |value: &Value, name: &str| value[name].as_array().unwrap().clone();
        let is_described = |value: &Value| value.as_str().is_some_and(|text| text.len() > 10);
        for method in list(&document, "methods") {
            let name = &method["name"];
            assert!(is_described(&method["summary"]) && is_described(&method["description"]), "{name}");
            for param in list(&method, "params") {
                assert!(is_described(&param["description"]), "{name}: {param}");
                assert!(!list(&param["schema"], "examples").is_empty(), "{name}: no example has {param}");
            }
            let examples = list(&method, "examples");
            assert!(
                !examples.is_empty() && examples.iter().all(|one| !one["result"]["value"].is_null()),
                "{name}"
            );
            let errors = list(&method, "errors");
            let codes: BTreeSet<i64> = errors.iter().map(|error| error["code"].as_i64().unwrap()).collect();
            assert_eq!(codes.len(), errors.len(), "{name}: codes are unique");
            assert!(
                errors
                    .iter()
                    .all(|error| is_described(&error["message"]) && error["data"]["kind"].is_string())
            );
            for error in list(&method, "x-errors") {
                let named = document.pointer(&error["$ref"].as_str().unwrap()[1..]).unwrap();
                assert!(codes.contains(&named["code"].as_i64().unwrap()), "{name}: {error}");
            }
        }
        for (name, error) in document["components"]["errors"].as_object().unwrap() {
            assert_eq!(error["data"]["kind"], *name);
        }
    }

    #[test]
    fn every_param_has_one_descriptor() {
        let document = document();
        let create = &document["methods"][0];
        assert_eq!(create["name"], "routes.create");
        let names: Vec<_> = create["params"].as_array().unwrap().iter().map(|p| &p["name"]).collect();
        assert_eq!(names[0], "backends");
        assert_eq!(names.len(), 6 + RouteOptions::NAMES.len());
        assert_eq!(create["params"][0]["required"], true);
    }
}
