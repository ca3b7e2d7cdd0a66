//! An inbox with a gap believes no mark: what is missing must come again.

use std::collections::BTreeMap;
use std::path::Path;

use huxiao_core::station::Write;
use huxiao_core::{Class, RecordId, Resume, SeatId};
use huxiao_runtime::clock::Clock;
use huxiao_store::{Batch, Config, Key, Loss, LossKind, Opened, Put, Space, Trial};

use super::feed::idle_link;
use super::harness::World;
use crate::inbox;
use crate::seat::{Ingredients, assemble};

fn open(dir: &Path) -> Opened {
    huxiao_store::open(&Config::new(dir, Trial::InProcess), Clock::system().wall()).unwrap()
}

async fn write(opened: &Opened, batch: Batch) {
    let (done, written) = tokio::sync::oneshot::channel();
    opened.store.commit(batch, |result| done.send(result).unwrap());
    written.await.unwrap().unwrap();
}

/// A store with one mark.
async fn marked(dir: &Path) -> Opened {
    let opened = open(dir);
    let mut marks = inbox::read(&opened.store).unwrap().marks;
    let mark = Write::Mark("broker/r1/b1".parse().unwrap(), Resume { record: RecordId([3; 16]), index: 9 });
    write(&opened, inbox::batch(&mark, false, &mut marks)).await;
    assert_eq!(inbox::read(&opened.store).unwrap().marks.resumes().len(), 1);
    opened
}

/// Starts a seat on the store; how many marks are left in it, and how many rows it could not read.
async fn start(world: &World, opened: &Opened, losses: &[Loss]) -> (usize, usize) {
    let clock = Clock::system();
    let parts = assemble(Ingredients {
        seat: SeatId { station: "s1".parse().unwrap(), seat: "desk-1".parse().unwrap() },
        store: &opened.store,
        high: opened.high,
        losses,
        link: &idle_link(world),
        dials: &std::sync::Arc::default(),
        now: clock.now(),
        seed: 1,
        software: String::new(),
        signer: None,
        verifier: std::sync::Arc::new(huxiao_core::signature::Nobody),
    })
    .await
    .unwrap();
    let on_disk = inbox::read(&opened.store).unwrap().marks.resumes();
    assert_eq!(on_disk, parts.shell.marks.resumes(), "the machine is told what stands on disk");
    (on_disk.len(), parts.unreadable)
}

fn loss(kind: LossKind) -> Loss {
    Loss { kind, from_commit: 1, to_commit: 2, count: 0, refilled: 0, quarantined: None, detail: String::new() }
}

#[tokio::test]
async fn a_loss_of_rows_removes_the_marks_and_a_loss_of_the_black_box_does_not() {
    let world = World::new();
    let kinds = [LossKind::Unreadable, LossKind::Missing, LossKind::Shorter, LossKind::Rows, LossKind::Mark];
    let expected: BTreeMap<LossKind, usize> =
        kinds.into_iter().map(|kind| (kind, 0)).chain([(LossKind::BlackBox, 1)]).collect();
    for (kind, left) in expected {
        let dir = tempfile::tempdir().unwrap();
        let opened = marked(dir.path()).await;
        assert_eq!(start(&world, &opened, &[loss(kind)]).await, (left, 0), "{kind:?}");
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_removes_the_marks_and_keeps_its_place() {
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    let opened = marked(dir.path()).await;
    assert_eq!(start(&world, &opened, &[]).await, (1, 0));
    let key = Key { space: Space::Inbox, class: Class::P0, seq: 41 };
    let put = Put { key, value: b"of a newer version".to_vec(), black_box: false };
    write(&opened, Batch { puts: vec![put], deletes: Vec::new(), high: 0, class: Class::P0 }).await;
    assert_eq!(start(&world, &opened, &[]).await, (0, 1));
    let kept = inbox::read(&opened.store).unwrap();
    assert_eq!((kept.high, kept.unreadable, kept.rows.len()), (41, 1, 0), "it stays on disk, and its number is taken");
}
