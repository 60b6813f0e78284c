//! The little loop that joins an engine to a journal. The agent and the simulator drive the engine through this and nothing
//! else, so that what is proved in one holds in the other.

use std::net::IpAddr;

use mainstay_plan::Time;

use crate::effect::{Effect, Grant, Line, Order, Telling};
use crate::engine::Engine;
use crate::input::Input;
use crate::record::{Record, StepRef};
use mainstay_plan::ProbeIx;
use mainstay_plan::routing::RoutingTable;

/// An engine, and the numbering of its records.
#[derive(Clone, Debug)]
pub struct Driver {
    engine: Engine,
    effects: Vec<Effect>,
}

/// What one turn gives: records to append, in order, and what to do meanwhile. Nothing in `todo` has to wait for
/// `append`; whatever must wait is still inside the engine.
#[derive(Debug, Default)]
pub struct Turn {
    /// The number of the first of `append`.
    pub first_seq: u64,
    /// To append to the journal as one batch, encoded as [`crate::codec`] says; once it is durable, fold `Recorded`.
    pub append: Vec<Record>,
    /// To be done now, in order.
    pub todo: Vec<Todo>,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Todo {
    /// Ask this probe, at this address if its instance is not where the plan says.
    Probe(ProbeIx, Option<IpAddr>),
    /// Do this.
    Act(Order),
    /// Stop doing this.
    Cancel(StepRef),
    /// Ask the store for the lease.
    AskLease,
    /// From now on these may hold a lease, and nobody else.
    Grant(Vec<Grant>),
    /// Connect anew to the traffic processes, forbid them tables below this epoch, and hear what they serve.
    HearTraffic(u64),
    /// Serve this table.
    Route(RoutingTable),
    /// Write this into the log.
    Log(Line),
    /// Tell people.
    Notify(Telling),
}

impl Driver {
    /// Drives this engine.
    pub fn new(engine: Engine) -> Driver {
        Driver { engine, effects: Vec::new() }
    }

    /// Folds everything that came in, ticks, and sorts what comes out.
    pub fn turn(&mut self, now: Time, inputs: impl IntoIterator<Item = Input>) -> Turn {
        let first_seq = self.engine.state().seq + 1;
        for input in inputs {
            self.engine.fold(now, input);
        }
        self.engine.tick(now, &mut self.effects);
        let mut turn = Turn { first_seq, ..Turn::default() };
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Record(record) => turn.append.push(record),
                Effect::Probe(probe, at) => turn.todo.push(Todo::Probe(probe, at)),
                Effect::Act(order) => turn.todo.push(Todo::Act(order)),
                Effect::Cancel(step) => turn.todo.push(Todo::Cancel(step)),
                Effect::AskLease => turn.todo.push(Todo::AskLease),
                Effect::Grant(grants) => turn.todo.push(Todo::Grant(grants)),
                Effect::HearTraffic(floor) => turn.todo.push(Todo::HearTraffic(floor)),
                Effect::Route(table) => turn.todo.push(Todo::Route(table)),
                Effect::Log(line) => turn.todo.push(Todo::Log(line)),
                Effect::Notify(telling) => turn.todo.push(Todo::Notify(telling)),
            }
        }
        turn
    }

    /// The engine, to ask.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}
