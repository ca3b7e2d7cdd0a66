//! `huxiao audit`: the history of all cases as a file that tells of itself whether it is whole.
//!
//! One JSON object a line: for each case one line `case` (the event's bytes, how many steps, the digest of the last), then its steps in order;
//! at the end one line `end` (how many cases and lines, and the SHA-256 of all lines before).
//!
//! What the digests show: that a line was changed, left out, added or moved by whoever did not compute everything anew. Against somebody who
//! does, keep the digest of the `end` line, which the export prints, in another place than the file.

mod export;
mod lines;
mod verify;

use clap::Subcommand;

use crate::args::Global;
use crate::exit::Outcome;

/// What can be done with the history of cases.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Print the history of a region's cases, one JSON object a line
    ///
    /// Record and archive, as one broker node has them. The digest at the end also goes to standard error: keep it apart from the file.
    Export(export::ExportArgs),
    /// Hold an export against its digests, without a network
    ///
    /// Exits 0 if every line fits, 10 and names the first that does not.
    Verify(verify::VerifyArgs),
}

/// Runs one of them.
///
/// # Errors
/// [`crate::exit::Failure`]
pub async fn run(command: AuditCommand, global: &Global) -> Outcome {
    match command {
        AuditCommand::Export(args) => export::run(args, global).await,
        AuditCommand::Verify(args) => verify::run(&args),
    }
}
