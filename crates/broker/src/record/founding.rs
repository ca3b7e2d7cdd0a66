//! Founding: how a region's record begins.
//!
//! Invariants: a record is founded once. Only the node whose name sorts first founds it, and only after every node that its configuration
//! names has said that nothing was ever stored on it: a region that has a record is never founded again by a node that lost its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use huxiao_core::record::Command;
use huxiao_core::{Name, RecordId, Span};
use huxiao_link::peer::PeerLane;
use huxiao_runtime::shutdown::Shutdown;
use huxiao_wire::cluster::{self, AnswerBody, Change, RequestBody};
use openraft::errors::{InitializeError, RaftError};
use tokio::task::JoinSet;

use super::members::ChangeError;
use super::node::Node;
use super::peers::Urgency;
use super::types::Member;

/// How often a node that has no region yet asks around.
const EVERY: Duration = Duration::from_millis(500);
/// How long it waits for an answer.
const WITHIN: Span = Span::from_secs(1);

/// What a configured node said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing: why.
    Silent(String),
    /// Nothing was ever stored on it; its store, and the nodes that its own configuration names.
    Pristine {
        /// Its store.
        store: u64,
        /// Whom it expects in the region.
        peers: Vec<Name>,
    },
    /// It has a record, or has voted in one.
    Founded,
}

/// What follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Found the region with these stores.
    Found(BTreeMap<u64, Name>),
    /// Wait, for this reason.
    Wait(String),
}

/// What `me` has to do, given what every configured node, itself included, says.
pub(crate) fn decide(me: &Name, heard: &BTreeMap<Name, Heard>) -> Step {
    let names = |fits: &dyn Fn(&Heard) -> bool| {
        let fitting = heard.iter().filter(|(_, heard)| fits(heard)).map(|(name, _)| name.to_string());
        fitting.collect::<Vec<_>>().join(", ")
    };
    let founded = names(&|heard| *heard == Heard::Founded);
    if !founded.is_empty() {
        return Step::Wait(format!(
            "this node's store is new, and {founded} has a record: run `huxiao cluster replace {me}` (or `huxiao cluster add {me}@HOST:PORT` \
             if it never was a member)"
        ));
    }
    let silent = names(&|heard| matches!(heard, Heard::Silent(_)));
    if !silent.is_empty() {
        return Step::Wait(format!("the region is not founded yet: waiting for {silent}"));
    }
    let all: Vec<&Name> = heard.keys().collect();
    let others = heard.iter().find_map(|(name, heard)| match heard {
        Heard::Pristine { peers, .. } if !peers.is_empty() && peers.iter().collect::<Vec<_>>() != all => {
            Some((name, peers))
        }
        _ => None,
    });
    if let Some((name, peers)) = others {
        let peers: Vec<_> = peers.iter().map(ToString::to_string).collect();
        let all: Vec<_> = all.iter().map(ToString::to_string).collect();
        return Step::Wait(format!(
            "the region is not founded: {me} has {} in its broker.peers, and {name} has {}; make them the same",
            all.join(", "),
            peers.join(", ")
        ));
    }
    match heard.keys().next() {
        Some(first) if first != me => Step::Wait(format!("the region is not founded yet: {first} is about to")),
        _ => Step::Found(
            heard
                .iter()
                .filter_map(|(name, heard)| match heard {
                    Heard::Pristine { store, .. } => Some((*store, name.clone())),
                    Heard::Silent(_) | Heard::Founded => None,
                })
                .collect(),
        ),
    }
}

/// Asks around until this node belongs to a region, and founds it if that is this node's to do.
pub(crate) async fn run(node: Arc<Node>, shutdown: Shutdown) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while node.is_pristine() {
        tokio::select! {
            () = shutdown.wait() => return,
            _ = tick.tick() => {}
        }
        match attempt(&node).await {
            Ok(_) => break,
            Err(why) => node.set_founding(Some(why)),
        }
    }
    node.set_founding(None);
}

/// Founds the region now, if that can be done. Gives words for people.
///
/// # Errors
/// Why not.
async fn attempt(node: &Node) -> Result<String, String> {
    if !node.is_pristine() {
        return Ok("the region is founded".to_owned());
    }
    let heard = ask_around(node).await;
    let stores = match decide(&node.fixed.name, &heard) {
        Step::Wait(why) => return Err(why),
        Step::Found(stores) => stores,
    };
    let members: BTreeMap<u64, Member> = stores
        .into_iter()
        .filter_map(|(store, name)| {
            let addr = node.fixed.configured.get(&name)?.clone();
            Some((store, Member { name: name.to_string(), addr }))
        })
        .collect();
    let names = members.values().map(|member| member.name.clone()).collect::<Vec<_>>().join(", ");
    match node.raft().initialize(members).await {
        Ok(()) => {
            tracing::info!(nodes = names, "the region's record is founded");
            Ok(format!("founded a region of {names}"))
        }
        Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok("the region is founded".to_owned()),
        Err(error) => Err(format!("the region cannot be founded: {error}")),
    }
}

