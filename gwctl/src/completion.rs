//! Shell completion: commands and flags, and the routes of the gateway that is meant.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use clap::{Command, CommandFactory, FromArgMatches};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};
use gwctl::api::{RouteList, RouteListParams, RouteView, method};
use gwctl::{Client, Endpoint, Signer};
use tokio::time::timeout;

use crate::args::Credentials;
use crate::cli::{Cli, Shell};
use crate::printable::printable;
use crate::profiles;

/// The variable by which a script of [`script`] has gwctl complete a line instead of running it.
const VARIABLE: &str = "_GWCTL_COMPLETE";
/// The time that a shell waits for routes.
const WITHIN: Duration = Duration::from_secs(1);

/// Answers a shell that asks for completions; nothing if none asks.
pub(crate) fn answer() -> Option<Result<(), clap::Error>> {
    let here = std::env::current_dir().ok();
    let env = CompleteEnv::with_factory(definitions).var(VARIABLE);
    match env.try_complete(std::env::args_os(), here.as_deref()) {
        Ok(false) => None,
        Ok(true) => Some(Ok(())),
        Err(error) => Some(Err(error)),
    }
}

/// Returns the script that a shell reads at its start so that it completes gwctl's lines.
pub(crate) fn script(shell: Shell) -> io::Result<Vec<u8>> {
    let name = match shell {
        Shell::Bash => "bash",
        Shell::Elvish => "elvish",
        Shell::Fish => "fish",
        Shell::Powershell => "powershell",
        Shell::Zsh => "zsh",
    };
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let shell = shells.completer(name).ok_or(io::ErrorKind::Unsupported)?;
    shell.write_registration(VARIABLE, "gwctl", "gwctl", "gwctl", &mut script)?;
    Ok(script)
}

/// Returns the definition of the command line, with what only the gateway can complete.
fn definitions() -> Command {
    let ids = || ArgValueCandidates::new(|| candidates(|route| (route.id.clone(), route.host.clone())));
    let hosts = || ArgValueCandidates::new(|| candidates(|route| (route.host.clone(), route.id.clone())));
    Cli::command().mut_subcommand("routes", |routes| {
        let routes = ["get", "update", "delete"].into_iter().fold(routes, |routes, name| {
            routes.mut_subcommand(name, |c| c.mut_arg("route", |arg| arg.add(ids())))
        });
        routes.mut_subcommand("explain", |explain| explain.mut_arg("host", |arg| arg.add(hosts())))
    })
}

/// Returns a candidate for each route, with what explains it. Whatever is missing or late, there are none, and nothing is said.
fn candidates(of: fn(&RouteView) -> (String, String)) -> Vec<CompletionCandidate> {
    let words = std::env::args_os().skip_while(|word| word != "--").skip(1);
    let Some(routes) = routes(words.collect()) else { return Vec::new() };
    let candidate = |route| {
        let (value, help) = of(route);
        CompletionCandidate::new(printable(&value).into_owned())
            .help(Some(printable(&help).into_owned().into()))
    };
    routes.iter().map(candidate).collect()
}

/// Asks for the routes, with the gateway and the key that an unfinished line means.
fn routes(words: Vec<OsString>) -> Option<Vec<RouteView>> {
    let found = Cli::command().ignore_errors(true).try_get_matches_from(words).ok()?;
    let global = profiles::complete(crate::cli::Global::from_arg_matches(&found).ok()?).ok()?;
    let credentials = Credentials::parse(global.id.as_deref(), global.key.as_deref()).ok()?;
    let key = gwctl::keys::load(&credentials.key_file).ok()?.key;
    let client = Client::new(Endpoint::parse(global.url()).ok()?).signed_by(Signer::new(credentials.id, key));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let params = RouteListParams::default();
    let list = runtime.block_on(async { timeout(WITHIN, client.call(method::ROUTES_LIST, &params)).await });
    runtime.shutdown_background();
    let list: RouteList = list.ok()?.ok()?;
    Some(list.routes)
}
