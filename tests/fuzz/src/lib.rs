//! The corpora of the fuzz targets, which the tests of each crate replay.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

/// A fuzz target: its name, and the function that panics on input that breaks a property.
pub type Target = (&'static str, fn(&[u8]));

/// Runs each target on every input of its corpus, `corpora/NAME`.
///
/// # Panics
///
/// Panics if a property does not hold, after printing the file, and if a corpus is empty or cannot be read.
pub fn replay(targets: &[Target]) {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora");
    for (name, run) in targets {
        let entries = fs::read_dir(corpora.join(name)).into_iter().flatten();
        let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.sort();
        assert!(!files.is_empty(), "the target `{name}` has no corpus in {}", corpora.display());
        for file in files {
            let input = fs::read(&file);
            assert!(input.is_ok(), "{}: {input:?}", file.display());
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(&input.unwrap_or_default()))) {
                eprintln!("the target `{name}` fails on {}", file.display());
                resume_unwind(panic);
            }
        }
    }
}
