//! Folders for what a bench writes, on the disk that is to be measured.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::{BenchError, Trying};
use crate::process;

/// A folder that is gone with the bench.
#[derive(Debug)]
pub(crate) struct Scratch(TempDir);

impl Scratch {
    /// Makes one below `parent`, or below cargo's target folder: a temporary folder of the system is often in memory, where a sync
    /// costs nothing.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn new(parent: Option<&Path>) -> Result<Self, BenchError> {
        let parent = parent.map_or_else(|| target_dir().join("tmp"), Path::to_path_buf);
        fs::create_dir_all(&parent).trying_on("make", &parent)?;
        let made = tempfile::Builder::new().prefix("huxiao-bench-").tempdir_in(&parent);
        let dir = made.trying_on("make a folder in", &parent)?;
        process::clear_on_signals(dir.path().to_path_buf());
        Ok(Self(dir))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A folder of this name in it.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, BenchError> {
        let path = self.path().join(name);
        fs::create_dir_all(&path).trying_on("make", &path)?;
        Ok(path)
    }
}

/// Cargo's target folder: this program lies in `<target>/<profile>/`.
pub(crate) fn target_dir() -> PathBuf {
    let own = std::env::current_exe().ok();
    let found = own.as_deref().and_then(|own| own.ancestors().find(|at| at.join("CACHEDIR.TAG").is_file()));
    found.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target"), Path::to_path_buf)
}
