//! The syntax of `gwctl audit …`.

use std::path::PathBuf;

use clap::Subcommand;

/// The commands of `gwctl audit`.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// List your changes, newest first (admin: all changes)
    List {
        /// List at most N records, up to 500
        #[arg(short = 'n', long, value_name = "N")]
        limit: Option<u32>,
        /// List only records older than the one with this id
        #[arg(long, value_name = "ID")]
        before: Option<u64>,
        /// List only changes made with this key
        #[arg(long, value_name = "KEY_ID")]
        caller: Option<String>,
        /// List only changes of this object, such as route/<id>
        #[arg(long, value_name = "TARGET")]
        target: Option<String>,
    },
    /// Verify that no record of the audit log was altered or removed, and that the callers' signatures are valid
    Verify {
        /// Verify an exported file instead of the gateway's log; this needs no key
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Verify that the log still contains the record with this hash, the head of an earlier verification
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
    },
    /// Print the complete audit log with the signed requests, as JSON lines
    Export {
        /// Write to a new file instead of stdout
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}
