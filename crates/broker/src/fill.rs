//! Filling the archive: what left the record's memory while this node was away is asked for from the other nodes.
//!
//! Invariant: an archive that is whole asks nobody.

use std::time::Duration;

use huxiao_core::broker::Broker;
use huxiao_runtime::drive::WeakHandle;
use huxiao_runtime::shutdown::Shutdown;

use crate::archive::Archive;
use crate::record::Region;

/// How often a whole archive is looked at.
const EVERY: Duration = Duration::from_secs(2);
/// How long after nobody could help to ask again.
const PAUSE: Duration = Duration::from_secs(5);
/// Entries that are asked for at once.
const ROWS: u32 = 1_024;

/// Keeps the archive whole until the node stops.
pub(crate) async fn run(region: Region, archive: Archive, handle: WeakHandle<Broker>, shutdown: Shutdown) {
    loop {
        let Some(archived) = archived(&handle).await else { return };
        let pause = match archive.missing(archived) {
            None => EVERY,
            Some((from, to)) => match ask(&region, &archive, from, to).await {
                Ok(0) => PAUSE,
                Ok(_) => Duration::ZERO,
                Err(why) => {
                    tracing::warn!(from, to, why, "the archive has a gap that nobody can fill now");
                    PAUSE
                }
            },
        };
        tokio::select! {
            () = shutdown.wait() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// How many events have left the record's memory; `None` when the node stops.
async fn archived(handle: &WeakHandle<Broker>) -> Option<u64> {
    let handle = handle.upgrade()?;
    handle.inspect(|broker| broker.record().archived()).await.ok()
}

/// Asks for the events with the numbers `from` to `to`. Gives how many came.
async fn ask(region: &Region, archive: &Archive, from: u64, to: u64) -> Result<usize, String> {
    let rows = region.archived(from - 1, ROWS).await?;
    let mut taken = 0;
    for (number, bytes) in rows {
        let entry = huxiao_wire::decode_entry(&bytes).map_err(|error| format!("event {number} of it: {error}"))?;
        if (from..=to).contains(&number) {
            archive.put_encoded(number, entry.admission.sealed.event.id, bytes.to_vec());
            taken += 1;
        }
    }
    let (done, flushed) = tokio::sync::oneshot::channel();
    // Whoever waits is this function; its end ends the waiting.
    archive.flush(move |result| drop(done.send(result)));
    match flushed.await {
        Ok(Ok(())) => {
            tracing::info!(from, to, taken, "events came into the archive from another node");
            Ok(taken)
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the store is closed".to_owned()),
    }
}
