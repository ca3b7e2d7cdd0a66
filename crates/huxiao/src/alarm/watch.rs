//! `huxiao alarm watch`: every alarm that comes to a station, one a line.
//!
//! Invariants: an event is printed once, whatever is repeated underneath; nothing that came while the connection was away is
//! missed; "displayed" is said only of what has been printed and flushed.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use clap::Args;
use huxiao_core::{EventId, Stage, Standing, limits};
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior};

use super::Pauses;
use super::reporter::Reporter;
use super::view::{View, degraded, officer};
use crate::args::{Global, duration};
use crate::case::standing;
use crate::exit::{Code, Failure, Outcome};
use crate::http::{Client, Endpoint, EventStream, HttpError, Message};
use crate::output::{self, Lines, PrintError};

/// Ids that are remembered as printed: all that a station's inbox can hold.
const REMEMBERED: usize = limits::INBOX_EVENTS + limits::INBOX_RESERVED_FOR_ALARMS;
/// How often a command with nothing to print looks whether anybody still reads.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the end waits for the station to hear of the last lines.
const TELL_AT_END: Duration = Duration::from_secs(5);

/// Arguments of `alarm watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// The station's API: http://host:port or unix:/path
    #[arg(long, value_name = "URL", env = "HUXIAO_STATION_URL")]
    station: Endpoint,
    /// Begin with this number of the station's inbox; without it, with what comes from now on
    #[arg(long, value_name = "N")]
    from_seq: Option<u64>,
    /// End after this many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after this time; exits 3 if --count is not reached by then
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
    /// Only look: do not tell the station that the events are on a screen
    #[arg(long)]
    passive: bool,
    /// How each event is shown; ndjson in a pipe, table on a terminal
    #[arg(long, value_enum)]
    output: Option<Lines>,
}

/// Runs it.
///
/// # Errors
/// [`Failure`] with the code that the command documents.
pub async fn run(args: WatchArgs, global: &Global) -> Outcome {
    let mut watch = Watch {
        client: Client::new(args.station.clone()),
        format: Lines::or_by_terminal(args.output),
        reporter: (!args.passive).then(|| Reporter::start(&args.station)),
        next: args.from_seq.map(Next::Seq),
        printed: 0,
        seen: Seen::default(),
        global,
        args: &args,
    };
    let deadline = args.timeout.map(|timeout| Instant::now() + timeout);
    let ended = match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, watch.keep_on()).await.ok(),
        None => Some(watch.keep_on().await),
    };
    let printed = watch.printed;
    if let Some(reporter) = watch.reporter
        && !reporter.finish(TELL_AT_END).await
    {
        output::say("the station has not heard of all that was printed; it is not answering");
    }
    match ended {
        Some(End::Counted) => Ok(Code::Ok),
        Some(End::Print(error)) => error.outcome(),
        Some(End::Station(error)) => Err(Failure::failed(error)),
        None => match args.count {
            Some(count) => Err(Failure::unknown(format!("{printed} of {count} events came in time"))),
            None => Ok(Code::Ok),
        },
    }
}

/// Why watching is over.
enum End {
    Counted,
    Print(PrintError),
    Station(HttpError),
}

impl From<PrintError> for End {
    fn from(error: PrintError) -> Self {
        End::Print(error)
    }
}

/// Where the next stream begins.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Next {
    /// With this number.
    Seq(u64),
    /// After the message with this id.
    After(String),
}

struct Watch<'a> {
    client: Client,
    args: &'a WatchArgs,
    global: &'a Global,
    format: Lines,
    reporter: Option<Reporter>,
    next: Option<Next>,
    printed: u64,
    seen: Seen,
}

