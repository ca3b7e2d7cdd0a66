//! `huxiao alarm send`: presses, and follows the event until it has come as far as asked.
//!
//! Invariant: however often the request has to be repeated, one event is raised: all attempts carry one idempotency key.

use std::time::Duration;

use clap::{Args, ValueEnum};
use huxiao_core::{EventId, Stage};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Pauses;
use super::view::View;
use crate::args::{Global, duration};
use crate::exit::{Code, Failure, Outcome};
use crate::http::{Client, Endpoint, HttpError};
use crate::output::{self, Format};
use crate::random;

/// Arguments of `alarm send`.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// The relay's API: http://host:port or unix:/path
    #[arg(long, value_name = "URL", env = "HUXIAO_RELAY_URL")]
    relay: Endpoint,
    /// What happened: panic, fire, medical, …; the relay lists all kinds if it does not know this one
    #[arg(long)]
    kind: String,
    /// The button or sensor
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// The part of the school
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
    /// Free text
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// What it says beyond that; may be given several times (`huxiao kinds` lists what each kind must and may say)
    #[arg(long = "detail", value_name = "NAME=VALUE", value_parser = detail)]
    details: Vec<(String, String)>,
    /// The school's PIN, for a request to cancel; better given by the environment, where others do not see it
    #[arg(long, value_name = "PIN", env = "HUXIAO_PIN", hide_env_values = true)]
    pin: Option<String>,
    /// A check of the equipment, not meant
    #[arg(long, conflicts_with = "drill")]
    test: bool,
    /// A rehearsal announced beforehand
    #[arg(long)]
    drill: bool,
    /// It is meant, whatever drill or test is on at the school
    #[arg(long, conflicts_with_all = ["drill", "test"])]
    live: bool,
    /// The same key raises the same event, however often; one is made up if none is given
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// How far the event must come
    #[arg(long, value_enum, default_value = "kept")]
    wait: Wait,
    /// How long it may take, attempts to reach the relay included
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    timeout: Duration,
    /// How the result is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

fn detail(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// How far an event must come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Wait {
    /// On the relay's disk.
    Kept,
    /// On the disk of a broker node, in the region's record or not: as far as it gets while the region has no quorum.
    Received,
    /// On stable storage of the region.
    Stored,
    /// On a station's disk.
    Delivered,
    /// On a screen.
    Displayed,
    /// Taken by an officer.
    Acknowledged,
}

impl Wait {
    fn stage(self) -> Stage {
        match self {
            Wait::Kept => Stage::Kept,
            Wait::Received => Stage::Received,
            Wait::Stored => Stage::Stored,
            Wait::Delivered => Stage::Delivered,
            Wait::Displayed => Stage::Displayed,
            Wait::Acknowledged => Stage::Acknowledged,
        }
    }

    /// Whether `event` has come so far. A later stage stands for an earlier one only once the event is finished: a screen may
    /// show an alarm before any disk has it.
    fn reached(self, event: &View) -> bool {
        let passed = event.flag("finished") && event.furthest() >= Some(self.stage());
        let kept = self == Wait::Kept && event.flag("kept");
        // The record is on disks too.
        let stored = self == Wait::Received && event.reached(Stage::Stored);
        event.reached(self.stage()) || kept || stored || passed
    }
}

/// Runs it.
///
/// # Errors
/// [`Failure`] with the code that the command documents.
pub async fn run(args: SendArgs, global: &Global) -> Outcome {
    let mut press = Press::new(&args, global);
    let deadline = press.begun + args.timeout;
    let in_time = match tokio::time::timeout_at(deadline, press.follow()).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => return press.failed(&error),
        Err(_) => false,
    };
    press.end(in_time)
}

struct Press<'a> {
    args: &'a SendArgs,
    global: &'a Global,
    begun: Instant,
    client: Client,
    key: String,
    /// The event's id, once the relay has said it, and whether an earlier request had raised it.
    raised: Option<(EventId, bool)>,
    event: Option<View>,
    /// Some request may have raised it although no answer came.
    open: bool,
    trouble: Option<HttpError>,
}

impl<'a> Press<'a> {
    fn new(args: &'a SendArgs, global: &'a Global) -> Self {
        let made_up = || format!("cli-{:016x}{:016x}", random::number(), random::number());
        Self {
            args,
            global,
            begun: Instant::now(),
            client: Client::new(args.relay.clone()),
            key: args.idempotency_key.clone().unwrap_or_else(made_up),
            raised: None,
            event: None,
            open: false,
            trouble: None,
        }
    }

