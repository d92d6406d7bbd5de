//! Runs scenarios, each in its own network namespace and directory; the logs of failed ones are shown.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use anyhow::{Result, bail};
use libtest_mimic::{Arguments, Failed};

pub use libtest_mimic::Trial;

use crate::sandbox::Sandbox;
use crate::{netns, process};

/// The timeout of a scenario, in seconds, unless the variable [`LIMIT_VARIABLE`] sets another one.
const LIMIT: u64 = 120;
const LIMIT_VARIABLE: &str = "WEBGATEWAY_SCENARIO_LIMIT";

/// Defines `pub(crate) fn scenarios()`, which returns the named scenarios as tests. Each is an
/// `async fn(&Sandbox) -> anyhow::Result<()>`; rustc warns that an unlisted one is unused.
#[macro_export]
macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        pub(crate) fn scenarios() -> Vec<$crate::scenario::Trial> {
            vec![$($crate::scenario::trial(module_path!(), stringify!($name), $name)),*]
        }
    };
}

/// Wraps one scenario as a test.
pub fn trial<F>(module: &str, name: &str, scenario: F) -> Trial
where
    F: AsyncFnOnce(&Sandbox) -> Result<()> + Send + 'static,
{
    let module = module.split_once("::").map_or(module, |(_, rest)| rest);
    Trial::test(format!("{module}::{name}"), move || run(scenario).map_err(Failed::from))
}

/// Runs a binary of scenarios.
pub fn main(scenarios: Vec<Trial>) -> Result<()> {
    process::trampoline()?;
    let args = Arguments::from_args();
    if !args.list {
        netns::prepare()?;
    }
    libtest_mimic::run(&args, scenarios).exit()
}

fn run<F>(scenario: F) -> Result<(), String>
where
    F: AsyncFnOnce(&Sandbox) -> Result<()>,
{
    let sandbox = Sandbox::new().map_err(|error| format!("{error:#}"))?;
    let result = catch_unwind(AssertUnwindSafe(|| run_in_namespace(&sandbox, scenario)));
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("{error:#}\n{}", sandbox.logs())),
        Err(panic) => Err(format!("{}\n{}", message(&*panic), sandbox.logs())),
    }
}

fn run_in_namespace<F>(sandbox: &Sandbox, scenario: F) -> Result<()>
where
    F: AsyncFnOnce(&Sandbox) -> Result<()>,
{
    netns::enter()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let limit = std::env::var(LIMIT_VARIABLE).ok().and_then(|seconds| seconds.parse().ok());
    let limit = Duration::from_secs(limit.unwrap_or(LIMIT));
    runtime.block_on(async {
        match tokio::time::timeout(limit, tokio::task::LocalSet::new().run_until(scenario(sandbox))).await {
            Ok(result) => result.and_then(|()| sandbox.check_logs()),
            Err(_) => bail!("not over after {limit:?}"),
        }
    })
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panicked").to_owned()
}
