//! What becomes of a notice, and of what waits for a channel.

use super::{Illegal, Machine};

/// Something that people should know.
#[derive(Clone, Copy, Debug)]
pub struct NoticeLife;

/// How far people are with a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoticeState {
    /// It stands, and nobody has said that they have seen it.
    Stands,
    /// It stands, and somebody has seen it.
    Seen,
    /// It is over.
    Over,
}

/// What happens to a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeInput {
    /// News that is no louder than what was seen.
    News,
    /// News that is louder than what was seen.
    Louder,
    /// Somebody says that they have seen it.
    Acknowledged,
    /// What it is about is over, or is told of in another notice from here on.
    Over,
}

impl Machine for NoticeLife {
    type State = NoticeState;
    type Input = NoticeInput;

    const NAME: &'static str = "A notice";
    const ABOUT: &'static str = "Only while it `stands` is it repeated and escalated. Once it is `over` it is closed: what comes then \
        is another notice.";
    const STATES: &'static [NoticeState] = &[NoticeState::Stands, NoticeState::Seen, NoticeState::Over];
    const INPUTS: &'static [NoticeInput] =
        &[NoticeInput::News, NoticeInput::Louder, NoticeInput::Acknowledged, NoticeInput::Over];

    fn state(state: NoticeState) -> &'static str {
        match state {
            NoticeState::Stands => "stands",
            NoticeState::Seen => "seen",
            NoticeState::Over => "over",
        }
    }

    fn input(input: NoticeInput) -> &'static str {
        match input {
            NoticeInput::News => "news",
            NoticeInput::Louder => "news that is louder than what was seen",
            NoticeInput::Acknowledged => "`acknowledge`",
            NoticeInput::Over => "it is over",
        }
    }

    fn next(state: NoticeState, input: NoticeInput) -> Result<NoticeState, Illegal> {
        use NoticeInput as I;
        use NoticeState as S;
        match (state, input) {
            (S::Stands, I::News | I::Louder) | (S::Seen, I::Louder) => Ok(S::Stands),
            (S::Seen, I::News) | (S::Stands | S::Seen, I::Acknowledged) => Ok(S::Seen),
            (S::Stands | S::Seen, I::Over) => Ok(S::Over),
            (S::Over, I::News | I::Louder | I::Acknowledged | I::Over) => Self::illegal(state, input),
        }
    }
}

/// A channel that people are told through.
#[derive(Clone, Copy, Debug)]
pub struct Channel;

/// What the first message of its tray does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TrayState {
    /// The tray is empty.
    Empty,
    /// It is being carried.
    OnItsWay,
    /// The channel failed; it is carried again after a while.
    Pauses,
}

/// What happens to a channel's tray.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrayInput {
    /// A message was put in.
    Sent,
    /// The channel took the first one, and another one waits.
    TookOne,
    /// The channel took the first one, and it was the last.
    TookLast,
    /// It did not take it, or nobody knows.
    Failed,
    /// It is given out again: the pause is over, or whoever carries it has lost it.
    Resent,
    /// An agent started: what was on its way may not have arrived.
    AgentStarted,
}

impl Machine for Channel {
    type State = TrayState;
    type Input = TrayInput;

    const NAME: &'static str = "A channel";
    const ABOUT: &'static str = "One message at a time is carried, and none leaves the tray before the channel has taken it: at least once, with \
        a key. A pause doubles with each failure in a row.";
    const STATES: &'static [TrayState] = &[TrayState::Empty, TrayState::OnItsWay, TrayState::Pauses];
    const INPUTS: &'static [TrayInput] = &[
        TrayInput::Sent,
        TrayInput::TookOne,
        TrayInput::TookLast,
        TrayInput::Failed,
        TrayInput::Resent,
        TrayInput::AgentStarted,
    ];

    fn state(state: TrayState) -> &'static str {
        match state {
            TrayState::Empty => "empty",
            TrayState::OnItsWay => "on_its_way",
            TrayState::Pauses => "pauses",
        }
    }

    fn input(input: TrayInput) -> &'static str {
        match input {
            TrayInput::Sent => "notice_sent",
            TrayInput::TookOne => "told: done, and another one waits",
            TrayInput::TookLast => "told: done, and it was the last",
            TrayInput::Failed => "told: failed or unknown",
            TrayInput::Resent => "notice_resent",
            TrayInput::AgentStarted => "agent_started",
        }
    }

    fn next(state: TrayState, input: TrayInput) -> Result<TrayState, Illegal> {
        use TrayInput as I;
        use TrayState as S;
        match (state, input) {
            (S::Empty, I::AgentStarted) | (S::OnItsWay | S::Pauses, I::TookLast) => Ok(S::Empty),
            (S::Empty | S::OnItsWay, I::Sent) | (S::OnItsWay | S::Pauses, I::TookOne | I::Resent | I::AgentStarted) => {
                Ok(S::OnItsWay)
            }
            (S::Pauses, I::Sent) | (S::OnItsWay | S::Pauses, I::Failed) => Ok(S::Pauses),
            (S::Empty, I::TookOne | I::TookLast | I::Failed | I::Resent) => Self::illegal(state, input),
        }
    }
}
