//! The emulator held against what was asked of it, over real sockets. Needs root and TUN; without, each test says so and passes.
//!
//! Figures are measured again before a test fails on them: on a busy machine a process may sleep through its own packets.

// Test code outside of test functions: helpers fail the test that calls them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use huxiao_benches::emulator::measure::{Flow, Found, Way, flow};
use huxiao_benches::emulator::{Cuts, Emulator, Loss, Profile, Rate};

/// One link at a time: two that are measured at once would take the processor from each other.
static ALONE: Mutex<()> = Mutex::new(());

/// An emulator of these links and the right to be alone, or nothing where there can be none.
fn emulator(links: &[(Profile, Profile)], seed: u64) -> Option<(Emulator, impl Drop + use<>)> {
    let alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Err(why) = Emulator::available() {
        println!("skipped: {why}");
        return None;
    }
    Some((Emulator::start(links, seed).unwrap(), alone))
}

fn both(profile: Profile) -> [(Profile, Profile); 1] {
    [(profile, profile)]
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Measures until `found` says that it is right: three times at the most.
fn until(mut measure: impl FnMut() -> Found, judge: impl Fn(&Found) -> Result<(), String>) {
    let mut why = String::new();
    for _ in 0..3 {
        match judge(&measure()) {
            Ok(()) => return,
            Err(wrong) => why = wrong,
        }
    }
    panic!("{why}");
}

fn near(what: &str, found: f64, asked: f64, percent: f64) -> Result<(), String> {
    let within = (found - asked).abs() <= asked.abs() * percent / 100.0;
    if within { Ok(()) } else { Err(format!("{what}: {found} instead of {asked}")) }
}

#[test]
fn delays_are_those_asked_for() {
    let links = [(Profile::town(), Profile::rural()), (Profile::bad(), Profile::lan())];
    let Some((emulator, _alone)) = emulator(&links, 1) else { return };
    let few = Flow { packets: 1_000, per_second: 1_000, length: 300 };
    for (link, way, profile) in [(0, Way::Up, links[0].0), (0, Way::Down, links[0].1), (1, Way::Up, links[1].0)] {
        until(
            || flow(&emulator, link, way, few).unwrap(),
            |found| {
                assert!(
                    found.packets.iter().all(|seen| seen.took.is_none_or(|took| took >= profile.delay)),
                    "{profile:?}"
                );
                near(profile.name, found.mean_delay().as_secs_f64(), profile.mean_delay().as_secs_f64(), 5.0)
            },
        );
    }
    until(
        || flow(&emulator, 1, Way::Down, few).unwrap(),
        |found| {
            let (median, least) = (found.delay_at(0.5), found.delay_at(0.0));
            assert!(least >= Profile::lan().delay);
            // A constant for the ways into and out of this process.
            if median < ms(1) { Ok(()) } else { Err(format!("lan: {median:?}")) }
        },
    );
}

#[test]
fn losses_are_as_many_and_as_long_as_asked() {
    // Of this many packets the share of lost ones varies by one to two percent.
    let burst = Loss::GilbertElliott { enter: 0.1, leave: 0.3, good: 0.01, bad: 0.8 };
    let quick = Profile { delay: ms(2), ..Profile::lan() };
    let links = [(Profile { loss: Loss::Bernoulli(0.1), ..quick }, Profile { loss: burst, ..quick })];
    let Some((emulator, _alone)) = emulator(&links, 2) else { return };
    let many = Flow { packets: 40_000, per_second: 10_000, length: 60 };
    for (way, loss) in [(Way::Up, links[0].0.loss), (Way::Down, links[0].1.loss)] {
        until(
            || flow(&emulator, 0, way, many).unwrap(),
            |found| {
                near("lost", found.lost(), loss.share(), 5.0)?;
                near("burst", found.mean_burst(), loss.mean_burst(), 5.0)
            },
        );
    }
    let counters = emulator.link(0).counters();
    assert!(counters.iter().all(|counters| counters.overflowed == 0 && counters.refused == 0), "{counters:?}");
}

#[test]
fn a_line_carries_its_rate_and_queues_no_more_than_it_may() {
    let rate = Rate { bits_per_second: 2_000_000, queue_bytes: 32 * 1024 };
    let profile = Profile { rate: Some(rate), delay: ms(10), ..Profile::lan() };
    let Some((emulator, _alone)) = emulator(&both(profile), 3) else { return };
    // Twice as much as it carries.
    let blast = Flow { packets: 1_500, per_second: 500, length: 1_000 };
    until(
        || flow(&emulator, 0, Way::Up, blast).unwrap(),
        |found| {
            // The queue takes 131 ms to drain.
            near("longest", found.delay_at(1.0).as_secs_f64(), 0.141, 10.0)?;
            near("rate", found.bits_per_second, 2_000_000.0, 5.0)
        },
    );
    assert!(emulator.link(0).counters()[0].queue_full > 0);
}

#[test]
fn packets_come_twice_and_overtake_as_often_as_asked() {
    let calm = Profile { delay: ms(20), ..Profile::lan() };
    let wild = Profile { duplicate: 0.1, reorder: 0.05, ..calm };
    let jitter = Profile { jitter: ms(5), ..calm };
    let Some((emulator, _alone)) = emulator(&[(wild, jitter)], 4) else { return };
    let many = Flow { packets: 20_000, per_second: 10_000, length: 100 };
    until(
        || flow(&emulator, 0, Way::Up, many).unwrap(),
        |found| {
            near("twice", found.share(|seen| seen.copies == 2), 0.1, 7.0)?;
            near("overtaken", found.share(|seen| seen.overtaken), 0.05, 10.0)
        },
    );
    let down = flow(&emulator, 0, Way::Down, many).unwrap();
    assert!(down.share(|seen| seen.overtaken) > 0.3);
    emulator.link(0).set(calm, Profile { keep_order: true, ..jitter });
    let ordered = flow(&emulator, 0, Way::Down, many).unwrap();
    assert!(ordered.packets.iter().all(|seen| !seen.overtaken));
}

#[test]
fn a_spoilt_packet_reaches_no_program() {
    let profile = Profile { corrupt: 0.1, ..Profile::lan() };
    let Some((emulator, _alone)) = emulator(&both(profile), 5) else { return };
    let found = flow(&emulator, 0, Way::Up, Flow { packets: 5_000, per_second: 5_000, length: 200 }).unwrap();
    let corrupted = emulator.link(0).counters()[0].corrupted;
    assert!((400..600).contains(&corrupted), "{corrupted}");
    let lost = found.packets.iter().filter(|seen| seen.copies == 0).count();
    assert_eq!(u64::try_from(lost).unwrap(), corrupted);
    // The kernel says why: every one had a wrong checksum.
    let snmp = emulator.far().enter(|| std::fs::read_to_string("/proc/thread-self/net/snmp")).unwrap().unwrap();
    let udp: Vec<Vec<&str>> =
        snmp.lines().filter(|line| line.starts_with("Udp:")).map(|line| line.split(' ').collect()).collect();
    let column = udp[0].iter().position(|name| *name == "InCsumErrors").unwrap();
    assert_eq!(udp[1][column], corrupted.to_string());
}

#[test]
fn cuts_come_when_they_must() {
    let cuts = Cuts { every: ms(1_000), dark: ms(400) };
    let profile = Profile { cuts: Some(cuts), delay: ms(1), ..Profile::lan() };
    let Some((emulator, _alone)) = emulator(&both(profile), 6) else { return };
    let link = emulator.link(0);
    link.set(profile, profile);
    let found = flow(&emulator, 0, Way::Up, Flow { packets: 2_500, per_second: 1_000, length: 100 }).unwrap();
    // A packet may have been read a little after it was sent.
    let sure = |at: Instant| [at, at + ms(20)].map(|at| link.dark_at(at).is_some());
    for seen in &found.packets {
        match sure(seen.sent) {
            [true, true] => assert_eq!(seen.copies, 0),
            [false, false] => assert_eq!(seen.copies, 1),
            _ => {}
        }
    }
    let dark = found.lost();
    assert!((0.25..0.45).contains(&dark), "{dark}");
    assert!(link.last_dark_end().is_some_and(|end| end < Instant::now()));
}

#[test]
fn the_same_seed_loses_the_same_packets() {
    let profile = Profile { loss: Profile::bad().loss, duplicate: 0.1, ..Profile::lan() };
    let run = |seed| {
        let (emulator, alone) = emulator(&both(profile), seed)?;
        let found = flow(&emulator, 0, Way::Down, Flow { packets: 3_000, per_second: 6_000, length: 100 }).unwrap();
        assert_eq!(emulator.link(0).missed().unwrap(), [0, 0], "this machine was too busy to carry every packet");
        drop((emulator, alone));
        Some(found.packets.iter().map(|seen| seen.copies).collect::<Vec<_>>())
    };
    let Some(first) = run(7) else { return };
    assert_eq!(run(7).unwrap(), first);
    assert_ne!(run(8).unwrap(), first);
}

#[test]
fn tcp_meets_the_same_link_and_blocks_are_told_apart() {
    let Some((emulator, _alone)) = emulator(&both(Profile { delay: ms(10), ..Profile::lan() }), 9) else { return };
    let link = emulator.link(0);
    let only_tcp = Profile { udp_blocked: true, mtu: 1_280, ..link.profiles()[0] };
    link.set(only_tcp, only_tcp);
    let listener = emulator.far().enter(|| TcpListener::bind((link.far_ip(), 0))).unwrap().unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let mut peer = listener.accept().unwrap().0;
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        got
    });
    let began = Instant::now();
    let mut client = emulator.near().enter(|| TcpStream::connect(address)).unwrap().unwrap();
    assert!(began.elapsed() >= ms(20));
    client.write_all(b"alarm").unwrap();
    drop(client);
    assert_eq!(server.join().unwrap(), b"alarm");
    let found = flow(&emulator, 0, Way::Up, Flow { packets: 20, per_second: 1_000, length: 100 }).unwrap();
    assert!(found.packets.iter().all(|seen| seen.copies == 0));
    link.set(Profile { mtu: 1_280, ..Profile::lan() }, Profile::lan());
    let [passes, too_long] = [1_280, 1_281]
        .map(|length| flow(&emulator, 0, Way::Up, Flow { packets: 20, per_second: 1_000, length }).unwrap().lost());
    assert_eq!((passes, too_long), (0.0, 1.0));
    let [up, _] = link.counters();
    assert_eq!((up.blocked, up.too_long), (20, 20), "{up:?}");
    assert!(up.tcp_packets >= 4 && up.tcp_bytes > 200, "{up:?}");
}

