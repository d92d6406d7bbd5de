//! The fuzzer of `make fuzz`; the environment variable `WEBGATEWAY_FUZZ` names the target.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
mod targets {
    use std::sync::LazyLock;

    use webgateway_fuzz::Target;

    /// The targets of all crates.
    fn all() -> impl Iterator<Item = &'static Target> {
        let crates = [
            webgateway_controlplane::fuzz::TARGETS,
            webgateway_dataplane::fuzz::TARGETS,
            webgateway_process::fuzz::TARGETS,
            webgateway_proto::fuzz::TARGETS,
        ];
        crates.into_iter().flatten()
    }

    /// The target named by `WEBGATEWAY_FUZZ`.
    static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
        let wanted = std::env::var("WEBGATEWAY_FUZZ").unwrap_or_default();
        let found = all().find(|(name, _)| *name == wanted);
        let names: Vec<&str> = all().map(|(name, _)| *name).collect();
        assert!(
            found.is_some(),
            "there is no target `{wanted}`; set WEBGATEWAY_FUZZ to one of {}",
            names.join(", ")
        );
        found.map_or(|_: &[u8]| {}, |(_, run)| *run)
    });

    libfuzzer_sys::fuzz_target!(|input: &[u8]| TARGET(input));
}

#[cfg(not(fuzzing))]
fn main() {
    eprintln!("the fuzzing engine is not built in: run `make fuzz TARGET=hello`");
    std::process::exit(2);
}
