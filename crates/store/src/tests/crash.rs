//! Children: the trial's, and a writer that is killed.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use huxiao_core::{Class, Rng};

use super::{child, commit, config, delete, put, rows};
use crate::{Batch, Config, Trial, check, open};

/// The last argument of a child.
fn folder() -> PathBuf {
    let last = std::env::args_os().next_back().map(PathBuf::from);
    last.filter(|path| path.is_dir())
        .expect("other tests run this one as their child, with a folder as the last argument")
}

#[test]
#[ignore = "other tests run it as their child process"]
fn child_that_checks() {
    println!("\n{}", serde_json::to_string(&check(&folder())).unwrap());
}

/// What the writing child does in its step `step`, from a seed: the parent makes the same to know what must be there.
fn step(seed: u64, step: u64) -> Batch {
    let mut rng = Rng::new(seed ^ (step << 32));
    let class = [Class::P0, Class::P1, Class::P4][usize::try_from(rng.below(3)).unwrap()];
    if rng.below(4) == 0 {
        return delete(class, rng.below(40));
    }
    let length = usize::try_from(rng.below(600)).unwrap();
    put(class, rng.below(40), &vec![u8::try_from(step % 251).unwrap(); length])
}

#[test]
#[ignore = "other tests run it as their child process"]
fn child_that_writes() {
    let dir = folder();
    let seed = u64::from(std::fs::read(dir.join("seed")).unwrap()[0]);
    let store = open(&config(&dir.join("store")), super::NOW).unwrap().store;
    println!();
    for number in 1.. {
        commit(&store, step(seed, number)).unwrap();
        println!("{number}");
        std::io::stdout().flush().unwrap();
    }
}

#[test]
fn a_writer_killed_at_any_point_loses_nothing_acknowledged() {
    for seed in 0..20_u8 {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("seed"), [seed]).unwrap();
        let Trial::Child { program, args } = child("tests::crash::child_that_writes") else { unreachable!() };
        let mut child = Command::new(program).args(args).arg(dir.path()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let until = 1 + u64::from(seed) * 7;
        let mut last = 0;
        while last < until {
            let line = lines.next().expect("the child ends only when it is killed");
            last = line.trim().parse().unwrap_or(last);
        }
        std::thread::sleep(Duration::from_micros(u64::from(seed) * 137));
        child.kill().unwrap();
        child.wait().unwrap();
        last = lines.filter_map(|line| line.trim().parse().ok()).fold(last, u64::max);

        let opened = open(&Config { ..config(&dir.path().join("store")) }, super::NOW).unwrap();
        assert_eq!(opened.losses, [], "seed {seed}");
        let found = rows(&opened.store);
        // The step after the last acknowledged one may have reached the disk too.
        let holds = |steps: u64| {
            let mut expected = std::collections::BTreeMap::new();
            for number in 1..=steps {
                let batch = step(u64::from(seed), number);
                batch.deletes.iter().for_each(|key| drop(expected.remove(key)));
                expected.extend(batch.puts.into_iter().map(|put| (put.key, put.value)));
            }
            found == expected
        };
        assert!(holds(last) || holds(last + 1), "seed {seed}, {last} steps acknowledged");
    }
}
