//! What must hold of a broker's machine after every input: nobody is left waiting without a timer, and nothing waits for what is done.

use crate::broker::machine::Broker;
use crate::broker::waiting::Claim;
use crate::id::NodeName;

impl Broker {
    /// Looks through all of it; the first thing that does not hold is the error.
    pub(super) fn check_whole(&self) -> Result<(), String> {
        self.record.check()?;
        for (seat, desk) in &self.desks {
            desk.check().map_err(|why| format!("{seat:?}: {why}"))?;
            if desk.wake.is_some_and(|at| !self.timers.has(at, &NodeName::Station(seat.clone()))) {
                return Err(format!("{seat:?} wants to be woken, and nobody will"));
            }
        }
        for (relay, gate) in &self.relays {
            gate.check().map_err(|why| format!("{relay:?}: {why}"))?;
            if gate.wake.is_some_and(|at| !self.timers.has(at, &NodeName::Relay(relay.clone()))) {
                return Err(format!("{relay:?} wants to be woken, and nobody will"));
            }
        }
        if self.timers.len() > self.desks.len() + self.relays.len() {
            return Err("timers outlive those whom they wake".to_owned());
        }
        self.check_levels()?;
        self.check_climbs()?;
        self.cases.check()?;
        self.plans.check()?;
        self.drills.check()?;
        self.drill_orders.check()?;
        self.endings.check()?;
        self.check_commands()?;
        self.watching.check()?;
        if let Some(id) = self.pending.keys().find(|id| self.is_settled(&Claim::Admit(**id))) {
            return Err(format!("{id} is pending and in the record"));
        }
        if self.waiting.again_at.is_some() != (self.waiting() > 0) {
            return Err(format!(
                "{} claims wait for the record, and nobody looks at them, or the reverse",
                self.waiting()
            ));
        }
        for (id, claim) in self.waiting.rows() {
            if self.wait(claim).and_then(|wait| wait.row).map(|(id, _)| id) != Some(*id) {
                return Err(format!("row {id:?} of the journal belongs to nothing that waits: {claim:?}"));
            }
        }
        if let Some(claim) = self.waiting.in_flight().iter().find(|claim| self.wait(claim).is_none()) {
            return Err(format!("{claim:?} is under way to the record, and nobody waits for it"));
        }
        if let Some(claim) = self.waiting.claims().find(|claim| self.is_settled(claim)) {
            return Err(format!("{claim:?} waits for the record, which has it"));
        }
        if self.pending_of.values().sum::<usize>() != self.pending.len() {
            return Err(format!("{} events are pending, not as many counted", self.pending.len()));
        }
        let listed: usize = self.relays.values().map(|gate| gate.paths.len()).sum();
        let relays = self.sessions.values().filter(|s| matches!(s.peer, NodeName::Relay(_))).count();
        if listed != relays {
            return Err(format!("{relays} relay sessions, {listed} listed"));
        }
        Ok(())
    }
}
