//! Carries out what the machine decides: proposes, sends, and tells people.

use huxiao_core::broker::{Broker, Output, Report};
use huxiao_core::{Admission, Class, Message, Receipt};
use huxiao_link::Link;
use huxiao_runtime::drive::Shell;
use huxiao_runtime::event_json::seconds_since_press;
use huxiao_runtime::log::Sparing;
use huxiao_runtime::metric::{self, Counter, Histogram};

use crate::record::Engine;

/// The broker node's shell.
pub(crate) struct BrokerShell<E> {
    link: Link,
    engine: E,
    refusals: Sparing,
    improprieties: Sparing,
    /// What was noted of alarms in this step; measured once the record is at rest.
    noted: Vec<Receipt>,
}

impl<E: Engine> BrokerShell<E> {
    pub(crate) fn new(link: Link, engine: E) -> Self {
        Self { link, engine, refusals: Sparing::default(), improprieties: Sparing::default(), noted: Vec::new() }
    }
}

impl<E: Engine> Shell<Broker> for BrokerShell<E> {
    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Propose(command) => self.engine.propose(command),
            Output::Forget(indexes) => self.engine.forget(indexes),
            Output::Send(path, class, form, message) => {
                if matches!(message, Message::Event(_)) {
                    metric::increment(Counter::CourierTransmissions, &[class.as_str()]);
                }
                if !self.link.send(path, class, form, &message) {
                    // The path is gone or choked; couriers send again, and relays ask.
                    tracing::debug!(?path, %class, "not sent");
                }
            }
            Output::Report(Report::Refused(peer, id, refusal)) => {
                metric::increment(Counter::Refused, &[refusal.as_str()]);
                if let Some(held_back) = self.refusals.turn() {
                    tracing::warn!(alarm_id = %id, %peer, %refusal, held_back, "refused; its relay keeps it and offers it again");
                }
            }
            Output::Report(Report::Improper(peer, what)) => {
                metric::increment(Counter::Refused, &["improper"]);
                if let Some(held_back) = self.improprieties.turn() {
                    tracing::warn!(%peer, what, held_back, "ignored");
                }
            }
            Output::Report(Report::Noted(sealed, receipt)) => {
                tracing::info!(alarm_id = %sealed.event.id, stage = %receipt.stage, by = %receipt.by, "noted");
                if sealed.event.class <= Class::P1 {
                    self.noted.push(receipt);
                }
            }
            Output::Report(report) => tell(report),
        }
    }

    fn after_step(&mut self, machine: &Broker) {
        for receipt in self.noted.drain(..) {
            let Some(entry) = machine.record().get(&receipt.event) else { continue };
            let Admission { sealed, trail, .. } = &entry.admission;
            let took = seconds_since_press(&sealed.event, trail, &entry.receipts(), &receipt);
            metric::observe(Histogram::AlarmStage, &[receipt.stage.as_str()], took);
        }
    }
}

fn tell(report: Report) {
    match report {
        Report::Received(sealed, stations) => {
            let event = &sealed.event;
            if event.class <= Class::P1 {
                metric::increment(Counter::AlarmsReceived, &[event.kind.as_str(), event.mode.as_str()]);
            }
            let stations: Vec<String> = stations.iter().map(ToString::to_string).collect();
            let to = stations.join(",");
            if event.class <= Class::P2 {
                tracing::info!(alarm_id = %event.id, school = %event.school(), kind = %event.kind, class = %event.class, to, "received");
            } else {
                // A region's supervision: many a second, and none of them news.
                tracing::debug!(alarm_id = %event.id, school = %event.school(), kind = %event.kind, class = %event.class, to, "received");
            }
        }
        Report::NoRoute(sealed) => {
            metric::increment(Counter::Refused, &["no_route"]);
            let event = &sealed.event;
            tracing::error!(alarm_id = %event.id, school = %event.school(), "no plan names a station for this school: add one; the event is kept");
        }
        Report::Stored(sealed) => tracing::debug!(alarm_id = %sealed.event.id, "stored"),
        Report::Duplicate(id) => {
            metric::increment(Counter::Duplicates, &["broker"]);
            tracing::debug!(alarm_id = %id, "a repeat");
        }
        // What peers do wrong is told sparingly, what stations say with its measure: by the shell itself.
        Report::Refused(..) | Report::Improper(..) | Report::Noted(..) => {}
        Report::NotStored(id, why) => {
            tracing::error!(alarm_id = %id, why, "it goes to its stations, but could not be stored here");
        }
    }
}
