//! What to change in a plan so that a cell becomes proved.
//!
//! A list of changes is meant as a whole: with all of them made, exactly that cell is proved. A test makes them.

use std::fmt;
use std::time::Duration;

use super::{Condition, Said, StepAt};
use crate::config::scalar::show_duration;
use crate::location::FailureDomain;
use crate::{ComponentIx, InstanceIx, Plan, ProbeIx, RouteIx};

/// One change to a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Run the agent outside this domain of the component.
    MoveAgent(ComponentIx, FailureDomain),
    /// Add so many witnesses outside this domain of the component, asked by address, and let it ask them.
    AddWitnesses(ComponentIx, FailureDomain, u32),
    /// Add a warm standby outside this domain, and `failover_to_standby` before this rung of the ladder.
    AddStandby(ComponentIx, FailureDomain, u32),
    /// Move this standby out of this domain of its component, and name where it is.
    MoveStandby(InstanceIx, FailureDomain),
    /// Give this standby a part of its own (by place among those that it shares).
    Separate(InstanceIx, u32),
    /// Keep this standby running.
    KeepWarm(InstanceIx),
    /// Let a probe of this standby report its lag.
    ReportLag(InstanceIx),
    /// Ask this standby for its lag so often that what it said is never older than this.
    AskLagMoreOften(InstanceIx, Duration),
    /// Allow this component to lose so much.
    AllowLoss(ComponentIx, Duration),
    /// Fence by `traffic_cut` on this route, with a proxy.
    FenceByCut(RouteIx),
    /// Give the component a route with a proxy and `traffic_cut`.
    AddRoute(ComponentIx),
    /// Put a proxy in front of this route.
    PutProxy(RouteIx),
    /// Give this instance a service.
    GiveService(InstanceIx),
    /// Control the service of this instance by commands that reach its host.
    ReachService(InstanceIx),
    /// Make this step safe to repeat, and say so.
    MakeIdempotent(StepAt),
    /// Replace this step by one that needs no control plane.
    WithoutControl(StepAt),
    /// Keep what is prepared (by place in the plan's list) outside this domain of the component.
    MovePrepared(u32, ComponentIx, FailureDomain),
    /// Keep a copy of this backup (by place in the component's list) outside this domain, and elsewhere than its others.
    CopyBackup(ComponentIx, u32, FailureDomain),
    /// Name the backup that this rung of the component restores, with a copy elsewhere.
    NameBackup(ComponentIx, u32),
    /// Let this probe ask an address.
    UseAddress(ProbeIx),
    /// Let silence cut this route.
    CutOnSilence(RouteIx),
    /// Let the agent ask what this probe asks, over the network.
    AskFromAgent(ProbeIx),
    /// Let this step reach an address.
    UseAddressIn(StepAt),
    /// Let this step verify for longer than this.
    VerifyLonger(StepAt, Duration),
    /// Let so many components be down or moved at once.
    AllowTouched(u32),
    /// Ask for so many signals of this component, which is what it has.
    AskSignals(ComponentIx, u32),
    /// Drop this precondition (by place) of this rung.
    DropPrecondition(ComponentIx, u32, u32),
    /// Drop the undo of this step.
    DropUndo(StepAt),
    /// Nothing within the plan: this version has nothing for it.
    NotInThisVersion(Condition),
}

