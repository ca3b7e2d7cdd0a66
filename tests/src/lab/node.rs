//! One process of a node: started, watched, stopped or killed.

use std::fs::{File, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::dsl::wait_until;
use super::http;

/// How long a node may take to be ready, or to stop. Nothing takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(40);

/// Makes the command that runs a program somewhere, such as in a network namespace. Its process must become the program itself.
pub type Launcher = Box<dyn Fn(&Path) -> Command + Send + Sync>;

/// A node of the lab: what is needed to run it, and its process while it runs.
pub struct Node {
    name: String,
    role: String,
    base: String,
    program: PathBuf,
    launcher: Launcher,
    config: PathBuf,
    log: PathBuf,
    settings: Vec<(String, String)>,
    variables: Vec<(String, String)>,
    child: Option<Child>,
}

impl Node {
    pub(super) fn new(name: &str, role: &str, base: &str, program: PathBuf, config: PathBuf, log: PathBuf) -> Self {
        let (name, role, base) = (name.to_owned(), role.to_owned(), base.to_owned());
        let (settings, variables) = (Vec::new(), Vec::new());
        let launcher = Box::new(|program: &Path| Command::new(program));
        Self { name, role, base, program, launcher, config, log, settings, variables, child: None }
    }

    /// Its name in the lab.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its API is.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Its role's word.
    #[must_use]
    pub fn role(&self) -> &str {
        &self.role
    }

    /// Starts it with `--set key=value` from now on.
    pub fn set(&mut self, key: &str, value: &str) {
        if key == "http.listen" {
            self.base = if value.starts_with("unix:") { value.to_owned() } else { format!("http://{value}") };
        }
        self.settings.retain(|(have, _)| have != key);
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    /// Starts it with this environment variable from now on.
    pub fn variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Has its process be started by `launcher` from now on.
    pub fn launch_by(&mut self, launcher: impl Fn(&Path) -> Command + Send + Sync + 'static) {
        self.launcher = Box::new(launcher);
    }

    /// Starts its process, from a working directory that is not its own. It need not be ready when this returns.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = self.open_log();
        self.child = Some(self.command().stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    }

    /// Starts it with a limit of `blocks` (of 512 bytes) on the size of its files: writing more fails, as on a failing disk.
    pub fn start_limited(&mut self, blocks: u64) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let plain = self.command();
        let mut limited = Command::new("sh");
        // Ignored, so that the write fails instead of the process (setrlimit(2), RLIMIT_FSIZE).
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        limited.args(["-c", &script, "sh"]).arg(plain.get_program()).args(plain.get_args()).current_dir("/");
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => limited.env(name, value),
                None => limited.env_remove(name),
            };
        }
        let log = self.open_log();
        self.child = Some(limited.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    }

    /// The command that runs it.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = (self.launcher)(&self.program);
        command.args([&self.role, "run", "--config"]).arg(&self.config).current_dir("/").stdin(Stdio::null());
        for (key, value) in &self.settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HUXIAO_")) {
            command.env_remove(name);
        }
        command.env_remove("NOTIFY_SOCKET").env_remove("RUST_LOG");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Waits until it answers that it is ready.
    pub fn wait_ready(&mut self) {
        let ready = |node: &mut Self| {
            if let Some(status) = node.exited() {
                panic!("{} ended with {status} instead of getting ready", node.name);
            }
            http::get(&node.base, "/readyz").is_ok_and(|answer| answer.status == 200)
        };
        let what = format!("{} is ready", self.name);
        wait_until(&what, PATIENCE, || ready(self).then_some(()));
    }

    /// Whether its process runs, as far as this side knows.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// Kills it as a power switch would, but for the page cache. Nothing if it does not run.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            let status = child.wait().unwrap();
            assert_eq!(status.signal(), Some(9), "{} had ended by itself before it was killed: {status}", self.name);
        }
    }

    /// Asks it to stop and waits for the end, which must be status 0.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.wait_exit(PATIENCE);
        assert!(status.success(), "{} ended with {status}", self.name);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().unwrap_or_else(|| panic!("{} does not run", self.name));
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// Waits until it has ended by itself.
    pub fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.exited() {
                self.child = None;
                return status;
            }
            assert!(began.elapsed() < within, "{} has not ended within {within:?}", self.name);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its exit status, if it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().unwrap())
    }

    /// All that it has logged so far, in all its lives.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Nothing in its log speaks of a panic.
    pub fn assert_calm(&self) {
        let log = self.log();
        let bad = log.lines().find(|line| line.contains("panicked at") || line.contains("stack backtrace"));
        assert_eq!(bad, None, "{} panicked", self.name);
    }

    /// Its exit status if it has ended by itself since it was last asked or started; it can be started again then.
    pub fn fallen(&mut self) -> Option<ExitStatus> {
        let status = self.exited();
        if status.is_some() {
            self.child = None;
        }
        status
    }

    /// Ends it however it can be ended. Nothing if it does not run.
    pub fn put_down(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn open_log(&self) -> File {
        OpenOptions::new().create(true).append(true).open(&self.log).unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.put_down();
    }
}
