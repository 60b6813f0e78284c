//! How a world turns out where the plan leaves it open.

use mainstay_plan::proof::Condition;

use crate::{Pace, Server};

/// Parts of the time between two questions of a probe at which a failure comes.
pub const PHASES: u32 = 3;

/// Moments at which the agent is killed, spread over the recovery.
pub const KILLS: u32 = 10;

/// One way in which a world may turn out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Luck {
    /// How long things take.
    pub pace: Pace,
    /// How lost servers look.
    pub lost: Server,
    /// Whether what can't be done runs into its timeout.
    pub hangs: bool,
    /// When the failure comes between two questions, in parts of [`PHASES`].
    pub phase: u32,
    /// When the agent is killed: of the time that a recovery takes without that, in parts of [`KILLS`].
    pub killed_at: Option<u32>,
}

impl Luck {
    /// All ways that are worth playing under a condition.
    pub fn all(condition: Condition) -> Vec<Luck> {
        let mut all = Vec::new();
        for (pace, lost, hangs) in [
            (Pace::Quick, Server::Dead, false),
            (Pace::Quick, Server::Hung, true),
            (Pace::Allowed, Server::Dead, false),
            (Pace::Allowed, Server::Hung, true),
        ] {
            let kills: Vec<Option<u32>> = match condition {
                Condition::AgentRestarts => (0..KILLS).map(Some).collect(),
                Condition::None
                | Condition::RegionalControlGone
                | Condition::GlobalControlGone
                | Condition::AgentsHostGone
                | Condition::AgentsPathGone
                | Condition::CoordinationStoreGone
                | Condition::DnsGone
                | Condition::BackupsLocationGone => vec![None],
            };
            for killed_at in kills {
                // With many moments to be killed at, one phase for each is enough.
                let phases = killed_at.map_or(0..PHASES, |it| it % PHASES..it % PHASES + 1);
                all.extend(phases.map(|phase| Luck { pace, lost, hangs, phase, killed_at }));
            }
        }
        all
    }

    /// In words: how long things take, and how what is lost looks.
    pub fn said(&self) -> String {
        let pace = match self.pace {
            Pace::Quick => "what works takes hardly any time",
            Pace::Allowed => "what works takes all the time that the plan allows",
        };
        let looks = match self.lost {
            Server::Hung => "what is lost hangs",
            Server::Dead | Server::Up => "what is lost refuses",
        };
        let killed = self.killed_at.map(|it| format!(", and the agent is killed {it} tenths of the way through"));
        format!("{pace}, {looks}{}", killed.unwrap_or_default())
    }
}
