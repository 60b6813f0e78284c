//! `mainstay adopt`: take a displaced instance as a standby again, or say where an instance is now.

use std::net::IpAddr;

use mainstay_api as api;

use super::Cx;
use crate::exit::{Answer, Failure};

/// Take a displaced instance as a standby again, or say where one is now
///
/// After a takeover the old instance is fenced and no part of any recovery. Once it follows the new one, this makes it
/// the standby to fall back to.
///
/// With `--address` an instance that was restored or moved by hand is asked there from then on, and its clients are led
/// there. Not while a recovery does something with it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  mainstay adopt orders-db --reason \"rebuilt as a replica\"\n  mainstay adopt orders-db --address 10.0.1.99 --reason \"restored on another machine\""
)]
pub(crate) struct Adopt {
    /// The instance
    instance: String,
    /// Where it is now: an IP address without a port; probes and routes keep their ports
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// Why, for the journal
    #[arg(long, default_value = super::NO_REASON, hide_default_value = true)]
    reason: String,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Adopt {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let Adopt { instance, address, reason, json } = self;
        let next = match address {
            None => format!("`{instance}` is a standby again once its probes find it healthy; see `mainstay status`"),
            Some(address) => format!("`{instance}` is asked at {address} from now on; see `mainstay status`"),
        };
        cx.give(&api::Command::Adopt { instance, address, reason }, json, &next)
    }
}
