//! What was said of pictures, on the disk: one small file for each.
//!
//! Invariant: a file is whole or not there (written under another name, synced, renamed). One that cannot be read is left where it is, and said.

use std::path::{Path, PathBuf};

use huxiao_core::video::{Picture, PictureKey, Row};
use huxiao_core::{EventId, limits};
use huxiao_runtime::video_json::KeptPicture;
use huxiao_store::durable_file::{self, DurableFileError};
use serde::{Deserialize, Serialize};

/// How the files' names end.
const ENDING: &str = "json";

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Rows(PathBuf);

#[derive(Serialize, Deserialize)]
struct File {
    event: String,
    in_record: bool,
    picture: KeptPicture,
}

impl Rows {
    /// The folder, which is made if need be, and what it holds: the latest.
    pub(super) fn open(dir: &Path) -> std::io::Result<(Self, Vec<Row>)> {
        std::fs::create_dir_all(dir)?;
        let mut rows = Vec::new();
        for entry in std::fs::read_dir(dir)?.flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != ENDING) {
                continue;
            }
            match read(&path) {
                Ok(row) => rows.push(row),
                Err(why) => {
                    tracing::error!(path = %path.display(), why, "what was said of a picture cannot be read; it stays there");
                }
            }
        }
        rows.sort_by_key(|row| (row.picture.at, row.event));
        let old = rows.len().saturating_sub(limits::PICTURES_REMEMBERED);
        rows.drain(..old);
        Ok((Self(dir.to_path_buf()), rows))
    }

    /// Keeps a row, in the place of the one before. Waits for the disk.
    pub(super) fn keep(&self, row: &Row) -> Result<(), DurableFileError> {
        let (event, in_record, picture) = (row.event.to_string(), row.in_record, KeptPicture::from(&row.picture));
        // Strings, numbers and maps with string keys: nothing that JSON cannot hold.
        let content = serde_json::to_vec(&File { event, in_record, picture }).unwrap_or_default();
        durable_file::write_new(&self.path(row.event, &row.picture.key()), &content)
    }

    /// Forgets a row. Waits for the disk.
    pub(super) fn forget(&self, event: EventId, key: &PictureKey) -> Result<(), DurableFileError> {
        durable_file::remove(&self.path(event, key)).map(drop)
    }

    fn path(&self, event: EventId, (camera, _): &PictureKey) -> PathBuf {
        // Of names, which hold nothing that a path could be led astray by.
        self.0.join(format!("{event}.{camera}.{ENDING}"))
    }
}

fn read(path: &Path) -> Result<Row, String> {
    let content = std::fs::read(path).map_err(|error| error.to_string())?;
    let File { event, in_record, picture } = serde_json::from_slice(&content).map_err(|error| error.to_string())?;
    let event: EventId = event.parse().map_err(|_| format!("{event:?} is no id of an event"))?;
    Ok(Row { event, picture: Picture::try_from(picture)?, in_record })
}

#[cfg(test)]
mod tests {
    use huxiao_core::body::BodyId;
    use huxiao_core::video::Shot;
    use huxiao_core::{Rng, Text, WallTime};

    use super::*;

    #[test]
    fn what_was_said_comes_back_and_what_is_damaged_costs_itself() {
        let dir = tempfile::tempdir().unwrap();
        let (rows, none) = Rows::open(dir.path()).unwrap();
        assert_eq!(none, []);
        let mut dice = Rng::new(1);
        let row = |at: i64, shot: Shot, dice: &mut Rng| Row {
            event: EventId::generate(WallTime(at), dice),
            picture: Picture {
                camera: "gate".parse().unwrap(),
                at: WallTime(at),
                shot,
                address: Text::new("rtsp://c/1").unwrap(),
            },
            in_record: false,
        };
        let taken = row(1_000, Shot::Taken(BodyId::of(b"x"), 7), &mut dice);
        let mut failed = row(2_000, Shot::Failed(Text::new("无应答").unwrap()), &mut dice);
        rows.keep(&taken).unwrap();
        rows.keep(&failed).unwrap();
        failed.in_record = true;
        rows.keep(&failed).unwrap();
        std::fs::write(dir.path().join("x.gate.json"), b"{").unwrap();
        assert_eq!(Rows::open(dir.path()).unwrap().1, [taken.clone(), failed.clone()]);
        rows.forget(taken.event, &taken.picture.key()).unwrap();
        assert_eq!(Rows::open(dir.path()).unwrap().1, [failed]);
    }
}
