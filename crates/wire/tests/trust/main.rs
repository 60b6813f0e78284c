//! Two ends over a real connection on loopback: who is believed, and who is not, and why.

mod believed;
mod joining;
mod killed;
mod peers;
mod refused;
mod renewed;
mod rotated;
mod site;
