//! The commands `gwctl completions` and `gwctl man`.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap_mangen::Man;
use serde_json::json;

use crate::cli::{self, Shell};
use crate::completion;
use crate::error::{CommandError, FailureKind};
use crate::output::Report;

/// Runs `gwctl completions`, which prints the shell's script.
pub(super) fn completions(shell: Shell) -> Result<Report, CommandError> {
    let written = completion::registration_script(shell).and_then(|script| print(&script));
    written.map_err(|error| {
        CommandError::new(FailureKind::Unexpected, format!("the script cannot be printed: {error}"))
    })?;
    Ok(Report::empty())
}

/// Runs `gwctl man`, which prints the main page, or writes the pages of all commands to a directory.
pub(super) fn man(out: Option<&Path>) -> Result<Report, CommandError> {
    let Some(out) = out else {
        let mut page = Vec::new();
        let written = Man::new(cli::command()).render(&mut page).and_then(|()| print(&page));
        written.map_err(|error| {
            CommandError::new(FailureKind::Unexpected, format!("the page cannot be printed: {error}"))
        })?;
        return Ok(Report::empty());
    };
    let written = fs::create_dir_all(out).and_then(|()| clap_mangen::generate_to(cli::command(), out));
    let directory = out.display().to_string();
    written.map_err(|error| {
        CommandError::new(
            FailureKind::Unexpected,
            format!("the pages cannot be written to {directory}: {error}"),
        )
        .flag("--out")
        .hint("the directory must be writable for the user who runs gwctl")
    })?;
    let text =
        format!("The manual pages are in {directory}. To read the first one: man -l {directory}/gwctl.1");
    Ok(Report::new(json!({ "folder": directory }), text))
}

fn print(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        // The reader has closed the pipe: that is no error.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