/// `huxiao cluster init`: the same now, wherever it is asked for.
///
/// # Errors
/// [`ChangeError`]
pub(crate) async fn init(node: &Node) -> Result<String, ChangeError> {
    let first = node.fixed.configured.keys().next().unwrap_or(&node.fixed.name).clone();
    if first == node.fixed.name || !node.is_pristine() {
        return attempt(node).await.map_err(ChangeError::NotNow);
    }
    let addr = node.fixed.configured.get(&first).cloned().unwrap_or_default();
    let member = cluster::Member { name: first, addr };
    let way = node.peers().to(&member, None, PeerLane::Quick);
    match way.ask(RequestBody::Change(Change::Init), Span::from_secs(5), Urgency::Other).await {
        Ok(AnswerBody::Change(words)) => Ok(words),
        Ok(other) => Err(ChangeError::NotNow(way.other_kind(&other).to_string())),
        Err(error) => Err(ChangeError::NotNow(error.to_string())),
    }
}

/// What every configured node says of itself.
async fn ask_around(node: &Node) -> BTreeMap<Name, Heard> {
    let mut asked = JoinSet::new();
    for (name, addr) in &node.fixed.configured {
        if *name == node.fixed.name {
            continue;
        }
        let member = cluster::Member { name: name.clone(), addr: addr.clone() };
        let way = node.peers().to(&member, None, PeerLane::Quick);
        asked.spawn(async move {
            let heard = match way.ask_who().await {
                Ok((store, intro)) if intro.pristine => Heard::Pristine { store: store.0, peers: intro.peers },
                Ok(_) => Heard::Founded,
                Err(error) if error.fault().is_some() => Heard::Founded,
                Err(error) => Heard::Silent(error.to_string()),
            };
            (way.name().clone(), heard)
        });
    }
    let own = Heard::Pristine { store: node.id(), peers: node.fixed.configured.keys().cloned().collect() };
    let mut heard = BTreeMap::from([(node.fixed.name.clone(), own)]);
    while let Some(answer) = asked.join_next().await {
        heard.extend(answer.ok());
    }
    // One whose task came to no end said nothing.
    for name in node.fixed.configured.keys() {
        heard.entry(name.clone()).or_insert_with(|| Heard::Silent("no answer".to_owned()));
    }
    heard
}

/// The first command of a record: its name. Asked for by a leader whose record has none.
pub(crate) fn found(seed: u64) -> Command {
    Command::Found { record: RecordId(huxiao_core::Rng::new(seed).bytes16()) }
}

/// How long an introduction may take.
pub(crate) const INTRODUCTION: Span = WITHIN;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn pristine(store: u64) -> Heard {
        Heard::Pristine { store, peers: ["b1", "b2", "b3"].map(name).to_vec() }
    }

    fn heard(answers: [Heard; 3]) -> BTreeMap<Name, Heard> {
        ["b1", "b2", "b3"].map(name).into_iter().zip(answers).collect()
    }

    fn words(step: Step) -> String {
        match step {
            Step::Wait(why) => why,
            Step::Found(stores) => panic!("founded with {stores:?}"),
        }
    }

    #[test]
    fn the_first_founds_once_all_are_there_and_new() {
        let all = heard([pristine(7), pristine(3), pristine(5)]);
        let stores = [(7, name("b1")), (3, name("b2")), (5, name("b3"))];
        assert_eq!(decide(&name("b1"), &all), Step::Found(stores.into_iter().collect()));
        assert!(words(decide(&name("b2"), &all)).contains("b1 is about to"));
        let silent = heard([pristine(7), Heard::Silent("gone".into()), pristine(5)]);
        assert!(words(decide(&name("b1"), &silent)).contains("waiting for b2"));
    }

    #[test]
    fn a_region_with_a_record_is_never_founded_again() {
        for silent in [true, false] {
            let third = if silent { Heard::Silent("gone".into()) } else { pristine(5) };
            let answers = heard([pristine(7), Heard::Founded, third]);
            assert!(words(decide(&name("b1"), &answers)).contains("huxiao cluster replace b1"));
        }
    }

    #[test]
    fn nodes_that_expect_others_found_nothing() {
        let mut answers = heard([pristine(7), pristine(3), pristine(5)]);
        answers.insert(name("b3"), Heard::Pristine { store: 5, peers: ["b1", "b3"].map(name).to_vec() });
        assert!(words(decide(&name("b1"), &answers)).contains("b3 has b1, b3"));
    }
}
