//! The OpenRPC 1.3 document, made from the table that dispatches.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use webgateway_proto::api::jsonrpc::code;

use super::methods::{Entry, TABLE};

const ABOUT: &str = "Routes of a webgateway: one host and where it goes. Requests are signed with HTTP Message \
    Signatures (RFC 9421; ed25519, rsa-pss-sha512 or rsa-v1_5-sha256), except for methods tagged `unsigned`: covered are `@method`, the target \
    (`@target-uri`, or `@authority` with `@path`) and `content-digest` (RFC 9530); `created` is within 300 s, \
    `keyid` names the key, and a method tagged `nonce` needs a `nonce` that was not used before. \
    The `data` of an error has `kind` (a stable word), `field` and `hint`.";

const ERRORS: [(&str, i64, &str); 6] = [
    ("InvalidParams", code::INVALID_PARAMS, "The params do not fit the method"),
    ("InternalError", code::INTERNAL_ERROR, "The gateway's fault"),
    ("Forbidden", code::FORBIDDEN, "The caller may not do that"),
    ("NotFound", code::NOT_FOUND, "There is no such thing, or not for this caller"),
    ("Conflict", code::CONFLICT, "It clashes with what is there"),
    ("Unavailable", code::UNAVAILABLE, "Not now"),
];

/// The document, the same for every gateway.
#[must_use]
pub fn document() -> Value {
    // Params and results are one schema each in the two directions; a type in both is the same in both.
    let settings = || {
        SchemaSettings::draft07().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
    };
    let mut params = settings().into_generator();
    let mut results = settings().for_serialize().into_generator();
    let methods: Vec<Value> = TABLE.iter().map(|entry| method(entry, &mut params, &mut results)).collect();
    let mut schemas: Map<String, Value> = params.take_definitions(true);
    schemas.extend(results.take_definitions(true));
    let errors: Map<String, Value> = ERRORS
        .iter()
        .map(|(name, code, message)| ((*name).to_owned(), json!({ "code": code, "message": message })))
        .collect();
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
        "components": { "schemas": schemas, "errors": errors },
    });
    // The same whichever map serde_json was built with.
    document.sort_all_objects();
    document
}

fn method(entry: &Entry, params: &mut SchemaGenerator, results: &mut SchemaGenerator) -> Value {
    let mut tags = Vec::new();
    if !entry.signed {
        tags.push(json!({ "name": "unsigned" }));
    }
    if entry.mutates {
        tags.push(json!({ "name": "nonce" }));
    }
    let mut errors: Vec<&str> = vec!["InvalidParams", "InternalError", "Unavailable"];
    if entry.signed {
        errors.extend(["Forbidden", "NotFound", "Conflict"]);
    }
    let errors: Vec<Value> =
        errors.iter().map(|name| json!({ "$ref": format!("#/components/errors/{name}") })).collect();
    let result = (entry.result)(results);
    json!({
        "name": entry.name,
        "summary": entry.summary,
        "tags": tags,
        "paramStructure": "by-name",
        "params": descriptors((entry.params)(params).as_value()),
        "result": { "name": "result", "schema": result },
        "errors": errors,
    })
}

/// One content descriptor per field of the params' object schema, required ones first.
fn descriptors(schema: &Value) -> Vec<Value> {
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    let required = |name: &str| {
        schema["required"].as_array().is_some_and(|names| names.iter().any(|required| required == name))
    };
    let mut all: Vec<Value> = properties
        .iter()
        .map(|(name, schema)| {
            let mut schema = schema.clone();
            let summary = schema.as_object_mut().and_then(|schema| schema.remove("description"));
            json!({ "name": name, "summary": summary, "required": required(name), "schema": schema })
        })
        .collect();
    all.sort_by_key(|one| (one["required"] != true, one["name"].as_str().unwrap_or_default().to_owned()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE=1 cargo test -p webgateway-controlplane openrpc` writes the file anew.
    #[test]
    fn the_document_checked_in_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openrpc.json");
        let made = serde_json::to_string_pretty(&document()).unwrap() + "\n";
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &made).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == made,
            "openrpc.json is not what the methods are: run `UPDATE=1 cargo test -p webgateway-controlplane openrpc`"
        );
    }

    #[test]
    fn every_reference_leads_somewhere() {
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
    fn params_have_one_descriptor_each() {
        let document = document();
        let create = &document["methods"][0];
        assert_eq!(create["name"], "routes.create");
        let names: Vec<_> = create["params"].as_array().unwrap().iter().map(|p| &p["name"]).collect();
        assert_eq!(names[0], "backends");
        assert_eq!(names.len(), 7);
        assert_eq!(create["params"][0]["required"], true);
    }
}
