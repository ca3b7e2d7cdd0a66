//! Bodies, pictures and looks, from and to their Protocol Buffers form.

use huxiao_core::body::{BodyId, BodyMessage, BodyRefusal, Chunks, Media, Offer};
use huxiao_core::record::Command;
use huxiao_core::video::{Look, Picture, PictureKey, Pictures, Shot};
use huxiao_core::{EventId, WallTime, limits};

use crate::error::WireError;
use crate::field;
use crate::proto;
use crate::proto::body_word::Word;

pub(crate) fn raw_body(message: &BodyMessage) -> proto::BodyWord {
    let (id, word) = match message {
        BodyMessage::Offer(offer) => (offer.id, Word::Offer(raw_offer(offer))),
        BodyMessage::Chunk { id, at, data } => {
            (*id, Word::Chunk(proto::BodyChunk { at: u32::from(*at), data: data.clone() }))
        }
        BodyMessage::Have(id, chunks) => (*id, Word::Have(proto::BodyHave { chunks: chunks.0 })),
        BodyMessage::Taken(id) => (*id, Word::Taken(proto::BodyTaken {})),
        BodyMessage::Refused(id, why) => (*id, Word::Refused(proto::BodyRefused { reason: refusal_number(*why) })),
        BodyMessage::Ask(id) => (*id, Word::Ask(proto::BodyAsk {})),
        BodyMessage::Absent(id) => (*id, Word::Absent(proto::BodyAbsent {})),
    };
    proto::BodyWord { id: id.0.to_vec(), word: Some(word) }
}

pub(crate) fn body(raw: proto::BodyWord) -> Result<BodyMessage, WireError> {
    let id = body_id("body.id", &raw.id)?;
    // A word that this version does not know says nothing to it.
    Ok(match raw.word.ok_or(WireError::UnknownBody)? {
        Word::Offer(raw) => BodyMessage::Offer(offer(id, &raw)?),
        Word::Chunk(raw) => {
            field::within("body.chunk", raw.data.len(), limits::BODY_CHUNK_BYTES)?;
            let last = limits::BODY_BYTES / limits::BODY_CHUNK_BYTES;
            let at = u8::try_from(raw.at).ok().filter(|at| usize::from(*at) < last);
            let at = at.ok_or_else(|| field::bad("body.at", format_args!("a body has at most {last} chunks")))?;
            BodyMessage::Chunk { id, at, data: raw.data }
        }
        Word::Have(raw) => BodyMessage::Have(id, Chunks(raw.chunks)),
        Word::Taken(_) => BodyMessage::Taken(id),
        Word::Refused(raw) => BodyMessage::Refused(id, refusal(raw.reason)?),
        Word::Ask(_) => BodyMessage::Ask(id),
        Word::Absent(_) => BodyMessage::Absent(id),
    })
}

fn body_id(field: &'static str, bytes: &[u8]) -> Result<BodyId, WireError> {
    if bytes.is_empty() {
        return Err(WireError::Missing(field));
    }
    let id = bytes
        .try_into()
        .map_err(|_| field::bad(field, format_args!("a name has 32 bytes, this one has {}", bytes.len())));
    id.map(BodyId)
}

fn raw_offer(offer: &Offer) -> proto::BodyOffer {
    let media = i32::from(match offer.media {
        Media::Jpeg => proto::Media::Jpeg,
        Media::Opus => proto::Media::Opus,
        Media::Wav => proto::Media::Wav,
    });
    // What is larger than any body is refused by whoever reads it.
    proto::BodyOffer { size: u32::try_from(offer.size).unwrap_or(u32::MAX), media, live: offer.live }
}

fn offer(id: BodyId, raw: &proto::BodyOffer) -> Result<Offer, WireError> {
    let media = match proto::Media::try_from(raw.media) {
        Ok(proto::Media::Unspecified) => return Err(WireError::Missing("offer.media")),
        Ok(proto::Media::Jpeg) => Media::Jpeg,
        Ok(proto::Media::Opus) => Media::Opus,
        Ok(proto::Media::Wav) => Media::Wav,
        Err(_) => return Err(field::bad("offer.media", format_args!("media {} is not known", raw.media))),
    };
    // Whether it is too large, the receiver says to whoever offers it.
    Ok(Offer { id, size: usize::try_from(raw.size).unwrap_or(usize::MAX), media, live: raw.live })
}

fn refusal_number(why: BodyRefusal) -> i32 {
    i32::from(match why {
        BodyRefusal::Busy => proto::BodyRefusal::Busy,
        BodyRefusal::Size => proto::BodyRefusal::Size,
        BodyRefusal::Mismatch => proto::BodyRefusal::Mismatch,
        BodyRefusal::Unwanted => proto::BodyRefusal::Unwanted,
        BodyRefusal::Sender => proto::BodyRefusal::Sender,
        BodyRefusal::Disk => proto::BodyRefusal::Disk,
        BodyRefusal::Other => proto::BodyRefusal::Other,
    })
}