impl Watch<'_> {
    async fn keep_on(&mut self) -> End {
        let mut pauses = Pauses::new();
        let mut away = false;
        loop {
            match self.connect().await {
                Ok(stream) => {
                    if std::mem::take(&mut away) {
                        self.global.say("connected again");
                    }
                    let (before, since) = (self.printed, Instant::now());
                    match self.read(stream).await {
                        Ok(error) if error.may_pass() => self.global.say(&format!("{error}; connecting again")),
                        Ok(error) => return End::Station(error),
                        Err(end) => return end,
                    }
                    // A stream that had been good is tried again at once.
                    if self.printed > before || since.elapsed() > Pauses::LONGEST {
                        pauses.reset();
                    }
                    away = true;
                }
                Err(error) if error.may_pass() => {
                    if !std::mem::replace(&mut away, true) {
                        self.global.say(&format!("{error}; trying again"));
                    }
                }
                Err(error) => return End::Station(error),
            }
            if output::reader_is_gone() {
                return End::Print(PrintError::Closed);
            }
            pauses.pause().await;
        }
    }

    async fn connect(&mut self) -> Result<EventStream, HttpError> {
        let next = match &self.next {
            Some(next) => next.clone(),
            None => {
                // "From now on" is made a number, so that an event that comes during a reconnection is not missed.
                let status = self.client.get_json("/v1/status").await?;
                let seq = status["next_seq"].as_u64().ok_or_else(|| HttpError::Strange {
                    endpoint: Box::new(self.args.station.clone()),
                    reason: "its status has no next_seq: is it a station's address?".to_owned(),
                })?;
                self.next.insert(Next::Seq(seq)).clone()
            }
        };
        match next {
            Next::Seq(seq) => self.client.stream(&format!("/v1/events?from_seq={seq}"), None).await,
            Next::After(id) => self.client.stream("/v1/events", Some(&id)).await,
        }
    }

    /// Prints what comes until the stream ends, which is the error, or the work does.
    async fn read(&mut self, mut stream: EventStream) -> Result<HttpError, End> {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                message = stream.next() => message,
                _ = look.tick() => match output::reader_is_gone() {
                    true => return Err(End::Print(PrintError::Closed)),
                    false => continue,
                },
            };
            match message {
                Ok(message) => self.take(message).await?,
                Err(error) => return Ok(error),
            }
        }
    }

    async fn take(&mut self, message: Message) -> Result<(), End> {
        if message.event == "alarm" {
            self.alarm(&message).await?;
        }
        self.news(&message);
        // Only now: what has not been printed must come again after a reconnection.
        if let Some(id) = message.id {
            self.next = Some(Next::After(id));
        }
        if self.args.count.is_some_and(|count| self.printed >= count) { Err(End::Counted) } else { Ok(()) }
    }

    /// Says what is not about one line: how the region is, how a case stands now, and an officer's answer that is provisional or came second.
    fn news(&self, message: &Message) {
        let Ok(json) = serde_json::from_str::<Value>(&message.data) else { return };
        match message.event.as_str() {
            "condition" => match degraded(&json["degraded"]) {
                Some(words) => self.global.say(&words),
                None => self.global.say("区域已恢复  the region takes what officers say into its record again"),
            },
            "ownership" => {
                let (id, owners) = (json["id"].as_str().unwrap_or_default(), &json["owners"]);
                let owners: Vec<_> = owners.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let words = ["zh", "en"].map(|language| json["text"][language].as_str().unwrap_or_default());
                self.global.say(&format!("{id}: {}: {}", words.join("  "), owners.join(", ")));
            }
            "case" if json["case"].is_object() => {
                let id = json["id"].as_str().unwrap_or_default();
                self.global.say(&format!("{id}: {}", standing(&json["case"])));
            }
            "stage"
                if json["stage"] == Stage::Acknowledged.as_str()
                    && json["standing"].as_str().is_some_and(|standing| standing != Standing::Settled.as_str()) =>
            {
                let id = json["id"].as_str().unwrap_or_default();
                self.global.say(&format!("{id}: {}", officer(&json)));
            }
            _ => {}
        }
    }

    async fn alarm(&mut self, message: &Message) -> Result<(), End> {
        let Ok(json) = serde_json::from_str::<Value>(&message.data) else {
            output::say("the station sent an event that is no JSON; see its log");
            return Ok(());
        };
        let id = json["id"].as_str().and_then(|id| id.parse::<EventId>().ok());
        if id.is_none_or(|id| self.seen.is_new(id)) {
            let line = match self.format {
                Lines::Ndjson => format!("{json}\n"),
                Lines::Table => format!("{}\n", View::new(json).line()),
            };
            output::print(&line)?;
            self.printed += 1;
            if let (Some(reporter), Some(id)) = (&self.reporter, id) {
                reporter.displayed(id.to_string()).await;
            }
        }
        Ok(())
    }
}

/// The latest [`REMEMBERED`] ids.
#[derive(Debug, Default)]
struct Seen {
    ids: HashSet<EventId>,
    order: VecDeque<EventId>,
}

impl Seen {
    /// True the first time.
    fn is_new(&mut self, id: EventId) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}
