//! Damage in what was acknowledged: each kind, in each file, from seeds. Whatever is missing afterwards must have been reported, and
//! no alarm may be missing while its block of the black box is intact.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use huxiao_core::{Class, Rng};

use super::{NOW, child_trial, commit, config, delete, put, reopen, rows};
use crate::check::copy_database;
use crate::{Config, Key, LossKind, open};

const TRIALS: u64 = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Flip,
    Zero,
    Cut,
}

/// A closed store of some hundred commits, twice opened so that it has a snapshot, and what it holds.
fn template() -> &'static (tempfile::TempDir, BTreeMap<Key, Vec<u8>>) {
    static TEMPLATE: OnceLock<(tempfile::TempDir, BTreeMap<Key, Vec<u8>>)> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let mut rng = Rng::new(11);
        let mut held = BTreeMap::new();
        for _ in 0..2 {
            let store = reopen(dir.path()).store;
            for _ in 0..120 {
                let class = [Class::P0, Class::P1, Class::P3][usize::try_from(rng.below(3)).unwrap()];
                let seq = rng.below(if class == Class::P0 { 12 } else { 60 });
                let value: Vec<u8> = (0..20 + rng.below(10)).flat_map(|_| rng.bytes16()).collect();
                if rng.below(5) == 0 {
                    commit(&store, delete(class, seq)).unwrap();
                } else {
                    commit(&store, put(class, seq, &value)).unwrap();
                }
            }
            held = rows(&store);
            store.close();
        }
        (dir, held)
    })
}

/// The file to be damaged: a name, or the beginning of one.
fn target(store: &Path, name: &str) -> PathBuf {
    let folder = if name == "witness" { store.to_path_buf() } else { store.join("database") };
    let mut found: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(name));
    found.sort();
    found.pop().unwrap()
}

fn damage(path: &Path, kind: Kind, rng: &mut Rng) {
    let mut bytes = fs::read(path).unwrap();
    // What is only zeros at the end was never written.
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let at = |rng: &mut Rng| usize::try_from(rng.below(used as u64)).unwrap();
    match kind {
        Kind::Flip => {
            for _ in 0..=rng.below(4) {
                bytes[at(rng)] ^= 1 << rng.below(8);
            }
        }
        Kind::Zero => {
            let from = at(rng) / 512 * 512;
            let to = (from + 4_096).min(bytes.len());
            bytes[from..to].fill(0);
        }
        Kind::Cut => bytes.truncate(at(rng)),
    }
    fs::write(path, bytes).unwrap();
}

fn trials(name: &str, kind: Kind) {
    let (template, held) = template();
    let mut outcomes: BTreeMap<Option<LossKind>, u64> = BTreeMap::new();
    for seed in 0..TRIALS {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("store");
        copy_database(template.path(), &store).unwrap();
        damage(&target(&store, name), kind, &mut Rng::new(seed));
        let trial_copy_bytes = if name == "db" && seed % 4 == 0 { 0 } else { 64 << 20 };
        let config = Config { trial: child_trial(), trial_copy_bytes, ..config(&store) };
        let opened = open(&config, NOW);
        let opened = opened.unwrap_or_else(|error| panic!("{name} {kind:?} {seed}: {error}"));
        let found = rows(&opened.store);
        let missing: Vec<_> =
            held.iter().filter(|(key, value)| found.get(key) != Some(value)).map(|(key, _)| *key).collect();
        let context = format!("{name} {kind:?} {seed}: missing {missing:?}, {:?}", opened.losses);
        assert!(found.len() == held.len() && missing.is_empty() || !opened.losses.is_empty(), "silent: {context}");
        if name == "witness" {
            assert!(missing.is_empty(), "{context}");
        } else {
            assert!(missing.iter().all(|key| key.class != Class::P0), "an alarm is lost: {context}");
            let counted: u64 = opened.losses.iter().map(|loss| loss.count).sum();
            assert!(counted + found.len() as u64 >= held.len() as u64, "{context}");
        }
        assert!(opened.high >= 59 - 10, "{context}");
        *outcomes.entry(opened.losses.first().map(|loss| loss.kind)).or_default() += 1;
        // Service goes on, and the next opening has nothing new to say.
        commit(&opened.store, put(Class::P0, 1_000, b"after")).unwrap();
        let after = rows(&opened.store);
        opened.store.close();
        if seed % 10 == 0 {
            let opened = reopen(&store);
            assert_eq!((&opened.losses[..], rows(&opened.store)), (&[][..], after), "{context}");
        }
    }
    println!("{name} {kind:?}: {outcomes:?}");
}

macro_rules! damages {
    ($($test:ident $name:literal $kind:ident;)*) => { $(#[test] fn $test() { trials($name, Kind::$kind); })* };
}

damages! {
    bits_flipped_in_db "db" Flip;
    pages_zeroed_in_db "db" Zero;
    db_cut_short "db" Cut;
    bits_flipped_in_conf "conf" Flip;
    conf_zeroed "conf" Zero;
    conf_cut_short "conf" Cut;
    bits_flipped_in_snap "snap." Flip;
    pages_zeroed_in_snap "snap." Zero;
    snap_cut_short "snap." Cut;
    bits_flipped_in_witness "witness" Flip;
    pages_zeroed_in_witness "witness" Zero;
    witness_cut_short "witness" Cut;
}

#[test]
fn a_damaged_mark_is_reported_and_costs_no_row() {
    let (template, held) = template();
    for seed in 0..TRIALS {
        let mut rng = Rng::new(seed);
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("store");
        copy_database(template.path(), &store).unwrap();
        let mut bytes = fs::read(store.join("witness")).unwrap();
        let slots = 1 + rng.below(3);
        for slot in 0..2 {
            if slots & (1 << slot) != 0 {
                bytes[slot * 4_096 + usize::try_from(rng.below(70)).unwrap()] ^= 1 << rng.below(8);
            }
        }
        fs::write(store.join("witness"), bytes).unwrap();
        let opened = reopen(&store);
        let kinds: Vec<_> = opened.losses.iter().map(|loss| loss.kind).collect();
        // With one slot left it cannot be told whether a commit is missing or only the mark of it: then it is said to be.
        let expected = if slots == 3 { LossKind::Mark } else { LossKind::Shorter };
        let newest_gone = kinds.is_empty() && slots != 3;
        assert!(newest_gone || kinds == [expected], "seed {seed}, slots {slots}: {kinds:?}");
        assert_eq!(&rows(&opened.store), held);
    }
}
