//! The bytes of a segment: what is read of whole, cut, torn and damaged ones.

use huxiao_core::Rng;
use proptest::prelude::*;

use super::{Record, entry};
use crate::wal::segment::{Flaw, HEAD_BYTES, Head, encode_batch, scan};

const HEAD: Head = Head { number: 3, first_batch: 11, salt: 0x5EED };
const SECTOR: usize = 512;

/// A segment of these batches, and where each ends.
fn segment(batches: &[Vec<Record>]) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut ends) = (HEAD.encode().to_vec(), Vec::new());
    for (batch, number) in batches.iter().zip(HEAD.first_batch..) {
        bytes.extend(encode_batch(HEAD.salt, number, batch));
        ends.push(bytes.len());
    }
    (bytes, ends)
}

fn records(bytes: &[u8]) -> Result<Vec<Record>, Flaw> {
    scan(bytes, true).map(|segment| segment.records.into_iter().map(|(_, record)| record).collect())
}

/// Records without zeros in their content, so that none of their sectors looks as if it had never been written.
fn any_batches(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Vec<Record>>> {
    let content = proptest::collection::vec(1..=u8::MAX, 0..500);
    let record = (any::<u8>(), any::<u64>(), content).prop_map(|(kind, index, bytes)| Record { kind, index, bytes });
    proptest::collection::vec(proptest::collection::vec(record, 1..4), count)
}

#[test]
fn the_bytes_are_frozen() {
    let (bytes, _) = segment(&[vec![entry(5, b"abc")]]);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "f1487857010000000000000000000003000000000000000b0000000000005eedb79292b9\
         f1487862000000000000000b00000010d23f01f3332c63ad00000003010000000000000005616263f2"
    );
}

#[test]
fn another_releases_segment_is_not_damage() {
    let mut bytes = HEAD.encode();
    bytes[4] = 9;
    let crc = crc32c::crc32c(&bytes[..HEAD_BYTES - 4]);
    bytes[HEAD_BYTES - 4..].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(scan(&bytes, true), Err(Flaw::Version(9)));
}

#[test]
fn content_that_looks_like_a_batch_makes_no_damage_of_a_torn_tail() {
    // Whoever sends commands knows the format, but not the salt.
    let forged = encode_batch(HEAD.salt + 1, HEAD.first_batch + 9, &[entry(1, b"forged")]);
    let content: Vec<u8> = [vec![7; 600], forged].concat();
    let (mut bytes, ends) = segment(&[vec![entry(1, b"kept")], vec![entry(2, &content)]]);
    bytes[ends[0]..SECTOR].fill(0);
    let found = scan(&bytes, true).unwrap();
    assert_eq!((found.records.len(), found.torn), (1, (bytes.len() - ends[0]) as u64));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_written_is_read(batches in any_batches(0..6)) {
        let (bytes, _) = segment(&batches);
        let found = scan(&bytes, false).unwrap();
        prop_assert_eq!((found.bytes, found.torn), (bytes.len() as u64, 0));
        prop_assert_eq!(found.next_batch, HEAD.first_batch + batches.len() as u64);
        for (at, record) in &found.records {
            let at = usize::try_from(*at).unwrap();
            prop_assert_eq!(bytes[at + 4], record.kind, "its place is where it stands");
        }
        prop_assert_eq!(records(&bytes).unwrap(), batches.concat());
    }

    #[test]
    fn a_file_cut_at_any_byte_keeps_the_batches_before_the_cut(batches in any_batches(1..5)) {
        let (bytes, ends) = segment(&batches);
        for cut in 0..bytes.len() {
            let found = scan(&bytes[..cut], true);
            if cut < HEAD_BYTES {
                prop_assert!(matches!(found, Err(Flaw::Damaged(0, _))), "a head is never written in place");
                continue;
            }
            let found = found.unwrap();
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let end = whole.checked_sub(1).map_or(HEAD_BYTES, |last| ends[last]);
            prop_assert_eq!((found.bytes, found.torn), (end as u64, (cut - end) as u64));
            prop_assert_eq!(found.records.len(), batches[..whole].concat().len());
            // In a segment that another followed, all had been synced.
            prop_assert_eq!(scan(&bytes[..cut], false).is_ok(), cut == end);
        }
    }

    #[test]
    fn sectors_that_never_reached_the_disk_cost_the_last_batch_only(batches in any_batches(1..4), seed: u64) {
        let (bytes, ends) = segment(&batches);
        let from = ends.len().checked_sub(2).map_or(HEAD_BYTES, |before| ends[before]);
        let mut rng = Rng::new(seed);
        let mut torn = bytes.clone();
        let sectors: Vec<_> = (from / SECTOR..bytes.len().div_ceil(SECTOR)).collect();
        let lost = usize::try_from(rng.below(sectors.len() as u64)).unwrap();
        for (at, sector) in sectors.iter().enumerate() {
            if at == lost || rng.below(2) == 0 {
                torn[from.max(sector * SECTOR)..bytes.len().min((sector + 1) * SECTOR)].fill(0);
            }
        }
        let found = scan(&torn, true).unwrap();
        prop_assert_eq!((found.bytes, found.torn), (from as u64, (bytes.len() - from) as u64));
        prop_assert_eq!(found.records.len(), batches[..batches.len() - 1].concat().len());
    }

    #[test]
    fn a_flipped_bit_is_never_taken_for_a_torn_tail(batches in any_batches(1..5), seed: u64) {
        let (bytes, _) = segment(&batches);
        let mut rng = Rng::new(seed);
        for _ in 0..40 {
            let bit = usize::try_from(rng.below(bytes.len() as u64 * 8)).unwrap();
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(scan(&bad, true).is_err(), "bit {bit} of {}", bytes.len() * 8);
        }
    }

    #[test]
    fn a_hole_before_the_last_batch_is_refused(batches in any_batches(2..5), seed: u64) {
        let (bytes, ends) = segment(&batches);
        let mut rng = Rng::new(seed);
        let lost = usize::try_from(rng.below(ends.len() as u64 - 1)).unwrap();
        let from = lost.checked_sub(1).map_or(HEAD_BYTES, |before| ends[before]);
        let mut bad = bytes;
        if rng.below(2) == 0 {
            bad[from..ends[lost]].fill(0);
        } else {
            bad.drain(from..ends[lost]);
        }
        prop_assert!(matches!(scan(&bad, true), Err(Flaw::Damaged(at, _)) if at == from as u64));
    }

    #[test]
    fn rubbish_neither_panics_nor_passes(bytes in proptest::collection::vec(any::<u8>(), 0..300), behind_a_head: bool) {
        let head = if behind_a_head { HEAD.encode().to_vec() } else { Vec::new() };
        let rubbish = [head, bytes].concat();
        prop_assert!(records(&rubbish).is_ok_and(|records| records.is_empty()) || scan(&rubbish, true).is_err());
    }
}
