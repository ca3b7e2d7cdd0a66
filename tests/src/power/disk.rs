//! The disk that forgets: files and folders in memory, each in two images, and the instant at which the power goes.
//!
//! What is durable: a file's bytes and size after `fsync` or `fdatasync` of it; a name after `fsync` of its folder (the strict rule,
//! see [`names`](super::names)). Nothing else is: closing a file, time, and `sync_file_range`, which never reaches a file system in
//! user space as a sync, make nothing durable. At the cut each change that is not durable survives, is lost or is torn at a sector's
//! edge, by dice.
//!
//! Invariant: after the cut every operation fails with [`Fault::Dead`] and no image changes any more.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use huxiao_core::Rng;

use super::contents::{Contents, Mood};
use super::names::Names;

/// The number of a file or folder.
pub type Ino = u64;
/// The folder that holds everything.
pub const ROOT: Ino = 1;

/// Why an operation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The power is gone.
    Dead,
    /// There is nothing of that name or number.
    Absent,
    /// The name is taken.
    Exists,
    /// A folder is needed.
    NotFolder,
    /// A file is needed.
    IsFolder,
    /// The folder still holds something.
    NotEmpty,
}

/// What a number stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file of so many bytes.
    File(u64),
    /// A folder.
    Folder,
}

/// When the power goes: after so many barriers (syncs and changes of names), and then so many changes of any sort more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fuse {
    /// Syncs and changes of names that still succeed.
    pub barriers: u64,
    /// Changes after those that still succeed.
    pub then: u64,
}

/// The disk.
#[derive(Debug, Clone)]
pub struct Disk {
    names: Names,
    /// `None` is a folder.
    nodes: BTreeMap<Ino, Option<Contents>>,
    next: Ino,
    fuse: Option<(Fuse, Rng)>,
    trap: Option<(OsString, Fuse, u64)>,
    sprung: bool,
    dead: bool,
    barriers: u64,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            names: Names::default(),
            nodes: BTreeMap::from([(ROOT, None)]),
            next: ROOT + 1,
            fuse: None,
            trap: None,
            sprung: false,
            dead: false,
            barriers: 0,
        }
    }
}

impl Disk {
    /// Lights the fuse; `seed` decides what survives the cut.
    pub fn arm(&mut self, fuse: Fuse, seed: u64) {
        self.fuse = Some((fuse, Rng::new(seed)));
    }

    /// Lights the fuse when something of this name is made.
    pub fn arm_at(&mut self, name: &str, fuse: Fuse, seed: u64) {
        self.trap = Some((name.into(), fuse, seed));
    }

    /// Whether that was made.
    #[must_use]
    pub fn is_sprung(&self) -> bool {
        self.sprung
    }

