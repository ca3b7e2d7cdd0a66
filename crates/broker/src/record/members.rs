//! Who belongs to the region: taking nodes in, letting them go, putting a new store in the place of a lost one, handing over the lead.
//!
//! Invariants: the set of voters changes only by the engine's joint change, one change after another. A node votes only once it has what the
//! others have. A store that was lost is never believed again: its successor has another id.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use huxiao_core::{Name, Span};
use huxiao_link::peer::PeerLane;
use huxiao_wire::cluster::{self, AnswerBody, Change, Fault, FaultKind, Introduction, RequestBody, StoreId};
use openraft::ChangeMembers;
use openraft::errors::{ClientWriteError, RaftError};
use tokio::time::{Instant, sleep, timeout};

use super::convert::{member_in, member_out};
use super::founding;
use super::node::Node;
use super::peers::Urgency;
use super::service::{self, fault, not_leader};
use super::types::{Member, TypeConfig};

/// How long a newcomer may take to get what the others have.
const CATCH_UP: Duration = Duration::from_secs(120);
/// How long a change of members may take once everybody is there.
const CHANGE: Duration = Duration::from_secs(10);
/// How long handing over the lead may take.
const HAND_OVER: Duration = Duration::from_secs(3);
/// How often to look.
const LOOK: Duration = Duration::from_millis(20);

/// Why the members did not change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChangeError {
    /// Only the leader can.
    #[error("this node does not lead")]
    NotLeader,
    /// It cannot be done now, and why.
    #[error("{0}")]
    NotNow(String),
    /// It makes no sense, now or later.
    #[error("{0}")]
    Wrong(String),
    /// It was begun, and what came of it is not known.
    #[error("{0}")]
    Unknown(String),
}

impl ChangeError {
    /// The same for a peer that asked.
    pub(crate) fn fault(self, node: &Node) -> Fault {
        match self {
            ChangeError::NotLeader => not_leader(node),
            ChangeError::NotNow(words) => fault(FaultKind::NotNow, words),
            ChangeError::Wrong(words) => fault(FaultKind::Failed, words),
            ChangeError::Unknown(words) => fault(FaultKind::Unknown, words),
        }
    }

    fn of(fault: &Fault) -> Self {
        match fault.kind {
            FaultKind::NotLeader => ChangeError::NotLeader,
            FaultKind::NotNow => ChangeError::NotNow(fault.words.clone()),
            FaultKind::Unknown => ChangeError::Unknown(fault.words.clone()),
            _ => ChangeError::Wrong(fault.words.clone()),
        }
    }
}

/// Carries out an order on the node that must: on the leader, wherever it was given. Gives words for people.
///
/// # Errors
/// [`ChangeError`]
pub(crate) async fn order(node: &Node, change: Change) -> Result<String, ChangeError> {
    if change == Change::Init {
        return founding::init(node).await;
    }
    let until = Instant::now() + HAND_OVER;
    loop {
        if node.leads() {
            match self::change(node, change.clone()).await {
                Err(ChangeError::NotLeader) => {}
                done => return done,
            }
        } else if let Some((id, member)) = node.leader() {
            let member = member_out(&member).map_err(|error| ChangeError::Wrong(error.to_string()))?;
            let way = node.peers().to(&member, Some(StoreId(id)), PeerLane::Quick);
            let within = Span::from(CATCH_UP + CHANGE);
            match way.ask(RequestBody::Change(change.clone()), within, Urgency::Other).await {
                Ok(AnswerBody::Change(words)) => return Ok(words),
                Ok(other) => return Err(ChangeError::Unknown(way.other_kind(&other).to_string())),
                Err(error) => match error.fault().map(ChangeError::of) {
                    Some(ChangeError::NotLeader) => {}
                    Some(why) => return Err(why),
                    None if Instant::now() >= until => return Err(ChangeError::NotNow(error.to_string())),
                    None => {}
                },
            }
        }
        if Instant::now() >= until {
            let why = node.founding().unwrap_or_else(|| "nobody leads the region now".to_owned());
            return Err(ChangeError::NotNow(format!("the members cannot change: {why}")));
        }
        sleep(LOOK).await;
    }
}

