//! `huxiao duty`: the guard posts of a school, over its relay's API.

use std::fmt::Write as _;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::exit::{Code, Failure, Outcome};
use crate::http::{Client, Endpoint};
use crate::output::{self, Format};

/// What can be done with guard posts.
#[derive(Debug, Subcommand)]
pub enum DutyCommand {
    /// Say that a guard is at a post
    CheckIn(CheckInArgs),
    /// Show how the posts are
    Show(ShowArgs),
}

/// What saw the guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SensorArg {
    /// A card at a reader.
    Card,
    /// A key or a button at the post.
    Key,
    /// A camera's agent.
    Camera,
}

/// Arguments of `duty check-in`.
#[derive(Debug, Args)]
pub struct CheckInArgs {
    /// The relay's API: http://host:port or unix:/path
    #[arg(long, value_name = "URL", env = "HUXIAO_RELAY_URL")]
    relay: Endpoint,
    /// The guard post, as the plan names it
    #[arg(long, value_name = "NAME")]
    post: String,
    /// What saw the guard
    #[arg(long, value_enum, default_value = "key")]
    sensor: SensorArg,
    /// Who it is
    #[arg(long, value_name = "TEXT")]
    person: Option<String>,
}

/// Arguments of `duty show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The relay's API: http://host:port or unix:/path
    #[arg(long, value_name = "URL", env = "HUXIAO_RELAY_URL")]
    relay: Endpoint,
    /// How it is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// Runs it.
///
/// # Errors
/// The relay cannot be reached, or does not know the post.
pub async fn run(command: DutyCommand) -> Outcome {
    match command {
        DutyCommand::CheckIn(args) => {
            let sensor = match args.sensor {
                SensorArg::Card => "card",
                SensorArg::Key => "key",
                SensorArg::Camera => "camera",
            };
            let body = json!({ "sensor": sensor, "person": args.person.unwrap_or_default() });
            let path = format!("/v1/duty/{}/check-in", args.post);
            Client::new(args.relay).post(&path, &[], Some(&body)).await.map_err(Failure::failed)?;
            output::finish(Code::Ok, &format!("{} checked in by {sensor}\n", args.post))
        }
        DutyCommand::Show(args) => {
            let json = Client::new(args.relay).get_json("/v1/duty").await.map_err(Failure::failed)?;
            match args.output {
                Format::Json => output::finish_json(Code::Ok, &json),
                Format::Table => output::finish(Code::Ok, &table(&json)),
            }
        }
    }
}

fn table(json: &Value) -> String {
    let mut text = match json["limit_seconds"].as_u64() {
        Some(limit) => format!("on duty; an empty post is told after {limit} s\n"),
        None => "off duty\n".to_owned(),
    };
    for post in json["posts"].as_array().into_iter().flatten() {
        let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        // A text takes everything.
        let _ = writeln!(
            text,
            "{:16} {} {:8} last {} since {}",
            word(&post["post"]),
            word(&post["state_text"]["zh"]),
            word(&post["state"]),
            word(&post["last"]["at"]),
            word(&post["absent_since"])
        );
    }
    text
}
