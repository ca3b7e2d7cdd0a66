//! The victim: a process that opens a store, says what it found, and then commits until the power goes.
//!
//! It speaks in lines: `opened {json}`, `row SPACE CLASS NUMBER HASH` for each row, `rows COUNT`, `ack PRODUCER STEP` for each commit
//! that is acknowledged, `end WHY`.
//!
//! Invariant: `ack` is written by `done(Ok)` and by nothing else (for plain sled: after its `flush` returned).

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;

use huxiao_core::WallTime;
use huxiao_store::{Config, Key, Space, Store, Trial, Usage};
use serde_json::json;

use super::script::{PRODUCERS, Profile, Role, Script, WINDOW, hash};

/// The first argument of a process that is to be a victim.
pub const ARGUMENT: &str = "power-cut-victim";
/// The clock stands still, so an epoch that rises has risen by what is on the disk.
const NOW: WallTime = WallTime(1_000_000);
/// How often the first producer lets a canary through.
const CANARY_STEPS: u64 = 40;

/// What keeps the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Our store.
    Ours,
    /// sled by itself, as its documentation says to use it.
    Sled,
}

/// What the victim is told.
#[derive(Debug, Clone)]
pub struct Order {
    /// What keeps the rows.
    pub engine: Engine,
    /// Whether it goes on to write; else it closes and ends.
    pub write: bool,
    /// Where the disk is mounted.
    pub mount: PathBuf,
    /// Whose rows.
    pub role: Role,
    /// Which rows.
    pub profile: Profile,
    /// The seed of the scripts.
    pub seed: u64,
}

impl Order {
    /// As arguments, [`ARGUMENT`] first.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut out = vec![ARGUMENT.to_owned(), format!("{:?}", self.engine), self.write.to_string()];
        out.push(self.mount.to_str().unwrap().to_owned());
        out.extend([self.role.as_str().to_owned(), self.profile.as_str().to_owned(), self.seed.to_string()]);
        out
    }

    fn parse(arguments: &[String]) -> Option<Self> {
        let [engine, write, mount, role, profile, seed] = arguments else { return None };
        Some(Self {
            engine: if engine == "Sled" { Engine::Sled } else { Engine::Ours },
            write: write == "true",
            mount: mount.into(),
            role: Role::ALL.into_iter().find(|it| it.as_str() == role)?,
            profile: Profile::ALL.into_iter().find(|it| it.as_str() == profile)?,
            seed: seed.parse().ok()?,
        })
    }

    /// The folder of the store: two levels that do not exist at first, as on a node that starts for the first time.
    fn dir(&self) -> PathBuf {
        self.mount.join("data").join("store")
    }

    /// Waits to be told after which step each producer goes on, and gives their scripts from there.
    fn scripts(&self) -> Vec<(u64, Script)> {
        let mut told = String::new();
        let heard = std::io::stdin().read_line(&mut told);
        let from: Vec<u64> = told.split_whitespace().filter_map(|step| step.parse().ok()).collect();
        if heard.is_err() || from.len() as u64 != PRODUCERS {
            end("it was not told where to go on");
        }
        let script =
            |(producer, from)| (producer, Script::new(self.role, self.profile, self.seed, producer).advanced(from));
        (0..PRODUCERS).zip(from).map(script).collect()
    }
}

/// Runs the victim if these are its arguments (without the program's name); then it does not come back.
pub fn run_if_asked(arguments: &[String]) {
    if arguments.first().is_none_or(|first| first != ARGUMENT) {
        return;
    }
    std::panic::set_hook(Box::new(|info| say(&format!("note {}", info.to_string().replace('\n', " ")))));
    let order = Order::parse(&arguments[1..]).unwrap_or_else(|| end("the order cannot be read"));
    match order.engine {
        Engine::Ours => ours(&order),
        Engine::Sled => plain_sled(&order),
    }
}

/// Writes a line whole, and at once.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody may be reading any more.
    let _ = out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush());
}

/// Ends the process without closing anything, as the power would.
fn end(why: &str) -> ! {
    say(&format!("end {why}"));
    std::process::exit(0)
}

fn say_row(key: Key, value: &[u8]) {
    say(&format!("row {} {} {} {}", key.space as u8, key.class.number(), key.seq, hash(value)));
}

