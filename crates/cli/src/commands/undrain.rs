//! `mainstay undrain`: end a drain.

use mainstay_api as api;

use super::Cx;
use crate::exit::{Answer, Failure};

/// End a drain
///
/// What is healthy serves again at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mainstay undrain web-b\n  mainstay undrain --zone us-east-1a")]
pub(crate) struct Undrain {
    /// The instance
    #[arg(value_name = "TARGET", required_unless_present = "zone")]
    target: Option<String>,
    /// The zone, as it was named
    #[arg(long, value_name = "ZONE", conflicts_with = "target")]
    zone: Option<String>,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Undrain {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let Undrain { target, zone, json } = self;
        let next = format!("`{}` serves again where it is healthy", named(target.as_deref(), zone.as_deref()));
        cx.give(&api::Command::Undrain { target, zone }, json, &next)
    }
}

/// As it is written on the command line.
pub(super) fn named(target: Option<&str>, zone: Option<&str>) -> String {
    match (target, zone) {
        (Some(target), _) => target.to_owned(),
        (None, zone) => format!("--zone {}", zone.unwrap_or("…")),
    }
}
