//! The outbox: what people should know, what they were told of it, and what has not arrived yet.
//!
//! Intuition: a *notice* is a note on the board: it is put up when something happens, gets a line more whenever there is
//! news, and is taken down when it is over. A *message* is one telling of it, to one or more channels, and lies in each
//! channel's tray until that channel says that it has arrived. Like all of the state this is records folded: the board
//! follows from the records that tell what happened, the trays from `notice_sent`, `told` and `notice_resent`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use mainstay_plan::backup::KeepingJob;
use mainstay_plan::notification::{NoticeLevel, heard_from};
use mainstay_plan::{Plan, Time};

use super::keeping::keeps;
use crate::machine::{Channel, Machine, NoticeInput, NoticeLife, NoticeState, TrayInput, TrayState};
use crate::planted::{Fault, planted};
use crate::record::{Ended, IncidentId, NoticeId, RecoveryId};

/// How many notices that are over are kept at hand.
const KEPT: usize = 256;

/// How many lines of news are told in one message; further ones are counted.
const LINES: usize = 6;

/// How many messages wait for a channel. The oldest go when it is out for longer than that.
const TRAY: usize = 128;

/// The first pause after a channel failed; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// A message of which nothing was heard for so long was lost by whoever carries it.
const LOST_AFTER: Duration = Duration::from_secs(30);

/// A message that failed so often gives way to those of other notices: it may be the message, not the channel.
const GIVES_WAY: u32 = 3;

/// What notices are grouped by: all that belongs together is one notice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// What fails about a component, until it is whole again.
    Component(String),
    /// A zone or a region that is lost, and all that lived there.
    Incident(IncidentId),
    /// A zone or a region that is being evacuated, as planned.
    Evacuation(String),
    /// Who of several agents decides.
    Lease,
    /// The journal.
    Journal,
    /// A traffic process.
    Traffic(String),
    /// A route of which a rule holds something back.
    Route(String),
    /// A control plane that counts as down.
    ControlPlane {
        /// The service.
        service: String,
        /// The region.
        region: String,
    },
    /// All action is stopped.
    Halt,
    /// An instance that is neither whole nor down.
    Instance(String),
    /// The repair of an instance that was displaced.
    Repair(String),
    /// What keeps a series of backups as the plan says.
    Keeping {
        /// The component.
        component: String,
        /// The series.
        series: String,
        /// What of it.
        job: KeepingJob,
    },
    /// A decision rule.
    Rule(String),
    /// Who is active of a component: somebody else has moved it.
    Owner(String),
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Topic::Component(name) => write!(f, "{name}"),
            Topic::Incident(id) => write!(f, "{id}"),
            Topic::Evacuation(place) => write!(f, "evacuation of {place}"),
            Topic::Lease => write!(f, "lease"),
            Topic::Journal => write!(f, "journal"),
            Topic::Traffic(process) => write!(f, "traffic process {process}"),
            Topic::Route(route) => write!(f, "route {route}"),
            Topic::ControlPlane { service, region } => write!(f, "control plane {service} in {region}"),
            Topic::Halt => write!(f, "halt"),
            Topic::Instance(name) => write!(f, "instance {name}"),
            Topic::Repair(name) => write!(f, "repair of {name}"),
            Topic::Keeping { component, series, job } => write!(f, "{job} of {component} {series}"),
            Topic::Rule(name) => write!(f, "rule {name}"),
            Topic::Owner(name) => write!(f, "owner of {name}"),
        }
    }
}

/// What a record is about, as far as people should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) topic: Topic,
    pub(crate) stage: Stage,
    pub(crate) recovery: Option<RecoveryId>,
    /// What becomes of a component of it.
    pub(crate) fate: Option<(String, Fate)>,
    /// What it says where the record has no line of its own.
    pub(crate) says: Option<(NoticeLevel, String)>,
}

/// What becomes of a component that a notice tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It is being recovered, or waits for that.
    UnderWay,
    /// It works again.
    Whole,
    /// Its recovery failed.
    Failed,
}

