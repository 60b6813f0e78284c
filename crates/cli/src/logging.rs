//! What the long-running commands say on stderr.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Logs to stderr from here on. `MAINSTAY_LOG` selects what, for example `debug` or `mainstay_host=debug`; `info` is the default.
/// ERROR means that something is broken. The DNS library warns of each malformed packet, and anybody can send those.
pub(crate) fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_env("MAINSTAY_LOG").unwrap_or_else(|_| EnvFilter::new("info,hickory_proto=error"));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match format {
        LogFormat::Text => lines.with_ansi(colour).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}
