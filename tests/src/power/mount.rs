//! A [`Disk`] as a mounted file system.
//!
//! Every file is opened for direct IO and the kernel's write-back cache is not asked for, so each write is seen here at once and
//! nothing is read from a cache after the cut.
//!
//! Invariant: the mount ends with its [`Mounted`], also in a panic, and whoever still holds a file of it only gets errors.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::disk::{Disk, Fault, Ino, Kind};

/// Nothing is cached in the kernel.
const TTL: Duration = Duration::ZERO;
/// Block size and size of the disk, as `statfs` tells them: plenty, since a full disk is another test's matter.
const BLOCK: u32 = 4_096;
const BLOCKS: u64 = 1 << 17;

/// Whether this machine lets us mount. Else a line that says why not.
///
/// # Errors
/// What is missing.
pub fn available() -> Result<(), String> {
    if std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").is_err() {
        return Err("/dev/fuse cannot be opened".into());
    }
    let mounted = Mounted::new(Disk::default()).map_err(|error| format!("mounting failed: {error}"))?;
    std::fs::metadata(mounted.dir()).map(drop).map_err(|error| format!("the mount does not answer: {error}"))
}

/// The disk behind a mount, for whoever cuts the power or slows it down.
#[derive(Clone, Default)]
pub struct Remote {
    disk: Arc<Mutex<Disk>>,
    /// Microseconds that each sync takes longer.
    sync_delay: Arc<AtomicU64>,
}

impl Remote {
    /// The disk itself.
    pub fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets each sync that begins from now on, of a file or a folder, take so much longer; zero for a disk that is quick again. Syncs wait
    /// beside each other and in nobody's way, so reads and writes go on: that is a disk with a slow cache flush.
    pub fn delay_syncs(&self, by: Duration) {
        self.sync_delay.store(u64::try_from(by.as_micros()).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Carries out a sync when its time has come, and answers.
    fn sync(&self, reply: ReplyEmpty, run: impl FnOnce(&mut Disk) -> Result<(), Fault> + Send + 'static) {
        let delay = self.sync_delay.load(Ordering::Acquire);
        let remote = self.clone();
        let carry_out = move || match remote.run(run) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        };
        if delay == 0 {
            return carry_out();
        }
        thread::spawn(move || {
            thread::sleep(Duration::from_micros(delay));
            carry_out();
        });
    }

    fn run<T>(&self, run: impl FnOnce(&mut Disk) -> Result<T, Fault>) -> Result<T, Errno> {
        run(&mut self.disk()).map_err(|fault| match fault {
            Fault::Dead => Errno::EIO,
            Fault::Absent => Errno::ENOENT,
            Fault::Exists => Errno::EEXIST,
            Fault::NotFolder => Errno::ENOTDIR,
            Fault::IsFolder => Errno::EISDIR,
            Fault::NotEmpty => Errno::ENOTEMPTY,
        })
    }

    fn attr(&self, ino: Ino) -> Result<FileAttr, Errno> {
        self.run(|disk| disk.kind(ino)).map(|kind| attr(ino, kind))
    }
}

/// A disk that is mounted for as long as this value lives.
pub struct Mounted {
    session: Option<BackgroundSession>,
    remote: Remote,
    place: tempfile::TempDir,
}

impl Mounted {
    /// Mounts `disk` in a new temporary folder.
    ///
    /// # Errors
    /// Those of the system: no right to mount, no such device.
    pub fn new(disk: Disk) -> std::io::Result<Self> {
        let place = tempfile::Builder::new().prefix("huxiao-power-").tempdir()?;
        let remote = Remote::default();
        *remote.disk() = disk;
        let mut config = Config::default();
        let name = |name: &str| name.to_owned();
        config.mount_options = vec![MountOption::FSName(name("huxiao-power")), MountOption::Subtype(name("forgetful"))];
        let session = fuser::spawn_mount(Forgetful::new(remote.clone()), place.path(), &config)?;
        Ok(Self { session: Some(session), remote, place })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.place.path()
    }

    /// The disk.
    #[must_use]
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let clean = self.session.take().is_none_or(|session| session.umount_and_join().is_ok());
        if !clean {
            // A process that was just killed may still hold a file for a moment.
            let _ = Command::new("umount").arg("-l").arg(self.dir()).output();
        }
    }
}

/// What the kernel talks to.
struct Forgetful {
    remote: Remote,
    /// What was in a folder when it was opened, so that removing while listing skips nothing.
    listings: Mutex<(u64, BTreeMap<u64, Listing>)>,
}

/// A listing: number, whether it is a folder, name.
type Listing = Vec<(Ino, FileType, OsString)>;

impl Forgetful {
    fn new(remote: Remote) -> Self {
        Self { remote, listings: Mutex::default() }
    }

