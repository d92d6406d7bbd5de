//! Compiles the .proto files with protox, so that no `protoc` is needed.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let file = "webgateway/feed/v1/feed.proto";
    println!("cargo:rerun-if-changed={file}");
    let descriptors = protox::compile([file], ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("feed.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".webgateway.feed.v1").compile_fds(descriptors)?;
    Ok(())
}
