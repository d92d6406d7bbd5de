//! Tests that every key of the predecessor's configuration is converted or has a note.

use serde_json::json;

use super::*;

fn caddy(load: Value) -> String {
    json!({ "admin": { "config": { "load": load } } }).to_string()
}

#[test]
fn every_key_is_converted() {
    let imported = import(&caddy(json!({
        "module": "mycelium",
        "base_domain": "gateway.example.com",
        "public_ip": "192.0.2.10",
        "admin_id": "root.pub",
        "services_storage": { "module": "sqlite", "db_path": "/srv/gw/services.db" },
        "pub_key_store": { "module": "http", "uri": "https://keys.example.com/{id}", "ttl": "1m" },
        "http_port": 80,
        "https_port": 8443,
        "load_delay": "500ms",
        "log_level": "DEBUG",
        "local_acme": "https://localhost:14000/dir",
        "local_acme_root": "pebble.pem",
    })))
    .unwrap();
    let comment = "# Converted by `gwctl import` from the predecessor's configuration.\n";
    let expected = r#"base_domain = "gateway.example.com"
public_ip = ["192.0.2.10"]
admin_id = "root.pub"
log_level = "debug"
load_delay = "500ms"
local_acme = "https://localhost:14000/dir"
local_acme_root = "pebble.pem"

[services_storage]
module = "sqlite"
db_path = "/srv/gw/controlplane.db"

[pub_key_store]
module = "http"
uri = "https://keys.example.com/{id}"
ttl = "60000ms"
"#;
    assert_eq!(imported.controlplane, format!("{comment}{expected}"));
    assert_eq!(imported.dataplane, format!("{comment}https_port = 8443\nhttp_port = 80\n"));
    assert_eq!(imported.notes.len(), 1);
    assert!(imported.notes[0].contains("routes have to be created again"), "{:?}", imported.notes);
}

#[test]
fn keys_without_a_counterpart_have_a_note() {
    let text = json!({
        "apps": { "http": {} },
        "logging": {},
        "admin": { "listen": "localhost:2019", "config": { "persist": false, "load": {
            "module": "mycelium", "base_domain": "gw.example", "load_delay": "60s", "log_level": "PANIC",
            "colour": "green", "services_storage": { "module": "postgres" },
            "pub_key_store": { "module": "http", "uri": "https://k.example/keys" },
        } } },
    });
    let imported = import(&text.to_string()).unwrap();
    for key in [
        "`apps`",
        "`logging`",
        "`admin.listen`",
        "`admin.config.persist`",
        "`colour`",
        "`load_delay`",
        "`log_level`",
        "`services_storage`",
        "`pub_key_store.uri`",
    ] {
        assert_eq!(
            imported.notes.iter().filter(|note| note.starts_with(key)).count(),
            1,
            "{key}: {:?}",
            imported.notes
        );
    }
    assert!(
        imported.controlplane.contains("https://k.example/keys/{id}")
            && !imported.controlplane.contains("load_delay")
    );
}

#[test]
fn an_invalid_value_is_reported_with_its_key() {
    assert!(matches!(import("{"), Err(ImportError::Json(_))));
    assert!(matches!(import("{}"), Err(ImportError::OtherModule)));
    assert!(matches!(import(&caddy(json!({ "module": "http" }))), Err(ImportError::OtherModule)));
    for (key, value) in [
        ("base_domain", json!("-")),
        ("public_ip", json!(["x"])),
        ("admin_id", json!("../x")),
        ("load_delay", json!("soon")),
        ("log_level", json!(1)),
        ("http_port", json!(70_000)),
        ("https_port", json!("443")),
        ("services_storage", json!("x")),
        ("pub_key_store", json!([])),
    ] {
        let error = import(&caddy(json!({ "module": "mycelium", key: value }))).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{key}` is")), "{error}");
    }
}

#[test]
fn durations_are_parsed_as_in_caddy() {
    for (value, expected) in [
        (json!("60s"), 60_000),
        (json!("1m30s"), 90_000),
        (json!("1.5s"), 1_500),
        (json!("250ms"), 250),
        (json!("2h"), 7_200_000),
        (json!("5d"), 432_000_000),
        (json!(20_000_000), 20),
    ] {
        assert_eq!(parse_milliseconds(&value), Some(expected), "{value}");
    }
    for value in [json!(""), json!("soon"), json!("10"), json!("s"), json!(true), json!(-1), json!("1..2s")] {
        assert_eq!(parse_milliseconds(&value), None, "{value}");
    }
}
