//! The configuration of the predecessor, a Caddy with the `mycelium` module, turned into ours.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Map, Value};
use thiserror::Error;
use toml_edit::{Array, DocumentMut, Table};
use webgateway_proto::model::{Host, KeyId};

/// The longest time that changes are gathered; the predecessor's was the pause between two looks at its store.
const LONGEST_DELAY_MS: u128 = 10_000;

/// Our two files, and the notes that the operator has to read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ImportedFiles {
    /// `controlplane.toml`
    pub(crate) controlplane: String,
    /// `dataplane.toml`
    pub(crate) dataplane: String,
    /// The notes on what was left out or reads otherwise now, each with its key.
    pub(crate) notes: Vec<String>,
}

/// A text that is not the predecessor's configuration.
#[derive(Debug, Error)]
pub(crate) enum ImportError {
    #[error("it is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    #[error("`admin.config.load.module` is not \"mycelium\": this is another Caddy's configuration")]
    NotMycelium,
    #[error("`{key}` is {found}, {expected} is needed")]
    Value { key: &'static str, found: String, expected: &'static str },
}

/// Reads the predecessor's JSON.
pub(crate) fn import(text: &str) -> Result<ImportedFiles, ImportError> {
    let root: Value = serde_json::from_str(text)?;
    let load = root.pointer("/admin/config/load").and_then(Value::as_object);
    let load = load.filter(|load| load.get("module").is_some_and(|module| module == "mycelium"));
    let mut reader = Reader { left: load.ok_or(ImportError::NotMycelium)?.clone(), notes: Vec::new() };
    reader.left.remove("module");
    let (controlplane, dataplane) = reader.files()?;
    let mut notes = reader.notes;
    notes.extend(reader.left.keys().map(|key| format!("`{key}`: has no counterpart and was left out")));
    notes.extend(outside(&root));
    Ok(ImportedFiles { controlplane, dataplane, notes })
}

/// Returns notes on what stands beside the part that is ours.
fn outside(root: &Value) -> Vec<String> {
    let said = |path: &str, but: &str| {
        let found = root.pointer(path).and_then(Value::as_object);
        let keys: Vec<String> =
            found.into_iter().flat_map(Map::keys).filter(|key| *key != but).cloned().collect();
        keys.into_iter()
            .map(|key| format!("`{}{key}`: is Caddy's own and was left out", dotted(path)))
            .collect()
    };
    [("", "admin"), ("/admin", "config"), ("/admin/config", "load")]
        .iter()
        .flat_map(|(path, but)| -> Vec<String> { said(path, but) })
        .collect()
}

fn dotted(path: &str) -> String {
    let path = path.trim_start_matches('/').replace('/', ".");
    if path.is_empty() { path } else { path + "." }
}

/// Returns an empty file that says where it is from.
fn document() -> DocumentMut {
    let mut file = DocumentMut::new();
    file.decor_mut().set_prefix("# Made by `gwctl import` from the predecessor's configuration.\n");
    file
}

/// Writes a key, if there is a value.
fn put(table: &mut Table, key: &str, value: Option<impl Into<toml_edit::Value>>) {
    if let Some(value) = value {
        table.insert(key, toml_edit::value(value));
    }
}

/// Returns a table that names a module.
fn module_table(module: &str) -> Table {
    let mut table = Table::new();
    put(&mut table, "module", Some(module));
    table
}

/// Returns the milliseconds of a duration in Caddy's JSON: `"1m30s"`, or a whole number of nanoseconds.
fn milliseconds(value: &Value) -> Option<u128> {
    let duration = match value.as_u64() {
        Some(nanoseconds) => Duration::from_nanos(nanoseconds),
        None => humantime::parse_duration(value.as_str()?).ok()?,
    };
    Some(duration.as_millis())
}

/// The keys that are not read yet, and the notes so far.
struct Reader {
    left: Map<String, Value>,
    notes: Vec<String>,
}

impl Reader {
    fn files(&mut self) -> Result<(String, String), ImportError> {
        let mut file = document();
        let parsed = |text: &str| Host::parse(text).is_ok();
        let base = self.text("base_domain", "a domain such as gateway.example.com", parsed)?;
        put(&mut file, "base_domain", base);
        put(&mut file, "public_ip", Some(self.addresses()?).filter(|addresses| !addresses.is_empty()));
        let admin = self.text("admin_id", "a key id such as admin.pub", |id| id.parse::<KeyId>().is_ok())?;
        put(&mut file, "admin_id", admin);
        put(&mut file, "log_level", self.log_level()?);
        put(&mut file, "load_delay", self.load_delay()?);
        put(&mut file, "local_acme", self.text("local_acme", "the URL of a directory", |_| true)?);
        put(&mut file, "local_acme_root", self.text("local_acme_root", "a path", |_| true)?);
        self.storage(&mut file)?;
        self.keys(&mut file)?;
        let mut dataplane = document();
        for key in ["https_port", "http_port"] {
            put(&mut dataplane, key, self.port(key)?.map(i64::from));
        }
        Ok((file.to_string(), dataplane.to_string()))
    }

