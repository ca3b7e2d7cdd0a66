//! The command line: what can be said, and who does it.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use huxiao_core::Role;

use crate::alarm::{self, AlarmCommand};
use crate::args::Global;
use crate::audit::{self, AuditCommand};
use crate::case::{self, CaseCommand};
use crate::check::{self, CheckCommand};
use crate::cluster::{self, ClusterCommand};
use crate::command::{self, AllClearArgs, BroadcastArgs, NoticeCommand, SchoolCommandCommand};
use crate::completion::{self, CompletionArgs};
use crate::config::{self, ConfigCommand};
use crate::dev::{self, DevArgs};
use crate::drill::{self, DrillCommand};
use crate::duty::{self, DutyCommand};
use crate::exit::{Code, Failure, Outcome};
use crate::kinds::{self, KindsArgs};
use crate::lab::{self, LabCommand};
use crate::node::{self, NodeCommand};
use crate::output;
use crate::pin::{self, PinCommand};
use crate::plan::{self, PlanCommand, RouteCommand};
use crate::relay::{self, RelayCommand};
use crate::report::{self, ReportArgs};
use crate::store::{self, StoreCommand};
use crate::supervision::{self, SupervisionCommand};
use crate::version::{self, VersionArgs};
use crate::view::{self, ViewArgs};

/// Carries a school's one-key alarm to the police station that answers for it, and the answer back
///
/// Exit codes: 0 done, 1 failed, 2 wrong command line, 3 not known in time, 10 unhealthy or damaged, 78 wrong configuration,
/// 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "huxiao", version, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The node in a school's gatehouse
    #[command(subcommand)]
    Relay(RelayCommand),
    /// The node in a region's machine room
    #[command(subcommand)]
    Broker(NodeCommand),
    /// The node in a police station's duty room
    #[command(subcommand)]
    Station(NodeCommand),
    /// Press, look, watch, answer
    #[command(subcommand)]
    Alarm(AlarmCommand),
    /// What the police do about an alarm: act, and look at what was done
    // `help` is what officers ask for there.
    #[command(subcommand, disable_help_subcommand = true)]
    Case(CaseCommand),
    /// The guard posts of a school: check in, and look
    #[command(subcommand)]
    Duty(DutyCommand),
    /// What can happen at a school, what each must say, how long it is kept, and who answers
    Kinds(KindsArgs),
    /// The PIN of a school, without which no request to cancel is taken
    #[command(subcommand)]
    Pin(PinCommand),
    /// Have something be heard at a school, or end
    Broadcast(BroadcastArgs),
    /// Say to a school that the danger is over
    AllClear(AllClearArgs),
    /// Tell all schools of an area something, and see how many have it
    #[command(subcommand)]
    Notice(NoticeCommand),
    /// Commands to schools: list them, see what became of one, try the way down
    #[command(subcommand, name = "command")]
    School(SchoolCommandCommand),
    /// Drills: announce one, end it, see how far it has come, account for it
    #[command(subcommand)]
    Drill(DrillCommand),
    /// The history of all cases: export it, and verify an export
    #[command(subcommand)]
    Audit(AuditCommand),
    /// A small province in one process, to see and to try
    Dev(DevArgs),
    /// A ready set of certificates and configurations, to try real processes
    #[command(subcommand)]
    Lab(LabCommand),
    /// Configuration files
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The data of a node: look, check, rescue
    #[command(subcommand)]
    Store(StoreCommand),
    /// The broker nodes of a region as one: look, found, change, back up
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// The plan of a region: who answers for which school; check, compare, change, look
    #[command(subcommand)]
    Plan(PlanCommand),
    /// What the cameras of a school show now
    View(ViewArgs),
    /// Where an alarm would go
    #[command(subcommand)]
    Route(RouteCommand),
    /// An account of a region's alarms: how many, who answered, how quickly, and whether that was quick enough
    ///
    /// Drills and tests are counted apart, and measured with the rest. What no common clock tells is in no latency; what never
    /// came so far misses its limit. "stored" is when the event came to the node by which it entered the record.
    Report(ReportArgs),
    /// Which schools are silent, and which stations nobody watches
    #[command(subcommand)]
    Supervision(SupervisionCommand),
    /// Ask a node how it is
    #[command(subcommand)]
    Check(CheckCommand),
    /// Print a script by which a shell completes commands
    Completion(CompletionArgs),
    /// Print what this program is
    Version(VersionArgs),
}

