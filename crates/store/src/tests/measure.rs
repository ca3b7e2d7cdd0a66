use super::*;
use std::time::Instant;
#[test]
fn measure() {
    let base = std::env::var("MEASURE").unwrap();
    let dir = tempfile::tempdir_in(base).unwrap();
    let f = std::fs::File::create(dir.path().join("plain")).unwrap();
    use std::os::unix::fs::FileExt;
    let mut t = vec![];
    for i in 0..1000u64 {
        let b = Instant::now();
        f.write_all_at(&[7; 300], i * 300).unwrap();
        f.sync_data().unwrap();
        t.push(b.elapsed());
    }
    t.sort();
    println!("plain append+fdatasync p50 {:?} p99 {:?}", t[500], t[990]);
    let split = std::sync::Arc::new(std::sync::Mutex::new(vec![]));
    let sp = split.clone();
    let store = open(
        &Config {
            observe: Some(std::sync::Arc::new(move |o| {
                if let crate::Observation::Synced { took, database, .. } = o {
                    sp.lock().unwrap().push((database, took - database));
                }
            })),
            ..config(&dir.path().join("s"))
        },
        NOW,
    )
    .unwrap()
    .store;
    for class in [Class::P1, Class::P0] {
        let mut t = vec![];
        for i in 0..1000u64 {
            let b = Instant::now();
            commit(&store, put(class, i, &[7; 300])).unwrap();
            t.push(b.elapsed());
        }
        let (mut d, mut w): (Vec<_>, Vec<_>) = split.lock().unwrap().drain(..).unzip();
        d.sort();
        w.sort();
        println!("database p50 {:?} witness p50 {:?}", d[d.len() / 2], w[w.len() / 2]);
        t.sort();
        println!("{class} p50 {:?} p99 {:?} max {:?}", t[500], t[990], t[999]);
    }
    for writers in [64u64] {
        let b = Instant::now();
        std::thread::scope(|s| {
            for w in 0..writers {
                let store = store.clone();
                s.spawn(move || {
                    for i in 0..200 {
                        commit(&store, put(Class::P1, 100_000 + w * 1000 + i, &[7; 300])).unwrap();
                    }
                });
            }
        });
        println!("{writers} writers: {:.0}/s", (writers * 200) as f64 / b.elapsed().as_secs_f64());
    }
    let n = rows(&store).len();
    println!("rows {n} bytes {}", store.health().bytes);
    store.close();
    for trial in [Trial::InProcess, child_trial()] {
        let b = Instant::now();
        let o = open(&Config { trial, ..config(&dir.path().join("s")) }, NOW).unwrap();
        println!("reopen {:?} losses {}", b.elapsed(), o.losses.len());
        o.store.close();
    }
}
#[test]
fn fill() {
    let base = std::env::var("FILL").unwrap();
    let dir = Path::new(&base).join("s");
    let cfg = || Config { ballast_bytes: 4 << 20, black_box_blocks: 64, ..Config::new(&dir, Trial::InProcess) };
    let o = open(&cfg(), NOW).unwrap();
    o.store.canary().unwrap();
    println!("{:?} {:?}", o, o.store.health());
    let (mut i, mut kinds, mut ok) = (0u64, BTreeMap::<String, u64>::new(), vec![]);
    let b = Instant::now();
    while i < 200_000 && b.elapsed().as_secs() < 60 {
        i += 1;
        let class = if i % 2 == 0 { Class::P0 } else { Class::P1 };
        let mut batch = put(class, i, &vec![(i % 251) as u8; (i * 37 % 3000) as usize]);
        batch.puts.extend((0..6).map(|n| Put {
            key: key(Class::P2, i * 10 + n),
            value: vec![3; std::env::var("LEN").unwrap().parse().unwrap()],
            black_box: false,
        }));
        let r = commit(&o.store, batch);
        if r.is_ok() {
            ok.push((class, i));
        }
        if i % 50 == 0 {
            println!("{i} {r:?} {:?}", o.store.health().state);
        }
        let stop = r == Err(CommitError::DiskFull);
        *kinds.entry(format!("{r:?}")).or_default() += 1;
        if stop {
            break;
        }
    }
    println!("{kinds:?} after {i} {:?}", o.store.health());
    o.store.close();
    let o = open(&cfg(), NOW);
    match o {
        Ok(o) => {
            println!("{:?} {:?}", o, o.store.health());
            for (c, i) in &ok {
                assert!(o.store.get(key(*c, *i)).unwrap().is_some());
            }
            let mut left: Vec<Key> = rows(&o.store).into_keys().collect();
            println!("rows {}", left.len());
            let mut n = 0;
            while !left.is_empty() {
                let some: Vec<_> = left.split_off(left.len().saturating_sub(10));
                n += 1;
                let r = commit(&o.store, Batch { puts: vec![], deletes: some, high: 0, class: Class::P1 });
                if n % 30 == 1 || r.is_err() {
                    println!("{n} {r:?} {:?}", o.store.health());
                    if r.is_err() {
                        break;
                    }
                }
            }
            for _ in 0..3 {
                o.store.canary().ok();
                std::thread::sleep(std::time::Duration::from_secs(6));
                o.store.health();
            }
            println!("after deletes {:?}", o.store.health());
        }
        Err(e) => panic!("{e}"),
    }
}
