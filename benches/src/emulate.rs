//! The link emulator by hand: makes links for any program to be tried on, or holds them against what was asked.
//!
//! Invariant: what is printed as measured comes from sockets on both sides, not from the emulator's own books.

use std::thread;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use comfy_table::Table;
use huxiao_benches::emulator::measure::{Flow, Found, Seen, Way, flow};
use huxiao_benches::emulator::{Emulator, EmulatorError, Link, Profile, Rate};

use crate::error::BenchError;
use crate::report::{plain, print};

/// Arguments of `emulate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What the link does, both ways; several times for several uplinks of the near side
    #[arg(long, value_parser = PossibleValuesParser::new(Profile::ALL), default_value = "rural")]
    profile: Vec<String>,
    /// How long it stays, or how long to measure: `60s`, `2m`
    #[arg(long = "for", value_name = "TIME", value_parser = duration, default_value = "60s")]
    time: Duration,
    /// The same seed gives the same fates to the same packets
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Measure the links and print what was asked beside what was found
    #[arg(long)]
    check: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    let read = text.parse::<jiff::SignedDuration>().map_err(|why| why.to_string())?;
    Duration::try_from(read).map_err(|why| why.to_string())
}

/// Makes the links and keeps or measures them. False: the emulator itself dropped packets, so its links were not what was asked for.
///
/// # Errors
/// No emulator can be had here, or the output could not be written.
pub(crate) fn run(args: &Args) -> Result<bool, BenchError> {
    let profiles = args.profile.iter().filter_map(|name| Profile::named(name));
    let profiles: Vec<Profile> = profiles.collect();
    let links: Vec<(Profile, Profile)> = profiles.iter().map(|profile| (*profile, *profile)).collect();
    let emulator = Emulator::start(&links, args.seed)?;
    if args.check {
        return check(&emulator, args.time);
    }
    print(&invitation(&emulator, &profiles, args.time))?;
    thread::sleep(args.time);
    print(&seen(&emulator)?)?;
    Ok(true)
}

fn invitation(emulator: &Emulator, profiles: &[Profile], time: Duration) -> String {
    let mut out = String::new();
    for (link, profile) in emulator.links().iter().zip(profiles) {
        let (device, name) = (link.near_device(), profile.name);
        out.push_str(&format!("{device} ({name}, both ways): near {}, far {}\n", link.near_ip(), link.far_ip()));
    }
    let (near, far, any) = (emulator.near().name(), emulator.far().name(), emulator.far_ip());
    out.push_str(&format!(
        "the far side has {any} as well, which every link leads to\n\n\
         run anything on the near side:  ip netns exec {near} sh\n\
         run anything on the far side:   ip netns exec {far} sh\n\
         try it:                         ip netns exec {near} ping {any}   (of iputils-ping)\n\n\
         it stays for {} s, or until ctrl-c\n",
        time.as_secs()
    ));
    out
}

/// What the links have seen, as a table.
fn seen(emulator: &Emulator) -> Result<String, BenchError> {
    let header = ["link", "way", "packets", "bytes", "delivered", "lost", "dark", "queue full", "refused", "missed"];
    let mut table = plain(&header, 2..=9);
    for link in emulator.links() {
        let missed = link.missed()?;
        for ((way, of), missed) in ["near→far", "far→near"].iter().zip(link.counters()).zip(missed) {
            let counted = [of.packets, of.bytes, of.delivered, of.lost, of.dark, of.queue_full, of.refused, missed];
            let names = [link.near_device().to_owned(), (*way).to_owned()];
            table.add_row(names.into_iter().chain(counted.map(|count| count.to_string())));
        }
    }
    Ok(lines(&table))
}

/// What was sent to measure one direction, and what became of it.
struct Measured {
    way: Way,
    paced: (Flow, Found),
    /// With a limited rate: twice as much as it carries.
    blast: Option<Found>,
}

