//! `huxiao version`: what this program is and what it understands.

use clap::Args;
use serde_json::json;

use crate::exit::{Code, Outcome};
use crate::output::{self, Format};

/// The program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that it was built from, or `unknown`.
pub const COMMIT: &str = env!("HUXIAO_BUILD_COMMIT");
const RUSTC: &str = env!("HUXIAO_BUILD_RUSTC");
const TARGET: &str = env!("HUXIAO_BUILD_TARGET");

/// Arguments of `version`.
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// How it is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// Runs it.
///
/// # Errors
/// The output could not be written.
pub fn run(args: &VersionArgs) -> Outcome {
    // Messages are versioned by package and only gain fields, so every minor version up to ours is understood.
    let (wire, minor) = ("huxiao.v1", huxiao_core::WIRE_MINOR);
    let (frame, row) = (huxiao_wire::VERSION, huxiao_wire::ROW_VERSION);
    if args.output == Format::Json {
        let json = json!({
            "version": VERSION,
            "commit": COMMIT,
            "rustc": RUSTC,
            "target": TARGET,
            "wire": { "package": wire, "minor_from": 1, "minor_to": minor, "frame": frame },
            "store": { "row_from": row, "row_to": row },
        });
        return output::finish_json(Code::Ok, &json);
    }
    let rows = [
        ("huxiao", VERSION.to_owned()),
        ("commit", COMMIT.to_owned()),
        ("rustc", RUSTC.to_owned()),
        ("target", TARGET.to_owned()),
        ("wire", format!("{wire}, minor versions 1 to {minor}, frame {frame}")),
        ("store", format!("row format {row}")),
    ];
    output::finish(Code::Ok, &output::pairs(&rows))
}
