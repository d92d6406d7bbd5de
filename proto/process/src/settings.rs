//! Configuration by flags, environment variables and a file, all generated from one table of keys.
//!
//! figment, confique and config merge files and variables, but generate neither flags nor help, and do not suggest the
//! nearest key for an unknown one.

mod key;
mod reference;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command};
use serde::de::DeserializeOwned;
use thiserror::Error;
use toml::{Table, Value};

pub use self::key::{Key, Kind, Program, Verb};
pub use self::reference::renew as renew_reference;

/// A parsed command line with the configuration.
#[derive(Debug)]
pub struct Invocation<T> {
    /// The configuration.
    pub settings: T,
    /// True if the configuration is only to be checked.
    pub check: bool,
    /// The argument of the subcommand, if one was given.
    pub verb: Option<String>,
    /// The values of the keys that are set.
    pub values: Values,
}

/// The keys that are set by a flag, a variable or the file, with their values.
#[derive(Debug, Clone, Default)]
pub struct Values(BTreeMap<&'static str, Value>);

impl Values {
    /// Updates the live ones of `keys` from `newer`. Returns the changed live keys, and the other keys that differ.
    pub(crate) fn update(&mut self, newer: &Self, keys: &[Key]) -> (Vec<&'static str>, Vec<&'static str>) {
        let both: BTreeSet<&'static str> = self.0.keys().chain(newer.0.keys()).copied().collect();
        let differs = both.into_iter().filter(|key| self.0.get(key) != newer.0.get(key));
        let is_live = |path: &str| keys.iter().any(|key| key.is_live && key.path == path);
        let (changed, others): (Vec<_>, Vec<_>) = differs.partition(|key| is_live(key));
        for &key in &changed {
            match newer.0.get(key) {
                Some(value) => self.0.insert(key, value.clone()),
                None => self.0.remove(key),
            };
        }
        (changed, others)
    }

    fn of(table: &Table, keys: &'static [Key]) -> Self {
        let value = |path: &str| {
            let (first, rest) =
                path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
            let steps = rest.into_iter().flat_map(|rest| rest.split('.'));
            steps.fold(table.get(first), |at, step| at.and_then(|value| value.get(step)))
        };
        Self(keys.iter().filter_map(|key| Some((key.path, value(key.path)?.clone()))).collect())
    }
}

/// An invalid command line or configuration.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The command line is invalid, or requests help.
    #[error(transparent)]
    Usage(#[from] Box<clap::Error>),
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is not valid TOML.
    #[error("{}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The error and its position.
        message: String,
    },
    /// The file has an unknown key.
    #[error("{}: the key `{key}` is not known{}", path.display(), nearest.as_ref().map(|n| format!(", did you mean `{n}`?")).unwrap_or_default())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The most similar known key.
        nearest: Option<&'static str>,
    },
    /// A variable or flag has a value of the wrong kind.
    #[error("{name}: `{value}` is not {expected}")]
    WrongKind {
        /// The flag or variable.
        name: String,
        /// The given value.
        value: String,
        /// The required kind of value.
        expected: &'static str,
    },
    /// A value is invalid for its key.
    #[error("{0}")]
    Value(String),
}

/// The id of a subcommand's argument, which differs from every key.
const ARGUMENT: &str = "verb's argument";

/// Reads the command line, the environment and the configuration file of this process. Prints and exits on `--help`.
pub fn read<T: DeserializeOwned>(program: &Program) -> Result<Invocation<T>, SettingsError> {
    match from_sources(program, std::env::args_os(), &|name| std::env::var(name).ok()) {
        Err(SettingsError::Usage(usage)) => usage.exit(),
        other => other,
    }
}

