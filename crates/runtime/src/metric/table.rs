//! The table itself.

use std::fmt::Write as _;

/// What kind of figure a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Only rises.
    Counter,
    /// Goes both ways.
    Gauge,
    /// Counts measurements by size.
    Histogram,
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name, unit included.
    pub name: &'static str,
    /// Its kind.
    pub kind: Type,
    /// The names of its labels, in the order in which their values are given.
    pub labels: &'static [&'static str],
    /// One sentence for people.
    pub help: &'static str,
}

impl Metric {
    /// The unit that the name ends in (before `_total`), or nothing for a plain number.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        let stem = self.name.strip_suffix("_total").unwrap_or(self.name);
        ["seconds", "bytes", "ratio"].into_iter().find(|unit| stem.ends_with(unit)).unwrap_or("")
    }
}

macro_rules! metrics {
    ($($(#[$doc:meta])* enum $type:ident { $($variant:ident $name:literal $labels:tt $help:literal;)* })*) => {
        $($(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type { $(#[doc = $help] $variant,)* }

        impl $type {
            const ALL: &'static [Metric] = &[$(
                Metric { name: $name, kind: Type::$type, labels: &$labels, help: $help },
            )*];

            /// Its line of the table.
            #[must_use]
            pub fn metric(self) -> &'static Metric {
                &Self::ALL[self as usize]
            }
        })*
    };
}

metrics! {
    /// The counters.
    enum Counter {
        AlarmsReceived "huxiao_alarms_received_total" ["kind", "mode"] "Events of class P0 and P1 taken in for the first time.";
        Duplicates "huxiao_duplicates_total" ["role"] "Copies of events that were here already.";
        EventSignatures "huxiao_event_signatures_total" ["outcome"] "Alarms of class P0 by what was found of their signature when they came first, at a broker node or a station: valid, none, invalid or unchecked. None is held back for it.";
        Refused "huxiao_refused_total" ["reason"] "Events that were not taken; their relays keep them.";
        CommandStages "huxiao_command_stages_total" ["role", "kind", "stage"] "Stages that commands to schools reached, as this node counts them: a broker node of every school, a relay of its own, a station each time that it heard how one stands.";
        CommandsRefused "huxiao_commands_refused_total" ["role", "reason"] "Commands to schools that were not taken: at a broker node by the region's rules, at a relay for a signature that does not hold.";
        AlarmsOverdue "huxiao_alarms_overdue_total" ["rung"] "Alarms that nobody had taken, or to which nobody was sent or had come, when their ownership went up, by how far it went.";
        CaseOrders "huxiao_case_orders_total" ["verb", "outcome"] "Officers' orders about cases that came into the record, by what was to be done and what became of it: taken, or why not.";
        CasesEnded "huxiao_cases_ended_total" ["mode"] "Cases of tests and drills that were closed by themselves. Every node counts all of the region.";
        Drills "huxiao_drills_total" ["what"] "Drills that were announced, and those that were ended before their time. Every node counts all of the region.";
        BadFrames "huxiao_bad_frames_total" ["code"] "Frames that could not be understood; each closed its stream, over TCP perhaps its session.";
        Handshakes "huxiao_handshakes_total" ["outcome"] "Session handshakes that ended, by how.";
        PeerConnections "huxiao_peer_connections_total" ["outcome"] "Connections between the nodes of a region that came up or went down, and dials that came to nothing.";
        PeerCalls "huxiao_peer_calls_total" ["outcome"] "Calls of this node to other nodes of its region, by how they ended.";
        PeerAnswers "huxiao_peer_answers_total" ["outcome"] "Calls of other nodes of the region to this one, by how they ended.";
        StoreLost "huxiao_store_lost_total" [] "Times that a store came back with less than it had promised to hold.";
        UplinkBytes "huxiao_uplink_bytes_total" ["uplink", "direction"] "Bytes that sessions have put on a relay's line (sent) and taken from it (received), packet headers included.";
        PinTries "huxiao_pin_tries_total" ["outcome"] "PINs that came with a request to cancel: right, wrong, locked (not judged).";
        PersonWithheld "huxiao_person_withheld_total" ["reason"] "Person warnings that the school's plan holds back: muted, below_threshold.";
        CourierTransmissions "huxiao_courier_transmissions_total" ["class"] "Copies of events put on a path, the first ones included.";
        HttpRequests "huxiao_http_requests_total" ["status"] "Answers to HTTP requests, by class of status (2xx, 4xx, 5xx).";
        HttpOverload "huxiao_http_overload_total" ["what"] "HTTP connections or event streams turned away because the node serves as many as it can.";
        Reloads "huxiao_reloads_total" ["outcome"] "Times that the configuration was read again, by outcome.";
        RecordLeaders "huxiao_record_leader_changes_total" [] "Times that this node saw the region get another leader.";
        Bodies "huxiao_bodies_total" ["outcome"] "Pictures and audio: arrived, given, refused (by this node), not_given (refused by a peer), lost (wanted, and not there in time), not_stored.";
        BodyBytes "huxiao_body_bytes_total" ["direction"] "Bytes of pictures and audio that came in whole (received), or that a peer has whole (sent).";
        Snapshots "huxiao_snapshots_total" ["outcome"] "Pictures that cameras of a relay were asked for: taken, or failed.";
        MachineViolations "huxiao_machine_violations_total" [] "Steps after which an invariant of the machine did not hold: always a defect.";
    }

    /// The gauges.
    enum Gauge {
        BuildInfo "huxiao_build_info" ["version", "commit"] "Always 1; the labels say which program runs.";
        AlarmsUnacknowledged "huxiao_alarms_unacknowledged" ["station"] "Alarms that no officer has taken yet.";
        OldestUnacknowledgedAge "huxiao_oldest_unacknowledged_alarm_age_seconds" ["station"] "Age of the oldest alarm that no officer has taken; 0 if there is none.";
        OldestUnstoredAge "huxiao_oldest_unstored_event_age_seconds" [] "Age of the oldest event not yet on stable storage upstream: the health of a node in one figure.";
        CasesOpen "huxiao_cases_open" [] "Cases that are not closed. Every node counts all of the region.";
        RelaysConnected "huxiao_relays_connected" [] "Relays with at least one session to this node.";
        StationsConnected "huxiao_stations_connected" [] "Stations with at least one session to this node.";
        RelaysSilent "huxiao_relays_silent" [] "Relays that no node of the region hears, and whose silence is told. Every node counts all of the region.";
        SchoolsUntested "huxiao_schools_untested" [] "Schools of the plan whose last test by hand is longer ago than it says. Every node counts all of the region, once a minute.";
        DrillsOpen "huxiao_drills_open" [] "Drills of the region that are announced or on.";
        StationsUnwatched "huxiao_stations_unwatched" [] "Stations of the plan for which nobody watches at any node of the region, and of which that is told.";
        TroublesOpen "huxiao_troubles_open" ["kind"] "What the region found out by itself and told to whom it concerns, and what is not over, by the kind of its event. Every node counts all of the region.";
        ProvincePending "huxiao_province_pending" ["class"] "Events of which the province lacks something. Every node of a region counts them; its leader forwards.";
        ProvinceOldestAge "huxiao_province_oldest_age_seconds" [] "Age of the oldest event of which the province lacks something; 0 if it lacks nothing.";
        ProvinceConnected "huxiao_province_connected" [] "Nodes of the province that hold a session with this node.";
        Sessions "huxiao_sessions" ["role", "lane", "carrier"] "Open sessions, by the role of the peer, by lane, and by what carries them: quic, or tcp where the line drops UDP.";
        PeerUp "huxiao_peer_up" ["node", "lane"] "1 while this node's connection to another node of its region is up, 0 otherwise.";
        PeerRoundTrip "huxiao_peer_rtt_seconds" ["node", "lane"] "Round-trip time of this node's connection to another node of its region; not a number while it is down.";
        PathRoundTrip "huxiao_path_rtt_seconds" ["uplink", "node"] "Round-trip time of the probes over a relay's line to a broker node; not a number while none has come back.";
        PathLoss "huxiao_path_loss_ratio" ["uplink", "node"] "Share of the latest probes over a relay's line to a broker node that did not come back, 0 to 1.";
        PathSilence "huxiao_path_silence_seconds" ["uplink", "node"] "Time since anything was heard over a relay's line from a broker node; not a number without a session.";
        PathHealthy "huxiao_path_healthy" ["uplink", "node"] "1 while probes over a relay's line to a broker node come back, 0 otherwise.";
        UplinkUp "huxiao_uplink_up" ["uplink"] "1 while a relay's line is there, 0 otherwise.";
        UplinkBudget "huxiao_uplink_budget_bytes" ["uplink"] "Data that a relay's line should not exceed in a day.";
        EventsPending "huxiao_events_pending" ["class"] "Events held here whose way is not finished.";
        StoreBytes "huxiao_store_bytes" [] "Bytes that the store takes on disk.";
        StoreFreeBytes "huxiao_store_free_bytes" [] "Bytes free on the store's file system.";
        StoreState "huxiao_store_state" ["state"] "1 for the state that the store is in, 0 for the others.";
        RecordDegraded "huxiao_record_degraded" [] "1 while the record takes no commands because the region has no quorum, 0 otherwise.";
        PlanVersion "huxiao_plan_version" [] "Version of the region's plan in force on this node; 0 while it goes by its own file.";
        RecordTerm "huxiao_record_term" [] "The term of the region's leader that this node knows of.";
        RecordLeads "huxiao_record_leads" [] "1 while this node leads its region, 0 otherwise.";
        RecordLastIndex "huxiao_record_last_index" [] "Index of the last entry in this node's log of the record.";
        RecordApplied "huxiao_record_applied_index" [] "Index of the last entry of the record that took effect on this node.";
        RecordLag "huxiao_record_member_lag_entries" ["node"] "Entries that a node of the region lacks, as its leader knows; not a number elsewhere.";
        RecordWalBytes "huxiao_record_wal_bytes" [] "Bytes that the record's log takes on disk.";
        RecordWalFree "huxiao_record_wal_free_bytes" [] "Bytes free on the file system of the record's log.";
        BodiesHeld "huxiao_bodies_held" [] "Pictures and audio on the disk.";
        BodiesHeldBytes "huxiao_bodies_held_bytes" [] "Bytes of pictures and audio on the disk.";
        SseStreams "huxiao_sse_streams" [] "Event streams being served.";
        HttpConnections "huxiao_http_connections" [] "Open HTTP connections.";
        CertificateExpiry "huxiao_certificate_expiry_timestamp_seconds" [] "When this node's certificate expires, in seconds since 1970.";
        ProcessResident "huxiao_process_resident_memory_bytes" [] "Memory of the process that is in RAM.";
        ProcessOpenFiles "huxiao_process_open_files" [] "Open file descriptors of the process.";
        ProcessThreads "huxiao_process_threads" [] "Threads of the process.";
        ProcessUptime "huxiao_process_uptime_seconds" [] "Time since the process set its metrics up.";
    }

    /// The histograms.
    enum Histogram {
        AlarmStage "huxiao_alarm_stage_duration_seconds" ["stage"] "From the press to each stage of an alarm, on one clock as far as the nodes have compared theirs.";
        StoreFsync "huxiao_store_fsync_duration_seconds" [] "Time of one sync of the store.";
        RecordSync "huxiao_record_sync_duration_seconds" [] "Time of one sync of the record's log.";
        PathRtt "huxiao_quic_path_rtt_seconds" [] "Round-trip time of the QUIC sessions' paths.";
    }
}

/// Every metric, in the order of the table.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    Counter::ALL.iter().chain(Gauge::ALL).chain(Histogram::ALL)
}

/// The table as the Markdown of `docs/METRICS.md`.
#[must_use]
pub fn table_markdown() -> String {
    let mut out = String::from("# Metrics\n\nServed at `/metrics` of every role, in Prometheus' text format.\n\n");
    out.push_str("| name | type | unit | labels | meaning |\n| --- | --- | --- | --- | --- |\n");
    for metric in all() {
        let kind = match metric.kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        };
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(
            out,
            "| `{}` | {kind} | {} | {} | {} |",
            metric.name,
            metric.unit(),
            labels.join(", "),
            metric.help.replace('|', "\\|"),
        );
    }
    out
}
