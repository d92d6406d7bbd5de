//! The syntax of `gwctl completions` and `gwctl man`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The flags of `gwctl completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell; for bash, add `source <(gwctl completions bash)` to ~/.bashrc
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// A shell for which there is a completion script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// bash
    Bash,
    /// elvish
    Elvish,
    /// fish
    Fish,
    /// PowerShell
    Powershell,
    /// zsh
    Zsh,
}

/// The flags of `gwctl man`.
#[derive(Debug, Args)]
pub(crate) struct Manual {
    /// Write the pages of all commands to this directory, such as /usr/share/man/man1
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}
