//! Profiles: named combinations of URL, id and key, in `webgateway/config.toml` of the user's configuration directory.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tempfile::NamedTempFile;
use thiserror::Error;
use toml_edit::{DocumentMut, Item, Table, TableLike, TomlError, Value};

use crate::cli::Global;

/// The name of the profile that `gwctl login` writes without `--profile`.
pub(crate) const DEFAULT_NAME: &str = "default";
/// The maximum size of the file, in bytes.
const MAX_FILE: u64 = 1024 * 1024;
/// The mode of the directory.
const DIR_MODE: u32 = 0o700;

/// The profiles cannot be read or written, or the selected one does not exist.
#[derive(Debug, Error)]
pub(crate) enum ProfileError {
    /// Neither `XDG_CONFIG_HOME` nor `HOME` is an absolute path.
    #[error("there is no directory for profiles: neither XDG_CONFIG_HOME nor HOME is an absolute path")]
    NoHome,
    /// The file cannot be read.
    #[error("the profiles in {} cannot be read: {source}", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// The file is not valid TOML of the expected structure.
    #[error("the profiles in {} are invalid: {message}", .path.display())]
    Invalid { path: PathBuf, message: String },
    /// The profile does not exist.
    #[error("there is no profile `{name}` in {}", .path.display())]
    Unknown { name: String, path: PathBuf },
    /// The file cannot be written.
    #[error("the profiles in {} cannot be written: {source}", .path.display())]
    Unwritable { path: PathBuf, source: io::Error },
}

/// A gateway and the key for it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// The URL of the API.
    pub(crate) url: Option<String>,
    /// The key id.
    pub(crate) id: Option<String>,
    /// The private key file. A relative path is relative to the directory of the profiles.
    pub(crate) key: Option<PathBuf>,
}

/// The content of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileFile {
    /// The name of the profile that is used without `--profile`.
    default: Option<String>,
    /// The profiles by name.
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

/// Adds the profile's values to the flags, unless flags or environment variables give them.
pub(crate) fn apply(global: Global) -> Result<Global, ProfileError> {
    if global.profile.is_none() && global.url.is_some() && global.key.is_some() {
        return Ok(global);
    }
    let path = match path() {
        Err(ProfileError::NoHome) if global.profile.is_none() => return Ok(global),
        path => path?,
    };
    let mut all = parse(&path, read(&path)?)?;
    let Some(name) = global.profile.clone().or(all.default) else { return Ok(global) };
    let Some(profile) = all.profiles.remove(&name) else {
        return Err(ProfileError::Unknown { name, path });
    };
    let resolve = |key: PathBuf| path.parent().unwrap_or(Path::new("")).join(key);
    // The profile's id belongs to the profile's key, and must not be combined with a given key.
    let id = if global.key.is_none() { global.id.or(profile.id) } else { global.id };
    Ok(Global {
        url: global.url.or(profile.url),
        id,
        key: global.key.or_else(|| profile.key.map(resolve)),
        ..global
    })
}

/// Adds or replaces a profile in the file and returns the file's path. The first profile becomes the default. Comments
/// and the order of the file are kept.
pub(crate) fn save(name: &str, profile: &Profile) -> Result<PathBuf, ProfileError> {
    let path = path()?;
    let mut file = read(&path)?;
    let has_default = parse(&path, file.clone())?.default.is_some();
    let key = match profile.key.as_deref().map(Path::to_str) {
        Some(None) => return Err(invalid(&path, "the path of the key is not UTF-8")),
        key => key.flatten(),
    };
    if !has_default {
        set_value(file.as_table_mut(), "default", name);
    }
    let mut table: &mut dyn TableLike = file.as_table_mut();
    for (name, is_implicit) in [("profiles", true), (name, false)] {
        if !table.contains_key(name) {
            let mut new = Table::new();
            new.set_implicit(is_implicit);
            table.insert(name, Item::Table(new));
        }
        let inner = table.get_mut(name).and_then(Item::as_table_like_mut);
        table = inner.ok_or_else(|| invalid(&path, &format!("`{name}` is not a table")))?;
    }
    for (name, text) in [("url", profile.url.as_deref()), ("id", profile.id.as_deref()), ("key", key)] {
        if let Some(text) = text {
            set_value(table, name, text);
        }
    }
    match replace(&path, &file.to_string()) {
        Ok(()) => Ok(path),
        Err(source) => Err(ProfileError::Unwritable { path, source }),
    }
}

/// Sets a key and keeps the comment beside its value.
fn set_value(table: &mut dyn TableLike, key: &str, text: &str) {
    let mut value = Value::from(text);
    match table.get_mut(key) {
        Some(item) => {
            if let Some(old) = item.as_value() {
                *value.decor_mut() = old.decor().clone();
            }
            *item = Item::Value(value);
        }
        None => drop(table.insert(key, Item::Value(value))),
    }
}

/// Returns the path of the file.
fn path() -> Result<PathBuf, ProfileError> {
    let dir = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = dir("XDG_CONFIG_HOME").or_else(|| dir("HOME").map(|home| home.join(".config")));
    Ok(config.ok_or(ProfileError::NoHome)?.join("webgateway/config.toml"))
}

/// Reads the file. A file that does not exist is empty.
fn read(path: &Path) -> Result<DocumentMut, ProfileError> {
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(DocumentMut::new()),
        Err(source) => return Err(ProfileError::Unreadable { path: path.to_owned(), source }),
        Ok(read) if read as u64 > MAX_FILE => return Err(invalid(path, "the file is larger than 1 MiB")),
        Ok(_) => {}
    }
    text.parse().map_err(|error: TomlError| invalid(path, error.message()))
}

fn parse(path: &Path, file: DocumentMut) -> Result<ProfileFile, ProfileError> {
    toml_edit::de::from_document(file).map_err(|error| invalid(path, error.message()))
}

fn invalid(path: &Path, message: &str) -> ProfileError {
    ProfileError::Invalid { path: path.to_owned(), message: message.to_owned() }
}

/// Replaces the file atomically. Its mode is 0600, that of a temporary file.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)?;
    // If the path is a symbolic link, its target is replaced.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut file = NamedTempFile::new_in(path.parent().unwrap_or(dir))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(())
}
