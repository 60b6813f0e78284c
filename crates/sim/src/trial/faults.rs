//! What may go wrong in a trial: kinds that are switched on or off as a whole, and what each draws.

use std::collections::BTreeSet;
use std::time::Duration;

use mainstay_plan::Plan;
use mainstay_plan::action::{Action, Outcome, Plane, Service};
use mainstay_plan::backup::{Backup, Keeper};
use mainstay_plan::observation::SeenRole;
use mainstay_plan::strategy::Step;

use crate::broken::Broken;
use crate::dice::Dice;
use crate::gray::Gray;
use crate::world::{Answers, Carrier, CrashKind, Fault, HostTrouble, Lie, Link, Server, Trouble, VaultTrouble};

macro_rules! kinds {
    ($($(#[doc = $about:literal])+ $name:ident = $word:literal,)+) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum FaultKind {
            $($(#[doc = $about])+ $name,)+
        }

        impl FaultKind {
            /// All of them.
            pub const ALL: &'static [FaultKind] = &[$(FaultKind::$name),+];

            /// The word for it.
            pub const fn word(self) -> &'static str {
                match self { $(FaultKind::$name => $word,)+ }
            }
        }
    };
}

kinds! {
    /// A server dies or hangs.
    Server = "server",
    /// All of a zone or a region is gone.
    Zone = "zone",
    /// A server that was down comes back by itself, or somebody else restarts it.
    Back = "comes-back",
    /// The agent's own path breaks.
    OwnPath = "own-path",
    /// The network to an instance works in one direction alone.
    Link = "one-way-link",
    /// The probes of an instance lie.
    Lies = "lying-probe",
    /// A server is slow, or flickers.
    Gray = "gray",
    /// Something can't be asked.
    CannotAsk = "cannot-ask",
    /// A standby lags, or does not say how far.
    Lag = "lag",
    /// An instance starts slowly.
    SlowStart = "slow-start",
    /// A standby does not start, and its provider says that it did.
    NoStart = "no-start",
    /// A provider answers *unknown* after it has acted, or *failed*.
    Outcome = "outcome",
    /// A command of the plan fails from now on, or works again.
    Command = "command-fails",
    /// A control plane is gone.
    Plane = "control-plane",
    /// Names do not resolve.
    Names = "names",
    /// The traffic process dies.
    Traffic = "traffic-dies",
    /// The traffic process refuses tables.
    Refuses = "traffic-refuses",
    /// The agent is killed.
    Killed = "agent-killed",
    /// The agent is killed between two effects.
    Crash = "agent-crashes",
    /// The agent is stopped for a while.
    Stopped = "agent-stopped",
    /// The power goes, and the journal's tail is torn.
    PowerCut = "power-cut",
    /// The disk is slow.
    SlowDisk = "slow-disk",
    /// The journal can't be written any more.
    DiskLost = "disk-lost",
    /// The journal is gone.
    JournalGone = "journal-gone",
    /// The clock jumps.
    Clock = "clock",
    /// A channel to people fails or hangs.
    Channel = "channel",
    /// People interfere.
    People = "people",
    /// Another plan is adopted.
    Reload = "reload",
    /// A provider does what it is told, or does not, and never answers.
    Hangs = "provider-hangs",
    /// Answers of probes come late, or are lost.
    LateAnswers = "late-answers",
    /// The connection to the traffic process is cut: it serves on, and nothing is heard from it.
    TrafficLink = "traffic-link",
    /// Somebody makes an instance active, or a standby, without asking us.
    Outsider = "outsider",
    /// The clock is set back.
    ClockBack = "clock-back",
    /// A server dies, and again soon after each start.
    CrashLoop = "crash-loop",
    /// Where backups are kept the disk is full, or damages them, or the host is gone.
    Vault = "backups",
}

impl FaultKind {
    /// Whether it is drawn by numbers of its own, so that what seeds draw beside it stays what it was.
    pub const fn came_later(self) -> bool {
        matches!(
            self,
            FaultKind::Hangs
                | FaultKind::LateAnswers
                | FaultKind::TrafficLink
                | FaultKind::Outsider
                | FaultKind::ClockBack
                | FaultKind::CrashLoop
                | FaultKind::Vault
        )
    }

    /// Whether it strikes a few plans alone, and is drawn for those by itself.
    pub(super) const fn is_apart(self) -> bool {
        matches!(self, FaultKind::CrashLoop | FaultKind::Vault)
    }
}

/// What happens at one moment of a trial.
#[derive(Clone, Debug)]
pub enum What {
    /// This.
    Fault(Fault),
    /// The agent is killed at a record so many further on.
    Crash(CrashKind, u64, Duration),
    /// The journal's tail is torn behind the next record of this kind.
    Torn(&'static str, Duration),
    /// The journal is gone, and the agent with it.
    JournalGone(Duration),
    /// Somebody says something: what, is drawn from this seed when it is time.
    Say(u64),
    /// The other version of the plan is adopted, or the first one again.
    Reload(bool),
}

/// Records that begin or end something, and are handed over with what follows from them.
const TORN_BEHIND: [&str; 9] = [
    "failure_detected",
    "recovery_initiated",
    "recovery_initiated",
    "rung_started",
    "rung_failed",
    "bound",
    "step_started",
    "switch_started",
    "incident_opened",
];

/// The kinds of fault that reach what this plan has and others have not.
pub(super) fn apt(plan: &Plan) -> Vec<FaultKind> {
    let steps = || {
        let plays = plan.components.iter().flat_map(|it| &it.ladder).flat_map(|it| it.plays.values());
        plays.flat_map(|it| &it.steps)
    };
    let zones: BTreeSet<(&str, Option<&str>)> =
        plan.instances.iter().map(|it| (it.location.region.as_str(), it.location.zone.as_deref())).collect();
    let tells_roles = plan.probes.iter().any(|it| it.kind.reports_role());
    let all = [
        (FaultKind::Plane, !plan.controls.is_empty()),
        (FaultKind::Channel, !plan.notifications.is_empty()),
        (FaultKind::Command, steps().any(|it| it.undo.is_some())),
        (FaultKind::Outcome, steps().any(|it| it.undo.is_some() || !it.idempotent)),
        (FaultKind::Zone, zones.len() > 1 && plan.components.len() > 1),
        (FaultKind::Back, zones.len() > 1 && plan.components.len() > 1),
        (FaultKind::Outsider, tells_roles),
        (FaultKind::Vault, kept(plan).next().is_some()),
    ];
    all.into_iter().filter(|it| it.1).map(|it| it.0).collect()
}

/// Draws what a fault of this kind does; `None` where the plan has nothing that it could strike.
pub(super) fn draw(kind: FaultKind, dice: &mut Dice, plan: &Plan) -> Option<What> {
    let instances: Vec<&str> = plan.instances.iter().map(|it| it.name.as_str()).collect();
    let everybody: Vec<&str> =
        instances.iter().copied().chain(plan.witnesses.iter().map(|it| it.name.as_str())).collect();
    let which = |dice: &mut Dice, of: &[&str]| dice.pick(of).map(str::to_owned);
    let trouble = |it| Some(What::Fault(Fault::Trouble(it)));
    let fault = |it| Some(What::Fault(it));
    match kind {
        FaultKind::Server => {
            // Where the component lives hurts most.
            let primaries: Vec<&str> = plan.components.iter().map(|it| it.name.as_str()).collect();
            let of = if dice.once_in(2) { &everybody } else { &primaries };
            let how = dice.pick(&[Server::Dead, Server::Dead, Server::Hung])?;
            fault(Fault::Server(which(dice, of)?, how))
        }
        FaultKind::Zone => {
            let zones: Vec<&str> = plan.instances.iter().filter_map(|it| it.location.zone.as_deref()).collect();
            let how = dice.pick(&[Server::Dead, Server::Hung])?;
            if dice.once_in(4) {
                let regions: Vec<&str> = plan.instances.iter().map(|it| it.location.region.as_str()).collect();
                return fault(Fault::Region(which(dice, &regions)?, how));
            }
            fault(Fault::Zone(which(dice, &zones)?, how))
        }
        FaultKind::Back => fault(Fault::Server(which(dice, &everybody)?, Server::Up)),
        FaultKind::OwnPath => fault(Fault::OwnPath(!dice.once_in(3))),
        FaultKind::Link => trouble(Trouble::Link(
            which(dice, &instances)?,
            dice.pick(&[Link::NoAnswers, Link::NoOrders, Link::Whole])?,
        )),
        FaultKind::Lies => {
            let lie = dice.pick(&[Some(Lie::Good), Some(Lie::Refused), None])?;
            trouble(Trouble::Lies(which(dice, &everybody)?, lie))
        }
        FaultKind::Gray => {
            let name = which(dice, &instances)?;
            fault(Fault::Gray(match dice.below(6) {
                4 | 5 => Gray::Refuses(dice.pick(&plan.probes)?.name, !dice.once_in(3)),
                0 => Gray::Slow(name, Some(dice.millis(1000))),
                1 => Gray::Slow(name, None),
                2 => Gray::Flickers(name, Some((1 + dice.below(3) as u32, 1 + dice.below(3) as u32))),
                _ => Gray::Flickers(name, None),
            }))
        }
        FaultKind::CannotAsk => fault(Fault::CannotAsk(which(dice, &everybody)?, !dice.once_in(3))),
        FaultKind::Lag => {
            let lag =
                dice.pick(&[None, Some(Duration::from_secs(60)), Some(Duration::from_secs(6)), Some(Duration::ZERO)])?;
            fault(Fault::Lag(which(dice, &instances)?, lag))
        }
        FaultKind::SlowStart => trouble(Trouble::StartsSlowly(which(dice, &instances)?, dice.millis(8000))),
        FaultKind::NoStart => trouble(Trouble::DoesNotStart(which(dice, &instances)?, !dice.once_in(3))),
        FaultKind::Outcome => fault(Fault::Outcome(match dice.once_in(3) {
            true => Outcome::Failed("exit status 1".to_owned()),
            false => Outcome::Unknown("the wire was cut".to_owned()),
        })),
        FaultKind::Command => trouble(Trouble::CommandFails(dice.pick(&programs(plan))?, !dice.once_in(4))),
        FaultKind::Plane => {
            let plane = dice.pick(&[Plane::RegionalControl, Plane::GlobalControl])?;
            let planes = if dice.once_in(3) { Default::default() } else { [plane].into() };
            fault(Fault::Breaks(Box::new(Broken { planes, hangs: dice.once_in(2), ..Broken::default() })))
        }
        FaultKind::Names => fault(Fault::Breaks(Box::new(Broken { dns: !dice.once_in(3), ..Broken::default() }))),
        FaultKind::Traffic => fault(Fault::Traffic(dice.once_in(2))),
        FaultKind::Refuses => trouble(Trouble::TrafficRefuses(!dice.once_in(3))),
        FaultKind::Killed => fault(Fault::AgentKilled(dice.millis(3000))),
        FaultKind::Crash => {
            let kinds = [CrashKind::AfterRecord, CrashKind::BeforeSync, CrashKind::Torn, CrashKind::BeforeOutcome];
            let kind = dice.pick(&kinds)?;
            Some(What::Crash(kind, 1 + dice.below(20), dice.millis(2000)))
        }
        FaultKind::Stopped => fault(Fault::AgentStops(dice.millis(4000))),
        FaultKind::PowerCut if dice.once_in(2) => Some(What::Torn(dice.pick(&TORN_BEHIND)?, dice.millis(2000))),
        FaultKind::PowerCut => {
            let keeps = usize::try_from(dice.below(4)).unwrap_or(0);
            trouble(Trouble::PowerCut { keeps, down_for: dice.millis(3000) })
        }
        FaultKind::SlowDisk => {
            let takes = dice.millis(800);
            trouble(Trouble::SlowDisk((!dice.once_in(3)).then_some(takes)))
        }
        FaultKind::DiskLost => fault(Fault::JournalLost),
        FaultKind::JournalGone => Some(What::JournalGone(dice.millis(2000))),
        FaultKind::Clock => trouble(Trouble::ClockJumps(dice.millis(600_000))),
        FaultKind::Channel => {
            let names: Vec<&str> = plan.notifications.iter().map(|it| it.name.as_str()).collect();
            let how = dice.pick(&[Carrier::Fails, Carrier::Hangs, Carrier::Swallows, Carrier::Works])?;
            fault(Fault::Channel(which(dice, &names)?, how))
        }
        FaultKind::Hangs => trouble(Trouble::NeverAnswers(dice.once_in(2))),
        FaultKind::LateAnswers => {
            let (long, short) = (dice.millis(4000), dice.millis(400));
            let how = dice.pick(&[Answers::InTime, Answers::Late(long), Answers::Late(short), Answers::Lost])?;
            trouble(Trouble::Answers(which(dice, &everybody)?, how))
        }
        FaultKind::TrafficLink => trouble(Trouble::TrafficLinkCut(!dice.once_in(3))),
        FaultKind::Outsider => {
            let role = dice.pick(&[SeenRole::Active, SeenRole::Active, SeenRole::Standby])?;
            fault(Fault::Role(which(dice, &instances)?, role))
        }
        FaultKind::ClockBack => trouble(Trouble::ClockIsSetBack(dice.millis(600_000))),
        FaultKind::CrashLoop => {
            let primaries: Vec<&str> = plan.components.iter().map(|it| it.name.as_str()).collect();
            let after = dice.millis(6000);
            trouble(Trouble::CrashLoops(which(dice, &primaries)?, (!dice.once_in(5)).then_some(after)))
        }
        FaultKind::Vault => {
            let all: Vec<&Backup> = kept(plan).collect();
            let series = dice.pick(&all)?;
            let folder = series.postgres.as_deref()?.folder.clone();
            if let Keeper::Host(host) = plan.keeper(series)
                && dice.once_in(3)
            {
                return fault(Fault::Host(host.name.clone(), HostTrouble::Killed(dice.millis(60_000))));
            }
            let how =
                dice.pick(&[VaultTrouble::Full, VaultTrouble::Full, VaultTrouble::Damaged, VaultTrouble::None])?;
            fault(Fault::Vault(folder, how))
        }
        FaultKind::People => Some(What::Say(dice.any())),
        FaultKind::Reload => Some(What::Reload(dice.once_in(2))),
    }
}

/// The series that the agent keeps.
fn kept(plan: &Plan) -> impl Iterator<Item = &Backup> {
    plan.components.iter().flat_map(|it| &it.backups).filter(|it| it.kept_by_agent().is_some())
}

/// What the plan's commands run.
fn programs(plan: &Plan) -> Vec<String> {
    let plays = plan.components.iter().flat_map(|it| &it.ladder).flat_map(|it| it.plays.values());
    let program = |action: &Action| match action {
        Action::Command { argv, .. } => argv.first().cloned(),
        Action::Service { service: Service::Declared { start, .. }, .. } => start.first().cloned(),
        Action::Service { .. }
        | Action::TriggerFile { .. }
        | Action::Webhook { .. }
        | Action::Postgres(_)
        | Action::EndLease { .. } => None,
    };
    let programs = |it: &Step| {
        let acts = it.kind.action().and_then(|it| program(it.1));
        let undoes = it.undo.as_ref().and_then(|it| program(&it.action));
        [acts, undoes]
    };
    let all: BTreeSet<String> = plays.flat_map(|it| &it.steps).flat_map(programs).flatten().collect();
    all.into_iter().collect()
}
