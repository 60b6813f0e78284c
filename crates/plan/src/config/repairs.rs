//! Compiling repairs: what makes a displaced instance a standby again, for each owner that it may have then.

use super::fields::Cx;
use super::link::Parts;
use super::plays::{Compiler, in_turn};
use super::raw::{ActKind, RawAct, RawFence, RawRung};
use crate::component::{Rejoin, Repair};
use crate::finding::{Code, Finding, Span};
use crate::route::Sharing;
use crate::{ComponentIx, InstanceIx, Plan, RouteIx};

/// For each instance with a `repair`, and each other one as the owner.
pub(super) fn repairs(
    cx: &Cx<'_>,
    plan: &Plan,
    parts: &Parts,
    component: ComponentIx,
    ladder: &[RawRung],
) -> Vec<Repair> {
    let planned = plan.component(component);
    let Some(rung) = ladder.first() else { return Vec::new() };
    let compiler = Compiler { cx, plan, parts, component, rung };
    let mut found = Vec::new();
    for instance in &planned.instances {
        let (acts, at) = &parts.repair[instance.index()];
        let Some(at) = at.filter(|_| !acts.is_empty()) else { continue };
        acts.iter().for_each(|it| compiler.repeats_by_itself(it));
        if planned.rejoin == Rejoin::WhenHealthy {
            compiler.rejoins_unrepaired(*instance, at);
        }
        for owner in planned.instances.iter().filter(|it| *it != instance) {
            let mut steps = Vec::new();
            compiler.acts("repair", *instance, Some(*owner), acts, &mut steps);
            if !steps.is_empty() {
                let cut_fences = compiler.is_fenced_by_cut();
                found.push(Repair { instance: *instance, owner: *owner, steps: in_turn(steps), cut_fences });
            }
        }
    }
    found
}

impl Compiler<'_> {
    /// Whether no client reaches who is cut off, on any exclusive route.
    fn is_fenced_by_cut(&self) -> bool {
        let routes = self.plan.component(self.component).routes.iter();
        let mut owned = routes.filter(|it| self.plan.route(**it).sharing == Sharing::Exclusive).peekable();
        let fence = |it: &RouteIx| self.parts.fences[it.index()].map(|it| it.0);
        let is_cut = |it: &RouteIx| matches!(fence(it), Some(RawFence::TrafficCut | RawFence::StopOrCut));
        owned.peek().is_some() && owned.all(is_cut)
    }

    /// The whole of a repair is tried again, from its beginning: what says otherwise of one action is not read.
    fn repeats_by_itself(&self, act: &RawAct) {
        let refuse = |at: Span, message: &str, help: &str| {
            self.cx.report(
                Finding::new(Code::Contradiction, at, message.to_owned())
                    .label("not in a repair")
                    .help(help.to_owned()),
            );
        };
        if let ActKind::Manual { .. } = act.what {
            refuse(
                act.at,
                "a repair that asks a person is none",
                "remove it; whoever repairs by hand says so with `mainstay adopt`",
            );
        }
        if act.attempts > 1 || act.retry.is_some() {
            refuse(
                act.at,
                "a repair that failed is tried again from its beginning, with a growing wait",
                "remove `attempts` and `retry`",
            );
        }
        if let Some(at) = act.with_previous {
            refuse(at, "the actions of a repair are done one after the other", "remove `with_previous`");
        }
        if let Some(undo) = &act.undo {
            refuse(undo.at, "nothing of a repair is taken back", "remove `undo`");
        }
    }

    fn rejoins_unrepaired(&self, instance: InstanceIx, at: Span) {
        let name = &self.name(instance).value;
        self.cx.report(
            Finding::new(
                Code::Contradiction,
                at,
                format!("`{name}` is taken as a standby as soon as it is healthy, before it is repaired"),
            )
            .label("comes too late")
            .help("remove `rejoin: when_healthy` of its component"),
        );
    }
}