/// What it means for the notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It stands from here on, or still.
    Stands,
    /// It is over.
    Over,
    /// It was over when it happened.
    Once,
}

/// Something that people should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its name.
    pub id: NoticeId,
    /// What it is about.
    pub topic: Topic,
    /// The loudest that it was.
    pub level: NoticeLevel,
    /// The newest of it, in one line.
    pub text: String,
    /// When it was opened.
    pub opened: Time,
    /// When it was over.
    pub over: Option<Time>,
    /// Who has seen it.
    pub acknowledged: Option<Acknowledged>,
    /// The recoveries that it tells of, the newest last.
    pub recoveries: VecDeque<RecoveryId>,
    /// The components that it tells of, and what became of each.
    pub components: BTreeMap<String, Fate>,
    under_way: usize,
    /// How many messages were made of it.
    pub messages: u32,
    /// How many steps of the escalation were taken.
    pub escalated: usize,
    /// Who was told, and when last.
    pub told: BTreeMap<String, Time>,
    /// From when on the escalation counts.
    calls_since: Time,
    news: News,
    due: Option<Time>,
}

/// A person has seen it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Who.
    pub by: String,
    /// When.
    pub at: Time,
    /// What they said.
    pub reason: String,
    /// How loud it was then. What becomes louder has to be seen again.
    pub level: NoticeLevel,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct News {
    lines: Vec<String>,
    more: usize,
    level: Option<NoticeLevel>,
    since: Time,
}

impl News {
    fn add(&mut self, at: Time, level: NoticeLevel, text: &str) {
        if self.level.is_none() {
            self.since = at;
        }
        self.level = self.level.max(Some(level));
        if self.lines.last().is_some_and(|it| it == text) {
            return;
        }
        if self.lines.len() == LINES {
            self.lines.remove(1);
            self.more += 1;
        }
        self.lines.push(text.to_owned());
    }

    fn told(&self) -> String {
        let mut lines = self.lines.clone();
        if self.more > 0 && !lines.is_empty() {
            lines.insert(1, format!("({} more)", self.more));
        }
        lines.join("; ")
    }
}

/// A message that was made and has not arrived everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The notice.
    pub notice: NoticeId,
    /// Which of its messages.
    pub nth: u32,
    /// When the notice was opened: a journal that was lost may have had another notice of that name.
    pub opened: Time,
    /// How loud.
    pub level: NoticeLevel,
    /// The words.
    pub text: String,
}

impl Message {
    /// What whoever carries it sees: the same again when it is given out again.
    pub fn key(&self, site: &str) -> String {
        format!("{site}/{}/{}/{}", self.notice, self.nth, self.opened.as_nanos() / 1_000_000)
    }
}

/// What waits for a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tray {
    /// The first one is on its way, unless the channel failed.
    pub messages: VecDeque<Message>,
    /// How often it failed in a row.
    pub failures: u32,
    /// Why it failed last.
    pub trouble: Option<String>,
    /// When the first message was given out.
    pub asked: Option<Time>,
    /// When it is tried again.
    pub again: Option<Time>,
    /// How many messages gave way to newer ones.
    pub dropped: u64,
}

impl Tray {
    /// What its first message does.
    pub const fn state(&self) -> TrayState {
        match (self.asked, self.again) {
            (Some(_), Some(_) | None) => TrayState::OnItsWay,
            (None, Some(_)) => TrayState::Pauses,
            (None, None) => TrayState::Empty,
        }
    }

    /// Something happened to it at `at`; `false`: that can't be, and nothing changes.
    fn takes(&mut self, at: Time, input: TrayInput) -> bool {
        let Ok(next) = Channel::step(self.state(), input) else { return false };
        match next {
            TrayState::Empty => (self.asked, self.again) = (None, None),
            // Another message doesn't make the first one begin anew.
            TrayState::OnItsWay if self.state() == TrayState::OnItsWay && input == TrayInput::Sent => {}
            TrayState::OnItsWay => (self.asked, self.again) = (Some(at), None),
            TrayState::Pauses if input == TrayInput::Failed => {
                let pause = FIRST_PAUSE * 2_u32.pow(self.failures.saturating_sub(1).min(10));
                (self.asked, self.again) = (None, Some(at + pause.min(LONGEST_PAUSE)));
            }
            TrayState::Pauses => {}
        }
        true
    }

