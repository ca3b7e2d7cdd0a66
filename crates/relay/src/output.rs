//! What a school hears: the program that says it, or the spool folder where it is put for others.
//!
//! `relay.broadcast.program` is run once for each thing that is to be heard, and its end is the end of that: status 0 is finished, anything
//! else failed (the last line that it wrote on standard error says why). It gets the words on standard input, and besides, as variables
//! and in place of `{name}` in its arguments:
//!
//! | variable | `{…}` | what |
//! | --- | --- | --- |
//! | `HUXIAO_COMMAND` | `{id}` | the command's id |
//! | `HUXIAO_KIND` | `{kind}` | `broadcast`, `notice` or `all_clear` |
//! | `HUXIAO_TEXT` | `{text}` | the words; empty for a recording |
//! | `HUXIAO_FILE` | `{file}` | the recording's file; empty for words |
//! | `HUXIAO_MEDIA` | `{media}` | `opus` or `wav` of a recording that was uploaded |
//! | `HUXIAO_PRIORITY` | `{priority}` | `prompt`, `live`, `drill` or `routine` |
//! | `HUXIAO_VOLUME` | `{volume}` | percent; empty leaves it to the program |
//! | `HUXIAO_ZONES` | `{zones}` | the parts of the school, by commas; empty for all of it |
//! | `HUXIAO_DEVICE` | `{device}` | the device that is to say it, if one is named |
//!
//! When it is to end it gets SIGTERM, and SIGKILL a second later, with all processes of its group.
//!
//! Invariants: a file that is handed over is one of the folder of clips or an uploaded body, and never what a name leads to elsewhere; each
//! thing ends once; a file in the spool is whole.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use huxiao_core::body::BodyId;
use huxiao_core::command::{Content, Media, Sha256Digest};
use huxiao_core::relay::{Ended, Input, Play, Relay};
use huxiao_core::{CommandId, Name, Span, Text};
use huxiao_runtime::bodies::Bodies;
use huxiao_runtime::config::{Config, Key, Kind};
use huxiao_runtime::drive::WeakHandle;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use crate::cameras::Viewer;

/// The configuration keys of what a school hears.
pub(crate) const KEYS: [Key; 4] = [
    Key {
        path: "relay.broadcast.program",
        kind: Kind::List(&Kind::Text),
        default: Some(""),
        reloadable: false,
        help: "Program that says what the police have said, with its arguments; empty puts it into the spool folder. See docs/API.md.",
    },
    Key {
        path: "relay.broadcast.timeout",
        kind: Kind::Duration { min: Span::from_secs(1), max: Span::from_secs(3_600) },
        default: Some("5m"),
        reloadable: false,
        help: "How long that program may take for one thing.",
    },
    Key {
        path: "relay.broadcast.clips",
        kind: Kind::PathOrEmpty,
        default: Some(""),
        reloadable: false,
        help: "Folder of the recordings that can be named in a broadcast; empty if there are none.",
    },
    Key {
        path: "relay.broadcast.spool",
        kind: Kind::PathOrEmpty,
        default: Some(""),
        reloadable: false,
        help: "Folder into which words and recordings are put without a program; empty for the folder spool in data.dir.",
    },
];

/// How long a program may take to end by itself once it was told to.
const GRACE: Duration = Duration::from_secs(1);
/// Files that the spool holds, so that one which nobody reads does not fill the disk.
const SPOOLED: usize = 1_000;
/// Bytes of a program's complaints that are read.
const COMPLAINT_BYTES: usize = 4_096;

/// Has things be heard. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Player {
    inner: Arc<Inner>,
    handle: WeakHandle<Relay>,
    silenced: Arc<Mutex<HashMap<CommandId, oneshot::Sender<()>>>>,
}

struct Inner {
    program: Vec<String>,
    timeout: Duration,
    clips: Option<PathBuf>,
    spool: PathBuf,
    bodies: Bodies,
    bodies_dir: PathBuf,
    viewer: Viewer,
}

/// Why something is not heard.
#[derive(Debug, thiserror::Error)]
enum PlayError {
    #[error("没有预录语音文件夹 relay.broadcast.clips names no folder")]
    NoClips,
    #[error("没有这段预录语音 there is no recording {0}")]
    NoClip(Name),
    #[error("录音未在有效期内送达 the recording did not come in time")]
    NoBody,
    #[error("无法启动播放程序 {program} cannot be started: {error}")]
    Start { program: String, error: io::Error },
    #[error("播放程序失败 the program ended with {0}")]
    Status(String),
    #[error("播放超时 the program took longer than {0} s")]
    Slow(u64),
    #[error("待播文件夹已满 the spool holds {SPOOLED} files that nobody has taken")]
    Full,
    #[error("磁盘错误 {0}")]
    Io(#[from] io::Error),
}

impl Player {
    /// A player by the configuration.
    pub(crate) fn new(config: &Config, handle: WeakHandle<Relay>, bodies: Bodies, viewer: Viewer) -> Self {
        let data = config.path("data.dir");
        let bodies_dir = data.join("bodies");
        let inner = Inner {
            program: config.texts("relay.broadcast.program").into_iter().filter(|word| !word.is_empty()).collect(),
            timeout: config.duration("relay.broadcast.timeout"),
            clips: config.path_if_set("relay.broadcast.clips"),
            spool: config.path_if_set("relay.broadcast.spool").unwrap_or_else(|| data.join("spool")),
            bodies,
            bodies_dir,
            viewer,
        };
        Self { inner: Arc::new(inner), handle, silenced: Arc::default() }
    }

