//! `huxiao drill`: announce a drill, end it, see how far it has come, and account for it.
//!
//! Invariant: an order has its id from here, so the same command line with `--id` says the same order again, which is harmless.

mod show;

use std::time::Duration;

use clap::{Args, Subcommand};
use huxiao_core::drill::DrillId;
use huxiao_core::limits;
use serde_json::{Value, json};

use crate::cluster::of_http;
use crate::exit::{Code, Failure, Outcome};
use crate::http::{Client, Endpoint};
use crate::output::{self, Format};

/// Longer than a node waits for its record.
const PATIENCE: Duration = Duration::from_secs(15);

/// What can be done with drills.
#[derive(Debug, Subcommand)]
pub enum DrillCommand {
    /// Announce a drill: in its window, presses of its schools' buttons are rehearsals
    ///
    /// It begins some seconds after the stations that it touches were told, at the earliest. A station's seat announces drills of its own
    /// schools, or of the area whose desk it is; the operator of a broker node those of any.
    Open(OpenArgs),
    /// End a drill before its time, or before it begins
    Close(CloseArgs),
    /// List the drills that are to come, are on, or were
    List(ListArgs),
    /// Show how far a drill has come: who pressed, who did not, and how quickly that was seen and answered
    Show(show::ShowArgs),
    /// Account for a drill, school by school
    Report(show::ReportArgs),
}

/// Which node is asked.
#[derive(Debug, Args)]
struct At {
    /// The API of any broker node of the region: http://host:port or unix:/path
    #[arg(long, value_name = "URL", env = "HUXIAO_BROKER_URL")]
    broker: Option<Endpoint>,
    /// The API of a station, whose seat gives the order then
    #[arg(long, value_name = "URL")]
    station: Option<Endpoint>,
}

impl At {
    /// The station, if one is named, or else the broker node.
    fn client(self) -> Result<Client, Failure> {
        let node = self.station.or(self.broker);
        let node = node.ok_or_else(|| Failure::new(Code::Usage, "say which node: --broker URL or --station URL"))?;
        Ok(Client::new(node).patient(PATIENCE))
    }
}

/// Arguments of `drill open`.
#[derive(Debug, Args)]
pub struct OpenArgs {
    /// All schools of an area: the two, four or six leading digits of GB/T 2260 (36 a province, 3611 a city, 361102 a county)
    #[arg(long, value_name = "DIGITS", required_unless_present = "schools", conflicts_with = "schools")]
    area: Option<String>,
    /// A school; may be given several times
    #[arg(long = "school", value_name = "CODE")]
    schools: Vec<String>,
    /// A button whose presses are rehearsals; without one all are. May be given several times
    #[arg(long = "device", value_name = "DEVICE")]
    devices: Vec<String>,
    /// When it is to begin, such as 2026-03-01T10:00:00+08:00; now means as soon as it is announced
    #[arg(long, value_name = "TIME", default_value = "now")]
    from: String,
    /// How long
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u16).range(1..=i64::from(limits::PLAN_DRILL_MINUTES)))]
    minutes: u16,
    /// Who approved it
    #[arg(long, value_name = "NAME")]
    approver: String,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// Say an order again that nobody confirmed in time: its id, as the answer had it
    #[arg(long, value_name = "UUID")]
    id: Option<DrillId>,
    #[command(flatten)]
    at: At,
    /// How the answer is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// Arguments of `drill close`.
#[derive(Debug, Args)]
pub struct CloseArgs {
    /// The drill's id
    id: DrillId,
    /// Who orders it
    #[arg(long, value_name = "NAME")]
    who: String,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    #[command(flatten)]
    at: At,
    /// How the answer is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// Arguments of `drill list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    at: At,
    /// How it is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// Runs one of them.
///
/// # Errors
/// The region does not carry it out, nobody confirmed it in time, or the node cannot be reached.
pub async fn run(command: DrillCommand) -> Outcome {
    match command {
        DrillCommand::Open(args) => open(args).await,
        DrillCommand::Close(args) => close(args).await,
        DrillCommand::List(args) => list(args).await,
        DrillCommand::Show(args) => show::show(args).await,
        DrillCommand::Report(args) => show::report(args).await,
    }
}

async fn open(args: OpenArgs) -> Outcome {
    let id = args.id.unwrap_or_else(draw);
    let mut body = json!({
        "id": id.to_string(), "devices": args.devices, "minutes": args.minutes, "approver": args.approver, "note": args.note,
    });
    match &args.area {
        Some(area) => body["area"] = area.as_str().into(),
        None => body["schools"] = json!(args.schools),
    }
    if args.from != "now" {
        body["from"] = args.from.into();
    }
    let answer = order(args.at, "/v1/drills", &body, id).await?;
    shown(&answer, args.output)
}

async fn close(args: CloseArgs) -> Outcome {
    let body = json!({ "who": args.who, "note": args.note });
    let answer = order(args.at, &format!("/v1/drills/{}/close", args.id), &body, args.id).await?;
    shown(&answer, args.output)
}

async fn order(at: At, path: &str, body: &Value, id: DrillId) -> Result<Value, Failure> {
    match at.client()?.post(path, &[], Some(body)).await {
        Ok(answer) => answer.json().map_err(Failure::failed),
        Err(error) => {
            let failure = of_http(error);
            let again = format!("{}; to say the same again, add --id {id}", failure.words);
            Err(if failure.code == Code::Unknown { Failure::new(Code::Unknown, again) } else { failure })
        }
    }
}

/// A new drill's id.
fn draw() -> DrillId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&crate::random::number().to_be_bytes());
    id[8..].copy_from_slice(&crate::random::number().to_be_bytes());
    DrillId(id)
}

fn shown(drill: &Value, format: Format) -> Outcome {
    match format {
        Format::Json => output::finish_json(Code::Ok, drill),
        Format::Table => output::finish(Code::Ok, &output::pairs(&show::pairs(drill))),
    }
}

async fn list(args: ListArgs) -> Outcome {
    let json = args.at.client()?.get_json("/v1/drills").await.map_err(of_http)?;
    if args.output == Format::Json {
        return output::finish_json(Code::Ok, &json);
    }
    let mut lines = output::table(&["drill", "", "from", "until", "scope", "approver", "pressed"]);
    for drill in json["drills"].as_array().into_iter().flatten() {
        let pressed = match (drill["pressed"].as_u64(), drill["in_scope"].as_u64()) {
            (Some(pressed), Some(schools)) => format!("{pressed}/{schools}"),
            // A station has no figures.
            _ => String::new(),
        };
        lines.add_row([
            show::text(&drill["id"]),
            show::phase(drill),
            show::text(&drill["from"]),
            show::text(&drill["until"]),
            show::scope(drill),
            show::text(&drill["approver"]),
            pressed,
        ]);
    }
    output::finish(Code::Ok, &output::render(&lines))
}
