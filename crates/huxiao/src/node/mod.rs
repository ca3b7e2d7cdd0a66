//! `huxiao relay|broker|station run`: a node as a daemon.
//!
//! Invariants: a node that stops because its store failed ends with an exit code that its supervisor sees; a signal is heard from the
//! first moment on, also while the store is still being opened.

mod reload;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::{Args, Subcommand};
use huxiao_core::Role;
use huxiao_runtime::clock::Clock;
use huxiao_runtime::config::{Config, Loader};
use huxiao_runtime::host::{Host, Running, StartError};
use huxiao_runtime::log::{self, LogFormat, LogLevel};
use huxiao_runtime::metric;
use huxiao_runtime::shutdown::Shutdown;
use huxiao_runtime::signal::Signals;
use huxiao_runtime::systemd::Notifier;
use huxiao_store::Trial;

use crate::args::{ConfigFiles, Global};
use crate::exit::{Code, Failure, Outcome};
use crate::{config, random, role, version};

use reload::Reloader;

/// How long after the end of the draining the process waits for the node to let go of everything.
const GRACE: Duration = Duration::from_secs(5);

/// What can be done with a node.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Run the node until it is told to stop
    ///
    /// TERM or INT drains and ends with 0, a second one ends at once; HUP reads the configuration again. Exits 78 if the
    /// configuration is wrong, 1 if the node cannot start or its store failed: a supervisor should start it again then.
    Run(RunArgs),
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    config: ConfigFiles,
}

/// Runs a node of this role.
///
/// # Errors
/// [`Failure`] with the code that the command documents.
pub fn run(role: Role, command: NodeCommand, global: &Global) -> Outcome {
    let NodeCommand::Run(args) = command;
    let loader = role::loader(role, &args.config).flags(log_flags(global));
    let config = loader.load().map_err(Failure::config)?;
    let level = start_log(&config, global)?;
    config::preflight(role, &config).map_err(|errors| Failure::config(errors.join("\n")))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("this process cannot start its work: {error}")))?;
    let outcome = runtime.block_on(serve(role, loader, config, level));
    // What still waits for a dead disk must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

fn log_flags(global: &Global) -> Vec<(&'static str, String)> {
    let format = global.log_format.map(|format| match format {
        LogFormat::Text => ("log.format", "text".to_owned()),
        LogFormat::Json => ("log.format", "json".to_owned()),
    });
    let level = global.log_filter().map(|filter| ("log.level", filter.to_owned()));
    format.into_iter().chain(level).collect()
}

fn start_log(config: &Config, global: &Global) -> Result<LogLevel, Failure> {
    let format: LogFormat = config.text("log.format").parse().map_err(Failure::config)?;
    let filter = config.text("log.level");
    let (subscriber, level) = log::subscriber(format, filter, std::io::stderr, global.colours())
        .map_err(|error| Failure::config(format!("log.level: {error}")))?;
    tracing::subscriber::set_global_default(subscriber).map_err(Failure::failed)?;
    Ok(level)
}

async fn serve(role: Role, loader: Loader, config: Config, level: LogLevel) -> Outcome {
    let signals = Signals::catch().map_err(|error| Failure::failed(format!("signals cannot be caught: {error}")))?;
    let notifier = Notifier::from_env();
    let shutdown = Shutdown::new();
    let reloader = Arc::new(Mutex::new(Reloader::new(loader, config.clone(), level)));
    let reload = {
        let reloader = reloader.clone();
        move || reloader.lock().unwrap_or_else(PoisonError::into_inner).reload()
    };
    let drain = config.duration("node.drain");
    let watched = tokio::spawn(signals.run(shutdown.clone(), drain, notifier.clone(), reload));
    let host = host(shutdown.clone(), notifier.clone())?;
    let started = tokio::select! {
        started = start(role, config, host) => started,
        // Told to stop before it had begun: there is nothing to drain.
        () = shutdown.wait() => return Ok(Code::Ok),
    };
    let mut running = started.map_err(|error| refused(role, &error))?;
    reloader.lock().unwrap_or_else(PoisonError::into_inner).started(running.take_reload());
    let words = started_words(role, &running);
    tracing::info!(version = version::VERSION, commit = version::COMMIT, "{words}");
    notifier.ready(&words);
    let ended = tokio::select! {
        ended = running.finished() => ended,
        () = overdue(&shutdown) => {
            let seconds = GRACE.as_secs();
            return Err(Failure::failed(format!("the node did not stop within {seconds} s after its draining; ended by force")));
        }
    };
    watched.abort();
    match ended {
        Ok(()) => {
            tracing::info!("stopped");
            Ok(Code::Ok)
        }
        Err(error) => Err(Failure::failed(error)),
    }
}

fn host(shutdown: Shutdown, notifier: Notifier) -> Result<Host, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::failed(format!("the path of this program cannot be found: {error}")))?;
    let args = ["store", "check", "--trial"].map(Into::into).to_vec();
    Ok(Host {
        clock: Clock::system(),
        shutdown,
        exposition: metric::install(),
        notifier,
        version: version::VERSION,
        commit: version::COMMIT,
        trial: Trial::Child { program, args },
        seed: random::number(),
    })
}

/// Starts a node of this role.
///
/// # Errors
/// [`StartError`]
pub(crate) async fn start(role: Role, config: Config, host: Host) -> Result<Running, StartError> {
    match role {
        Role::Relay => huxiao_relay::start(config, host).await,
        Role::Broker => huxiao_broker::start(config, host).await,
        Role::Station => huxiao_station::start(config, host).await,
    }
}

fn refused(role: Role, error: &StartError) -> Failure {
    let code = match error {
        StartError::Credentials(_) => Code::Config,
        // A supervisor that starts it again may have better luck with a port, a disk, or the role's own troubles.
        StartError::Store(_) | StartError::Row(_) | StartError::Link(_) | StartError::Http(_) | StartError::Role(_) => {
            Code::Failed
        }
    };
    Failure::new(code, format!("the {role} cannot start: {error}"))
}

fn started_words(role: Role, running: &Running) -> String {
    let http = running.http();
    match running.quic() {
        Some(quic) => format!("{role} running: sessions at {quic} (UDP and TCP), API at {http}"),
        None => format!("{role} running: API at {http}"),
    }
}

async fn overdue(shutdown: &Shutdown) {
    shutdown.over().await;
    tokio::time::sleep(GRACE).await;
}
