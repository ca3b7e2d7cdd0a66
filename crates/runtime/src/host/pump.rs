//! Carries what happens on the link to the machine, in order.

use huxiao_core::Machine;
use huxiao_link::LinkEvent;
use tokio::sync::mpsc;

use crate::drive::Handle;
use crate::shutdown::Shutdown;

/// Hands every event of the link over as an input until a shutdown is asked for. `translate` gives `None` for what the machine
/// need not know.
pub async fn pump<M, F>(mut events: mpsc::Receiver<LinkEvent>, handle: Handle<M>, shutdown: Shutdown, mut translate: F)
where
    M: Machine,
    M::Input: Send,
    F: FnMut(LinkEvent) -> Option<M::Input>,
{
    loop {
        let event = tokio::select! {
            () = shutdown.wait() => return,
            event = events.recv() => match event {
                Some(event) => event,
                None => return,
            },
        };
        if let Some(input) = translate(event)
            && handle.input(input).await.is_err()
        {
            return;
        }
    }
}