/// Carries out an order on the leader.
///
/// # Errors
/// [`ChangeError`]
pub(crate) async fn change(node: &Node, change: Change) -> Result<String, ChangeError> {
    match change {
        Change::Init => founding::init(node).await,
        _ if !node.leads() => Err(ChangeError::NotLeader),
        Change::Add(member) => add(node, member).await,
        Change::Remove(name) => remove(node, &name).await,
        Change::Replace(member) => replace(node, member).await,
        Change::TransferLeader(name) => transfer(node, &name).await,
    }
}

async fn add(node: &Node, member: cluster::Member) -> Result<String, ChangeError> {
    let membership = node.membership();
    let (store, intro) = introduce(node, &member).await?;
    if let Some(id) = id_of(node, &member.name) {
        if id == store.0 && membership.voter_ids().any(|voter| voter == id) {
            return Ok(format!("{} is a member already", member.name));
        }
        if id != store.0 {
            let name = &member.name;
            return Err(ChangeError::Wrong(format!(
                "{name} is a member already, on another store: run `huxiao cluster replace {name}` if that store is lost"
            )));
        }
    }
    fit_to_join(node, &intro)?;
    let name = member.name.clone();
    join(node, store.0, member_in(member)).await?;
    let change = ChangeMembers::AddVoterIds(BTreeSet::from([store.0]));
    change_voters(node, change, true).await?;
    Ok(format!("{name} is a member: {}", voters(node)))
}

async fn remove(node: &Node, name: &Name) -> Result<String, ChangeError> {
    let Some(id) = id_of(node, name) else {
        return Ok(format!("{name} is no member: {}", voters(node)));
    };
    let membership = node.membership();
    let all: BTreeSet<u64> = membership.voter_ids().collect();
    if all == BTreeSet::from([id]) {
        return Err(ChangeError::Wrong(format!("{name} is the last node of its region and cannot be removed")));
    }
    if all.contains(&id) {
        change_voters(node, ChangeMembers::RemoveVoters(BTreeSet::from([id])), false).await?;
    } else {
        change_voters(node, ChangeMembers::RemoveNodes(BTreeSet::from([id])), false).await?;
    }
    Ok(format!("{name} is no member any more: {}", voters(node)))
}

async fn replace(node: &Node, member: cluster::Member) -> Result<String, ChangeError> {
    let name = member.name.clone();
    let Some(old) = id_of(node, &name) else {
        return Err(ChangeError::Wrong(format!(
            "{name} is no member: run `huxiao cluster add {name}@{}`",
            member.addr
        )));
    };
    let known = node.membership().membership().get_node(&old).map(|member| member.addr.clone());
    let addr = if member.addr.is_empty() { known.unwrap_or_default() } else { member.addr };
    let member = cluster::Member { name: name.clone(), addr };
    let (store, intro) = introduce(node, &member).await?;
    if store.0 == old {
        return Err(ChangeError::Wrong(format!(
            "{name} still has its store {store}: there is nothing to replace. A node that moved is removed and added again"
        )));
    }
    fit_to_join(node, &intro)?;
    join(node, store.0, member_in(member)).await?;
    let membership = node.membership();
    let mut voters: BTreeSet<u64> = membership.voter_ids().collect();
    voters.remove(&old);
    voters.insert(store.0);
    change_voters(node, ChangeMembers::ReplaceAllVoters(voters), false).await?;
    Ok(format!("{name} is on store {store} now: {}", self::voters(node)))
}

