//! The names in all folders: as processes see them, and as the disk holds them.
//!
//! The strict rule: a name that was made, moved or removed is durable when its **folder** was synced, and not before. Syncing the
//! file is not enough, as it happens to be on ext4: POSIX does not promise it.
//!
//! Invariants: a rename happens whole or not at all, also between two folders; what happened to one name or to one file stays in
//! order. All else is free: of two new files the second may survive without the first.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

use huxiao_core::Rng;

use super::contents::Mood;
use super::disk::Ino;

type Folder = BTreeMap<OsString, Ino>;

/// One change of names: what each stands for from then on.
#[derive(Debug, Clone)]
struct Change {
    sets: Vec<(Ino, OsString, Option<Ino>)>,
    /// The files that it is about.
    about: Vec<Ino>,
}

impl Change {
    /// Whether one of the two must not come before the other.
    fn touches(&self, other: &Self) -> bool {
        let same_name = |(folder, name, _): &(Ino, OsString, Option<Ino>)| {
            other.sets.iter().any(|(folder2, name2, _)| folder == folder2 && name == name2)
        };
        self.sets.iter().any(same_name) || self.about.iter().any(|ino| other.about.contains(ino))
    }

    fn apply(&self, folders: &mut BTreeMap<Ino, Folder>) {
        for (folder, name, ino) in &self.sets {
            let names = folders.entry(*folder).or_default();
            match ino {
                Some(ino) => names.insert(name.clone(), *ino),
                None => names.remove(name),
            };
        }
    }
}

/// The names in all folders.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    visible: BTreeMap<Ino, Folder>,
    durable: BTreeMap<Ino, Folder>,
    pending: Vec<Change>,
}

impl Names {
    /// What `name` stands for in `folder`.
    pub(super) fn get(&self, folder: Ino, name: &OsStr) -> Option<Ino> {
        self.visible.get(&folder)?.get(name).copied()
    }

    /// All names in `folder`.
    pub(super) fn list(&self, folder: Ino) -> Vec<(OsString, Ino)> {
        self.visible.get(&folder).into_iter().flatten().map(|(name, ino)| (name.clone(), *ino)).collect()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self, folder: Ino) -> bool {
        self.visible.get(&folder).is_none_or(BTreeMap::is_empty)
    }

    /// Gives `ino` this name.
    pub(super) fn link(&mut self, folder: Ino, name: &OsStr, ino: Ino) {
        self.change(Change { sets: vec![(folder, name.to_owned(), Some(ino))], about: vec![ino] });
    }

    /// Takes this name from `ino`.
    pub(super) fn unlink(&mut self, folder: Ino, name: &OsStr, ino: Ino) {
        self.change(Change { sets: vec![(folder, name.to_owned(), None)], about: vec![ino] });
    }

    /// Moves `ino` from one name to another, over whatever bore that.
    pub(super) fn rename(&mut self, from: (Ino, &OsStr), to: (Ino, &OsStr), ino: Ino) {
        let about = [Some(ino), self.get(to.0, to.1)].into_iter().flatten().collect();
        let mut sets = vec![(from.0, from.1.to_owned(), None), (to.0, to.1.to_owned(), Some(ino))];
        if from == to {
            sets.remove(0);
        }
        self.change(Change { sets, about });
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.visible);
        self.pending.push(change);
    }

    /// Makes the names in `folder` durable, and with them what must not come later than they.
    pub(super) fn sync(&mut self, folder: Ino) {
        let mut chosen = vec![false; self.pending.len()];
        for at in (0..self.pending.len()).rev() {
            let change = &self.pending[at];
            let later = (at + 1..self.pending.len()).any(|n| chosen[n] && self.pending[n].touches(change));
            chosen[at] = later || change.sets.iter().any(|(in_folder, _, _)| *in_folder == folder);
        }
        let mut chosen = chosen.into_iter();
        let durable = &mut self.durable;
        self.pending.retain(|change| {
            let done = chosen.next().unwrap_or(false);
            if done {
                change.apply(durable);
            }
            !done
        });
    }

    /// The power goes: some changes that were not synced survive.
    pub(super) fn cut(&mut self, mood: Mood, rng: &mut Rng) {
        let mut lost: Vec<Change> = Vec::new();
        for change in std::mem::take(&mut self.pending) {
            if mood.keeps(rng) && !lost.iter().any(|earlier| earlier.touches(&change)) {
                change.apply(&mut self.durable);
            } else {
                lost.push(change);
            }
        }
    }

    /// The names as they are found when the power is back, and all that can be reached by them.
    pub(super) fn survivors(&self, root: Ino) -> (Self, BTreeSet<Ino>) {
        let (mut reached, mut folders) = (BTreeSet::from([root]), BTreeMap::new());
        let mut open = vec![root];
        while let Some(folder) = open.pop() {
            let Some(names) = self.durable.get(&folder) else { continue };
            folders.insert(folder, names.clone());
            open.extend(names.values().filter(|ino| reached.insert(**ino)));
        }
        (Self { visible: folders.clone(), durable: folders, pending: Vec::new() }, reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ino = 1;
    const B: Ino = 2;

    fn os(name: &str) -> &OsStr {
        OsStr::new(name)
    }

    fn after(names: &Names, mood: Mood, seed: u64) -> BTreeMap<(Ino, String), Ino> {
        let mut names = names.clone();
        names.cut(mood, &mut Rng::new(seed));
        let of = |(folder, names): (&Ino, &Folder)| {
            let folder = *folder;
            let named = names.iter().map(move |(name, ino)| ((folder, name.to_str().unwrap().to_owned()), *ino));
            named.collect::<Vec<_>>()
        };
        names.durable.iter().flat_map(of).collect()
    }

    #[test]
    fn a_name_is_durable_when_its_folder_was_synced() {
        let mut names = Names::default();
        names.link(A, os("x"), 10);
        assert!(after(&names, Mood::Nothing, 1).is_empty());
        names.sync(B);
        assert!(after(&names, Mood::Nothing, 1).is_empty());
        names.sync(A);
        assert_eq!(after(&names, Mood::Nothing, 1), BTreeMap::from([((A, "x".into()), 10)]));
        names.unlink(A, os("x"), 10);
        assert_eq!(after(&names, Mood::Nothing, 1).len(), 1);
    }

    #[test]
    fn a_rename_is_whole_and_never_leaves_two_names_or_none() {
        let mut names = Names::default();
        names.link(A, os("old"), 10);
        names.link(A, os("new"), 11);
        names.sync(A);
        names.rename((A, os("new")), (B, os("moved")), 11);
        names.rename((B, os("moved")), (A, os("old")), 11);
        let mut seen = BTreeSet::new();
        for seed in 0..100 {
            let found = after(&names, Mood::Some(50), seed);
            assert_eq!(found.values().filter(|ino| **ino == 11).count(), 1, "seed {seed}: {found:?}");
            seen.insert(format!("{found:?}"));
        }
        assert_eq!(seen.len(), 3, "before, between, after: {seen:?}");
        names.sync(B);
        assert_eq!(after(&names, Mood::Nothing, 1).len(), 1, "the rename back counts among the changes of its folder");
    }

    #[test]
    fn unrelated_names_survive_in_any_order() {
        let mut names = Names::default();
        names.link(A, os("first"), 10);
        names.link(A, os("second"), 11);
        let found: Vec<_> = (0..100).map(|seed| after(&names, Mood::Some(50), seed)).collect();
        assert!(found.iter().any(|names| names.len() == 1 && names.contains_key(&(A, "second".into()))));
    }
}
