//! The three roles, as the command line and configuration files name them.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use huxiao_core::Role;
use huxiao_runtime::config::{Key, Loader};

use crate::args::ConfigFiles;
use crate::exit::Failure;

/// What a node is, on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleArg {
    /// At a school.
    Relay,
    /// In a region's machine room.
    Broker,
    /// In a duty room.
    Station,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Relay => Role::Relay,
            RoleArg::Broker => Role::Broker,
            RoleArg::Station => Role::Station,
        }
    }
}

/// Every key of the role.
#[must_use]
pub fn keys(role: Role) -> &'static [Key] {
    match role {
        Role::Relay => huxiao_relay::KEYS,
        Role::Broker => huxiao_broker::KEYS,
        Role::Station => huxiao_station::KEYS,
    }
}

/// What stands at the end of the role's file to start from: tables of which there may be several, as people write them.
#[must_use]
pub fn example(role: Role) -> String {
    match role {
        Role::Relay => [huxiao_relay::EXAMPLE, huxiao_relay::CAMERA_EXAMPLE].concat(),
        Role::Broker | Role::Station => String::new(),
    }
}

/// The layers of a node of this role: files, this process's environment, flags.
#[must_use]
pub fn loader(role: Role, files: &ConfigFiles) -> Loader {
    let loader = files.files.iter().fold(Loader::new(keys(role)), |loader, file| loader.file(file));
    loader.env("HUXIAO", std::env::vars_os()).flags(files.set.clone())
}

/// The role that these files are for: the one whose table they have.
///
/// # Errors
/// There is no such table, or there are several.
pub fn of_files(files: &[PathBuf]) -> Result<Role, Failure> {
    let mut found = Vec::new();
    for role in [Role::Relay, Role::Broker, Role::Station] {
        if files.iter().any(|file| has_table(file, role)) {
            found.push(role);
        }
    }
    let names = || files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
    match found.as_slice() {
        [role] => Ok(*role),
        [] if files.is_empty() => Err(Failure::config("say which role: --role relay, broker or station")),
        [] => {
            // A file that cannot be read or parsed has mistakes of its own, which are the ones to show. Any role finds them.
            let broken = |file: &PathBuf| parsed(file).is_none();
            match files.iter().any(broken) {
                true => Ok(Role::Relay),
                false => Err(Failure::config(format!(
                    "{} has no [relay], [broker] or [station] table: add it, or say the role with --role",
                    names()
                ))),
            }
        }
        _ => Err(Failure::config(format!(
            "{} has tables of several roles: one file is for one node; say which with --role",
            names()
        ))),
    }
}

fn has_table(file: &Path, role: Role) -> bool {
    parsed(file).is_some_and(|table| table.get(role.as_str()).is_some_and(toml::Value::is_table))
}

fn parsed(file: &Path) -> Option<toml::Table> {
    std::fs::read_to_string(file).ok()?.parse().ok()
}
