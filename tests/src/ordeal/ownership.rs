//! Whether the story of one alarm's ownership can be told in one order: the first acknowledgement wins, and everybody who asks
//! afterwards hears of it.
//!
//! The search is exponential, so it is made for each alarm by itself and for few operations: of what one observer says again and
//! again the first time counts.

use std::collections::BTreeSet;

use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

use super::history::{At, History, Observer, Word};

/// The most operations of one alarm that are searched.
pub const OPERATIONS: usize = 30;

/// Who owns an alarm: the sequential truth.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Ownership(Option<usize>);

/// What can be asked of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Op {
    /// A seat acknowledges.
    Take(usize),
    /// Somebody looks.
    Look,
}

impl SequentialSpec for Ownership {
    type Op = Op;
    type Ret = Option<usize>;

    fn invoke(&mut self, op: &Op) -> Option<usize> {
        if let Op::Take(seat) = op {
            self.0.get_or_insert(*seat);
        }
        self.0
    }
}

/// Who does an operation. One party has one under way at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Party {
    /// The officer at a seat.
    Officer(usize),
    /// An observer's `n`th look.
    Look(usize),
}

/// One operation: who, what, from when, and until when with what answer. Without the last it may or may not have happened.
#[derive(Debug, Clone)]
struct Operation {
    party: Party,
    op: Op,
    invoked: At,
    returned: Option<(At, Option<usize>)>,
}

/// Whether the acknowledgements of `id` and all that was said of its owner fit one order.
///
/// An acknowledgement lasts from the key until somebody is told that this seat has the alarm, or the seat that another one has it. One
/// of which nobody was told is left open: it may have happened or not. Every word of an owner is a look besides, as long as a moment:
/// an alarm's owner never changes, so it is true for ever after.
///
/// # Errors
/// The story, in words, if there is no such order.
pub fn explain(history: &History, id: &str) -> Result<(), String> {
    let operations = operations(history, id);
    let mut tester = LinearizabilityTester::new(Ownership::default());
    // Ends before beginnings of the same instant would claim an order that nobody saw: beginnings first.
    let mut moments: Vec<(At, bool, usize)> = Vec::new();
    for (at, operation) in operations.iter().enumerate() {
        moments.push((operation.invoked, false, at));
        moments.extend(operation.returned.map(|(when, _)| (when, true, at)));
    }
    moments.sort_unstable();
    for (_, ends, at) in moments {
        let operation = &operations[at];
        let said = if ends {
            let owner = operation.returned.and_then(|(_, owner)| owner);
            tester.on_return(operation.party, owner).map(drop)
        } else {
            tester.on_invoke(operation.party, operation.op.clone()).map(drop)
        };
        said.map_err(|why| format!("the story of {id} cannot be told: {why}"))?;
    }
    if tester.is_consistent() { Ok(()) } else { Err(tell(history, &operations)) }
}

/// The operations of one alarm, at most [`OPERATIONS`] of them.
fn operations(history: &History, id: &str) -> Vec<Operation> {
    let words = || history.words.iter().filter(|word| word.id == id);
    let mut all: Vec<Operation> = Vec::new();
    for taking in history.takings.iter().filter(|taking| taking.id == id) {
        if all.iter().any(|known| known.party == Party::Officer(taking.seat)) {
            // A second key at the same seat changes nothing; the first one is what counts.
            continue;
        }
        let about = |word: &&Word| {
            word.at >= taking.at
                && (word.by == Observer::Seat(taking.seat) || history.seat(&word.owner) == Some(taking.seat))
        };
        let told = words().filter(about).min_by_key(|word| word.at);
        all.push(Operation {
            party: Party::Officer(taking.seat),
            op: Op::Take(taking.seat),
            invoked: taking.at,
            returned: told.map(|word| (word.at, history.seat(&word.owner))),
        });
    }
    let mut said: BTreeSet<(Observer, &str)> = BTreeSet::new();
    for (look, word) in words().filter(|word| said.insert((word.by, &word.owner))).enumerate() {
        let returned = Some((word.at, history.seat(&word.owner)));
        all.push(Operation { party: Party::Look(look), op: Op::Look, invoked: word.at, returned });
    }
    all.truncate(OPERATIONS);
    all
}

fn tell(history: &History, operations: &[Operation]) -> String {
    let name = |seat: Option<usize>| seat.and_then(|seat| history.seats.get(seat)).map_or("nobody", String::as_str);
    let line = |operation: &Operation| {
        let what = match operation.op {
            Op::Take(seat) => format!("{} acknowledges", name(Some(seat))),
            Op::Look => "somebody looks".to_owned(),
        };
        match operation.returned {
            Some((at, owner)) => format!("{what} at {:?}, told at {at:?}: {} has it", operation.invoked, name(owner)),
            None => format!("{what} at {:?}, never told", operation.invoked),
        }
    };
    operations.iter().map(line).collect::<Vec<_>>().join("; ")
}
