//! Compiles `proto/huxiao/v1` with `protox`, so that nobody needs `protoc`.

use std::error::Error;
use std::path::Path;

/// Where the contract is, seen from this crate.
const ROOT: &str = "../../proto";
/// Its files.
const FILES: [&str; 3] = ["huxiao/v1/event.proto", "huxiao/v1/session.proto", "huxiao/v1/record.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={}", Path::new(ROOT).join(file).display());
    }
    let descriptors = protox::compile(FILES, [ROOT])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
