//! What users see, told over the real binaries.

fn main() -> anyhow::Result<()> {
    webgateway_tests::story::main(harness::stories())
}

mod harness;
