//! `huxiao cluster restore`: a new region of one with what a backup holds.

use std::path::PathBuf;

use clap::Args;
use huxiao_core::{NodeName, Role};
use huxiao_pki::Credentials;
use serde_json::json;

use crate::args::{ConfigFiles, Global};
use crate::exit::{Code, Failure, Outcome};
use crate::output::{self, Format};
use crate::{random, role};

/// Arguments of `cluster restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    config: ConfigFiles,
    /// How the result is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

pub(super) fn run(args: &RestoreArgs, global: &Global) -> Outcome {
    if args.config.files.is_empty() {
        return Err(Failure::new(Code::Usage, "say for which node: --config FILE"));
    }
    let config = role::loader(Role::Broker, &args.config).load().map_err(Failure::config)?;
    let [ca, cert, key] = ["tls.ca", "tls.cert", "tls.key"].map(|path| config.path(path));
    let credentials = Credentials::load(&ca, &cert, &key, Some(Role::Broker)).map_err(Failure::config)?;
    let NodeName::Broker { node, .. } = &credentials.identity().node else {
        return Err(Failure::config("the certificate is not a broker's"));
    };
    let restored = huxiao_broker::restore(&config, &args.file, node, random::number()).map_err(Failure::failed)?;
    global.say(&format!(
        "{node} is a region of one with a new record. Start it, then take the others in, each with an empty record folder: \
         huxiao cluster add NAME@HOST:PORT"
    ));
    let former = restored.former.clone().unwrap_or_default();
    match args.output {
        Format::Json => output::finish_json(
            Code::Ok,
            &json!({
                "node": node.as_str(), "record": restored.record, "former_record": restored.former,
                "sha256": restored.sha256, "events": restored.events, "index": restored.index,
            }),
        ),
        Format::Table => output::finish(
            Code::Ok,
            &output::pairs(&[
                ("node", node.to_string()),
                ("record", restored.record),
                ("former record", former),
                ("sha256", restored.sha256),
                ("events", restored.events.to_string()),
                ("up to entry", restored.index.to_string()),
            ]),
        ),
    }
}
