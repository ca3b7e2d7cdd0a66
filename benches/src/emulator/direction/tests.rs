use super::*;
use crate::emulator::profile::Cuts;
use proptest::prelude::*;

const UDP: Packet = Packet { length: 300, carries: Carries::Udp };
const TCP: Packet = Packet { length: 300, carries: Carries::Tcp };

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn direction(profile: Profile) -> Direction {
    Direction::new(profile, 7, Duration::ZERO)
}

/// The fates of `count` packets, one a millisecond.
fn fates(profile: Profile, count: u64) -> Vec<Fate> {
    let mut direction = direction(profile);
    (0..count).map(|at| direction.decide(ms(at), UDP)).collect()
}

/// When a packet that entered at `now` arrives; it must.
fn arrives(direction: &mut Direction, now: Duration, packet: Packet) -> Duration {
    match direction.decide(now, packet) {
        Fate::Carried(first, _) => first.at,
        Fate::Dropped(cause) => panic!("{cause:?} at {now:?}"),
    }
}

fn close(found: f64, asked: f64) {
    assert!((found / asked - 1.0).abs() < 0.03, "{found} instead of {asked}");
}

/// The share of the lost, and how long their runs are on average.
fn losses(fates: &[Fate]) -> (f64, f64) {
    let lost: Vec<bool> = fates.iter().map(|fate| *fate == Fate::Dropped(Cause::Lost)).collect();
    let total = lost.iter().filter(|lost| **lost).count() as f64;
    let runs = lost.chunk_by(|a, b| a == b).filter(|run| run[0]).count() as f64;
    (total / lost.len() as f64, total / runs)
}

#[test]
fn losses_and_their_bursts_are_as_many_as_asked() {
    let own = Loss::GilbertElliott { enter: 0.1, leave: 0.25, good: 0.0, bad: 1.0 };
    for loss in [Loss::Bernoulli(0.05), Loss::Bernoulli(0.3), Profile::rural().loss, Profile::bad().loss, own] {
        // So many, since bursts make the share vary: of this many by less than a percent.
        let (share, burst) = losses(&fates(Profile { loss, ..Profile::lan() }, 1_000_000));
        close(share, loss.share());
        close(burst, loss.mean_burst());
    }
}

