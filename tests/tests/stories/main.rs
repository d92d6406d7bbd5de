//! What users see, told over the real binaries: each module tells of one side of it.

mod adversity;
mod answers;
mod bad_input;
mod base_domain;
mod cached;
mod certificates;
mod certified;
mod changes;
mod clocks;
mod complete;
mod concurrency;
mod configuration;
mod coverage;
mod declarative;
mod dns;
mod documents;
mod early_data;
mod ended_routes;
mod endings;
mod endurance;
mod failing_backends;
mod feed;
mod framing;
mod garbage;
mod harness;
mod health;
mod http_challenges;
mod interop;
mod keep_alive;
mod key_files;
mod links;
mod listeners;
mod logs;
mod loops;
mod misdirected;
mod operators;
mod outages;
mod owners;
mod paces;
mod passthrough;
mod plain;
mod proxied;
mod readers;
mod reload;
mod remote;
mod resume;
mod shared;
mod signatures;
mod slow;
mod slow_answers;
mod smuggling;
mod speed;
mod standalone;
mod stopping;
mod strict_heads;
mod terminated;
mod tour;
mod trailers;
mod upgrade;
mod uploads;
mod users;
mod watching;
mod websockets;

use webgateway_tests::story::Trial;

fn main() -> anyhow::Result<()> {
    let stories = [traffic(), control()].into_iter().flatten().flatten();
    webgateway_tests::story::main(stories.collect())
}

/// The stories of the traffic.
fn traffic() -> Vec<Vec<Trial>> {
    vec![
        harness::stories(),
        configuration::stories(),
        terminated::stories(),
        passthrough::stories(),
        early_data::stories(),
        websockets::stories(),
        misdirected::stories(),
        loops::stories(),
        failing_backends::stories(),
        health::stories(),
        plain::stories(),
        garbage::stories(),
        smuggling::stories(),
        framing::stories(),
        answers::stories(),
        strict_heads::stories(),
        trailers::stories(),
        slow::stories(),
        slow_answers::stories(),
        changes::stories(),
        stopping::stories(),
        logs::stories(),
        reload::stories(),
        listeners::stories(),
        upgrade::stories(),
        feed::stories(),
        ended_routes::stories(),
        endings::stories(),
        readers::stories(),
        paces::stories(),
        keep_alive::stories(),
        uploads::stories(),
        http_challenges::stories(),
    ]
}

/// The stories of the API, the feed, the certificates and the documents.
fn control() -> Vec<Vec<Trial>> {
    vec![
        dns::stories(),
        owners::stories(),
        concurrency::stories(),
        declarative::stories(),
        watching::stories(),
        operators::stories(),
        users::stories(),
        base_domain::stories(),
        signatures::stories(),
        key_files::stories(),
        interop::stories(),
        coverage::stories(),
        bad_input::stories(),
        certificates::stories(),
        clocks::stories(),
        proxied::stories(),
        adversity::stories(),
        outages::stories(),
        resume::stories(),
        links::stories(),
        cached::stories(),
        shared::stories(),
        endurance::stories(),
        remote::stories(),
        documents::stories(),
        tour::stories(),
        speed::stories(),
    ]
}
