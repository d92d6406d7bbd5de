//! `gwctl`: the command line of webgateway's API.

mod args;
mod cli;
mod clock;
mod colour;
mod commands;
mod completion;
mod difference;
mod error;
mod import;
mod manifest;
mod mycelium;
mod output;
mod plan;
mod printable;
mod profiles;
mod syntax;
mod trace;

use std::process::ExitCode;

use clap::{ColorChoice, CommandFactory, FromArgMatches};

use crate::args::Action;
use crate::cli::{Audit, Cli, Command, Format, Global};
use crate::error::{CommandError, Kind};
use crate::output::OutputOptions;

fn main() -> ExitCode {
    if let Some(answered) = completion::answer() {
        return ExitCode::from(u8::from(answered.is_err()));
    }
    let color = syntax::asked(std::env::args_os(), "--color", None).unwrap_or(ColorChoice::Auto);
    colour::choose(color);
    let parsed =
        Cli::command().color(color).try_get_matches().and_then(|found| Cli::from_arg_matches(&found));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return not_understood(&error),
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

/// Prints clap's error. Help and version are such errors too, and go to stdout.
fn not_understood(error: &clap::Error) -> ExitCode {
    let format = syntax::asked(std::env::args_os(), "--output", Some('o')).unwrap_or(Format::Table);
    if error.use_stderr() && format != Format::Table {
        output::error(format, &syntax::error(error));
    } else {
        // Without anybody who reads, so be it.
        let _ = error.print();
    }
    ExitCode::from(if error.use_stderr() { Kind::Usage.exit_code() } else { 0 })
}

fn run(cli: Cli, options: OutputOptions) -> Result<(), CommandError> {
    let global = if takes_profile(&cli.command) { profiles::complete(cli.global)? } else { cli.global };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| CommandError::new(Kind::Unexpected, format!("gwctl cannot start: {error}")))?;
    let mut command = cli.command;
    let done = runtime.block_on(async {
        mycelium::fill(&mut command).await?;
        commands::run(Action::parse(&global, command)?, options).await
    });
    // A name that is still being looked up shall not hold the process.
    runtime.shutdown_background();
    done
}

/// Returns true if a profile may say which gateway and key are meant. The other commands need none, or make one.
fn takes_profile(command: &Command) -> bool {
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
