//! The files of an archive.
//!
//! Invariant: what is in the list is on stable storage under its name. A file that is damaged is left where it is and not used: its
//! numbers count as missing, so they are fetched from a peer and written over it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use huxiao_core::{EventId, WallTime};
use huxiao_store::durable_file;

use super::chunk::Chunk;
use super::runs::Runs;

/// How much an archive keeps, and in which portions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Events that stay, besides what shares a file with them.
    pub(crate) keep: u64,
    /// Consecutive events of one file.
    pub(crate) chunk: u64,
}

/// All files.
pub(crate) struct Chunks {
    dir: PathBuf,
    list: RwLock<BTreeMap<u64, Chunk>>,
}

impl Chunks {
    /// Those in `dir`, which is made if need be.
    pub(crate) fn open(dir: &Path, shape: Shape) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let mut list = BTreeMap::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "chunk") {
                continue;
            }
            match Chunk::open(&path) {
                Ok(chunk) if chunk_path(dir, chunk.numbers().0) == path && is_whole(&chunk, shape) => {
                    list.insert(chunk.numbers().0, chunk);
                }
                Ok(_) => {
                    tracing::error!(path = %path.display(), "this file of the archive has another name or size than it should");
                }
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "a file of the archive cannot be used; its events are fetched again");
                }
            }
        }
        Ok(Self { dir: dir.to_path_buf(), list: RwLock::new(list) })
    }

    /// Writes one and uses it. Waits for the disk.
    pub(crate) fn add(&self, first: u64, entries: &[(EventId, Vec<u8>)]) -> Result<(), durable_file::DurableFileError> {
        let chunk = Chunk::write(&chunk_path(&self.dir, first), first, entries)?;
        self.list.write().unwrap_or_else(PoisonError::into_inner).insert(first, chunk);
        Ok(())
    }

    /// Removes those whose numbers are all below `number`. Waits for the disk.
    pub(crate) fn remove_below(&self, number: u64) {
        let old = |chunk: &Chunk| chunk.numbers().1 < number;
        let firsts: Vec<u64> = self.list().iter().filter(|(_, chunk)| old(chunk)).map(|(first, _)| *first).collect();
        for first in firsts {
            self.list.write().unwrap_or_else(PoisonError::into_inner).remove(&first);
            if let Err(error) = durable_file::remove(&chunk_path(&self.dir, first)) {
                tracing::warn!(%error, "a file of the archive that is too old stays on disk until the next start");
            }
        }
    }

    /// The numbers in them.
    pub(crate) fn add_to(&self, runs: &mut Runs) {
        self.list().values().map(Chunk::numbers).for_each(|(from, to)| runs.insert_all(from, to));
    }

    /// From and to of each.
    pub(crate) fn numbers(&self) -> Vec<(u64, u64)> {
        self.list().values().map(Chunk::numbers).collect()
    }

    /// Whether the number is in one of them.
    pub(crate) fn contains(&self, number: u64) -> bool {
        self.list().range(..=number).next_back().is_some_and(|(_, chunk)| chunk.numbers().1 >= number)
    }

    /// The entry with this number.
    pub(crate) fn read(&self, number: u64) -> io::Result<Option<(EventId, Vec<u8>)>> {
        match self.list().range(..=number).next_back() {
            Some((_, chunk)) => chunk.read(number),
            None => Ok(None),
        }
    }

    /// When the first and the last of the entries came to the region that the file whose first number is `first` holds; `None` while nobody has said.
    pub(crate) fn times(&self, first: u64) -> Option<(WallTime, WallTime)> {
        self.list().get(&first).and_then(Chunk::times)
    }

    /// Notes that of a file, if there is one.
    pub(crate) fn note_times(&self, first: u64, times: (WallTime, WallTime)) {
        self.list().get(&first).into_iter().for_each(|chunk| chunk.note_times(times));
    }

    /// The number of the event: newest first, for it is asked for most.
    pub(crate) fn find(&self, id: EventId) -> io::Result<Option<u64>> {
        for chunk in self.list().values().rev() {
            if let Some(number) = chunk.find(id)? {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    fn list(&self) -> RwLockReadGuard<'_, BTreeMap<u64, Chunk>> {
        self.list.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_whole(chunk: &Chunk, shape: Shape) -> bool {
    let (from, to) = chunk.numbers();
    from % shape.chunk == 1 % shape.chunk && to + 1 - from == shape.chunk
}

fn chunk_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:012}.chunk"))
}
