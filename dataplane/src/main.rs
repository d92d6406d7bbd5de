//! The `webgateway-dataplane` binary.

use std::process::ExitCode;

use webgateway_dataplane::app::App;

/// An allocator with a heap per thread, as each request is allocated and freed on one thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    webgateway_process::run::<App>()
}
