//! The syntax of `gwctl audit …`

use std::path::PathBuf;

use clap::Subcommand;

/// `gwctl audit …`
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// List what was changed, newest first: one's own changes, the admin's list has all
    List {
        /// How many records, up to 500
        #[arg(short = 'n', long, value_name = "N")]
        limit: Option<u32>,
        /// Only records before the one with this id
        #[arg(long, value_name = "ID")]
        before: Option<u64>,
        /// Only what this key asked for
        #[arg(long, value_name = "KEY_ID")]
        caller: Option<String>,
        /// Only what was changed of this, such as route/<id>
        #[arg(long, value_name = "TARGET")]
        target: Option<String>,
    },
    /// Check the whole chain: that nothing was changed or left out, and that each caller signed for it
    Verify {
        /// Check an exported file instead of the gateway; needs no key
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// A hash that an earlier check named as the head: it must be there still
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
    },
    /// Print the whole chain with what was signed, as JSON lines
    Export {
        /// Write it to a new file instead
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}