impl Change {
    /// The word for its kind in JSON.
    pub const fn kind(&self) -> &'static str {
        match self {
            Change::MoveAgent(..) => "move_agent",
            Change::AddWitnesses(..) => "add_witnesses",
            Change::AddStandby(..) => "add_standby",
            Change::MoveStandby(..) => "move_standby",
            Change::Separate(..) => "separate",
            Change::KeepWarm(_) => "keep_warm",
            Change::ReportLag(_) => "report_lag",
            Change::AskLagMoreOften(..) => "ask_lag_more_often",
            Change::AllowLoss(..) => "allow_loss",
            Change::FenceByCut(_) => "fence_by_cut",
            Change::AddRoute(_) => "add_route",
            Change::PutProxy(_) => "put_proxy",
            Change::GiveService(_) => "give_service",
            Change::ReachService(_) => "reach_service",
            Change::MakeIdempotent(_) => "make_idempotent",
            Change::WithoutControl(_) => "without_control",
            Change::MovePrepared(..) => "move_prepared",
            Change::CopyBackup(..) => "copy_backup",
            Change::NameBackup(..) => "name_backup",
            Change::UseAddress(_) => "use_address",
            Change::CutOnSilence(_) => "cut_on_silence",
            Change::AskFromAgent(_) => "ask_from_agent",
            Change::UseAddressIn(_) => "use_address_in",
            Change::VerifyLonger(..) => "verify_longer",
            Change::AllowTouched(_) => "allow_touched",
            Change::AskSignals(..) => "ask_signals",
            Change::DropPrecondition(..) => "drop_precondition",
            Change::DropUndo(_) => "drop_undo",
            Change::NotInThisVersion(_) => "not_in_this_version",
        }
    }

    /// Adds a change to a list, unless one there covers it; those that it covers leave.
    pub(super) fn add_to(self, list: &mut Vec<Change>, plan: &Plan) {
        if !list.iter().any(|it| it.covers(&self, plan)) {
            list.retain(|it| !self.covers(it, plan));
            list.push(self);
        }
    }

    /// Whether this change makes `other` needless: it is the same, the same around another component of one domain, or more.
    fn covers(&self, other: &Change, plan: &Plan) -> bool {
        let home = |ix: ComponentIx| &plan.instance(plan.component(ix).original()).location;
        match (self, other) {
            (Change::MoveAgent(a, domain), Change::MoveAgent(b, other)) => {
                domain == other && home(*a).shares(home(*b), *domain)
            }
            (Change::FenceByCut(a), Change::PutProxy(b)) => a == b,
            (Change::AllowTouched(a), Change::AllowTouched(b)) => a >= b,
            (Change::AllowLoss(a, most), Change::AllowLoss(b, other)) => a == b && most >= other,
            (_, _) => self == other,
        }
    }

    /// In the plan's names.
    pub fn said<'a>(&'a self, plan: &'a Plan) -> Said<'a, Change> {
        Said { plan, it: self }
    }
}

