//! `huxiao pin hash`: what stands in a relay's configuration in the place of a school's PIN.

use std::io::{BufRead, IsTerminal, Read};

use clap::{Args, Subcommand};
use huxiao_pki::pin::PinHash;

use crate::exit::{Code, Failure, Outcome};
use crate::output;

/// What can be done with PINs.
#[derive(Debug, Subcommand)]
pub enum PinCommand {
    /// Read a PIN from standard input and print the hash for relay.pin_hash or relay.duress_pin_hash
    ///
    /// A PIN has 4 to 12 digits. It is read from standard input and not from the command line, where others on this computer see it.
    Hash(HashArgs),
}

/// Arguments of `pin hash`.
#[derive(Debug, Args)]
pub struct HashArgs {}

/// Bytes of standard input that are looked at.
const LINE_BYTES: u64 = 256;

/// Runs it.
///
/// # Errors
/// What was read is no PIN.
pub fn run(command: &PinCommand) -> Outcome {
    let PinCommand::Hash(HashArgs {}) = command;
    let input = std::io::stdin();
    if input.is_terminal() {
        output::say("PIN: ");
    }
    let mut line = String::new();
    let read = input.lock().take(LINE_BYTES).read_line(&mut line);
    read.map_err(|error| Failure::failed(format!("standard input cannot be read: {error}")))?;
    let hash = PinHash::of(line.trim()).map_err(Failure::failed)?;
    output::finish(Code::Ok, &format!("{hash}\n"))
}