/// Reads the configuration as [`read`] does, but from the given sources; `args` begins with the program's name.
pub fn from_sources<T: DeserializeOwned>(
    program: &Program,
    args: impl IntoIterator<Item = OsString>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Invocation<T>, SettingsError> {
    let matches = command(program).try_get_matches_from(args).map_err(Box::new)?;
    let verb = matches.subcommand().map(|(_, inner)| inner);
    let argument = verb.and_then(|inner| inner.get_one::<String>(ARGUMENT).cloned());
    // clap gives the flags after a subcommand only to the subcommand, and those before it to both.
    let matches = verb.unwrap_or(&matches);
    let file = matches.get_one::<PathBuf>("config").cloned();
    let file = file.or_else(|| env("WEBGATEWAY_CONFIG").map(PathBuf::from));
    let mut table = match file {
        Some(path) => read_file(&path, program.keys)?,
        None => Table::new(),
    };
    for key in program.keys {
        let flag = matches.get_one::<String>(key.path).map(|value| (key.flag(), value.clone()));
        let given = flag.or_else(|| env(&key.variable()).map(|value| (key.variable(), value)));
        if let Some((name, text)) = given {
            set(&mut table, key.path, value(key.kind, name, text)?);
        }
    }
    lists_of_one(&mut table, program.keys);
    let values = Values::of(&table, program.keys);
    let settings = Value::Table(table).try_into::<T>();
    let settings = settings.map_err(|error| SettingsError::Value(value_error(&error)))?;
    Ok(Invocation { settings, check: matches.get_flag("check"), verb: argument, values })
}

/// Formats an error with the name of its key, and adds an example of a valid value.
fn value_error(error: &toml::de::Error) -> String {
    let text = error.to_string().trim().to_owned();
    let (what, key) = match text.rsplit_once("\nin `") {
        Some((what, key)) => (what, Some(key.trim_end_matches('`'))),
        None => (text.as_str(), None),
    };
    let example = match what {
        w if w.ends_with("a duration") => ", such as 30s or 500ms",
        w if w.ends_with("socket address") || w.ends_with("socket address syntax") => {
            ": write an address and a port, such as 127.0.0.1:8080 or [::]:53"
        }
        w if w.ends_with("IP address syntax") => ": write an address, such as 192.0.2.10 or 2001:db8::10",
        _ => "",
    };
    let what = what.replace('\n', " ");
    key.map_or_else(|| format!("{what}{example}"), |key| format!("`{key}`: {what}{example}"))
}

fn command(program: &Program) -> Command {
    let config = Arg::new("config").long("config").short('c').value_name("FILE");
    let config = config.value_parser(clap::value_parser!(PathBuf)).global(true);
    let check = Arg::new("check").long("check").action(ArgAction::SetTrue).global(true);
    let keys = program.keys.iter().map(argument);
    Command::new(program.name)
        .about(program.about)
        .version(env!("CARGO_PKG_VERSION"))
        .arg(config.help("The TOML file with the keys below [env: WEBGATEWAY_CONFIG]"))
        .arg(check.help("Check the configuration and exit"))
        .args(keys)
        .subcommands(program.verbs.iter().map(subcommand))
        .disable_help_subcommand(true)
        .after_help(
            "A flag wins over a variable, a variable over the file, the file over the default. \
             After a change in the file, send SIGHUP for the keys marked so, and restart for the others.",
        )
}

fn subcommand(verb: &Verb) -> Command {
    let argument = Arg::new(ARGUMENT).value_name(verb.argument).help(verb.help).required(true);
    Command::new(verb.name).about(verb.about).arg(argument.allow_hyphen_values(true))
}

fn argument(key: &Key) -> Arg {
    let reloaded = if key.is_live { ", SIGHUP" } else { "" };
    let help = format!("{} [env: {}{reloaded}]", key.help, key.variable());
    let long = key.flag().split_off(2);
    let arg =
        Arg::new(key.path).long(long).help(help).action(ArgAction::Set).help_heading("Keys").global(true);
    match key.kind {
        Kind::Text => arg.value_name("VALUE"),
        Kind::Duration => arg.value_name("DURATION"),
        Kind::Address => arg.value_name("ADDRESS:PORT"),
        Kind::Path => arg.value_name("PATH"),
        Kind::Integer => arg.value_name("N"),
        Kind::List => arg.value_name("VALUE,…"),
        Kind::Bool => arg.value_name("BOOL").value_parser(PossibleValuesParser::new(["true", "false"])),
    }
}

fn value(kind: Kind, name: String, text: String) -> Result<Value, SettingsError> {
    let wrong = |expected| SettingsError::WrongKind { name, value: text.clone(), expected };
    match kind {
        Kind::Text | Kind::Duration | Kind::Address | Kind::Path => Ok(Value::String(text)),
        Kind::Integer => text.trim().parse().map(Value::Integer).map_err(|_| wrong("a whole number")),
        Kind::Bool => text.trim().parse().map(Value::Boolean).map_err(|_| wrong("true or false")),
        Kind::List => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
        }
    }
}

fn read_file(path: &Path, keys: &'static [Key]) -> Result<Table, SettingsError> {
    let path = path.to_owned();
    let text = std::fs::read_to_string(&path)
        .map_err(|source| SettingsError::Unreadable { path: path.clone(), source })?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| SettingsError::Syntax {
        path: path.clone(),
        message: error.to_string().trim().to_owned(),
    })?;
    match unknown(&table, "", keys) {
        Some(key) => Err(SettingsError::UnknownKey { nearest: nearest(&key, keys), key, path }),
        None => Ok(table),
    }
}

fn unknown(table: &Table, prefix: &str, keys: &[Key]) -> Option<String> {
    table.iter().find_map(|(name, value)| {
        let path = format!("{prefix}{name}");
        if keys.iter().any(|key| key.path == path) {
            return None;
        }
        let inner = format!("{path}.");
        match value {
            Value::Table(table) if keys.iter().any(|key| key.path.starts_with(&inner)) => {
                unknown(table, &inner, keys)
            }
            _ => Some(path),
        }
    })
}

fn nearest(unknown: &str, keys: &'static [Key]) -> Option<&'static str> {
    let scored = keys.iter().map(|key| (strsim::jaro_winkler(unknown, key.path), key.path));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.7).then_some(best.1)
}

fn set(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
        }
        Some((head, rest)) => {
            let inner = table.entry(head.to_owned()).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                set(inner, rest, value);
            }
        }
    }
}

/// Converts a single text to a list of one for keys of lists, such as `public_ip = "…"`.
fn lists_of_one(table: &mut Table, keys: &[Key]) {
    for key in keys.iter().filter(|key| key.kind == Kind::List) {
        let (tables, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        let mut at = Some(&mut *table);
        for step in tables.split('.').filter(|step| !step.is_empty()) {
            at = at.and_then(|table| table.get_mut(step)).and_then(Value::as_table_mut);
        }
        if let Some(value @ Value::String(_)) = at.and_then(|table| table.get_mut(name)) {
            *value = Value::Array(vec![value.clone()]);
        }
    }
}

#[cfg(test)]
mod tests;
