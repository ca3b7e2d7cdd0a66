//! Nodes of an older minor beside this one: what they said is on record in `tests/recorded`, byte for byte, and is played to today's
//! machines; and what today's machines say to them is held against what they know.
//!
//! `minor-2.txt`, `minor-3.txt` and `minor-4.txt` were written by [`record`], compiled against the last versions that spoke those minors (in minor 2, a node was told of commits in
//! another shape: see [`room`]). Before a minor is raised, the recording of the one before it is made in the same way, and added:
//! `cargo test -p huxiao-wire --test wire recorded::record -- --ignored`. A recording is never changed.

mod known;
mod play;
mod room;

use std::fmt::Write as _;
use std::path::PathBuf;

use huxiao_core::WIRE_MINOR;

/// Minors of which there is a recording.
const OLDER: [u32; 3] = [2, 3, 4];

fn file(minor: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/recorded/minor-{minor}.txt"))
}

/// A recording: who said it to whom, and its bytes, in the order in which they were said.
fn recording(minor: u32) -> Vec<room::Said> {
    let text = std::fs::read_to_string(file(minor)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let said = lines.map(|line| {
        let (who, digits) = line.split_once(' ').unwrap();
        let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        (who.to_owned(), pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect())
    });
    said.collect()
}

#[test]
#[ignore = "writes the recording of the minor that this version speaks"]
fn record() {
    let mut room = room::Room::new();
    room.run();
    let mut text = format!(
        "# What one school, one node and two seats of wire minor {WIRE_MINOR} said to each other about one alarm.\n"
    );
    for (who, bytes) in &room.said {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{who} {digits}").unwrap();
    }
    std::fs::write(file(WIRE_MINOR), text).unwrap();
}

/// A recording that lacked half of what is said would show half as much.
#[test]
fn a_recording_has_all_that_is_said_about_an_alarm() {
    for minor in OLDER {
        for who in ["relay>node", "seat-1>node", "seat-2>node", "node>relay", "node>seat-1", "node>seat-2"] {
            let frames = recording(minor).into_iter().filter(|(by, _)| by == who).count();
            assert!(frames >= 5, "minor {minor}: {who} says {frames} things");
        }
    }
}
