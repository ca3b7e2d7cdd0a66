//! One command to a station, its answer, and the wait for its end.

use std::time::{Duration, Instant};

use clap::Args;
use huxiao_core::{CommandId, CommandStage, EventId, Name, Rng, SchoolId};
use huxiao_runtime::clock::Clock;
use serde_json::Value;

use super::show::standing;
use crate::exit::{Code, Failure, Outcome};
use crate::http::{Client, Endpoint, HttpError};
use crate::output::{self, Format};

/// Longer than a station waits for its region.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often it is looked at while its end is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Which school, and what about.
#[derive(Debug, Args)]
pub struct SchoolArgs {
    /// The school
    #[arg(long, value_name = "CODE")]
    pub(super) school: SchoolId,
    /// The alarm that it is about
    #[arg(long, value_name = "ID")]
    pub(super) case: Option<EventId>,
}

/// Arguments of every command.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// The API of the station: http://host:port or unix:/path
    #[arg(long, value_name = "URL", env = "HUXIAO_STATION_URL")]
    station: Endpoint,
    /// The officer's number
    #[arg(long, value_name = "NUMBER")]
    officer: Name,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Within so many seconds a school may still begin with it, 5 to 86400
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(5..=86_400))]
    ttl: Option<u64>,
    /// Wait up to so many seconds for its end
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
    /// Say a command again that nobody confirmed in time: its id, as the answer had it
    #[arg(long, value_name = "UUID")]
    command_id: Option<CommandId>,
    /// How the answer is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// Runs it.
///
/// # Errors
/// The region does not take it, nobody confirmed it in time, it came to nothing, or the station cannot be reached.
pub(super) async fn run(path: &str, mut body: Value, case: &Option<EventId>, args: SendArgs) -> Outcome {
    let id = args.command_id.unwrap_or_else(draw);
    body["officer"] = args.officer.to_string().into();
    body["reason"] = args.reason.into();
    body["command_id"] = id.to_string().into();
    if let Some(ttl) = args.ttl {
        body["ttl_seconds"] = ttl.into();
    }
    if let Some(case) = case {
        body["case"] = case.to_string().into();
    }
    let client = || Client::new(args.station.clone()).patient(PATIENCE);
    let mut state: Value = match client().post(path, &[], Some(&body)).await {
        Ok(answer) => answer.json().map_err(Failure::failed)?,
        Err(error) => return refused(&error, args.output, id),
    };
    let until = args.wait.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut code = Code::Ok;
    if let Some(until) = until {
        let mut client = client();
        while !is_end(&state) && Instant::now() < until {
            tokio::time::sleep(LOOK_EVERY).await;
            state = client.get_json(&format!("/v1/commands/{id}")).await.map_err(Failure::failed)?;
        }
        code = match state["stage"].as_str() {
            Some("finished") => Code::Ok,
            _ if is_end(&state) => Code::Failed,
            _ => Code::Unknown,
        };
    }
    match args.output {
        Format::Json => output::finish_json(code, &state),
        Format::Table => output::finish(code, &format!("{id}  {}\n", standing(&state))),
    }
}

fn is_end(state: &Value) -> bool {
    let stage = state["stage"].as_str().and_then(|stage| stage.parse::<CommandStage>().ok());
    stage.is_some_and(CommandStage::is_end)
}

/// A new command's id.
fn draw() -> CommandId {
    CommandId::generate(Clock::system().wall(), &mut Rng::new(crate::random::number()))
}

fn refused(error: &HttpError, format: Format, id: CommandId) -> Outcome {
    let HttpError::Refused { code, body, .. } = error else {
        let code = if error.is_open() { Code::Unknown } else { Code::Failed };
        return Err(Failure::new(code, format!("{error}; to say the same again, add --command-id {id}")));
    };
    if format == Format::Json {
        output::finish_json(Code::Failed, body)?;
    }
    // It may yet come into the record.
    if code == "not_confirmed" { Err(Failure::unknown(error)) } else { Err(Failure::failed(error)) }
}
