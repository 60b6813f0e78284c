//! `mainstay adopt`: take a displaced instance as a standby again, or what somebody else made active as the component; or say
//! where an instance is now.

use std::net::IpAddr;

use mainstay_api as api;

use super::Cx;
use crate::exit::{Answer, Failure};

/// Take a displaced instance as a standby again, or one that somebody else made active; or say where one is now
///
/// After a takeover the old instance is fenced and no part of any recovery. Once it follows the new one, this makes it
/// the standby to fall back to.
///
/// When somebody else has moved a component (a person, the service by itself), Mainstay holds and says so. With `--as active` the
/// instance becomes the component: traffic is cut from the old owner, led to the new one, and asked after from the client's side.
///
/// With `--address` an instance that was restored or moved by hand is asked there from then on, and its clients are led
/// there. Not while a recovery does something with it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  mainstay adopt orders-db --reason \"rebuilt as a replica\"\n  mainstay adopt orders-db-b --as active --reason \"promoted by hand\"\n  mainstay adopt orders-db --address 10.0.1.99 --reason \"restored on another machine\""
)]
pub(crate) struct Adopt {
    /// The instance
    instance: String,
    /// As what; without it, as what the instance says that it is
    #[arg(long = "as", value_name = "ROLE", value_parser = ["active", "standby"])]
    role: Option<String>,
    /// As the component although it does not say that it is active
    #[arg(long)]
    anyway: bool,
    /// Accept by name that nothing makes sure the old owner writes no more
    #[arg(long, value_name = "RISK", value_parser = ["two_writers"])]
    accept: Vec<String>,
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
        let Adopt { instance, role, anyway, accept, address, reason, json } = self;
        let next = match (role.as_deref(), address) {
            (Some("standby"), _) => {
                format!("`{instance}` is a standby again once its probes find it healthy; see `mainstay status`")
            }
            (Some(_), _) => format!("`{instance}` becomes the component; see `mainstay recoveries`"),
            (None, Some(address)) => format!("`{instance}` is asked at {address} from now on; see `mainstay status`"),
            (None, None) => format!(
                "`{instance}` is a standby again once its probes find it healthy, or the component if it says that it is \
                 active; see `mainstay status`"
            ),
        };
        cx.give(&api::Command::Adopt { instance, role, anyway, accept, address, reason }, json, &next)
    }
}
