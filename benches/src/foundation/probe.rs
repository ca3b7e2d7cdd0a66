//! What the machine itself takes for one sync and for one round trip, in the rounds in which everything else is measured.

use std::fs::File;
use std::io::Write;
use std::net::UdpSocket;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{BenchError, Trying};
use crate::figures::Samples;

/// Bytes of a row, of a press and of a message: what an alarm with a note takes.
pub(crate) const ROW_BYTES: usize = 300;

/// Appends up to `count` rows within `limit` to a new file in `dir`, each followed by `fdatasync`.
///
/// # Errors
/// The disk.
pub(crate) fn appends(dir: &Path, count: u32, limit: Duration) -> Result<Samples, BenchError> {
    let mut samples = Samples::new();
    more_appends(dir, count, limit, &mut samples)?;
    Ok(samples)
}

/// As [`appends`], added to `samples`.
///
/// # Errors
/// The disk.
pub(crate) fn more_appends(dir: &Path, count: u32, limit: Duration, samples: &mut Samples) -> Result<(), BenchError> {
    let path = dir.join("append");
    let mut file = File::create(&path).trying_on("make", &path)?;
    let (row, until) = ([0x5a; ROW_BYTES], Instant::now() + limit);
    for _ in (0..count).take_while(|_| Instant::now() <= until) {
        let began = Instant::now();
        file.write_all(&row).and_then(|()| file.sync_data()).trying_on("append to", &path)?;
        samples.record(began.elapsed());
    }
    Ok(())
}

/// Appends up to `count` rows within `limit`, `group` of them with one write and one `fdatasync`: as fast as grouping can be. How many
/// and how long.
///
/// # Errors
/// The disk.
pub(crate) fn grouped_appends(
    dir: &Path,
    count: u32,
    group: u32,
    limit: Duration,
) -> Result<(u32, Duration), BenchError> {
    let path = dir.join("append-grouped");
    let mut file = File::create(&path).trying_on("make", &path)?;
    let rows = vec![0x5a; ROW_BYTES * group as usize];
    let (began, mut written) = (Instant::now(), 0);
    while written + group <= count && began.elapsed() <= limit {
        file.write_all(&rows).and_then(|()| file.sync_data()).trying_on("append to", &path)?;
        written += group;
    }
    Ok((written, began.elapsed()))
}

/// Sends `count` datagrams of the size of a press over loopback to a thread that sends them back.
///
/// # Errors
/// No sockets, or an echo that stayed away.
pub(crate) fn round_trips(count: u32) -> Result<Samples, BenchError> {
    let bind = || UdpSocket::bind("127.0.0.1:0").trying("bind a UDP socket on loopback");
    let (near, far) = (bind()?, bind()?);
    let connect = |from: &UdpSocket, to: &UdpSocket| to.local_addr().and_then(|to| from.connect(to));
    let both = connect(&near, &far).and_then(|()| connect(&far, &near));
    both.trying("connect two UDP sockets")?;
    let patience = Some(Duration::from_secs(5));
    near.set_read_timeout(patience).and_then(|()| far.set_read_timeout(patience)).trying("set a socket up")?;
    let echo = move || -> std::io::Result<()> {
        let mut buffer = [0; ROW_BYTES];
        for _ in 0..count {
            let length = far.recv(&mut buffer)?;
            far.send(&buffer[..length])?;
        }
        Ok(())
    };
    let echo = thread::Builder::new().name("echo".into()).spawn(echo).trying("start a thread")?;
    let (mut samples, mut buffer) = (Samples::new(), [0; ROW_BYTES]);
    for _ in 0..count {
        let began = Instant::now();
        near.send(&buffer).and_then(|_| near.recv(&mut buffer)).trying("wait for an echo on loopback")?;
        samples.record(began.elapsed());
    }
    // Every echo has come, so it has nothing more to say.
    let _ = echo.join();
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_do_what_they_count() {
        let (dir, long) = (tempfile::tempdir().unwrap(), Duration::from_secs(60));
        assert_eq!(appends(dir.path(), 5, long).unwrap().round().unwrap().samples, 5);
        assert_eq!(dir.path().join("append").metadata().unwrap().len(), 1_500);
        assert_eq!(grouped_appends(dir.path(), 10, 4, long).unwrap().0, 8);
        assert_eq!(dir.path().join("append-grouped").metadata().unwrap().len(), 2_400);
        assert_eq!(round_trips(20).unwrap().round().unwrap().samples, 20);
        let cut = grouped_appends(dir.path(), 10_000_000, 1, Duration::from_millis(20)).unwrap();
        assert!((1..10_000_000).contains(&cut.0), "{cut:?}");
        assert!(appends(&dir.path().join("none"), 1, long).is_err());
    }
}
