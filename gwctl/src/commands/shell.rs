//! `gwctl completions` and `gwctl man`

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory;
use clap_mangen::Man;
use serde_json::json;

use crate::cli::{Cli, Shell};
use crate::completion;
use crate::error::{CommandError, Kind};
use crate::output::Report;

/// `gwctl completions SHELL`: the script as it is.
pub(super) fn completions(shell: Shell) -> Result<Report, CommandError> {
    let written = completion::script(shell).and_then(|script| print(&script));
    written.map_err(|error| {
        CommandError::new(Kind::Unexpected, format!("the script cannot be printed: {error}"))
    })?;
    Ok(Report::silent())
}

/// `gwctl man`: the first page on stdout, or all of them in a folder.
pub(super) fn man(out: Option<&Path>) -> Result<Report, CommandError> {
    let Some(out) = out else {
        let mut page = Vec::new();
        let written = Man::new(Cli::command()).render(&mut page).and_then(|()| print(&page));
        written.map_err(|error| {
            CommandError::new(Kind::Unexpected, format!("the page cannot be printed: {error}"))
        })?;
        return Ok(Report::silent());
    };
    let written = fs::create_dir_all(out).and_then(|()| clap_mangen::generate_to(Cli::command(), out));
    let folder = out.display().to_string();
    written.map_err(|error| {
        CommandError::new(Kind::Unexpected, format!("the pages cannot be written to {folder}: {error}"))
            .flag("--out")
            .hint("the directory must be writable for the user who runs gwctl")
    })?;
    let text = format!("The pages are in {folder}. Read them: man -l {folder}/gwctl.1");
    Ok(Report::new(json!({ "folder": folder }), text))
}

fn print(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        // Whoever reads has enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
