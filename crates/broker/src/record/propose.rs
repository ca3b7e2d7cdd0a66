//! Bringing commands to the leader: here, if this node leads, otherwise over the peers' connection.
//!
//! Invariants:
//! * [`Proposer::propose`] never waits. What is not known to be committed [`PATIENCE`] after it is said to be so; it may be committed
//!   later all the same, and proposing it again is harmless.
//! * Commands keep their order as long as nothing fails. What is urgent goes before the rest.
//! * A command that this version cannot read is ordered by nobody: it would stop every node that applies it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use huxiao_core::broker::{Broker, Input, NotCommitted};
use huxiao_core::record::Command;
use huxiao_core::{Class, limits};
use huxiao_link::peer::PeerLane;
use huxiao_runtime::drive::WeakHandle;
use huxiao_wire::cluster::{AnswerBody, FaultKind, RequestBody, StoreId};
use openraft::errors::ClientWriteError;
use openraft::raft::responder::ProgressResponder;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::convert::{id_out, member_out};
use super::node::Node;
use super::peers::{PROPOSE_BYTES, Urgency};
use super::types::{LogId, Proposal};

/// How long a command may take until it is said that nothing is known of it.
pub(crate) const PATIENCE: Duration = Duration::from_millis(400);
/// How long to wait for another leader, or for the same one to come back.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Commands that go to the leader in one call.
const BATCH: usize = 1_024;
/// Batches of this node's own that the engine may be at work on at once.
const IN_FLIGHT: usize = 64;

/// A command on its way.
struct Waiting {
    command: Command,
    bytes: Bytes,
    until: Instant,
    /// It was given to a leader once: what became of it there is not known.
    handed: bool,
}

/// Where commands are handed in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Proposer {
    urgent: mpsc::UnboundedSender<Waiting>,
    rest: mpsc::UnboundedSender<Waiting>,
}

/// The other end.
pub(crate) struct Proposals {
    urgent: mpsc::UnboundedReceiver<Waiting>,
    rest: mpsc::UnboundedReceiver<Waiting>,
}

