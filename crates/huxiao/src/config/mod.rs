//! `huxiao config`: make, look at and check configuration files.

mod preflight;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use huxiao_core::Role;
use huxiao_runtime::config::{init, show};
use serde_json::json;

use crate::args::ConfigFiles;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{self, Format};
use crate::role::{self, RoleArg};

pub use preflight::preflight;

/// What can be done with configurations.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check a file and what it names: keys, certificates, plan
    ///
    /// Shows all mistakes at once, each with file, line and column, and exits 78.
    Check(CheckArgs),
    /// Show every key with its value
    Show(ShowArgs),
    /// Print a commented file to start from
    Init(InitArgs),
}

/// Arguments of `config check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The file
    file: PathBuf,
    /// The role, if the file does not show it
    #[arg(long, value_enum)]
    role: Option<RoleArg>,
    /// How the verdict is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// Arguments of `config show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    config: ConfigFiles,
    /// The role, if the files do not show it
    #[arg(long, value_enum)]
    role: Option<RoleArg>,
    /// Show as well which layer set each value
    #[arg(long)]
    origin: bool,
    /// How it is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// Arguments of `config init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The role
    #[arg(long, value_enum)]
    role: RoleArg,
}

/// Runs one of them.
///
/// # Errors
/// [`Failure`]
pub fn run(command: ConfigCommand) -> Outcome {
    match command {
        ConfigCommand::Check(args) => check(&args),
        ConfigCommand::Show(args) => show_values(&args),
        ConfigCommand::Init(args) => {
            let role = Role::from(args.role);
            let file = format!("{}{}", init(role::keys(role), role.as_str()), role::example(role));
            output::finish(Code::Ok, &file)
        }
    }
}

fn check(args: &CheckArgs) -> Outcome {
    let files = ConfigFiles { files: vec![args.file.clone()], set: Vec::new() };
    let role = role_of(args.role, &files)?;
    let checked = match role::loader(role, &files).load() {
        Ok(config) => preflight(role, &config),
        Err(errors) => {
            let mut all: Vec<_> = errors.list().iter().map(ToString::to_string).collect();
            all.extend(preflight::files_named_in(role, &args.file));
            Err(all)
        }
    };
    let file = args.file.display();
    match (checked, args.output) {
        (Ok(node), Format::Table) => {
            let text = format!("{file}: ok: {}, certificate valid {}\n", node.name, node.period);
            output::finish(Code::Ok, &text)
        }
        (Ok(node), Format::Json) => {
            let json = json!({
                "file": file.to_string(), "ok": true, "role": role.as_str(), "node": node.name,
                "certificate": node.period, "errors": [],
            });
            output::finish_json(Code::Ok, &json)
        }
        (Err(errors), Format::Table) => Err(Failure::config(errors.join("\n"))),
        (Err(errors), Format::Json) => {
            let json = json!({ "file": file.to_string(), "ok": false, "role": role.as_str(), "errors": errors });
            output::finish_json(Code::Config, &json)
        }
    }
}

fn show_values(args: &ShowArgs) -> Outcome {
    let role = role_of(args.role, &args.config)?;
    let config = role::loader(role, &args.config).load().map_err(Failure::config)?;
    let rows = show(&config, args.origin);
    if args.output == Format::Json {
        let row = |row: &huxiao_runtime::config::Row| {
            let mut json = json!({ "key": row.key, "value": row.value });
            if let Some(origin) = &row.origin {
                json["origin"] = origin.as_str().into();
            }
            json
        };
        let values: Vec<_> = rows.iter().map(row).collect();
        return output::finish_json(Code::Ok, &json!({ "role": role.as_str(), "values": values }));
    }
    let mut table = output::table(if args.origin { &["key", "value", "origin"] } else { &["key", "value"] });
    for row in rows {
        table.add_row([Some(row.key.to_owned()), Some(row.value), row.origin].into_iter().flatten());
    }
    output::finish(Code::Ok, &output::render(&table))
}

fn role_of(given: Option<RoleArg>, files: &ConfigFiles) -> Result<Role, Failure> {
    given.map_or_else(|| role::of_files(&files.files), |role| Ok(role.into()))
}
