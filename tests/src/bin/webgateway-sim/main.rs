//! `make sim`: N nodes on a real controlplane with M routes; prints how fast a change is everywhere, and what it takes.

mod deployment;
mod nodes;
mod report;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use webgateway_tests::{process, seed};

use crate::deployment::Deployment;
use crate::nodes::Fleet;
use crate::report::Report;

/// Connects simulated nodes to a real controlplane and measures, with one real dataplane; there are no pass criteria.
#[derive(Debug, Clone, Copy, Parser)]
#[command(name = "webgateway-sim")]
struct Args {
    /// The number of simulated nodes; each reads and acknowledges every batch, and keeps nothing.
    #[arg(long, default_value_t = 100)]
    nodes: usize,
    /// The number of routes before the first change.
    #[arg(long, default_value_t = 10_000)]
    routes: u64,
    /// The number of routes that are created, one after the other, during the measurement.
    #[arg(long, default_value_t = 200)]
    changes: usize,
    /// The seed of the generated routes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let done = process::trampoline().and_then(|()| {
        let args = Args::parse();
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(simulate(args))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("webgateway-sim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn simulate(args: Args) -> Result<()> {
    let mut report = Report::default();
    let mut deployment = Deployment::prepare().await?;
    report.empty = deployment.memory()?;
    deployment.stop().await?;
    eprintln!("making {} routes", args.routes);
    seed::routes(&deployment.database(), args.routes, args.seed)?;

    eprintln!("starting the controlplane and the dataplane with them");
    let begun = Instant::now();
    deployment.start_controlplane().await?;
    report.start = begun.elapsed();
    let begun = Instant::now();
    deployment.start_dataplane().await?;
    report.full_sync = begun.elapsed();
    let mut fleet = Fleet::default();
    let first = fleet.sync(&deployment.feed()).await?;
    (report.read_all, report.full_bytes) = (first.took, first.bytes);
    report.full = deployment.memory()?;
    eprintln!("letting {} nodes come, then creating {} routes", args.nodes, args.changes);
    fleet.join(&deployment.feed(), args.nodes).await?;

    let applied = deployment.applied().await?;
    for n in 0..args.changes {
        let change = deployment.create(n).await?;
        let propagated = fleet.reached(change.version, change.answered).await?;
        report.answers.push(change.took);
        report.propagation.push(propagated);
        // The pause puts the next change into another batch.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    report.apply = deployment.applied().await?.mean_since(applied);
    report.change_bytes = fleet.bytes_each(args.changes);
    report.busy = deployment.memory()?;
    println!("{}", report.table(args.nodes, args.routes));
    deployment.stop().await
}
