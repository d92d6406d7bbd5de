//! The `webgateway-dataplane` binary.

use std::process::ExitCode;

use webgateway_dataplane::app::App;

/// Requests live and die on one thread: an allocator with heaps per thread serves them best.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    webgateway_process::run::<App>()
}