    /// Has this be heard, and tells the machine when it has ended.
    pub(crate) fn play(&self, play: Play) {
        let (silence, silenced) = oneshot::channel();
        self.silenced.lock().unwrap_or_else(PoisonError::into_inner).insert(play.id, silence);
        let player = self.clone();
        tokio::spawn(async move {
            let (id, begun) = (play.id, Instant::now());
            let ended = match player.inner.run(&play, silenced).await {
                Ok(true) => Ended::Done(begun.elapsed(), Text::default()),
                Ok(false) => Ended::Silenced(begun.elapsed()),
                Err(error) => {
                    tracing::warn!(command = %id, %error, "it was not heard");
                    Ended::Failed(text(&error.to_string()))
                }
            };
            player.end(id, ended);
        });
    }

    /// Ends what is heard.
    pub(crate) fn silence(&self, id: CommandId) {
        let silence = self.silenced.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        // It may just have ended by itself.
        let _ = silence.map(|silence| silence.send(()));
    }

    /// Takes a picture as a camera sees now, and tells the machine where it is and where the camera can be seen at work.
    pub(crate) fn view(&self, id: CommandId, camera: Option<Name>) {
        let player = self.clone();
        tokio::spawn(async move {
            let begun = Instant::now();
            let ended = match player.inner.viewer.view(camera.as_ref()).await {
                Ok(told) => Ended::Done(begun.elapsed(), text(&told)),
                Err(why) => Ended::Failed(text(&why)),
            };
            player.end(id, ended);
        });
    }

    fn end(&self, id: CommandId, ended: Ended) {
        self.silenced.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        // A loop that has ended needs no answer.
        let _ = self.handle.upgrade().map(|handle| handle.urgent(Input::Ended(id, ended)));
    }
}

/// `words` as a text, without what a text cannot hold.
fn text(words: &str) -> Text {
    let plain: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(240).collect();
    Text::new(&plain).unwrap_or_default()
}

impl Inner {
    /// Whether it was heard to its end; false if it was told to end.
    async fn run(&self, play: &Play, mut silenced: oneshot::Receiver<()>) -> Result<bool, PlayError> {
        let file = tokio::select! {
            file = self.file(play) => file?,
            _ = &mut silenced => return Ok(false),
        };
        let Some((program, arguments)) = self.program.split_first() else {
            let (spool, play) = (self.spool.clone(), play.clone());
            let spooled = tokio::task::spawn_blocking(move || spool_in(&spool, &play, file.as_deref())).await;
            spooled.map_err(io::Error::other)??;
            return Ok(true);
        };
        let start = |error| PlayError::Start { program: program.clone(), error };
        let mut command = Command::new(program);
        let values = values(play, file.as_deref());
        let filled = |argument: &String| {
            values.iter().fold(argument.clone(), |text, (name, _, value)| text.replace(&format!("{{{name}}}"), value))
        };
        command.args(arguments.iter().map(filled));
        command.envs(values.iter().map(|(_, variable, value)| (*variable, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).process_group(0);
        let mut child = command.spawn().map_err(start)?;
        let words = words(play);
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read gets the words by other ways.
            tokio::spawn(async move {
                let _ = stdin.write_all(words.as_bytes()).await;
            });
        }
        let complaint = child.stderr.take().map(|stderr| {
            tokio::spawn(async move {
                let mut said = Vec::new();
                let _ = stderr.take(COMPLAINT_BYTES as u64).read_to_end(&mut said).await;
                String::from_utf8_lossy(&said).lines().last().unwrap_or_default().to_owned()
            })
        });
        tokio::select! {
            status = child.wait() => {
                let status = status?;
                if status.success() {
                    return Ok(true);
                }
                let said = match complaint {
                    // What it left behind may hold the pipe open.
                    Some(complaint) => tokio::time::timeout(GRACE, complaint).await.ok().and_then(Result::ok),
                    None => None,
                };
                let said = said.filter(|said| !said.is_empty()).map(|said| format!(": {said}"));
                Err(PlayError::Status(format!("{status}{}", said.unwrap_or_default())))
            }
            _ = &mut silenced => {
                end(&mut child).await;
                Ok(false)
            }
            () = tokio::time::sleep(self.timeout) => {
                end(&mut child).await;
                Err(PlayError::Slow(self.timeout.as_secs()))
            }
        }
    }

    /// The recording's file, once it is there; `None` for words.
    async fn file(&self, play: &Play) -> Result<Option<PathBuf>, PlayError> {
        match &play.content {
            Content::Text(_) => Ok(None),
            Content::Clip(name) => self.clip(name).map(Some),
            Content::Body(digest, _) => self.body(*digest, play.left).await.map(Some),
        }
    }

    fn clip(&self, name: &Name) -> Result<PathBuf, PlayError> {
        let folder = self.clips.as_ref().ok_or(PlayError::NoClips)?;
        let missing = |_| PlayError::NoClip(name.clone());
        let folder = folder.canonicalize().map_err(missing)?;
        // A link must not lead out of the folder either.
        let file = folder.join(name.as_str()).canonicalize().map_err(missing)?;
        if file.starts_with(&folder) && file.is_file() { Ok(file) } else { Err(PlayError::NoClip(name.clone())) }
    }

    async fn body(&self, digest: Sha256Digest, left: Span) -> Result<PathBuf, PlayError> {
        let id = BodyId(digest.0);
        let here = self.bodies.fetch(id, left).await.ok().flatten();
        here.map(|_| self.bodies_dir.join(id.to_string())).ok_or(PlayError::NoBody)
    }
}

/// Has a program and all that it began come to its end.
async fn end(child: &mut Child) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let Some(group) = group else { return };
    // It may have ended by itself just now.
    let _ = killpg(group, Signal::SIGTERM);
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        let _ = killpg(group, Signal::SIGKILL);
        let _ = child.wait().await;
    }
}