    /// When its first message is to be given out once more.
    fn due(&self) -> Option<Time> {
        self.messages.front().filter(|_| !planted(Fault::MessageForgotten))?;
        self.again.or(self.asked.map(|it| it + LOST_AFTER))
    }
}

/// The next message of a notice, before it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) nth: u32,
    pub(crate) escalated: usize,
    pub(crate) level: NoticeLevel,
    pub(crate) text: String,
    pub(crate) to: Vec<String>,
}

/// The board and the trays.
#[derive(Clone, Debug, Default)]
pub struct Notices {
    all: BTreeMap<NoticeId, Notice>,
    open: BTreeMap<Topic, NoticeId>,
    over: VecDeque<NoticeId>,
    due: BTreeSet<(Time, NoticeId)>,
    trays: BTreeMap<String, Tray>,
}

impl Notices {
    /// All that are at hand, the newest first.
    pub fn all(&self) -> impl Iterator<Item = &Notice> {
        self.all.values().rev()
    }

    /// Those that stand.
    pub fn standing(&self) -> impl Iterator<Item = &Notice> {
        self.open.values().filter_map(|it| self.all.get(it))
    }

    /// The notice of that name, if it is at hand.
    pub fn notice(&self, id: NoticeId) -> Option<&Notice> {
        self.all.get(&id)
    }

    /// What waits for a channel.
    pub fn tray(&self, channel: &str) -> Option<&Tray> {
        self.trays.get(channel)
    }

    /// The notices that a person means by `n17`, `r17`, `i17`, or by the name of a component; only those that stand.
    pub(crate) fn meant(&self, what: &str) -> Vec<NoticeId> {
        let (notice, recovery) = (what.parse::<NoticeId>().ok(), what.parse::<RecoveryId>().ok());
        let is_meant = |it: &&Notice| {
            Some(it.id) == notice
                || recovery.is_some_and(|id| it.recoveries.contains(&id))
                || it.topic.to_string() == what
        };
        self.standing().filter(is_meant).map(|it| it.id).collect()
    }

    /// The first notice of which something is to be told, and when.
    pub(crate) fn first_due(&self) -> Option<(Time, NoticeId)> {
        self.due.first().copied()
    }

    /// The first channel that is to be tried again, and when.
    pub(crate) fn first_again(&self) -> Option<(Time, &str, &Message)> {
        let again = self.trays.iter().filter_map(|(name, it)| Some((it.due()?, name.as_str(), it.messages.front()?)));
        again.min_by_key(|it| it.0)
    }

    /// The message that a channel is to carry now.
    pub(crate) fn given_out(&self, channel: &str) -> Option<&Message> {
        self.trays.get(channel).filter(|it| it.state() == TrayState::OnItsWay)?.messages.front()
    }

    /// Channels that have something on the way.
    pub(crate) fn under_way(&self) -> impl Iterator<Item = (&str, &Message)> {
        self.trays.keys().filter_map(|it| Some((it.as_str(), self.given_out(it)?)))
    }

    /// Whether a notice about that stands.
    pub(crate) fn stands(&self, topic: &Topic) -> bool {
        self.open.contains_key(topic)
    }

