//! What becomes of an order: it waits for its lease, begins once that is durable, and is answered once its end is.

use super::*;

impl Work {
    /// An order that needs a lease comes as soon as the agent would grant it: it is asked for then, and not at the next renewal.
    pub(super) fn on_act(&mut self, act: Box<Act>) {
        let until_ns = self.session.as_ref().and_then(|it| it.said_at(act.sent)).map(|said_at| {
            said_at.saturating_add(act.deadline_ms.saturating_mul(1_000_000)).saturating_sub(LEASE_COMES_BEFORE_NS)
        });
        let lacks = act.needs_lease
            && !self.orders.knows(&act.key)
            && self.leases.guards_this(&act.component, &act.instance)
            && self.leases.holds(&act.component, &act.instance).is_err();
        match until_ns {
            Some(until_ns) if lacks && until_ns > boot_ns() => {
                let why = self.leases.holds(&act.component, &act.instance).err().unwrap_or_default();
                self.say(&FromHost::Progress { key: act.key.clone(), text: format!("it waits for the lease: {why}") });
                self.unleased.insert(act.key.clone(), (act, until_ns));
                self.say_renewal();
            }
            Some(_) | None => self.begin(act),
        }
    }

    /// Begins what waited for a lease that is there now; or that waited for too long, which is refused then.
    pub(super) fn begin_what_waited(&mut self, overdue: bool) {
        let now = boot_ns();
        let goes = |(act, until_ns): &(Box<Act>, u64)| {
            if overdue { *until_ns <= now } else { self.leases.holds(&act.component, &act.instance).is_ok() }
        };
        let keys: Vec<String> = self.unleased.iter().filter(|it| goes(it.1)).map(|it| it.0.clone()).collect();
        for key in keys {
            if let Some((act, _)) = self.unleased.remove(&key) {
                self.begin(act);
            }
        }
    }

    fn begin(&mut self, act: Box<Act>) {
        let Some(session) = &self.session else { return };
        let now = Instant::now();
        let site = session.welcome.as_ref().map(|it| it.site.clone()).unwrap_or_default();
        let said_at = session.said_at(act.sent);
        let until_ns = said_at.map(|it| it.saturating_add(act.deadline_ms.saturating_mul(1_000_000)));
        let objection = || match until_ns {
            None => Some("it goes by a renewal that is forgotten: it was long under way".to_owned()),
            Some(until_ns) => self.objection(&act, until_ns),
        };
        match self.orders.take(&act, &site, objection) {
            Verdict::Begin(entries) => {
                crash::point(|it| it == Moment::BeforeBegun);
                let key = act.key.clone();
                let (until_ns, progress) = (until_ns.unwrap_or(0), now + PROGRESS_EVERY);
                match self.ledger.append(&mut self.orders, &entries, Then::Perform(key.clone())) {
                    Ok(()) => {
                        let (ticket, looked_at) = (None, false);
                        let doing = Doing { act, until_ns, ticket, looked_at, progress, since: now };
                        if let Some(Doing { ticket: Some(looking), .. }) = self.doing.insert(key, doing) {
                            self.give_up(looking);
                        }
                    }
                    Err(_) => {
                        let why = "the host's journal can't be written, so that nothing is done".to_owned();
                        let (attempt, outcome) = (act.attempt, Outcome::Failed(why));
                        self.say(&FromHost::Ended(Ended { key, attempt, outcome, done_before: false }));
                    }
                }
            }
            Verdict::Wait => {
                if let Some(doing) = self.doing.get_mut(&act.key) {
                    doing.act.attempt = doing.act.attempt.max(act.attempt);
                }
                self.say(&FromHost::Progress { key: act.key, text: "it is being done".to_owned() });
            }
            Verdict::Answer(ended) => self.say(&FromHost::Ended(ended)),
            Verdict::Look { .. } if self.doing.contains_key(&act.key) => {
                self.say(&FromHost::Progress { key: act.key, text: LOOKED_AT.to_owned() });
            }
            Verdict::Look { begun_by, otherwise } => match until_ns.filter(|it| *it > boot_ns()) {
                Some(until_ns) if self.options.file.may.act(&act.action).is_ok() => self.look(act, until_ns, begun_by),
                Some(_) | None => self.say(&FromHost::Ended(otherwise)),
            },
            Verdict::Refuse(_, ended) if !self.refusals.pass(now.into_std()) => self.say(&FromHost::Ended(ended)),
            Verdict::Refuse(entry, ended) => {
                tracing::warn!(key = act.key, ?entry, "an order is refused");
                if let Err(Then::Say(ended)) = self.ledger.append(&mut self.orders, &[entry], Then::Say(ended)) {
                    self.say(&FromHost::Ended(ended));
                }
            }
        }
    }

    /// Why an order would not be done at this moment.
    fn objection(&self, act: &Act, until_ns: u64) -> Option<String> {
        let now = boot_ns();
        if until_ns <= now {
            let late = Duration::from_nanos(now - until_ns);
            return Some(format!("its time was over {:.1} s ago: nothing is done", late.as_secs_f64()));
        }
        if let Err(why) = self.options.file.may.act(&act.action) {
            return Some(why);
        }
        if act.needs_lease {
            return self.leases.holds(&act.component, &act.instance).err();
        }
        None
    }

    pub(super) fn on_journal(&mut self, event: Event) {
        for (then, durable) in self.ledger.on_event(event) {
            match then {
                Then::Perform(key) if durable => self.perform(&key),
                Then::Perform(key) => {
                    let why = "the host's journal is lost, so that nothing is done".to_owned();
                    self.end(key, Outcome::Failed(why));
                }
                Then::Say(ended) => {
                    crash::point(|it| it == Moment::AfterEnded);
                    self.say(&FromHost::Ended(ended));
                }
                Then::Nothing => {}
            }
        }
    }