#[test]
fn the_delay_has_the_shape_of_half_a_normal_distribution() {
    let profile = Profile::rural().lossless();
    let mut delays: Vec<f64> = fates(profile, 100_000)
        .iter()
        .zip(0..)
        .map(|(fate, sent)| match fate {
            Fate::Carried(first, None) => {
                (first.at - ms(sent) - profile.delay).as_secs_f64() / profile.jitter.as_secs_f64()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    delays.sort_by(f64::total_cmp);
    assert!(delays[0] >= 0.0);
    close(delays[50_000], 0.6745);
    close(delays[99_000], 2.5758);
    close(delays.iter().sum::<f64>() / 100_000.0, 0.7979);
    close(profile.mean_delay().as_secs_f64(), 0.06 + 0.02 * 0.7979);
}

#[test]
fn a_line_sends_at_its_rate_and_drops_the_tail() {
    // 8,000 bit/s: one byte a millisecond.
    let rate = Some(Rate { bits_per_second: 8_000, queue_bytes: 1_000 });
    let mut line = direction(Profile { rate, delay: ms(5), ..Profile::lan() });
    for at in [305, 605, 905] {
        assert_eq!(arrives(&mut line, ms(0), UDP), ms(at));
    }
    assert_eq!(line.decide(ms(0), UDP), Fate::Dropped(Cause::QueueFull));
    assert_eq!(line.decide(ms(199), UDP), Fate::Dropped(Cause::QueueFull));
    // By then 200 bytes have left.
    assert_eq!(arrives(&mut line, ms(200), UDP), ms(1_205));
    // An idle line takes even what its queue would never hold.
    let long = Packet { length: 1_400, ..TCP };
    assert_eq!(arrives(&mut line, ms(9_000), long), ms(10_405));
    let dead = Some(Rate { bits_per_second: 0, queue_bytes: 1_000 });
    assert_eq!(direction(Profile { rate: dead, ..Profile::lan() }).decide(ms(0), UDP), Fate::Dropped(Cause::QueueFull));
}

#[test]
fn dark_is_the_last_part_of_each_period_and_begins_anew_with_a_new_profile() {
    let cuts = Some(Cuts { every: ms(60), dark: ms(8) });
    let cut = Profile { cuts, ..Profile::lan() };
    let mut link = Direction::new(cut, 1, ms(1_000));
    let passes = |link: &mut Direction, at| match link.decide(ms(at), UDP) {
        Fate::Carried(..) => true,
        fate => {
            assert_eq!(fate, Fate::Dropped(Cause::Dark));
            false
        }
    };
    for (at, light) in
        [(1_000, true), (1_051, true), (1_052, false), (1_059, false), (1_060, true), (1_111, true), (1_112, false)]
    {
        assert_eq!(passes(&mut link, at), light, "at {at}");
    }
    assert_eq!((link.dark_until(ms(1_051)), link.dark_until(ms(1_055))), (None, Some(ms(1_060))));
    assert_eq!((link.last_dark_end(ms(1_055)), link.last_dark_end(ms(1_061))), (None, Some(ms(1_060))));
    link.set(cut, ms(1_055));
    assert!(
        passes(&mut link, 1_106) && !passes(&mut link, 1_107) && !passes(&mut link, 1_114) && passes(&mut link, 1_115)
    );
    let never = Profile { cuts: Some(Cuts { every: Duration::ZERO, dark: ms(8) }), ..Profile::lan() };
    assert_eq!(direction(never).dark_until(ms(5)), None);
    let always = Profile { cuts: Some(Cuts { every: ms(60), dark: ms(60) }), ..Profile::lan() };
    assert!((0..200).all(|at| direction(always).dark_until(ms(at)).is_some()));
}

#[test]
fn what_waits_in_the_queue_when_it_turns_dark_is_lost() {
    let rate = Some(Rate { bits_per_second: 8_000, queue_bytes: 10_000 });
    let cuts = Some(Cuts { every: ms(1_000), dark: ms(500) });
    let mut link = direction(Profile { rate, cuts, ..Profile::lan() });
    arrives(&mut link, ms(0), UDP);
    assert_eq!(link.decide(ms(0), UDP), Fate::Dropped(Cause::Dark));
}

#[test]
fn blocks_and_the_mtu_let_nothing_through() {
    let blocked = Profile { blocked: true, ..Profile::lan() };
    let udp_blocked = Profile { udp_blocked: true, ..Profile::lan() };
    let low = Profile { mtu: 1_280, ..Profile::lan() };
    assert_eq!(direction(blocked).decide(ms(0), TCP), Fate::Dropped(Cause::Blocked));
    assert_eq!(direction(udp_blocked).decide(ms(0), UDP), Fate::Dropped(Cause::Blocked));
    arrives(&mut direction(udp_blocked), ms(0), TCP);
    assert_eq!(direction(low).decide(ms(0), Packet { length: 1_281, ..UDP }), Fate::Dropped(Cause::TooLong));
    arrives(&mut direction(low), ms(0), Packet { length: 1_280, ..UDP });
}

#[test]
fn duplicates_damage_and_packets_held_back_are_as_many_as_asked() {
    let profile = Profile { duplicate: 0.1, corrupt: 0.05, reorder: 0.2, ..Profile::town().lossless() };
    let profile = Profile { duplicate: 0.1, corrupt: 0.05, reorder: 0.2, jitter: Duration::ZERO, ..profile };
    let (mut twice, mut spoilt, mut held_back, mut copies) = (0.0, 0.0, 0.0, 0.0);
    for (fate, sent) in fates(profile, 100_000).into_iter().zip(0..) {
        let Fate::Carried(first, second) = fate else { panic!("{fate:?}") };
        twice += f64::from(u8::from(second.is_some()));
        held_back += f64::from(u8::from(first.at >= ms(sent) + profile.delay.mul_f64(1.5)));
        for copy in std::iter::once(first).chain(second) {
            copies += 1.0;
            spoilt += f64::from(u8::from(copy.damage.is_some()));
        }
    }
    close(twice / 100_000.0, 0.1);
    close(spoilt / copies, 0.05);
    close(held_back / 100_000.0, 0.2);
}

#[test]
fn order_is_kept_only_where_it_is_asked() {
    let at = |profile| -> Vec<Duration> {
        let mut link = direction(profile);
        (0..2_000).map(|sent| arrives(&mut link, ms(sent), UDP)).collect()
    };
    let jitter = Profile::rural().lossless();
    assert!(!at(jitter).is_sorted());
    assert!(at(Profile { keep_order: true, ..jitter }).is_sorted());
    assert!(!at(Profile { keep_order: true, reorder: 0.01, ..jitter }).is_sorted());
}

fn profiles() -> impl Strategy<Value = Profile> {
    let loss = prop_oneof![
        Just(Loss::None),
        (-0.5..1.5).prop_map(Loss::Bernoulli),
        [0.0..1.0, 0.0..1.0, 0.0..1.0, 0.0..1.0].prop_map(|[enter, leave, good, bad]| Loss::GilbertElliott {
            enter,
            leave,
            good,
            bad
        }),
    ];
    let rate = prop::option::of((any::<u64>(), any::<usize>()));
    let cuts = prop::option::of((0..200u64, 0..200u64));
    let chances = [0.0..1.0, 0.0..1.0, 0.0..1.0];
    let flags: (_, _, _) = (any::<bool>(), any::<bool>(), any::<bool>());
    let base = (0..500u64, 0..500u64, any::<u16>());
    (base, loss, rate, cuts, chances, flags).prop_map(|((delay, jitter, mtu), loss, rate, cuts, chances, flags)| {
        let [reorder, duplicate, corrupt] = chances;
        let (keep_order, blocked, udp_blocked) = flags;
        let rate = rate.map(|(bits_per_second, queue_bytes)| Rate { bits_per_second, queue_bytes });
        let cuts = cuts.map(|(every, dark)| Cuts { every: ms(every), dark: ms(dark) });
        let (delay, jitter, name) = (ms(delay), ms(jitter), "any");
        let shape = Profile { name, delay, jitter, keep_order, loss, rate, mtu, cuts, ..Profile::lan() };
        Profile { reorder, duplicate, corrupt, blocked, udp_blocked, ..shape }
    })
}

proptest! {
    #[test]
    fn the_same_seed_gives_the_same_fates(
        profile in profiles(), seed: u64, gaps in prop::collection::vec((0..50u64, 20..1_500usize, any::<bool>()), 1..80),
    ) {
        let run = || {
            let (mut link, mut now) = (Direction::new(profile, seed, Duration::ZERO), Duration::ZERO);
            let decide = |(gap, length, udp): &(u64, usize, bool)| {
                now += ms(*gap);
                link.decide(now, Packet { length: *length, carries: if *udp { Carries::Udp } else { Carries::Tcp } })
            };
            gaps.iter().map(decide).collect::<Vec<_>>()
        };
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn nothing_arrives_before_the_delay_is_over(profile in profiles(), seed: u64, gaps in prop::collection::vec(0..50u64, 1..80)) {
        let (mut link, mut now) = (Direction::new(profile, seed, Duration::ZERO), Duration::ZERO);
        for gap in gaps {
            now += ms(gap);
            if let Fate::Carried(first, second) = link.decide(now, UDP) {
                let earliest = std::iter::once(first).chain(second).map(|copy| copy.at).min();
                prop_assert!(earliest >= Some(now + profile.delay));
                prop_assert!(link.dark_until(now).is_none() || profile.rate.is_some());
            }
        }
    }

    #[test]
    fn the_dice_of_a_packet_do_not_depend_on_what_became_of_others(seed: u64, mtu in 0..2_000u16, every in 1..50u64) {
        let plain = Profile::bad();
        let rate = Some(Rate { bits_per_second: 100_000, queue_bytes: 3_000 });
        let worse = Profile { rate, mtu, cuts: Some(Cuts { every: ms(every), dark: ms(every / 2) }), duplicate: 0.5, ..plain };
        let (mut one, mut other) = (Direction::new(plain, seed, ms(0)), Direction::new(worse, seed, ms(0)));
        for at in 0..200 {
            let fates = (one.decide(ms(at), UDP), other.decide(ms(at), UDP));
            if let (Fate::Dropped(Cause::Lost), Fate::Carried(..)) | (Fate::Carried(..), Fate::Dropped(Cause::Lost)) = fates {
                return Err(TestCaseError::fail(format!("{fates:?} at {at}")));
            }
        }
    }
}
