//! The witness: one preallocated file beside the database, with the two marks and the black box.
//!
//! Invariant: it is written only after the database was synced, and synced before anybody is told. Marks and black box
//! share a file so that one `fdatasync` serves both; all of it was written once when it was made, so that such a sync writes no
//! metadata. The two marks alternate and lie in blocks of their own: a torn write costs the older one.
//!
//! Layout in blocks of 4 KiB: mark, mark, ring ….

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use huxiao_core::limits::BLACK_BOX_BLOCK_BYTES as BLOCK;

use crate::block::{Block, Read};
use crate::ring::{MIN_BLOCKS, Ring, RingFound, Writes};
use crate::tally::{Marks, TALLY_BYTES, Tally};

/// The file's name in the store's folder.
pub(crate) const FILE: &str = "witness";
const MARKS: u64 = 2;

/// The open file.
#[derive(Debug)]
pub(crate) struct Witness {
    file: File,
    next_mark: u64,
    /// The black box's state.
    pub(crate) ring: Ring,
}

/// What the file said when it was opened.
#[derive(Debug, Default)]
pub(crate) struct WitnessFound {
    /// The marks.
    pub(crate) marks: Marks,
    /// The black box.
    pub(crate) ring: RingFound,
    /// How many blocks the ring has.
    pub(crate) blocks: u64,
}

impl Witness {
    /// Makes the file in `dir` with `blocks` places for records, and gives it its name only when all of it is on the disk.
    pub(crate) fn create(dir: &Path, blocks: u64) -> io::Result<()> {
        let blocks = blocks.max(MIN_BLOCKS);
        let (path, temporary) = (dir.join(FILE), dir.join("witness.new"));
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(&temporary)?;
        let written = fill(&file, 0, blocks + MARKS).and_then(|()| {
            let mark = Tally { ring_next: 1, ring_blocks: blocks, ..Tally::default() };
            (0..MARKS).try_for_each(|slot| file.write_all_at(&mark.encode(), slot * BLOCK as u64))?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        });
        if let Err(error) = written {
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        sync_dir(dir)
    }

    /// Opens the file and reads all of it. Damage is a finding, not an error.
    pub(crate) fn open(dir: &Path, blocks: u64) -> io::Result<(Self, WitnessFound)> {
        let file = OpenOptions::new().read(true).write(true).open(dir.join(FILE))?;
        // A process that was killed may have written a mark and not synced it: what is believed must be durable.
        file.sync_data()?;
        let (marks, next_mark, settled) = read_marks(&file);
        let blocks = ring_blocks(&marks, blocks);
        let have = file.metadata()?.len() / BLOCK as u64;
        let (ring, found) = scan(&file, blocks, &marks, settled);
        if have < blocks + MARKS {
            fill(&file, have, blocks + MARKS)?;
            file.sync_all()?;
        }
        Ok((Self { file, next_mark, ring }, WitnessFound { marks, ring: found, blocks }))
    }

    /// Reads the file without changing it.
    pub(crate) fn peek(dir: &Path) -> io::Result<WitnessFound> {
        let file = File::open(dir.join(FILE))?;
        let (marks, _, settled) = read_marks(&file);
        let have = (file.metadata()?.len() / BLOCK as u64).saturating_sub(MARKS);
        let blocks = ring_blocks(&marks, have);
        let (_, ring) = scan(&file, blocks, &marks, settled);
        Ok(WitnessFound { marks, ring, blocks })
    }

    /// Writes blocks and syncs them, before any mark counts on them.
    pub(crate) fn mend(&self, blocks: &Writes) -> io::Result<()> {
        self.put(blocks)?;
        self.file.sync_data()
    }

    fn put(&self, blocks: &Writes) -> io::Result<()> {
        let write =
            |(place, block): &(u64, Block)| self.file.write_all_at(&block.encode(), (place + MARKS) * BLOCK as u64);
        blocks.iter().try_for_each(write)
    }

    /// Writes blocks and the mark, and syncs them together.
    pub(crate) fn write(&mut self, blocks: &Writes, mark: &Tally) -> io::Result<()> {
        self.put(blocks)?;
        self.file.write_all_at(&mark.encode(), self.next_mark * BLOCK as u64)?;
        self.file.sync_data()?;
        self.next_mark = (self.next_mark + 1) % MARKS;
        Ok(())
    }

    /// Reads the newest mark back from the device: the page cache is asked to forget it first, which it may after a sync.
    pub(crate) fn read_back(&self) -> io::Result<Option<Tally>> {
        let at = (self.next_mark + 1) % MARKS * BLOCK as u64;
        let length = std::num::NonZeroU64::new(BLOCK as u64);
        // Advice only: where it is not followed, the cache answers.
        let _ = rustix::fs::fadvise(&self.file, at, length, rustix::fs::Advice::DontNeed);
        let mut bytes = [0; TALLY_BYTES];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(Tally::decode(&bytes))
    }
}

fn ring_blocks(marks: &Marks, otherwise: u64) -> u64 {
    // A checksum that fits by chance must not make us reserve the disk.
    let marked = marks.newest.map_or(0, |mark| mark.ring_blocks);
    if (MIN_BLOCKS..=1 << 20).contains(&marked) { marked } else { otherwise.max(MIN_BLOCKS) }
}

/// The marks; the slot that is written next: the one that does not hold the newest; and the black box's sequence number up to which
/// all blocks had been synced for sure. The newest mark and the blocks of its commit were written for one sync, and the power may
/// have gone before it; those of the mark before it were synced by then. If one slot is torn, the other's sync had ended.
fn read_marks(file: &File) -> (Marks, u64, u64) {
    let mut slots = (0..MARKS).map(|slot| {
        let mut bytes = [0; TALLY_BYTES];
        file.read_exact_at(&mut bytes, slot * BLOCK as u64).ok().and_then(|()| Tally::decode(&bytes))
    });
    let (first, second) = (slots.next().flatten(), slots.next().flatten());
    let torn = first.is_none() || second.is_none();
    let second_is_newest = second.map(|mark| (mark.epoch, mark.commit)) > first.map(|mark| (mark.epoch, mark.commit));
    let (newest, next) = if second_is_newest { (second, 0) } else { (first, 1) };
    let settled = [first, second].into_iter().flatten().map(|mark| mark.ring_next).min().unwrap_or(0);
    (Marks { newest, torn }, next, settled)
}

fn scan(file: &File, blocks: u64, marks: &Marks, settled: u64) -> (Ring, RingFound) {
    let read = (0..blocks).map(|place| {
        let mut bytes = vec![0; BLOCK];
        match file.read_exact_at(&mut bytes, (place + MARKS) * BLOCK as u64) {
            Ok(()) => Block::read(&bytes),
            Err(_) => Read::Bad,
        }
    });
    Ring::scan(read, marks.newest.map_or(0, |mark| mark.ring_next), settled)
}

fn fill(file: &File, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; BLOCK];
    (from..to).try_for_each(|block| file.write_all_at(&zeros, block * BLOCK as u64))
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes a folder, those above it that are missing too, and the names of all of them durable: a folder that was synced is gone
/// all the same if one above it has no durable name.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent: PathBuf = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(".".into(), Into::into);
    make_dir(&parent)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_dir(dir)?;
    sync_dir(&parent)
}

