//! Follows a region as one seat of a station: prints every event, and takes the alarms for an officer if one is named.
//!
//! ```text
//! cargo run -p huxiao-station --example subscribe -- --ca ca.pem --cert seat.pem --key seat.key --data ./inbox \
//!     --broker b1.example:7443 --broker b2.example:7443 [--after 41] [--officer 014]
//! ```

use std::error::Error;
use std::io::Write;

use huxiao_station::client::{Class, Client, ClientConfig, Incoming, Stage, Trial};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (config, officer) = arguments()?;
    let mut client = Client::connect(config).await?;
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        let incoming = tokio::select! {
            incoming = client.next() => incoming,
            _ = &mut interrupted => break,
        };
        let Some(incoming) = incoming else { break };
        let mut out = std::io::stdout();
        match incoming {
            Incoming::Event { row, durable } => {
                let event = &row.sealed.event;
                let (chinese, english) = event.kind.words();
                let place = event.zone.as_ref().map_or("-", |zone| zone.as_str());
                writeln!(
                    out,
                    "{} {} {chinese} {english} {} {place} kept={durable}",
                    row.seq,
                    event.class,
                    event.school()
                )?;
                if event.class > Class::P1 || row.is_finished() {
                    continue;
                }
                client.displayed(&[event.id]).await?;
                if let Some(officer) = &officer {
                    match client.acknowledge(event.id, officer, "").await {
                        Ok(done) => writeln!(out, "{} taken by {officer}, repeated={}", row.seq, done.repeated)?,
                        Err(why) => writeln!(out, "{} not taken: {why}", row.seq)?,
                    }
                }
            }
            Incoming::Stage { seq, receipt } if receipt.stage == Stage::Acknowledged => {
                writeln!(
                    out,
                    "{seq} is with {}",
                    receipt.officer.map_or_else(|| receipt.by.to_string(), |o| o.to_string())
                )?;
            }
            Incoming::Command(state) => {
                if let Some(stage) = state.stage() {
                    writeln!(out, "command {} is {stage}", state.id())?;
                }
            }
            Incoming::Case(row) => {
                if let Some(case) = &row.case {
                    writeln!(out, "{} is {}", case.event, case.state)?;
                }
            }
            Incoming::Stage { .. } => {}
            Incoming::Ownership { seq, ownership } => {
                let owners: Vec<_> = ownership.owners.iter().map(ToString::to_string).collect();
                writeln!(out, "{seq}: nobody has taken it ({}): {}", ownership.rung, owners.join(", "))?;
            }
            Incoming::Condition(Some(degraded)) => writeln!(out, "degraded: {}", degraded.why)?,
            Incoming::Drill(drill) => {
                writeln!(out, "drill {}: {} from {} on", drill.id(), drill.order.scope, drill.from.0 / 1_000_000)?;
            }
            Incoming::Condition(None) => writeln!(out, "the region has its quorum again")?,
            Incoming::Live => writeln!(out, "following")?,
        }
    }
    Ok(client.shutdown().await?)
}

fn arguments() -> Result<(ClientConfig, Option<String>), Box<dyn Error>> {
    let mut config = ClientConfig {
        ca: "ca.pem".into(),
        cert: "seat.pem".into(),
        key: "seat.key".into(),
        brokers: Vec::new(),
        region: None,
        data_dir: "inbox".into(),
        after: 0,
        trial: Trial::InProcess,
    };
    let mut officer = None;
    let mut words = std::env::args().skip(1);
    while let Some(flag) = words.next() {
        let value = words.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--ca" => config.ca = value.into(),
            "--cert" => config.cert = value.into(),
            "--key" => config.key = value.into(),
            "--data" => config.data_dir = value.into(),
            "--broker" => config.brokers.push(value),
            "--region" => config.region = Some(value.parse()?),
            "--after" => config.after = value.parse()?,
            "--officer" => officer = Some(value),
            other => return Err(format!("{other} is not a flag: see the top of this example").into()),
        }
    }
    Ok((config, officer))
}