#[test]
fn an_uplink_comes_and_goes_and_the_other_one_carries() {
    let links = [(Profile::lan(), Profile::lan()), (Profile::lan(), Profile::lan())];
    let Some((emulator, _alone)) = emulator(&links, 10) else { return };
    let far = emulator.far().enter(|| UdpSocket::bind("0.0.0.0:4000")).unwrap().unwrap();
    far.set_read_timeout(Some(ms(500))).unwrap();
    let target = (emulator.far_ip(), 4000);
    // Whether a packet from this link's near address arrives, and by which link.
    let carries = |link: usize| {
        let before = emulator.link(link).counters()[0].packets;
        let sender = emulator.near().enter(|| UdpSocket::bind((emulator.link(link).near_ip(), 0))).unwrap().unwrap();
        let sent = sender.send_to(b"alarm", target).is_ok();
        let arrived = sent && far.recv(&mut [0; 10]).is_ok();
        assert_eq!(emulator.link(link).counters()[0].packets > before, sent);
        arrived
    };
    assert!(carries(0) && carries(1));
    emulator.link(0).set_present(false).unwrap();
    assert!(!carries(0) && carries(1));
    far.send_to(b"answer", (emulator.link(0).near_ip(), 4000)).unwrap();
    let began = Instant::now();
    while emulator.link(0).counters()[1].refused == 0 {
        assert!(began.elapsed() < ms(10_000), "{:?}", emulator.link(0).counters());
        thread::sleep(ms(1));
    }
    emulator.link(0).set_present(true).unwrap();
    assert!(carries(0) && carries(1));
}

#[test]
fn nothing_is_left_behind() {
    let Some((emulator, _alone)) = emulator(&both(Profile::lan()), 11) else { return };
    let ip = |args: &[&str]| {
        let output = Command::new("ip").args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let listed = |name: &str| ip(&["netns", "list"]).contains(name);
    let names = [emulator.near().name().to_owned(), emulator.far().name().to_owned()];
    assert!(names.iter().all(|name| listed(name)));
    let seen = emulator.near().command("cat").arg("/proc/self/net/dev").output().unwrap();
    assert!(String::from_utf8(seen.stdout).unwrap().contains(emulator.link(0).near_device()));
    // As a killed program would leave it: no process has a number above 2^22.
    let orphan = names[0].replacen(&std::process::id().to_string(), "4194305", 1);
    ip(&["netns", "add", &orphan]);
    let other = Emulator::start(&both(Profile::lan()), 12).unwrap();
    assert!(!listed(&orphan) && names.iter().all(|name| listed(name)));
    drop((emulator, other));
    assert!(names.iter().all(|name| !listed(name)));
}
