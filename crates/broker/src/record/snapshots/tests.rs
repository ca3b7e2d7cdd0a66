//! Which files are there after what, and what is refused on its way in.

use super::*;
use crate::record::testing::{admit, found};
use crate::record::types::{StoredMembership, log_id};

fn state(events: u64) -> RecordState {
    let mut state = RecordState::default();
    state.apply(1, found());
    (0..events).for_each(|number| drop(state.apply(number + 2, admit(number))));
    state
}

fn meta(index: u64) -> SnapshotMeta {
    SnapshotMeta { last_log_id: Some(log_id(1, 1, index)), last_membership: StoredMembership::default() }
}

fn open(dir: &Path) -> (Snapshots, Option<Snapshot>) {
    Snapshots::open(dir, RecordLimits::default()).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn the_last_two_are_kept_and_the_newest_that_can_be_read_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshots, none) = open(dir.path());
    assert!(none.is_none());
    for index in [10, 20, 30] {
        snapshots.write(&meta(index), &state(index)).unwrap();
    }
    assert_eq!(names(dir.path()).len(), KEPT);
    assert_eq!(open(dir.path()).1.unwrap().state.len(), 30);
    let newest = snapshots.current().unwrap().1;
    let whole = fs::read(newest.path()).unwrap();
    fs::write(newest.path(), &whole[..whole.len() / 2]).unwrap();
    let (snapshots, found) = open(dir.path());
    assert_eq!((found.unwrap().meta, snapshots.current().unwrap().0), (meta(20), meta(20)));
    assert!(names(dir.path()).iter().any(|name| name.ends_with(BROKEN_ENDING)), "it is kept for whoever can read it");
}

#[test]
fn one_of_a_newer_version_is_not_gone_back_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshots, _) = open(dir.path());
    snapshots.write(&meta(10), &state(1)).unwrap();
    let newest = snapshots.write(&meta(20), &state(2)).unwrap();
    let mut bytes = fs::read(newest.path()).unwrap();
    bytes[7] = 9;
    fs::write(newest.path(), bytes).unwrap();
    let error = Snapshots::open(dir.path(), RecordLimits::default()).err().unwrap().to_string();
    assert!(error.contains("start the version that wrote it"), "{error}");
    assert_eq!(names(dir.path()).len(), 2, "nothing was moved");
}

#[tokio::test]
async fn what_is_not_what_was_announced_is_refused_and_leaves_nothing() {
    let [from, to] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let file = open(from.path()).0.write(&meta(50), &state(10_000)).unwrap();
    assert!(file.bytes() > 2 * BUFFER_BYTES as u64, "it comes in several pieces");
    let (snapshots, _) = open(to.path());
    let (bytes, sha256) = (file.bytes(), file.sha256());
    let cases = [
        (bytes + 1, sha256, "ended too early"),
        (bytes - 1, sha256, "longer than was said"),
        (bytes, [0; 32], "digest"),
    ];
    for (bytes, sha256, why) in cases {
        let error = snapshots.receive(file.read().await.unwrap(), bytes, sha256).await.unwrap_err();
        assert!(error.kind() == io::ErrorKind::InvalidData && error.to_string().contains(why), "{error}");
        assert!(names(to.path()).is_empty());
    }
    let received = snapshots.receive(file.read().await.unwrap(), bytes, sha256).await.unwrap();
    let error = snapshots.install(&meta(51), &received).unwrap_err();
    assert!(error.to_string().contains("of another entry"), "{error}");
    assert!(snapshots.current().is_none());
    assert_eq!(snapshots.install(&meta(50), &received).unwrap().len(), 10_000);
    drop(received);
    assert_eq!(names(to.path()), names(from.path()));
    assert_eq!(snapshots.current().unwrap().0, meta(50));
}

#[tokio::test]
async fn what_was_being_received_when_the_node_ended_is_gone_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshots, _) = open(dir.path());
    let file = snapshots.write(&meta(10), &state(1)).unwrap();
    let received = snapshots.receive(file.read().await.unwrap(), file.bytes(), file.sha256()).await.unwrap();
    std::mem::forget(received);
    assert_eq!(names(dir.path()).len(), 2);
    open(dir.path());
    assert_eq!(names(dir.path()).len(), 1);
}
