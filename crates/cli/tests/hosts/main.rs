//! Hosts as real processes, reached over loopback with real certificates; this process is their agent.

mod agent;
mod ended;
mod links;
mod orders;
mod scripted;
mod serving;
mod site;
mod staying;
mod turned_away;
mod whole;
