//! A virtual world that drives the real engine.
//!
//! Time, servers, the network, the traffic process and the disk are models here; the engine and its driver are the real
//! ones, reached through the same calls that the agent makes. What holds in this world after every step is checked by
//! [`checkers`].
//!
//! It does not decide anything and it never looks into the engine to help it along.

pub mod broken;
pub mod checkers;
pub mod dice;
pub mod drawn;
pub mod gray;
pub mod hosted;
pub mod page;
pub mod playback;
pub mod reliability;
pub mod scenario;
pub mod several;
pub mod trial;
pub mod world;

pub use broken::{Broken, Pace};
pub use gray::Gray;
pub use world::{Crash, CrashKind, Server, World};