    /// Puts up what happened, in the words of `line`.
    pub(crate) fn happened(
        &mut self,
        plan: &Plan,
        seq: u64,
        at: Time,
        about: About,
        line: Option<(NoticeLevel, String)>,
    ) {
        let About { topic, stage, recovery, fate, says } = about;
        let line = line.or(says);
        let known = self.open.get(&topic).copied();
        let id = match (stage, known, &line) {
            (Stage::Stands, None, Some(_)) => {
                self.open.insert(topic.clone(), NoticeId(seq));
                NoticeId(seq)
            }
            (Stage::Once, None | Some(_), Some(_)) => NoticeId(seq),
            (Stage::Stands | Stage::Over, Some(id), Some(_) | None) => id,
            // There is nothing to say yet; or nobody was told that it began.
            (Stage::Stands | Stage::Once, None, None)
            | (Stage::Once, Some(_), None)
            | (Stage::Over, None, Some(_) | None) => return,
        };
        let level = line.as_ref().map_or(NoticeLevel::Info, |it| it.0);
        let notice = self.all.entry(id).or_insert_with(|| Notice::new(id, topic, level, at));
        notice.note(at, line);
        notice.follow(recovery, fate);
        match stage {
            Stage::Stands => {}
            Stage::Over | Stage::Once => self.close(id, at),
        }
        self.reckon(plan, id);
    }

    /// A zone is lost, and with it components of which people were told already: from here on they are told of the zone.
    pub(crate) fn merge(&mut self, plan: &Plan, at: Time, incident: IncidentId, component: &str, recovery: RecoveryId) {
        let Some(whole) = self.open.get(&Topic::Incident(incident)).copied() else { return };
        let mut told = BTreeMap::new();
        if let Some(part) = self.open.get(&Topic::Component(component.to_owned())).copied() {
            if let Some(notice) = self.all.get_mut(&part) {
                notice.news = News::default();
                notice.text = format!("{component}: told of with {incident} from here on");
                told.clone_from(&notice.told);
            }
            self.close(part, at);
            self.reckon(plan, part);
        }
        if let Some(notice) = self.all.get_mut(&whole) {
            for (channel, at) in told {
                notice.told.entry(channel).or_insert(at);
            }
            notice.follow(Some(recovery), Some((component.to_owned(), Fate::UnderWay)));
        }
        self.reckon(plan, whole);
    }

    /// Somebody has seen it.
    pub(crate) fn acknowledged(&mut self, plan: &Plan, at: Time, what: &str, by: &str, reason: &str) {
        for id in self.meant(what) {
            let Some(notice) = self.all.get_mut(&id) else { continue };
            if NoticeLife::step(notice.state(), NoticeInput::Acknowledged).is_err() {
                continue;
            }
            let level = notice.level;
            notice.acknowledged = Some(Acknowledged { by: by.to_owned(), at, reason: reason.to_owned(), level });
            notice.news.add(at, NoticeLevel::Info, &format!("{} was seen by {by}: {reason}", notice.topic));
            self.reckon(plan, id);
        }
    }

    /// A message was made.
    pub(crate) fn sent(&mut self, plan: &Plan, at: Time, id: NoticeId, draft: &Draft) {
        let opened = self.all.get(&id).map_or(at, |it| it.opened);
        let message = Message { notice: id, nth: draft.nth, opened, level: draft.level, text: draft.text.clone() };
        let mut dropped = vec![id];
        for channel in &draft.to {
            let tray = self.trays.entry(channel.clone()).or_default();
            tray.takes(at, TrayInput::Sent);
            if tray.messages.len() == TRAY {
                dropped.extend(tray.messages.remove(1).map(|it| it.notice));
                tray.dropped += 1;
            }
            tray.messages.push_back(message.clone());
        }
        if let Some(notice) = self.all.get_mut(&id) {
            notice.messages = draft.nth;
            notice.escalated = draft.escalated;
            notice.news = News::default();
            notice.told.extend(draft.to.iter().map(|it| (it.clone(), at)));
        }
        for id in dropped {
            self.reckon(plan, id);
        }
    }

