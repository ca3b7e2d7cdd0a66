//! `huxiao alarm show`: one event as a node knows it, and its way as a waterfall.

use clap::Args;
use huxiao_core::EventId;

use super::view::View;
use super::waterfall::waterfall;
use crate::exit::{Code, Failure, Outcome};
use crate::http::{Client, Endpoint};
use crate::output::{self, Format};

/// Arguments of `alarm show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The event's id
    id: EventId,
    #[command(flatten)]
    node: Node,
    /// How it is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Node {
    /// Ask this relay: http://host:port or unix:/path
    #[arg(long, value_name = "URL", env = "HUXIAO_RELAY_URL")]
    relay: Option<Endpoint>,
    /// Ask this station
    #[arg(long, value_name = "URL", env = "HUXIAO_STATION_URL")]
    station: Option<Endpoint>,
    /// Ask this broker node
    #[arg(long, value_name = "URL", env = "HUXIAO_BROKER_URL")]
    broker: Option<Endpoint>,
}

/// Runs it.
///
/// # Errors
/// The node cannot be reached, or does not have the event.
pub async fn run(args: ShowArgs) -> Outcome {
    let Some(endpoint) = args.node.relay.or(args.node.station).or(args.node.broker) else {
        return Err(Failure::new(Code::Usage, "say which node: --relay URL, --station URL or --broker URL"));
    };
    let path = format!("/v1/events/{}", args.id);
    let json = Client::new(endpoint).get_json(&path).await.map_err(Failure::failed)?;
    let view = View::new(json);
    match args.output {
        Format::Json => output::finish_json(Code::Ok, &view.with_stage_ms()),
        Format::Table => {
            let way = waterfall(&view.laps(), output::columns());
            let gap = if way.is_empty() { "" } else { "\n" };
            output::finish(Code::Ok, &format!("{}{gap}{way}", view.table()))
        }
    }
}