fn ours(order: &Order) -> ! {
    let mut config = Config::new(order.dir(), Trial::InProcess);
    config.ballast_bytes = 1 << 20;
    // Few, so that the ring is written over many times.
    config.black_box_blocks = 64;
    if order.profile == Profile::Tight {
        config.probe = Arc::new(|_: &Path| Ok(Usage { free: 60 << 20, total: 1 << 30 }));
    }
    let opened = huxiao_store::open(&config, NOW).unwrap_or_else(|error| end(&format!("opening: {error}")));
    let (epoch, high, refilled) = (opened.epoch, opened.high, opened.refilled);
    say(&format!("opened {}", json!({"epoch": epoch, "high": high, "refilled": refilled, "losses": opened.losses})));
    let store = opened.store;
    let mut rows = 0;
    for space in Space::ALL {
        let scanned = store.scan(space, |key, value| {
            check_row(key, value);
            say_row(key, value);
            rows += 1;
            ControlFlow::Continue(())
        });
        scanned.unwrap_or_else(|error| end(&format!("scanning: {error}")));
    }
    say(&format!("rows {rows}"));
    if !order.write {
        store.close();
        end("closed");
    }
    thread::scope(|scope| {
        for (producer, script) in order.scripts() {
            let store = store.clone();
            scope.spawn(move || produce(&store, producer, script));
        }
    });
    end("the producers stopped")
}

/// What the role itself would do with the row at its start.
fn check_row(key: Key, value: &[u8]) {
    let error = match key.space {
        Space::Meta | Space::Archive => None,
        Space::Outbox => huxiao_wire::decode_relay_row(value).err(),
        Space::Inbox => huxiao_wire::decode_inbox_row(value).err(),
        Space::Record | Space::Journal => huxiao_wire::decode_command(value).err(),
    };
    if let Some(error) = error {
        end(&format!("row {key} cannot be decoded: {error}"));
    }
}

fn produce(store: &Store, producer: u64, mut script: Script) {
    let (give, take) = mpsc::channel();
    for _ in 0..WINDOW {
        give.send(()).unwrap();
    }
    while take.recv().is_ok() {
        let batch = script.step();
        let (step, give) = (script.steps(), give.clone());
        store.commit(batch, move |done| match done {
            Ok(()) => {
                say(&format!("ack {producer} {step}"));
                // The producer waits for it as long as it lives.
                let _ = give.send(());
            }
            Err(error) => end(&format!("commit: {error}")),
        });
        if producer == 0 && step % CANARY_STEPS == 0 {
            store.canary().unwrap_or_else(|error| end(&format!("canary: {error}")));
        }
    }
}

fn plain_sled(order: &Order) -> ! {
    let dir = order.dir();
    let db = sled::open(&dir).unwrap_or_else(|error| end(&format!("opening: {error}")));
    // What is shown is what `flush` does to rows. So all that the opening made is synced by hand, names and files.
    sync_all(&order.mount).unwrap_or_else(|error| end(&format!("syncing: {error}")));
    say("opened {}");
    let mut rows = 0;
    for row in db.iter() {
        let (key, value) = row.unwrap_or_else(|error| end(&format!("scanning: {error}")));
        let key = Key::decode(&key).unwrap_or_else(|| end("a key is no key"));
        say_row(key, &value);
        rows += 1;
    }
    say(&format!("rows {rows}"));
    if !order.write {
        end("closed");
    }
    thread::scope(|scope| {
        for (producer, mut script) in order.scripts() {
            let db = &db;
            scope.spawn(move || {
                loop {
                    let batch = script.step();
                    let mut changes = sled::Batch::default();
                    batch.deletes.iter().for_each(|key| changes.remove(&key.encode()));
                    batch.puts.into_iter().for_each(|put| changes.insert(&put.key.encode(), put.value));
                    let done = db.apply_batch(changes).and_then(|()| db.flush());
                    done.unwrap_or_else(|error| end(&format!("flush: {error}")));
                    say(&format!("ack {producer} {}", script.steps()));
                }
            });
        }
    });
    end("the producers stopped")
}

fn sync_all(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_all(&path)?;
        } else {
            std::fs::File::open(&path)?.sync_all()?;
        }
    }
    std::fs::File::open(dir)?.sync_all()
}
