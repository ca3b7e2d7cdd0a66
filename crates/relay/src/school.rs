//! The plan's part for this school on the relay's disk.
//!
//! Invariant: the file is there whole or as it was before; one that cannot be read is said, left where it is, and written over by the next part that
//! the region tells.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use huxiao_core::limits;
use huxiao_core::plan::SchoolPart;
use huxiao_core::relay::{Input, Relay};
use huxiao_runtime::drive::Handle;
use huxiao_store::durable_file;
use tokio::sync::Mutex;

/// Its name in the data folder.
const NAME: &str = "school-plan";

/// The file.
#[derive(Debug, Clone)]
pub(crate) struct SchoolFile {
    path: PathBuf,
    /// One write at a time, in the order in which they were asked for.
    turn: Arc<Mutex<()>>,
}

impl SchoolFile {
    /// The one in this data folder.
    pub(crate) fn new(dir: &Path) -> Self {
        Self { path: dir.join(NAME), turn: Arc::default() }
    }

    /// What it holds; nothing if there is none yet, or it cannot be read.
    pub(crate) fn read(&self) -> Option<SchoolPart> {
        let file = self.path.display();
        match read(&self.path) {
            Ok(bytes) => match huxiao_wire::decode_school_part(&bytes) {
                Ok(part) => Some(part),
                Err(error) => {
                    tracing::error!(%file, %error, "what is kept of the plan cannot be read; the region will tell it again");
                    None
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::error!(%file, %error, "what is kept of the plan cannot be read; the region will tell it again");
                None
            }
        }
    }

    /// Writes a part and tells the machine.
    pub(crate) fn keep(&self, part: SchoolPart, handle: Option<Handle<Relay>>) {
        let (path, turn) = (self.path.clone(), self.turn.clone());
        tokio::spawn(async move {
            let _turn = turn.lock().await;
            let (mark, bytes) = (part.mark, huxiao_wire::encode_school_part(&part));
            let written = tokio::task::spawn_blocking(move || durable_file::write_new(&path, &bytes)).await;
            match written {
                // A loop that has ended needs no answer.
                Ok(Ok(())) => drop(handle.map(|handle| handle.urgent(Input::PlanKept(mark)))),
                Ok(Err(error)) => tracing::error!(%error, "the school's plan is in force, but could not be kept here"),
                Err(error) => tracing::error!(%error, "the school's plan is in force, but could not be kept here"),
            }
        });
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(limits::EXPRESS_FRAME_BYTES).unwrap_or(u64::MAX);
    std::fs::File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}
