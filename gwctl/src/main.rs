//! `gwctl`: the command line of webgateway's API.

mod args;
mod cli;
mod client;
mod clock;
mod commands;
mod fault;
mod import;
mod keys;
mod output;
mod printable;
mod profiles;
mod syntax;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Action;
use crate::cli::{Audit, Cli, Command, Format};
use crate::commands::Manner;
use crate::fault::{Fault, Kind};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_understood(&error),
    };
    let manner = Manner { format: cli.global.output, verbose: cli.global.verbose };
    match run(cli, manner) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            output::fault(manner.format, &fault);
            ExitCode::from(fault.kind.exit_code())
        }
    }
}

/// Says what clap says. Help and version are such errors too, and go to stdout.
fn not_understood(error: &clap::Error) -> ExitCode {
    let format = syntax::asked_format(std::env::args_os());
    if error.use_stderr() && format != Format::Table {
        output::fault(format, &syntax::fault(error));
    } else {
        // Without anybody who reads, so be it.
        let _ = error.print();
    }
    ExitCode::from(if error.use_stderr() { Kind::Usage.exit_code() } else { 0 })
}

fn run(cli: Cli, manner: Manner) -> Result<(), Fault> {
    let global = match &cli.command {
        // These need no gateway, or say themselves which one.
        Command::Keys(_) | Command::Import(_) | Command::Login => cli.global,
        Command::Audit(Audit::Verify { file: Some(_), .. }) => cli.global,
        _ => profiles::complete(cli.global)?,
    };
    let action = Action::parse(&global, cli.command)?;
    commands::run(action, manner)
}
