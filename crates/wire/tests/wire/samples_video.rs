//! Bodies, pictures and looks.

use huxiao_core::Message;
use huxiao_core::body::{BodyId, BodyMessage, BodyRefusal, Chunks, Media, Offer};
use huxiao_core::record::Command;
use huxiao_core::video::{Look, Picture, Pictures, Shot};

use super::{Text, after, alarm, name, node};

const BODY: BodyId = BodyId([0x5a; 32]);

/// One picture that was taken, and one that was not.
pub(crate) fn pictures() -> Pictures {
    let taken = Picture {
        camera: name("gate-cam"),
        at: after(40),
        shot: Shot::Taken(BODY, 200_000),
        address: Text::new("34020000001320000001").unwrap(),
    };
    let failed = Picture {
        camera: name("yard-cam"),
        at: after(41),
        shot: Shot::Failed(Text::new("摄像机无应答").unwrap()),
        address: Text::default(),
    };
    Pictures { event: alarm().id, live: false, pictures: vec![taken, failed] }
}

pub(crate) fn command() -> Command {
    let Pictures { event, pictures, .. } = pictures();
    Command::Pictures { event, pictures }
}

/// Each under the name of its golden file.
pub(crate) fn messages() -> Vec<(&'static str, Message)> {
    let offer = Offer { id: BODY, size: 200_000, media: Media::Jpeg, live: false };
    let live = Offer { media: Media::Opus, live: true, ..offer };
    let look =
        Look { event: alarm().id, camera: None, by: node("station/xixiangtang/seat-2"), officer: name("045123") };
    let keys = pictures().pictures.iter().map(Picture::key).collect();
    vec![
        ("body_offer", Message::Body(BodyMessage::Offer(offer))),
        ("body_offer_live", Message::Body(BodyMessage::Offer(live))),
        ("body_chunk", Message::Body(BodyMessage::Chunk { id: BODY, at: 12, data: vec![1, 2, 3] })),
        ("body_have", Message::Body(BodyMessage::Have(BODY, Chunks(0x8000_0000_0000_0005)))),
        ("body_taken", Message::Body(BodyMessage::Taken(BODY))),
        ("body_refused", Message::Body(BodyMessage::Refused(BODY, BodyRefusal::Mismatch))),
        ("body_ask", Message::Body(BodyMessage::Ask(BODY))),
        ("body_absent", Message::Body(BodyMessage::Absent(BODY))),
        ("pictures", Message::Pictures(pictures())),
        ("pictures_live", Message::Pictures(Pictures { live: true, ..pictures() })),
        ("pictures_kept", Message::PicturesKept(alarm().id, keys)),
        ("look", Message::Look(look.clone())),
        ("look_camera", Message::Look(Look { camera: Some(name("gate-cam")), ..look })),
    ]
}
