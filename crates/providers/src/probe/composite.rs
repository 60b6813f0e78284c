//! Several questions at once, and whether enough of them are answered well.

use std::future::Future;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use mainstay_plan::observation::{Answer, Concerns};

use crate::{ProbeAnswer, trouble};

/// Asks all of them, and waits for no more answers than it takes to know. Each ends by itself.
pub(super) async fn run(needed: usize, parts: impl Iterator<Item = impl Future<Output = ProbeAnswer>>) -> ProbeAnswer {
    let numbered = parts.enumerate().map(|(nth, part)| async move { (nth, part.await) });
    let mut asked: FuturesUnordered<_> = numbered.collect();
    let mut seen = Seen {
        needed,
        of: asked.len(),
        good: 0,
        bad: Vec::new(),
        not_asked: Vec::new(),
        concerns: Concerns::default(),
    };
    while let Some((nth, answer)) = asked.next().await {
        seen.take(nth, answer);
        if seen.is_decided() {
            break;
        }
    }
    ProbeAnswer { answer: seen.answer(), lag: None, role: None, concerns: seen.concerns, position: None }
}

struct Seen {
    needed: usize,
    of: usize,
    good: usize,
    /// Which part failed, and how.
    bad: Vec<(usize, Answer)>,
    not_asked: Vec<(usize, Answer)>,
    concerns: Concerns,
}

impl Seen {
    fn take(&mut self, nth: usize, ProbeAnswer { answer, lag: _, role: _, concerns, position: _ }: ProbeAnswer) {
        self.concerns = std::mem::take(&mut self.concerns).or(concerns);
        match answer {
            Answer::Good => self.good += 1,
            Answer::Refused(_) | Answer::TimedOut | Answer::Wrong(_) => self.bad.push((nth, answer)),
            Answer::CouldNotAsk(_) => self.not_asked.push((nth, answer)),
        }
    }

    /// Whether it has failed even if all others are good.
    fn is_lost(&self) -> bool {
        self.bad.len() + self.needed > self.of
    }

    fn is_decided(&self) -> bool {
        self.good >= self.needed || self.is_lost()
    }

    fn answer(&self) -> Answer {
        if self.good >= self.needed {
            return Answer::Good;
        }
        let told = if self.is_lost() { &self.bad } else { &self.not_asked };
        let told = told.iter().map(|(nth, answer)| match answer.detail() {
            Some(detail) => format!("{}: {detail}", nth + 1),
            None => format!("{}: {}", nth + 1, answer.word()),
        });
        let told: Vec<String> = told.collect();
        let Seen { needed, of, .. } = self;
        if !self.is_lost() {
            return Answer::CouldNotAsk(trouble::clip(&format!("of {of} parts: {}", told.join("; "))));
        }
        // The whole is as silent as its parts.
        if self.bad.iter().all(|it| it.1 == Answer::TimedOut) {
            return Answer::TimedOut;
        }
        Answer::Wrong(trouble::clip(&format!("{needed} of {of} parts are needed; {}", told.join("; "))))
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    async fn of(needed: usize, answers: &[Answer]) -> Answer {
        run(needed, answers.iter().map(|it| ready(ProbeAnswer::from(it.clone())))).await.answer
    }

    #[tokio::test]
    async fn what_was_not_asked_is_neither_good_nor_bad() {
        let refused = || Answer::Refused("no".to_owned());
        let unasked = || Answer::CouldNotAsk("no descriptor".to_owned());
        let good = Answer::Good;
        assert_eq!(of(2, &[good.clone(), refused(), good.clone()]).await, Answer::Good);
        assert_eq!(of(1, &[unasked(), good.clone()]).await, Answer::Good);
        let why = "2 of 3 parts are needed; 2: no; 3: timed out".to_owned();
        assert_eq!(of(2, &[good.clone(), refused(), Answer::TimedOut]).await, Answer::Wrong(why));
        assert_eq!(of(1, &[Answer::TimedOut, Answer::TimedOut]).await, Answer::TimedOut);
        let why = "of 3 parts: 1: no descriptor".to_owned();
        assert_eq!(of(2, &[unasked(), good.clone(), refused()]).await, Answer::CouldNotAsk(why));
        assert_eq!(of(2, &[unasked(), refused(), refused()]).await.word(), "wrong answer", "all others good or not");
    }

    #[tokio::test]
    async fn nobody_is_waited_for_in_vain() {
        let never = || futures_util::future::Either::Right(std::future::pending());
        let now = |answer: Answer| futures_util::future::Either::Left(ready(ProbeAnswer::from(answer)));
        let parts = [never(), now(Answer::Good), now(Answer::Good)];
        assert_eq!(run(2, parts.into_iter()).await.answer, Answer::Good);
        let parts = [never(), now(Answer::TimedOut), now(Answer::Good)];
        assert_eq!(run(3, parts.into_iter()).await.answer, Answer::TimedOut);
    }

    #[tokio::test]
    async fn a_certificate_of_a_part_is_told_of() {
        let concerns = Concerns { expiring: Some("soon".to_owned()), ..Concerns::default() };
        let expiring = ProbeAnswer { concerns, ..Answer::Good.into() };
        let answer = run(2, [expiring, Answer::Good.into()].into_iter().map(ready)).await;
        assert_eq!((answer.answer, answer.concerns.expiring.as_deref()), (Answer::Good, Some("soon")));
    }
}
