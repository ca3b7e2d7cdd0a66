//! Arguments that several commands share, and how their texts are read.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};
use huxiao_runtime::log::LogFormat;

/// What every command takes.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// How log lines look: text or json
    #[arg(long, global = true, value_name = "FORMAT", value_parser = log_format, help_heading = "Global options")]
    pub log_format: Option<LogFormat>,
    /// What is logged, such as info or warn,huxiao_link=debug
    #[arg(long, global = true, value_name = "FILTER", help_heading = "Global options")]
    pub log_level: Option<String>,
    /// Say only what went wrong
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    pub quiet: bool,
    /// Say more; twice for still more
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Global options")]
    pub verbose: u8,
    /// No colours (as with NO_COLOR or TERM=dumb)
    #[arg(long, global = true, help_heading = "Global options")]
    pub no_color: bool,
}

impl Global {
    /// The log filter that the flags ask for, if they ask for one.
    #[must_use]
    pub fn log_filter(&self) -> Option<&str> {
        let by_count = match (self.quiet, self.verbose) {
            (true, _) => Some("warn"),
            (false, 0) => None,
            (false, 1) => Some("debug"),
            (false, _) => Some("trace"),
        };
        self.log_level.as_deref().or(by_count)
    }

    /// Whether log lines on this standard error are coloured.
    #[must_use]
    pub fn colours(&self) -> bool {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        crate::output::is_watched() && !self.no_color && !dumb && !set("NO_COLOR")
    }

    /// Says something that is not a failure, unless it is not wanted.
    pub fn say(&self, words: &str) {
        if !self.quiet {
            crate::output::say(words);
        }
    }
}

/// Where a node's configuration comes from.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigFiles {
    /// A configuration file (TOML); a later one wins over an earlier one
    #[arg(long = "config", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Set one key, as --set http.listen=127.0.0.1:8480; wins over environment and files
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = assignment)]
    pub set: Vec<(String, String)>,
}

/// Reads a length of time such as `500ms`, `60s` or `1m 30s`.
///
/// # Errors
/// What would be right.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write a length of time with its unit, such as 500ms, 60s or 5m".to_owned();
    let span: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    // Ten years is for ever at a terminal, and no timer overflows on it.
    Duration::try_from(span).ok().filter(|span| *span <= Duration::from_secs(10 * 365 * 86_400)).ok_or_else(wrong)
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, such as http.listen=127.0.0.1:8480")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    text.parse().map_err(|error: huxiao_runtime::log::LogError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        for (text, millis) in [("500ms", 500), ("60s", 60_000), ("5m", 300_000), ("1m 30s", 90_000), ("0s", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["60", "", "-5s", "soon", "99999999999h"] {
            assert!(duration(text).unwrap_err().contains("60s"), "{text}");
        }
    }

    #[test]
    fn flags_decide_how_much_is_logged() {
        let global = |quiet, verbose, level: Option<&str>| Global {
            quiet,
            verbose,
            log_level: level.map(str::to_owned),
            ..Global::default()
        };
        assert_eq!(global(false, 0, None).log_filter(), None);
        assert_eq!(global(true, 0, None).log_filter(), Some("warn"));
        assert_eq!(global(false, 2, None).log_filter(), Some("trace"));
        assert_eq!(global(false, 1, Some("info")).log_filter(), Some("info"));
    }
}
