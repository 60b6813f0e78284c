//! The traffic process: it serves the last table that it was sent, and says so.

use mainstay_engine::Input;
use mainstay_engine::record::ReportedTarget;
use mainstay_engine::state::LOCAL_PROCESS;
use mainstay_plan::RouteIx;
use mainstay_plan::routing::{RoutingTable, TargetState};

use super::{Server, World};

impl World {
    pub(super) fn greet_traffic(&mut self) {
        let targets = ReportedTarget::all_of(&self.table);
        let epoch = self.table.epoch;
        self.traffic_says(vec![Input::TrafficServes { process: LOCAL_PROCESS.to_owned(), epoch, targets }]);
    }

    pub(super) fn apply(&mut self, table: RoutingTable) {
        if !self.traffic_up || table.epoch < self.table.epoch {
            return;
        }
        if self.troubles.refuses {
            let (process, epoch) = (LOCAL_PROCESS.to_owned(), table.epoch);
            let reason = "its address is in use".to_owned();
            self.traffic_says(vec![Input::RouteRefused { process, epoch, reason }]);
            return;
        }
        self.checkers.applied(&table);
        let epoch = table.epoch;
        self.table = table;
        self.traffic_says(vec![Input::RouteApplied { process: LOCAL_PROCESS.to_owned(), epoch }]);
    }

    /// Nobody hears it while the connection is cut.
    fn traffic_says(&mut self, inputs: Vec<Input>) {
        if !self.troubles.is_cut {
            self.turn(inputs);
        }
    }

    /// What a client of the route meets: the proxy goes on to the next target that it may try when one refuses.
    pub fn behind(&self, route: RouteIx) -> Server {
        let open = self.traffic_up.then(|| self.open_to_clients(route)).into_iter().flatten();
        let planned = self.plan.route(route);
        let place = |name: &str| {
            let target = planned.targets.iter().find(|it| self.plan.instance(it.instance).name == name);
            let served = self.table.routes.iter().find(|it| it.name == planned.name);
            let served = served.and_then(|it| it.targets.iter().find(|it| it.instance == name));
            let served = served.map(|it| it.address.ip());
            served.filter(|ip| target.is_none_or(|it| it.address.ip() != *ip))
        };
        open.map(|it| self.met(it, place(it))).find(|it| *it != Server::Dead).unwrap_or(Server::Dead)
    }

    /// The instances that clients of a route may reach: those that serve, and on a shared route where none does those that
    /// are down, because it fails open.
    pub fn open_to_clients(&self, route: RouteIx) -> Vec<&str> {
        let name = &self.plan.route(route).name;
        let Some(entry) = self.table.routes.iter().find(|it| it.name == *name) else { return Vec::new() };
        let all_in = |state: TargetState| {
            entry.targets.iter().filter(move |it| it.state == state).map(|it| it.instance.as_str()).collect()
        };
        let serving: Vec<&str> = all_in(TargetState::Serving);
        if serving.is_empty() && !entry.exclusive { all_in(TargetState::Down) } else { serving }
    }
}
