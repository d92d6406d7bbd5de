//! The keys of a program as they are declared.

/// One configuration key: `--services-storage-db-path`, `WEBGATEWAY_SERVICES_STORAGE_DB_PATH` and
/// `[services_storage] db_path` are the same one.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The key in the file, tables and name joined by dots.
    pub path: &'static str,
    /// The kind of value that a flag or variable gives for it.
    pub kind: Kind,
    /// The help text. It ends with `[default: …]`, or with `[required]`.
    pub help: &'static str,
    /// True if a change of it holds after a SIGHUP, false if it needs a restart.
    pub is_live: bool,
}

/// The kind of value that a flag or variable gives for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text of any other kind.
    Text,
    /// A duration, such as `30s`.
    Duration,
    /// An address and a port.
    Address,
    /// The path of a file or a directory.
    Path,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Bool,
    /// Texts, separated by commas; a file may also give one text alone.
    List,
}

impl Key {
    /// Returns a key a change of which needs a restart.
    #[must_use]
    pub const fn new(path: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { path, kind, help, is_live: false }
    }

    /// Returns the same key, a change of which holds after a SIGHUP.
    #[must_use]
    pub const fn live(self) -> Self {
        Self { is_live: true, ..self }
    }

    /// Returns a key of text.
    #[must_use]
    pub const fn text(path: &'static str, help: &'static str) -> Self {
        Self::new(path, Kind::Text, help)
    }

    /// Returns a key of a duration.
    #[must_use]
    pub const fn duration(path: &'static str, help: &'static str) -> Self {
        Self::new(path, Kind::Duration, help)
    }

    /// Returns a key of an address and port.
    #[must_use]
    pub const fn address(path: &'static str, help: &'static str) -> Self {
        Self::new(path, Kind::Address, help)
    }

    /// Returns a key of the path of a file or directory.
    #[must_use]
    pub const fn file(path: &'static str, help: &'static str) -> Self {
        Self::new(path, Kind::Path, help)
    }

    /// Returns a key of a whole number.
    #[must_use]
    pub const fn number(path: &'static str, help: &'static str) -> Self {
        Self::new(path, Kind::Integer, help)
    }

    /// Returns a key that is true or false.
    #[must_use]
    pub const fn bool(path: &'static str, help: &'static str) -> Self {
        Self::new(path, Kind::Bool, help)
    }

    /// Returns a key of a list of texts.
    #[must_use]
    pub const fn list(path: &'static str, help: &'static str) -> Self {
        Self::new(path, Kind::List, help)
    }

    /// Returns its flag, such as `--rpc-listen`.
    #[must_use]
    pub fn flag(&self) -> String {
        format!("--{}", self.path.replace(['.', '_'], "-"))
    }

    /// Returns the name of its variable, such as `WEBGATEWAY_RPC_LISTEN`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("WEBGATEWAY_{}", self.path.replace('.', "_").to_uppercase())
    }

    /// Returns the default if it is a value that could be given; `None` if it is described in words, or if there is
    /// none.
    #[must_use]
    pub fn default_value(&self) -> Option<&'static str> {
        let (_, default) = self.meaning_and_default();
        default.filter(|default| *default != "none" && !default.contains(' '))
    }

    /// Returns the help text without its end, and the default that it names.
    pub(super) fn meaning_and_default(&self) -> (&'static str, Option<&'static str>) {
        match self.help.split_once(" [default: ") {
            Some((meaning, default)) => (meaning, default.strip_suffix(']')),
            None => (self.help.trim_end_matches(" [required]"), None),
        }
    }
}

/// A program and all its keys.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// The program's name.
    pub name: &'static str,
    /// The description, in one line.
    pub about: &'static str,
    /// The program's keys.
    pub keys: &'static [Key],
    /// The things that it does instead of running, if told so.
    pub verbs: &'static [Verb],
}

/// Something a program does instead of running; it takes one argument and the keys.
#[derive(Debug, Clone, Copy)]
pub struct Verb {
    /// The verb's name.
    pub name: &'static str,
    /// The description, in one line.
    pub about: &'static str,
    /// The name of the argument.
    pub argument: &'static str,
    /// The help text of the argument.
    pub help: &'static str,
}