    /// Raises the event and returns when it has come as far as asked. An error is one that no repetition mends.
    async fn follow(&mut self) -> Result<(), HttpError> {
        let mut pauses = Pauses::new();
        loop {
            let attempt = match self.raised {
                None => self.raise().await,
                Some((id, _)) => self.watch(id).await,
            };
            match attempt {
                Ok(()) if self.event.as_ref().is_some_and(|event| self.args.wait.reached(event)) => return Ok(()),
                Ok(()) => pauses.reset(),
                Err(error) if error.may_pass() => {
                    if self.trouble.is_none() {
                        self.global.say(&format!("{error}; trying again"));
                    }
                    self.trouble = Some(error);
                    pauses.pause().await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn raise(&mut self) -> Result<(), HttpError> {
        let headers = [("idempotency-key", self.key.as_str())];
        // Until an answer says otherwise, also if the time is up before one comes.
        let before = std::mem::replace(&mut self.open, true);
        let (answer, kept) = match self.client.post("/v1/events", &headers, Some(&self.body())).await {
            Ok(answer) => (answer.json()?, true),
            // Not on the relay's disk, but raised and on its way: the id stands beside the error.
            Err(HttpError::Refused { code, message, body, .. }) if code == "not_kept" && body["id"].is_string() => {
                output::say(&format!("the alarm is on its way, but the relay could not keep it: {message}"));
                (*body, false)
            }
            Err(error) => {
                self.open = before || error.is_open();
                return Err(error);
            }
        };
        let id = answer["id"].as_str().and_then(|id| id.parse().ok()).ok_or_else(|| HttpError::Strange {
            endpoint: Box::new(self.args.relay.clone()),
            reason: match answer["withheld"].as_str() {
                Some(_) => format!("nothing was raised: {}", answer["message"].as_str().unwrap_or_default()),
                None => "the answer to the press has no event id".to_owned(),
            },
        })?;
        self.trouble = None;
        self.raised = Some((id, answer["repeated"] == Value::Bool(true)));
        // Until more is known.
        self.event =
            Some(View::new(json!({ "id": id.to_string(), "kind": self.args.kind, "kept": kept, "stages": {} })));
        if self.args.wait == Wait::Kept && kept {
            // The promise is made. The rest is for the picture: no answer to it takes the promise back.
            if let Ok(Ok(event)) = tokio::time::timeout(Pauses::LONGEST, self.look(id)).await {
                self.take(event);
            }
        }
        Ok(())
    }

    async fn look(&mut self, id: EventId) -> Result<View, HttpError> {
        self.client.get_json(&format!("/v1/events/{id}")).await.map(View::new)
    }

    async fn watch(&mut self, id: EventId) -> Result<(), HttpError> {
        // The stream has no history: it is opened first, and what was before it is asked for then.
        let mut stream = self.client.stream(&format!("/v1/events/stream?id={id}"), None).await?;
        let now = self.look(id).await?;
        self.take(now);
        self.trouble = None;
        while !self.event.as_ref().is_some_and(|event| self.args.wait.reached(event)) {
            let message = stream.next().await?;
            if message.event == "heartbeat" {
                continue;
            }
            if let Ok(json) = serde_json::from_str::<Value>(&message.data)
                && json["id"] == id.to_string().as_str()
            {
                self.take(View::new(json));
            }
        }
        Ok(())
    }

    /// Takes what the relay says now, unless it is older than what is known: the stream may lag behind the answer.
    fn take(&mut self, event: View) {
        let before = self.event.take();
        let event = match &before {
            Some(known) if known.receipts() > event.receipts() => known.clone(),
            _ => event,
        };
        let words = event.lamp_words();
        let new = words.is_some() && before.as_ref().and_then(View::lamp_words) != words;
        if let Some(words) = words.filter(|_| new && (output::is_watched() || self.global.verbose > 0)) {
            self.global.say(&format!("{:8.3} s  {words}", self.begun.elapsed().as_secs_f64()));
        }
        if event.flag("refused") && !before.as_ref().is_some_and(|before| before.flag("refused")) {
            output::say("a broker node refused the event; the relay keeps it and asks again, its log says why");
        }
        self.event = Some(event);
    }

    fn body(&self) -> Value {
        let args = self.args;
        let mut body = json!({ "kind": args.kind, "test": args.test, "drill": args.drill });
        if args.live {
            body["live"] = true.into();
        }
        for (name, value) in [("device", &args.device), ("zone", &args.zone), ("note", &args.note)] {
            if let Some(value) = value {
                body[name] = value.as_str().into();
            }
        }
        if !args.details.is_empty() {
            let details = args.details.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
            body["details"] = Value::Object(details.collect());
        }
        if let Some(pin) = args.pin.as_ref().filter(|_| args.kind == "cancel") {
            body["pin"] = pin.as_str().into();
        }
        body
    }

    fn failed(&self, error: &HttpError) -> Outcome {
        Err(match &self.raised {
            // Something answered, and said neither yes nor no.
            None if self.open || matches!(error, HttpError::Strange { .. }) => {
                Failure::unknown(format!("whether the alarm was raised is not known: {error}"))
            }
            None => Failure::failed(format!("the alarm was not raised: {error}")),
            Some((id, _)) => Failure::failed(format!("the alarm {id} was raised, but cannot be followed: {error}")),
        })
    }

    fn end(&self, in_time: bool) -> Outcome {
        let seconds = self.args.timeout.as_secs_f64();
        let Some((event, (id, repeated))) = self.event.as_ref().zip(self.raised) else {
            let why = self.trouble.as_ref().map_or_else(|| "nothing came back".to_owned(), ToString::to_string);
            return Err(match self.open {
                true => Failure::unknown(format!("whether the alarm was raised is not known after {seconds} s: {why}")),
                false => Failure::failed(format!("the alarm was not raised within {seconds} s: {why}")),
            });
        };
        let code = match in_time {
            true => Code::Ok,
            false if event.flag("refused") => Code::Failed,
            false => Code::Unknown,
        };
        match self.args.output {
            Format::Table => output::finish(code, &event.table())?,
            Format::Json => {
                let mut json = event.with_stage_ms();
                let wait = self.args.wait.stage().as_str();
                for (name, value) in [("wait", json!(wait)), ("reached", json!(in_time)), ("repeated", json!(repeated))]
                {
                    json[name] = value;
                }
                output::finish_json(code, &json)?
            }
        };
        if in_time {
            return Ok(Code::Ok);
        }
        let (wanted, have) = (self.args.wait.stage(), event.furthest().map_or("raised", Stage::as_str));
        let why = self.trouble.as_ref().map_or_else(String::new, |error| format!("; at last, {error}"));
        let words =
            format!("the alarm {id} is {have}, not {wanted}, after {seconds} s{why}; the relay goes on with it");
        Err(Failure::new(code, words))
    }
}
