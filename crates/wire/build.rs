//! Compiles `proto/huxiao/v1` with `protox`, so that nobody needs `protoc`.

use std::error::Error;
use std::path::Path;

/// Where the contract is, seen from this crate.
const ROOT: &str = "../../proto";
/// Its files.
const FILES: [&str; 6] = [
    "huxiao/v1/command.proto",
    "huxiao/v1/event.proto",
    "huxiao/v1/session.proto",
    "huxiao/v1/plan.proto",
    "huxiao/v1/record.proto",
    "huxiao/v1/cluster.proto",
];
/// Fields whose bytes are shared and not copied: a request to a peer may hold thousands of commands.
const SHARED: [&str; 3] =
    [".huxiao.v1.RaftEntry.command", ".huxiao.v1.Propose.commands", ".huxiao.v1.ArchiveRow.entry"];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={}", Path::new(ROOT).join(file).display());
    }
    let descriptors = protox::compile(FILES, [ROOT])?;
    prost_build::Config::new().bytes(SHARED).compile_fds(descriptors)?;
    Ok(())
}
