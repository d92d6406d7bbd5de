//! The conversion of the configuration of the predecessor, a Caddy with the `mycelium` module.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Map, Value};
use thiserror::Error;
use toml_edit::{Array, DocumentMut, Table};
use webgateway_proto::model::{Host, KeyId};

/// The maximum `load_delay`, in milliseconds. It is the time for which changes are collected before they are published;
/// the predecessor's `load_delay` was the interval at which it polled its store.
const MAX_LOAD_DELAY_MS: u128 = 10_000;

/// The two configuration files, and notes for the operator.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ImportedFiles {
    /// The text of `controlplane.toml`.
    pub(crate) controlplane: String,
    /// The text of `dataplane.toml`.
    pub(crate) dataplane: String,
    /// The notes on keys that were omitted or changed. Each starts with the key.
    pub(crate) notes: Vec<String>,
}

/// The text is not a valid configuration of the predecessor.
#[derive(Debug, Error)]
pub(crate) enum ImportError {
    /// The text is not JSON.
    #[error("the file is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The configuration does not use the module `mycelium`.
    #[error(
        "`admin.config.load.module` is not \"mycelium\": this Caddy configuration does not use the module"
    )]
    OtherModule,
    /// A value is invalid.
    #[error("`{key}` is {found}, but must be {expected}")]
    Value { key: &'static str, found: String, expected: &'static str },
}

/// Converts the predecessor's JSON.
pub(crate) fn import(text: &str) -> Result<ImportedFiles, ImportError> {
    let root: Value = serde_json::from_str(text)?;
    let load = root.pointer("/admin/config/load").and_then(Value::as_object);
    let load = load.filter(|load| load.get("module").is_some_and(|module| module == "mycelium"));
    let mut reader =
        ConfigReader { unread: load.ok_or(ImportError::OtherModule)?.clone(), notes: Vec::new() };
    reader.unread.remove("module");
    let (controlplane, dataplane) = reader.convert()?;
    let mut notes = reader.notes;
    notes.extend(reader.unread.keys().map(|key| format!("`{key}`: has no counterpart and was omitted")));
    notes.extend(notes_on_other_keys(&root));
    Ok(ImportedFiles { controlplane, dataplane, notes })
}

/// Returns notes on the keys outside of the module's configuration.
fn notes_on_other_keys(root: &Value) -> Vec<String> {
    let notes = |path: &str, converted: &str| {
        let found = root.pointer(path).and_then(Value::as_object);
        let keys: Vec<String> =
            found.into_iter().flat_map(Map::keys).filter(|key| *key != converted).cloned().collect();
        keys.into_iter()
            .map(|key| format!("`{}{key}`: belongs to Caddy itself and was omitted", dotted(path)))
            .collect()
    };
    [("", "admin"), ("/admin", "config"), ("/admin/config", "load")]
        .iter()
        .flat_map(|(path, converted)| -> Vec<String> { notes(path, converted) })
        .collect()
}

/// Converts a JSON pointer to a prefix of dotted keys.
fn dotted(path: &str) -> String {
    let path = path.trim_start_matches('/').replace('/', ".");
    if path.is_empty() { path } else { path + "." }
}

/// Returns an empty TOML file with a comment about its origin.
fn new_document() -> DocumentMut {
    let mut file = DocumentMut::new();
    file.decor_mut().set_prefix("# Converted by `gwctl import` from the predecessor's configuration.\n");
    file
}

/// Inserts a key if there is a value.
fn insert_some(table: &mut Table, key: &str, value: Option<impl Into<toml_edit::Value>>) {
    if let Some(value) = value {
        table.insert(key, toml_edit::value(value));
    }
}

/// Returns a table with the key `module`.
fn module_table(module: &str) -> Table {
    let mut table = Table::new();
    insert_some(&mut table, "module", Some(module));
    table
}

