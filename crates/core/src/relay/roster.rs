//! Which of a region's broker nodes a relay keeps sessions with.
//!
//! Two, its *homes*, are kept warm at all times over every line that is there. Further ones are only known. One of them is dialled as well
//! while another that is dialled cannot be reached over any line, at once if alarms are under way and none answers, and stays until that one has
//! been well for a while: a node that comes and goes must not have the sessions come and go with it. Each relay has an order of its own in which it takes the nodes, by
//! rendezvous hashing of its name and theirs, so that a region's load is even and stays so when a node is added.
//!
//! Invariant: the nodes dialled are the beginning of the relay's order, all nodes if there are no more than [`HOMES`], and never fewer
//! than [`HOMES`] otherwise.

use crate::lane::Lane;
use crate::path::Cost;
use crate::rng::Rng;
use crate::time::{Span, Timestamp};

/// Nodes that are kept warm at all times.
pub const HOMES: usize = 2;
/// A node that has had no healthy path on any line for this long is stood in for.
pub const MISSED_AFTER: Span = Span::from_secs(3);
/// How long it must have had one until then, before its stand-in is given up.
pub const BACK_AFTER: Span = Span::from_secs(60);

/// The broker nodes of one relay.
#[derive(Debug, Clone)]
pub struct Roster {
    /// In the order in which this relay takes them.
    nodes: Vec<Node>,
    /// How many of them are dialled.
    dialled: usize,
}

#[derive(Debug, Clone)]
struct Node {
    /// Its place in the configuration.
    place: usize,
    healthy: bool,
    /// Since when it has been as healthy, or not, as it is.
    since: Timestamp,
    missed: bool,
}

impl Node {
    fn fresh(&mut self, now: Timestamp) {
        *self = Self { place: self.place, healthy: false, since: now, missed: false };
    }
}

/// The lanes on which sessions are kept over a line: bulk has no business on one that is paid for by what goes over it.
#[must_use]
pub fn lanes(cost: Cost) -> &'static [Lane] {
    match cost {
        Cost::Free => &[Lane::Express, Lane::Bulk],
        Cost::Metered => &[Lane::Express],
    }
}

impl Roster {
    /// The roster of the relay called `relay`, of the nodes with these names in the order of the configuration.
    #[must_use]
    pub fn new(now: Timestamp, relay: &str, nodes: &[String]) -> Self {
        let mut scored: Vec<(u64, usize)> =
            nodes.iter().enumerate().map(|(place, node)| (score(relay, node), place)).collect();
        scored.sort_unstable();
        let node = |(_, place)| Node { place, healthy: false, since: now, missed: false };
        let nodes: Vec<Node> = scored.into_iter().map(node).collect();
        let dialled = nodes.len().min(HOMES);
        Self { nodes, dialled }
    }

    /// Takes in which nodes have a healthy path now, by their places in the configuration. Without any line (`lines` false) nothing
    /// can be said of a node, so none is counted as missed for it.
    pub fn observe(&mut self, now: Timestamp, lines: bool, healthy: impl Fn(usize) -> bool) {
        for node in &mut self.nodes[..self.dialled] {
            let is_healthy = lines && healthy(node.place);
            if !lines || is_healthy != node.healthy {
                node.healthy = is_healthy;
                node.since = now;
            }
            let lasted = now.since(node.since);
            if node.healthy && lasted >= BACK_AFTER {
                node.missed = false;
            } else if !node.healthy && lasted >= MISSED_AFTER {
                node.missed = true;
            }
        }
        self.fill(now);
    }

    /// Alarms are under way and nothing comes back from any node that is dialled: whoever else there is stands in at once. Probes would take
    /// seconds to say the same.
    pub fn deserted(&mut self, now: Timestamp) {
        for node in &mut self.nodes[..self.dialled] {
            node.missed = true;
            // However well it was until now, it has to be so for a while again.
            node.since = now;
        }
        self.fill(now);
    }

