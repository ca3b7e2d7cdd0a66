//! `huxiao broadcast`, `all-clear`, `notice` and `command`: what a station has schools do, over its local API, and how that stands.
//!
//! Invariant: a command has its id from here, so the same command line with `--command-id` says the same command again, which is harmless.

mod send;
mod show;

use clap::{Args, Subcommand};
use huxiao_core::command::{AreaPrefix, Media, NoticeAction, Priority, Sha256Digest};
use huxiao_core::{CommandId, Name, SchoolId};
use serde_json::json;

use crate::exit::Outcome;
use send::{SchoolArgs, SendArgs};

/// Arguments of `broadcast`.
#[derive(Debug, Args)]
pub struct BroadcastArgs {
    #[command(flatten)]
    to: SchoolArgs,
    #[command(flatten)]
    what: What,
    /// Which kind of audio --body is
    #[arg(long, value_name = "opus|wav", default_value = "opus", requires = "body")]
    media: Media,
    /// What it goes before: prompt, live, drill or routine
    #[arg(long, value_name = "PRIORITY", default_value = "live", conflicts_with = "stop")]
    priority: Priority,
    /// How loud, in percent; without it the school decides
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100), conflicts_with = "stop")]
    volume: Option<u8>,
    /// Only in this part of the school; may be given several times
    #[arg(long = "zone", value_name = "ZONE")]
    zones: Vec<Name>,
    /// The device that is to say it
    #[arg(long, value_name = "DEVICE")]
    device: Option<Name>,
    #[command(flatten)]
    send: SendArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Words that are spoken there
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// A recording that the school has, by its file name
    #[arg(long, value_name = "NAME")]
    clip: Option<Name>,
    /// A recording that was uploaded to the station, by its SHA-256
    #[arg(long, value_name = "SHA256")]
    body: Option<Sha256Digest>,
    /// End what is heard: the broadcast with this id or, without one, everything
    #[arg(long, value_name = "ID", num_args = 0..=1)]
    stop: Option<Option<CommandId>>,
}

/// Arguments of `all-clear`.
#[derive(Debug, Args)]
pub struct AllClearArgs {
    #[command(flatten)]
    to: SchoolArgs,
    /// Words that are spoken there; without any it is only shown
    #[arg(long, value_name = "TEXT", default_value = "")]
    text: String,
    #[command(flatten)]
    send: SendArgs,
}

/// What can be done with notices.
#[derive(Debug, Subcommand)]
pub enum NoticeCommand {
    /// Tell all schools of an area for which the station, or the desk that it is, answers
    Send {
        /// The area by the first digits of its code (GB/T 2260): 36, 3611 or 361102
        #[arg(long, value_name = "DIGITS")]
        area: AreaPrefix,
        /// What people are to do: lockdown, shelter, evacuate, information or all_clear
        #[arg(long, value_name = "ACTION", default_value = "information")]
        action: NoticeAction,
        /// Words that are spoken and shown
        #[arg(long, value_name = "TEXT")]
        text: String,
        #[command(flatten)]
        send: SendArgs,
    },
    /// Show how many schools have it, and with --schools which
    Show(show::NoticeArgs),
}

/// What can be done with commands to schools.
#[derive(Debug, Subcommand)]
pub enum SchoolCommandCommand {
    /// List the latest
    List(show::ListArgs),
    /// Show one, and what became of it
    Show(show::ShowArgs),
    /// Try the way down to a school: nothing is heard or seen there
    Test {
        #[command(flatten)]
        to: SchoolArgs,
        #[command(flatten)]
        send: SendArgs,
    },
    /// Have a camera of a school show what it sees
    View {
        #[command(flatten)]
        to: SchoolArgs,
        /// Which; without it the school chooses
        #[arg(long, value_name = "CAMERA")]
        camera: Option<Name>,
        #[command(flatten)]
        send: SendArgs,
    },
}

/// Has something be heard at a school, or end.
///
/// # Errors
/// [`crate::exit::Failure`]
pub async fn broadcast(args: BroadcastArgs) -> Outcome {
    let mut body = match (args.what.text, args.what.clip, args.what.body, args.what.stop) {
        (_, _, _, Some(stop)) => json!({ "kind": "stop", "stops": stop.map(|id| id.to_string()) }),
        (text, clip, digest, None) => json!({
            "kind": "broadcast", "text": text, "clip": clip.map(|clip| clip.to_string()),
            "media": digest.map(|_| args.media.as_str()), "body": digest.map(|digest| digest.to_string()),
            "priority": args.priority.as_str(), "volume": args.volume,
        }),
    };
    body["zones"] = args.zones.iter().map(ToString::to_string).collect();
    body["device"] = json!(args.device.map(|device| device.to_string()));
    send::run(&path(&args.to.school), body, &args.to.case, args.send).await
}

/// Says to a school that the danger is over.
///
/// # Errors
/// [`crate::exit::Failure`]
pub async fn all_clear(args: AllClearArgs) -> Outcome {
    let body = json!({ "kind": "all_clear", "text": args.text });
    send::run(&path(&args.to.school), body, &args.to.case, args.send).await
}

/// Sends a notice, or shows one.
///
/// # Errors
/// [`crate::exit::Failure`]
pub async fn notice(command: NoticeCommand) -> Outcome {
    match command {
        NoticeCommand::Send { area, action, text, send } => {
            let body = json!({ "area": area.to_string(), "action": action.as_str(), "text": text });
            send::run("/v1/notices", body, &None, send).await
        }
        NoticeCommand::Show(args) => show::notice(args).await,
    }
}

/// Lists or shows commands, or gives one of those without a word of their own.
///
/// # Errors
/// [`crate::exit::Failure`]
pub async fn run(command: SchoolCommandCommand) -> Outcome {
    match command {
        SchoolCommandCommand::List(args) => show::list(args).await,
        SchoolCommandCommand::Show(args) => show::one(args).await,
        SchoolCommandCommand::Test { to, send } => {
            send::run(&path(&to.school), json!({ "kind": "test" }), &to.case, send).await
        }
        SchoolCommandCommand::View { to, camera, send } => {
            let body = json!({ "kind": "view", "camera": camera.map(|camera| camera.to_string()) });
            send::run(&path(&to.school), body, &to.case, send).await
        }
    }
}

fn path(school: &SchoolId) -> String {
    format!("/v1/schools/{school}/commands")
}
