//! The commands of `huxiao case` that do something: one order to a station, and its answer in words.

use std::time::Duration;

use clap::Args;
use huxiao_core::case::ActionId;
use huxiao_core::{EventId, Name};
use serde_json::{Value, json};

use super::show::standing;
use crate::exit::{Code, Failure, Outcome};
use crate::http::{Client, Endpoint, HttpError};
use crate::output::{self, Format};

/// Longer than a station waits for its region.
const PATIENCE: Duration = Duration::from_secs(15);

/// Arguments of every order.
#[derive(Debug, Args)]
pub struct OrderArgs {
    /// The alarm's id
    id: EventId,
    /// The API of the station: http://host:port or unix:/path
    #[arg(long, value_name = "URL", env = "HUXIAO_STATION_URL")]
    station: Endpoint,
    /// The officer's number
    #[arg(long, value_name = "NUMBER")]
    officer: Name,
    /// What the officer notes
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// Say an order again that nobody confirmed in time: its id, as the answer had it
    #[arg(long, value_name = "UUID")]
    action_id: Option<ActionId>,
    /// How the answer is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// What is ordered, and the member of the request that its particulars are.
pub(super) struct Order {
    pub(super) action: &'static str,
    pub(super) detail: Option<(&'static str, String)>,
}

/// Runs it.
///
/// # Errors
/// The region does not carry it out, nobody confirmed it in time, or the station cannot be reached.
pub(super) async fn run(order: Order, args: OrderArgs) -> Outcome {
    let path = format!("/v1/events/{}/case", args.id);
    let id = args.action_id.unwrap_or_else(draw);
    let mut body = json!({
        "action": order.action, "officer": args.officer.as_str(), "note": args.note, "action_id": id.to_string(),
    });
    if let Some((member, detail)) = order.detail {
        body[member] = detail.into();
    }
    let answer: Value = match Client::new(args.station).patient(PATIENCE).post(&path, &[], Some(&body)).await {
        Ok(answer) => answer.json().map_err(Failure::failed)?,
        Err(error) => return refused(&error, args.output, id),
    };
    match args.output {
        Format::Json => output::finish_json(Code::Ok, &answer),
        Format::Table => output::finish(Code::Ok, &format!("{}\n", standing(&answer["case"]))),
    }
}

/// A new order's id.
fn draw() -> ActionId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&crate::random::number().to_be_bytes());
    id[8..].copy_from_slice(&crate::random::number().to_be_bytes());
    ActionId(id)
}

fn refused(error: &HttpError, format: Format, id: ActionId) -> Outcome {
    let HttpError::Refused { code, body, .. } = error else {
        let code = if error.is_open() { Code::Unknown } else { Code::Failed };
        return Err(Failure::new(code, format!("{error}; to say the same again, add --action-id {id}")));
    };
    if format == Format::Json {
        output::finish_json(Code::Failed, body)?;
    }
    match code.as_str() {
        // It may yet come into the record.
        "not_confirmed" => Err(Failure::unknown(error)),
        _ if body["case"].is_object() => Err(Failure::failed(format!("{error}\n{}", standing(&body["case"])))),
        _ => Err(Failure::failed(error)),
    }
}
