//! The part of a node that is the same for every role.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use axum::Router;
use huxiao_core::{Identity, Machine, Name, Role, WallTime};
use huxiao_link::{EventReceiver, Link, LinkConfig};
use huxiao_pki::{Credentials, SigningKey};
use huxiao_store::{Loss, Observation, Store};
use tokio::task::JoinSet;

use super::{Host, Running, StartError, dates, running};
use crate::config::{Address, Config};
use crate::drive::{Handle, Inbox, Shell, drive};
use crate::health::{Check, Health, Relevance, State, Version};
use crate::heartbeat::heartbeat;
use crate::http::{self, SseGate};
use crate::metric::{self, Gauge};
use crate::{link_hooks, store_hooks};

/// The check that tells whether a record can be written, synced and read back.
const CANARY: &str = "canary";

/// Whether the node is armed: the last canary came back. Only then may its lamp say so.
#[must_use]
pub fn is_armed(health: &Health) -> bool {
    health.readings().iter().any(|reading| reading.name == CANARY && matches!(reading.state, State::Ok(_)))
}

/// A node that has its identity and its store, and nothing else yet.
pub struct Base {
    /// Its surroundings.
    pub host: Host,
    /// Its configuration.
    pub config: Config,
    /// Who it is.
    pub credentials: Credentials,
    /// Its store.
    pub store: Store,
    /// Its health.
    pub health: Health,
    /// Lets event streams in.
    pub gate: SseGate,
    role: Role,
    tasks: JoinSet<Result<(), String>>,
    store_check: Check,
}

/// What the store said when it was opened.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The number of this start; higher than that of any earlier one.
    pub epoch: u64,
    /// The highest sequence number that was ever kept, even if its row is lost.
    pub high: u64,
    /// `STORE_LOST`: what did not come back.
    pub losses: Vec<Loss>,
}

impl Base {
    /// Proves who the node is and opens its store.
    ///
    /// # Errors
    /// [`StartError::Credentials`], [`StartError::Store`].
    pub async fn open(config: Config, host: Host, role: Role) -> Result<(Self, Opened), StartError> {
        let [ca, cert, key] = ["tls.ca", "tls.cert", "tls.key"].map(|path| config.path(path));
        let credentials = Credentials::load(&ca, &cert, &key, Some(role))?;
        if let Some(why) = dates(credentials.validity(host.clock.wall())) {
            tracing::warn!(certificate = %cert.display(), "the certificate {why}");
        }
        let health = Health::new(host.shutdown.clone());
        let store_check = health.check("store", Relevance::Ready);
        let (store, opened) = open_store(&config, &host).await?;
        store_hooks::show(&store_check, &store.health());
        metric::set(Gauge::CertificateExpiry, &[], seconds(credentials.period().not_after));
        let gate = SseGate::new(host.shutdown.clone(), host.clock.clone());
        let tasks = JoinSet::new();
        Ok((Self { host, config, credentials, store, health, gate, role, tasks, store_check }, opened))
    }

