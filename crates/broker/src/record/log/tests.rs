//! The log after a power cut behind any record, and what it refuses.

use std::sync::mpsc;

use openraft::Membership;
use openraft::alias::VoteOf;
use openraft::storage::RaftLogStorageExt as _;
use openraft::type_config::TypeConfigExt as _;
use proptest::prelude::*;

use super::*;
use crate::record::types::{Member, log_id};

/// A disk that keeps records in memory, in their order, and may tell of none of them.
#[derive(Clone, Default)]
struct Notebook {
    records: Arc<Mutex<Vec<Record>>>,
    /// Where the records stood when somebody was told that a change was there.
    told: Arc<Mutex<Vec<usize>>>,
    purged: Arc<Mutex<Vec<u64>>>,
}

impl LogDisk for Notebook {
    fn append(&self, records: Vec<Record>, done: Done) {
        let mut all = self.records.lock().unwrap();
        all.extend(records);
        self.told.lock().unwrap().push(all.len());
        done(Ok(()));
    }

    fn purge(&self, upto: u64, done: Done) {
        self.purged.lock().unwrap().push(upto);
        done(Ok(()));
    }
}

impl Notebook {
    fn recover(records: &[Record]) -> Result<LogStore<Notebook>, LogError> {
        LogStore::recover(Notebook::default(), records.iter().cloned())
    }
}

fn entry(term: u64, index: u64) -> Entry {
    let command = format!("{term}.{index}");
    Entry { log_id: log_id(term, 1, index), payload: EntryPayload::Normal(Proposal(command.into())) }
}

fn founding() -> Entry {
    let member = |id: u64| (id, Member { name: format!("b{id}"), addr: format!("10.0.0.{id}:7443") });
    let members =
        Membership::new(vec![[1, 2].into()], std::collections::BTreeMap::from([1, 2, 3].map(member))).unwrap();
    Entry { log_id: log_id(0, 0, 0), payload: EntryPayload::Membership(members) }
}

/// What may happen to a log.
#[derive(Debug, Clone)]
enum Step {
    Vote(u64),
    Append(u64),
    /// So many of the last entries go.
    Cut(u64),
    /// All but so many go.
    Purge(u64),
    /// Everything goes, and the log goes on so much farther on: a snapshot came.
    Leap(u64),
    Commit,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (1..5_u64).prop_map(Step::Vote),
        (1..6_u64).prop_map(Step::Append),
        (1..6_u64).prop_map(Step::Append),
        (0..4_u64).prop_map(Step::Cut),
        (0..6_u64).prop_map(Step::Purge),
        (1..9_u64).prop_map(Step::Leap),
        Just(Step::Commit),
    ];
    prop::collection::vec(step, 0..40)
}

/// All that a log says of itself.
#[derive(Debug, Clone, PartialEq)]
struct Says {
    vote: Option<Vote>,
    purged: Option<LogId>,
    entries: Vec<Entry>,
}

async fn says<D: LogDisk>(log: &mut LogStore<D>) -> Says {
    Says {
        vote: log.read_vote().await.unwrap(),
        purged: log.purged(),
        entries: log.try_get_log_entries(..).await.unwrap(),
    }
}

async fn carry_out<D: LogDisk>(log: &mut LogStore<D>, step: &Step, term: &mut u64) {
    let last = log.last();
    match step {
        Step::Vote(more) => {
            *term += more;
            log.save_vote(&VoteOf::<TypeConfig>::new_committed(*term, 1)).await.unwrap();
        }
        Step::Append(count) => {
            let first = last.map_or(0, |last| last.index + 1);
            let entries = (first..first + count).map(|index| if index == 0 { founding() } else { entry(*term, index) });
            log.blocking_append(entries.collect::<Vec<_>>()).await.unwrap();
        }
        Step::Cut(count) => {
            let kept = last.and_then(|last| (last.index + 1).checked_sub(count + 1));
            let kept = kept.map(|kept| kept.max(log.purged().map_or(0, |purged| purged.index)));
            let id = log.try_get_log_entries(..).await.unwrap().into_iter().map(|entry| entry.log_id);
            let id = id.chain(log.purged()).find(|id| Some(id.index) == kept);
            if id.is_some() || log.purged().is_none() {
                log.truncate_after(id).await.unwrap();
                *term += 1;
            }
        }
        Step::Purge(kept) => {
            let entries = log.try_get_log_entries(..).await.unwrap();
            let upto = entries.len().checked_sub(usize::try_from(*kept).unwrap() + 1).map(|at| entries[at].log_id);
            if let Some(upto) = upto {
                log.purge(upto).await.unwrap();
            }
        }
        Step::Leap(farther) => {
            let to = last.map_or(0, |last| last.index) + farther;
            log.purge(log_id(*term, 1, to)).await.unwrap();
        }
        Step::Commit => log.save_committed(last).await.unwrap(),
    }
}

