//! The whole of it: real processes, real sockets, a real disk, and whatever can be taken from an agent.

mod adopted;
mod agent_away;
mod clients;
mod crash_loop;
mod crashes;
mod demo;
mod evacuations;
mod full_disk;
mod heartbeats;
mod leash;
mod mistakes;
mod operators;
mod plans;
mod postgres;
mod postgres_crashes;
mod postgres_kept;
mod postgres_places;
mod postgres_restored;
mod reload;
mod repaired;
mod restored;
mod ruled;
mod site;
mod told;
