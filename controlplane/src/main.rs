//! The `webgateway-controlplane` binary.

use std::process::ExitCode;

use webgateway_controlplane::app::App;

/// Gives back what the first load and each full sync took; with a million routes that is most of the memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    webgateway_process::run::<App>()
}