    /// A channel said what became of a message.
    pub(crate) fn told(&mut self, plan: &Plan, at: Time, channel: &str, notice: NoticeId, nth: u32, ended: &Ended) {
        let Some(tray) = self.trays.get_mut(channel) else { return };
        if tray.messages.front().is_none_or(|it| (it.notice, it.nth) != (notice, nth)) {
            return;
        }
        match ended {
            Ended::Done | Ended::DoneAt(_) | Ended::LeaseOver(_) | Ended::DoneLosing(_) | Ended::Kept(_) => {
                tray.messages.pop_front();
                (tray.failures, tray.trouble) = (0, None);
                tray.takes(at, if tray.messages.is_empty() { TrayInput::TookLast } else { TrayInput::TookOne });
            }
            Ended::Failed(why) | Ended::Unknown(why) => {
                tray.failures = tray.failures.saturating_add(1);
                tray.trouble = Some(why.clone());
                tray.takes(at, TrayInput::Failed);
                if tray.failures % GIVES_WAY == 0 {
                    let (stuck, others) = tray.messages.drain(..).partition(|it| it.notice == notice);
                    tray.messages = others;
                    tray.messages.extend::<VecDeque<Message>>(stuck);
                }
            }
        }
        self.reckon(plan, notice);
    }

    /// A channel is tried again.
    pub(crate) fn resent(&mut self, at: Time, channel: &str) {
        if let Some(tray) = self.trays.get_mut(channel) {
            tray.takes(at, TrayInput::Resent);
        }
    }

    /// Whatever was on its way may or may not have arrived, and is given out again.
    pub(crate) fn started_again(&mut self, at: Time) {
        for tray in self.trays.values_mut() {
            tray.failures = 0;
            tray.takes(at, TrayInput::AgentStarted);
        }
    }

    /// Another plan has other channels: what did not arrive is news again. What is about a component that is not there any
    /// more is taken down.
    pub(crate) fn under_another_plan(&mut self, plan: &Plan, at: Time) {
        for tray in std::mem::take(&mut self.trays).into_values() {
            for message in tray.messages {
                if let Some(notice) = self.all.get_mut(&message.notice) {
                    notice.news.add(at, message.level, &message.text);
                }
            }
        }
        let has = |component: &str, series: &str| {
            let planned = plan.component_named(component).map(|it| plan.component(it));
            planned.is_some_and(|it| it.backups.iter().any(|it| it.name == series && keeps(plan, it)))
        };
        let gone = |it: &&Notice| match &it.topic {
            Topic::Component(name) | Topic::Owner(name) => plan.component_named(name).is_none(),
            Topic::Keeping { component, series, .. } => !has(component, series),
            Topic::Incident(_)
            | Topic::Evacuation(_)
            | Topic::Lease
            | Topic::Journal
            | Topic::Traffic(_)
            | Topic::Route(_)
            | Topic::ControlPlane { .. }
            | Topic::Halt
            | Topic::Instance(_)
            | Topic::Repair(_)
            | Topic::Rule(_) => false,
        };
        let gone: Vec<NoticeId> = self.standing().filter(gone).map(|it| it.id).collect();
        for id in gone {
            self.close(id, at);
            if let Some(notice) = self.all.get_mut(&id) {
                notice.news = News::default();
            }
        }
        let all: Vec<NoticeId> = self.all.keys().copied().collect();
        for id in all {
            self.reckon(plan, id);
        }
    }

    /// The message that is due, if one is.
    pub(crate) fn draft(&self, plan: &Plan, id: NoticeId, now: Time) -> Option<Draft> {
        self.all.get(&id)?.draft(plan, now, |channel| self.is_waiting(channel, id))
    }

    fn is_waiting(&self, channel: &str, id: NoticeId) -> bool {
        self.trays.get(channel).is_some_and(|it| it.messages.iter().any(|it| it.notice == id))
    }

    fn close(&mut self, id: NoticeId, at: Time) {
        let Some(notice) = self.all.get_mut(&id) else { return };
        if NoticeLife::step(notice.state(), NoticeInput::Over).is_err() {
            return;
        }
        notice.over = Some(at);
        if self.open.get(&notice.topic) == Some(&id) {
            self.open.remove(&notice.topic);
        }
        self.over.push_back(id);
        if self.over.len() > KEPT
            && let Some(oldest) = self.over.pop_front()
            && let Some(notice) = self.all.remove(&oldest)
            && let Some(due) = notice.due
        {
            self.due.remove(&(due, oldest));
        }
    }

