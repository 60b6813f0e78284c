//! Where instances really are: an action, or a person, may bring one to another address.

use std::net::IpAddr;
use std::time::Duration;

use mainstay_engine::effect::Order;

use super::{Event, Server, World};

impl World {
    /// What is met at an address of an instance, `None` being the plan's: nobody is where it is not, but for an old self.
    pub(super) fn met(&self, name: &str, at: Option<IpAddr>) -> Server {
        if self.homes.get(name).copied() == at {
            return self.servers[name];
        }
        self.old_selves.get(name).copied().filter(|_| at.is_none()).unwrap_or(Server::Dead)
    }

    /// Where an action brings its instance; the same action with the same key brings it nowhere else.
    pub(super) fn brings(&mut self, order: &Order) -> Option<IpAddr> {
        let next = u8::try_from(self.brought.len() + 1).unwrap_or(u8::MAX);
        let reports = order.action.reports_address();
        reports.then(|| *self.brought.entry(order.key.clone()).or_insert(IpAddr::from([10, 9, 0, next])))
    }

    /// What an action does to its server happens after a while.
    pub(super) fn has_effect(&mut self, after: Duration, order: &Order, effect: Option<Server>, moves: Option<IpAddr>) {
        let event = match (moves, effect) {
            (Some(address), _) => Event::Moved(order.instance.clone(), address),
            (None, Some(effect)) => Event::Effect(order.instance.clone(), effect),
            (None, None) => return,
        };
        self.at(after, event);
    }

    /// What was there stays as it was, at the old address.
    pub(super) fn moved(&mut self, name: String, address: IpAddr) {
        if let Some(old) = self.servers.insert(name.clone(), Server::Up)
            && self.homes.insert(name.clone(), address).is_none()
        {
            self.old_selves.insert(name, old);
        }
    }
}
