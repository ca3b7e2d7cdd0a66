//! `huxiao check`: whether a node lives, or is ready, as it says itself.
//!
//! Invariant: only what a node said makes it unhealthy; a node that cannot be asked is unknown.

use std::time::Duration;

use clap::{Args, Subcommand};
use huxiao_core::Role;
use huxiao_runtime::config::Address;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::args::{ConfigFiles, duration};
use crate::exit::{Code, Failure, Outcome};
use crate::http::{Client, Endpoint, HttpError};
use crate::output::{self, Format};
use crate::role::{self, RoleArg};

/// Time between two questions.
const EVERY: Duration = Duration::from_millis(200);

/// What can be asked.
#[derive(Debug, Subcommand)]
pub enum CheckCommand {
    /// Whether the node's loop turns; if not, it must be restarted
    ///
    /// Exits 0 healthy, 10 unhealthy, 3 if the node cannot be asked.
    Live(CheckArgs),
    /// Whether the node can do its work
    ///
    /// Exits 0 healthy, 10 unhealthy, 3 if the node cannot be asked.
    Ready(CheckArgs),
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The node's API: http://host:port or unix:/path
    #[arg(long, value_name = "URL", env = "HUXIAO_URL", conflicts_with = "files")]
    url: Option<Endpoint>,
    #[command(flatten)]
    config: ConfigFiles,
    /// The role, if the configuration does not show it
    #[arg(long, value_enum)]
    role: Option<RoleArg>,
    /// Ask again until the node is healthy, for at most this long
    #[arg(long, value_name = "TIME", value_parser = duration)]
    wait: Option<Duration>,
    /// How the answer is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// Runs it.
///
/// # Errors
/// [`Failure`] with the code that the command documents.
pub async fn run(command: CheckCommand) -> Outcome {
    let (name, path, args) = match command {
        CheckCommand::Live(args) => ("live", "/livez?verbose", args),
        CheckCommand::Ready(args) => ("ready", "/readyz?verbose", args),
    };
    let endpoint = endpoint(args.url.as_ref(), &args.config, args.role)?;
    let deadline = Instant::now() + args.wait.unwrap_or_default();
    let mut client = Client::new(endpoint.clone());
    loop {
        let verdict = Verdict::of(client.get(path).await);
        if verdict.code == Code::Ok || Instant::now() >= deadline {
            return verdict.show(name, &endpoint, args.output);
        }
        tokio::time::sleep_until(deadline.min(Instant::now() + EVERY)).await;
    }
}

/// Where the API of the node is that `url` or its configuration names.
///
/// # Errors
/// Neither names it.
pub(crate) fn endpoint(
    url: Option<&Endpoint>,
    files: &ConfigFiles,
    role: Option<RoleArg>,
) -> Result<Endpoint, Failure> {
    if let Some(url) = url {
        return Ok(url.clone());
    }
    if files.files.is_empty() {
        return Err(Failure::new(Code::Usage, "say which node: --url URL or --config FILE"));
    }
    let role = role.map_or_else(|| role::of_files(&files.files), |role| Ok(Role::from(role)))?;
    let config = role::loader(role, files).load().map_err(Failure::config)?;
    let address = config.address("http.listen");
    if let Address::Socket(socket) = &address
        && socket.port() == 0
    {
        return Err(Failure::config(
            "http.listen has port 0, so the system chooses another at each start: set a port, or give --url",
        ));
    }
    Ok(address.into())
}

/// What is to be said of the node.
struct Verdict {
    code: Code,
    state: &'static str,
    words: String,
    checks: Vec<Value>,
}

impl Verdict {
    fn of(answer: Result<crate::http::Answer, HttpError>) -> Self {
        let unknown = |words: String| Self { code: Code::Unknown, state: "unknown", words, checks: Vec::new() };
        match answer {
            Ok(answer) if matches!(answer.status, 200 | 503) => {
                let text = answer.text();
                let (code, state) =
                    if answer.status == 200 { (Code::Ok, "healthy") } else { (Code::Unhealthy, "unhealthy") };
                Self { code, state, checks: text.lines().filter_map(check).collect(), words: text }
            }
            Ok(answer) => unknown(format!("it answered {}: is it a node of huxiao?", answer.status)),
            Err(error) => unknown(error.to_string()),
        }
    }

    fn show(self, name: &str, endpoint: &Endpoint, format: Format) -> Outcome {
        if format == Format::Json {
            let mut json = json!({
                "check": name, "endpoint": endpoint.to_string(), "state": self.state, "checks": self.checks,
            });
            if self.code == Code::Unknown {
                json["reason"] = self.words.into();
            }
            return output::finish_json(self.code, &json);
        }
        if self.code == Code::Unknown {
            return Err(Failure::unknown(self.words));
        }
        output::finish(self.code, &self.words)
    }
}

/// A line such as `[+] store ok: ready` of a node's answer.
fn check(line: &str) -> Option<Value> {
    let (_, rest) = line.split_once("] ")?;
    let (head, words) = rest.split_once(": ")?;
    let (name, state) = head.rsplit_once(' ')?;
    Some(json!({ "name": name, "state": state, "words": words }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_node_are_read() {
        let store = check("[+] store ok: ready: 12 MiB").unwrap();
        assert_eq!(store, json!({ "name": "store", "state": "ok", "words": "ready: 12 MiB" }));
        assert_eq!(check("[-] loop failed: stuck").unwrap()["state"], "failed");
        assert_eq!(check("ok"), None);
        assert_eq!(check(""), None);
    }
}