    /// The beginning of an order is durable.
    fn perform(&mut self, key: &str) {
        crash::point(|it| it == Moment::AfterBegun);
        // What was cancelled meanwhile has ended.
        let Some(doing) = self.doing.get(key) else { return };
        // Its time, or the lease, may have ended while the disk was slow.
        if let Some(why) = self.objection(&doing.act, doing.until_ns) {
            return self.end(key.to_owned(), Outcome::Failed(why));
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let job = job(ticket, &doing.act, doing.until_ns);
        tracing::info!(key, instance = doing.act.instance, step = doing.act.step, "acting");
        self.hands.act(job);
        self.tickets.insert(ticket, key.to_owned());
        if let Some(doing) = self.doing.get_mut(key) {
            doing.ticket = Some(ticket);
        }
        self.say(&FromHost::Progress { key: key.to_owned(), text: "it was begun".to_owned() });
    }

    /// Looks what became of an order that an earlier host process had begun.
    fn look(&mut self, act: Box<Act>, until_ns: u64, begun_by: Option<Beginner>) {
        let (key, now) = (act.key.clone(), Instant::now());
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        tracing::info!(key, instance = act.instance, step = act.step, "looking what became of it");
        self.hands.look(job(ticket, &act, until_ns), begun_by);
        self.tickets.insert(ticket, key.clone());
        let progress = now + PROGRESS_EVERY;
        let doing = Doing { act, until_ns, ticket: Some(ticket), looked_at: true, progress, since: now };
        self.doing.insert(key.clone(), doing);
        self.say(&FromHost::Progress { key, text: LOOKED_AT.to_owned() });
    }

    fn give_up(&mut self, ticket: u64) {
        self.tickets.remove(&ticket);
        self.hands.cancel(ticket);
    }

    pub(super) fn on_cancel(&mut self, key: &str) {
        self.unleased.remove(key);
        let Some(doing) = self.doing.get(key) else { return };
        tracing::info!(key, "the agent cancels an order");
        let outcome = match doing.ticket {
            Some(ticket) => {
                self.give_up(ticket);
                Outcome::Unknown("it was cancelled while it was being done".to_owned())
            }
            None => Outcome::Failed("it was cancelled before it was begun".to_owned()),
        };
        self.end(key.to_owned(), outcome);
    }

    /// Whether what was begun under a lease goes on without it.
    fn lost_its_lease(&self, doing: &Doing) -> bool {
        let (component, instance) = (&doing.act.component, &doing.act.instance);
        doing.act.needs_lease
            && self.leases.guards_this(component, instance)
            && self.leases.holds(component, instance).is_err()
    }

    /// Gives up what may not go on: its lease, or its time, is over.
    pub(super) fn give_up_what_is_overdue(&mut self, now: Instant) {
        let now_ns = boot_ns();
        let lost: Vec<String> = self
            .doing
            .iter()
            .filter(|it| it.1.ticket.is_some() && self.lost_its_lease(it.1))
            .map(|it| it.0.clone())
            .collect();
        for key in lost {
            if let Some(ticket) = self.doing.get(&key).and_then(|it| it.ticket) {
                self.give_up(ticket);
            }
            self.end(key, Outcome::Unknown("its lease was over before it had ended".to_owned()));
        }
        let mut overdue = Vec::new();
        let mut progress = Vec::new();
        for (key, doing) in &mut self.doing {
            if doing.ticket.is_some() && doing.until_ns.saturating_add(GRACE_NS) < now_ns {
                overdue.push(key.clone());
            } else if doing.progress <= now {
                doing.progress = now + PROGRESS_EVERY;
                let text = format!("it has been under way for {} s", doing.since.elapsed().as_secs());
                progress.push(FromHost::Progress { key: key.clone(), text });
            }
        }
        for key in overdue {
            if let Some(ticket) = self.doing.get(&key).and_then(|it| it.ticket) {
                self.give_up(ticket);
            }
            self.end(key, Outcome::Unknown("its time was over, and it had not ended".to_owned()));
        }
        progress.iter().for_each(|it| self.say(it));
    }

    /// An order ended. It is answered once that is durable.
    pub(super) fn end(&mut self, key: String, outcome: Outcome) {
        let doing = self.doing.remove(&key);
        if let Some(doing) = doing.as_ref().filter(|it| it.ticket.is_some() && self.lost_its_lease(it)) {
            // It may act again after the keeper has ended it: it is ended once more.
            let held = Held { component: doing.act.component.clone(), instance: doing.act.instance.clone() };
            tracing::warn!(
                key,
                instance = held.instance,
                "its lease was over before an order for it had ended: it is ended again"
            );
            self.leases.revoked(&held);
        }
        let (attempt, done_before) = doing.map_or((0, false), |it| (it.act.attempt, it.looked_at));
        tracing::info!(key, outcome = outcome.word(), "an order ended");
        crash::point(|it| it == Moment::BeforeEnded);
        let entry = Entry::OrderEnded { key: key.clone(), outcome: outcome.clone() };
        let ended = Ended { key, attempt, outcome, done_before };
        if let Err(Then::Say(ended)) =
            self.ledger.append(&mut self.orders, std::slice::from_ref(&entry), Then::Say(ended))
        {
            // What happened is known, and nobody will know it later.
            self.orders.fold(&entry, wall_ns());
            self.say(&FromHost::Ended(ended));
        }
    }
}

fn job(ticket: u64, act: &Act, until_ns: u64) -> Job {
    Job {
        ticket,
        action: act.action.clone(),
        key: act.key.clone(),
        timeout: Duration::from_nanos(until_ns.saturating_sub(boot_ns())),
        address: act.address,
        of: JobOf::default(),
    }
}
