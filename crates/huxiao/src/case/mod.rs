//! `huxiao case`: what the police do about an alarm, over the local API of a station.
//!
//! Invariant: an order has its id from here, so the same command line with `--action-id` says the same order again, which is harmless.

mod act;
mod show;

use clap::Subcommand;
use huxiao_core::StationId;
use huxiao_core::case::Reason;

use crate::exit::Outcome;
use act::{Order, OrderArgs};
pub(crate) use show::{history, standing};

/// What can be done about the case of an alarm.
#[derive(Debug, Subcommand)]
pub enum CaseCommand {
    /// Order somebody there
    Dispatch(OrderArgs),
    /// They are on their way
    Enroute(OrderArgs),
    /// They have arrived
    Onscene(OrderArgs),
    /// More help is needed: the level rises
    Help(OrderArgs),
    /// It is dealt with
    Handled(OrderArgs),
    /// Nothing more is to be done
    ///
    /// With `other`, and with `real` before it was handled, --note says why.
    Close {
        /// Why: real, false, accidental, test, drill or other
        #[arg(long, value_name = "REASON")]
        reason: Reason,
        #[command(flatten)]
        order: OrderArgs,
    },
    /// It was closed too early; within ten minutes of that
    Reopen(OrderArgs),
    /// Become its owner in another officer's place
    TakeOver(OrderArgs),
    /// Give it to another station, where somebody takes it over
    Transfer {
        /// The station
        #[arg(long, value_name = "STATION")]
        to: StationId,
        #[command(flatten)]
        order: OrderArgs,
    },
    /// Note something; --note says what
    Note(OrderArgs),
    /// Note the number that the 110 centre gave it
    Number {
        /// The number
        #[arg(long, value_name = "NUMBER")]
        number: String,
        #[command(flatten)]
        order: OrderArgs,
    },
    /// A drill or a test is none: it is an alarm from now on
    ///
    /// Any seat that sees it may say so.
    MakeLive(OrderArgs),
    /// Show how it stands, and its whole history with digests
    Show(show::ShowArgs),
}

/// Runs one of them.
///
/// # Errors
/// [`crate::exit::Failure`]
pub async fn run(command: CaseCommand) -> Outcome {
    let plain = |action| Order { action, detail: None };
    let (order, args) = match command {
        CaseCommand::Dispatch(args) => (plain("dispatch"), args),
        CaseCommand::Enroute(args) => (plain("enroute"), args),
        CaseCommand::Onscene(args) => (plain("onscene"), args),
        CaseCommand::Help(args) => (plain("need_help"), args),
        CaseCommand::Handled(args) => (plain("handled"), args),
        CaseCommand::Reopen(args) => (plain("reopen"), args),
        CaseCommand::TakeOver(args) => (plain("take_over"), args),
        CaseCommand::Note(args) => (plain("note"), args),
        CaseCommand::MakeLive(args) => (plain("make_live"), args),
        CaseCommand::Close { reason, order } => {
            (Order { action: "close", detail: Some(("reason", reason.as_str().to_owned())) }, order)
        }
        CaseCommand::Transfer { to, order } => {
            (Order { action: "transfer", detail: Some(("to", to.to_string())) }, order)
        }
        CaseCommand::Number { number, order } => (Order { action: "number", detail: Some(("number", number)) }, order),
        CaseCommand::Show(args) => return show::run(args).await,
    };
    act::run(order, args).await
}
