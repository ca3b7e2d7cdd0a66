//! `huxiao alarm escalate`: an officer has more stations see an alarm.

use clap::Args;
use huxiao_core::{EventId, Name, StationId};
use serde_json::{Value, json};

use crate::exit::{Code, Failure, Outcome};
use crate::http::{Client, Endpoint, HttpError};
use crate::output::{self, Format};

/// Arguments of `alarm escalate`.
#[derive(Debug, Args)]
pub struct EscalateArgs {
    /// The alarm's id
    id: EventId,
    /// The station that must see it too; several separated by commas
    #[arg(long, value_name = "STATION", required = true, value_delimiter = ',')]
    to: Vec<StationId>,
    /// The API of the station that has it: http://host:port or unix:/path
    #[arg(long, value_name = "URL", env = "HUXIAO_STATION_URL")]
    station: Endpoint,
    /// The officer's number
    #[arg(long, value_name = "NUMBER")]
    officer: Name,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// How the answer is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// Runs it.
///
/// # Errors
/// The region does not take it, nobody confirmed it in time, or the station cannot be reached.
pub async fn run(args: EscalateArgs) -> Outcome {
    let path = format!("/v1/events/{}/escalate", args.id);
    let to: Vec<String> = args.to.iter().map(ToString::to_string).collect();
    let body = json!({ "to": to, "officer": args.officer.as_str(), "note": args.note });
    let answer: Value = match Client::new(args.station).post(&path, &[], Some(&body)).await {
        Ok(answer) => answer.json().map_err(Failure::failed)?,
        Err(error) => return refused(&error, args.output),
    };
    match args.output {
        Format::Json => output::finish_json(Code::Ok, &answer),
        Format::Table => output::finish(Code::Ok, &format!("已升级  escalated to {}\n", to.join(", "))),
    }
}

fn refused(error: &HttpError, format: Format) -> Outcome {
    let HttpError::Refused { code, body, .. } = error else {
        let code = if error.is_open() { Code::Unknown } else { Code::Failed };
        return Err(Failure::new(code, error));
    };
    if format == Format::Json {
        output::finish_json(Code::Failed, body)?;
    }
    match code.as_str() {
        // It may yet come into the record.
        "not_confirmed" => Err(Failure::unknown(error)),
        _ => Err(Failure::failed(error)),
    }
}
