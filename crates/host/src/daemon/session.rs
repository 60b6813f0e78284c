//! One connection to an agent, from the host's side.

use std::collections::VecDeque;
use std::time::Duration;

use mainstay_wire::message::{FromAgent, FromHost, PROTOCOL, Sent, Welcome};
use mainstay_wire::stream::{Incoming, Outgoing};

use crate::clock::boot_ns;

/// Renewals whose moment is remembered. An order that goes by an older one is too old.
const REMEMBERED: usize = 64;

/// An agent that has not introduced itself for so long is none.
const INTRODUCES_ITSELF_WITHIN: Duration = Duration::from_secs(5);

/// One connection.
pub(super) struct Session {
    /// Which of this process.
    pub(super) nth: u64,
    pub(super) address: String,
    pub(super) to_agent: Outgoing<FromHost>,
    pub(super) from_agent: Incoming<FromAgent>,
    pub(super) welcome: Option<Welcome>,
    /// When it was last heard, in nanoseconds of `CLOCK_BOOTTIME`.
    pub(super) heard_ns: u64,
    began_ns: u64,
    /// Renewals, and when each left.
    left: VecDeque<(u64, u64)>,
    /// What the traffic process serves is to be said as of a new connection.
    pub(super) greets: bool,
}

impl Session {
    /// A connection that has just begun; the host's first word leaves now.
    pub(super) fn begin(nth: u64, address: String, ends: super::Ends) -> Session {
        let now = boot_ns();
        let (to_agent, from_agent) = ends;
        let left = VecDeque::from([(0, now)]);
        Session { nth, address, to_agent, from_agent, welcome: None, heard_ns: now, began_ns: now, left, greets: true }
    }

    /// How long it may be silent.
    pub(super) fn patience(&self) -> Duration {
        self.welcome.as_ref().map_or(INTRODUCES_ITSELF_WITHIN, |it| Duration::from_millis(it.lease.expires_ms))
    }

    /// How long the agent was silent.
    pub(super) fn silent(&self) -> Duration {
        Duration::from_nanos(boot_ns().saturating_sub(self.heard_ns))
    }

    /// How long it has lasted.
    pub(super) fn age(&self) -> Duration {
        Duration::from_nanos(boot_ns().saturating_sub(self.began_ns))
    }

    /// A renewal leaves now.
    pub(super) fn leaves(&mut self, seq: u64) {
        self.left.push_back((seq, boot_ns()));
        if self.left.len() > REMEMBERED {
            // The first word stays: an agent that has heard no renewal yet goes by it.
            self.left.remove(1);
        }
    }

    /// When the agent said something, at the earliest; `None` if that is too long ago.
    pub(super) fn said_at(&self, sent: Sent) -> Option<u64> {
        let left = self.left.iter().find(|it| it.0 == sent.seq)?.1;
        Some(left.saturating_add(sent.after_ms.saturating_mul(1_000_000)))
    }

    /// The agent introduces itself.
    ///
    /// # Errors
    /// Why it is not obeyed.
    pub(super) fn welcomed(&mut self, welcome: Welcome, epoch: u64) -> Result<(), String> {
        if welcome.protocol.abs_diff(PROTOCOL) > 1 {
            let (theirs, version) = (welcome.protocol, &welcome.version);
            return Err(format!("it speaks protocol {theirs} (version {version}), and this host {PROTOCOL}"));
        }
        if welcome.epoch < epoch {
            return Err(format!("it decides under epoch {}, which is over: {epoch} was seen", welcome.epoch));
        }
        self.welcome = Some(welcome);
        Ok(())
    }
}