    fn reckon(&mut self, plan: &Plan, id: NoticeId) {
        let Some(notice) = self.all.get(&id) else { return };
        let due = notice.due(plan, |channel| self.is_waiting(channel, id));
        let before = notice.due;
        if let Some(before) = before {
            self.due.remove(&(before, id));
        }
        if let Some(due) = due {
            self.due.insert((due, id));
        }
        if let Some(notice) = self.all.get_mut(&id) {
            notice.due = due;
        }
    }
}

impl Notice {
    fn new(id: NoticeId, topic: Topic, level: NoticeLevel, opened: Time) -> Notice {
        Notice {
            id,
            topic,
            level,
            text: String::new(),
            opened,
            over: None,
            acknowledged: None,
            recoveries: VecDeque::new(),
            components: BTreeMap::new(),
            under_way: 0,
            messages: 0,
            escalated: 0,
            told: BTreeMap::new(),
            calls_since: opened,
            news: News::default(),
            due: None,
        }
    }

    fn note(&mut self, at: Time, line: Option<(NoticeLevel, String)>) {
        let Some((level, text)) = line else { return };
        self.level = self.level.max(level);
        self.news.add(at, level, &text);
        if self.text.is_empty() || !matches!(self.topic, Topic::Incident(_)) {
            self.text = text;
        }
        let louder = self.acknowledged.as_ref().is_some_and(|it| it.level < self.level);
        let input = if louder { NoticeInput::Louder } else { NoticeInput::News };
        if NoticeLife::step(self.state(), input) == Ok(NoticeState::Stands) && self.acknowledged.is_some() {
            self.acknowledged = None;
            self.escalated = 0;
            self.calls_since = at;
        }
    }

    /// How far people are with it.
    pub const fn state(&self) -> NoticeState {
        match (&self.over, &self.acknowledged) {
            (Some(_), Some(_) | None) => NoticeState::Over,
            (None, Some(_)) => NoticeState::Seen,
            (None, None) => NoticeState::Stands,
        }
    }

    /// Keeps which recoveries and components it tells of.
    fn follow(&mut self, recovery: Option<RecoveryId>, fate: Option<(String, Fate)>) {
        if let Some(recovery) = recovery.filter(|it| self.recoveries.back() != Some(it)) {
            if self.recoveries.len() == KEPT {
                self.recoveries.pop_front();
            }
            self.recoveries.push_back(recovery);
        }
        let Some((component, fate)) = fate else { return };
        let before = self.components.insert(component, fate);
        let waits = |it: Option<Fate>| usize::from(it == Some(Fate::UnderWay));
        self.under_way = self.under_way + waits(Some(fate)) - waits(before);
    }

    /// How many components it tells of, where that are several.
    fn count(&self) -> Option<String> {
        let all = self.components.len();
        if all < 2 {
            return None;
        }
        let how_many = |fate| self.components.values().filter(|it| **it == fate).count();
        let parts =
            [(how_many(Fate::Whole), "whole"), (self.under_way, "under way"), (how_many(Fate::Failed), "failed")];
        let parts: Vec<String> =
            parts.into_iter().filter(|it| it.0 > 0).map(|(count, what)| format!("{count} {what}")).collect();
        Some(format!("{all} components: {}", parts.join(", ")))
    }

    /// Whether it is said again and escalated until somebody has seen it.
    fn calls_for_somebody(&self) -> bool {
        self.state() == NoticeState::Stands && self.level > NoticeLevel::Info
    }

    /// Who hears of the news. The end of something is for those who were told that it began, and as loud as it was.
    fn hear_news(&self, plan: &Plan) -> (Vec<String>, NoticeLevel) {
        let Some(level) = self.news.level else { return (Vec::new(), NoticeLevel::Info) };
        let loud = if self.over.is_some() { self.level } else { level };
        let ends = self.over.is_some() && !self.told.is_empty();
        let wants = plan
            .notifications
            .iter()
            .filter(|it| it.levels.contains(&level) || (ends && self.told.contains_key(&it.name)));
        (wants.map(|it| it.name.clone()).collect(), loud)
    }