fn words(play: &Play) -> String {
    match &play.content {
        Content::Text(text) => text.as_str().to_owned(),
        Content::Clip(_) | Content::Body(..) => String::new(),
    }
}

fn media(play: &Play) -> &'static str {
    match &play.content {
        Content::Body(_, media) => media.as_str(),
        Content::Text(_) | Content::Clip(_) => "",
    }
}

/// Name of the placeholder, name of the variable, value.
fn values(play: &Play, file: Option<&Path>) -> Vec<(&'static str, &'static str, String)> {
    let zones: Vec<&str> = play.zones.iter().map(Name::as_str).collect();
    vec![
        ("id", "HUXIAO_COMMAND", play.id.to_string()),
        ("kind", "HUXIAO_KIND", play.kind.to_string()),
        ("file", "HUXIAO_FILE", file.map(|file| file.display().to_string()).unwrap_or_default()),
        ("media", "HUXIAO_MEDIA", media(play).to_owned()),
        ("priority", "HUXIAO_PRIORITY", play.priority.to_string()),
        ("volume", "HUXIAO_VOLUME", play.volume.map(|volume| volume.to_string()).unwrap_or_default()),
        ("zones", "HUXIAO_ZONES", zones.join(",")),
        ("device", "HUXIAO_DEVICE", play.device.as_ref().map(ToString::to_string).unwrap_or_default()),
        // The last: in what people said nothing is replaced.
        ("text", "HUXIAO_TEXT", words(play)),
    ]
}

/// Puts it into the spool, whole or not at all: `<id>.txt`, or the recording under the id with its ending.
fn spool_in(spool: &Path, play: &Play, file: Option<&Path>) -> Result<(), PlayError> {
    fs::create_dir_all(spool)?;
    if fs::read_dir(spool)?.count() >= SPOOLED {
        return Err(PlayError::Full);
    }
    let (ending, content) = match file {
        None => ("txt".to_owned(), words(play).into_bytes()),
        Some(file) => {
            let own = file.extension().and_then(|ending| ending.to_str()).map(str::to_owned);
            let by_media = match &play.content {
                Content::Body(_, Media::Wav) => "wav",
                Content::Body(_, Media::Opus) => "opus",
                Content::Text(_) | Content::Clip(_) => "audio",
            };
            (own.unwrap_or_else(|| by_media.to_owned()), fs::read(file)?)
        }
    };
    let temporary = spool.join(format!(".{}.new", play.id));
    let mut out = fs::File::create(&temporary)?;
    let written = out.write_all(&content).and_then(|()| out.sync_all());
    let put = written.and_then(|()| fs::rename(&temporary, spool.join(format!("{}.{ending}", play.id))));
    if let Err(error) = put {
        // What cannot be removed is only waste.
        let _ = fs::remove_file(&temporary);
        return Err(error.into());
    }
    Ok(fs::File::open(spool)?.sync_all()?)
}
