//! What the figures were measured on.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// A machine, in the words that a reader of figures needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    /// Cores that this process may use.
    pub(crate) cores: usize,
    /// The processor's name.
    pub(crate) processor: String,
    /// Mebibytes of memory.
    pub(crate) memory_mib: u64,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// The file system that is measured, and its device.
    pub(crate) file_system: String,
    /// Where on it.
    pub(crate) folder: PathBuf,
}

impl Machine {
    /// This one, with the file system of `folder`. What cannot be learned is called `unknown`.
    pub(crate) fn here(folder: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let unknown = || "unknown".to_owned();
        let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
        let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf());
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: member(&read("/proc/cpuinfo"), "model name").unwrap_or_else(unknown),
            memory_mib: kib(&read("/proc/meminfo"), "MemTotal").unwrap_or(0) / 1_024,
            kernel: if kernel.is_empty() { unknown() } else { kernel },
            file_system: mounted(&read("/proc/self/mountinfo"), &folder).unwrap_or_else(unknown),
            folder,
        }
    }

    /// One line.
    pub(crate) fn line(&self) -> String {
        let Self { cores, processor, memory_mib, kernel, file_system, folder } = self;
        let folder = folder.display();
        format!("{cores} cores ({processor}), {memory_mib} MiB, Linux {kernel}, {file_system} at {folder}")
    }

    /// Whether a sync costs nothing here, so that the figures say little.
    pub(crate) fn is_in_memory(&self) -> bool {
        ["tmpfs", "ramfs"].iter().any(|kind| self.file_system.starts_with(kind))
    }
}

/// The value of the first `name: value` line of a file of the kernel.
pub(crate) fn member(text: &str, name: &str) -> Option<String> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(have, _)| have.trim() == name).map(|(_, value)| value.trim().to_owned())
}

/// A `name: 123 kB` line.
pub(crate) fn kib(text: &str, name: &str) -> Option<u64> {
    member(text, name)?.split(' ').next()?.parse().ok()
}

/// Type and device of the mount that holds `path` (proc(5), mountinfo): the longest mount point, the latest of several.
fn mounted(table: &str, path: &Path) -> Option<String> {
    let mut best: Option<(usize, String)> = None;
    for line in table.lines() {
        let (before, after) = line.split_once(" - ")?;
        let point = before.split(' ').nth(4)?.replace("\\040", " ");
        let mut after = after.split(' ');
        let (kind, device) = (after.next()?, after.next()?);
        let length = point.len();
        if path.starts_with(&point) && best.as_ref().is_none_or(|(have, _)| *have <= length) {
            best = Some((length, format!("{kind} on {device}")));
        }
    }
    best.map(|(_, words)| words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_that_holds_a_path() {
        let table = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
            30 22 0:30 / /tmp rw - tmpfs tmpfs rw\n31 22 0:31 / /data\\040disk rw master:1 - xfs /dev/vdb rw\n";
        let of = |path: &str| mounted(table, Path::new(path)).unwrap();
        assert_eq!(of("/srv/target"), "ext4 on /dev/vda");
        assert_eq!(of("/tmpfoo"), "ext4 on /dev/vda");
        assert_eq!(of("/tmp/x"), "tmpfs on tmpfs");
        assert_eq!(of("/data disk/x"), "xfs on /dev/vdb");
        assert_eq!(mounted("", Path::new("/")), None);
    }

    #[test]
    fn this_machine_is_known() {
        let machine = Machine::here(Path::new("/"));
        assert!(machine.cores > 0 && machine.memory_mib > 0, "{machine:?}");
        assert_ne!(machine.file_system, "unknown");
        assert_eq!(kib("VmRSS:\t  5120 kB\n", "VmRSS"), Some(5_120));
    }
}
