//! Reading the configuration of a running node again.
//!
//! Invariant: a reload that is refused has changed nothing.

use huxiao_runtime::config::{Change, Config, Loader, diff};
use huxiao_runtime::host::Reload;
use huxiao_runtime::log::LogLevel;

/// What a reload needs to know.
pub struct Reloader {
    loader: Loader,
    /// What the node was started with: what needs a restart is still so.
    started: Config,
    /// What was taken over last.
    current: Config,
    level: LogLevel,
    role: Option<Reload>,
}

impl Reloader {
    /// For a node that is about to be started with `config`.
    #[must_use]
    pub fn new(loader: Loader, config: Config, level: LogLevel) -> Self {
        Self { loader, started: config.clone(), current: config, level, role: None }
    }

    /// The node runs; this is its part of a reload.
    pub fn started(&mut self, role: Reload) {
        self.role = Some(role);
    }

    /// Reads the layers again and puts what is reloadable to use.
    ///
    /// # Errors
    /// All mistakes, one a line; nothing has changed.
    pub fn reload(&mut self) -> Result<Vec<Change>, String> {
        let new = self.loader.load().map_err(|errors| errors.to_string())?;
        let (old, filter) = (self.current.text("log.level").to_owned(), new.text("log.level").to_owned());
        self.level.set(&filter).map_err(|error| error.to_string())?;
        if let Some(Err(why)) = self.role.as_mut().map(|role| role(&new)) {
            // It was taken a moment ago, so it is taken again.
            let _ = self.level.set(&old);
            return Err(why);
        }
        let taken = diff(&self.current, &new).into_iter().filter(|change| change.reloadable);
        let waiting = diff(&self.started, &new).into_iter().filter(|change| !change.reloadable);
        let changes = taken.chain(waiting).collect();
        self.current = new;
        Ok(changes)
    }
}