    /// Who the node is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        self.credentials.identity()
    }

    /// The region that the key `path` names; empty for any.
    ///
    /// # Errors
    /// [`StartError::Role`]: it is no name.
    pub fn region(&self, path: &str) -> Result<Option<Name>, StartError> {
        match self.config.text(path) {
            "" => Ok(None),
            name => name.parse().map(Some).map_err(|why| StartError::Role(format!("{path}: {why}"))),
        }
    }

    /// What the node signs with, if the configuration says: `sign.cert` and `sign.key`.
    ///
    /// # Errors
    /// [`StartError::Role`]: one without the other, or they are not this node's.
    pub fn signing_key(&self) -> Result<Option<SigningKey>, StartError> {
        match (self.config.path_if_set("sign.cert"), self.config.path_if_set("sign.key")) {
            (Some(cert), Some(key)) => {
                let key = SigningKey::load(&cert, &key, &self.credentials);
                key.map(Some).map_err(|error| StartError::Role(error.to_string()))
            }
            (None, None) => Ok(None),
            _ => Err(StartError::Role("sign.cert and sign.key belong together: set both, or neither".to_owned())),
        }
    }

    /// Opens the node's link for sessions with the nodes that `config` accepts.
    ///
    /// # Errors
    /// [`StartError::Link`].
    pub fn link(&self, config: LinkConfig) -> Result<(Link, EventReceiver), StartError> {
        let (events, received) = huxiao_link::events();
        let link = Link::new(self.credentials.clone(), config, events)?;
        Ok((link, received))
    }

    /// Runs `task` as a part of the node, which stops with an error if it ends before the node is asked to stop.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_telling(async {
            task.await;
            Ok(())
        });
    }

    /// The same for a task that says why it ended.
    pub fn spawn_telling(&mut self, task: impl Future<Output = Result<(), String>> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Starts the machine and serves `router` beside the endpoints that every node has.
    ///
    /// # Errors
    /// [`StartError::Http`].
    pub async fn run<M, S>(
        mut self,
        link: Link,
        machine: M,
        shell: S,
        (handle, inbox): (Handle<M>, Inbox<M>),
        router: Router,
    ) -> Result<Running, StartError>
    where
        M: Machine + Send + 'static,
        M::Input: Send,
        M::Output: Send,
        S: Shell<M>,
    {
        let Host { clock, shutdown, exposition, notifier, .. } = self.host.clone();
        let listener = http::bind(&self.config.address("http.listen")).await?;
        let address: Address = listener.address().clone();
        let version = Version {
            version: self.host.version,
            commit: self.host.commit,
            role: self.role.as_str(),
            protocol: "huxiao.v1",
        };
        let router = http::with_fallbacks(router.merge(self.health.router(exposition.clone(), version)));
        let loop_check = self.health.check("loop", Relevance::Live);
        self.spawn(http::serve(listener, router, shutdown.clone()));
        self.spawn(heartbeat(handle, loop_check, notifier, shutdown.clone()));
        self.spawn(metric::upkeep(exposition, shutdown.clone()));
        self.spawn(link_hooks::watch(link.clone(), self.role, shutdown.clone()));
        let canary = self.health.check(CANARY, Relevance::Told);
        let checks = running::StoreChecks { state: self.store_check.clone(), canary };
        let failed = Arc::new(OnceLock::new());
        self.spawn(running::watch_store(self.store.clone(), checks, shutdown.clone(), failed.clone()));
        let machine = tokio::spawn(async move {
            drop(drive(machine, shell, inbox, clock, shutdown).await);
        });
        Ok(Running::new(address, self.host, link, self.store, machine, self.tasks, failed))
    }
}

async fn open_store(config: &Config, host: &Host) -> Result<(Store, Opened), StartError> {
    let dir: PathBuf = config.path("data.dir").join("store");
    let mut settings = huxiao_store::Config::new(dir, host.trial.clone());
    settings.ballast_bytes = config.bytes("store.ballast");
    settings.black_box_blocks = config.bytes("store.black_box") / huxiao_core::limits::BLACK_BOX_BLOCK_BYTES as u64;
    settings.low_space_bytes = config.bytes("store.low_free");
    settings.trial_timeout = config.duration("store.trial_timeout");
    settings.observe = Some(Arc::new(|observation: Observation| store_hooks::observe(&observation)));
    let now = host.clock.wall();
    // Opening reads everything and may wait for the trial process: not on a thread that others need.
    let opened = tokio::task::spawn_blocking(move || huxiao_store::open(&settings, now))
        .await
        .map_err(|error| StartError::Role(format!("opening the store did not come to an end: {error}")))??;
    for loss in &opened.losses {
        tracing::error!(%loss, "STORE_LOST: the store came back with less than it had promised to hold");
    }
    if opened.refilled > 0 {
        tracing::warn!(rows = opened.refilled, "rows were put back from the black box");
    }
    Ok((opened.store, Opened { epoch: opened.epoch, high: opened.high, losses: opened.losses }))
}

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are exact in an f64 for the next 285 million years")]
fn seconds(at: WallTime) -> f64 {
    at.0 as f64 / 1e6
}
