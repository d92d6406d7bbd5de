//! What users see, told over the real binaries: each module tells of one side of it.

mod changes;
mod failing_backends;
mod garbage;
mod harness;
mod misdirected;
mod passthrough;
mod plain;
mod smuggling;
mod standalone;
mod stopping;
mod terminated;
mod websockets;

fn main() -> anyhow::Result<()> {
    let stories = [
        harness::stories(),
        terminated::stories(),
        passthrough::stories(),
        websockets::stories(),
        misdirected::stories(),
        failing_backends::stories(),
        plain::stories(),
        garbage::stories(),
        smuggling::stories(),
        changes::stories(),
        stopping::stories(),
    ];
    webgateway_tests::story::main(stories.into_iter().flatten().collect())
}