async fn transfer(node: &Node, name: &Name) -> Result<String, ChangeError> {
    let Some(id) = id_of(node, name) else {
        return Err(ChangeError::Wrong(format!("{name} is no member of the region")));
    };
    if !node.membership().voter_ids().any(|voter| voter == id) {
        return Err(ChangeError::Wrong(format!("{name} does not vote, so it cannot lead")));
    }
    if id == node.id() {
        return Ok(format!("{name} leads"));
    }
    node.raft().trigger().transfer_leader(id).await.map_err(|fatal| ChangeError::NotNow(fatal.to_string()))?;
    let until = Instant::now() + HAND_OVER;
    while Instant::now() < until {
        if node.figures().current_leader == Some(id) {
            return Ok(format!("{name} leads"));
        }
        sleep(LOOK).await;
    }
    let now = node.figures().current_leader.map_or_else(|| "nobody".to_owned(), |leader| node.name_of(leader));
    Err(ChangeError::NotNow(format!("{name} did not take over within {} s; {now} leads", HAND_OVER.as_secs())))
}

async fn introduce(node: &Node, member: &cluster::Member) -> Result<(StoreId, Introduction), ChangeError> {
    if member.name == node.fixed.name {
        // No node dials itself.
        return Ok((node.fixed.store, service::introduction(node)));
    }
    let way = node.peers().to(member, None, PeerLane::Quick);
    let until = Instant::now() + HAND_OVER;
    loop {
        match way.ask_who().await {
            Ok(introduced) => return Ok(introduced),
            Err(error) if error.was_heard() || Instant::now() >= until => {
                return Err(ChangeError::NotNow(error.to_string()));
            }
            Err(_) => sleep(LOOK).await,
        }
    }
}

/// Whether that node may become a member of this region.
fn fit_to_join(node: &Node, intro: &Introduction) -> Result<(), ChangeError> {
    let other = intro.record.is_some() && intro.record != node.record();
    if other || (intro.record.is_none() && !intro.pristine) {
        let name = &intro.name;
        return Err(ChangeError::Wrong(format!(
            "{name} has a record of another region: stop it, move its folder data.dir/record away, start it, and try again"
        )));
    }
    Ok(())
}

/// Takes a store in as one that listens, and waits until it has what the others have.
async fn join(node: &Node, store: u64, member: Member) -> Result<(), ChangeError> {
    let name = member.name.clone();
    let joined = timeout(CATCH_UP, node.raft().add_learner(store, member, true)).await;
    match joined {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(of_engine(error)),
        Err(_) => Err(ChangeError::NotNow(format!(
            "{name} has not caught up within {} s; it goes on listening, and the same command can be given again",
            CATCH_UP.as_secs()
        ))),
    }
}

async fn change_voters(node: &Node, change: ChangeMembers<u64, Member>, retain: bool) -> Result<(), ChangeError> {
    match timeout(CHANGE, node.raft().change_membership(change, retain)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(of_engine(error)),
        Err(_) => Err(ChangeError::Unknown(format!(
            "the change was not confirmed within {} s; look with `huxiao cluster status`",
            CHANGE.as_secs()
        ))),
    }
}

fn of_engine(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> ChangeError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => ChangeError::NotLeader,
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => {
            ChangeError::Unknown("the lead was lost meanwhile; look with `huxiao cluster status`".to_owned())
        }
        RaftError::APIError(error) => ChangeError::NotNow(error.to_string()),
        RaftError::Fatal(fatal) => ChangeError::NotNow(fatal.to_string()),
    }
}

fn id_of(node: &Node, name: &Name) -> Option<u64> {
    let membership = node.membership();
    membership.nodes().find(|(_, member)| member.name == name.as_str()).map(|(id, _)| *id)
}

/// The voters by name, for people.
fn voters(node: &Node) -> String {
    let membership = node.membership();
    let ids: BTreeSet<u64> = membership.voter_ids().collect();
    let names: BTreeMap<String, ()> = ids.into_iter().map(|id| (node.name_of(id), ())).collect();
    let names: Vec<String> = names.into_keys().collect();
    format!("the region is {}", names.join(", "))
}
