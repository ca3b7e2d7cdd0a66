//! What happens to the region: each fault is put in force, lasts, and is healed until all is well.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use huxiao_benches::emulator::Deaf;

use super::schedule::{Fault, Step};
use super::site::{Recovery, Site};
use crate::lab::Dice;

/// How far wrong a clock goes.
const JUMP_SECONDS: i64 = 600;
/// How long the slow disk takes for a sync.
const SLOW_SYNC: Duration = Duration::from_millis(300);
/// How long a node may take to stop in good order.
const STOPS: Duration = Duration::from_secs(40);

/// Why a step was not carried out as asked.
#[derive(Debug)]
pub enum Trouble {
    /// This machine, or this region, has not what it takes.
    Skipped(String),
    /// The region did not do what it must.
    Broken(String),
}

impl From<String> for Trouble {
    fn from(words: String) -> Self {
        Trouble::Broken(words)
    }
}

/// Carries a fault out, its healing included. Gives what it did, in words.
///
/// # Errors
/// [`Trouble`]. The fault is healed all the same, as far as that can be done from outside.
pub fn strike(site: &Site, step: &Step) -> Result<String, Trouble> {
    let mut dice = Dice::new(step.dice);
    let nodes = site.everybody();
    // Where nobody leads, anybody is as good.
    let leader = site.leader().unwrap_or_else(|| *dice.pick(&nodes));
    let others: Vec<usize> = nodes.iter().copied().filter(|at| *at != leader).collect();
    if others.is_empty() && needs_others(step.fault) {
        return Err(Trouble::Skipped("it takes three broker nodes".into()));
    }
    let follower = if others.is_empty() { leader } else { *dice.pick(&others) };
    let name = |at: usize| site.brokers[at].member.as_str();
    let did = match step.fault {
        Fault::KillLeader => killed(site, leader, step.hold),
        Fault::KillFollower => killed(site, follower, step.hold),
        Fault::KillEach => {
            for at in nodes.iter().copied() {
                killed(site, at, step.hold);
                well(site, "killed and back")?;
            }
            "each in turn".into()
        }
        Fault::Pause => {
            site.keeper.freeze(&site.brokers[leader].name, true);
            sleep(step.hold);
            site.keeper.freeze(&site.brokers[leader].name, false);
            format!("{} stood still", name(leader))
        }
        Fault::CutLeader => {
            let cuts = others.iter().flat_map(|at| [(*at, leader), (leader, *at)]).collect();
            cut(site, step.hold, &cuts, &format!("{} and its followers", name(leader)))
        }
        Fault::OneWay => {
            let cuts = others.iter().map(|at| (leader, *at)).collect();
            cut(site, step.hold, &cuts, &format!("{} to its followers", name(leader)))
        }
        Fault::RelayFromLeader => {
            let at = usize::try_from(dice.below(site.posts.relays.len() as u64)).unwrap();
            let relay = site.relay_host(at);
            let cuts = [(relay, leader), (leader, relay)].into();
            cut(site, step.hold, &cuts, &format!("relay {} and {}", at + 1, name(leader)))
        }
        Fault::StationFromTwo => {
            let at = usize::try_from(dice.below(site.posts.seats.len() as u64)).unwrap();
            let seat = site.seat_host(at);
            let spared = *dice.pick(&nodes);
            let cuts = nodes.iter().filter(|node| **node != spared).flat_map(|node| [(seat, *node), (*node, seat)]);
            cut(site, step.hold, &cuts.collect(), &format!("seat {} and all but {}", at + 1, name(spared)))
        }
        Fault::ClockJump => clock_jump(site, *dice.pick(&nodes), step.hold)?,
        Fault::SlowDisk => slow_disk(site, leader, step.hold)?,
        Fault::DiskFull => disk_full(site, step.hold)?,
        Fault::RestartAll => {
            nodes.iter().for_each(|at| site.keeper.hold_down(&site.brokers[*at].name));
            sleep(step.hold.min(Duration::from_secs(2)));
            nodes.iter().for_each(|at| site.keeper.release(&site.brokers[*at].name));
            "all at once".into()
        }
        Fault::RollingRestart => rolling_restart(site, leader, &others)?,
        Fault::Replace => replace(site, follower, leader)?,
        Fault::QuorumLoss => quorum_loss(site, &mut dice, &nodes, step.hold),
    };
    let recovery = well(site, step.fault.name())?;
    Ok(format!("{did}; well again after {recovery}"))
}

fn needs_others(fault: Fault) -> bool {
    use Fault::{CutLeader, OneWay, QuorumLoss, Replace, StationFromTwo};
    matches!(fault, CutLeader | OneWay | QuorumLoss | Replace | StationFromTwo)
}

