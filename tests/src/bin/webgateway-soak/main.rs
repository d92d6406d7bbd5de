//! `make soak`: honest and hostile load with changing routes; fails unless every honest request succeeds and both
//! processes hold the same resources at the end as at the start.

mod changes;
mod deployment;
mod honest;
mod hostile;
mod hostile_http;
mod interruptions;
mod report;
mod sample;
mod targets;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use tokio::task::LocalSet;
use webgateway_tests::{netns, process};

use crate::deployment::{Deployment, Load};
use crate::report::table;

/// Loads a real controlplane and a real dataplane, and compares their resources before and after.
#[derive(Debug, Clone, Copy, Parser)]
#[command(name = "webgateway-soak")]
struct Args {
    /// The length of the load, in minutes.
    #[arg(long, default_value_t = 20.0)]
    minutes: f64,
    /// The length of the warm-up, in seconds; the comparison starts at its end.
    #[arg(long, default_value_t = 60)]
    warm_up: u64,
    /// The number of times that the controlplane is killed and restarted during the load.
    #[arg(long, default_value_t = 2)]
    kills: u32,
}

fn main() -> ExitCode {
    let done = process::trampoline().and_then(|()| {
        let args = Args::parse();
        netns::prepare()?;
        netns::enter()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(LocalSet::new().run_until(soak(args)))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("webgateway-soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn soak(args: Args) -> Result<()> {
    let mut deployment = Deployment::prepare().await?;
    eprintln!("warming up for {} s", args.warm_up);
    let warmed_up = run(&mut deployment, Duration::from_secs(args.warm_up), 1).await;
    warmed_up.map_err(|error| deployment.explain(error))?;
    let start = deployment.settled().await?;
    eprintln!("loading for {} min", args.minutes);
    let load = run(&mut deployment, Duration::from_secs_f64(args.minutes * 60.0), args.kills).await;
    let done = load.map_err(|error| deployment.explain(error))?;
    let end = deployment.settled_as(&start).await?;
    let (text, differences) = table(&start, &done.most, &end);
    println!("{text}{}", done.summary);
    ensure!(differences.is_empty(), "{}", differences.join("; "));
    Ok(())
}

/// The result of a load.
struct LoadResult {
    /// The maximum of each figure.
    most: sample::Figures,
    /// The summary of requests and attacks.
    summary: String,
}

/// Runs the load for `length`, with `kills` of the controlplane and reloads of both processes.
async fn run(deployment: &mut Deployment, length: Duration, kills: u32) -> Result<LoadResult> {
    const SAMPLE: Duration = Duration::from_secs(5);
    const RELOAD: u32 = 4;
    let load = Load::start(deployment).await?;
    let (begun, mut most, mut killed, mut sampled) = (Instant::now(), sample::Figures::default(), 0, 0);
    while begun.elapsed() < length {
        tokio::time::sleep(SAMPLE.min(length.saturating_sub(begun.elapsed()))).await;
        let figures = deployment.sample().await?;
        eprintln!("{:>5} s  {figures}", begun.elapsed().as_secs());
        most.raise(&figures);
        sampled += 1;
        if sampled % RELOAD == 0 {
            deployment.reload()?;
        }
        if killed < kills && begun.elapsed() >= length * (killed + 1) / (kills + 1) {
            killed += 1;
            deployment.interrupt().await?;
        }
    }
    let summary = load.end().await?;
    Ok(LoadResult { most, summary })
}
