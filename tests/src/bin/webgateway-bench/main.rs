//! `make bench-api`: signed calls at a fixed rate to a real controlplane with M routes; prints how long they take.

mod deployment;
mod drive;
mod report;
mod requests;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use webgateway_tests::{process, seed};

use crate::deployment::Deployment;
use crate::drive::{PhaseResult, drive};
use crate::report::{Phase, Report};
use crate::requests::{Callers, Kind};

/// Calls the API at a fixed rate and measures the responses; there are no pass criteria.
#[derive(Debug, Clone, Copy, Parser)]
#[command(name = "webgateway-bench")]
struct Args {
    /// The number of routes, of 1,000 owners.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(100_000..))]
    routes: u64,
    /// The length of each of the three phases, in seconds: reads alone, mutations alone, both together.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=120))]
    seconds: u64,
    /// The number of signed reads per second.
    #[arg(long, default_value_t = 2000)]
    reads: u64,
    /// The number of signed mutations per second, each durable before its response.
    #[arg(long, default_value_t = 500)]
    mutations: u64,
    /// The number of keep-alive connections, for the reads and for the mutations each.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// The seed of the generated routes and calls.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let done = process::trampoline().and_then(|()| {
        let args = Args::parse();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(tokio::task::LocalSet::new().run_until(bench(args)))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("webgateway-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn bench(args: Args) -> Result<()> {
    let mut deployment = Deployment::prepare().await?;
    eprintln!("making {} routes", args.routes);
    deployment.stop().await?;
    seed::routes(&deployment.database(), args.routes, args.seed)?;
    eprintln!("starting the controlplane with them");
    deployment.start().await?;
    let mut callers = Callers::new(&deployment, args.routes, args.seed)?;
    // The first reads come from the disk.
    part(&args, &mut deployment, &mut callers, ("warming up", args.reads, args.mutations)).await?;
    let mut report = Report::default();
    for what in [
        ("reads alone", args.reads, 0),
        ("mutations alone", 0, args.mutations),
        ("both together", args.reads, args.mutations),
    ] {
        report.add(part(&args, &mut deployment, &mut callers, what).await?);
    }
    println!("{} routes, {} connections, parts of {} s", args.routes, args.connections, args.seconds);
    println!("{}", report.table());
    deployment.stop().await
}

/// Runs one phase at these rates per second.
async fn part(
    args: &Args,
    deployment: &mut Deployment,
    callers: &mut Callers,
    (what, reads, mutations): (&'static str, u64, u64),
) -> Result<Phase> {
    eprintln!("{what}: signing");
    let reads = callers.sign(Kind::Read, reads, args.seconds)?;
    let mutations = callers.sign(Kind::Mutation, mutations, args.seconds)?;
    eprintln!("{what}: asking");
    let [theirs, ours] = [deployment.cpu()?, deployment::own_cpu()?];
    let (api, start) = (deployment.rpc(), Instant::now() + Duration::from_millis(200));
    let (reads, mutations) = tokio::try_join!(
        drive(api, reads, args.connections, start),
        drive(api, mutations, args.connections, start)
    )?;
    let outcomes: Vec<(Kind, PhaseResult)> = vec![(Kind::Read, reads), (Kind::Mutation, mutations)];
    let cpu = [deployment.cpu()? - theirs, deployment::own_cpu()? - ours];
    Ok(Phase { what, outcomes, cpu, took: start.elapsed() })
}