    /// Whether the fuse burns.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.fuse.is_some()
    }

    /// Whether the power is gone.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// Syncs and changes of names so far.
    #[must_use]
    pub fn barriers(&self) -> u64 {
        self.barriers
    }

    /// The power goes now, and nothing survives that was not synced.
    pub fn forget(&mut self) {
        self.cut_in(Mood::Nothing, &mut Rng::new(0));
    }

    /// The power goes now, and the dice decide what survives.
    pub fn cut(&mut self, rng: &mut Rng) {
        self.cut_in(Mood::throw(rng), rng);
    }

    fn cut_in(&mut self, mood: Mood, rng: &mut Rng) {
        if self.dead {
            return;
        }
        self.dead = true;
        self.names.cut(mood, rng);
        self.nodes.values_mut().flatten().for_each(|contents| contents.cut(mood, rng));
    }

    /// The disk as it is found when the power is back.
    #[must_use]
    pub fn survivor(&self) -> Self {
        let (names, reached) = self.names.survivors(ROOT);
        let of = |ino: Ino| self.nodes.get(&ino).map(|node| (ino, node.as_ref().map(Contents::survivor)));
        let nodes = reached.into_iter().filter_map(of).collect();
        Self { names, nodes, next: self.next, ..Self::default() }
    }

    /// Writes all that is visible into the folder `to`: evidence of a failure.
    ///
    /// # Errors
    /// Those of the file system that `to` is on.
    pub fn export(&self, to: &Path) -> std::io::Result<()> {
        let mut open = vec![(ROOT, to.to_path_buf())];
        while let Some((folder, place)) = open.pop() {
            std::fs::create_dir_all(&place)?;
            for (name, ino) in self.names.list(folder) {
                match self.nodes.get(&ino) {
                    Some(Some(contents)) => std::fs::write(place.join(name), contents.visible())?,
                    Some(None) => open.push((ino, place.join(name))),
                    None => {}
                }
            }
        }
        Ok(())
    }

    /// What `name` in `folder` stands for.
    ///
    /// # Errors
    /// [`Fault::Dead`], [`Fault::Absent`].
    pub fn lookup(&self, folder: Ino, name: &OsStr) -> Result<Ino, Fault> {
        self.alive()?;
        self.names.get(folder, name).ok_or(Fault::Absent)
    }

    /// What `ino` is.
    ///
    /// # Errors
    /// [`Fault::Dead`], [`Fault::Absent`].
    pub fn kind(&self, ino: Ino) -> Result<Kind, Fault> {
        self.alive()?;
        match self.nodes.get(&ino) {
            Some(Some(contents)) => Ok(Kind::File(contents.visible().len() as u64)),
            Some(None) => Ok(Kind::Folder),
            None => Err(Fault::Absent),
        }
    }

    /// All names in `folder`.
    ///
    /// # Errors
    /// [`Fault::Dead`], [`Fault::Absent`], [`Fault::NotFolder`].
    pub fn list(&self, folder: Ino) -> Result<Vec<(OsString, Ino)>, Fault> {
        match self.kind(folder)? {
            Kind::Folder => Ok(self.names.list(folder)),
            Kind::File(_) => Err(Fault::NotFolder),
        }
    }

    /// Up to `length` bytes of the file at `at`.
    ///
    /// # Errors
    /// [`Fault::Dead`], [`Fault::Absent`], [`Fault::IsFolder`].
    pub fn read(&self, ino: Ino, at: u64, length: usize) -> Result<&[u8], Fault> {
        self.alive()?;
        let contents = self.nodes.get(&ino).ok_or(Fault::Absent)?.as_ref().ok_or(Fault::IsFolder)?;
        let bytes = contents.visible();
        let from = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        Ok(&bytes[from..bytes.len().min(from.saturating_add(length))])
    }

    /// Writes into the file.
    ///
    /// # Errors
    /// [`Fault::Dead`], [`Fault::Absent`], [`Fault::IsFolder`].
    pub fn write(&mut self, ino: Ino, at: u64, data: &[u8]) -> Result<(), Fault> {
        self.contents(ino)?.write(usize::try_from(at).unwrap_or(usize::MAX), data);
        self.tick(false)
    }

    /// Gives the file this length.
    ///
    /// # Errors
    /// As [`Disk::write`].
    pub fn resize(&mut self, ino: Ino, length: u64) -> Result<(), Fault> {
        self.contents(ino)?.resize(usize::try_from(length).unwrap_or(usize::MAX));
        self.tick(false)
    }

    /// Makes the file's bytes and size durable. Its name is another matter.
    ///
    /// # Errors
    /// As [`Disk::write`].
    pub fn sync_file(&mut self, ino: Ino) -> Result<(), Fault> {
        self.contents(ino)?;
        self.tick(true)?;
        self.contents(ino)?.sync();
        Ok(())
    }

    /// Makes the names in the folder durable.
    ///
    /// # Errors
    /// [`Fault::Dead`].
    pub fn sync_folder(&mut self, ino: Ino) -> Result<(), Fault> {
        self.tick(true)?;
        self.names.sync(ino);
        Ok(())
    }

    /// Makes an empty file or folder.
    ///
    /// # Errors
    /// [`Fault::Dead`], [`Fault::Exists`].
    pub fn make(&mut self, folder: Ino, name: &OsStr, is_folder: bool) -> Result<Ino, Fault> {
        match self.lookup(folder, name) {
            Ok(_) => return Err(Fault::Exists),
            Err(Fault::Absent) => {}
            Err(fault) => return Err(fault),
        }
        let ino = self.next;
        self.next += 1;
        self.nodes.insert(ino, (!is_folder).then(Contents::default));
        self.names.link(folder, name, ino);
        if let Some((_, fuse, seed)) = self.trap.take_if(|(trapped, ..)| trapped == name) {
            self.arm(fuse, seed);
            self.sprung = true;
        }
        self.tick(true)?;
        Ok(ino)
    }

    /// Removes a file's name, or an empty folder's. What is open stays readable.
    ///
    /// # Errors
    /// [`Fault::Dead`], [`Fault::Absent`], [`Fault::NotFolder`], [`Fault::IsFolder`], [`Fault::NotEmpty`].
    pub fn remove(&mut self, folder: Ino, name: &OsStr, is_folder: bool) -> Result<(), Fault> {
        let ino = self.lookup(folder, name)?;
        match (self.kind(ino)?, is_folder) {
            (Kind::Folder, false) => return Err(Fault::IsFolder),
            (Kind::File(_), true) => return Err(Fault::NotFolder),
            (Kind::Folder, true) if !self.names.is_empty(ino) => return Err(Fault::NotEmpty),
            _ => {}
        }
        self.names.unlink(folder, name, ino);
        self.tick(true)
    }

    /// Moves a file or folder to another name, over a file or an empty folder.
    ///
    /// # Errors
    /// As [`Disk::remove`].
    pub fn rename(&mut self, from: (Ino, &OsStr), to: (Ino, &OsStr)) -> Result<(), Fault> {
        let ino = self.lookup(from.0, from.1)?;
        if let Some(over) = self.names.get(to.0, to.1) {
            match (self.kind(ino)?, self.kind(over)?) {
                (Kind::Folder, Kind::File(_)) => return Err(Fault::NotFolder),
                (Kind::File(_), Kind::Folder) => return Err(Fault::IsFolder),
                (Kind::Folder, Kind::Folder) if !self.names.is_empty(over) => return Err(Fault::NotEmpty),
                _ => {}
            }
        }
        self.names.rename(from, to, ino);
        self.tick(true)
    }

    fn alive(&self) -> Result<(), Fault> {
        if self.dead { Err(Fault::Dead) } else { Ok(()) }
    }

    fn contents(&mut self, ino: Ino) -> Result<&mut Contents, Fault> {
        self.alive()?;
        self.nodes.get_mut(&ino).ok_or(Fault::Absent)?.as_mut().ok_or(Fault::IsFolder)
    }

    /// Burns the fuse by one change. The change during which the power goes is one of those that may survive.
    fn tick(&mut self, barrier: bool) -> Result<(), Fault> {
        self.alive()?;
        self.barriers += u64::from(barrier);
        let Some((fuse, rng)) = &mut self.fuse else {
            return Ok(());
        };
        if fuse.barriers > 0 {
            fuse.barriers -= u64::from(barrier);
        } else if fuse.then > 0 {
            fuse.then -= 1;
        } else {
            let mut rng = rng.clone();
            self.cut(&mut rng);
            return Err(Fault::Dead);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(name: &str) -> &OsStr {
        OsStr::new(name)
    }

    /// What survives a cut after which nothing that was not synced is left.
    fn survivor(disk: &Disk) -> Disk {
        let mut disk = disk.clone();
        disk.forget();
        disk.survivor()
    }

    #[test]
    fn a_synced_file_without_a_synced_name_is_gone() {
        let mut disk = Disk::default();
        let file = disk.make(ROOT, os("file"), false).unwrap();
        disk.write(file, 0, b"alarm").unwrap();
        disk.sync_file(file).unwrap();
        assert_eq!(survivor(&disk).lookup(ROOT, os("file")), Err(Fault::Absent));
        disk.sync_folder(ROOT).unwrap();
        assert_eq!(survivor(&disk).read(file, 0, 99), Ok(&b"alarm"[..]));
        disk.write(file, 5, b"!").unwrap();
        assert_eq!(survivor(&disk).kind(file), Ok(Kind::File(5)), "the size too is forgotten");
    }

    #[test]
    fn a_synced_folder_below_one_that_was_not_is_gone() {
        let mut disk = Disk::default();
        let data = disk.make(ROOT, os("data"), true).unwrap();
        let store = disk.make(data, os("store"), true).unwrap();
        disk.sync_folder(store).unwrap();
        disk.sync_folder(data).unwrap();
        assert_eq!(survivor(&disk).lookup(ROOT, os("data")), Err(Fault::Absent));
        disk.sync_folder(ROOT).unwrap();
        assert_eq!(survivor(&disk).lookup(data, os("store")), Ok(store));
    }

    #[test]
    fn the_fuse_burns_down_at_its_point_and_then_nothing_works_or_changes() {
        let mut disk = Disk::default();
        let file = disk.make(ROOT, os("file"), false).unwrap();
        disk.sync_folder(ROOT).unwrap();
        disk.arm(Fuse { barriers: 1, then: 1 }, 7);
        disk.write(file, 0, b"a").unwrap();
        disk.sync_file(file).unwrap();
        disk.write(file, 0, b"b").unwrap();
        assert_eq!(disk.sync_file(file), Err(Fault::Dead));
        assert!(disk.is_dead());
        let before = format!("{:?}", disk.survivor());
        assert_eq!(disk.write(file, 0, b"c"), Err(Fault::Dead));
        assert_eq!(disk.sync_file(file), Err(Fault::Dead));
        assert_eq!(disk.rename((ROOT, os("file")), (ROOT, os("other"))), Err(Fault::Dead));
        assert_eq!(disk.read(file, 0, 1), Err(Fault::Dead));
        disk.cut(&mut Rng::new(9));
        assert_eq!(format!("{:?}", disk.survivor()), before);
    }

    #[test]
    fn a_trap_lights_the_fuse() {
        let mut disk = Disk::default();
        disk.arm_at("there", Fuse { barriers: 1, then: 0 }, 7);
        for name in ["here", "anywhere", "there"] {
            disk.make(ROOT, os(name), true).unwrap();
        }
        assert_eq!(disk.make(ROOT, os("beyond"), true), Err(Fault::Dead));
    }

    #[test]
    fn what_is_open_is_readable_after_its_name_is_gone() {
        let mut disk = Disk::default();
        let folder = disk.make(ROOT, os("folder"), true).unwrap();
        let file = disk.make(folder, os("file"), false).unwrap();
        disk.write(file, 0, b"x").unwrap();
        assert_eq!(disk.remove(ROOT, os("folder"), true), Err(Fault::NotEmpty));
        disk.remove(folder, os("file"), false).unwrap();
        assert_eq!(disk.read(file, 0, 9), Ok(&b"x"[..]));
        disk.remove(ROOT, os("folder"), true).unwrap();
        assert_eq!(disk.list(ROOT), Ok(Vec::new()));
    }
}
