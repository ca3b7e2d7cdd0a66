//! Pictures as the APIs show them, and as relays and stations keep what was said of them.

use huxiao_core::body::BodyId;
use huxiao_core::video::{Picture, Shot};
use huxiao_core::{Name, Text, WallTime};
use serde::{Deserialize, Serialize};

use crate::time_format::rfc3339;

/// What one camera showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PictureJson {
    camera: String,
    /// When the camera was asked, by the relay's clock.
    taken_at: String,
    /// The name of the JPEG; nothing if there is none.
    hash: Option<String>,
    size: u32,
    /// Why there is none.
    failed: Option<String>,
    /// Where the camera can be seen at work.
    address: Option<String>,
}

impl PictureJson {
    /// The members of `picture`.
    #[must_use]
    pub fn new(picture: &Picture) -> Self {
        let (hash, size, failed) = match &picture.shot {
            Shot::Taken(body, size) => (Some(body.to_string()), *size, None),
            Shot::Failed(why) => (None, 0, Some(why.to_string())),
        };
        let address = Some(picture.address.to_string()).filter(|address| !address.is_empty());
        Self { camera: picture.camera.to_string(), taken_at: rfc3339(picture.at), hash, size, failed, address }
    }
}

/// What was said of a picture, on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptPicture {
    camera: String,
    at_us: i64,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    size: u32,
    #[serde(default)]
    failed: String,
    #[serde(default)]
    address: String,
}

impl From<&Picture> for KeptPicture {
    fn from(picture: &Picture) -> Self {
        let (body, size, failed) = match &picture.shot {
            Shot::Taken(body, size) => (Some(body.to_string()), *size, String::new()),
            Shot::Failed(why) => (None, 0, why.to_string()),
        };
        let (camera, address) = (picture.camera.to_string(), picture.address.to_string());
        Self { camera, at_us: picture.at.0, body, size, failed, address }
    }
}

impl TryFrom<KeptPicture> for Picture {
    type Error = String;

    fn try_from(kept: KeptPicture) -> Result<Self, String> {
        let text = |text: &str| Text::new(text).map_err(|why| why.to_string());
        let shot = match kept.body {
            Some(body) => Shot::Taken(body.parse::<BodyId>().map_err(|why| why.to_string())?, kept.size),
            None => Shot::Failed(text(&kept.failed)?),
        };
        let camera = Name::new(&kept.camera).map_err(|why| why.to_string())?;
        Ok(Picture { camera, at: WallTime(kept.at_us), shot, address: text(&kept.address)? })
    }
}