    /// Dials as many as it takes to have [`HOMES`] that are not missed, in this relay's order.
    fn fill(&mut self, now: Timestamp) {
        let before = self.dialled;
        let mut good = 0;
        self.dialled = 0;
        for (index, node) in self.nodes.iter_mut().enumerate() {
            if good == HOMES {
                break;
            }
            if index >= before {
                node.fresh(now);
            }
            good += usize::from(!node.missed);
            self.dialled += 1;
        }
    }

    /// The places of the nodes that are to be dialled, in this relay's order.
    pub fn dialled(&self) -> impl Iterator<Item = usize> {
        self.nodes[..self.dialled].iter().map(|node| node.place)
    }

    /// Whether the node at this place of the configuration is one of the relay's homes.
    #[must_use]
    pub fn is_home(&self, place: usize) -> bool {
        self.nodes.iter().take(HOMES).any(|node| node.place == place)
    }

    /// Whether the node at this place is to be dialled.
    #[must_use]
    pub fn is_dialled(&self, place: usize) -> bool {
        self.dialled().any(|dialled| dialled == place)
    }
}

/// The lower, the earlier. The same on every computer and in every version: FNV-1a, and one turn of the generator to mix it.
fn score(relay: &str, node: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let bytes = relay.bytes().chain([0]).chain(node.bytes());
    Rng::new(bytes.fold(0xcbf2_9ce4_8422_2325, step)).next_u64()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000;

    fn names(count: usize) -> Vec<String> {
        (1..=count).map(|number| format!("broker-{number}.example:7443")).collect()
    }

    fn roster(count: usize) -> Roster {
        Roster::new(Timestamp(0), "relay/school-001/gate", &names(count))
    }

    /// Watches for `seconds` with these nodes healthy.
    fn watch(roster: &mut Roster, from: &mut u64, seconds: u64, healthy: &[usize]) {
        for _ in 0..seconds {
            *from += SECOND;
            roster.observe(Timestamp(*from), true, |place| healthy.contains(&place));
        }
    }

    #[test]
    fn few_nodes_are_all_dialled_whatever_becomes_of_them() {
        for count in 0..=HOMES {
            let mut roster = roster(count);
            let mut at = 0;
            watch(&mut roster, &mut at, 100, &[]);
            let mut dialled: Vec<_> = roster.dialled().collect();
            dialled.sort_unstable();
            assert_eq!(dialled, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_third_stands_in_after_three_seconds_until_the_first_is_well_for_a_minute() {
        let mut roster = roster(3);
        let order: Vec<_> = roster.nodes.iter().map(|node| node.place).collect();
        let [first, second, third] = order[..] else { panic!("three nodes") };
        let mut at = 0;
        watch(&mut roster, &mut at, 10, &[first, second]);
        assert_eq!(roster.dialled().collect::<Vec<_>>(), [first, second]);
        assert!(roster.is_home(first) && !roster.is_home(third) && !roster.is_dialled(third));

        watch(&mut roster, &mut at, 3, &[second]);
        assert!(!roster.is_dialled(third), "the first silent moment is counted from when it was seen");
        watch(&mut roster, &mut at, 1, &[second]);
        assert_eq!(roster.dialled().collect::<Vec<_>>(), [first, second, third]);
        watch(&mut roster, &mut at, 59, &[first, second, third]);
        watch(&mut roster, &mut at, 1, &[second, third]);
        watch(&mut roster, &mut at, 60, &[first, second, third]);
        assert!(roster.is_dialled(third), "a minute without a break");
        watch(&mut roster, &mut at, 1, &[first, second, third]);
        assert_eq!(roster.dialled().collect::<Vec<_>>(), [first, second]);
        watch(&mut roster, &mut at, 4, &[second]);
        assert!(roster.is_dialled(third), "and again, as the first time");
    }

    #[test]
    fn when_alarms_find_nobody_everybody_is_tried_at_once_and_for_a_minute() {
        let mut roster = roster(3);
        let order: Vec<_> = roster.nodes.iter().map(|node| node.place).collect();
        let mut at = 0;
        watch(&mut roster, &mut at, 100, &order[..2]);
        roster.deserted(Timestamp(at));
        assert_eq!(roster.dialled().collect::<Vec<_>>(), order);
        // The last probes of the two came back before they fell silent.
        watch(&mut roster, &mut at, 1, &order);
        assert_eq!(roster.dialled().count(), 3);
        watch(&mut roster, &mut at, 58, &order);
        assert_eq!(roster.dialled().count(), 3);
        watch(&mut roster, &mut at, 1, &order);
        assert_eq!(roster.dialled().collect::<Vec<_>>(), order[..2]);
        let mut few = Roster::new(Timestamp(0), "relay/school-001/gate", &names(1));
        few.deserted(Timestamp(at));
        assert_eq!(few.dialled().count(), 1);
    }

    #[test]
    fn no_node_is_missed_while_there_is_no_line() {
        let mut roster = roster(4);
        for at in 0..100 {
            roster.observe(Timestamp(at * SECOND), false, |_| true);
        }
        assert_eq!(roster.dialled().count(), HOMES);
        let mut at = 99 * SECOND;
        watch(&mut roster, &mut at, 2, &[]);
        assert_eq!(roster.dialled().count(), HOMES, "handshakes are given their time");
        watch(&mut roster, &mut at, 8, &[]);
        assert_eq!(roster.dialled().count(), 4, "with nobody there, everybody is tried");
    }

    #[test]
    fn the_schools_of_a_region_are_dealt_out_evenly() {
        let nodes = names(3);
        let mut first = [0; 3];
        let mut homes = [0; 3];
        for school in 0..6_000 {
            let roster = Roster::new(Timestamp(0), &format!("relay/school-{school:04}/gate"), &nodes);
            first[roster.nodes[0].place] += 1;
            roster.dialled().for_each(|place| homes[place] += 1);
        }
        assert!(first.iter().all(|count| (1_800..2_200).contains(count)), "{first:?}");
        assert!(homes.iter().all(|count| (3_800..4_200).contains(count)), "{homes:?}");
        let again = Roster::new(Timestamp(0), "relay/school-0001/gate", &nodes);
        let reversed: Vec<_> = nodes.iter().rev().cloned().collect();
        let other = Roster::new(Timestamp(0), "relay/school-0001/gate", &reversed);
        let named =
            |roster: &Roster, nodes: &[String]| roster.dialled().map(|place| nodes[place].clone()).collect::<Vec<_>>();
        assert_eq!(named(&again, &nodes), named(&other, &reversed), "whatever order the file has them in");
    }

    proptest! {
        #[test]
        fn whatever_happens_the_homes_are_dialled_and_every_gap_is_filled(
            count in 0_usize..6,
            steps in proptest::collection::vec((0_u64..40, any::<bool>(), any::<u8>(), any::<bool>()), 0..200),
        ) {
            let mut roster = roster(count);
            let mut at = 0;
            for (seconds, lines, well, deserted) in steps {
                at += seconds * SECOND;
                if deserted {
                    roster.deserted(Timestamp(at));
                } else {
                    roster.observe(Timestamp(at), lines, |place| well & (1 << place) != 0);
                }
                prop_assert!(roster.dialled >= count.min(HOMES));
                let dialled = &roster.nodes[..roster.dialled];
                let good = dialled.iter().filter(|node| !node.missed).count();
                prop_assert!(good == HOMES || roster.dialled == count, "{roster:?}");
                prop_assert!(dialled.last().is_none_or(|last| !last.missed || roster.dialled == count));
                prop_assert!(roster.nodes[roster.dialled..].iter().all(|node| !roster.is_dialled(node.place)));
            }
        }
    }
}