/// Both ends.
pub(crate) fn channel() -> (Proposer, Proposals) {
    let ((urgent, urgent_out), (rest, rest_out)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    (Proposer { urgent, rest }, Proposals { urgent: urgent_out, rest: rest_out })
}

impl Proposer {
    /// Takes a command. Never waits.
    pub(crate) fn propose(&self, command: Command) {
        let bytes = Bytes::from(huxiao_wire::encode_command(&command));
        let queue = if is_urgent(&command) { &self.urgent } else { &self.rest };
        // A node that is stopping carries nothing out any more; nobody waits for its answer.
        let _ = queue.send(Waiting { command, bytes, until: Instant::now() + PATIENCE, handed: false });
    }
}

/// Whether it must not wait behind supervision and bulk.
fn is_urgent(command: &Command) -> bool {
    match command {
        Command::Admit(admission) => admission.sealed.event.class <= Class::P1,
        // A whole province is a thousand of them.
        Command::StagePlan(_) => false,
        // What officers and the region itself decide.
        _ => true,
    }
}

impl Proposals {
    /// The next batch; `None` when nobody can propose any more.
    async fn next(&mut self) -> Option<Vec<Waiting>> {
        let first = tokio::select! {
            biased;
            Some(waiting) = self.urgent.recv() => waiting,
            Some(waiting) = self.rest.recv() => waiting,
            else => return None,
        };
        let mut bytes = first.bytes.len();
        let mut batch = vec![first];
        while batch.len() < BATCH && bytes < PROPOSE_BYTES {
            let Ok(waiting) = self.urgent.try_recv().or_else(|_| self.rest.try_recv()) else { break };
            bytes += waiting.bytes.len();
            batch.push(waiting);
        }
        Some(batch)
    }

    /// Brings commands to the leader until the node stops.
    pub(crate) async fn run(mut self, node: Arc<Node>, handle: WeakHandle<Broker>) {
        let mut under_way = JoinSet::new();
        while let Some(batch) = self.next().await {
            while under_way.try_join_next().is_some() {}
            if under_way.len() >= IN_FLIGHT {
                under_way.join_next().await;
            }
            bring(&node, &handle, batch, &mut under_way).await;
        }
        while under_way.join_next().await.is_some() {}
    }
}

/// Brings one batch to the leader. What this node orders itself is waited for beside the next batches; what another node orders is
/// waited for here, since calls to it might overtake each other.
async fn bring(node: &Arc<Node>, handle: &WeakHandle<Broker>, batch: Vec<Waiting>, under_way: &mut JoinSet<()>) {
    let mut batch = shed(node, handle, batch);
    loop {
        let now = Instant::now();
        let (on_time, late): (Vec<_>, Vec<_>) = batch.into_iter().partition(|waiting| waiting.until > now);
        for waiting in late {
            let why = if waiting.handed { NotCommitted::Unknown } else { NotCommitted::NoQuorum };
            say(handle, waiting, &why);
        }
        batch = on_time;
        let Some(until) = batch.iter().map(|waiting| waiting.until).min() else { return };
        if let Some(why) = node.stopped() {
            say_all(handle, batch, &NotCommitted::Failed(why));
            return;
        }
        if node.is_degraded() {
            say_all(handle, batch, &NotCommitted::NoQuorum);
            return;
        }
        batch = hold_back(node, handle, batch);
        if node.leads() {
            // The machine hears of what is left out from the record itself.
            batch.retain(|waiting| !node.repeats().is_one(&waiting.command, now));
            match order(node, batch.iter().map(|waiting| waiting.bytes.clone())).await {
                Ok(ordered) => {
                    under_way.spawn(settle(node.clone(), handle.clone(), batch, ordered));
                    return;
                }
                Err(why) => {
                    say_all(handle, batch, &NotCommitted::Failed(why));
                    return;
                }
            }
        }
        let Some((leader, member)) = node.leader() else {
            sleep(LOOK_AGAIN).await;
            continue;
        };
        let member = match member_out(&member) {
            Ok(member) => member,
            Err(why) => {
                say_all(handle, batch, &NotCommitted::Failed(why.to_string()));
                return;
            }
        };
        let way = node.peers().to(&member, Some(StoreId(leader)), PeerLane::Quick);
        let body = RequestBody::Propose(batch.iter().map(|waiting| waiting.bytes.clone()).collect());
        let asked = way.ask(body, until.saturating_duration_since(now), Urgency::Record);
        let answer = tokio::select! {
            answer = asked => answer,
            () = another_leads(node, leader) => {
                // Whoever was asked is gone, most likely, and so is its answer.
                batch.iter_mut().for_each(|waiting| waiting.handed = true);
                continue;
            }
        };
        match answer {
            Ok(AnswerBody::Propose(_)) => return,
            Ok(other) => tracing::error!(error = %way.other_kind(&other), "the leader does not understand a proposal"),
            Err(error) => {
                tracing::debug!(%error, commands = batch.len(), "not proposed yet");
                let refused = error.fault().map(|fault| fault.kind);
                if refused != Some(FaultKind::NotLeader) && !matches!(error, super::peers::AskError::Unreachable { .. })
                {
                    batch.iter_mut().for_each(|waiting| waiting.handed = true);
                }
            }
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Waits until another node than `leader` is known to lead.
async fn another_leads(node: &Node, leader: u64) {
    while !node.leads() && node.leader().is_none_or(|(now, _)| now == leader) {
        sleep(LOOK_AGAIN).await;
    }
}

/// A command that the engine has taken, and what it will say of it.
pub(crate) type Ordered =
    Vec<tokio::sync::oneshot::Receiver<openraft::raft::ClientWriteResult<super::types::TypeConfig>>>;

/// Hands commands to this node's engine in their order.
///
/// # Errors
/// The engine does not run any more.
pub(crate) async fn order(node: &Node, commands: impl Iterator<Item = Bytes>) -> Result<Ordered, String> {
    let mut ordered = Vec::new();
    for bytes in commands {
        let (responder, answer) = ProgressResponder::complete_only();
        node.raft().client_write_ff(Proposal(bytes), Some(responder)).await.map_err(|fatal| fatal.to_string())?;
        ordered.push(answer);
    }
    Ok(ordered)
}

/// Why a command that was ordered came to nothing, as far as this node knows.
pub(crate) enum Lost {
    /// Another node leads, or none.
    NotLeader,
    /// It may be committed yet.
    Unknown,
    /// The engine is at its end.
    Failed(String),
}

/// Waits until `until` for what becomes of one command. A receiver that is given up would be complained about by the engine, so whatever is
/// still under way then is left to end by itself.
async fn outcome(
    answer: &mut tokio::sync::oneshot::Receiver<openraft::raft::ClientWriteResult<super::types::TypeConfig>>,
    until: Instant,
) -> Result<LogId, Lost> {
    match timeout_at(until, answer).await {
        Err(_) => Err(Lost::Unknown),
        Ok(Err(_)) => Err(Lost::Failed("the record's engine stopped".to_owned())),
        Ok(Ok(Ok(written))) => Ok(written.log_id),
        Ok(Ok(Err(ClientWriteError::ForwardToLeader(_)))) => Err(Lost::NotLeader),
        Ok(Ok(Err(ClientWriteError::LogEntryDiscarded(_)))) => Err(Lost::Unknown),
        Ok(Ok(Err(error))) => Err(Lost::Failed(error.to_string())),
    }
}

/// Waits for a batch of this node's own.
async fn settle(node: Arc<Node>, handle: WeakHandle<Broker>, batch: Vec<Waiting>, ordered: Ordered) {
    let mut again = Vec::new();
    for (mut waiting, mut answer) in batch.into_iter().zip(ordered) {
        match outcome(&mut answer, waiting.until).await {
            // The machine hears of it from the record itself.
            Ok(_) => {}
            Err(Lost::NotLeader) => {
                node.repeats().forget(&waiting.command);
                again.push(waiting);
            }
            Err(Lost::Unknown) => {
                waiting.handed = true;
                say(&handle, waiting, &NotCommitted::Unknown);
                tokio::spawn(answer);
            }
            Err(Lost::Failed(why)) => say(&handle, waiting, &NotCommitted::Failed(why)),
        }
    }
    // The lead was lost: the same commands, in their order, to whoever has it now.
    for waiting in again {
        node.proposer().again(waiting);
    }
}

impl Proposer {
    fn again(&self, waiting: Waiting) {
        let queue = if is_urgent(&waiting.command) { &self.urgent } else { &self.rest };
        let _ = queue.send(waiting);
    }
}

/// Orders what another node brings. Gives the place of the last command.
///
/// # Errors
/// What the asking node is told.
pub(crate) async fn order_for_peer(node: &Node, commands: Vec<Bytes>) -> Result<Option<LogId>, Lost> {
    let mut read = Vec::with_capacity(commands.len());
    for bytes in commands {
        match huxiao_wire::decode_command(&bytes) {
            Ok(command) => read.push((command, bytes)),
            Err(error) => return Err(Lost::Failed(format!("a command that this version cannot read: {error}"))),
        }
    }
    if !node.leads() {
        return Err(Lost::NotLeader);
    }
    let now = Instant::now();
    let members = node.membership();
    for (command, bytes) in &mut read {
        if node.peers().versions().fit(members.membership(), command) {
            *bytes = Bytes::from(huxiao_wire::encode_command(command));
        }
    }
    let mut held = None;
    read.retain(|(command, _)| {
        let old = node.peers().versions().too_old(members.membership(), command);
        let readable = old.is_none();
        held = held.take().or(old);
        readable && !node.repeats().is_one(command, now)
    });
    let until = now + PATIENCE;
    let ordered = order(node, read.iter().map(|(_, bytes)| bytes.clone())).await.map_err(Lost::Failed)?;
    let (mut last, mut lost) = (None, held.map(Lost::Failed));
    for ((command, _), mut answer) in read.iter().zip(ordered) {
        match outcome(&mut answer, until).await {
            Ok(id) => last = Some(id),
            Err(why) => {
                match why {
                    Lost::Unknown => drop(tokio::spawn(answer)),
                    Lost::NotLeader => node.repeats().forget(command),
                    Lost::Failed(_) => {}
                }
                lost.get_or_insert(why);
            }
        }
    }
    lost.map_or(Ok(last), Err)
}

/// The place of the last command, for the wire.
pub(crate) fn place(id: Option<LogId>) -> huxiao_wire::cluster::RaftLogId {
    id.as_ref().map(id_out).unwrap_or_default()
}

/// Whether a nearly full disk keeps it out.
fn sheddable(command: &Command) -> bool {
    match command {
        Command::Admit(admission) => admission.sealed.event.class > Class::P0,
        Command::StagePlan(_) => true,
        _ => false,
    }
}

/// What a nearly full disk leaves of a batch; the rest is said to be kept out.
fn shed(node: &Node, handle: &WeakHandle<Broker>, batch: Vec<Waiting>) -> Vec<Waiting> {
    let sheds = node.sheds();
    let (kept, shed): (Vec<_>, Vec<_>) = batch.into_iter().partition(|waiting| !sheds || !sheddable(&waiting.command));
    say_all(handle, shed, &NotCommitted::Shed);
    kept
}

/// What the region's nodes can all read of a batch; of the rest it is said why it must wait.
fn hold_back(node: &Node, handle: &WeakHandle<Broker>, batch: Vec<Waiting>) -> Vec<Waiting> {
    let members = node.membership();
    let mut readable = Vec::with_capacity(batch.len());
    for mut waiting in batch {
        if node.peers().versions().fit(members.membership(), &mut waiting.command) {
            waiting.bytes = Bytes::from(huxiao_wire::encode_command(&waiting.command));
        }
        match node.peers().versions().too_old(members.membership(), &waiting.command) {
            None => readable.push(waiting),
            Some(words) => say(handle, waiting, &NotCommitted::Failed(words)),
        }
    }
    readable
}

fn say_all(handle: &WeakHandle<Broker>, batch: Vec<Waiting>, why: &NotCommitted) {
    batch.into_iter().for_each(|waiting| say(handle, waiting, why));
}

fn say(handle: &WeakHandle<Broker>, waiting: Waiting, why: &NotCommitted) {
    // A loop that has ended needs no answer.
    if let Some(handle) = handle.upgrade() {
        let _ = handle.urgent(Input::NotCommitted { command: waiting.command, why: why.clone() });
    }
}

const _: () = assert!(limits::EXPRESS_FRAME_BYTES < PROPOSE_BYTES);
