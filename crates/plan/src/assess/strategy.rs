//! Which strategy of disaster recovery a component really has, and which one its objectives need.
//!
//! The same standby is a different thing for different failures: a warm one in another zone is a warm standby for the loss of
//! the zone and nothing for the loss of the region. What counts is what the proof proves for that failure; what is there
//! and does not survive is named with the reason.

use std::time::Duration;

use serde::Serialize;

use super::proved::{Proved, Unproved, Verdicts};
use super::{domain, millis, some_millis, whole_millis};
use crate::action::{Action, ServiceOp};
use crate::component::{Component, Objectives, Temperature};
use crate::config::scalar::show_duration;
use crate::location::FailureDomain;
use crate::proof::DataLoss;
use crate::route::Sharing;
use crate::strategy::Strategy;
use crate::{ComponentIx, InstanceIx, Plan};

/// The strategies of disaster recovery, the weakest and cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DrStrategy {
    /// Nothing that is proved.
    None,
    /// Data is copied elsewhere; what runs is made anew from it: restored, replaced or scaled out.
    BackupAndRestore,
    /// Data is replicated elsewhere; what serves it has to be started first.
    PilotLight,
    /// It runs elsewhere and takes over.
    WarmStandby,
    /// It serves elsewhere already, on the same shared routes.
    MultiSiteActiveActive,
}

impl DrStrategy {
    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            DrStrategy::None => "none",
            DrStrategy::BackupAndRestore => "backup_and_restore",
            DrStrategy::PilotLight => "pilot_light",
            DrStrategy::WarmStandby => "warm_standby",
            DrStrategy::MultiSiteActiveActive => "multi_site_active_active",
        }
    }

    /// What it costs, in the classes of the table that [`TABLE`] follows.
    pub const fn cost(self) -> &'static str {
        match self {
            DrStrategy::None => "-",
            DrStrategy::BackupAndRestore => "$",
            DrStrategy::PilotLight => "$$",
            DrStrategy::WarmStandby => "$$$",
            DrStrategy::MultiSiteActiveActive => "$$$$",
        }
    }
}

/// The shortest objectives that a strategy is usually good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which.
    pub strategy: DrStrategy,
    /// Good for a recovery time objective of this or more.
    pub rto_from: Duration,
    /// What the source says of it.
    pub rto_words: &'static str,
    /// Good for a recovery point objective of this or more.
    pub rpo_from: Duration,
    /// What the source says of it.
    pub rpo_words: &'static str,
}

/// The cheapest first.
///
/// Source: *High Availability & Disaster Recovery Architecture* (chapter 46), table *DR Strategy Comparison* in 46.4, which
/// says seconds, minutes and hours. The numbers are our choice: 1 h and 4 h are the ends of its tiers *business critical*
/// and *business operational* in 46.2, 1 h is where its tiers of RPO begin to be met by frequent backups, and 1 min is
/// where minutes begin. Its rows *multi-region* (seconds, $$$$) and *active-active* (zero, $$$$$) are one here: a plan shows
/// a shared route with targets in several places, and no difference between the two.
pub const TABLE: [Row; 4] = [
    Row {
        strategy: DrStrategy::BackupAndRestore,
        rto_from: Duration::from_hours(4),
        rto_words: "hours to days",
        rpo_from: Duration::from_hours(1),
        rpo_words: "hours to days",
    },
    Row {
        strategy: DrStrategy::PilotLight,
        rto_from: Duration::from_hours(1),
        rto_words: "hours",
        rpo_from: Duration::from_hours(1),
        rpo_words: "hours",
    },
    Row {
        strategy: DrStrategy::WarmStandby,
        rto_from: Duration::from_mins(1),
        rto_words: "minutes",
        rpo_from: Duration::from_mins(1),
        rpo_words: "minutes",
    },
    Row {
        strategy: DrStrategy::MultiSiteActiveActive,
        rto_from: Duration::ZERO,
        rto_words: "seconds",
        rpo_from: Duration::ZERO,
        rpo_words: "seconds",
    },
];

/// The cheapest strategy of [`TABLE`] that is usually good for these objectives. `None` where neither RTO nor RPO is stated.
pub fn needed_for(objectives: &Objectives) -> Option<DrStrategy> {
    objectives.rto.or(objectives.rpo)?;
    let good = |row: &&Row| {
        objectives.rto.is_none_or(|it| it >= row.rto_from) && objectives.rpo.is_none_or(|it| it >= row.rpo_from)
    };
    TABLE.iter().find(good).map(|row| row.strategy)
}

