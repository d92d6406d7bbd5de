//! The `webgateway-controlplane` binary.

use std::process::ExitCode;

use webgateway_controlplane::app::App;

/// An allocator that returns the memory of the first load and of full syncs to the system. With a million routes, that
/// is most of the process's memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    webgateway_process::run::<App>()
}