impl fmt::Display for Said<'_, Change> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.plan;
        let of = |ix: ComponentIx| plan.component(ix).name.as_str();
        let named = |ix: InstanceIx| plan.instance(ix).name.as_str();
        let owner = |ix: InstanceIx| plan.component(plan.instance(ix).component).name.as_str();
        let step = |at: &StepAt| at.of(plan).name.as_str();
        match self.it {
            Change::MoveAgent(ix, domain) => {
                write!(f, "run the agent outside the {} of `{}`: `site: {{ … }}`", domain.word(), of(*ix))
            }
            Change::AddWitnesses(ix, domain, 1) => write!(
                f,
                "add a witness outside the {} of `{}`: `witnesses: {{ NAME: {{ location: {{ … }}, probe: {{ tcp: \
                 {{ address: \"IP:PORT\" }} }} }} }}`",
                domain.word(),
                of(*ix)
            ),
            Change::AddWitnesses(ix, domain, more) => {
                write!(f, "add {more} witnesses outside the {} of `{}`", domain.word(), of(*ix))
            }
            Change::AddStandby(ix, domain, at) => {
                write!(f, "add a warm standby of `{}` outside its {}, ", of(*ix), domain.word())?;
                match plan.component(*ix).ladder.get(*at as usize) {
                    Some(next) => write!(f, "before `{}` in `recovery`", next.strategy.word())?,
                    None => f.write_str("last in `recovery`")?,
                }
                f.write_str(": `- failover_to_standby: { standby: NAME }`")?;
                if !plan.component(*ix).routes.is_empty() {
                    f.write_str(", and a target for it in each of its routes")?;
                }
                if plan.is_leased(*ix) {
                    f.write_str("; its machine is one of `hosts`")?;
                }
                if plan.component(*ix).objectives.rpo.is_some() {
                    f.write_str("; one of its probes reports its lag")?;
                }
                Ok(())
            }
            Change::MoveStandby(ix, domain) => write!(
                f,
                "move `{}` out of the {} of `{}`, and say where it is: `location: {{ region: …, zone: …, host: … }}`",
                named(*ix),
                domain.word(),
                owner(*ix)
            ),
            Change::Separate(ix, part) => {
                let part = &plan.instance(*ix).shares[*part as usize];
                write!(f, "give `{}` a {} of its own instead of `{}`", named(*ix), part.kind.word(), part.name)
            }
            Change::KeepWarm(ix) => write!(f, "keep `{}` running: `temperature: warm`", named(*ix)),
            Change::ReportLag(ix) => write!(
                f,
                "let a probe of `{}` report its lag: `lag_header` of `http`, `lag: stdout` of `command`, or `file`",
                named(*ix)
            ),
            Change::AskLagMoreOften(ix, most) => write!(
                f,
                "ask `{}` for its lag more often: `interval` and `timeout` together at most {}",
                named(*ix),
                show_duration(*most)
            ),
            Change::AllowLoss(ix, most) => {
                write!(f, "allow `{}` to lose {}: `rpo: {}`", of(*ix), show_duration(*most), show_duration(*most))
            }
            Change::FenceByCut(route) => write!(
                f,
                "fence route `{}` by its proxy: `exclusive: {{ fence: traffic_cut }}`, `proxy: {{ listen: \"IP:PORT\" }}`",
                plan.route(*route).name
            ),
            Change::AddRoute(ix) => write!(
                f,
                "give `{}` a route with a proxy and `exclusive: {{ fence: traffic_cut }}`, and all its instances as targets",
                of(*ix)
            ),
            Change::PutProxy(route) => write!(
                f,
                "put a proxy in front of route `{}`, whose address clients know: `proxy: {{ listen: \"IP:PORT\" }}`",
                plan.route(*route).name
            ),
            Change::GiveService(ix) => {
                write!(f, "give `{}` a service: `service: {{ unit: NAME.service }}`", named(*ix))
            }
            Change::ReachService(ix) => write!(
                f,
                "control the service of `{}` by commands that reach its host: `service: {{ start: […], stop: […], status: \
                 […] }}`",
                named(*ix)
            ),
            Change::MakeIdempotent(at) => write!(f, "make `{}` safe to repeat: `idempotent: true`", step(at)),
            Change::WithoutControl(at) => {
                write!(f, "prepare ahead what `{}` asks of a control plane, and say its `plane`", step(at))
            }
            Change::MovePrepared(at, ix, domain) => {
                write!(f, "keep `{}` outside the {} of `{}`", plan.prepared[*at as usize].name, domain.word(), of(*ix))
            }
            Change::CopyBackup(ix, at, domain) => write!(
                f,
                "keep a copy of backup `{}` outside the {} of `{}`, and apart from its other places",
                plan.component(*ix).backups[*at as usize].name,
                domain.word(),
                of(*ix)
            ),
            Change::NameBackup(ix, rung) => {
                let strategy = plan.component(*ix).ladder.get(*rung as usize).map_or("", |it| it.strategy.word());
                write!(f, "name the backup that `{strategy}` of `{}` restores, with a copy elsewhere", of(*ix))
            }
            Change::UseAddress(probe) => {
                write!(f, "let `{}` ask an address instead of a name", plan.probe(*probe).name)
            }
            Change::CutOnSilence(route) => write!(
                f,
                "let whoever serves route `{}` stop when nothing is heard of the agent: `on_silence: {{ cut: {{ after: 30s }} }}`",
                plan.route(*route).name
            ),
            Change::AskFromAgent(probe) => write!(
                f,
                "let the agent see it as well: without `ask_from`, or by a `tcp` or `http` probe instead of `{}`",
                plan.probe(*probe).name
            ),
            Change::UseAddressIn(at) => write!(f, "let `{}` reach an address instead of a name", step(at)),
            Change::VerifyLonger(at, needs) => {
                let strategy = plan.component(at.component).ladder[at.rung as usize].strategy.word();
                let more = show_duration(*needs + Duration::from_millis(1));
                write!(f, "give `{strategy}` of `{}` at least `verify_within: {more}`", of(at.component))
            }
            Change::AllowTouched(lost) => {
                write!(
                    f,
                    "let {lost} components be down at once: `guards: {{ blast_radius: {{ share: …, always: {lost} }} }}`"
                )
            }
            Change::AskSignals(ix, have) => {
                write!(f, "let `guards` of `{}` say `signals: {have}`, or give it a probe of one more kind", of(*ix))
            }
            Change::DropPrecondition(ix, rung, nth) => {
                let rung = &plan.component(*ix).ladder[*rung as usize];
                let name = rung.only_if[*nth as usize].of.name(plan);
                write!(f, "take `{name}` out of `only_if` of `{}`", rung.strategy.word())
            }
            Change::DropUndo(at) => write!(f, "let `{}` stay done: no `undo`", step(at)),
            Change::NotInThisVersion(Condition::AgentsPathGone) => {
                f.write_str("none within the plan: acting on what nobody else confirms is not done, by design")
            }
            Change::NotInThisVersion(_) => f.write_str(
                "none within the plan: this version has one deciding agent for a site; start it again on another host",
            ),
        }
    }
}
