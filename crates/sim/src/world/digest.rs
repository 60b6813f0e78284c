//! Everything that the engine is told and everything that it says, hashed as it happens: answers and other inputs, records,
//! and what is to be done.

use std::fmt::{self, Debug, Write};

use mainstay_engine::Input;
use mainstay_engine::codec::encode;
use mainstay_engine::driver::Turn;
use mainstay_plan::Time;
use sha2::{Digest as _, Sha256};

use super::World;

/// SHA-256 over what went into the engine and came out of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Digest(Sha256);

impl Digest {
    pub(super) fn told(&mut self, now: Time, inputs: &[Input]) {
        self.add(b"told", &(now, inputs));
    }

    /// Records as the journal has them, and the rest as it is.
    pub(super) fn said(&mut self, turn: &Turn) {
        for (seq, record) in (turn.first_seq..).zip(&turn.append) {
            let stored = encode(record);
            self.add(b"record", &(seq, stored.at_ns, &stored.kind, stored.version));
            self.0.update(&stored.payload);
        }
        turn.todo.iter().for_each(|it| self.add(b"todo", it));
    }

    /// What happened to the world, and how it is.
    pub(super) fn world(&mut self, world: &World) {
        self.add(b"happened", &world.happened);
        self.add(b"done", &world.done);
        self.add(b"arrived", &world.arrived);
        self.add(b"now", &(world.now, world.ticket, &world.table));
    }

    /// In hexadecimal.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for byte in self.0.clone().finalize() {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    fn add(&mut self, what: &[u8], value: &impl Debug) {
        self.0.update(what);
        let _ = write!(Hashed(&mut self.0), "{value:?}");
    }
}

struct Hashed<'a>(&'a mut Sha256);

impl Write for Hashed<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}