fn check(emulator: &Emulator, time: Duration) -> Result<bool, BenchError> {
    let ways = (0..emulator.links().len()).flat_map(|link| [(link, Way::Up), (link, Way::Down)]);
    // All at once: the directions are independent, and each keeps its processor nearly idle.
    let measured = thread::scope(|scope| {
        let threads: Vec<_> = ways.map(|(link, way)| scope.spawn(move || measure(emulator, link, way, time))).collect();
        let joined = threads.into_iter().map(|it| it.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.collect::<Result<Vec<Measured>, EmulatorError>>()
    })?;
    let mut table = plain(&["link", "way", "figure", "asked", "measured", "packets"], 3..=5);
    for (link, measured) in emulator.links().iter().zip(measured.chunks(2)) {
        measured.iter().for_each(|measured| compare(link, measured, &mut table));
    }
    print(&lines(&table))?;
    print(&format!("\n{}", seen(emulator)?))?;
    let mut kept_up = true;
    for link in emulator.links() {
        let overflowed: u64 = link.counters().iter().map(|of| of.overflowed).sum();
        kept_up &= overflowed == 0 && link.missed()? == [0, 0];
    }
    if !kept_up {
        print("the emulator did not keep up with the packets: give the machine more room and measure again\n")?;
    }
    Ok(kept_up)
}

fn measure(emulator: &Emulator, link: usize, way: Way, time: Duration) -> Result<Measured, EmulatorError> {
    let profile = profile(emulator.link(link), way);
    let flow_of = |time: Duration, per_second: u32, length| {
        let packets = u64::from(per_second) * u64::try_from(time.as_millis()).unwrap_or(u64::MAX) / 1_000;
        Flow { packets: u32::try_from(packets).unwrap_or(u32::MAX).max(1), per_second, length }
    };
    let Some(Rate { bits_per_second, .. }) = profile.rate else {
        let paced = flow_of(time, 200, 300);
        return Ok(Measured { way, paced: (paced, flow(emulator, link, way, paced)?), blast: None });
    };
    // Half the rate in small packets, so that none meets another one in the queue; then twice the rate in larger ones.
    let a_second =
        |share: u64, length: u64| u32::try_from(bits_per_second * share / 2 / (8 * length)).unwrap_or(u32::MAX).max(1);
    let paced = flow_of(time * 3 / 4, a_second(1, 100), 100);
    let paced = (paced, flow(emulator, link, way, paced)?);
    let blast = flow(emulator, link, way, flow_of(time / 4, a_second(4, 500), 500))?;
    Ok(Measured { way, paced, blast: Some(blast) })
}

fn profile(link: &Link, way: Way) -> Profile {
    let [up, down] = link.profiles();
    if way == Way::Up { up } else { down }
}

fn compare(link: &Link, measured: &Measured, table: &mut Table) {
    let profile = profile(link, measured.way);
    let way = if measured.way == Way::Up { "near→far" } else { "far→near" };
    let mut row = |figure: &str, asked: String, found: String, of: &Found| {
        let packets = of.packets.len().to_string();
        table.add_row([link.near_device(), way, figure, &asked, &found, &packets]);
    };
    let (sent, found) = &measured.paced;
    let ms = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1_000.0);
    let on_the_line = profile.rate.map_or(0.0, |rate| f64::from(sent.length) * 8.0 / rate.bits_per_second as f64);
    let asked = profile.mean_delay() + Duration::from_secs_f64(on_the_line);
    row("mean delay, ms", ms(asked), ms(found.mean_delay()), found);
    let is_dark = |seen: &Seen| link.dark_at(seen.sent).is_some();
    let (dark, light): (Vec<Seen>, Vec<Seen>) = found.packets.iter().partition(|seen| is_dark(seen));
    let [light, dark] = [light, dark].map(|packets| Found { packets, bits_per_second: 0.0 });
    row("lost, %", percent(profile.loss.share()), percent(light.lost()), &light);
    row(
        "lost in a row, mean",
        format!("{:.2}", profile.loss.mean_burst()),
        format!("{:.2}", light.mean_burst()),
        &light,
    );
    if profile.cuts.is_some() && !dark.packets.is_empty() {
        row("lost in the dark, %", percent(1.0), percent(dark.lost()), &dark);
    }
    if let (Some(rate), Some(blast)) = (profile.rate, &measured.blast) {
        // What the dice take is not on the line's account.
        let asked = rate.bits_per_second as f64 * (1.0 - profile.loss.share());
        row("arrives, kbit/s", format!("{:.2}", asked / 1e3), format!("{:.2}", blast.bits_per_second / 1e3), blast);
    }
}

fn percent(share: f64) -> String {
    format!("{:.2}", share * 100.0)
}

fn lines(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}