/// What comes of holding what is there against what is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The objectives are not met, or nothing is proved.
    TooLittle,
    /// Neither RTO nor RPO is stated, so nothing says what is enough.
    NotStated,
    /// The proof meets the objectives.
    Enough,
    /// The proof meets the objectives, and a cheaper strategy usually would.
    MoreThanNeeded,
}

impl Verdict {
    /// For people.
    pub const fn word(self) -> &'static str {
        match self {
            Verdict::TooLittle => "too little",
            Verdict::NotStated => "no objective to hold it against",
            Verdict::Enough => "enough",
            Verdict::MoreThanNeeded => "more than needed",
        }
    }
}

/// How much acknowledged work a proved recovery may lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// The component keeps no state.
    NoState,
    /// At most this.
    AtMostMs(u64),
    /// Nothing bounds it.
    Unknown,
}

/// One component and one lost zone or region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// `zone` or `region`.
    #[serde(serialize_with = "domain")]
    pub lost: FailureDomain,
    /// What it really has.
    pub has: DrStrategy,
    /// What its objectives usually need.
    pub needs: Option<DrStrategy>,
    /// Whether that is enough.
    pub verdict: Verdict,
    /// The proved worst-case time to recover.
    #[serde(rename = "worst_ms", serialize_with = "some_millis")]
    pub worst: Option<Duration>,
    /// The most that the proved recovery loses.
    pub loss: Option<Loss>,
    /// What the verdict is made of, in sentences: what is proved, what is there and does not survive and why, what would be
    /// needed or saved.
    pub because: Vec<String>,
    /// What to change first, where it is too little.
    pub change: Option<String>,
}

/// One component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ComponentStrategy {
    /// Its name.
    pub component: String,
    /// Its recovery time objective.
    #[serde(rename = "rto_ms", serialize_with = "some_millis")]
    pub rto: Option<Duration>,
    /// Its recovery point objective.
    #[serde(rename = "rpo_ms", serialize_with = "some_millis")]
    pub rpo: Option<Duration>,
    /// For the loss of its zone.
    pub zone: Judged,
    /// For the loss of its region.
    pub region: Judged,
}

/// What the workload has: no more than the weakest of the components that its clients need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Weakest {
    /// The weakest strategy among them.
    pub has: DrStrategy,
    /// The worst verdict among them.
    pub verdict: Verdict,
    /// The strongest that one of those with that verdict usually needs.
    pub needs: Option<DrStrategy>,
    /// The components with that verdict.
    pub components: Vec<String>,
    /// The longest proved worst case among them; `None` where one of them has none.
    #[serde(rename = "worst_ms", serialize_with = "some_millis")]
    pub worst: Option<Duration>,
}

/// Which kind of disaster recovery a plan is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Strategies {
    /// The workload, for the loss of a zone.
    pub zone: Weakest,
    /// The workload, for the loss of a region.
    pub region: Weakest,
    /// In the order of the plan.
    pub components: Vec<ComponentStrategy>,
    /// What `needs` is read from.
    pub table: Vec<RowJson>,
}

/// A row of [`TABLE`] as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RowJson {
    strategy: DrStrategy,
    #[serde(rename = "rto_from_ms", serialize_with = "millis")]
    rto_from: Duration,
    #[serde(rename = "rpo_from_ms", serialize_with = "millis")]
    rpo_from: Duration,
    cost: &'static str,
}

impl Strategies {
    pub(super) fn of(plan: &Plan, verdicts: &Verdicts<'_>, needed: &[ComponentIx]) -> Strategies {
        let components: Vec<ComponentStrategy> =
            super::components(plan).map(|it| component(plan, verdicts, it)).collect();
        let row = |it: &Row| RowJson {
            strategy: it.strategy,
            rto_from: it.rto_from,
            rpo_from: it.rpo_from,
            cost: it.strategy.cost(),
        };
        let of_needed: Vec<&ComponentStrategy> = needed.iter().map(|it| &components[it.index()]).collect();
        Strategies {
            zone: weakest(&of_needed, |it| &it.zone),
            region: weakest(&of_needed, |it| &it.region),
            table: TABLE.iter().map(row).collect(),
            components,
        }
    }
}

fn weakest(components: &[&ComponentStrategy], judged: impl Fn(&ComponentStrategy) -> &Judged) -> Weakest {
    let all = || components.iter().map(|it| (&it.component, judged(it)));
    // A workload has more than it needs only where all of it has.
    let verdict = all().map(|(_, it)| it.verdict).min().unwrap_or(Verdict::NotStated);
    Weakest {
        has: all().map(|(_, it)| it.has).min().unwrap_or(DrStrategy::None),
        needs: all().filter(|(_, it)| it.verdict == verdict).filter_map(|(_, it)| it.needs).max(),
        verdict,
        components: all().filter(|(_, it)| it.verdict == verdict).map(|(name, _)| name.clone()).collect(),
        worst: all().map(|(_, it)| it.worst).collect::<Option<Vec<Duration>>>().and_then(|it| it.into_iter().max()),
    }
}

