//! An officer's command to view: a picture as the camera sees now, and where the camera can be seen at work.

use std::sync::Arc;

use huxiao_core::Name;
use huxiao_core::body::Towards;
use huxiao_core::relay::HOMES;
use huxiao_core::video::Camera;
use huxiao_runtime::bodies::Bodies;
use huxiao_runtime::config::Config;
use huxiao_runtime::http::HttpUrl;

use super::configured;
use super::shell::picture;

/// Views through the relay's cameras. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Viewer {
    cameras: Arc<Vec<(Camera, Option<HttpUrl>)>>,
    bodies: Bodies,
}

impl Viewer {
    /// By the configuration.
    pub(crate) fn new(config: &Config, bodies: Bodies) -> Self {
        Self { cameras: Arc::new(configured(config)), bodies }
    }

    /// Takes a picture through this camera (the first, if none is named), and gives it to the region. What is told of it: `camera NAME`, then
    /// `picture HASH SIZE`, then `live ADDRESS`, as far as there is each.
    ///
    /// # Errors
    /// There is no such camera, or it gives no picture and has no address.
    pub(crate) async fn view(&self, wanted: Option<&Name>) -> Result<String, String> {
        let found = self.cameras.iter().find(|(camera, _)| wanted.is_none_or(|name| *name == camera.name));
        let Some((camera, url)) = found else {
            let name = wanted.map(|name| format!(" {name}")).unwrap_or_default();
            return Err(format!("本校没有可查看的摄像机{name} this relay knows no such camera{name}"));
        };
        let address = Some(camera.address.as_str()).filter(|address| !address.is_empty());
        let taken = match url {
            Some(url) => Some(self.take(url).await),
            None => None,
        };
        let words = [
            Some(format!("camera {}", camera.name)),
            taken.as_ref().map(|taken| match taken {
                Ok(picture) => picture.clone(),
                Err(why) => why.clone(),
            }),
            address.map(|address| format!("live {address}")),
        ];
        let told = words.into_iter().flatten().collect::<Vec<_>>().join("; ");
        if matches!(taken, Some(Ok(_))) || address.is_some() { Ok(told) } else { Err(told) }
    }

    async fn take(&self, url: &HttpUrl) -> Result<String, String> {
        let content = picture(url).await?;
        let size = content.len();
        let (id, _) = self.bodies.put(content).await?;
        self.bodies.give(id, Towards::Some(HOMES)).await.map_err(|stopped| stopped.to_string())?;
        Ok(format!("picture {id} {size}"))
    }
}