fn refusal(number: i32) -> Result<BodyRefusal, WireError> {
    match proto::BodyRefusal::try_from(number) {
        Ok(proto::BodyRefusal::Unspecified) => Err(WireError::Missing("body.refused")),
        Ok(proto::BodyRefusal::Busy) => Ok(BodyRefusal::Busy),
        Ok(proto::BodyRefusal::Size) => Ok(BodyRefusal::Size),
        Ok(proto::BodyRefusal::Mismatch) => Ok(BodyRefusal::Mismatch),
        Ok(proto::BodyRefusal::Unwanted) => Ok(BodyRefusal::Unwanted),
        Ok(proto::BodyRefusal::Sender) => Ok(BodyRefusal::Sender),
        Ok(proto::BodyRefusal::Disk) => Ok(BodyRefusal::Disk),
        Ok(proto::BodyRefusal::Other) | Err(_) => Ok(BodyRefusal::Other),
    }
}

pub(crate) fn raw_picture(picture: &Picture) -> proto::Picture {
    let (body, size, failed) = match &picture.shot {
        Shot::Taken(body, size) => (body.0.to_vec(), *size, String::new()),
        Shot::Failed(why) => (Vec::new(), 0, why.as_str().to_owned()),
    };
    let address = picture.address.as_str().to_owned();
    proto::Picture { camera: picture.camera.to_string(), at_us: picture.at.0, body, size, failed, address }
}

pub(crate) fn picture(raw: &proto::Picture) -> Result<Picture, WireError> {
    field::within("picture.failed", raw.failed.len(), limits::PICTURE_TEXT_BYTES)?;
    field::within("picture.address", raw.address.len(), limits::PICTURE_TEXT_BYTES)?;
    let shot = if raw.body.is_empty() {
        Shot::Failed(field::text("picture.failed", &raw.failed)?)
    } else {
        Shot::Taken(body_id("picture.body", &raw.body)?, raw.size)
    };
    let (camera, at) = key(raw)?;
    Ok(Picture { camera, at, shot, address: field::text("picture.address", &raw.address)? })
}

pub(crate) fn pictures(raw: &[proto::Picture]) -> Result<Vec<Picture>, WireError> {
    field::at_most("pictures", raw.len(), limits::PICTURES_PER_EVENT)?;
    raw.iter().map(picture).collect()
}

fn key(raw: &proto::Picture) -> Result<PictureKey, WireError> {
    Ok((field::name("picture.camera", &raw.camera)?, WallTime(raw.at_us)))
}

pub(crate) fn raw_said(said: &Pictures) -> proto::PictureList {
    let pictures = said.pictures.iter().map(raw_picture).collect();
    proto::PictureList { event: said.event.as_bytes().to_vec(), pictures, live: said.live }
}

pub(crate) fn said(raw: &proto::PictureList) -> Result<Pictures, WireError> {
    let event = field::event_id("pictures.event", &raw.event)?;
    Ok(Pictures { event, live: raw.live, pictures: pictures(&raw.pictures)? })
}

/// The body of [`Command::Pictures`].
pub(crate) fn command(raw: &proto::PictureList) -> Result<Command, WireError> {
    let Pictures { event, pictures, .. } = said(raw)?;
    Ok(Command::Pictures { event, pictures })
}

pub(crate) fn raw_kept(event: &EventId, keys: &[PictureKey]) -> proto::PicturesKept {
    let raw =
        |(camera, at): &PictureKey| proto::Picture { camera: camera.to_string(), at_us: at.0, ..Default::default() };
    proto::PicturesKept { event: event.as_bytes().to_vec(), pictures: keys.iter().map(raw).collect() }
}

pub(crate) fn kept(raw: &proto::PicturesKept) -> Result<(EventId, Vec<PictureKey>), WireError> {
    field::at_most("pictures", raw.pictures.len(), limits::PICTURES_PER_EVENT)?;
    let keys = raw.pictures.iter().map(key).collect::<Result<_, _>>()?;
    Ok((field::event_id("pictures.event", &raw.event)?, keys))
}

pub(crate) fn raw_look(look: &Look) -> proto::Look {
    proto::Look {
        event: look.event.as_bytes().to_vec(),
        camera: look.camera.as_ref().map(ToString::to_string).unwrap_or_default(),
        by: look.by.to_string(),
        officer: look.officer.to_string(),
    }
}

pub(crate) fn look(raw: &proto::Look) -> Result<Look, WireError> {
    Ok(Look {
        event: field::event_id("look.event", &raw.event)?,
        camera: field::optional_name("look.camera", &raw.camera)?,
        by: field::node("look.by", &raw.by)?,
        officer: field::name("look.officer", &raw.officer)?,
    })
}
