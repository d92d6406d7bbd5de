//! `gwctl`, the command line client of webgateway's API.

mod args;
mod cli;
mod clock;
mod colour;
mod commands;
mod completion;
mod diff;
mod error;
mod import;
mod manifest;
mod mycelium;
mod output;
mod plan;
mod printable;
mod profiles;
mod trace;
mod usage;

use std::process::ExitCode;

use clap::{ColorChoice, FromArgMatches};

use crate::args::Action;
use crate::cli::{Audit, Cli, Command, Format, Global};
use crate::error::{CommandError, FailureKind};
use crate::output::OutputOptions;

fn main() -> ExitCode {
    if let Some(completed) = completion::try_complete() {
        return ExitCode::from(u8::from(completed.is_err()));
    }
    let color = usage::flag_value(std::env::args_os(), "--color", None).unwrap_or(ColorChoice::Auto);
    colour::init(color);
    let parsed =
        cli::command().color(color).try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return print_clap_error(&error),
    };
    let Global { output: format, verbose, retry_for, .. } = cli.global;
    let options = OutputOptions { format, verbose, retry_for };
    match run(cli, options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::error(options.format, &failure);
            ExitCode::from(failure.kind.exit_code())
        }
    }
}

/// Prints clap's error. clap reports `--help` and `--version` as errors, too; those go to stdout, with exit code 0.
fn print_clap_error(error: &clap::Error) -> ExitCode {
    let format = usage::flag_value(std::env::args_os(), "--output", Some('o')).unwrap_or(Format::Table);
    if error.use_stderr() && !format.is_text() {
        output::error(format, &usage::error(error));
    } else {
        // A closed pipe is no error.
        let _ = error.print();
    }
    ExitCode::from(if error.use_stderr() { FailureKind::Usage.exit_code() } else { 0 })
}

fn run(cli: Cli, options: OutputOptions) -> Result<(), CommandError> {
    let global = if uses_profile(&cli.command) { profiles::apply(cli.global)? } else { cli.global };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        CommandError::new(FailureKind::Unexpected, format!("gwctl cannot start: {error}"))
    })?;
    let mut command = cli.command;
    let result = runtime.block_on(async {
        mycelium::resolve_self_backends(&mut command).await?;
        commands::run(Action::parse(&global, command)?, options).await
    });
    // A DNS lookup that is still running must not delay the exit.
    runtime.shutdown_background();
    result
}

/// Returns true if the command takes its gateway and key from a profile. The other commands need neither, except for
/// `login`, which creates a profile.
fn uses_profile(command: &Command) -> bool {
    match command {
        Command::Keys(_)
        | Command::Import(_)
        | Command::Login
        | Command::Completions(_)
        | Command::Man(_) => false,
        Command::Audit(Audit::Verify { file, .. }) => file.is_none(),
        Command::Audit(Audit::List { .. } | Audit::Export { .. })
        | Command::Routes(_)
        | Command::Certificates(_)
        | Command::Admin(_)
        | Command::Nodes(_)
        | Command::Health
        | Command::Version => true,
    }
}