proptest! {
    /// After a power cut behind any record, the log is what it was at some moment no earlier than the last of which somebody
    /// was told, and it takes up the next entry.
    #[test]
    fn a_log_cut_behind_any_record_is_one_that_there_was(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let disk = Notebook::default();
            let mut log = Notebook::recover(&[]).unwrap();
            log.disk = disk.clone();
            let mut moments = vec![(0, says(&mut log).await)];
            let mut term = 1;
            for step in &steps {
                carry_out(&mut log, step, &mut term).await;
                let written = disk.records.lock().unwrap().len();
                moments.push((written, says(&mut log).await));
            }
            let records = disk.records.lock().unwrap().clone();
            let told = disk.told.lock().unwrap().clone();
            for (at, now) in &moments {
                let mut again = Notebook::recover(&records[..*at]).unwrap();
                prop_assert_eq!(&says(&mut again).await, now);
                prop_assert!(again.committed() <= again.last());
            }
            for cut in 0..=records.len() {
                let mut again = Notebook::recover(&records[..cut]).unwrap();
                let promised = told.iter().copied().filter(|told| *told <= cut).max().unwrap_or(0);
                let after = says(&mut again).await;
                // Records of one append come whole or not at all, so a cut within one is between two moments.
                let last = after.entries.last().map(|entry| entry.log_id).max(after.purged);
                let until = moments.iter().filter(|(at, _)| *at >= promised).map(|(_, says)| says);
                let grows = until.clone().any(|then| then.purged >= after.purged && then.vote >= after.vote);
                prop_assert!(grows, "{:?} was never", after);
                prop_assert_eq!(again.last(), last);
                let next = again.last().map_or(0, |last| last.index + 1);
                again.blocking_append([entry(term, next)]).await.unwrap();
            }
            Ok(())
        })?;
    }

    /// The front of the log goes in whole segments, and what is left begins with copies of the facts; so a log may begin anywhere.
    #[test]
    fn a_log_whose_purged_front_is_gone_is_the_same(steps in steps(), at in any::<prop::sample::Index>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let disk = Notebook::default();
            let mut log = Notebook::recover(&[]).unwrap();
            log.disk = disk.clone();
            let mut term = 1;
            for step in &steps {
                carry_out(&mut log, step, &mut term).await;
            }
            let records = disk.records.lock().unwrap().clone();
            let upto = disk.purged.lock().unwrap().iter().copied().max();
            let sticky = |record: &&Record| STICKY.contains(&record.kind);
            let may_go = records.iter().take_while(|record| sticky(record) || Some(record.index) <= upto).count();
            let gone = at.index(may_go + 1);
            let mut facts: Vec<Record> = Vec::new();
            for record in records[..gone].iter().filter(sticky) {
                facts.retain(|fact| fact.kind != record.kind);
                facts.push(record.clone());
            }
            let left: Vec<Record> = facts.into_iter().chain(records[gone..].iter().cloned()).collect();
            let mut again = Notebook::recover(&left).unwrap();
            prop_assert_eq!(says(&mut again).await, says(&mut log).await);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_mark_of_what_is_committed_rides_along_and_is_brought_to_disk_when_idle() {
    let disk = Notebook::default();
    let mut log = Notebook::recover(&[]).unwrap();
    log.disk = disk.clone();
    let written = || disk.records.lock().unwrap().len();
    log.blocking_append([founding(), entry(1, 1)]).await.unwrap();
    log.save_committed(Some(log_id(0, 0, 0))).await.unwrap();
    assert_eq!(written(), 2);
    log.blocking_append([entry(1, 2)]).await.unwrap();
    assert_eq!(written(), 4);
    log.save_committed(Some(log_id(1, 1, 2))).await.unwrap();
    log.tend();
    log.tend();
    assert_eq!(written(), 5);
    let again = Notebook::recover(&disk.records.lock().unwrap()).unwrap();
    assert_eq!(again.committed(), Some(log_id(1, 1, 2)));
}

#[tokio::test]
async fn a_hole_is_refused_in_memory_and_on_disk() {
    let mut log = Notebook::recover(&[]).unwrap();
    log.blocking_append([founding()]).await.unwrap();
    let error = log.blocking_append([entry(1, 2)]).await.unwrap_err();
    assert!(error.to_string().contains("where entry 1 should be"), "{error}");
    assert_eq!(log.last(), Some(log_id(0, 0, 0)), "nothing of it is there");
    let record = |entry: &Entry| {
        let bytes = encode_entry(&entry_out(entry).unwrap());
        Record { kind: ENTRY, index: entry.log_id.index, bytes }
    };
    let hole = [record(&founding()), record(&entry(1, 2))];
    assert_eq!(Notebook::recover(&hole).err(), Some(LogError::Hole { expected: 1, found: 2 }));
    let headless = [record(&entry(1, 5))];
    assert_eq!(Notebook::recover(&headless).err(), Some(LogError::Hole { expected: 0, found: 5 }));
}

#[test]
fn a_record_that_this_version_does_not_know_stops_the_opening() {
    let odd = Record { kind: 77, index: 1, bytes: Vec::new() };
    let error = Notebook::recover(&[odd]).err().unwrap().to_string();
    assert!(error.contains("kind 77") && error.contains("start that version"), "{error}");
    let torn = Record { kind: ENTRY, index: 1, bytes: vec![0xFF, 0xFF] };
    assert!(matches!(Notebook::recover(&[torn]), Err(LogError::Unreadable { at: 1, kind: ENTRY, .. })));
}

#[tokio::test]
async fn a_reading_of_much_stops_early_but_never_empty() {
    let mut log = Notebook::recover(&[]).unwrap();
    let large = |index| Entry {
        log_id: log_id(1, 1, index),
        payload: EntryPayload::Normal(Proposal(vec![0; READ_BYTES / 2].into())),
    };
    log.blocking_append((0..10).map(large).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(log.limited_get_log_entries(3, 9).await.unwrap().len(), 1);
    assert_eq!(log.try_get_log_entries(3..9).await.unwrap().len(), 6);
    assert_eq!(log.size(), LogSize { entries: 10, bytes: 5 * READ_BYTES });
    log.truncate_after(Some(log_id(1, 1, 6))).await.unwrap();
    log.purge(log_id(1, 1, 4)).await.unwrap();
    assert_eq!(log.size(), LogSize { entries: 2, bytes: READ_BYTES });
}

#[test]
fn nobody_is_told_before_the_disk_is() {
    #[derive(Clone)]
    struct Slow(mpsc::Sender<Done>);
    impl LogDisk for Slow {
        fn append(&self, _: Vec<Record>, done: Done) {
            self.0.send(done).unwrap();
        }
        fn purge(&self, _: u64, done: Done) {
            self.0.send(done).unwrap();
        }
    }
    let (sender, waiting) = mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut log = LogStore::recover(Slow(sender), []).unwrap();
        let (tell, mut told) = TypeConfig::oneshot();
        log.append([founding()], IOFlushed::signal(tell)).await.unwrap();
        assert_eq!(log.try_get_log_entries(0..1).await.unwrap().len(), 1, "readable at once");
        assert!(told.try_recv().is_err());
        waiting.recv().unwrap()(Ok(()));
        told.await.unwrap().unwrap();
        let mut voting = log.clone();
        let vote = tokio::spawn(async move { voting.save_vote(&VoteOf::<TypeConfig>::new(1, 1)).await });
        tokio::task::yield_now().await;
        assert!(!vote.is_finished());
        waiting.recv().unwrap()(Err(WalError::Full));
        assert_eq!(vote.await.unwrap().unwrap_err().kind(), io::ErrorKind::StorageFull);
    });
}