    fn listing(&self, folder: Ino) -> Result<Listing, Errno> {
        self.remote.run(|disk| {
            let mut listing: Listing =
                [".", ".."].map(|name| (folder, FileType::Directory, OsString::from(name))).into();
            for (name, ino) in disk.list(folder)? {
                listing.push((ino, file_type(disk.kind(ino)?), name));
            }
            Ok(listing)
        })
    }

    fn make(&self, folder: INodeNo, name: &OsStr, is_folder: bool) -> Result<FileAttr, Errno> {
        let ino = self.remote.run(|disk| disk.make(folder.0, name, is_folder))?;
        self.remote.attr(ino)
    }

    fn listings(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Listing>)> {
        self.listings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File(_) => FileType::RegularFile,
        Kind::Folder => FileType::Directory,
    }
}

fn attr(ino: Ino, kind: Kind) -> FileAttr {
    let size = if let Kind::File(size) = kind { size } else { 0 };
    let time = SystemTime::UNIX_EPOCH;
    FileAttr {
        ino: INodeNo(ino),
        size,
        blocks: size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: file_type(kind),
        perm: 0o755,
        nlink: 1,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    }
}

/// Answers with what came out, or with the error.
macro_rules! answer {
    ($reply:ident, $result:expr, |$value:pat_param| $with:expr) => {
        match $result {
            Ok($value) => $with,
            Err(error) => $reply.error(error),
        }
    };
}

impl Filesystem for Forgetful {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.remote.run(|disk| disk.lookup(parent.0, name)).and_then(|ino| self.remote.attr(ino));
        answer!(reply, found, |attr| reply.entry(&TTL, &attr, Generation(0)));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        answer!(reply, self.remote.attr(ino.0), |attr| reply.attr(&TTL, &attr));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let done = self.remote.run(|disk| size.map_or(Ok(()), |size| disk.resize(ino.0, size)));
        answer!(reply, done.and_then(|()| self.remote.attr(ino.0)), |attr| reply.attr(&TTL, &attr));
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _mode: u32, _umask: u32, reply: ReplyEntry) {
        answer!(reply, self.make(parent, name, true), |attr| reply.entry(&TTL, &attr, Generation(0)));
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        let made = self.make(parent, name, false);
        let flags = FopenFlags::FOPEN_DIRECT_IO;
        answer!(reply, made, |attr| reply.created(&TTL, &attr, Generation(0), FileHandle(0), flags));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, self.remote.run(|disk| disk.remove(parent.0, name, false)), |()| reply.ok());
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, self.remote.run(|disk| disk.remove(parent.0, name, true)), |()| reply.ok());
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let done = self.remote.run(|disk| disk.rename((parent.0, name), (newparent.0, newname)));
        answer!(reply, done, |()| reply.ok());
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        answer!(reply, self.remote.attr(ino.0), |_| reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO));
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let length = usize::try_from(size).unwrap_or(usize::MAX);
        let read = self.remote.run(|disk| disk.read(ino.0, offset, length).map(<[u8]>::to_vec));
        answer!(reply, read, |bytes| reply.data(&bytes));
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let done = self.remote.run(|disk| disk.write(ino.0, offset, data));
        answer!(reply, done, |()| reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)));
    }

    fn flush(&self, _: &Request, ino: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Closing a file makes nothing durable.
        answer!(reply, self.remote.attr(ino.0), |_| reply.ok());
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        // A data sync makes the size durable too: without it the data could not be read back.
        self.remote.sync(reply, move |disk| disk.sync_file(ino.0));
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        answer!(reply, self.listing(ino.0), |listing| {
            let mut listings = self.listings();
            listings.0 += 1;
            let handle = listings.0;
            listings.1.insert(handle, listing);
            reply.opened(FileHandle(handle), FopenFlags::empty());
        });
    }

    fn readdir(&self, _: &Request, _: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listings = self.listings();
        let listing = listings.1.get(&fh.0).into_iter().flatten();
        for ((ino, kind, name), next) in listing.zip(1..).skip(usize::try_from(offset).unwrap_or(usize::MAX)) {
            if reply.add(INodeNo(*ino), next, *kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.listings().1.remove(&fh.0);
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.remote.sync(reply, move |disk| disk.sync_folder(ino.0));
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let free = BLOCKS - BLOCKS / 8;
        answer!(reply, self.remote.attr(super::ROOT), |_| reply.statfs(BLOCKS, free, free, 0, 0, BLOCK, 255, BLOCK));
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode != 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let done = self.remote.run(|disk| match disk.kind(ino.0)? {
            Kind::File(size) if size < offset + length => disk.resize(ino.0, offset + length),
            Kind::File(_) => Ok(()),
            Kind::Folder => Err(Fault::IsFolder),
        });
        answer!(reply, done, |()| reply.ok());
    }
}