    /// When each channel says it again, if it does.
    fn repeats<'a>(
        &'a self,
        plan: &'a Plan,
        waits: impl Fn(&str) -> bool + 'a,
    ) -> impl Iterator<Item = (Time, &'a str)> + 'a {
        let again = plan.notifications.iter().filter(move |it| self.calls_for_somebody() && !waits(&it.name));
        again.filter_map(|it| {
            let next = *self.told.get(&it.name)? + it.repeat?;
            Some((heard_from(&plan.quiet, self.level, next), it.name.as_str()))
        })
    }

    fn escalates(&self, plan: &Plan, nth: usize) -> Option<Time> {
        let step = plan.escalation.get(nth).filter(|_| self.calls_for_somebody())?;
        Some(heard_from(&plan.quiet, self.level, self.calls_since + step.after))
    }

    /// When something is to be told of it. Depends on nothing but the notice and the plan, so that it can be kept.
    fn due(&self, plan: &Plan, waits: impl Fn(&str) -> bool) -> Option<Time> {
        let (hearing, loud) = self.hear_news(plan);
        let news = (!hearing.is_empty()).then(|| heard_from(&plan.quiet, loud, self.news.since));
        let repeat = self.repeats(plan, waits).map(|it| it.0).min();
        [news, repeat, self.escalates(plan, self.escalated)].into_iter().flatten().min()
    }

    fn draft(&self, plan: &Plan, now: Time, waits: impl Fn(&str) -> bool) -> Option<Draft> {
        let (hearing, loud) = self.hear_news(plan);
        let is_news = !hearing.is_empty() && heard_from(&plan.quiet, loud, self.news.since) <= now;
        let mut to: BTreeSet<String> = if is_news { hearing.into_iter().collect() } else { BTreeSet::new() };
        let mut escalated = self.escalated;
        while self.escalates(plan, escalated).is_some_and(|it| it <= now) {
            let step = &plan.escalation[escalated];
            to.extend(step.tell.iter().filter_map(|it| plan.notifications.get(*it)).map(|it| it.name.clone()));
            escalated += 1;
        }
        to.extend(self.repeats(plan, waits).filter(|it| it.0 <= now).map(|it| it.1.to_owned()));
        let steps = escalated > self.escalated;
        if to.is_empty() && !steps {
            return None;
        }
        let level = if is_news { self.news.level.unwrap_or(self.level) } else { self.level };
        Some(Draft {
            nth: self.messages + 1,
            escalated,
            level,
            text: self.words(is_news, steps, now),
            to: to.into_iter().collect(),
        })
    }

    fn words(&self, is_news: bool, escalates: bool, now: Time) -> String {
        let mut text = if is_news { self.news.told() } else { self.text.clone() };
        if let Some(count) = self.count() {
            text.push_str(&format!("; {count}"));
        }
        let asks = || format!("; mainstay acknowledge {}", self.id);
        let (stood, called) = (now.since(self.opened), now.since(self.calls_since));
        if self.over.is_some() && self.messages > 0 && stood < Duration::from_secs(1) {
            format!("{} is over: {text}", self.id)
        } else if self.over.is_some() && self.messages > 0 {
            format!("{} is over after {}: {text}", self.id, age(stood))
        } else if escalates && self.messages > 0 {
            format!("{}: nobody has acknowledged this for {}: {text}{}", self.id, age(called), asks())
        } else if !is_news {
            format!("{} still stands after {}: {text}{}", self.id, age(stood), asks())
        } else {
            format!("{}: {text}", self.id)
        }
    }
}

/// In whole seconds, and in minutes where it is that long: nobody needs it finer.
fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, _) => format!("{minutes}m"),
        (hours, 0, _) => format!("{hours}h"),
        (hours, minutes, _) => format!("{hours}h{minutes}m"),
    }
}
