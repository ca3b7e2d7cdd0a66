//! The two ways in which a session is new at the moment of an alarm: the relay has just been started, or its line forgot the port that the
//! session used (as carrier NATs do), so that nothing passes on it any more.
//!
//! Invariant: the time of a start runs from the start of the process; that of a redial from the press.

use std::process::Stdio;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use huxiao_benches::emulator::{Namespace, Profile};

use super::Bench;
use super::findings::{Extra, Findings, Spread};
use super::line::Line;
use super::presses::alarm;
use super::system::{Huxiao, Presser};
use super::tally::Arrival;
use crate::error::{BenchError, Trying};
use crate::http::Connection;
use crate::place::Place;
use crate::process::find;

const SAMPLES: u32 = 7;
const QUICK_SAMPLES: u32 = 3;
/// How long one alarm may take: longer than QUIC's idle time-out.
const PATIENCE: Duration = Duration::from_secs(60);
/// No new redial begins after this.
const REDIALS: Duration = Duration::from_secs(60);
const QUICK_REDIALS: Duration = Duration::from_secs(15);
/// For a session to settle.
const REST: Duration = Duration::from_secs(1);
/// Between two attempts to press at a relay that is starting.
const KNOCK: Duration = Duration::from_millis(5);

/// Times both on a long line that loses nothing.
///
/// # Errors
/// The lab did not run, or an alarm did not come.
pub(super) fn measure(bench: &Bench<'_>, findings: &mut Findings) -> Result<(), BenchError> {
    let profile = Profile::rural().lossless();
    let line = Line::new(profile, bench.seed)?;
    let folder = bench.scratch.path().join("restart");
    let (tell, heard) = mpsc::channel();
    let mut huxiao = Huxiao::start(&line, bench.program, &folder, tell)?;
    let (mut starts, mut redials, mut number) = (Vec::new(), Vec::new(), 0);
    let (samples, limit) = if bench.quick { (QUICK_SAMPLES, QUICK_REDIALS) } else { (SAMPLES, REDIALS) };
    for _ in 0..samples {
        number += 1;
        let began = huxiao.lab.restart_relay(bench.program, Place::Inside(line.near()))?;
        line.near().enter(|| knock(huxiao.lab.relay(), number))??;
        starts.push(arrival(&heard, number)?.saturating_duration_since(began).as_secs_f64() * 1e3);
        thread::sleep(REST);
    }
    tell_times(findings, "from the start of the relay's process", starts);
    if find("nft").is_none() {
        findings.skipped.push("redial: nft is not installed".to_owned());
        return Ok(());
    }
    let began = Instant::now();
    while redials.len() < samples as usize && (redials.is_empty() || began.elapsed() < limit) {
        number += 1;
        let ports = line.near().enter(udp_ports)??;
        // Where packets come in, so that no sender is told: a NAT that forgot says nothing either.
        let school = line.near_ip();
        nft(line.far(), &silence(&format!("ip saddr {school} udp sport {{ {ports} }}")))?;
        nft(line.near(), &silence(&format!("ip daddr {school} udp dport {{ {ports} }}")))?;
        let pressed = line.near().enter(|| {
            let mut presser = Presser::open(huxiao.lab.relay(), 1)?;
            let pressed = Instant::now();
            presser.press(&alarm(number));
            Ok::<_, BenchError>(pressed)
        })??;
        redials.push(arrival(&heard, number)?.saturating_duration_since(pressed).as_secs_f64() * 1e3);
        nft(line.far(), "flush ruleset")?;
        nft(line.near(), "flush ruleset")?;
        thread::sleep(REST);
    }
    tell_times(findings, "from a press while the line has forgotten the session's port", redials);
    Ok(())
}

fn tell_times(findings: &mut Findings, what: &str, samples: Vec<f64>) {
    let what = format!("rural without loss: {what} to the alarm at the station");
    findings.extras.extend(Spread::of(samples).map(|spread| Extra { what, spread, unit: "ms" }));
}

/// When the alarm of this number came.
fn arrival(heard: &Receiver<Arrival>, number: u32) -> Result<Instant, BenchError> {
    let began = Instant::now();
    loop {
        let left = PATIENCE.saturating_sub(began.elapsed());
        let late = |_| BenchError::Late { what: format!("alarm {number} at the station"), seconds: PATIENCE.as_secs() };
        let arrival = heard.recv_timeout(left).map_err(late)?;
        if arrival.number == number {
            return Ok(arrival.at);
        }
    }
}

/// Presses at a relay that is starting as soon as it takes it. To be called where it is.
fn knock(relay: &str, number: u32) -> Result<(), BenchError> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let pressed = Connection::open(relay).and_then(|mut relay| relay.ask("POST", "/v1/events", &alarm(number)));
        match pressed {
            Ok(answer) if answer.status == 202 => return Ok(()),
            // It does not listen yet, or is not ready.
            Ok(_) | Err(_) => thread::sleep(KNOCK),
        }
    }
    Err(BenchError::Late { what: "a press at a relay that was started".into(), seconds: PATIENCE.as_secs() })
}

/// The UDP ports that are in use. To be called where they are.
fn udp_ports() -> Result<String, BenchError> {
    let table = std::fs::read_to_string("/proc/thread-self/net/udp").trying("read the list of UDP ports")?;
    let ports: Vec<String> = local_ports(&table).map(|port| port.to_string()).collect();
    if ports.is_empty() {
        return Err(BenchError::answer("the list of UDP ports", "that the relay has none"));
    }
    Ok(ports.join(", "))
}

/// The local ports in a table of the kernel (proc(5), /proc/net/udp): the second column, after the colon, hexadecimal.
fn local_ports(table: &str) -> impl Iterator<Item = u16> {
    let locals = table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)?.rsplit_once(':'));
    locals.filter_map(|(_, port)| u16::from_str_radix(port, 16).ok())
}

/// A table that drops what comes in and matches.
fn silence(what: &str) -> String {
    format!("table inet gone {{ chain come {{ type filter hook input priority 0; {what} drop; }}; }}")
}

/// Gives one end of the line rules of its own.
fn nft(end: &Namespace, rules: &str) -> Result<(), BenchError> {
    let output = end.command("nft").arg(rules).stdin(Stdio::null()).output().trying("run nft")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(BenchError::Program { program: "nft".into(), status: output.status.to_string(), output: said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_the_kernels_table() {
        let table = "   sl  local_address rem_address   st\n  12: 0100007F:1151 00000000:0000 07 00\n 13: 00000000:C350 00000000:0000 07\n";
        assert_eq!(local_ports(table).collect::<Vec<_>>(), [4_433, 50_000]);
        assert_eq!(local_ports("").count(), 0);
    }
}
