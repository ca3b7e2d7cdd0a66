//! Walking through the archive in the order of its numbers, for whoever pages through all events of a region.
//!
//! A file's entries do not change, so when they came to the region is remembered of each file that was walked through once: an
//! account of last week does not read the years before it a second time.
//!
//! Invariant: one walk reads the entries of two files at most.

use std::collections::BTreeSet;
use std::io;

use huxiao_core::WallTime;
use huxiao_core::record::{Cursor, Entry, EventFilter};

use super::runs::Runs;
use super::{Archive, ArchiveError};

/// What a walk came to.
#[derive(Debug, Default)]
pub struct Walk {
    /// What is wanted, in the order of the archive numbers.
    pub found: Vec<Entry>,
    /// The last number that was looked at.
    pub upto: u64,
    /// How many events this node should have and has not (yet): it took the record over from another node, or lost a file.
    pub missing: u64,
}

/// When the entries of the file that a walk is in came to the region, as far as it has seen them.
struct Times {
    /// The next number, if all of the file's before it were seen.
    next: u64,
    earliest: WallTime,
    latest: WallTime,
}

impl Archive {
    /// Looks at the archived events behind `from`, up to the number `upto`, until `limit` wanted ones are found or there was enough to read.
    /// Reads the disk.
    ///
    /// # Errors
    /// Those of reading.
    pub fn walk(&self, from: Cursor, upto: u64, filter: &EventFilter, limit: usize) -> Result<Walk, ArchiveError> {
        // What is older has been let go, and is not missed.
        let kept = upto.saturating_sub(self.shape.keep);
        let (present, on_their_way) = self.present();
        let mut walk = Walk { upto: from.archived, ..Walk::default() };
        let (mut looked, mut times) = (0, None);
        while walk.upto < upto {
            let next = present.above(walk.upto).next().filter(|number| *number <= upto);
            let gap = next.unwrap_or(upto + 1).saturating_sub(walk.upto.max(kept) + 1);
            walk.missing += gap;
            let Some(number) = next else {
                walk.upto = upto;
                return Ok(walk);
            };
            let (first, last) = self.file_of(number);
            if let Some((earliest, latest)) = self.chunks.times(first)
                && !filter.touches(earliest, latest)
            {
                walk.upto = last.min(upto);
                continue;
            }
            walk.upto = number;
            looked += 1;
            match self.look(number, on_their_way.contains(&number))? {
                Some(entry) => {
                    times = Times::after(times, number, first, entry.admission.at);
                    // A long case takes several numbers, and its event is one: the first has all that is asked for here.
                    let one = entry.part.at == 0;
                    if one && !from.is_past(&entry) && filter.matches(&entry) {
                        walk.found.push(entry);
                    }
                }
                None => {
                    walk.missing += 1;
                    times = None;
                }
            }
            if number == last
                && let Some(times) = times.take()
            {
                self.chunks.note_times(first, (times.earliest, times.latest));
            }
            // To the end of a file, or no walk would ever see one whole.
            if walk.found.len() >= limit || (number == last && looked >= self.shape.chunk) {
                break;
            }
        }
        Ok(walk)
    }

    /// First and last number of the file that this one is in, or will be.
    fn file_of(&self, number: u64) -> (u64, u64) {
        let first = number.saturating_sub(1) / self.shape.chunk * self.shape.chunk + 1;
        (first, first + self.shape.chunk - 1)
    }

    /// The numbers that are on stable storage or on their way there, and the latter alone. What moves from one place to the next is in both
    /// for a while, and is looked for in the order in which it moves.
    fn present(&self) -> (Runs, BTreeSet<u64>) {
        let (mut runs, on_their_way) = {
            let inner = self.inner();
            let on_their_way: BTreeSet<u64> = inner.waiting.iter().map(|(number, ..)| *number).collect();
            (inner.runs.clone(), on_their_way)
        };
        on_their_way.iter().for_each(|number| runs.insert(*number));
        self.chunks.add_to(&mut runs);
        (runs, on_their_way)
    }

    /// The entry with this number. `None` if it is gone or damaged, or this version cannot read it: none of these keeps others back.
    fn look(&self, number: u64, on_its_way: bool) -> Result<Option<Entry>, ArchiveError> {
        let waiting = if on_its_way { self.waiting(number) } else { None };
        let bytes = match waiting {
            Some(bytes) => Ok(Some(bytes)),
            None => self.read(number).map(|found| found.map(|(_, bytes)| bytes)),
        };
        let why = match bytes {
            Ok(None) => return Ok(None),
            Ok(Some(bytes)) => match huxiao_wire::decode_entry(&bytes) {
                Ok(entry) => return Ok(Some(entry)),
                Err(error) => error.to_string(),
            },
            Err(ArchiveError::File(error)) if error.kind() == io::ErrorKind::InvalidData => error.to_string(),
            Err(error) => return Err(error),
        };
        tracing::error!(number, why, "an archived event cannot be read; it stays on disk");
        Ok(None)
    }

    /// What was given under this number and is not on stable storage yet.
    fn waiting(&self, number: u64) -> Option<Vec<u8>> {
        self.inner().waiting.iter().find(|(waiting, ..)| *waiting == number).map(|(.., bytes)| bytes.clone())
    }
}

impl Times {
    /// With the entry of this number, which came at `at`.
    fn after(before: Option<Self>, number: u64, first: u64, at: WallTime) -> Option<Self> {
        let begun = before.filter(|times| times.next == number);
        let fresh = || (number == first).then_some(Self { next: number, earliest: at, latest: at });
        let Self { earliest, latest, .. } = begun.or_else(fresh)?;
        Some(Self { next: number + 1, earliest: earliest.min(at), latest: latest.max(at) })
    }
}

#[cfg(test)]
mod tests;