    fn text(
        &mut self,
        key: &'static str,
        expected: &'static str,
        fits: impl Fn(&str) -> bool,
    ) -> Result<Option<String>, ImportError> {
        match self.left.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) if fits(&text) => Ok(Some(text)),
            Some(found) => Err(ImportError::Value { key, found: found.to_string(), expected }),
        }
    }

    /// One address, or a list.
    fn addresses(&mut self) -> Result<Array, ImportError> {
        let found = self.left.remove("public_ip").unwrap_or(Value::Null);
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
            expected: "an address or a list of them",
        })
    }

    /// Zap's words for it.
    fn log_level(&mut self) -> Result<Option<String>, ImportError> {
        let level =
            self.text("log_level", "a level such as INFO", |_| true)?.map(|level| level.to_lowercase());
        Ok(match level.as_deref() {
            None | Some("debug" | "info" | "warn" | "error") => level,
            Some(other) => {
                let level = if matches!(other, "panic" | "fatal" | "dpanic") { "error" } else { "info" };
                self.notes.push(format!("`log_level`: `{other}` has no counterpart, `{level}` was taken"));
                Some(level.to_owned())
            }
        })
    }

    fn load_delay(&mut self) -> Result<Option<String>, ImportError> {
        let Some(found) = self.left.remove("load_delay").filter(|found| !found.is_null()) else {
            return Ok(None);
        };
        let delay = milliseconds(&found).ok_or_else(|| ImportError::Value {
            key: "load_delay",
            found: found.to_string(),
            expected: "a duration such as 60s",
        })?;
        if delay > LONGEST_DELAY_MS {
            self.notes.push(format!(
                "`load_delay`: {found} was the pause between two looks at the store; changes are published at once now, and it was left out"
            ));
            return Ok(None);
        }
        Ok(Some(format!("{delay}ms")))
    }

    fn port(&mut self, key: &'static str) -> Result<Option<u16>, ImportError> {
        match self.left.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(found) => {
                let port = found.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
                let expected = "a port from 1 to 65535";
                port.map(Some).ok_or_else(|| ImportError::Value { key, found: found.to_string(), expected })
            }
        }
    }

    fn module(&mut self, key: &'static str) -> Result<Option<Map<String, Value>>, ImportError> {
        match self.left.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(module)) => Ok(Some(module)),
            Some(found) => Err(ImportError::Value {
                key,
                found: found.to_string(),
                expected: "an object with a `module`",
            }),
        }
    }

    /// The old database is another one: its path stays free, and its routes have to be created anew.
    fn storage(&mut self, file: &mut DocumentMut) -> Result<(), ImportError> {
        let Some(storage) = self.module("services_storage")? else { return Ok(()) };
        let text = |key: &str| storage.get(key).and_then(Value::as_str);
        let module = text("module").unwrap_or_default();
        match (module, text("db_path").or_else(|| text("path"))) {
            ("sqlite", Some(path)) => {
                let ours = std::path::Path::new(path).with_file_name("controlplane.db");
                let mut table = module_table("sqlite");
                put(&mut table, "db_path", ours.to_str());
                file.insert("services_storage", table.into());
                self.notes.push(format!(
                    "`services_storage.db_path`: {path} is not read; the database is {}, and routes are created anew (gwctl routes apply)",
                    ours.display()
                ));
            }
            (module, _) => self.notes.push(format!(
                "`services_storage`: module \"{module}\" has no counterpart; routes are kept in SQLite, in /var/lib/webgateway/controlplane.db"
            )),
        }
        Ok(())
    }

    fn keys(&mut self, file: &mut DocumentMut) -> Result<(), ImportError> {
        let Some(store) = self.module("pub_key_store")? else { return Ok(()) };
        let text = |key: &str| store.get(key).and_then(Value::as_str);
        let place = |keys: &[&str]| keys.iter().find_map(|key| text(key)).map(str::to_owned);
        match text("module").unwrap_or_default() {
            module @ ("directory" | "file" | "filesystem") => {
                let mut table = module_table("directory");
                put(&mut table, "path", place(&["path", "dir", "directory"]));
                file.insert("pub_key_store", table.into());
                if module != "directory" {
                    self.notes.push(format!("`pub_key_store.module`: \"{module}\" is called \"directory\" now"));
                }
            }
            "http" => {
                let uri = place(&["uri", "url"]).unwrap_or_default();
                let has_place = uri.contains("{id}");
                let ours = if has_place { uri } else { format!("{}/{{id}}", uri.trim_end_matches('/')) };
                if !has_place {
                    self.notes.push(format!("`pub_key_store.uri`: the key id goes where {{id}} stands: {ours}"));
                }
                let mut table = module_table("http");
                put(&mut table, "uri", Some(ours));
                put(&mut table, "ttl", store.get("ttl").and_then(milliseconds).map(|ms| format!("{ms}ms")));
                file.insert("pub_key_store", table.into());
            }
            module => self.notes.push(format!(
                "`pub_key_store`: module \"{module}\" has no counterpart; keys are read from /etc/webgateway/keys"
            )),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