fn well(site: &Site, what: &str) -> Result<Recovery, Trouble> {
    Ok(site.wait_well(&site.everybody(), what)?)
}

/// Kills a node and leaves it down for a while.
fn killed(site: &Site, at: usize, hold: Duration) -> String {
    let broker = &site.brokers[at];
    site.keeper.hold_down(&broker.name);
    sleep(hold);
    site.keeper.release(&broker.name);
    format!("{} was down {:.1} s", broker.member, hold.as_secs_f64())
}

fn cut(site: &Site, hold: Duration, cuts: &Deaf, whom: &str) -> String {
    site.cut(cuts);
    sleep(hold);
    site.cut(&Deaf::new());
    format!("{whom}, {:.1} s", hold.as_secs_f64())
}

fn clock_jump(site: &Site, at: usize, hold: Duration) -> Result<String, Trouble> {
    if !site.has_clocks() {
        return Err(Trouble::Skipped("there is no libfaketime here (package faketime)".into()));
    }
    for seconds in [JUMP_SECONDS, -JUMP_SECONDS, 0] {
        site.set_clock(at, seconds);
        sleep(hold / 2);
    }
    Ok(format!("{} ten minutes ahead, then behind, then right", site.brokers[at].member))
}

/// The node on the disk that can be slowed down takes the lead first.
fn slow_disk(site: &Site, leader: usize, hold: Duration) -> Result<String, Trouble> {
    let Some((at, disk)) = site.slow_disk() else {
        return Err(Trouble::Skipped("no disk here can be slowed down (/dev/fuse, and more than one node)".into()));
    };
    let member = &site.brokers[at].member;
    if at != leader && site.cluster(leader).is_some() {
        site.run(&["cluster", "transfer-leader", member, "--api", &site.brokers[leader].base])?;
    }
    disk.delay_syncs(SLOW_SYNC);
    sleep(hold);
    disk.delay_syncs(Duration::ZERO);
    Ok(format!("of {member}, {} ms a sync", SLOW_SYNC.as_millis()))
}

fn disk_full(site: &Site, hold: Duration) -> Result<String, Trouble> {
    let (at, disk) = site.small_disk();
    let broker = &site.brokers[at];
    site.keeper.excuse(&broker.name, true);
    disk.fill();
    sleep(hold);
    disk.free();
    let back = well(site, "there is space again");
    site.keeper.excuse(&broker.name, false);
    back?;
    Ok(format!("of {}", broker.member))
}

/// As an operator does it: followers first, then the leadership goes elsewhere, and the old leader comes last.
fn rolling_restart(site: &Site, leader: usize, others: &[usize]) -> Result<String, Trouble> {
    let restart = |at: usize| {
        site.keeper.stop(&site.brokers[at].name, STOPS);
        site.keeper.release(&site.brokers[at].name);
        well(site, "restarted in good order")
    };
    for at in others {
        restart(*at)?;
    }
    if let Some(next) = others.first().filter(|_| site.cluster(leader).is_some()) {
        let (api, member) = (&site.brokers[leader].base, &site.brokers[*next].member);
        site.run(&["cluster", "transfer-leader", member, "--api", api])?;
    }
    restart(leader)?;
    Ok("followers first".into())
}

/// The node's disk is gone, and the operator replaces it under the same name and address.
fn replace(site: &Site, at: usize, leader: usize) -> Result<String, Trouble> {
    if site.cluster(leader).is_none() {
        return Err(Trouble::Skipped("this region has no members to replace".into()));
    }
    let broker = &site.brokers[at];
    site.keeper.hold_down(&broker.name);
    let wiped = fs::remove_dir_all(&broker.data).map_err(|why| format!("{}: {why}", broker.data.display()));
    site.keeper.release(&broker.name);
    wiped?;
    let began = std::time::Instant::now();
    let api = &site.brokers[leader].base;
    // The node must be there to be introduced.
    let mut said = site.run(&["cluster", "replace", &broker.member, "--api", api]);
    while said.is_err() && began.elapsed() < super::site::PATIENCE {
        sleep(Duration::from_millis(500));
        said = site.run(&["cluster", "replace", &broker.member, "--api", api]);
    }
    said?;
    Ok(format!("{} after {:.1} s", broker.member, began.elapsed().as_secs_f64()))
}

fn quorum_loss(site: &Site, dice: &mut Dice, nodes: &[usize], hold: Duration) -> String {
    let survivor = *dice.pick(nodes);
    let dead = || nodes.iter().filter(|at| **at != survivor).map(|at| &site.brokers[*at].name);
    dead().for_each(|name| site.keeper.hold_down(name));
    sleep(hold);
    dead().for_each(|name| site.keeper.release(name));
    format!("{} was alone {:.1} s", site.brokers[survivor].member, hold.as_secs_f64())
}
