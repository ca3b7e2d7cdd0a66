//! `huxiao view`: what the cameras of a school show now, over the local API of a station.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use huxiao_core::{EventId, Name};
use serde_json::{Value, json};

use crate::exit::{Code, Failure, Outcome};
use crate::http::{Client, Endpoint};
use crate::output::{self, Format};

/// Longer than a station waits for a camera.
const PATIENCE: Duration = Duration::from_secs(30);

/// Arguments of `huxiao view`.
#[derive(Debug, Args)]
pub struct ViewArgs {
    /// The alarm at whose school: its id
    #[arg(long, value_name = "UUID")]
    event: EventId,
    /// Through which camera; without it, through the first that answers
    #[arg(long, value_name = "NAME")]
    camera: Option<Name>,
    /// The officer's number: who looks is noted
    #[arg(long, value_name = "NUMBER")]
    officer: Name,
    /// Write the picture to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The API of the station: http://host:port or unix:/path
    #[arg(long, value_name = "URL", env = "HUXIAO_STATION_URL")]
    station: Endpoint,
    /// How the answer is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// Runs it.
///
/// # Errors
/// No picture has come, the camera gives none, or the station cannot be reached.
pub async fn run(args: ViewArgs) -> Outcome {
    let mut client = Client::new(args.station).patient(PATIENCE);
    let mut body = json!({ "officer": args.officer.as_str() });
    if let Some(camera) = &args.camera {
        body["camera"] = camera.as_str().into();
    }
    let path = format!("/v1/events/{}/view", args.event);
    let answer = client.post(&path, &[], Some(&body)).await.map_err(Failure::failed)?;
    let answer: Value = answer.json().map_err(Failure::failed)?;
    let picture = &answer["pictures"][0];
    if let (Some(hash), Some(file)) = (picture["hash"].as_str(), &args.out) {
        let path = format!("/v1/events/{}/pictures/{hash}", args.event);
        let content = client.get(&path).await.and_then(|answer| answer.good()).map_err(Failure::failed)?;
        std::fs::write(file, &content.body).map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
    }
    let code = if picture["hash"].is_string() { Code::Ok } else { Code::Failed };
    match args.output {
        Format::Json => output::finish_json(code, &answer),
        Format::Table => {
            let text = |name: &str| picture[name].as_str().unwrap_or("-").to_owned();
            let size = picture["size"].as_u64().unwrap_or_default();
            let shown = match picture["failed"].as_str() {
                Some(why) => format!("未取得图片 / no picture: {why}"),
                None => format!("{size} bytes, {}", text("hash")),
            };
            let rows = [
                ("摄像机 / camera", text("camera")),
                ("拍摄时间 / taken at", text("taken_at")),
                ("图片 / picture", shown),
                ("实时地址 / live at", text("address")),
            ];
            output::finish(code, &output::pairs(&rows))
        }
    }
}