fn component(plan: &Plan, verdicts: &Verdicts<'_>, ix: ComponentIx) -> ComponentStrategy {
    let it = plan.component(ix);
    let judged = |lost| judge(plan, it, lost, verdicts.verdict(ix, lost));
    ComponentStrategy {
        component: it.name.clone(),
        rto: it.objectives.rto,
        rpo: it.objectives.rpo,
        zone: judged(FailureDomain::Zone),
        region: judged(FailureDomain::Region),
    }
}

fn judge(plan: &Plan, component: &Component, lost: FailureDomain, verdict: Result<Proved, Unproved>) -> Judged {
    match verdict {
        Ok(proved) => survives(plan, component, lost, &proved),
        Err(nothing) => is_lost(plan, component, lost, nothing),
    }
}

fn survives(plan: &Plan, component: &Component, lost: FailureDomain, proved: &Proved) -> Judged {
    let needs = needed_for(&component.objectives);
    let has = of_recovery(plan, component, proved);
    let to = &plan.instance(proved.to).name;
    let worst = show_duration(proved.worst);
    let mut because = vec![format!("{} to {to}, at worst {worst}{}", proved.strategy.word(), losing(proved.loss))];
    if has == DrStrategy::PilotLight {
        because.push(format!("{to} has to be started first"));
    }
    if component.guards.approval.is_some() {
        because.push("a person has to approve it, which the worst case does not count".to_owned());
    }
    if !proved.without_control {
        because.push("it needs a control plane, which may be gone as well".to_owned());
    }
    for (better, what) in there(plan, component, lost).into_iter().filter(|(it, _)| *it > has) {
        because.push(format!("{what}, would be {}; the ladder tries {} first", better.word(), proved.strategy.word()));
    }
    let misses = misses(&component.objectives, lost, proved);
    let verdict = match needs {
        None => Verdict::NotStated,
        Some(_) if !misses.is_empty() => Verdict::TooLittle,
        Some(needs) if has > needs => Verdict::MoreThanNeeded,
        Some(_) => Verdict::Enough,
    };
    let mut change = None;
    match (verdict, needs) {
        (Verdict::TooLittle, Some(needs)) => {
            because.extend(misses);
            change = Some(if needs > has {
                format!("{} outside the {} ({})", needs.word(), lost.word(), needs.cost())
            } else {
                "the strategy is strong enough, its worst case is not: see what `mainstay check` counts in it"
                    .to_owned()
            });
        }
        (Verdict::MoreThanNeeded, Some(needs)) => because.push(format!(
            "{} is usually enough for its objectives: {} in place of {}, once `mainstay check` proves it",
            needs.word(),
            needs.cost(),
            has.cost()
        )),
        (Verdict::Enough, Some(needs)) if needs > has => because.push(format!(
            "such objectives usually need {} ({}); the proof shows that this meets them",
            needs.word(),
            needs.cost()
        )),
        (Verdict::Enough | Verdict::NotStated | Verdict::TooLittle | Verdict::MoreThanNeeded, _) => {}
    }
    let loss = Some(match proved.loss {
        DataLoss::NoState => Loss::NoState,
        DataLoss::AtMost(most) => Loss::AtMostMs(whole_millis(most)),
        DataLoss::Unknown => Loss::Unknown,
    });
    Judged { lost, has, needs, verdict, worst: Some(proved.worst), loss, because, change }
}

fn losing(loss: DataLoss) -> String {
    match loss {
        DataLoss::NoState => String::new(),
        DataLoss::AtMost(most) if most.is_zero() => ", no data lost".to_owned(),
        DataLoss::AtMost(most) => format!(", up to {} of data lost", show_duration(most)),
        DataLoss::Unknown => ", data lost unknown".to_owned(),
    }
}

/// The objectives that a proved recovery does not meet.
fn misses(objectives: &Objectives, lost: FailureDomain, proved: &Proved) -> Vec<String> {
    let mut list = Vec::new();
    if let Some(rto) = objectives.rto_for(lost).filter(|it| proved.worst > *it) {
        list.push(format!("its worst case is over its rto of {}", show_duration(rto)));
    }
    match (objectives.rpo, proved.loss) {
        (Some(rpo), DataLoss::AtMost(most)) if most > rpo => {
            list.push(format!("it may lose more than its rpo of {}", show_duration(rpo)));
        }
        (Some(rpo), DataLoss::Unknown) => {
            list.push(format!("nothing bounds what it loses, and its rpo is {}", show_duration(rpo)));
        }
        (Some(_), DataLoss::AtMost(_) | DataLoss::NoState) | (None, _) => {}
    }
    list
}