/// Parses a duration in Caddy's JSON, such as `"1m30s"` or an integer in nanoseconds. Returns milliseconds.
fn parse_milliseconds(value: &Value) -> Option<u128> {
    let duration = match value.as_u64() {
        Some(nanoseconds) => Duration::from_nanos(nanoseconds),
        None => humantime::parse_duration(value.as_str()?).ok()?,
    };
    Some(duration.as_millis())
}

/// The reader of the module's configuration.
struct ConfigReader {
    /// The keys that have not been read yet.
    unread: Map<String, Value>,
    /// The notes so far.
    notes: Vec<String>,
}

impl ConfigReader {
    /// Returns the texts of `controlplane.toml` and `dataplane.toml`.
    fn convert(&mut self) -> Result<(String, String), ImportError> {
        let mut file = new_document();
        let is_host = |text: &str| Host::parse(text).is_ok();
        let base = self.text("base_domain", "a domain such as gateway.example.com", is_host)?;
        insert_some(&mut file, "base_domain", base);
        insert_some(
            &mut file,
            "public_ip",
            Some(self.addresses()?).filter(|addresses| !addresses.is_empty()),
        );
        let admin = self.text("admin_id", "a key id such as admin.pub", |id| id.parse::<KeyId>().is_ok())?;
        insert_some(&mut file, "admin_id", admin);
        insert_some(&mut file, "log_level", self.log_level()?);
        insert_some(&mut file, "load_delay", self.load_delay()?);
        insert_some(&mut file, "local_acme", self.text("local_acme", "the URL of a directory", |_| true)?);
        insert_some(&mut file, "local_acme_root", self.text("local_acme_root", "a path", |_| true)?);
        self.storage(&mut file)?;
        self.keys(&mut file)?;
        let mut dataplane = new_document();
        for key in ["https_port", "http_port"] {
            insert_some(&mut dataplane, key, self.port(key)?.map(i64::from));
        }
        Ok((file.to_string(), dataplane.to_string()))
    }

