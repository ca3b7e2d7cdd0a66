//! `huxiao cluster`: the broker nodes of a region as one: look, found, change its members, back it up.
//!
//! An order may be given to any node of the region; its leader carries it out. The JSON of the API is passed on whole: what a newer node
//! adds is not lost.

mod restore;
mod status;

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::args::{ConfigFiles, Global};
use crate::check::endpoint;
use crate::exit::{Code, Failure, Outcome};
use crate::http::{Client, Endpoint, HttpError};
use crate::output::{self, Format};
use crate::role::RoleArg;

pub use restore::RestoreArgs;

/// How long an order may take: a newcomer gets everything that the others have first.
const PATIENCE: Duration = Duration::from_secs(180);

/// What can be done with a region.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Show the region: who belongs to it, who leads, how far each is
    ///
    /// Exits 10 if the region has no quorum, 3 if the node cannot be asked.
    Status(StatusArgs),
    /// Found the region now, and say what keeps it from being founded
    ///
    /// Nodes with broker.peers found their region by themselves as soon as all of them are there. Harmless if that has happened.
    Init(Api),
    /// Take a node in: it gets what the others have, then it votes
    ///
    /// Its own broker.peers must name it and the others.
    Add(AddArgs),
    /// Let a node go; what it holds stays on its disk
    Remove(NameArgs),
    /// Put a node's new store in the place of its lost one
    ///
    /// A node whose record folder is lost or empty is a stranger to its region, since it may have forgotten how it voted. Start it, then
    /// give this order.
    Replace(ReplaceArgs),
    /// Hand the lead over to a node, as before stopping the one that leads
    TransferLeader(NameArgs),
    /// Write the record as it is now into a file in the node's data folder
    Backup(Api),
    /// Begin a new region of one with what a backup holds, on a node that does not run and whose record folder is empty
    Restore(RestoreArgs),
}

/// Which node is asked.
#[derive(Debug, Args)]
pub struct Api {
    /// The API of any node of the region: http://host:port or unix:/path
    #[arg(long, visible_alias = "broker", value_name = "URL", env = "HUXIAO_BROKER_URL", conflicts_with = "files")]
    api: Option<Endpoint>,
    #[command(flatten)]
    config: ConfigFiles,
    /// How the answer is shown
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) output: Format,
}

/// Arguments of `cluster status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    api: Api,
    /// Look again every second until ctrl-c; with json, one object a line
    #[arg(long)]
    watch: bool,
}

/// Arguments of `cluster add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// The node and where the others reach it: NAME@HOST:PORT
    #[arg(value_name = "NAME@HOST:PORT")]
    node: String,
    #[command(flatten)]
    api: Api,
}

/// Arguments of `cluster remove` and `cluster transfer-leader`.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// The node
    name: String,
    #[command(flatten)]
    api: Api,
}

/// Arguments of `cluster replace`.
#[derive(Debug, Args)]
pub struct ReplaceArgs {
    /// The node
    name: String,
    /// Where the others reach it now; without it, where they did before
    #[arg(long, value_name = "HOST:PORT")]
    addr: Option<String>,
    #[command(flatten)]
    api: Api,
}

/// Runs one of them.
///
/// # Errors
/// [`Failure`] with the code that the command documents.
pub async fn run(command: ClusterCommand, global: &Global) -> Outcome {
    match command {
        ClusterCommand::Status(args) => status::run(&args.api, args.watch, global).await,
        ClusterCommand::Init(api) => order(&api, "init", json!({})).await,
        ClusterCommand::Add(args) => order(&args.api, "add", json!({ "node": args.node })).await,
        ClusterCommand::Remove(args) => order(&args.api, "remove", json!({ "name": args.name })).await,
        ClusterCommand::Replace(args) => {
            let mut body = json!({ "name": args.name });
            if let Some(addr) = args.addr {
                body["addr"] = addr.into();
            }
            order(&args.api, "replace", body).await
        }
        ClusterCommand::TransferLeader(args) => order(&args.api, "transfer-leader", json!({ "name": args.name })).await,
        ClusterCommand::Backup(api) => backup(&api).await,
        ClusterCommand::Restore(args) => restore::run(&args, global),
    }
}

impl Api {
    pub(crate) fn endpoint(&self) -> Result<Endpoint, Failure> {
        if self.api.is_none() && self.config.files.is_empty() {
            return Err(Failure::new(Code::Usage, "say which node: --api URL or --config FILE"));
        }
        endpoint(self.api.as_ref(), &self.config, Some(RoleArg::Broker))
    }
}

async fn post(api: &Api, verb: &str, body: &Value) -> Result<Value, Failure> {
    let mut client = Client::new(api.endpoint()?).patient(PATIENCE);
    let answer = client.post(&format!("/v1/cluster/{verb}"), &[], Some(body)).await.map_err(of_http)?;
    answer.json().map_err(Failure::failed)
}

async fn order(api: &Api, verb: &str, body: Value) -> Outcome {
    let json = post(api, verb, &body).await?;
    match api.output {
        Format::Json => output::finish_json(Code::Ok, &json),
        Format::Table => {
            let done = json["done"].as_str().unwrap_or_default();
            output::finish(Code::Ok, &format!("{done}\n\n{}", status::table(&json["cluster"])))
        }
    }
}

async fn backup(api: &Api) -> Outcome {
    let json = post(api, "backup", &json!({})).await?;
    if api.output == Format::Json {
        return output::finish_json(Code::Ok, &json);
    }
    let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
    let rows = [
        ("file", text("file")),
        ("bytes", json["bytes"].to_string()),
        ("sha256", text("sha256")),
        ("record", text("record")),
        ("up to entry", json["index"].to_string()),
    ];
    output::finish(Code::Ok, &output::pairs(&rows))
}

/// A refusal's own words are what a person needs; whether it was carried out is what a script needs.
pub(crate) fn of_http(error: HttpError) -> Failure {
    match error {
        HttpError::Refused { code, message, .. } if code == "unknown_outcome" => Failure::unknown(message),
        HttpError::Refused { message, .. } => Failure::failed(message),
        error if error.is_open() => Failure::unknown(error),
        error => Failure::failed(error),
    }
}