fn is_lost(plan: &Plan, component: &Component, lost: FailureDomain, nothing: Unproved) -> Judged {
    let needs = needed_for(&component.objectives);
    let mut because = Vec::new();
    let there = there(plan, component, lost);
    if there.is_empty() {
        because.push(format!("nothing of it is outside the {}", lost.word()));
    }
    for (would_be, what) in there {
        because.push(format!("{what}, would be {}, and does not survive", would_be.word()));
    }
    because.extend(nothing.because);
    if let Some(needs) = needs {
        because.push(format!(
            "its objectives usually need {} ({}) outside the {}",
            needs.word(),
            needs.cost(),
            lost.word()
        ));
    }
    let verdict = if needs.is_some() { Verdict::TooLittle } else { Verdict::NotStated };
    let change = Some(nothing.change);
    Judged { lost, has: DrStrategy::None, needs, verdict, worst: None, loss: None, because, change }
}

/// What a proved recovery from the loss of a zone or a region is.
fn of_recovery(plan: &Plan, component: &Component, proved: &Proved) -> DrStrategy {
    match proved.strategy {
        Strategy::FailoverToStandby => of_standby(plan, component, proved.to),
        Strategy::RestoreFromBackup | Strategy::ReplaceInstance | Strategy::ScaleOut => DrStrategy::BackupAndRestore,
        // Where the instance is, which is lost with its zone.
        Strategy::RestartService => DrStrategy::None,
    }
}

/// What there is outside the lost domain, proved or not, with the strategy that it would be.
fn there(plan: &Plan, component: &Component, lost: FailureDomain) -> Vec<(DrStrategy, String)> {
    let home = &plan.instance(component.original()).location;
    let mut list = Vec::new();
    for ix in component.instances.iter().copied().filter(|it| *it != component.original()) {
        let it = plan.instance(ix);
        if home.shares(&it.location, lost) {
            continue;
        }
        let mut what = format!("standby {} in {}, {}", it.name, it.location, it.temperature.word());
        let rungs = component.ladder.iter().filter(|it| it.strategy == Strategy::FailoverToStandby);
        if must_be_started(component, ix) {
            what.push_str(" but started first");
        }
        if !rungs.filter_map(|it| it.plays.get(&component.original())).any(|play| play.to == ix) {
            what.push_str(", which no `failover_to_standby` leads to");
        }
        list.push((of_standby(plan, component, ix), what));
    }
    for backup in &component.backups {
        let Some((place, _)) = backup.places().find(|(it, _)| !home.shares(it, lost)) else { continue };
        let mut what = format!("backup {} in {place}", backup.name);
        if !component.ladder.iter().any(|it| it.strategy == Strategy::RestoreFromBackup) {
            what.push_str(", which no `restore_from_backup` restores");
        }
        list.push((DrStrategy::BackupAndRestore, what));
    }
    list
}

fn of_standby(plan: &Plan, component: &Component, standby: InstanceIx) -> DrStrategy {
    match plan.instance(standby).temperature {
        Temperature::Cold => DrStrategy::PilotLight,
        Temperature::Hot | Temperature::Warm if must_be_started(component, standby) => DrStrategy::PilotLight,
        Temperature::Hot if serves_beside(plan, component, standby) => DrStrategy::MultiSiteActiveActive,
        Temperature::Hot | Temperature::Warm => DrStrategy::WarmStandby,
    }
}

/// Whether a takeover starts its service first, whatever its temperature says.
fn must_be_started(component: &Component, standby: InstanceIx) -> bool {
    let plays = component.ladder.iter().filter_map(|it| it.plays.get(&component.original()));
    plays.filter(|it| it.to == standby).flat_map(|it| &it.steps).filter_map(|it| it.kind.action()).any(
        |(on, action)| {
            on == standby && matches!(action, Action::Service { op: ServiceOp::Start | ServiceOp::Restart, .. })
        },
    )
}

/// Whether every route of the component is shared and has both as targets: only then clients use both all the time.
fn serves_beside(plan: &Plan, component: &Component, standby: InstanceIx) -> bool {
    let both = |it: &crate::RouteIx| {
        let route = plan.route(*it);
        let is_target = |ix| route.targets.iter().any(|target| target.instance == ix);
        route.sharing == Sharing::Shared && is_target(component.original()) && is_target(standby)
    };
    !component.routes.is_empty() && component.routes.iter().all(both)
}