    /// Reads an optional, non-empty text.
    fn text(
        &mut self,
        key: &'static str,
        expected: &'static str,
        is_valid: impl Fn(&str) -> bool,
    ) -> Result<Option<String>, ImportError> {
        match self.unread.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) if is_valid(&text) => Ok(Some(text)),
            Some(found) => Err(ImportError::Value { key, found: found.to_string(), expected }),
        }
    }

    /// Reads `public_ip`, which is an address or a list of addresses.
    fn addresses(&mut self) -> Result<Array, ImportError> {
        let found = self.unread.remove("public_ip").unwrap_or(Value::Null);
        let texts: Vec<&Value> = match &found {
            Value::Null => Vec::new(),
            Value::Array(list) => list.iter().collect(),
            one => vec![one],
        };
        let address =
            |value: &Value| value.as_str().filter(|text| text.parse::<IpAddr>().is_ok()).map(str::to_owned);
        texts.into_iter().map(address).collect::<Option<_>>().ok_or_else(|| ImportError::Value {
            key: "public_ip",
            found: found.to_string(),
            expected: "an IP address or a list of addresses",
        })
    }

    /// Reads `log_level`, which is one of zap's levels.
    fn log_level(&mut self) -> Result<Option<String>, ImportError> {
        let level =
            self.text("log_level", "a level such as INFO", |_| true)?.map(|level| level.to_lowercase());
        Ok(match level.as_deref() {
            None | Some("debug" | "info" | "warn" | "error") => level,
            Some(other) => {
                let level = if matches!(other, "panic" | "fatal" | "dpanic") { "error" } else { "info" };
                self.notes
                    .push(format!("`log_level`: `{other}` has no counterpart and was replaced by `{level}`"));
                Some(level.to_owned())
            }
        })
    }

    /// Reads `load_delay`; a value above the maximum is omitted.
    fn load_delay(&mut self) -> Result<Option<String>, ImportError> {
        let Some(found) = self.unread.remove("load_delay").filter(|found| !found.is_null()) else {
            return Ok(None);
        };
        let delay = parse_milliseconds(&found).ok_or_else(|| ImportError::Value {
            key: "load_delay",
            found: found.to_string(),
            expected: "a duration such as 60s",
        })?;
        if delay > MAX_LOAD_DELAY_MS {
            self.notes.push(format!(
                "`load_delay`: {found} was the interval at which the store was polled; it was omitted, because \
                 changes are now published at once"
            ));
            return Ok(None);
        }
        Ok(Some(format!("{delay}ms")))
    }

    /// Reads an optional port.
    fn port(&mut self, key: &'static str) -> Result<Option<u16>, ImportError> {
        match self.unread.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(found) => {
                let port = found.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
                let expected = "a port from 1 to 65535";
                port.map(Some).ok_or_else(|| ImportError::Value { key, found: found.to_string(), expected })
            }
        }
    }

    /// Reads an optional module, which is an object.
    fn module(&mut self, key: &'static str) -> Result<Option<Map<String, Value>>, ImportError> {
        match self.unread.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(module)) => Ok(Some(module)),
            Some(found) => Err(ImportError::Value {
                key,
                found: found.to_string(),
                expected: "an object with a `module`",
            }),
        }
    }

    /// Reads `services_storage`. The old database has another format: the new one gets another path, and routes have to
    /// be created again.
    fn storage(&mut self, file: &mut DocumentMut) -> Result<(), ImportError> {
        let Some(storage) = self.module("services_storage")? else { return Ok(()) };
        let text = |key: &str| storage.get(key).and_then(Value::as_str);
        let module = text("module").unwrap_or_default();
        match (module, text("db_path").or_else(|| text("path"))) {
            ("sqlite", Some(path)) => {
                let new_path = std::path::Path::new(path).with_file_name("controlplane.db");
                let mut table = module_table("sqlite");
                insert_some(&mut table, "db_path", new_path.to_str());
                file.insert("services_storage", table.into());
                self.notes.push(format!(
                    "`services_storage.db_path`: {path} cannot be read; the new database is {}, and routes have to be \
                     created again (gwctl routes apply)",
                    new_path.display()
                ));
            }
            (module, _) => self.notes.push(format!(
                "`services_storage`: the module \"{module}\" has no counterpart; routes are stored in the \
                 SQLite database /var/lib/webgateway/controlplane.db"
            )),
        }
        Ok(())
    }

    /// Reads `pub_key_store`.
    fn keys(&mut self, file: &mut DocumentMut) -> Result<(), ImportError> {
        let Some(store) = self.module("pub_key_store")? else { return Ok(()) };
        let text = |key: &str| store.get(key).and_then(Value::as_str);
        let first_of = |keys: &[&str]| keys.iter().find_map(|key| text(key)).map(str::to_owned);
        match text("module").unwrap_or_default() {
            module @ ("directory" | "file" | "filesystem") => {
                let mut table = module_table("directory");
                insert_some(&mut table, "path", first_of(&["path", "dir", "directory"]));
                file.insert("pub_key_store", table.into());
                if module != "directory" {
                    self.notes.push(format!("`pub_key_store.module`: \"{module}\" is now called \"directory\""));
                }
            }
            "http" => {
                let uri = first_of(&["uri", "url"]).unwrap_or_default();
                let has_placeholder = uri.contains("{id}");
                let ours = if has_placeholder { uri } else { format!("{}/{{id}}", uri.trim_end_matches('/')) };
                if !has_placeholder {
                    self.notes.push(format!("`pub_key_store.uri`: {{id}} stands for the key id, was appended: {ours}"));
                }
                let mut table = module_table("http");
                insert_some(&mut table, "uri", Some(ours));
                insert_some(&mut table, "ttl", store.get("ttl").and_then(parse_milliseconds).map(|ms| format!("{ms}ms")));
                file.insert("pub_key_store", table.into());
            }
            module => self.notes.push(format!(
                "`pub_key_store`: the module \"{module}\" has no counterpart; keys are read from /etc/webgateway/keys"
            )),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
