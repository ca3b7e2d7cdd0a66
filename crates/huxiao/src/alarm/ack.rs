//! `huxiao alarm ack`: an officer takes an alarm.

use clap::Args;
use huxiao_core::lamp::Lamp;
use huxiao_core::{EventId, Name, Standing};
use serde_json::{Value, json};

use super::view::officer;
use crate::args::Global;
use crate::exit::{Code, Failure, Outcome};
use crate::http::{Client, Endpoint, HttpError};
use crate::output::{self, Format};

/// Arguments of `alarm ack`.
#[derive(Debug, Args)]
pub struct AckArgs {
    /// The alarm's id
    id: EventId,
    /// The station's API: http://host:port or unix:/path
    #[arg(long, value_name = "URL", env = "HUXIAO_STATION_URL")]
    station: Endpoint,
    /// The officer's number
    #[arg(long, value_name = "NUMBER")]
    officer: Name,
    /// What the officer notes
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// How the answer is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// Runs it.
///
/// # Errors
/// Another officer has the alarm, the station does not know it or cannot be reached.
pub async fn run(args: AckArgs, global: &Global) -> Outcome {
    let path = format!("/v1/events/{}/ack", args.id);
    let body = json!({ "officer": args.officer.as_str(), "note": args.note });
    let mut client = Client::new(args.station);
    let answer = match client.post(&path, &[], Some(&body)).await {
        Ok(answer) => answer.json().map_err(Failure::failed)?,
        Err(error) => return refused(&args.id, &error, args.output),
    };
    if answer["repeated"] == Value::Bool(true) {
        global.say("it had been taken by this officer before; nothing has changed");
    }
    match args.output {
        Format::Json => output::finish_json(Code::Ok, &answer),
        Format::Table => {
            let (zh, en) = Lamp::Acknowledged.words();
            let owner = if answer["owner"].is_object() { &answer["owner"] } else { &answer };
            let mut words = format!("{zh}  {en}: {}\n", officer(owner));
            if answer["standing"] == Standing::Assisting.as_str() || owner["officer"] != answer["officer"] {
                let (zh, en) = Standing::Assisting.words();
                words.push_str(&format!("{zh}  {en}: taken by {}; you assist\n", officer(owner)));
            }
            output::finish(Code::Ok, &words)
        }
    }
}

fn refused(id: &EventId, error: &HttpError, format: Format) -> Outcome {
    let HttpError::Refused { code, body, .. } = error else {
        let code = if error.is_open() { Code::Unknown } else { Code::Failed };
        return Err(Failure::new(code, error));
    };
    if format == Format::Json {
        // Who reads JSON reads the owner there; the sentence goes to standard error all the same.
        output::finish_json(Code::Failed, body)?;
    }
    match code.as_str() {
        "taken" => Err(Failure::failed(format!("{id} was already taken by {}", officer(&body["owner"])))),
        // On its way to the school, but not on the station's disk: say it again once the disk is well.
        "not_kept" => Err(Failure::unknown(error)),
        _ => Err(Failure::failed(error)),
    }
}