/// Makes durable the names in a folder and its own, up to the root: a process that was killed may have made them and not synced
/// them. Folders above that may not be read are left to whoever made them.
pub(crate) fn sync_names(dir: &Path) -> io::Result<()> {
    sync_dir(dir)?;
    for above in dir.canonicalize()?.ancestors().skip(1) {
        let _ = sync_dir(above);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(commit: u64) -> Tally {
        Tally { commit, ring_next: 1, ring_blocks: 16, ..Tally::default() }
    }

    fn with_marks(count: u64) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        Witness::create(dir.path(), 16).unwrap();
        let (mut witness, _) = Witness::open(dir.path(), 16).unwrap();
        (1..=count).for_each(|commit| witness.write(&Writes::new(), &mark(commit)).unwrap());
        dir
    }

    #[test]
    fn a_torn_slot_leaves_the_mark_before_it() {
        for count in 1..=4 {
            let dir = with_marks(count);
            let file = OpenOptions::new().write(true).open(dir.path().join(FILE)).unwrap();
            file.write_all_at(&[0xAA; 9], (count % 2) * BLOCK as u64 + 20).unwrap();
            let found = Witness::peek(dir.path()).unwrap();
            assert_eq!(found.marks, Marks { newest: Some(mark(count - 1)), torn: true });
            // What is written next goes over the torn one.
            let (mut witness, _) = Witness::open(dir.path(), 16).unwrap();
            witness.write(&Writes::new(), &mark(count + 5)).unwrap();
            assert_eq!(witness.read_back().unwrap(), Some(mark(count + 5)));
            let found = Witness::peek(dir.path()).unwrap();
            assert_eq!(found.marks, Marks { newest: Some(mark(count + 5)), torn: false });
        }
    }

    #[test]
    fn a_file_cut_short_is_completed_again_and_its_marks_are_gone() {
        let dir = with_marks(3);
        let file = OpenOptions::new().write(true).open(dir.path().join(FILE)).unwrap();
        file.set_len(100).unwrap();
        let (_, found) = Witness::open(dir.path(), 16).unwrap();
        assert!(found.marks.torn);
        assert_eq!(file.metadata().unwrap().len(), 18 * BLOCK as u64);
    }
}