/// Runs the command that `args` say (the first is the program's name) and gives the verdict for the shell.
pub fn main<I>(args: I) -> ExitCode
where
    I: IntoIterator<Item = OsString>,
{
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output, mistakes to standard error; if nobody reads there, nobody is to be told.
            let _ = error.print();
            return if error.use_stderr() { Code::Usage.into() } else { Code::Ok.into() };
        }
    };
    let global = &cli.global;
    let outcome = match cli.command {
        Command::Relay(RelayCommand::Run(args)) => node::run(Role::Relay, NodeCommand::Run(args), global),
        Command::Relay(RelayCommand::Mode(args)) => block_on(relay::mode(args)),
        Command::Relay(RelayCommand::Paths(args)) => block_on(relay::paths(args, global)),
        Command::Broker(command) => node::run(Role::Broker, command, global),
        Command::Station(command) => node::run(Role::Station, command, global),
        Command::Alarm(command) => block_on(alarm::run(command, global)),
        Command::Case(command) => block_on(case::run(command)),
        Command::Duty(command) => block_on(duty::run(command)),
        Command::Kinds(args) => kinds::run(&args),
        Command::Pin(command) => pin::run(&command),
        Command::Broadcast(args) => block_on(command::broadcast(args)),
        Command::AllClear(args) => block_on(command::all_clear(args)),
        Command::Notice(command) => block_on(command::notice(command)),
        Command::School(command) => block_on(command::run(command)),
        Command::Drill(command) => block_on(drill::run(command)),
        Command::Audit(command) => block_on(audit::run(command, global)),
        Command::Dev(args) => return dev::run(&args),
        Command::Lab(command) => lab::run(command, global),
        Command::Config(command) => config::run(command),
        Command::Store(command) => store::run(command, global),
        Command::Cluster(command) => block_on(cluster::run(command, global)),
        Command::Plan(command) => block_on(plan::run(command, global)),
        Command::View(args) => block_on(view::run(args)),
        Command::Route(RouteCommand::Test(args)) => block_on(plan::route(&args)),
        Command::Report(args) => block_on(report::run(args, global)),
        Command::Supervision(command) => block_on(supervision::run(command)),
        Command::Check(command) => block_on(check::run(command)),
        Command::Completion(args) => completion::run(&args),
        Command::Version(args) => version::run(&args),
    };
    match outcome {
        Ok(code) => code.into(),
        Err(failure) => {
            tell(&failure);
            failure.code.into()
        }
    }
}

fn tell(failure: &Failure) {
    match failure.code {
        _ if failure.words.is_empty() => {}
        // Each line begins with its place, so that editors find it.
        Code::Config => output::say(&failure.words),
        _ => output::say(&format!("error: {failure}")),
    }
}

/// Runs a command that waits for others, until it ends or ctrl-c does.
fn block_on(command: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("this process cannot start its work: {error}")))?;
    runtime.block_on(async {
        tokio::select! {
            outcome = command => outcome,
            Ok(()) = tokio::signal::ctrl_c() => Err(Failure::new(Code::Interrupted, "")),
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_flags_may_stand_anywhere() {
        let parse = |words: &str| Cli::try_parse_from(words.split(' '));
        assert!(parse("huxiao -q version").unwrap().global.quiet);
        assert_eq!(parse("huxiao version -vv").unwrap().global.verbose, 2);
        assert!(parse("huxiao version -q -v").is_err());
        assert!(parse("huxiao --log-format xml version").is_err());
    }
}
